"""Makes `tests/dialects/data`: what clients of a register saw, as Jepsen logs it and as its EDN says it.

``python -m tests.dialects.simulate`` writes the files.

Five clients write, read and replace numbers from 0 to 4, so that values repeat. Some answers are lost: the client says *info* and goes on
as a new process. In the good histories each operation takes effect at one instant between its invocation and its completion. To the bad
ones a read is added that goes back to what an acknowledged write had replaced, with values that nothing lost on the way could bring back.
"""

from __future__ import annotations

import random
from pathlib import Path

DATA = Path(__file__).parent / "data"
CLIENTS = 5

Event = tuple[int, str, str, object]


def history(seed: int, operations: int) -> list[Event]:
    """Events as process, type, function and value."""
    dice = random.Random(seed)
    register: int | None = None
    events: list[Event] = []
    processes = list(range(CLIENTS))
    open_: dict[int, tuple[str, object, object]] = {}
    while len(events) < 2 * operations or open_:
        client = dice.randrange(CLIENTS)
        process = processes[client]
        if client not in open_:
            if len(events) >= 2 * operations:
                continue
            f = dice.choice(["read", "write", "cas"])
            value = None if f == "read" else dice.randrange(5) if f == "write" else [dice.randrange(5), dice.randrange(5)]
            events.append((process, "invoke", f, value))
            open_[client] = (f, value, "todo")
            continue
        f, value, state = open_[client]
        if state == "todo":  # it takes effect now
            if f == "read":
                open_[client] = (f, register, "ok")
            elif f == "write":
                register, open_[client] = value, (f, value, "ok")  # type: ignore[assignment]  # a write has a number
            else:
                old, new = value  # type: ignore[misc]  # a compare-and-set has two
                held = register == old
                register = new if held else register
                open_[client] = (f, value, "ok" if held else "fail")
            continue
        del open_[client]
        if f != "read" and dice.random() < 0.08:
            events.append((process, "info", f, ":timed-out"))
            processes[client] += CLIENTS
        else:
            events.append((process, str(state), f, value))
    return events


def stale(events: list[Event]) -> list[Event]:
    """The same with a read behind it of 5, which a write of 6 has replaced."""
    process = 10_000
    return [
        *events,
        *[(process, kind, "write", 5) for kind in ("invoke", "ok")],
        *[(process, kind, "write", 6) for kind in ("invoke", "ok")],
        (process + 1, "invoke", "read", None),
        (process + 1, "ok", "read", 5),
    ]


def as_log(events: list[Event]) -> str:
    """As Jepsen logs it."""
    return "".join(f"INFO  jepsen.util - {process}\t:{kind}\t:{f}\t{_edn(value)}\n" for process, kind, f, value in events)


def as_edn(events: list[Event]) -> str:
    """As Jepsen's ``history.edn`` has it."""
    lines = []
    for index, (process, kind, f, value) in enumerate(events):
        told = ", :value nil, :error :timed-out" if value == ":timed-out" else f", :value {_edn(value)}"
        lines.append(f"{{:type :{kind}, :f :{f}{told}, :process {process}, :time {1_000_000 * index}, :index {index}}}\n")
    return "".join(lines)


def _edn(value: object) -> str:
    if isinstance(value, list):
        return f"[{' '.join(str(each) for each in value)}]"
    return "nil" if value is None else str(value)


def files() -> dict[str, str]:
    """The text of each file of `DATA`."""
    made = {}
    for seed in range(1, 5):
        good, bad = history(seed, 85), stale(history(10 + seed, 70))
        made |= {f"log/good-{seed}.log": as_log(good), f"log/bad-{seed}.log": as_log(bad)}
    for seed in range(1, 3):
        good, bad = history(20 + seed, 12), stale(history(30 + seed, 12))
        made |= {f"edn/good-{seed}.edn": as_edn(good), f"edn/bad-{seed}.edn": as_edn(bad)}
    return made


if __name__ == "__main__":
    for name, text in files().items():
        (DATA / name).parent.mkdir(parents=True, exist_ok=True)
        (DATA / name).write_text(text)
