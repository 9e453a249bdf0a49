"""What a comparison says of series whose truth is known, and what it refuses to compare."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.benches import FILE, STOOD_STILL, Bench, HealthCheck, Machine, Series, encoded
from harness.compare import (
    COMPARED,
    TIMES,
    Change,
    Comparison,
    Failures,
    Judgement,
    Place,
    _Trials,
    bench_of_run,
    compare,
    exit_of,
    more_often,
    parse_percent,
    read_place,
)
from harness.errors import ExitCode, UsageError
from harness.history import Cycled, Lagged, read
from tests.checks.build import FOLDER, Story, at, steady_run
from tests.helpers.benches import MACHINE, a_bench, a_series, a_variant, books, stored, times

STOPS = FOLDER / "fail--dropped-in-flight--grace-over.jsonl"


def place(bench: Bench, name: str = "new") -> Place:
    return Place(path=Path(name), kind="bench", bench=bench)


def of(*series: Series, **more: object) -> Bench:
    return a_bench(a_variant(*series, **more))


def judged(base: Bench, new: Bench, threshold: float = 0.05) -> Comparison:
    return compare([place(base, "base"), place(new)], threshold=threshold)


def only(comparison: Comparison) -> Change:
    (change,) = comparison.changes
    return change


def one(
    base: float, new: float, *, seed: int = 1, n: int = 50, noise: float = 0.03, threshold: float = 0.05, metric: str = "startup_time"
) -> Change:
    first = a_series(times(base, seed=seed, n=n, noise=noise), metric)
    second = a_series(times(new, seed=seed + 1000, n=n, noise=noise), metric)
    return only(judged(of(first), of(second), threshold))


# --- the words of one series ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_difference_is_never_slower_and_five_per_cent_are_always_found() -> None:
    same = [one(0.4, 0.4, seed=seed, threshold=0.02).judgement for seed in range(20)]
    slower = [one(0.4, 0.42, seed=seed, threshold=0.02).judgement for seed in range(20)]
    assert Judgement.SLOWER not in same
    assert slower == [Judgement.SLOWER] * 20


@pytest.mark.parametrize(
    ("base", "new", "word"),
    [
        (0.4, 0.48, Judgement.SLOWER),
        (0.4, 0.32, Judgement.FASTER),
        (0.4, 0.401, Judgement.SAME),
        (0.4, 0.41, Judgement.SAME),  # 2.5 % is less than the threshold
        (0.002, 0.0026, Judgement.SAME),  # 30 %, but less than a millisecond
        (0.002, 0.004, Judgement.SLOWER),
    ],
)
def test_a_regression_is_larger_than_the_threshold_and_than_what_can_be_seen(base: float, new: float, word: Judgement) -> None:
    assert one(base, new).judgement is word


def test_a_change_of_memory_has_its_floor_as_a_share() -> None:
    base = a_series(times(60e6, seed=1, noise=0.0001), "steady_memory", unit="bytes")
    new = a_series(times(60.5e6, seed=2, noise=0.0001), "steady_memory", unit="bytes")
    more = a_series(times(61e6, seed=2, noise=0.0001), "steady_memory", unit="bytes")
    assert only(judged(of(base), of(new), 0.001)).judgement is Judgement.SAME  # 0.8 %
    assert only(judged(of(base), of(more), 0.001)).judgement is Judgement.SLOWER  # 1.7 %


def test_the_ratio_is_that_of_the_medians() -> None:
    change = only(judged(of(a_series([0.1] * 10)), of(a_series([0.15] * 10))))
    assert (change.base_median, change.new_median, change.base_count, change.new_count) == (0.1, 0.15, 10, 10)
    assert change.ratio == pytest.approx(1.5)
    assert change.low == change.high == pytest.approx(1.5)
    assert change.judgement is Judgement.SLOWER


def test_what_can_not_be_told_says_why_and_how_many_runs_would_tell() -> None:
    change = one(0.4, 0.4, n=10, noise=0.2)
    assert change.judgement is Judgement.UNSURE
    assert change.why == "5 % more can't be excluded"
    assert change.runs_needed is not None
    assert change.runs_needed > 10


def test_what_got_worse_by_chance_is_no_regression_yet() -> None:
    change = only(judged(of(a_series([0.30, 0.5, 0.40, 0.45, 0.35] * 2)), of(a_series([0.32, 0.52, 0.46, 0.47, 0.37] * 2))))
    assert change.ratio == pytest.approx(1.15)
    assert change.judgement is Judgement.UNSURE
    assert change.why == "it got worse, and that may be chance"


@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_with_few_samples_nothing_is_the_same(n: int) -> None:
    change = one(0.4, 0.4, n=n, noise=0.0)
    assert change.judgement is Judgement.UNSURE
    assert change.why == f"too few samples: {n} and {n}"
    assert change.runs_needed == 8


def test_a_metric_that_is_always_zero_is_the_same_and_one_that_became_something_has_no_ratio() -> None:
    zero, some = a_series([0.0] * 10), a_series([1.0] * 10)
    assert only(judged(of(zero), of(zero))).judgement is Judgement.SAME
    change = only(judged(of(zero), of(some)))
    assert change.judgement is Judgement.UNSURE
    assert "median of the base is 0" in change.why


@pytest.mark.slow
@settings(max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from([0.8, 1.0, 1.2]))
def test_slower_and_faster_are_one_law_read_from_both_sides(seed: int, factor: float) -> None:
    there, back = one(0.4, 0.4 * factor, seed=seed), one(0.4 * factor, 0.4, seed=seed)
    assert (there.judgement is Judgement.SLOWER) == (factor == 1.2)
    assert (back.judgement is Judgement.SLOWER) == (factor == 0.8)


def test_a_finding_must_hold_against_all_series_together() -> None:
    base, new = times(0.4, seed=1, n=12, noise=0.1), times(0.46, seed=2, n=12, noise=0.1)
    alone = only(judged(of(a_series(base)), of(a_series(new))))
    others = [a_series(times(0.2, seed=30 + number, n=12), metric) for number, metric in enumerate(TIMES) if metric != "startup_time"]
    among = judged(of(a_series(base), *others), of(a_series(new), *others))
    first = next(change for change in among.changes if change.metric == "startup_time")
    assert alone.p is not None
    assert first.p == pytest.approx(min(1.0, alone.p * len(TIMES)))


# --- several baselines ------------------------------------------------------------------------------------------------------


def history_of(medians: list[float], new: float) -> Change:
    benches = [place(of(a_series(times(median, seed=number, noise=0.01))), f"main-{number}") for number, median in enumerate(medians)]
    return only(compare([*benches, place(of(a_series(times(new, seed=99, noise=0.01))))]))


def test_baselines_are_pooled_and_make_a_band_of_noise_from_three_on() -> None:
    assert history_of([0.4, 0.41], 0.45).band is None
    quiet = history_of([0.4, 0.401, 0.399, 0.4], 0.45)
    assert quiet.base_count == 200
    assert quiet.band is not None
    assert quiet.band[0] < 0.4 < quiet.band[1] < 0.45
    assert quiet.judgement is Judgement.SLOWER


def test_what_lies_within_the_noise_of_the_baselines_is_no_regression_and_nobody_can_tell() -> None:
    noisy = history_of([0.36, 0.4, 0.44, 0.38, 0.42], 0.45)
    assert noisy.ratio is not None
    assert noisy.ratio > 1.05
    assert noisy.judgement is Judgement.UNSURE
    assert noisy.why == "it got worse by no more than the 5 baselines differ from each other"


# --- one bench --------------------------------------------------------------------------------------------------------------


def test_variants_of_one_bench_are_compared_round_by_round_with_the_reference() -> None:
    drift = [0.3 + 0.02 * number for number in range(30)]  # the machine got much slower meanwhile
    bench = a_bench(
        a_variant(a_series([each * 1.06 for each in drift]), name="slow"),
        a_variant(a_series(drift), name="plain", reference=True),
        a_variant(a_series([each * 1.001 for each in drift]), name="same"),
    )
    found = compare([place(bench)])
    assert found.within
    assert found.reference == "plain"
    assert [(each.variant, each.base_variant, each.paired) for each in found.changes] == [("slow", "plain", True), ("same", "plain", True)]
    assert [each.judgement for each in found.changes] == [Judgement.SLOWER, Judgement.SAME]


def test_without_a_reference_the_first_variant_is_it_and_engines_may_differ() -> None:
    series = a_series(times(0.4, seed=1))
    bench = a_bench(a_variant(series, name="a"), a_variant(series, name="b", engine="docker"))
    found = compare([place(bench)])
    assert found.reference == "a"
    assert found.warnings == ("b ran on the engine docker, a on process",)
    assert found.verdict == "pass"


def test_one_bench_with_one_variant_is_refused() -> None:
    with pytest.raises(UsageError, match="new: has one variant only"):
        compare([place(of(a_series([1.0])))])


# --- matching ---------------------------------------------------------------------------------------------------------------


def test_names_of_only_variants_need_not_agree_but_those_of_several_do() -> None:
    series = a_series(times(0.4, seed=1))
    assert only(judged(of(series, name="old"), of(series, name="new"))).base_variant == "old"
    several = a_bench(a_variant(series, name="a"), a_variant(series, name="b"))
    found = judged(several, a_bench(a_variant(series, name="b"), a_variant(series, name="c")))
    assert [each.variant for each in found.changes] == ["b"]
    assert [(each.side, each.variant) for each in found.one_sided] == [("base", "a"), ("new", "c")]
    with pytest.raises(UsageError) as told:
        judged(several, of(series, name="z"))
    has = (f'"{name}" (web, nothing else on)' for name in "abz")
    assert str(told.value).endswith("nothing in common to compare: the base has {} and {}, the new one {}".format(*has))


def test_what_only_one_side_has_is_said() -> None:
    start, stop, memory = (a_series(times(0.4, seed=1), metric) for metric in ("startup_time", "shutdown_time", "peak_memory"))
    found = judged(of(start, stop), of(start, memory))
    assert [(each.side, each.metrics) for each in found.one_sided] == [("base", ("shutdown_time",)), ("new", ("peak_memory",))]
    assert found.verdict == "pass"  # nobody tried to stop it


def test_a_main_metric_that_was_tried_and_never_measured_makes_it_unknown() -> None:
    start, stop = (a_series(times(0.4, seed=1), metric) for metric in ("startup_time", "shutdown_time"))
    found = judged(of(start, stop, attempts=(books(),)), of(start, attempts=(books(),)))
    assert found.verdict == "unknown"


def test_conditions_and_processes_are_kept_apart() -> None:
    fast, slow = times(0.4, seed=1), times(0.8, seed=2)
    base = of(a_series(fast), a_series(slow, under="load"), a_series(fast, process="worker"))
    new = of(a_series(fast), a_series(slow, under="load"), a_series(slow, process="worker"))
    found = judged(base, new)
    told = {(each.process, each.under): each.judgement for each in found.changes}
    assert told == {("web", "idle"): Judgement.SAME, ("web", "load"): Judgement.SAME, ("worker", "idle"): Judgement.SLOWER}


def test_what_hangs_on_caches_is_not_compared() -> None:
    assert "start_page_faults" not in COMPARED
    assert set(COMPARED) >= {"startup_time", "shutdown_time", "steady_memory", "start_cpu_time"}


@pytest.mark.slow
def test_starts_at_once_that_share_the_luck_of_their_cycle_are_not_called_different() -> None:
    def bench(seed: int) -> Bench:
        dice, noise = random.Random(seed), times(0.4, seed=seed + 5000, n=160, noise=0.02)
        lucks = [1 + dice.gauss(0, 0.06) for _ in range(20)]
        samples = [noise[place] * lucks[place // 8] for place in range(160)]
        series = a_series(samples, under="at-once", at_once=8)
        return a_bench(a_variant(msgspec.structs.replace(series, rounds=tuple(place // 8 for place in range(160)))))

    told = [only(judged(bench(seed), bench(seed + 1000), threshold=0.01)) for seed in range(20)]
    assert {each.base_count for each in told} == {20}
    assert not {Judgement.SLOWER, Judgement.FASTER} & {each.judgement for each in told}


# --- what failed ------------------------------------------------------------------------------------------------------------


def failing(base: tuple[int, int], new: tuple[int, int], what: str = "failed") -> Failures:
    series = a_series(times(0.4, seed=1))
    sides = [of(series, attempts=(books(starts=of_, **{what: hits}),)) for hits, of_ in (base, new)]
    found = judged(*sides)
    return next(each for each in found.failures if each.what.startswith("killed" if what == "killed" else "failed"))


@pytest.mark.parametrize(
    ("base", "new", "word"),
    [
        ((0, 50), (0, 50), Judgement.SAME),
        ((0, 50), (1, 50), Judgement.UNSURE),
        ((0, 5), (1, 100), Judgement.UNSURE),
        ((0, 50), (10, 50), Judgement.SLOWER),
        ((3, 50), (3, 50), Judgement.SAME),
        ((3, 50), (5, 50), Judgement.UNSURE),
        ((3, 50), (20, 50), Judgement.SLOWER),
        ((20, 50), (1, 50), Judgement.FASTER),
    ],
)
def test_more_failed_starts_than_before_are_a_regression(base: tuple[int, int], new: tuple[int, int], word: Judgement) -> None:
    assert failing(base, new).judgement is word
    assert failing(base, new, "killed").judgement is word


def test_fisher_is_computed_as_by_hand() -> None:
    # The lady tasting tea: 3 of 4 right has a probability of 17/70, 4 of 4 of 1/70 (Fisher, The Design of Experiments, 1935).
    assert more_often(_Trials(1, 4), _Trials(3, 4)) == pytest.approx(17 / 70)
    assert more_often(_Trials(0, 4), _Trials(4, 4)) == pytest.approx(1 / 70)
    assert more_often(_Trials(0, 4), _Trials(0, 4)) == 1.0


def test_when_no_start_works_any_more_the_failed_starts_are_the_regression() -> None:
    found = judged(of(a_series(times(0.4, seed=1)), attempts=(books(),)), of(attempts=(books(failed=50),)))
    assert found.changes == ()
    assert found.verdict == "fail"


def test_when_no_start_works_on_either_side_nothing_is_known() -> None:
    broken = of(attempts=(books(failed=50),))
    assert judged(broken, broken).verdict == "unknown"


def test_starts_that_got_healthy_and_then_ended_by_themselves_are_failed_ones() -> None:
    assert failing((0, 50), (7, 50), "died").judgement is Judgement.SLOWER
    assert failing((3, 50), (3, 50), "died").judgement is Judgement.SAME


# --- the whole --------------------------------------------------------------------------------------------------------------


def test_only_metrics_that_matter_make_the_whole_unknown() -> None:
    sure, unsure = times(0.4, seed=1), times(0.4, seed=2, n=10, noise=0.3)
    other = times(0.4, seed=3, n=10, noise=0.3)
    minor = judged(of(a_series(sure), a_series(unsure, "time_to_listening")), of(a_series(sure), a_series(other, "time_to_listening")))
    assert [each.judgement for each in minor.changes] == [Judgement.UNSURE, Judgement.SAME]
    assert (minor.verdict, exit_of(minor)) == ("pass", ExitCode.PASSED)
    main = judged(of(a_series(unsure)), of(a_series(other)))
    assert (main.verdict, exit_of(main), exit_of(main, fail_on="none")) == ("unknown", ExitCode.UNKNOWN, ExitCode.PASSED)
    worse = judged(of(a_series(unsure), a_series(sure, "peak_memory")), of(a_series(other), a_series([1.0] * 50, "peak_memory")))
    assert (worse.verdict, exit_of(worse), exit_of(worse, fail_on="none")) == ("fail", ExitCode.FAILED, ExitCode.PASSED)


def test_the_same_benches_are_compared_the_same_again() -> None:
    base, new = of(a_series(times(0.4, seed=1))), of(a_series(times(0.41, seed=2)))
    assert judged(base, new) == judged(base, new)


def test_an_interrupted_bench_is_compared_with_a_warning() -> None:
    series = a_series(times(0.4, seed=1))
    found = judged(of(series), msgspec.structs.replace(of(series), how="interrupted"))
    assert found.warnings == ("new was interrupted, so it has fewer rounds than were asked for",)


# --- refused ----------------------------------------------------------------------------------------------------------------

SERIES = a_series(times(0.4, seed=1))


@pytest.mark.parametrize(
    ("new", "says"),
    [
        (
            a_bench(a_variant(SERIES), machine=msgspec.structs.replace(MACHINE, cpu="Xeon", cores=4)),
            "CPU EPYC 7B13, not Xeon; cores 2, not 4",
        ),
        (a_bench(a_variant(SERIES), machine=msgspec.structs.replace(MACHINE, memory_bytes=8 << 30)), "memory 4 GiB, not 8 GiB"),
        (a_bench(a_variant(SERIES), machine=msgspec.structs.replace(MACHINE, python="3.13.1")), "Python 3.11.9, not 3.13.1"),
        (of(SERIES, engine="docker"), '"gunicorn" of new ran on the engine docker, that of base on process'),
        (of(SERIES, cold=("disk",)), '"gunicorn" of new started cold (disk), that of base warm'),
    ],
)
def test_what_was_not_measured_alike_is_refused_with_both_values(new: Bench, says: str) -> None:
    with pytest.raises(UsageError) as told:
        judged(of(SERIES), new)
    assert says in str(told.value)
    assert "--anyway" in str(told.value)
    found = compare([place(of(SERIES), "base"), place(new)], anyway=True)
    assert any(says in warning for warning in found.warnings)
    assert found.verdict == "pass"


def test_another_health_check_is_told_of_the_variant_and_an_unknown_one_is_not() -> None:
    path, other = HealthCheck(kind="http", asked="/healthz", every_s=0.01), HealthCheck(kind="http", asked="/ready", every_s=0.01)
    says = "startup_time and all after it are measured by different checks"
    found = judged(of(SERIES, health=path), of(SERIES, health=other))
    assert found.warnings == (f'"gunicorn" was told healthy by GET /ready every 10 ms, that of base by GET /healthz every 10 ms: {says}',)
    assert found.verdict == "pass"
    rarely = msgspec.structs.replace(path, every_s=1.0)
    (warning,) = judged(of(SERIES, health=path), of(SERIES, health=rarely)).warnings
    assert "by GET /healthz every 1 s, " in warning
    assert judged(of(SERIES, health=path), of(SERIES, health=path)).warnings == ()
    assert judged(of(SERIES), of(SERIES, health=path)).warnings == ()
    both = a_bench(a_variant(SERIES, name="a", health=path), a_variant(SERIES, name="b", health=other))
    (warning,) = compare([place(both)]).warnings
    assert warning.startswith('"b" was told healthy by GET /ready every 10 ms, "a" by GET /healthz every 10 ms: ')


def test_a_place_that_is_there_twice_is_refused_whatever_it_is_called(tmp_path: Path) -> None:
    folder = stored(tmp_path / "main", of(SERIES))
    (tmp_path / "latest").symlink_to(folder)
    bench, latest, file, other = (
        read_place(path) for path in (folder, tmp_path / "latest", folder / FILE, stored(tmp_path / "pr", of(SERIES)))
    )
    for twice in ([bench, bench], [bench, latest, other], [bench, file], [bench, other, latest]):
        with pytest.raises(UsageError, match=r"the same bench; name each once"):
            compare(twice)
    assert compare([bench, other]).verdict == "pass"


def test_what_a_side_does_not_know_of_its_machine_is_not_compared() -> None:
    unknown = Machine(system="Linux 6.1.0-9", cpu="", cores=0, memory_bytes=0, python="")
    assert judged(a_bench(a_variant(SERIES), machine=unknown), of(SERIES)).warnings == ()


@pytest.mark.parametrize(
    ("written", "share"),
    [("5%", 0.05), ("2.5 %", 0.025), ("100%", 1.0)],
)
def test_a_threshold_is_a_share_in_per_cent(written: str, share: float) -> None:
    assert parse_percent("--threshold", written) == pytest.approx(share)


@pytest.mark.parametrize("written", ["5", "0.05", "", "%", "-5%", "0%", "5000%", "five%", "\N{ARABIC-INDIC DIGIT FIVE}%"])
def test_any_other_threshold_is_refused_in_a_sentence(written: str) -> None:
    with pytest.raises(UsageError, match="--threshold"):
        parse_percent("--threshold", written)


# --- runs -------------------------------------------------------------------------------------------------------------------


def test_a_run_is_read_as_a_bench_of_one_variant() -> None:
    run = read_place(STOPS)
    assert run.kind == "run"
    (variant,) = run.bench.variants
    assert {each.under for each in variant.series} == {"load"}
    measured = {each.metric: each for each in variant.series}
    assert {"startup_time", "shutdown_time"} <= set(measured)
    (attempts,) = variant.attempts
    assert attempts.killed == 1
    assert attempts.starts >= len(measured["startup_time"].samples)


def test_a_run_and_its_copy_have_too_few_starts_to_tell() -> None:
    found = compare([read_place(STOPS), replace(read_place(STOPS), path=Path("copy"))])
    assert found.verdict == "unknown"
    assert found.changes


def test_a_run_with_a_bench_is_compared_with_a_warning() -> None:
    run = read_place(STOPS)
    (variant,) = run.bench.variants
    loaded = a_bench(msgspec.structs.replace(variant, name="web"), machine=run.bench.machine)
    assert any(warning.startswith("benches and runs: ") for warning in compare([run, place(loaded)]).warnings)


def test_runs_of_different_scenarios_are_compared_with_a_warning() -> None:
    run = read_place(STOPS)
    other = replace(run, path=Path("other"), bench=msgspec.structs.replace(run.bench, name="another"))
    (warning,) = compare([other, run]).warnings
    assert warning.startswith('runs of different scenarios: "another" and "')


@pytest.mark.parametrize("late", ["base", "new"])
def test_a_side_whose_harness_stood_still_is_told_of(late: str) -> None:
    warning = f"{STOOD_STILL}3 starts and stops, by 20.0 ms at most: so much too long may they be"
    sides = {name: of(SERIES, warnings=(warning, "another one") if name == late else ()) for name in ("base", "new")}
    assert judged(sides["base"], sides["new"]).warnings == (f'{late}: "gunicorn": {warning}',)


def run_of(story: Story, **changes: str) -> Bench:
    history = story.history()
    return bench_of_run(replace(history, header=msgspec.structs.replace(history.header, **changes)), "x")


def test_a_run_whose_harness_stood_still_is_told_of() -> None:
    story = steady_run()
    story.tell(Lagged(at_ns=at(400), lag_ns=at(399) - at(0)))
    assert run_of(story).warnings == (f"{STOOD_STILL}2 starts and stops, for 399 ms at most: so much too long may they be",)
    assert run_of(steady_run()).warnings == ()


def test_the_health_check_of_a_run_is_known_where_no_image_may_have_its_own() -> None:
    asked = {"healthcheck": "/healthz"}
    for engine in ("process", "docker"):
        (variant,) = run_of(steady_run(web=asked), engine=engine).variants
        assert variant.health == HealthCheck(kind="http", asked="/healthz", every_s=0.01)
    (open_port,) = run_of(steady_run()).variants
    assert open_port.health == HealthCheck(kind="tcp")
    (unknown,) = run_of(steady_run(), engine="docker").variants
    assert unknown.health is None


def test_the_machine_of_a_run_is_what_its_header_says() -> None:
    history = read(STOPS)
    told = msgspec.structs.replace(history.header, machine="2 cores, 4 GiB, Linux 6.1.0, Python 3.11.9")
    machine = bench_of_run(replace(history, header=told), "x").machine
    assert machine == Machine(system="Linux 6.1.0", cpu="", cores=2, memory_bytes=4 << 30, python="3.11.9")


def test_a_variants_own_history_is_no_run() -> None:
    history = read(STOPS)
    cycled = Cycled(at_ns=at(1), began_ns=at(0), round=0, under="idle", process="web")
    with pytest.raises(UsageError, match="name the bench's own folder"):
        bench_of_run(replace(history, events=(*history.events, cycled)), "x")


def test_a_place_is_a_bench_or_a_run_by_what_lies_there(tmp_path: Path) -> None:
    bench = of(SERIES)
    assert read_place(stored(tmp_path / "bench", bench)).bench == bench
    assert read_place(tmp_path / "bench" / FILE).kind == "bench"
    (tmp_path / "run/history").mkdir(parents=True)
    (tmp_path / "run/history/events.jsonl").write_bytes(STOPS.read_bytes())
    assert read_place(tmp_path / "run").kind == "run"
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"neither a bench \(bench\.json\) nor a run's history"):
        read_place(tmp_path / "empty")
    with pytest.raises(UsageError, match="no such file or folder"):
        read_place(tmp_path / "nowhere")
    (tmp_path / "cut.json").write_bytes(encoded(bench)[:99])
    with pytest.raises(UsageError, match="cut off in the middle"):
        read_place(tmp_path / "cut.json")
