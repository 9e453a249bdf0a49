"""One cycle under each condition, on fakes: what it starts, how that ends, and what stands in the books of one that goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.bench import course
from harness.bench.course import Ended
from harness.bench.cycle import CYCLES
from harness.benches import CONDITIONS
from harness.engines.base import Replica, ReplicaSpec
from harness.engines.fake import FakeEngine, FakeProcess
from harness.history import AnyLine, Cycled, Exited, Signalled, Spawned, read
from tests.bench.fakes import CRASHES, NEVER, Imagined, InTurn, imagined, plan, played, scenario, variant

__all__ = ["imagined"]


def events(ended: Ended) -> Sequence[AnyLine]:
    (each,) = ended.bench.variants
    (folder,) = each.folders
    return read(ended.folder / folder).events


def stops(ended: Ended) -> list[tuple[str, str, str]]:
    """Which replica was sent which signal, and what for."""
    return [(event.replica, event.signal, event.purpose) for event in events(ended) if isinstance(event, Signalled)]


def books(ended: Ended) -> list[tuple[str, int, int, int]]:
    return [(each.under, each.starts, each.failed, each.killed) for each in ended.bench.variants[0].attempts]


def nothing_left(ended: Ended) -> bool:
    spawned = {event.replica for event in events(ended) if isinstance(event, Spawned)}
    return spawned == {event.replica for event in events(ended) if isinstance(event, Exited)}


def test_every_condition_has_a_cycle_but_the_one_that_comes_with_another() -> None:
    assert set(CONDITIONS) - set(CYCLES) == {"clean"}


def test_an_idle_cycle_is_a_start_and_a_stop_in_order(imagined: Imagined, tmp_path: Path) -> None:
    ended = played(plan(tmp_path, runs=2))
    assert stops(ended) == [("web.1", "SIGTERM", "terminate"), ("web.2", "SIGTERM", "terminate")]
    assert books(ended) == [("idle", 2, 0, 0)]
    assert nothing_left(ended)


def test_the_stop_has_the_signal_and_the_grace_of_the_scenario(imagined: Imagined, tmp_path: Path) -> None:
    imagined.scripts = {"v": {"web": FakeProcess(stop_s=None)}}
    whole = scenario(stop_signal="SIGINT", stop_grace_period="300ms")
    ended = played(plan(tmp_path, variant(scenario=whole), runs=2))
    assert stops(ended)[:2] == [("web.1", "SIGINT", "terminate"), ("web.1", "SIGKILL", "grace-over")]
    assert books(ended) == [("idle", 2, 0, 2)]
    (times,) = [series for series in ended.bench.variants[0].series if series.metric == "shutdown_time"]
    assert all(0.3 <= sample < 0.32 for sample in times.samples)


def test_a_start_after_a_clean_stop_and_one_after_sigkill_take_the_same_address(imagined: Imagined, tmp_path: Path) -> None:
    ended = played(plan(tmp_path, runs=1, under=("kill",)))
    assert [each[1:] for each in stops(ended)] == [("SIGTERM", "terminate"), ("SIGKILL", "kill"), ("SIGTERM", "terminate")]
    assert len({event.port for event in events(ended) if isinstance(event, Spawned)}) == 1
    assert books(ended) == [("clean", 1, 0, 0), ("kill", 1, 0, 0)]
    assert nothing_left(ended)


def test_where_the_clean_start_fails_none_counts_as_one_after_sigkill(imagined: Imagined, tmp_path: Path) -> None:
    fine = FakeProcess()
    imagined.scripts = {"v": InTurn(fine, CRASHES, fine, fine, fine)}
    ended = played(plan(tmp_path, runs=2, under=("kill",)))
    assert books(ended) == [("clean", 2, 1, 0), ("kill", 1, 0, 0)]


def test_where_the_start_that_makes_way_fails_the_others_are_played_and_it_is_in_the_books(imagined: Imagined, tmp_path: Path) -> None:
    imagined.scripts = {"v": InTurn(CRASHES, FakeProcess())}
    ended = played(plan(tmp_path, runs=1, under=("kill",)))
    assert books(ended) == [("clean", 2, 1, 0), ("kill", 1, 0, 0)]


def test_what_is_to_be_cold_is_made_cold_before_each_start_that_is_timed(
    imagined: Imagined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    start = FakeEngine.start

    class Telling(FakeEngine):
        def start(self, spec: ReplicaSpec) -> Replica:
            told.append(spec.name)
            return start(self, spec)

    imagined.engine = Telling
    monkeypatch.setattr(course, "may_drop_caches", lambda: "")
    monkeypatch.setattr(course, "drop_caches", lambda: told.append("cold"))
    played(plan(tmp_path, variant(cold=("disk",)), runs=2))
    assert told == ["cold", "web.1", "cold", "web.2"]
    told.clear()
    played(plan(tmp_path, variant(cold=("disk",)), runs=1, under=("kill",)))
    assert told == ["web.1", "cold", "web.2", "cold", "web.3"]
    told.clear()
    played(plan(tmp_path, variant(), runs=1))
    assert told == ["web.1"]


def test_several_at_once_are_all_up_before_any_of_them_stops(imagined: Imagined, tmp_path: Path) -> None:
    ended = played(plan(tmp_path, runs=1, under=("at-once",), at_once=(3,)))
    kinds = [type(event) for event in events(ended) if isinstance(event, Spawned | Signalled)]
    assert kinds == [Spawned] * 3 + [Signalled] * 3
    assert books(ended) == [("at-once", 3, 0, 0)]


def test_of_several_at_once_those_that_are_up_stop_in_order_when_another_fails(imagined: Imagined, tmp_path: Path) -> None:
    imagined.scripts = {"v": InTurn(FakeProcess(), FakeProcess(), CRASHES)}
    ended = played(plan(tmp_path, runs=1, under=("at-once",), at_once=(3,)))
    assert stops(ended) == [("web.1", "SIGTERM", "terminate"), ("web.2", "SIGTERM", "terminate")]
    assert books(ended) == [("at-once", 3, 1, 0)]
    assert nothing_left(ended)


@pytest.mark.parametrize("script", [NEVER, CRASHES])
def test_a_start_that_fails_is_a_problem_of_its_cycle_and_leaves_nothing(script: FakeProcess, imagined: Imagined, tmp_path: Path) -> None:
    imagined.scripts = {"v": {"web": script}}
    ended = played(plan(tmp_path, variant(scenario=scenario(healthcheck={"tcp": True, "start_period": "500ms"})), runs=1))
    (cycle,) = [event for event in events(ended) if isinstance(event, Cycled)]
    assert cycle.problem
    assert nothing_left(ended)
    assert books(ended) == [("idle", 1, 1, 0)]


def test_what_another_process_type_needs_is_up_and_is_not_timed(imagined: Imagined, tmp_path: Path) -> None:
    whole = scenario(depends_on=["other"])
    ended = played(plan(tmp_path, variant(scenario=whole), runs=2))
    assert [event.replica for event in events(ended) if isinstance(event, Spawned)] == ["other.1", "web.1", "web.2"]
    assert books(ended) == [("idle", 2, 0, 0)]
