"""What one replica writes, kept within bounds: the first MiB and the last.

The beginning tells how it was started and the end tells how it ended; what lies between is left out when there is more. While the
replica runs, the end is kept in two segments beside the log, the older of which is dropped when the newer one is full, so a sudden
death of the harness loses nothing of it. `KeptLog.finish` joins them to one file.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MIB: Final = 1 << 20
_LINE_CHARS: Final = 2000
"""A line that is handed out is cut after so many characters."""

_TAIL_READ: Final = 1 << 18
_MATCHED: Final = -1


@dataclass(slots=True, kw_only=True)
class _Piece:
    """A stretch of what was written: bytes ``start`` to ``start + size`` of it stand in ``path`` from ``offset`` on."""

    path: Path
    start: int
    offset: int = 0
    size: int = 0


class KeptLog:
    """The log of one replica. Safe from several threads."""

    def __init__(
        self, path: Path, *, head_bytes: int = MIB, tail_bytes: int = MIB, hear: Callable[[bytes], None] = lambda _data: None
    ) -> None:
        """``hear`` gets all that is written, before anything of it is left out."""
        self._path = path
        self._hear = hear
        self._head_bytes = head_bytes
        self._tail_bytes = tail_bytes
        self._lock = threading.Lock()
        self._pieces = [_Piece(path=path, start=0)]
        self._fd = _create(path)
        self._written = 0
        self._finished = False
        self._searched: dict[str, int] = {}

    def write(self, data: bytes) -> None:
        """Add ``data``. What the disk does not take is left out, as a full disk must not stop the replica."""
        self._keep(data)
        self._hear(data)

    def _keep(self, data: bytes) -> None:
        with self._lock:
            rest = memoryview(data)
            while rest and not self._finished:
                piece = self._pieces[-1]
                room = (self._head_bytes if len(self._pieces) == 1 else self._tail_bytes) - piece.size
                try:
                    if room <= 0:
                        self._next_segment()
                        continue
                    count = os.write(self._fd, rest[:room])
                except OSError:
                    return
                piece.size += count
                self._written += count
                rest = rest[count:]

    def tail(self, lines: int) -> tuple[str, ...]:
        """The last ``lines`` lines."""
        with self._lock:
            stretches = list(self._stretches(max(0, self._written - _TAIL_READ)))
        if not stretches or lines <= 0:
            return ()
        start, data = stretches[-1]
        found = data.splitlines()
        if start > 0 and len(found) > 1:
            del found[0]  # most likely cut
        return tuple(_text(line) for line in found[-lines:])

    def matches(self, pattern: str) -> bool:
        """Whether any line so far, the unfinished last one included, matches the regular expression ``pattern``."""
        with self._lock:
            since = self._searched.get(pattern, 0)
            if since != _MATCHED:
                since = self._searched[pattern] = self._search(re.compile(pattern), since)
            return since == _MATCHED

    def finish(self) -> None:
        """Nothing more will come: join what was kept to one file. A second call does nothing."""
        with self._lock:
            if self._finished:
                return
            self._finished = True
            os.close(self._fd)
            segments = self._pieces[1:]
            if segments:
                self._join(segments)

    def _search(self, regex: re.Pattern[str], since: int) -> int:
        """Look for a match from ``since`` on; where the last line begins, which may still grow, or `_MATCHED`."""
        for start, data in self._stretches(since):
            if any(regex.search(_text(line)) for line in data.splitlines()):
                return _MATCHED
            since = start + data.rfind(b"\n") + 1
        return since

    def _join(self, segments: list[_Piece]) -> None:
        head = self._pieces[0]
        since = max(segments[0].start, self._written - self._tail_bytes)
        parts = list(self._stretches(since))
        pieces = [head]
        with self._path.open("ab") as file:
            end = head.start + head.size
            for start, data in parts:
                if start > end:
                    file.write(b"\n[... %d bytes left out ...]\n" % (start - end))
                pieces.append(_Piece(path=self._path, start=start, offset=file.tell(), size=len(data)))
                file.write(data)
                end = start + len(data)
        self._pieces = pieces
        for path in {segment.path for segment in segments} - {self._path}:
            path.unlink(missing_ok=True)

    def _next_segment(self) -> None:
        """The last piece is full: begin another one, and drop the older one of two. Whatever fails, the state stays whole."""
        older, newer = self._path.with_name(self._path.name + ".older"), self._path.with_name(self._path.name + ".newer")
        if self._pieces[-1].path == newer:
            newer.replace(older)
            self._pieces[-1].path = older
            self._pieces = [self._pieces[0], self._pieces[-1]]
        fd = _create(newer)
        os.close(self._fd)
        self._fd = fd
        self._pieces.append(_Piece(path=newer, start=self._written))

    def _stretches(self, since: int) -> Iterator[tuple[int, bytes]]:
        """What was kept from ``since`` on: each stretch without a gap, with the place where it begins."""
        begin, data = 0, b""
        for piece in self._pieces:
            skip = max(0, since - piece.start)
            if skip >= piece.size:
                continue
            with piece.path.open("rb") as file:
                file.seek(piece.offset + skip)
                part = file.read(piece.size - skip)
            if data and begin + len(data) == piece.start + skip:
                data += part
                continue
            if data:
                yield begin, data
            begin, data = piece.start + skip, part
        if data:
            yield begin, data


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace")[:_LINE_CHARS]
