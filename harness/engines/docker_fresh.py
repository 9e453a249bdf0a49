"""An image that is loaded anew before each start, so that nothing of its layers is there from the start before.

What is removed and loaded is a copy of the run's own, never the image that a person has: a removal would take its tags and digests along,
a harness that dies in between would leave nothing of it, and layers that other images share would stay. The copy is made once, from what
``docker save`` gives: the same layers and the same settings, but each layer begins with a header that names the run (a global header of
pax, POSIX.1-2001, which says nothing of any file). So each has a digest that no other image has, and all of it goes with the copy and
comes back with it.

The engine has just written what it loads, so it is in memory until the page cache is dropped; whoever asks for a fresh image does that.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Final, cast

from harness.dockerd import Daemon, NoSuchThingError, RefusedError, translated
from harness.engines.docker_image import Image
from harness.errors import MachineError
from harness.marks import mark_labels

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_PIECE: Final = 1 << 20
_MANIFEST: Final = "manifest.json"
_CONFIG: Final = "config.json"


class FreshImage:
    """A copy of an image that is removed and loaded again and again."""

    def __init__(self, daemon: Daemon, run_id: str, process: str, image: Image, scratch: Path) -> None:
        """Make the copy's archive in ``scratch``; the engine does not have it yet.

        Raises:
            DaemonGoneError: The engine does not answer.
            MachineError: There is no room, or the engine saves images in a way that can't be read.
        """
        self._daemon = daemon
        self._origin = image
        self._tag = f"jetable/{run_id.lower()}:{process}-fresh"
        self._archive = scratch / f"image-{process}.tar"
        saved = scratch / f"image-{process}.saved"
        try:
            with translated(), saved.open("wb") as file:
                for piece in daemon.api.get_image(image.id):
                    file.write(piece)
            copied(saved, self._archive, tag=self._tag, labels=mark_labels(run_id))
        except RefusedError as error:
            raise MachineError(f"image {image.name} can't be saved: {error}; leave out --cold image") from error
        except OSError as error:
            raise MachineError(f"image {image.name} can't be kept in {scratch}: {error.strerror}; free space there") from error
        except (tarfile.TarError, KeyError, ValueError) as error:
            raise MachineError(f"what Docker saved of image {image.name} can't be read: {error}; leave out --cold image") from error
        finally:
            saved.unlink(missing_ok=True)

    def renew(self) -> Image:
        """Remove the copy with its layers, load it again, and return it.

        Raises:
            DaemonGoneError: The engine does not answer.
            MachineError: A container still uses it, or the engine can't load it.
        """
        self.remove()
        try:
            with translated(), self._archive.open("rb") as file:
                for said in self._daemon.api.load_image(file):
                    if problem := said.get("error"):
                        raise MachineError(f"image {self._origin.name} can't be loaded again: {problem}")
                found = self._daemon.api.inspect_image(self._tag)
        except RefusedError as error:
            raise MachineError(f"image {self._origin.name} can't be loaded again: {error}") from error
        return replace(self._origin, id=str(found["Id"]))

    def remove(self) -> None:
        """Remove the copy with its layers, if it is there."""
        try:
            with translated():
                self._daemon.api.remove_image(self._tag)
        except NoSuchThingError:
            return
        except RefusedError as error:
            raise MachineError(f"image {self._origin.name} can't be made fresh while a container runs from it: {error}") from error


def copied(saved: Path, archive: Path, *, tag: str, labels: dict[str, str]) -> None:
    """Write the archive of a copy from what ``docker save`` gave.

    The copy has the same settings, ``labels`` besides, the only name ``tag``, and layers that nothing else has: a header in each tells of
    ``tag``. It is in the form of Docker 1.10 and later (``manifest.json``), which engines with either store of images load.

    Raises:
        KeyError: The archive lacks what such archives have.
        OSError: There is no room.
        ValueError: A layer is compressed in a way that can't be read.
    """
    with tarfile.open(saved) as given, tarfile.open(archive, "w") as made:
        (image,) = json.loads(_member(given, _MANIFEST).read())
        config = json.loads(_member(given, image["Config"]).read())
        digests: list[str] = []
        for number, layer in enumerate(image["Layers"]):
            digests.append(_add_layer(given, layer, made, f"{number}.tar", archive.with_suffix(".layer"), tag))
        config["rootfs"]["diff_ids"] = digests
        config.setdefault("config", {})["Labels"] = {**(config["config"].get("Labels") or {}), **labels}
        _add(made, _CONFIG, json.dumps(config).encode())
        names = [f"{number}.tar" for number in range(len(digests))]
        _add(made, _MANIFEST, json.dumps([{"Config": _CONFIG, "RepoTags": [tag], "Layers": names}]).encode())


def _add_layer(given: tarfile.TarFile, layer: str, made: tarfile.TarFile, name: str, aside: Path, mark: str) -> str:
    """Add a layer with a header that marks it, and return the digest of it all."""
    digest = hashlib.sha256()
    try:
        with _plain(given, layer) as source, aside.open("wb") as file:
            header = tarfile.TarInfo.create_pax_global_header({"comment": mark})
            digest.update(header)
            file.write(header)
            while piece := source.read(_PIECE):
                digest.update(piece)
                file.write(piece)
        made.add(aside, name, recursive=False)
    finally:
        aside.unlink(missing_ok=True)
    return f"sha256:{digest.hexdigest()}"


@contextmanager
def _plain(given: tarfile.TarFile, layer: str) -> Iterator[IO[bytes]]:
    """A layer as it was before somebody compressed it."""
    with _member(given, layer) as found:
        begin = found.read(len(_ZSTD))
        found.seek(0)
        if begin == _ZSTD:
            raise ValueError("its layers are compressed with zstd")
        if begin.startswith(_GZIP):
            with gzip.open(found) as plain:
                yield cast("IO[bytes]", plain)
        else:
            yield found


def _member(given: tarfile.TarFile, name: str) -> IO[bytes]:
    found = given.extractfile(name)
    if found is None:
        raise KeyError(name)
    return found


def _add(made: tarfile.TarFile, name: str, words: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(words)
    made.addfile(info, io.BytesIO(words))
