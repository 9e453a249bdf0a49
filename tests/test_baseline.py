"""Baselines: what is read of a stored run or bench, what is refused, and that a run keeps what it was compared with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness import benches
from harness.baseline import baseline_of, kept_baseline, needs_baseline, read_baselines, with_limits
from harness.benches import STOOD_STILL, Attempts, Bench, HealthCheck, Series, Variant
from harness.checks.expect import resolved
from harness.checks.health import TEST_EVERY_S, health_of
from harness.clock import NS_PER_S, MonotonicClock
from harness.engines.docker_container import TEST_EVERY_NS
from harness.errors import UsageError
from harness.history import Baseline, BaselineNumber, Cycled, Header, Lagged, RunEnded
from harness.resources import machine
from harness.run import RunOptions, header_of, with_baseline
from harness.scenario import Scenario
from tests.checks.build import Story, at, clean_stop, steady_run, stop_run

STARTS = "startup_time p(50) <= baseline + 10%"
SLOWEST = "startup_time max <= baseline + 10%"
STOPS = "shutdown_time max <= baseline + 1s"
WORKER = {"worker": {"command": ["work"]}}


def stored(folder: Path, story: Story, name: str = "main", **changes: Any) -> Path:
    """The history of ``story`` on disk, its header changed."""
    header, *lines = story.ordered()
    encoder = msgspec.json.Encoder()
    file = folder / name / "history" / "events.jsonl"
    file.parent.mkdir(parents=True)
    whole = [msgspec.structs.replace(header, **changes), *lines]
    file.write_bytes(b"".join(encoder.encode(line) + b"\n" for line in whole))
    return folder / name


def scenario(*expect: str, name: str = "a story", others: dict[str, Any] | None = None) -> Scenario:
    return stop_run(clean_stop, expect=expect, others=others).scenario.model_copy(update={"name": name})


def asked(wanted: Scenario, *places: Path, engine: str = "process", here: str = "2 cores") -> Baseline | None:
    return baseline_of(wanted, read_baselines(places), engine, here)


def bench(**changes: Any) -> Bench:
    """A bench of two series: starts of web with nothing else on, and under load."""
    idle = Series(process="web", under="idle", metric="startup_time", unit="s", samples=(0.1, 0.2, 0.3, 0.4), rounds=(0, 1, 2, 3))
    busy = msgspec.structs.replace(idle, under="load", samples=(9.0,), rounds=(0,))
    variant = Variant(name="web", engine="process", command="app", series=(idle, busy))
    given = {"name": "a bench", "began": "2026", "how": "finished", "machine": machine(), "seed": 1, "variants": (variant,), **changes}
    return Bench(**given)


def written(folder: Path, what: Bench) -> Path:
    (folder / benches.FILE).write_bytes(benches.encoded(what))
    return folder


def changed(**changes: Any) -> Bench:
    """The bench, with its only variant changed."""
    (variant,) = bench().variants
    return bench(variants=(msgspec.structs.replace(variant, **changes),))


def test_a_run_says_a_number_for_each_threshold_that_needs_one(tmp_path: Path) -> None:
    place = stored(tmp_path, stop_run(clean_stop))
    found = asked(scenario(STARTS, "dropped_requests == 0", STOPS, "web.requests >= baseline"), place)
    assert found is not None
    assert (found.place, found.name, found.engine, found.machine) == (str(place), "a story", "process", "2 cores")
    assert [(told.threshold, round(told.number, 9), told.samples) for told in found.numbers] == [
        (STARTS, 0.05, 3),
        (STOPS, 0.08, 1),
        ("web.requests >= baseline", 36.0, 1),
    ]


def test_without_a_source_or_a_threshold_that_needs_one_there_is_none(tmp_path: Path) -> None:
    place = stored(tmp_path, steady_run())
    assert asked(scenario(STARTS)) is None
    assert asked(scenario("startup_time max < 2s"), place) is None
    assert [needs_baseline(scenario(text)) for text in (STARTS, "startup_time max < 2s")] == [True, False]


def test_a_failed_run_is_a_baseline_as_good_as_any(tmp_path: Path) -> None:
    story = stop_run(clean_stop, expect=["shutdown_time max < 1ms"])
    assert asked(scenario(STOPS), stored(tmp_path, story)) is not None


def test_a_link_is_followed_since_it_will_soon_lead_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stored(tmp_path / "reports", steady_run())
    Path("reports/latest").symlink_to("main")
    found = asked(scenario(STARTS), Path("reports/latest"))
    assert found is not None
    assert found.place == "reports/main"


def unfinished() -> Story:
    story = steady_run(end=False)
    story.tell(RunEnded(at_ns=at(1100), how="interrupted"))
    return story


def stalled() -> Story:
    story = steady_run()
    story.tell(Lagged(at_ns=at(400), lag_ns=at(399) - at(0)))
    return story


def of_a_bench() -> Story:
    story = steady_run()
    story.tell(Cycled(at_ns=at(1000), began_ns=at(1), round=0, under="idle", process="web"))
    return story


@pytest.mark.parametrize(
    ("story", "header", "text", "says"),
    [
        (unfinished, {}, STARTS, "a run that was not finished; name one that was"),
        (lambda: steady_run(end=False), {}, STARTS, "a run that was not finished; name one that was"),
        (of_a_bench, {}, STARTS, "a part of a bench; name the bench's own folder, which has a bench.json"),
        (stalled, {}, STARTS, "can't tell startup_time: the harness stood still meanwhile, so its times may be too long"),
        (steady_run, {"engine": "docker"}, STARTS, "was measured on the engine docker, and this run is on process; measure one here"),
        (steady_run, {"machine": "64 cores"}, STARTS, "was measured on 64 cores, and this run is on 2 cores; measure one here"),
        (steady_run, {"scenario": "{}"}, STARTS, "its scenario can't be read by this Jetable"),
        (steady_run, {}, STOPS, f'has no samples of shutdown_time, which "{STOPS}" needs'),
        (
            steady_run,
            {"scenario": scenario(name="another").model_dump_json()},
            STARTS,
            'is a run of "another", and not of "a story"; name a run of the same scenario',
        ),
        (
            steady_run,
            {"scenario": scenario(others=WORKER).model_dump_json()},
            STARTS,
            "has the process types web and worker, and this run has web; measure another one",
        ),
    ],
)
def test_a_run_that_does_not_compare_is_refused_in_a_sentence(
    story: Callable[[], Story], header: dict[str, Any], text: str, says: str, tmp_path: Path
) -> None:
    place = stored(tmp_path, story(), **header)
    with pytest.raises(UsageError) as caught:
        asked(scenario(text), place)
    assert str(caught.value).startswith(f"baseline {place}")
    assert says in str(caught.value)


def test_a_stall_spoils_times_and_nothing_else(tmp_path: Path) -> None:
    assert asked(scenario("requests >= baseline"), stored(tmp_path, stalled())) is not None


def test_what_is_no_run_and_no_bench_is_refused(tmp_path: Path) -> None:
    (tmp_path / "some.json").write_text("{")
    (tmp_path / "empty").mkdir()
    for name, says in (
        ("nowhere", "there is no such file or folder; name the folder of a stored run or bench"),
        ("some.json", "cut off in the middle"),
        ("empty", "no history here"),
    ):
        with pytest.raises(UsageError, match=says) as caught:
            read_baselines([tmp_path / name])
        assert str(caught.value).startswith(f"baseline {tmp_path / name}")


def test_of_several_baselines_each_scenario_has_its_own(tmp_path: Path) -> None:
    mine = stored(tmp_path, steady_run(), "mine")
    other = stored(tmp_path, steady_run(), "other", scenario=scenario(name="another").model_dump_json())
    for name, place in (("a story", mine), ("another", other)):
        found = asked(scenario(STARTS, name=name), mine, other)
        assert found is not None
        assert found.place == str(place)
    with pytest.raises(UsageError, match='is of "a third one"; name a run of that scenario as well'):
        asked(scenario(STARTS, name="a third one"), mine, other)
    with pytest.raises(UsageError, match='are all of "a story"; name one for each scenario'):
        asked(scenario(STARTS), mine, mine)


def test_of_a_bench_the_starts_with_nothing_else_on_count(tmp_path: Path) -> None:
    place = written(tmp_path, bench())
    for named in (place, place / benches.FILE):
        found = asked(scenario(STARTS), named)
        assert found is not None
        assert found.numbers == (BaselineNumber(threshold=STARTS, number=0.25, samples=4),)
        assert (found.name, found.engine, found.machine) == ("a bench", "process", "2 cores")


@pytest.mark.parametrize(
    ("what", "text", "says"),
    [
        (lambda: bench(how="interrupted"), STARTS, "a bench that was not finished (interrupted)"),
        (lambda: bench(machine=msgspec.structs.replace(machine(), cores=640)), STARTS, "on another machine than this run: cores 640, not "),
        (lambda: changed(engine="docker"), STARTS, "was measured on the engine docker, and this run is on process"),
        (lambda: changed(cold=("disk",)), STARTS, "was made cold before each start, and no run is"),
        (
            lambda: bench(variants=(*bench().variants, *changed(name="b").variants)),
            STARTS,
            "has several variants (web and b), and nobody can tell which is meant",
        ),
        (bench, STOPS, "has no samples of shutdown_time"),
    ],
)
def test_a_bench_that_does_not_compare_is_refused_in_a_sentence(what: Callable[[], Bench], text: str, says: str, tmp_path: Path) -> None:
    place = written(tmp_path, what())
    with pytest.raises(UsageError) as caught:
        asked(scenario(text), place)
    assert str(caught.value).startswith(f"baseline {place}")
    assert says in str(caught.value)


def books(**changes: Any) -> Attempts:
    return Attempts(**{"process": "web", "under": "idle", "starts": 4, "failed": 0, "killed": 0, "warmups": 0, **changes})


@pytest.mark.parametrize(
    ("late", "warnings", "threshold", "refused"),
    [
        ((books(late=1),), (), STARTS, True),
        ((books(late=1, starts=20),), (), STARTS, False),
        ((books(late=1, starts=20),), (), SLOWEST, True),
        ((books(late=0), books(under="load", late=3)), (f"{STOOD_STILL}3 starts and stops",), SLOWEST, False),
        ((books(),), (f"{STOOD_STILL}1 start or stop, by 20.0 ms at most",), STARTS, True),
        ((books(),), ("something else",), SLOWEST, False),
    ],
)
def test_a_bench_during_which_the_harness_stood_still_tells_no_times(
    late: tuple[Attempts, ...], warnings: tuple[str, ...], threshold: str, tmp_path: Path, *, refused: bool
) -> None:
    place = written(tmp_path, changed(attempts=late, warnings=warnings))
    if not refused:
        assert asked(scenario(threshold), place) is not None
        return
    with pytest.raises(UsageError) as caught:
        asked(scenario(threshold), place)
    stood = "the harness stood still meanwhile, so its times may be too long"
    assert str(caught.value) == f"baseline {place} can't tell startup_time: {stood}; measure another one"


READY = HealthCheck(kind="http", asked="/ready", every_s=0.01)
LISTENS = "time_to_listening max <= baseline"


def checked(written_as: Any, *expect: str) -> Scenario:
    """The scenario with another health check of web."""
    whole = scenario(*expect).model_dump(mode="json")
    whole["target"]["web"] |= {"healthcheck": written_as, "image": "shop:1"}
    return Scenario.model_validate(whole)


def test_another_health_check_does_not_compare_where_both_are_known(tmp_path: Path) -> None:
    place = written(tmp_path, changed(health=READY))
    with pytest.raises(UsageError) as caught:
        asked(checked("/healthz", STARTS), place)
    assert str(caught.value) == (
        f"baseline {place} was told healthy by GET /ready every 10 ms, and this run is by GET /healthz every 10 ms, "
        "so startup_time does not compare; measure another one"
    )
    assert asked(checked("/ready", STARTS), place) is not None
    for unknown in (bench(), changed(health=None)):
        assert asked(checked("/healthz", STARTS), written(tmp_path, unknown)) is not None


def test_what_hangs_on_no_health_check_compares_whatever_it_was(tmp_path: Path) -> None:
    (idle, _) = bench().variants[0].series
    listening = msgspec.structs.replace(idle, metric="time_to_listening")
    assert asked(checked("/healthz", LISTENS), written(tmp_path, changed(health=READY, series=(listening,)))) is not None


def test_an_image_may_bring_its_own_health_check_so_nothing_is_refused(tmp_path: Path) -> None:
    place = written(tmp_path, changed(health=READY, engine="docker"))
    bare = checked(None, STARTS)
    assert asked(bare, place, engine="docker") is not None
    with pytest.raises(UsageError, match="was told healthy by GET /ready every 10 ms, and this run is by an open port"):
        asked(checked({"disable": True}, STARTS), place, engine="docker")


def test_a_run_with_another_health_check_does_not_compare(tmp_path: Path) -> None:
    place = stored(tmp_path, steady_run(), scenario=checked("/ready").model_dump_json())
    assert asked(checked("/ready", STARTS), place) is not None
    with pytest.raises(UsageError, match="was told healthy by GET /ready every 10 ms, and this run is by GET /healthz every 10 ms"):
        asked(checked("/healthz", STARTS), place)


def test_a_run_whose_test_was_run_at_another_pace_does_not_compare_where_that_was_told(tmp_path: Path) -> None:
    test = {"test": ["CMD", "ls"]}
    place = stored(tmp_path, steady_run(), scenario=checked(test | {"interval": "10s"}).model_dump_json())
    with pytest.raises(UsageError, match=r"was told healthy by the test .* every 10 s, and this run is by the test .* every 500 ms"):
        asked(checked(test, STARTS), place)
    once = stored(tmp_path / "once", steady_run(), scenario=checked(test | {"interval": "10ms"}).model_dump_json())
    assert asked(checked(test, STARTS), once) is not None


@pytest.mark.parametrize(
    ("written_as", "check"),
    [
        ({"http": "/a", "interval": "1s"}, HealthCheck(kind="http", asked="/a", every_s=1.0)),
        ({"http": "/a", "interval": "1s", "start_interval": "50ms"}, HealthCheck(kind="http", asked="/a", every_s=0.05)),
        ({"tcp": True, "interval": "1s"}, HealthCheck(kind="tcp")),
        ({"log": "ready"}, HealthCheck(kind="log", asked="ready", every_s=0.01)),
        ("running", HealthCheck(kind="running")),
        ({"test": ["CMD", "ls", "a b"]}, HealthCheck(kind="test", asked="CMD ls 'a b'", every_s=0.5)),
        ({"test": ["CMD", "ls"], "interval": "2s"}, HealthCheck(kind="test", asked="CMD ls", every_s=2.0)),
        ({"test": ["CMD", "ls"], "start_interval": "100ms"}, HealthCheck(kind="test", asked="CMD ls")),
    ],
)
def test_what_a_bench_stores_of_a_health_check(written_as: Any, check: HealthCheck) -> None:
    assert health_of(checked(written_as), "web") == check


def test_a_test_without_an_interval_is_run_as_often_as_the_engine_does() -> None:
    assert TEST_EVERY_S == TEST_EVERY_NS / NS_PER_S


def test_a_bench_says_nothing_of_several_process_types_together(tmp_path: Path) -> None:
    place = written(tmp_path, bench())
    with pytest.raises(UsageError, match=r"speaks of web and worker together.*write web\.startup_time"):
        asked(scenario(STARTS, others=WORKER), place)
    assert asked(scenario(f"web.{STARTS}", others=WORKER), place) is not None
    with pytest.raises(UsageError, match=r'is a bench of web, and "worker\.startup_time .*" speaks of worker; name a bench of the same'):
        asked(scenario(f"worker.{STARTS}", others=WORKER), place)


def test_a_process_type_that_never_started_has_no_baseline(tmp_path: Path) -> None:
    place = stored(tmp_path, stop_run(clean_stop, others=WORKER))
    with pytest.raises(UsageError, match="has no samples of startup_time of worker, which"):
        asked(scenario(f"worker.{STARTS}", others=WORKER), place)


def test_a_bench_of_both_engines_has_one_variant_for_each(tmp_path: Path) -> None:
    both = bench(variants=(*bench().variants, *changed(name="docker", engine="docker").variants))
    assert asked(scenario(STARTS), written(tmp_path, both), engine="docker") is not None


def test_a_scenario_that_knows_its_limits_is_stored_as_it_was_written(tmp_path: Path) -> None:
    wanted = scenario(STARTS)
    limited = with_limits(wanted, asked(wanted, stored(tmp_path, steady_run())))
    assert [round(limit, 9) for limit in limited.expect[0].limits] == [0.055]
    assert limited.model_dump_json() == wanted.model_dump_json()
    assert with_limits(wanted, None) is wanted


def test_the_header_of_a_run_keeps_the_baseline_and_says_how_to_repeat_it(tmp_path: Path) -> None:
    wanted, clock = scenario(STARTS), MonotonicClock()
    options = RunOptions(engine="process", seed=7, reports=tmp_path)
    here = header_of(wanted, Path("x.yaml"), options, "r", clock).machine
    place = stored(tmp_path, steady_run(), machine=here)
    options = with_baseline(wanted, options, read_baselines([place]))
    header = header_of(wanted, Path("x.yaml"), options, "r", clock)
    again = msgspec.json.decode(msgspec.json.encode(header), type=Header)
    assert again == header
    assert again.baseline == options.baseline
    assert again.rerun.endswith(f"--baseline {place}")
    assert resolved(wanted.expect[0], again.baseline).holds([0.05]) is True
    replayed = with_baseline(wanted, RunOptions(engine="", seed=7, reports=tmp_path), [], again)
    assert replayed.baseline == again.baseline


def test_a_replay_elsewhere_has_no_baseline(tmp_path: Path) -> None:
    old = asked(scenario(STARTS), stored(tmp_path, steady_run()))
    assert kept_baseline(old, "process", "2 cores") == old
    assert kept_baseline(old, "docker", "2 cores") is None
    assert kept_baseline(old, "process", "64 cores") is None
    assert kept_baseline(None, "process", "2 cores") is None
