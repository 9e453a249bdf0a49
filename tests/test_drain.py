"""The shortest drain: the search as a pure function, what a try says, and the whole of it on real replicas."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness import cli
from harness.drain import (
    CONFIRMED,
    MOST_TRIES,
    MOST_UNKNOWN,
    Answer,
    Attempt,
    DrainOptions,
    Known,
    Range,
    Search,
    answer_of,
    left_out,
    next_ns,
    prepare,
    settings_for,
    shortest_drain,
    stops_only,
    with_drain,
)
from harness.errors import ExitCode, StoppedError, UsageError
from harness.report.drain import DrainTry, print_head, print_result, print_try, write_result
from harness.report.model import RunReport
from harness.run import RunOptions, judge_folder
from harness.scenario import Scenario, load_scenario
from harness.units import Duration
from harness.verdict import Verdict
from tests.live.commands import ROOT, jetable
from tests.live.processes import left_of

MS = 1_000_000
HISTORIES = ROOT / "tests/histories"
DROPS, KEEPS = HISTORIES / "fail--dropped-after-signal.jsonl", HISTORIES / "pass--no-request-dropped.jsonl"
NOTHING_KNOWN = HISTORIES / "unknown--fault-on-idle.jsonl"
WITHIN = Range(from_ns=0, up_to_ns=10_000 * MS, precision_ns=250 * MS, guess_ns=2000 * MS)


def play(verdict_of: Callable[[int, int], Verdict], within: Range = WITHIN) -> tuple[Answer, Known]:
    """Search with ``verdict_of``, which gets the drain and the number of the try."""
    known: list[tuple[int, Verdict]] = []
    while (drain := next_ns(known, within)) is not None:
        known.append((drain, verdict_of(drain, len(known))))
        assert len(known) <= MOST_TRIES + within.confirmed
    return answer_of(known, within), known


def enough(threshold: int) -> Callable[[int, int], Verdict]:
    return lambda drain, _number: Verdict.PASS if drain >= threshold else Verdict.FAIL


# --- the search -------------------------------------------------------------------------------------------------------------


@given(
    threshold_ms=st.integers(0, 10_000),
    precision_ms=st.integers(1, 3000),
    guess_ms=st.integers(0, 20_000),
)
def test_the_answer_is_enough_and_at_most_the_precision_above_what_is_not(threshold_ms: int, precision_ms: int, guess_ms: int) -> None:
    within = Range(from_ns=0, up_to_ns=10_000 * MS, precision_ns=precision_ms * MS, guess_ns=guess_ms * MS)
    answer, known = play(enough(threshold_ms * MS), within)
    assert answer.verdict is Verdict.PASS
    assert answer.shortest_ns is not None
    assert threshold_ms * MS <= answer.shortest_ns < threshold_ms * MS + precision_ms * MS or answer.shortest_ns == threshold_ms * MS
    assert sum(drain == answer.shortest_ns for drain, _ in known) == CONFIRMED
    assert len(known) <= 3 + CONFIRMED + (10_000 // precision_ms).bit_length()


@given(verdicts=st.lists(st.sampled_from(list(Verdict)), min_size=MOST_TRIES + CONFIRMED, max_size=MOST_TRIES + CONFIRMED))
def test_whatever_the_tries_give_the_search_ends_and_no_answer_was_ever_seen_to_drop(verdicts: list[Verdict]) -> None:
    answer, known = play(lambda _drain, number: verdicts[number])
    if answer.verdict is Verdict.PASS:
        of_it = [verdict for drain, verdict in known if drain == answer.shortest_ns]
        assert Verdict.FAIL not in of_it
        assert of_it.count(Verdict.PASS) >= CONFIRMED
        assert all(drain < (answer.shortest_ns or 0) for drain, verdict in known if verdict is Verdict.FAIL)
    if answer.verdict is Verdict.FAIL:
        assert (WITHIN.up_to_ns, Verdict.FAIL) in known


def test_an_app_that_needs_no_drain_is_tried_twice_and_nothing_longer_is() -> None:
    answer, known = play(enough(0))
    assert answer == Answer(verdict=Verdict.PASS, shortest_ns=0, too_short_ns=None)
    assert [drain for drain, _ in known] == [0, 0]


def test_the_lag_itself_is_tried_before_the_longest_drain() -> None:
    _, known = play(enough(1900 * MS))
    assert [drain // MS for drain, _ in known][:2] == [0, 2000]
    assert max(drain for drain, _ in known) == 2000 * MS


def test_a_longest_drain_that_still_drops_is_a_failure_and_no_answer() -> None:
    answer, known = play(enough(11_000 * MS))
    assert answer == Answer(verdict=Verdict.FAIL, shortest_ns=None, too_short_ns=WITHIN.up_to_ns)
    assert [drain // MS for drain, _ in known] == [0, 2000, 10_000]


def test_a_try_that_proves_nothing_is_repeated_a_few_times_and_then_nothing_is_known() -> None:
    answer, known = play(lambda drain, _number: Verdict.UNKNOWN if drain else Verdict.FAIL)
    assert answer.verdict is Verdict.UNKNOWN
    assert answer.shortest_ns is None
    assert [drain // MS for drain, _ in known] == [0, *[2000] * MOST_UNKNOWN]


def test_an_answer_that_drops_when_it_is_tried_again_is_too_short() -> None:
    tried: list[int] = []

    def by_chance(drain: int, _number: int) -> Verdict:
        tried.append(drain)
        unlucky = drain == 1000 * MS and tried.count(drain) == 2
        return Verdict.FAIL if drain < 1000 * MS or unlucky else Verdict.PASS

    answer, _ = play(by_chance)
    assert answer == Answer(verdict=Verdict.PASS, shortest_ns=1250 * MS, too_short_ns=1000 * MS)


def test_one_drain_alone_is_tried_until_it_is_sure() -> None:
    only = Range(from_ns=500 * MS, up_to_ns=500 * MS, precision_ns=250 * MS, guess_ns=500 * MS)
    assert play(enough(0), only) == (
        Answer(verdict=Verdict.PASS, shortest_ns=500 * MS, too_short_ns=None),
        [(500 * MS, Verdict.PASS)] * CONFIRMED,
    )
    assert play(enough(501 * MS), only)[0].verdict is Verdict.FAIL


def test_more_tries_can_be_asked_for() -> None:
    many = Range(from_ns=0, up_to_ns=1000 * MS, precision_ns=500 * MS, guess_ns=0, confirmed=70)
    answer, known = play(enough(500 * MS), many)
    assert answer.shortest_ns == 500 * MS
    assert len(known) == 2 + many.confirmed


# --- what a try plays -------------------------------------------------------------------------------------------------------


def scenario_of(folder: Path, steps: str, extra: str = "") -> Scenario:
    path = folder / "scenario.yaml"
    target = "target: {web: {command: app, replicas: 3}, worker: {command: app}}"
    path.write_text(f"jetable: 1\nname: a try\n{target}\nload: {{requests: [GET /]}}\nsteps: {steps}\n{extra}\n")
    return load_scenario(path)


def test_a_try_has_only_what_stops_in_order_and_the_routing_that_its_drain_makes(tmp_path: Path) -> None:
    scenario = scenario_of(
        tmp_path,
        "[{steady: 1s}, {kill: any}, {terminate: {replica: each, endpoint_lag: 3s}}, {restart: {signal: SIGKILL}}, {scale: {web: 2}}, "
        "{together: [{rolling_restart: {drain: 1s}}, {kill: any}]}]",
        "routing: {endpoint_lag: 1s}\nexpect: [killed_after_grace == 0]\nmust_find: [survivors]",
    )
    bare = stops_only(scenario)
    assert [step.kind for step in bare.steps] == ["steady", "terminate", "scale", "rolling_restart"]
    assert left_out(scenario) == ("kill any", "restart any by SIGKILL")
    assert not bare.expect
    assert not bare.must_find
    tried = Scenario.model_validate_json(with_drain(bare, Duration.parse("2s"), 500 * MS).model_dump_json())
    assert {(str(routing.endpoint_lag), str(routing.drain)) for routing in (tried.routing, *map(tried.routing_of, orders(tried)))} == {
        ("1.5s", "0s")
    }
    assert str(with_drain(bare, Duration.parse("2s"), 2500 * MS).routing.drain) == "500ms"
    both = with_drain(bare, Duration.parse("2s"), 2000 * MS).routing
    assert (both.endpoint_lag.ns, both.drain.ns) == (0, 0)


def orders(scenario: Scenario) -> list:  # type: ignore[type-arg]  # options of the steps that stop
    return [step.options for step in scenario.steps if step.kind in ("terminate", "rolling_restart")]


@pytest.mark.parametrize(
    "steps",
    ["[{steady: 1s}, {kill: any}]", "[{scale: {web: 5}}]", "[{terminate: {process: worker, when: any}}]", "[{scale: {worker: 0}}]"],
)
def test_a_scenario_that_stops_nothing_in_order_under_load_is_refused_in_one_sentence(steps: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no step of 'a try' stops a replica of web in order.*add a step such as terminate: each"):
        stops_only(scenario_of(tmp_path, steps))


def test_a_drain_is_nothing_for_a_scenario_without_load() -> None:
    jobs = {"count": 1, "done": {"file": "x"}}
    target = {"worker": {"command": "a"}}
    scenario = Scenario.model_validate(
        {"jetable": 1, "name": "x", "target": target, "services": {"sqlite": {}}, "jobs": jobs, "steps": [{"terminate": "any"}]}
    )
    with pytest.raises(UsageError, match="'x' has no load, and a drain is for requests"):
        stops_only(scenario)


def test_scaling_up_and_down_again_is_a_stop(tmp_path: Path) -> None:
    assert len(stops_only(scenario_of(tmp_path, "[{scale: {web: 5}}, {scale: {web: 4}}]")).steps) == 2


@pytest.mark.parametrize(
    ("asked", "lag", "up_to"),
    [
        (DrainOptions(), "3s", "10s"),
        (DrainOptions(lag=Duration.parse("8s")), "8s", "16s"),
        (DrainOptions(lag=Duration.parse("0s"), up_to=Duration.parse("1s")), "0s", "1s"),
    ],
)
def test_what_nobody_asked_for_follows_from_the_scenario(asked: DrainOptions, lag: str, up_to: str, tmp_path: Path) -> None:
    scenario = scenario_of(tmp_path, "[{terminate: {endpoint_lag: 3s}}]", "routing: {endpoint_lag: 1s}")
    search = prepare(scenario, Path("a.yaml"), RunOptions(engine="", seed=7, reports=Path("reports")), asked)
    assert (str(search.lag), search.within.up_to_ns) == (lag, Duration.parse(up_to).ns)
    assert search.again == f"jetable drain a.yaml --seed 7 --endpoint-lag {lag} --precision 250ms --up-to {up_to}"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (DrainOptions(precision=Duration.parse("0s")), "--precision 0s"),
        (DrainOptions(up_to=Duration.parse("100ms")), "--up-to 100ms is shorter than the precision"),
    ],
)
def test_what_can_not_be_found_is_refused(asked: DrainOptions, says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=says):
        prepare(scenario_of(tmp_path, "[{terminate: any}]"), Path("a.yaml"), RunOptions(engine="", seed=7, reports=tmp_path), asked)


# --- the whole search, on stored histories ----------------------------------------------------------------------------------


@dataclass
class Stored:
    """Answers each try with a stored history, by the drain of the try; ``rerun`` keeps the line of each."""

    folder: Path
    history_of: Callable[[float], Path]
    reruns: list[str]

    def __call__(self, scenario: Scenario, options: RunOptions) -> tuple[RunReport, bool]:
        drain_s = 1.0 + scenario.routing.drain.s - scenario.routing.endpoint_lag.s
        folder = self.folder / f"run-{len(self.reruns)}"
        (folder / "history").mkdir(parents=True)
        shutil.copy(self.history_of(drain_s), folder / "history/events.jsonl")
        self.reruns.append(options.rerun)
        return judge_folder(folder), False


def search_in(folder: Path) -> Search:
    scenario = scenario_of(folder, "[{terminate: each}, {kill: any}]", "routing: {endpoint_lag: 1s}")
    asked = DrainOptions(precision=Duration.parse("500ms"), up_to=Duration.parse("2s"))
    return prepare(scenario, Path("a.yaml"), RunOptions(engine="", seed=7, reports=Path("reports")), asked)


def screen() -> Console:
    return Console(file=io.StringIO(), width=100, color_system=None, highlight=False)


def text_of(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_search_ends_with_an_answer_its_bound_its_proof_and_settings_to_paste(tmp_path: Path) -> None:
    search, console = search_in(tmp_path), screen()
    told: list[DrainTry] = []
    attempt = Stored(tmp_path, lambda drain_s: KEEPS if drain_s >= 1 else DROPS, [])
    result = shortest_drain(search, attempt, told.append)
    assert [(each.drain_s, each.verdict) for each in result.tries] == [(0, "fail"), (1, "pass"), (0.5, "fail"), (1, "pass")]
    assert told == list(result.tries)
    assert (result.verdict, result.exit_code, result.shortest_s, result.too_short_s) == ("pass", 0, 1, 0.5)
    assert result.bound is not None
    assert result.bound.trials == sum(each.proven for each in result.tries if each.verdict == "pass") > 0
    assert all(each.proven == each.dropped_stops > 0 < each.dropped_requests for each in result.tries if each.verdict == "fail")
    assert attempt.reruns[2] == "jetable drain a.yaml --seed 9 --endpoint-lag 1s --at 500ms"
    print_head(search.scenario.name, search.lag.s, search.left_out, console)
    for each in result.tries:
        print_try(each, console)
    file = write_result(result)
    print_result(result, console, file)
    out = text_of(console)
    assert "PASS     the shortest drain is 1s (500ms is too short)" in out
    assert "left out, as nothing stops in order there: kill any" in out
    assert f"0 of {result.bound.trials} stops with it dropped a request: at most" in out
    assert "lifecycle: {preStop: {sleep: {seconds: 1}}}" in out
    assert "stop_grace_period: " in out
    assert result.again in out
    stored = json.loads(file.read_text())
    assert file.parent == Path(result.tries[-1].folder)
    assert stored["shortest_s"] == 1
    assert [setting["platform"] for setting in stored["settings"]][-1] == "Jetable"


def test_a_search_that_finds_no_drain_says_what_the_longest_one_dropped(tmp_path: Path) -> None:
    console = screen()
    result = shortest_drain(search_in(tmp_path), Stored(tmp_path, lambda _drain_s: DROPS, []), lambda _tried: None)
    assert (result.verdict, result.exit_code, result.shortest_s, result.bound, result.settings) == ("fail", 1, None, None, ())
    print_result(result, console, Path("drain.json"))
    assert "FAIL     a drain of 2s is not enough either" in text_of(console)
    assert "with a drain of 2s: " in text_of(console)
    assert "why " in text_of(console)


def test_a_search_whose_tries_prove_nothing_says_so_and_why(tmp_path: Path) -> None:
    console = screen()
    result = shortest_drain(search_in(tmp_path), Stored(tmp_path, lambda _drain_s: NOTHING_KNOWN, []), lambda _tried: None)
    assert (result.verdict, result.exit_code, result.shortest_s) == ("unknown", 7, None)
    assert [each.drain_s for each in result.tries] == [0] * MOST_UNKNOWN
    print_result(result, console, Path("drain.json"))
    assert "UNKNOWN  the shortest drain is unknown" in text_of(console)
    assert result.tries[0].what


@pytest.mark.parametrize(
    ("name", "verdict"),
    [
        ("fail--new-connections-dropped", "fail"),
        ("fail--keep-alive-race", "fail"),
        ("fail--dropped-without-fault", "unknown"),
        ("fail--lost-by-kill", "unknown"),
        ("pass--no-fault", "unknown"),
        ("fail--survivors", "pass"),
    ],
)
def test_a_try_counts_what_stops_in_order_dropped_and_nothing_else(name: str, verdict: str, tmp_path: Path) -> None:
    tries: list[DrainTry] = []
    shortest_drain(search_in(tmp_path), Stored(tmp_path, lambda _drain_s: HISTORIES / f"{name}.jsonl", []), tries.append)
    assert tries[0].verdict == verdict
    assert (verdict == "unknown") == bool(not tries[0].dropped_stops and tries[0].what)
    assert ("survivors" in tries[0].beside) == ("survivors" in name)


def test_a_try_in_which_nothing_started_says_so(tmp_path: Path) -> None:
    tries: list[DrainTry] = []
    shortest_drain(search_in(tmp_path), Stored(tmp_path, lambda _drain_s: HISTORIES / "fail--never-ready.jsonl", []), tries.append)
    assert tries[0].verdict == "unknown"
    assert "web.1" in tries[0].what


def test_a_router_that_learns_at_once_has_no_lag_to_tell() -> None:
    console = screen()
    print_head("an app", 0.0, (), console)
    assert "learns of a stop as soon as the platform has decided on it" in text_of(console)


def test_a_search_that_somebody_stops_ends_at_once(tmp_path: Path) -> None:
    whole = Stored(tmp_path, lambda _drain_s: KEEPS, [])
    attempt: Attempt = lambda scenario, options: (whole(scenario, options)[0], True)  # noqa: E731  one line is all it is
    with pytest.raises(StoppedError):
        shortest_drain(search_in(tmp_path), attempt, lambda _tried: None)
    assert len(whole.reruns) == 1


def test_settings_are_in_whole_seconds_and_leave_the_grace_room() -> None:
    texts = [setting.text for setting in settings_for(Duration.parse("2.5s"), Duration.parse("2s"), 4.2)]
    assert texts == [
        "lifecycle: {preStop: {sleep: {seconds: 3}}}",
        "terminationGracePeriodSeconds: 10",
        "pre_stop: [{command: sleep 3}]",
        "stop_grace_period: 7s",
        "routing: {drain: 500ms}",
    ]


def test_without_a_drain_only_the_grace_is_set_and_with_killed_stops_not_even_that() -> None:
    texts = [setting.text for setting in settings_for(Duration.parse("0s"), Duration.parse("2s"), 0.8)]
    assert texts == ["terminationGracePeriodSeconds: 2", "stop_grace_period: 2s", "routing: {endpoint_lag: 2s}"]
    assert [setting.text for setting in settings_for(Duration.parse("0s"), Duration.parse("0s"), None)] == ["routing: {endpoint_lag: 0s}"]


# --- the command line -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["scenarios/quickstart"], "scenarios/quickstart: 3 scenarios, and a drain belongs to one; name its file"),
        (["scenarios/quickstart/2-sudden-death.yaml"], "no step of 'sudden death is survived' stops a replica of web in order"),
        (["scenarios/quickstart/1-graceful-stop.yaml", "--at", "5"], "--at 5: needs a unit: write 5s or 5ms"),
        (["scenarios/quickstart/1-graceful-stop.yaml", "--endpoint-lag", "soon"], "--endpoint-lag soon: "),
        (["scenarios/quickstart/1-graceful-stop.yaml", "--engine", "dokcer"], "--engine dokcer: "),
        (["nowhere.yaml"], "nowhere.yaml: no such file"),
    ],
)
def test_a_mistake_gets_one_sentence_and_starts_nothing(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as ended:
        cli.main.main(args=["drain", *arguments, "--reports", str(tmp_path / "reports")], prog_name="jetable")
    assert ended.value.code == ExitCode.USAGE
    assert says in capsys.readouterr().err
    assert not (tmp_path / "reports").exists()


# --- on real replicas -------------------------------------------------------------------------------------------------------

LIVE = """
jetable: 1
name: what a drain does for the app
target:
  web:
    command: ["{{python}}", -m, sample_apps.web]
    environment: {{DEFECT: "{defect}"}}
    replicas: 2
    healthcheck: /healthz
    stop_grace_period: 5s
load:
  users: 6
  think_time: 10ms
  requests:
    - GET /items/{{id}}
    - GET /slow?ms=100
routing: {{endpoint_lag: 1s}}
steps:
  - steady: 200ms
  - terminate: any
  - steady: 200ms
"""


def search_live(folder: Path, defect: str) -> tuple[int, dict]:  # type: ignore[type-arg]  # the JSON of a result
    scenario = folder / "scenario.yaml"
    text = LIVE.format(defect=defect)
    scenario.write_text(text if defect else text.replace('    environment: {DEFECT: ""}\n', ""))
    ended = jetable("drain", scenario, "--precision", "500ms", "--up-to", "2s", "--seed", "1", "--reports", folder / "reports")
    runs = [path for path in (folder / "reports").iterdir() if not path.is_symlink()]
    assert [left for run in runs for left in left_of(run.name)] == []
    assert (folder / "reports/latest/drain.json").exists(), ended.output
    return ended.code, json.loads((folder / "reports/latest/drain.json").read_text())


@pytest.mark.slow
@pytest.mark.live
def test_an_app_that_drops_for_a_while_after_the_signal_needs_a_drain_as_long_as_the_lag(tmp_path: Path) -> None:
    """What left for it just before the signal may be read after it and dropped, so chance may ask for one step more."""
    code, result = search_live(tmp_path, "accepts-then-drops")
    assert code == 0, result
    assert result["shortest_s"] in (1, 1.5), result
    assert result["too_short_s"] == result["shortest_s"] - 0.5
    assert result["bound"]["trials"] >= CONFIRMED


@pytest.mark.slow
@pytest.mark.live
def test_an_app_that_stops_well_needs_none(tmp_path: Path) -> None:
    code, result = search_live(tmp_path, "")
    assert (code, result["shortest_s"], result["too_short_s"]) == (0, 0, None), result
    told = [each["verdict"] for each in result["tries"] if each["verdict"] != "unknown"]  # a busy machine may have had no time for a try
    assert told == ["pass"] * CONFIRMED


def test_an_answer_of_tries_that_failed_for_something_else_is_no_success(tmp_path: Path) -> None:
    killed = Path(__file__).parent / "histories/fail--killed-after-grace.jsonl"
    result = shortest_drain(search_in(tmp_path), Stored(tmp_path, lambda _drain_s: killed, []), lambda _tried: None)
    assert (result.verdict, result.shortest_s, result.exit_code) == ("pass", 0, 1)
    assert {name for each in result.tries for name in each.beside} == {"killed-after-grace"}
