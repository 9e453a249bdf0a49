"""The end of a ledger that is still being written: was the victim really as a step demanded when the signal came?

The counters of the routing table say what is under way at an instant, and a request may end in the microseconds until the signal arrives.
The ledger knows better, a moment later. A fault that came too late can then be done again while the run goes on, instead of leaving its
reader with *unknown*. The checks judge the whole history by the same instants and do not rely on what is said here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from harness.history import Close, Generator, Invoke
from harness.outcome import Reached

_BYTES: Final = 8 << 20
"""How much of the end is read: some forty thousand lines, and twice what the writer allocates ahead."""

_KINDS: Final = (b'{"kind":"invoke"', b'{"kind":"close"', b'{"kind":"generator"')
_LAG_NS: Final = 5_000_000
"""How late the load may be at least to read what has come: its own samples may not be written yet."""


class Demand(msgspec.Struct, frozen=True, kw_only=True):
    """What a step demanded of a victim.

    ``when`` is as in a scenario. ``at_ns`` and ``until_ns`` are the instants before and after the system call of the signal, or both the
    one at which the router was told before it. ``sudden``: nothing of the victim could answer after that.
    """

    replica: str
    when: str
    at_ns: int
    until_ns: int
    sudden: bool = False


def was_met(ledger: Path, demand: Demand) -> bool | None:
    """Whether the end of ``ledger`` shows the victim as demanded; None while it can't tell, as an attempt from before has no end yet.

    The victim is gone, so the load is about to notice the end of all that was under way there.

    Raises:
        OSError: The ledger can't be read.
    """
    invoked: set[tuple[int, int]] = set()
    early: set[tuple[int, int]] = set()
    closes: list[Close] = []
    lag_ns = _LAG_NS
    for line in _last_lines(ledger):
        if isinstance(line, Generator):
            lag_ns = max(lag_ns, line.lag_ns) if line.at_ns >= demand.at_ns else lag_ns
        elif isinstance(line, Invoke):
            if line.replica == demand.replica:
                invoked.add((line.op, line.n))
                if line.at_ns <= demand.at_ns:
                    early.add((line.op, line.n))
        elif (line.op, line.n) in invoked:
            closes.append(line)
            early.discard((line.op, line.n))
    met = any(_fits(close, demand, lag_ns) for close in closes)
    if not met and early:
        return None
    return not met if demand.when == "idle" else met


def _fits(close: Close, demand: Demand, lag_ns: int) -> bool:
    """The attempt was under way at the signal in the way that is demanded; for idleness: in flight.

    An answer may have been whole ``lag_ns`` before the load read its end.
    """
    if close.done_ns <= demand.at_ns:
        return False
    whole = close.reached == Reached.ANSWERED
    match demand.when:
        case "mid-response":
            return 0 < close.first_ns < demand.at_ns and (not whole or close.done_ns - lag_ns > demand.until_ns)
        case "just-accepted":
            return not close.reused and 0 < close.connected_ns < demand.at_ns and (close.sent_ns == 0 or close.sent_ns > demand.at_ns)
        case _:
            in_flight = 0 < close.sent_ns <= demand.at_ns
            return in_flight and (not whole or (not demand.sudden and close.first_ns > demand.until_ns))


def _last_lines(ledger: Path) -> Iterator[Invoke | Close | Generator]:
    """The whole lines at the end of the ledger that tell of attempts, or of the load itself; what is not written yet is NUL bytes."""
    decoder: msgspec.json.Decoder[Invoke | Close | Generator] = msgspec.json.Decoder(Invoke | Close | Generator)
    fd = os.open(ledger, os.O_RDONLY | os.O_CLOEXEC)
    try:
        begin = max(0, os.fstat(fd).st_size - _BYTES)
        data = os.pread(fd, _BYTES, begin)
    finally:
        os.close(fd)
    data = data.rstrip(b"\0")
    lines = data[: data.rfind(b"\n") + 1].splitlines()
    for line in lines[1 if begin else 0 :]:
        if line.startswith(_KINDS):
            yield decoder.decode(line)
