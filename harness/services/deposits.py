"""What a run makes in services that others use as well, so that whoever removes the run can take it out again.

A deposit is on record before it is made: a line of JSON in ``deposits`` in the run's scratch folder, which only this user may read since
URLs have passwords in them. Nothing else knows where these things are once the harness is dead. To take out what was never made, or was
taken out before, is no error.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeAlias
from urllib.parse import urlsplit

import msgspec

from harness import marks
from harness.errors import MachineError
from harness.line import Line
from harness.services import KINDS
from harness.services.base import DoneSpec, MakesBeside, MakesPlace, QueueSpec


class QueueDeposit(Line, frozen=True, tag="queue"):
    """A queue in the service of kind ``service`` at ``url``: its name, then those of what its declaration makes besides."""

    service: str
    url: str
    form: str
    names: tuple[str, ...]
    options: Mapping[str, str | int | bool]

    def __str__(self) -> str:
        return f"{', '.join(self.names)} {_at(self)}"

    def take_out(self) -> None:
        """Remove it with all that is in it. Raises `harness.services.base.ServiceError`."""
        with closing(KINDS[self.service].open(self.url)) as client:
            queue = client.queue(QueueSpec(form=self.form, name=self.names[0], options=self.options))
            if isinstance(queue, MakesBeside):
                queue.made_beside(self.names[1:])
            queue.remove()


class EffectsDeposit(Line, frozen=True, tag="effects"):
    """A place where effects show; ``where`` and ``name`` as in `harness.services.base.DoneSpec`."""

    service: str
    url: str
    where: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} {_at(self)}"

    def take_out(self) -> None:
        """Remove what the run has put there. Raises `harness.services.base.ServiceError`."""
        with closing(KINDS[self.service].open(self.url)) as client:
            client.effects(DoneSpec(kind=self.where, name=self.name)).remove()


class PlaceDeposit(Line, frozen=True, tag="place"):
    """What `harness.services.base.Kind.own` makes, in words; ``url`` is the service's, without it."""

    service: str
    url: str
    mark: str
    place: str

    def __str__(self) -> str:
        return f"{self.place} {_at(self)}"

    def take_out(self) -> None:
        """Remove it with all that is in it. Raises `harness.services.base.ServiceError`."""
        kind = KINDS[self.service]
        if isinstance(kind, MakesPlace):
            kind.disown(self.url, self.mark)


Deposit: TypeAlias = QueueDeposit | EffectsDeposit | PlaceDeposit


def record(scratch: Path, deposit: Deposit) -> None:
    """Note that the run is about to make this. One ``write(2)``, so it outlives this process.

    Raises:
        MachineError: It can't be written, so nothing may be made.
    """
    try:
        fd = os.open(scratch / marks.DEPOSITS_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            line = msgspec.json.encode(deposit) + b"\n"
            if os.write(fd, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(fd)
    except OSError as error:
        raise MachineError(f"can't write to {scratch}: {error.strerror}; free space, or set TMPDIR to a folder of yours") from error


def recorded(scratch: Path) -> Sequence[Deposit]:
    """All that is on record, in the order in which it was made. A line that was cut off stands for what was never made."""
    try:
        lines = (scratch / marks.DEPOSITS_FILE).read_bytes().splitlines(keepends=True)
    except OSError:
        return ()
    return [msgspec.json.decode(line, type=Deposit) for line in lines if line.endswith(b"\n")]


def _at(deposit: Deposit) -> str:
    """Where it is, without a password."""
    parts = urlsplit(deposit.url)
    where = f"{parts.hostname}:{parts.port}" if parts.hostname and parts.port else parts.hostname or parts.path[1:]
    return f"in {deposit.service} at {where}"
