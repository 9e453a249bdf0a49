"""The course of a bench, on fakes: who has a turn when, when it is enough, and what is kept of a bench that is cut short."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.bench import books, course
from harness.bench.course import HOPELESS, LOADED_CYCLES, Ended
from harness.bench.cycle import CYCLES
from harness.bench.plan import BenchPlan
from harness.bench.sessions import Session
from harness.benches import FILE, Series, read_bench
from harness.compare import compare, read_place
from harness.engines.fake import FakeEngine, FakeProcess
from harness.errors import ExitCode, MachineError, StoppedError, UsageError
from harness.report.progress import SilentProgress
from harness.scenario import Scenario
from tests.bench.fakes import CRASHES, LOADED, NEVER, Imagined, InTurn, Varying, cycles, imagined, plan, played, scenario, variant

__all__ = ["imagined"]


def turns(ended: Ended, *, warmup: bool = False) -> dict[int, list[tuple[str, str]]]:
    """Who had a turn in each round, in this order."""
    found: dict[int, list[tuple[str, str]]] = {}
    for name, cycle in cycles(ended):
        if cycle.warmup == warmup:
            found.setdefault(cycle.round, []).append((name, cycle.under))
    return found


def series(ended: Ended, number: int = 0, metric: str = "startup_time", under: str = "idle") -> Series:
    (found,) = [each for each in ended.bench.variants[number].series if (each.metric, each.under) == (metric, under)]
    return found


def rounds(ended: Ended) -> int:
    return len(turns(ended))


def fails_at(monkeypatch: pytest.MonkeyPatch, number: int, error: BaseException, under: str = "idle") -> None:
    """The cycle of this number, from 0 on, raises in its middle."""
    plays, count = CYCLES[under], iter(range(1000))

    def cycle(session: Session, place: Any) -> None:
        if next(count) == number:
            session.start()
            raise error
        plays(session, place)

    monkeypatch.setitem(CYCLES, under, cycle)


# --- turns --------------------------------------------------------------------------------------------------------------------


def test_a_bench_measures_each_start_and_stop_and_stores_what_can_be_read_again(imagined: Imagined, tmp_path: Path) -> None:
    ended = played(plan(tmp_path, runs=3, attributes={"commit": "1f3a"}, again="jetable bench x"))
    assert series(ended).rounds == (0, 1, 2)
    assert all(0.02 < sample < 0.04 for sample in series(ended).samples)
    assert len(series(ended, metric="shutdown_time").samples) == 3
    assert ended.bench == read_bench(ended.folder) == read_bench(tmp_path / "latest")
    assert (ended.bench.how, ended.bench.why, ended.stopped, ended.exit_code) == ("finished", "", False, ExitCode.PASSED)
    assert ended.bench.attributes == {"commit": "1f3a"}
    assert ended.bench.variants[0].command == "app"


def test_in_each_round_each_variant_has_its_turn_once_under_each_condition(imagined: Imagined, tmp_path: Path) -> None:
    ended = played(plan(tmp_path, variant("a"), variant("b"), runs=6, under=("idle", "keep-alive")))
    cells = sorted((name, under) for name in "ab" for under in ("idle", "keep-alive"))
    assert all(sorted(order) == cells for order in turns(ended).values())
    assert list(turns(ended)) == [0, 1, 2, 3, 4, 5]


def test_the_order_of_a_round_is_chance_that_the_seed_repeats(imagined: Imagined, tmp_path: Path) -> None:
    def orders(seed: int) -> list[list[tuple[str, str]]]:
        return list(turns(played(plan(tmp_path, variant("a"), variant("b"), variant("c"), runs=8, seed=seed))).values())

    once = orders(7)
    assert len({tuple(order) for order in once}) > 2
    assert orders(7) == once
    assert orders(8) != once


def test_a_replica_of_each_number_starts_at_once(imagined: Imagined, tmp_path: Path) -> None:
    ended = played(plan(tmp_path, runs=2, under=("at-once",), at_once=(1, 3)))
    assert [(each.at_once, each.starts) for each in ended.bench.variants[0].attempts] in ([(1, 2), (3, 6)], [(3, 6), (1, 2)])


def test_warm_ups_come_first_and_are_discarded(imagined: Imagined, tmp_path: Path) -> None:
    ended = played(plan(tmp_path, variant("a"), variant("b"), runs=2, warmup=3))
    assert [cycle.warmup for _, cycle in cycles(ended)] == [True] * 6 + [False] * 4
    assert series(ended).rounds == (0, 1)
    assert [(each.starts, each.warmups) for each in ended.bench.variants[0].attempts] == [(2, 3)]


@pytest.mark.slow
def test_what_runs_under_load_has_sessions_of_a_few_cycles_in_turns(imagined: Imagined, tmp_path: Path) -> None:
    whole = Scenario.model_validate(LOADED)
    variants = variant("a", scenario=whole), variant("b", scenario=whole)
    ended = played(plan(tmp_path, *variants, runs=LOADED_CYCLES + 1, under=("load",), warmup=1))
    assert [loaded for _, loaded in imagined.opened] == [True] * 4
    assert [(each.starts, each.failed, each.warmups) for each in ended.bench.variants[1].attempts] == [(LOADED_CYCLES + 1, 0, 1)]
    assert series(ended, under="load").rounds == tuple(range(LOADED_CYCLES + 1))
    assert series(ended, metric="time_to_first_answer", under="load").samples
    names = [name for name, _ in cycles(ended)]
    blocks = [names[place : place + LOADED_CYCLES] for place in (0, LOADED_CYCLES)]
    assert [len(set(block)) for block in blocks] == [1, 1]
    assert blocks[0] != blocks[1]


# --- when it is enough ----------------------------------------------------------------------------------------------------------


def test_runs_is_an_exact_number(imagined: Imagined, tmp_path: Path) -> None:
    assert rounds(played(plan(tmp_path, runs=7, precision=0.9))) == 7


def test_a_bench_without_any_noise_ends_with_its_fewest_rounds(imagined: Imagined, tmp_path: Path) -> None:
    ended = played(plan(tmp_path, min_runs=8, max_runs=30))
    assert rounds(ended) == 8
    assert ended.bench.warnings == ()


@pytest.mark.slow
def test_a_noisy_bench_goes_on_until_it_is_precise(imagined: Imagined, tmp_path: Path) -> None:
    imagined.scripts = {"v": Varying(1.0, 0.15, seed=3)}
    loose = rounds(played(plan(tmp_path, min_runs=6, max_runs=80, precision=0.2)))
    imagined.scripts = {"v": Varying(1.0, 0.15, seed=3)}
    tight = rounds(played(plan(tmp_path, min_runs=6, max_runs=80, precision=0.05)))
    assert 6 <= loose < tight < 80


def test_a_bench_that_never_gets_precise_ends_at_its_bound_and_says_so(imagined: Imagined, tmp_path: Path) -> None:
    imagined.scripts = {"v": Varying(0.5, 1.0, seed=3)}
    ended = played(plan(tmp_path, min_runs=6, max_runs=9, precision=0.01))
    assert rounds(ended) == 9
    (warning,) = ended.bench.warnings
    assert warning.startswith("stopped after 9 runs at ±")
    assert "±1 %" in warning


def test_the_least_precise_of_all_decides(imagined: Imagined, tmp_path: Path) -> None:
    imagined.scripts = {"calm": Varying(0.5, 0.2, seed=4), "noisy": Varying(0.5, 1.0, seed=3)}
    ended = played(plan(tmp_path, variant("calm"), variant("noisy"), min_runs=6, max_runs=9, precision=0.05))
    assert len(series(ended, 0).samples) == len(series(ended, 1).samples) == 9
    assert "for noisy" in ended.bench.warnings[0]


def test_a_bench_that_takes_too_long_ends_after_its_fewest_rounds(
    imagined: Imagined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(course, "LONGEST_S", 2.0)
    imagined.scripts = {"v": Varying(0.5, 1.0, seed=3)}
    ended = played(plan(tmp_path, min_runs=7, max_runs=100, precision=0.01))
    assert rounds(ended) == 7
    assert ended.bench.warnings[0].startswith("stopped after 2 s at ±")


@pytest.mark.slow
def test_clean_and_killed_starts_that_take_different_times_are_known_each_for_itself(imagined: Imagined, tmp_path: Path) -> None:
    quick, slow = FakeProcess(start_s=0.1), FakeProcess(start_s=0.3)
    imagined.scripts = {"v": InTurn(*[quick, quick, slow] * 20)}
    ended = played(plan(tmp_path, under=("kill",), min_runs=8, max_runs=20, precision=0.05))
    assert rounds(ended) == 8
    assert {round(sample, 1) for sample in series(ended, under="clean").samples} == {0.1}
    assert {round(sample, 1) for sample in series(ended, under="kill").samples} == {0.3}


# --- failed starts --------------------------------------------------------------------------------------------------------------


def test_a_variant_that_never_starts_is_given_up_and_the_others_go_on(imagined: Imagined, tmp_path: Path) -> None:
    imagined.scripts = {"bad": {"web": CRASHES}}
    ended = played(plan(tmp_path, variant("good"), variant("bad"), runs=6))
    good, bad = ended.bench.variants
    assert len(series(ended, 0).samples) == 6
    assert [(each.starts, each.failed) for each in good.attempts] == [(6, 0)]
    assert [(each.starts, each.failed) for each in bad.attempts] == [(HOPELESS, HOPELESS)]
    assert [each.reason for each in bad.failed] == ["exited"] * HOPELESS
    assert ended.exit_code == ExitCode.FAILED
    assert ended.bench.how == "finished"
    assert ended.bench.warnings == ("bad: the first 3 starts all failed, so no more were tried; see the failed starts",)


def test_a_bench_of_which_nothing_starts_ends_at_once(imagined: Imagined, tmp_path: Path) -> None:
    imagined.scripts = {"v": {"web": NEVER}}
    ended = played(plan(tmp_path, variant(scenario=scenario(healthcheck={"tcp": True, "start_period": "1s"}))))
    assert rounds(ended) == HOPELESS
    assert {each.reason for each in ended.bench.variants[0].failed} == {"never-healthy"}


def test_warm_ups_that_fail_leave_the_rounds_to_prove_it(imagined: Imagined, tmp_path: Path) -> None:
    imagined.scripts = {"v": {"web": CRASHES}}
    ended = played(plan(tmp_path, runs=9, warmup=8))
    assert [(each.starts, each.failed, each.warmups) for each in ended.bench.variants[0].attempts] == [(3, 3, 3)]
    assert ended.exit_code == ExitCode.FAILED


def test_a_variant_that_started_once_is_not_given_up(imagined: Imagined, tmp_path: Path) -> None:
    fine = FakeProcess()
    imagined.scripts = {"v": InTurn(CRASHES, CRASHES, fine, CRASHES, CRASHES, CRASHES, CRASHES, fine)}
    ended = played(plan(tmp_path, runs=9))
    assert [(each.starts, each.failed) for each in ended.bench.variants[0].attempts] == [(9, 6)]
    assert ended.bench.warnings == ()


def test_a_variant_that_started_in_a_warm_up_is_not_given_up(imagined: Imagined, tmp_path: Path) -> None:
    imagined.scripts = {"v": InTurn(FakeProcess(), FakeProcess(), FakeProcess(), CRASHES)}
    ended = played(plan(tmp_path, runs=5, warmup=3))
    assert [(each.starts, each.failed, each.warmups) for each in ended.bench.variants[0].attempts] == [(5, 5, 3)]


@pytest.mark.slow
def test_no_session_is_opened_for_what_was_given_up_under_load(imagined: Imagined, tmp_path: Path) -> None:
    whole = Scenario.model_validate(LOADED)
    imagined.scripts = {"bad": InTurn(FakeProcess(), FakeProcess(), CRASHES)}  # the two others under load start
    ended = played(plan(tmp_path, variant("good", scenario=whole), variant("bad", scenario=whole), runs=3 * LOADED_CYCLES, under=("load",)))
    assert [len(each.folders) for each in ended.bench.variants] == [3, 1]
    assert ended.bench.variants[1].attempts[0].failed == HOPELESS


# --- what is kept ---------------------------------------------------------------------------------------------------------------


def test_a_bench_that_somebody_stops_keeps_what_was_measured(imagined: Imagined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails_at(monkeypatch, 4, StoppedError("stopped"))
    ended = played(plan(tmp_path, variant("a"), variant("b"), runs=5))
    assert (ended.stopped, ended.bench.how) == (True, "interrupted")
    assert len(cycles(ended)) == 4
    assert read_bench(ended.folder) == ended.bench
    assert sum(attempts.starts for each in ended.bench.variants for attempts in each.attempts) == 4


def test_a_stop_while_the_bench_is_judged_loses_nothing(imagined: Imagined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge, calls = books.measured, iter(range(10))

    def measured(histories: Any) -> Any:
        if next(calls) == 0:
            raise StoppedError("stopped")
        return judge(histories)

    monkeypatch.setattr(books, "measured", measured)
    ended = played(plan(tmp_path, runs=2))
    assert (ended.stopped, len(series(ended).samples)) == (True, 2)
    assert read_bench(ended.folder) == ended.bench


@pytest.mark.parametrize("error", [StoppedError("stopped"), MachineError("no memory")])
def test_what_ends_it_before_its_first_cycle_leaves_nothing(
    error: Exception, imagined: Imagined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_at(monkeypatch, 0, error)
    with pytest.raises(type(error)):
        played(plan(tmp_path / "reports"))
    assert not (tmp_path / "reports").exists()


def test_what_ends_it_later_is_told_with_what_was_measured(imagined: Imagined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails_at(monkeypatch, 2, MachineError("no memory"))
    ended = played(plan(tmp_path))
    assert (ended.bench.how, ended.bench.why, ended.exit_code) == ("aborted", "no memory", ExitCode.FAILED)
    assert len(series(ended).samples) == 2


def test_an_engine_that_goes_away_cuts_the_bench_short(imagined: Imagined, tmp_path: Path) -> None:
    class Losing(FakeEngine):
        def lost(self) -> str:
            return "the engine does not answer; start it again" if self._made > 2 else ""

    imagined.engine = Losing
    ended = played(plan(tmp_path, runs=5))
    assert (ended.bench.how, ended.bench.why) == ("aborted", "the engine does not answer; start it again")
    assert len(series(ended).samples) == 2
    assert ended.exit_code != ExitCode.PASSED


def test_a_session_that_can_t_be_opened_closes_those_before_it(imagined: Imagined, tmp_path: Path) -> None:
    whole = scenario(depends_on=["other"])
    imagined.scripts = {"b": {"other": FakeProcess(missing=True)}}
    with pytest.raises(UsageError, match="other: command other is not on PATH"):
        played(plan(tmp_path / "reports", variant("a", scenario=whole), variant("b", scenario=whole)))
    assert not (tmp_path / "reports").exists()


# --- commands of the person's own -----------------------------------------------------------------------------------------------


def commanded(tmp_path: Path) -> Callable[[], list[str]]:
    return lambda: (tmp_path / "told").read_text().split()


def test_what_prepares_runs_before_each_cycle_and_what_cleans_up_once_for_each_variant(imagined: Imagined, tmp_path: Path) -> None:
    tell = f"echo {{}} >> {tmp_path}/told"
    variants = [variant(name, prepare=tell.format(f"prepare-{name}"), cleanup=tell.format(f"cleanup-{name}")) for name in "ab"]
    played(plan(tmp_path / "reports", *variants, runs=2, warmup=1))
    told = commanded(tmp_path)()
    assert sorted(told[:-2]) == ["prepare-a"] * 3 + ["prepare-b"] * 3
    assert told[-2:] == ["cleanup-a", "cleanup-b"]


def test_what_can_t_prepare_ends_it_before_anything_was_measured(imagined: Imagined, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--prepare 'echo no disk; exit 3' ended with status 3: no disk"):
        played(plan(tmp_path / "reports", variant(prepare="echo no disk; exit 3")))
    assert not (tmp_path / "reports").exists()


def test_what_can_t_prepare_later_keeps_what_was_measured(imagined: Imagined, tmp_path: Path) -> None:
    once = f"mkdir {tmp_path}/once"
    ended = played(plan(tmp_path / "reports", variant(prepare=once), runs=3))
    assert ended.bench.how == "aborted"
    assert "--prepare" in ended.bench.why
    assert len(series(ended).samples) == 1


def test_what_can_t_clean_up_keeps_what_was_measured(imagined: Imagined, tmp_path: Path) -> None:
    ended = played(plan(tmp_path, variant(cleanup="exit 1"), runs=2))
    assert (ended.bench.how, len(series(ended).samples), ended.exit_code) == ("aborted", 2, ExitCode.FAILED)
    assert "--cleanup" in ended.bench.why


# --- what is said ---------------------------------------------------------------------------------------------------------------


def test_progress_tells_each_round_and_ends_whatever_happens(imagined: Imagined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Told(SilentProgress):
        def __init__(self) -> None:
            self.said: list[str] = []

        def run_began(self, name: str, steps: Any, planned_s: float) -> None:
            self.said.append(f"{name}: {len(steps)}")

        def step_began(self, index: int, text: str) -> None:
            self.said.append(f"{index} {text}")

        def run_ended(self) -> None:
            self.said.append("ended")

    fails_at(monkeypatch, 3, StoppedError("stopped"))
    told = Told()
    course.run_bench(plan(tmp_path, runs=9, warmup=1), told)
    assert told.said == ["a bench: 9", "0 warm-up 1 of 1", "1 idle", "2 idle", "3 idle", "ended"]


def test_what_is_stored_is_json_of_one_version(imagined: Imagined, tmp_path: Path) -> None:
    made: BenchPlan = plan(tmp_path, variant(parameters={"workers": "2"}, reference=True, cold=("bytecode",)), runs=2)
    stored = json.loads((played(made).folder / FILE).read_text())
    assert stored["version"] == 1
    assert stored["variants"][0]["parameters"] == {"workers": "2"}
    assert stored["variants"][0]["cold"] == ["bytecode"]
    assert stored["machine"]["cores"] > 0


# --- what a bench can tell ------------------------------------------------------------------------------------------------------


def verdict(imagined: Imagined, tmp_path: Path, slower: float, seed: int) -> str:
    """Of 50 interleaved rounds of two variants with 2 % of noise, the second one so much slower, that may be 2 % slower."""
    imagined.scripts = {"base": Varying(0.1, 0.02, seed=seed), "new": Varying(0.1 * (1 + slower), 0.02, seed=seed + 1000)}
    ended = played(plan(tmp_path, variant("base", reference=True), variant("new"), runs=50, seed=seed))
    return compare([read_place(ended.folder)], threshold=0.02).verdict


@pytest.mark.slow
def test_a_start_that_is_five_per_cent_slower_is_found(imagined: Imagined, tmp_path: Path) -> None:
    assert [verdict(imagined, tmp_path, 0.05, seed) for seed in range(4)] == ["fail"] * 4


@pytest.mark.slow
def test_a_start_that_is_no_slower_is_never_called_slower(imagined: Imagined, tmp_path: Path) -> None:
    assert "fail" not in [verdict(imagined, tmp_path, 0.0, seed) for seed in range(20)]
