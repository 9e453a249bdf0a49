"""The advice that the numbers of a bench support, and the silence where they do not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.benches import CONDITIONS, Attempts, HealthCheck, ImportShare, Series, Under, Unit, Variant
from harness.checks.advice import FEWEST, MOST, RULES, advice_of


def series(metric: str, samples: Sequence[float], under: Under = "idle", *, unit: Unit = "s", at_once: int = 1) -> Series:
    return Series(
        process="web",
        under=under,
        at_once=at_once,
        metric=metric,
        unit=unit,
        samples=tuple(samples),
        rounds=tuple(range(len(samples))),
    )


def about(value: float, count: int = 10) -> list[float]:
    """So many samples around ``value``, each another, with it as their median."""
    return [value * (1 + (place - (count - 1) / 2) / 1000) for place in range(count)]


def variant(*of: Series, **more: Any) -> Variant:
    return Variant(name="web", engine="process", command="app", series=of, **more)


def start(seconds: float, cpu: float, **more: Any) -> Variant:
    return variant(series("startup_time", about(seconds)), series("start_cpu_time", about(seconds * cpu)), **more)


def share(package: str, self_s: float, whole_s: float) -> ImportShare:
    return ImportShare(package=package, self_s=self_s, share=self_s / whole_s, modules=3, slowest=f"{package}.core")


PANDAS = {"imports": (share("pandas", 0.6, 2.0), share("scipy", 0.25, 2.0), share("yaml", 0.1, 2.0)), "import_s": 1.2}


def test_nothing_is_advised_without_numbers_and_of_an_even_start() -> None:
    assert advice_of(variant()) == ()
    assert advice_of(start(1.0, 0.6)) == ()
    assert advice_of(start(0.2, 0.1)) == (), "so short a start is not worth a sentence"


def test_imports_that_take_most_of_a_start_are_named_the_dearest_two() -> None:
    (said,) = advice_of(start(1.0, 0.95, **PANDAS))
    assert said == "Imports take 60 % of the start (pandas 30 %, scipy 12 %): import them where they are needed (lazily)."


def test_a_start_that_finds_nothing_compiled_is_told_to_ship_it_compiled() -> None:
    (said,) = advice_of(start(1.0, 0.95, cold=("bytecode",), **PANDAS))
    assert "compileall" in said


def test_few_imports_say_nothing_of_themselves_and_leave_the_word_to_others() -> None:
    (said,) = advice_of(start(1.0, 0.95, imports=(share("json", 0.1, 2.0),), import_s=0.3))
    assert "Imports" not in said
    assert "computes for 95 %" in said


def test_what_is_computed_between_healthy_and_the_first_answer_is_no_second_cpu() -> None:
    lazy = [series("startup_time", about(0.05)), series("start_cpu_time", about(0.9))]
    (said,) = advice_of(variant(*lazy, series("time_to_first_answer", about(0.95))))
    assert said.startswith("It computes for 95 % of its start")


def test_a_start_that_computes_is_to_be_profiled() -> None:
    (said,) = advice_of(start(0.43, 0.96))
    assert said.startswith("It computes for 96 % of its start (430 ms): profile that")
    (said,) = advice_of(start(0.43, 1.8))
    assert said.startswith("It keeps 1.8 CPUs busy all through its start (430 ms)")


def test_a_start_that_waits_is_asked_for_whom() -> None:
    (said,) = advice_of(start(2.0, 0.1))
    assert said.startswith("It waits for 90 % of its start (1.80 s of 2.00 s): look for a service")


def beats(kind: str, every_s: float, listening: Sequence[float], healthy: Sequence[float]) -> Variant:
    """Starts with a health check that is asked so often."""
    check = HealthCheck(kind=kind, asked="x", every_s=every_s)
    return variant(series("time_to_listening", listening), series("startup_time", healthy), health=check)


SPREAD = [0.21, 0.33, 0.42, 0.27, 0.38, 0.45]


def test_starts_that_end_with_the_engines_health_check_are_told_to_ask_more_often() -> None:
    (said,) = advice_of(beats("test", 1.0, SPREAD, [1.05, 1.06, 1.04, 1.07, 1.05, 1.06]))
    assert said == (
        "The container engine runs the health check every 1.00 s only, and starts end on that beat, 700 ms after the port is open: "
        "up to 700 ms of the start (66 % of it) is waiting for the next one; set start_interval: 100ms (Docker 25 or later) or a shorter "
        "interval."
    )
    (said,) = advice_of(beats("test", 1.0, SPREAD, [2.08, 2.1, 2.09, 2.11, 2.08, 3.1]))
    assert "up to 1.00 s of the start (48 % of it) is waiting" in said
    assert advice_of(beats("test", 0.15, [0.16] * 6, [0.305] * 6))
    assert not advice_of(beats("test", 0.1, [0.21] * 6, [0.305] * 6)), "that is what it would advise"


def test_starts_that_end_with_a_question_of_the_harness_are_told_so_too() -> None:
    (said,) = advice_of(beats("http", 0.5, SPREAD, [each + 0.503 for each in SPREAD]))
    assert said.startswith("The health check is asked every 500 ms only, and starts end on that beat, 503 ms after the port is open")
    assert said.endswith("set a shorter interval.")


@pytest.mark.parametrize(
    ("kind", "every_s", "healthy"),
    [
        ("test", 0.0, [1.05] * 6),  # nobody asks, or it is not known how often
        ("test", 0.1, [1.05] * 6),  # a tenth of the start
        ("test", 0.9, [each + 0.8 for each in SPREAD]),  # not on the beat
        ("test", 1.0, [0.5, 0.6, 0.7, 0.8, 0.9, 0.55]),  # before the first one
        ("http", 0.5, [each + 0.003 for each in SPREAD]),  # healthy at the first question
        ("http", 0.5, [each + 0.7 for each in SPREAD]),  # an answer took that long
        ("log", 0.5, [each + 0.5 for each in SPREAD]),
    ],
)
def test_an_interval_that_decides_nothing_is_no_advice(kind: str, every_s: float, healthy: list[float]) -> None:
    assert not [said for said in advice_of(beats(kind, every_s, SPREAD, healthy)) if "beat" in said]


def test_without_its_interval_or_the_instant_of_listening_nothing_is_said_of_the_health_check() -> None:
    known = beats("test", 1.0, SPREAD, [1.05] * 6)
    assert advice_of(known)
    assert advice_of(variant(*known.series)) == ()
    assert advice_of(variant(known.series[1], health=known.health)) == ()


def test_a_start_that_reads_much_waits_for_the_disk() -> None:
    read = (series("start_read_bytes", about(52e6), unit="bytes"), series("start_major_faults", about(1200), unit="count"))
    cold = start(2.0, 0.2, cold=("disk",))
    (said,) = advice_of(variant(*cold.series, *read, cold=cold.cold))
    assert said.startswith("It reads 52.0 MB from the disk in its start, with 1 200 major page faults, and computes for only 20 % of it")
    assert "smaller image" in said
    (said,) = advice_of(variant(*cold.series, *read))
    assert "more memory" in said, "it is not cold on purpose"


def test_a_runtime_that_takes_longer_than_the_app_is_told() -> None:
    slow = variant(series("runtime_start_time", about(0.6)), series("startup_time", about(0.2)))
    (said,) = advice_of(slow)
    assert said.startswith("The container runtime takes 75 % of the start (600 ms of 800 ms), not the app")
    assert advice_of(variant(series("runtime_start_time", about(0.2)), series("startup_time", about(0.6)))) == ()


@pytest.mark.slow
def test_a_start_that_is_slower_after_sigkill_has_another_path() -> None:
    (said,) = advice_of(variant(series("startup_time", about(0.2), "clean"), series("startup_time", about(0.27), "kill")))
    assert re.match(r"After SIGKILL it starts 35 % \(\d+ % to \d+ %\) slower than after a clean stop: recovery takes another path", said)


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.05])
def test_a_start_that_is_hardly_slower_after_sigkill_takes_the_same_path(ratio: float) -> None:
    assert advice_of(variant(series("startup_time", about(0.2), "clean"), series("startup_time", about(0.2 * ratio), "kill"))) == ()


@pytest.mark.slow
def test_a_difference_that_may_be_chance_is_no_advice() -> None:
    clean, kill = [0.2, 0.9, 0.3, 0.8, 0.4, 0.7], [0.5, 0.6, 1.0, 0.35, 0.9, 0.2]
    assert advice_of(variant(series("startup_time", clean, "clean"), series("startup_time", kill, "kill"))) == ()


def test_what_passes_of_a_stop_after_the_last_answer_is_told() -> None:
    stop = variant(series("time_to_drained", about(0.1), "load"), series("shutdown_time", about(1.0), "load"))
    (said,) = advice_of(stop)
    assert said.startswith("900 ms of the stop (90 % of it, under load) pass after the last answer")
    assert advice_of(variant(series("time_to_drained", about(0.9), "load"), series("shutdown_time", about(1.0), "load"))) == ()


def test_only_stops_that_had_something_to_drain_are_compared() -> None:
    drained = series("time_to_drained", about(0.1, 4), "load")
    assert advice_of(variant(drained, series("shutdown_time", about(1.0), "load"))) == ()


@pytest.mark.slow
def test_idle_connections_that_hold_a_stop_up_are_told() -> None:
    (said,) = advice_of(variant(series("shutdown_time", about(0.1), "idle"), series("shutdown_time", about(5.1), "keep-alive")))
    assert said.startswith("Idle keep-alive connections make the stop 5.00 s longer (5.10 s instead of 100 ms): close them")


def test_an_idle_replica_that_takes_long_to_stop_is_told() -> None:
    (said,) = advice_of(variant(series("shutdown_time", about(1.5))))
    assert said.startswith("It takes 1.50 s to stop though no request is in flight")


def test_stops_that_were_killed_are_told_before_all_else_of_the_stop() -> None:
    attempts = (
        Attempts(process="web", under="idle", starts=12, failed=2, killed=1, warmups=1),
        Attempts(process="web", under="load", starts=10, failed=0, killed=9, warmups=1),
    )
    times = series("shutdown_time", about(10.0), "load"), series("shutdown_time", about(3.0))
    (said,) = advice_of(variant(*times, attempts=attempts))
    assert said.startswith("9 of 10 stops (under load) were killed at the end of their grace, after 10.0 s: end on SIGTERM")


def test_what_saves_most_comes_first_and_no_more_than_two_sentences() -> None:
    found = advice_of(
        variant(
            series("startup_time", about(2.0)),
            series("start_cpu_time", about(0.1)),
            series("runtime_start_time", about(2.5)),
            series("shutdown_time", about(0.6)),
        )
    )
    assert len(found) == MOST
    assert found[0].startswith("The container runtime")
    assert found[1].startswith("It waits")


@pytest.mark.parametrize("metric", ["startup_time", "start_cpu_time"])
def test_fewer_than_five_samples_are_no_evidence(metric: str) -> None:
    whole = start(2.0, 0.1)
    few = tuple(series(each.metric, each.samples[: FEWEST - 1]) if each.metric == metric else each for each in whole.series)
    assert advice_of(whole)
    assert advice_of(variant(*few)) == ()


def test_starts_of_several_at_once_are_another_matter() -> None:
    whole = start(2.0, 0.1)
    assert advice_of(variant(*(series(each.metric, each.samples, "at-once", at_once=4) for each in whole.series))) == ()


def test_without_idle_starts_those_after_a_clean_stop_are_looked_at() -> None:
    (said,) = advice_of(variant(*(series(each.metric, each.samples, "clean") for each in start(2.0, 0.1).series)))
    assert said.startswith("It waits")


TIMES = (
    "startup_time",
    "time_to_listening",
    "start_cpu_time",
    "runtime_start_time",
    "time_to_drained",
    "shutdown_time",
    "start_read_bytes",
    "start_major_faults",
)
SERIES = st.builds(
    series,
    st.sampled_from(TIMES),
    st.lists(st.floats(min_value=0, max_value=1e9), min_size=1, max_size=12),
    st.sampled_from(sorted(CONDITIONS)),
)


@pytest.mark.slow
@settings(max_examples=60)
@given(st.lists(SERIES, max_size=8))
def test_whatever_was_measured_the_advice_is_at_most_two_sentences_with_their_numbers(found: list[Series]) -> None:
    check = HealthCheck(kind="test", asked="x", every_s=1.0)
    said = advice_of(variant(*found, health=check))
    assert len(said) <= MOST
    assert said == advice_of(variant(*found, health=check)), "the same numbers, the same advice"
    for sentence in said:
        assert re.search(r"\d", sentence)
        assert sentence.endswith(".")
        assert "nan" not in sentence.split()


SPEAKING: dict[str, Variant] = {
    "_asked_rarely": beats("test", 1.0, SPREAD, [1.05] * 6),
    "_runtime": variant(series("runtime_start_time", about(0.6)), series("startup_time", about(0.2))),
    "_imports": start(1.0, 0.95, **PANDAS),
    "_disk": variant(*start(2.0, 0.5).series, series("start_major_faults", about(400), unit="count")),
    "_computes": start(0.4, 1.0),
    "_waits": start(2.0, 0.1),
    "_recovery": variant(series("startup_time", about(0.2), "clean"), series("startup_time", about(0.3), "kill")),
    "_killed": variant(attempts=(Attempts(process="web", under="idle", starts=5, failed=0, killed=1, warmups=0),)),
    "_keep_alive": variant(series("shutdown_time", about(0.1)), series("shutdown_time", about(0.9), "keep-alive")),
    "_after_the_last_answer": variant(series("time_to_drained", about(0.1), "load"), series("shutdown_time", about(1.0), "load")),
    "_idle_stop": variant(series("shutdown_time", about(1.5))),
}


@pytest.mark.slow
def test_each_rule_speaks_where_it_is_right_and_no_rule_speaks_of_nothing() -> None:
    rules = {rule.__name__: rule for several in RULES.values() for rule in several}
    assert set(rules) == set(SPEAKING)
    assert [name for name, rule in rules.items() if rule(SPEAKING[name]) is None] == []
    assert [name for name, rule in rules.items() if rule(variant()) is not None] == []
