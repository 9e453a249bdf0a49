"""Scratch folders of a run. They go last, since they say where everything else is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from harness import marks, proctable
from harness.cleanup.base import AFTER_KILL_S, OF_EARLIER_BOOT, Order, Swept, Trace


class ScratchFolders:
    """The folders of `harness.marks.make_scratch`, where they are ours."""

    def traces(self) -> Mapping[str, Trace]:
        """The folders that were made in this pid namespace. One whose owner is not written yet has none, and is empty.

        A folder that names no owner and holds something is somebody's own, whatever it is called.
        """
        here, boot = proctable.namespace(os.getpid()), marks.boot_id()
        found = {}
        for folder in marks.scratch_root().glob(f"{marks.FOLDER_PREFIX}*"):
            made_by = marks.scratch_owner(folder)
            elsewhere = made_by is not None and made_by.boot == boot and made_by.namespace != here
            if not is_ours(folder) or elsewhere or (made_by is None and not _is_empty(folder)):
                continue
            owners = frozenset() if made_by is None else frozenset({made_by.owner if made_by.boot == boot else OF_EARLIER_BOOT})
            found[folder.name.removeprefix(marks.FOLDER_PREFIX)] = Trace(owners=owners, things=(f"folder {folder}",))
        return found

    def remove(self, order: Order) -> Swept:
        """Remove the folder with all that is in it, even what is write-protected; but not while it is the only record of what is left."""
        folder = marks.scratch_folder(order.run_id)
        if not is_ours(folder):
            return Swept()
        if marks.notes_the_rest(folder):
            return Swept(left=(f"folder {folder} (it notes where the rest is)",))
        text, why = f"folder {folder}", ""
        while True:
            try:
                shutil.rmtree(folder)
            except FileNotFoundError:  # somebody else removes it, too
                why = "its content changes"
            except OSError as error:
                why = error.strerror or type(error).__name__
                _make_writable(folder)
            if not folder.exists():
                return Swept(removed=(text,))
            if order.over:
                return Swept(left=(f"{text} ({why})",))
            order.clock.sleep(AFTER_KILL_S)


def _is_empty(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except OSError:
        return False


def is_ours(folder: Path) -> bool:
    """Whether it is a folder, no link to one, that belongs to this user: in a shared /tmp anybody can make the name."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return folder.is_dir() and not folder.is_symlink() and status.st_uid == os.geteuid()


def _make_writable(folder: Path) -> None:
    """Give this user back what an app took from the folders that it made."""
    for path, _, _ in os.walk(folder, onerror=None):
        with suppress(OSError):
            Path(path).chmod(0o700)
