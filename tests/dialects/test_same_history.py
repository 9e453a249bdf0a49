"""One history in every dialect: whatever it is written in, the same order explains it or none does, and the report is of the same lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.dialects import Options, read_history
from harness.monitors.calls import INITIAL, NEVER, NOTHING, Calls, Ended, F
from harness.monitors.lines import encode
from tests.monitors.histories import Recipe, histories
from tests.monitors.oracle import explained

KINDS = {Ended.OK: "ok", Ended.FAIL: "fail", Ended.INFO: "info"}
RECIPES = {
    "register": Recipe(model="register", told=0, keys=2, repeats=0.3),
    "set": Recipe(model="set", fs=(F.ADD, F.ADD, F.READ), told=0),
    "counter": Recipe(model="counter", told=0),
    "queue": Recipe(model="queue", told=0, keys=2),
    "log": Recipe(model="log", told=0),
}

Event = tuple[str, str, object, str, bool]
"""Type, operation, value, process and whether there is an error; a value is JSON's."""


def events(calls: Calls, model: str, *, keyed: bool) -> list[Event]:
    """The events of ``calls`` in the order of time; what ends when another begins ends after it, because it is not before it."""
    timed = [event for row in range(len(calls)) for event in events_of(calls, row, model, keyed=keyed)]
    return [event for _, event in sorted(timed, key=lambda one: one[0])]


def events_of(calls: Calls, row: int, model: str, *, keyed: bool) -> Iterator[tuple[tuple[int, int], Event]]:
    f, ended = F(calls.f[row]), Ended(calls.ended[row])
    result = int(calls.result[row])

    def value(code: int) -> object:
        return None if code == NOTHING or (code == INITIAL and model != "counter") else code

    def held(told: object) -> object:
        return [int(calls.key[row]), told] if keyed else told

    asked = [value(int(calls.arg[row])), value(int(calls.arg2[row]))] if f is F.CAS else value(int(calls.arg[row]))
    answer = asked
    if f is F.READ and model in ("set", "log"):
        answer = [int(code) for code in calls.items_of(row)] if result != NOTHING else None
    elif f in (F.READ, F.DEQUEUE):
        answer = value(result)
    looked = f is F.CAS and ended is Ended.OK and result == 0
    kind = "fail" if looked else KINDS[ended]
    process = str(row)
    yield (int(calls.call_ns[row]), 0), ("invoke", f.name.lower(), held(asked), process, False)
    if int(calls.ret_ns[row]) != NEVER:
        yield (int(calls.ret_ns[row]), 1), (kind, f.name.lower(), held(answer), process, kind == "fail" and not looked)


def as_edn(told: Event) -> str:
    kind, f, value, process, error = told
    return f"{{:type :{kind}, :f :{f}, :value {edn(value)}, :process {process}{', :error :refused' if error else ''}}}"


def as_json(told: Event) -> str:
    kind, f, value, process, error = told
    return json.dumps({"type": kind, "f": f, "value": value, "process": int(process)} | ({"error": "refused"} if error else {}))


def as_log(told: Event) -> str:
    kind, f, value, process, error = told
    return f"INFO  jepsen.util - {process}\t:{kind}\t:{f}\t{edn(value)}{chr(9) + ':refused' if error else ''}"


def edn(value: object) -> str:
    if isinstance(value, list):
        return f"[{' '.join(map(edn, value))}]"
    return "nil" if value is None else str(value)


@pytest.mark.slow
@pytest.mark.parametrize("model", RECIPES)
def test_a_history_is_judged_the_same_in_every_dialect(model: str, tmp_path: Path) -> None:
    verdicts = set()
    path = tmp_path / "history"
    for calls in histories(RECIPES[model], seed=7, count=60):
        unknown = (calls.ended == Ended.OK) & np.isin(calls.f, (F.READ, F.DEQUEUE)) & (calls.result == NOTHING)
        if unknown.any():  # events have no word for it
            continue
        right = explained(calls, model)
        verdicts.add(right)
        if model != "counter":
            calls = replace(calls, values=("nil", *map(str, range(1, 100))))  # noqa: PLW2901  the same history with its values named
        keyed = RECIPES[model].keys > 1
        told = events(calls, model, keyed=keyed)
        files = {
            "jsonl": encode(calls),
            "jepsen-edn": map(as_edn, told),
            "jepsen-json": map(as_json, told),
            "jepsen-log": map(as_log, told),
        }
        for dialect, lines in files.items():
            text = "\n".join(lines)
            path.write_text(text)
            options = Options(failed_cas="look", keyed="auto" if dialect == "jsonl" else "yes" if keyed else "no")
            reading = read_history(path, model, options)
            assert reading.dialect == dialect
            assert explained(reading.calls, model) == right, f"{dialect}\n{text}"
    assert verdicts == {True, False}
