"""Says in one line a row what a history was read as, for tests of dialects."""

from __future__ import annotations

from harness.monitors.calls import NEVER, NOTHING, Calls, Ended, F


def told(calls: Calls) -> list[str]:
    """Each operation, such as ``write 3 ok`` or ``x read -> [1 2] info``; a cas that looked is ``cas 1 2 -> 0 ok``."""
    return [_row(calls, row) for row in range(len(calls))]


def _row(calls: Calls, row: int) -> str:
    f, ended = F(calls.f[row]), Ended(calls.ended[row])
    parts = [calls.keys[calls.key[row]], f.name.lower()]
    parts += [_value(calls, int(column[row])) for column in (calls.arg, calls.arg2) if column[row] != NOTHING]
    result = int(calls.result[row])
    if len(calls.starts) and f is F.READ and result != NOTHING:
        parts.append(f"-> [{' '.join(_value(calls, int(code)) for code in calls.items_of(row))}]")
    elif result != NOTHING:
        parts.append(f"-> {result if f in (F.CAS, F.CONTAINS, F.REMOVE) else _value(calls, result)}")
    assert (calls.ret_ns[row] == NEVER) == (ended is Ended.INFO)
    return " ".join(part for part in [*parts, ended.name.lower()] if part)


def _value(calls: Calls, code: int) -> str:
    return calls.value(code) if calls.values else str(code)
