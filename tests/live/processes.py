"""What tests of whole runs share: what is left of a run, on this machine and on a Docker engine, and waiting for a condition."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness import marks, proctable
from harness.dockerd import Daemon, translated


def left_of(run_id: str) -> list[str]:
    """All that is left of a run: processes that carry its mark (zombies excepted) and temporary files."""
    left = [str(path) for path in Path(tempfile.gettempdir()).glob(f"*{run_id}*")]
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if run_id.encode() in environ.read_bytes():
                left.append((environ.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # it is gone
    return left


def left_in(daemon: Daemon, run_id: str, owner: str = "") -> list[str]:
    """All that is left of a run on a Docker engine; of its ``owner``, if given, also the images that it had not finished."""
    api, of_run = daemon.api, {"label": [f"{marks.LABEL_RUN}={run_id}"]}
    with translated():
        return [
            *(f"container {each['Names']} {each['State']}" for each in api.containers(all=True, filters=of_run)),
            *(f"network {each['Name']}" for each in api.networks(filters=of_run)),
            *(f"volume {each['Name']}" for each in api.volumes(filters=of_run).get("Volumes") or ()),
            *(f"image {each['RepoTags']}" for each in api.images(filters=of_run)),
            *(f"unfinished image {each['Id']}" for each in _unfinished(daemon, owner)),
        ]


def owner_label(pid: int) -> str:
    """A living process in the words of the label that names who made a thing."""
    proc = proctable.look(pid)
    assert proc is not None
    return f"{pid}:{proc.started} {proctable.namespace(pid)} {marks.boot_id()}"


def _unfinished(daemon: Daemon, owner: str) -> Iterator[dict[str, object]]:
    """An engine without BuildKit makes an image of each label, the owner's first."""
    if owner:
        for image in daemon.api.images(filters={"label": [f"{marks.LABEL_OWNER}={owner}"]}):
            if marks.LABEL_RUN not in (image.get("Labels") or {}):
                yield image


def wait_until(condition: Callable[[], bool], *, within_s: float, why: Callable[[], str] = lambda: "") -> None:
    """Wait until ``condition`` holds, looking a hundred times a second; fails with ``why`` when ``within_s`` is over."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {why()}"
        time.sleep(0.01)
