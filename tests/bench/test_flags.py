"""From a command line to the plan of a bench: what it means, and one sentence for each thing that is wrong with it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.bench import flags
from harness.bench.flags import ASKABLE, FLAGS, Asked, plan_of, problem_of
from harness.bench.plan import BenchPlan, VariantPlan
from harness.benches import CONDITIONS
from harness.checks.health import TEST_EVERY_S, health_of
from harness.cli import bench
from harness.errors import JetableError, KeyOfScenarioError, MachineError, NothingSelectedError, ScenarioError, UsageError
from harness.scenario import Scenario

NEW_SEED = 77
COMMAND = (sys.executable, "-m", "http.server", "{port}")

SERVICES = """\
services:
  redis: {url: "redis://:secret@127.0.0.1:6379/0"}
"""
BOTH = """\
jetable: 1
name: both kinds
seed: 5
target:
  web:
    command: ["{python}", -m, http.server, "{port}"]
    environment: {WORKERS: "{workers}"}
    image: app:1
    replicas: 2
  worker:
    command: "{python} -c 'print({workers})'"
    image: app:1
load:
  requests: [GET /]
steps:
  - steady: 1s
"""
BACKED = BOTH + SERVICES


def plan(**asked: Any) -> BenchPlan:
    return plan_of(Asked(reports=Path("reports"), **asked), NEW_SEED)


def of_command(**asked: Any) -> BenchPlan:
    return plan(command=COMMAND, **asked)


def names(made: BenchPlan) -> list[str]:
    return [variant.name for variant in made.variants]


def kind_of(variant: VariantPlan) -> Any:
    return variant.scenario.target[variant.process]


def write(folder: Path, text: str = BOTH, name: str = "app.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_every_flag_is_called_in_messages_as_the_command_line_calls_it() -> None:
    spelled = {option.name: option.opts for option in bench.params}
    assert set(FLAGS) - {"scenarios", "command"} == set(spelled) & set(Asked.__dataclass_fields__) - {"reports", "show_output", "imports"}
    assert [field for field, opts in spelled.items() if field in FLAGS and FLAGS[field] not in opts] == []


def test_what_an_engine_finds_wrong_later_is_told_of_the_flag_or_of_the_place_in_the_file(tmp_path: Path) -> None:
    error = KeyOfScenarioError(("target", "web", "image"), "there is no such image")
    assert problem_of(plan(image="shop:1").variants[0], error) == "--image shop:1: there is no such image"
    path = write(tmp_path)
    assert problem_of(plan(scenarios=(path,)).variants[0], error) == f"{path}:8:12: target.web.image: there is no such image"


def test_a_person_may_ask_for_every_condition_but_the_one_that_comes_with_another() -> None:
    assert set(CONDITIONS) - set(ASKABLE) == {"clean"}


# --- targets ------------------------------------------------------------------------------------------------------------------


def test_the_words_after_the_dashes_are_one_variant_that_is_started_as_a_process() -> None:
    made = of_command()
    (variant,) = made.variants
    assert (variant.engine, variant.process, variant.reference) == ("process", "web", False)
    assert kind_of(variant).argv == COMMAND
    assert made.name == variant.name == f"{sys.executable} -m http.server {{port}}"
    assert made.under == ("idle",)
    assert made.seed == NEW_SEED


def test_a_command_in_quotes_is_split_as_a_shell_would() -> None:
    (variant,) = plan(command=(f"'{sys.executable}' -m http.server {{port}}",)).variants
    assert kind_of(variant).argv == COMMAND


def test_an_image_runs_in_containers_and_listens_where_its_port_says() -> None:
    (variant,) = plan(image="shop:1", port=8000, healthcheck="/healthz", environment=("A=b=c",)).variants
    kind = kind_of(variant)
    assert (variant.engine, kind.image, kind.expose) == ("docker", "shop:1", (8000,))
    assert kind.environment == {"A": "b=c"}
    assert kind.healthcheck.http == "/healthz"
    assert variant.scenario.requests[0].path == "/healthz"


def test_what_an_image_says_of_its_port_and_health_holds_where_nothing_else_does() -> None:
    (variant,) = plan(image="shop:1").variants
    assert kind_of(variant).expose == ()
    assert kind_of(variant).healthcheck is None
    assert variant.scenario.requests[0].path == "/"


def test_an_image_may_be_built(tmp_path: Path) -> None:
    write(tmp_path, "FROM scratch\n", "Dockerfile")
    (variant,) = plan(build=str(tmp_path)).variants
    assert variant.engine == "docker"
    assert kind_of(variant).build.context == str(tmp_path)


@pytest.mark.parametrize(
    ("written", "kind"), [("tcp", "tcp"), ("running", "running"), ("log:ready|started", "log"), ("/ready?x=1", "http")]
)
def test_health_is_asked_for_in_a_word(written: str, kind: str) -> None:
    (variant,) = of_command(healthcheck=written).variants
    assert kind_of(variant).healthcheck.kind == kind


def test_a_scenario_file_is_benched_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path)
    made = plan(scenarios=(path,))
    (variant,) = made.variants
    assert (made.name, made.seed) == ("both kinds", 5)
    assert (variant.name, variant.path, variant.process, variant.engine) == ("app", path, "web", "process")


def test_a_process_type_can_be_chosen(tmp_path: Path) -> None:
    assert plan(scenarios=(write(tmp_path),), process="worker").variants[0].process == "worker"


def test_each_scenario_file_and_each_engine_is_a_variant(tmp_path: Path) -> None:
    paths = (write(tmp_path), write(tmp_path, name="other.yaml"))
    made = plan(scenarios=paths, engines=("process", "docker", "process"))
    assert names(made) == ["app, process", "app, docker", "other, process", "other, docker"]
    assert [variant.reference for variant in made.variants] == [True, False, False, False]
    assert names(plan(scenarios=paths[:1], engines=("process", "docker"))) == ["process", "docker"]


def test_files_of_the_same_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    paths = (write(tmp_path), write(tmp_path / "old"))
    assert names(plan(scenarios=paths)) == [str(path) for path in paths]


def test_a_step_that_an_engine_can_not_do_is_no_obstacle_because_none_is_played(tmp_path: Path) -> None:
    path = write(tmp_path, BOTH.replace("  - steady: 1s", "  - cut_network: {for: 1s}"))
    assert plan(scenarios=(path,), engines=("process",)).variants[0].engine == "process"


# --- parameters ---------------------------------------------------------------------------------------------------------------


def test_parameters_are_put_into_the_command_the_environment_and_what_runs_around() -> None:
    made = plan(
        command=(*COMMAND, "{n}"), environment=("N={n}",), parameter_list=(("n", "1,2"),), prepare=("echo {n}",), cleanup=("rm {n}",)
    )
    assert names(made) == ["n=1", "n=2"]
    second = made.variants[1]
    assert kind_of(second).argv == (*COMMAND, "2")
    assert kind_of(second).environment == {"N": "2"}
    assert (second.prepare, second.cleanup, second.parameters) == ("echo 2", "rm 2", {"n": "2"})


def test_a_test_that_names_no_interval_names_none_either_when_the_command_gets_other_values(tmp_path: Path) -> None:
    path = write(tmp_path, BOTH.replace("    replicas: 2\n", '    replicas: 2\n    healthcheck: {test: "true"}\n'))
    (variant,) = plan(scenarios=(path,), engines=("docker",), parameter_list=(("workers", "4"),)).variants
    assert kind_of(variant).environment["WORKERS"] == "4"
    assert kind_of(variant).healthcheck.model_fields_set == {"test"}
    assert health_of(variant.scenario, "web").every_s == TEST_EVERY_S


def test_parameters_are_put_into_the_command_and_the_environment_of_a_scenario_file(tmp_path: Path) -> None:
    made = plan(scenarios=(write(tmp_path),), parameter_list=(("workers", "1,4"),), environment=("MODE=x{workers}",))
    assert kind_of(made.variants[1]).environment == {"WORKERS": "4", "MODE": "x4"}
    worker = plan(scenarios=(write(tmp_path),), process="worker", parameter_list=(("workers", "1,4"),)).variants[1]
    assert kind_of(worker).command == "{python} -c 'print(4)'"


def test_a_password_in_a_scenario_file_outlives_the_change_of_a_parameter(tmp_path: Path) -> None:
    made = plan(scenarios=(write(tmp_path, BACKED),), parameter_list=(("workers", "1,4"),))
    assert made.variants[0].scenario.services["redis"].url == "redis://:secret@127.0.0.1:6379/0"


def test_an_image_may_be_a_parameter() -> None:
    made = plan(image="shop:{tag}", parameter_list=(("tag", "1,2"),))
    assert [kind_of(variant).image for variant in made.variants] == ["shop:1", "shop:2"]


def test_a_value_may_hold_braces_and_commas() -> None:
    made = of_command(environment=("A={a}{b}",), parameter_list=(("a", r"{b},x\,y"), ("b", "1")))
    assert [kind_of(variant).environment["A"] for variant in made.variants] == ["{b}1", "x,y1"]
    assert names(made) == ["a={b}", "a=x,y"]


@pytest.mark.parametrize(
    ("low", "high", "step", "values"),
    [
        ("1", "3", None, ["1", "2", "3"]),
        ("1", "6", "2", ["1", "3", "5"]),
        ("0.1", "0.3", "0.1", ["0.1", "0.2", "0.3"]),
        ("0", "1", "0.5", ["0", "0.5", "1.0"]),
        ("-1", "1", None, ["-1", "0", "1"]),
        ("4", "4", None, ["4"]),
    ],
)
def test_a_scan_steps_from_its_least_to_its_greatest_number(low: str, high: str, step: str | None, values: list[str]) -> None:
    made = of_command(environment=("N={n}",), parameter_scan=(("n", low, high),), parameter_step=step)
    assert [variant.parameters["n"] for variant in made.variants] == values


def test_several_parameters_make_all_their_combinations() -> None:
    made = of_command(environment=("A={a}{b}",), parameter_scan=(("a", "1", "2"),), parameter_list=(("b", "x,y"),))
    assert names(made) == ["a=1, b=x", "a=1, b=y", "a=2, b=x", "a=2, b=y"]


def test_a_command_before_each_start_may_be_given_for_each_variant() -> None:
    made = of_command(parameter_list=(("a", "1,2"),), prepare=("one {a}", "two {a}"))
    assert [variant.prepare for variant in made.variants] == ["one 1", "two 2"]


def test_variants_may_be_named_one_by_one_or_by_their_parameters() -> None:
    some: Mapping[str, Any] = {"environment": ("A={a}",), "parameter_list": (("a", "1,2"),)}
    assert names(of_command(names=("small", "large"), **some)) == ["small", "large"]
    assert names(of_command(names=("size {a}",), **some)) == ["size 1", "size 2"]


def test_the_reference_is_named_by_name_by_command_or_by_file(tmp_path: Path) -> None:
    some: Mapping[str, Any] = {"command": ("env", "app-{a}"), "parameter_list": (("a", "1,2"),)}
    for wanted in ("a=2", "env app-2"):
        assert [variant.reference for variant in plan(reference=wanted, **some).variants] == [False, True]
    paths = (write(tmp_path), write(tmp_path, name="other.yaml"))
    for wanted in ("other", "other.yaml", str(paths[1])):
        assert [variant.reference for variant in plan(reference=wanted, scenarios=paths).variants] == [False, True]


# --- numbers, conditions, cold ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [({}, 10, 100), ({"min_runs": 200}, 200, 200), ({"max_runs": 5}, 5, 5), ({"min_runs": 3, "max_runs": 4}, 3, 4)],
)
def test_the_bounds_of_rounds_make_room_for_each_other(asked: Mapping[str, int], least: int, most: int) -> None:
    made = of_command(**asked)
    assert (made.min_runs, made.max_runs, made.runs) == (least, most, None)


def test_numbers_are_taken_as_they_were_asked_for() -> None:
    made = of_command(runs=20, warmup=3, seed=9, attributes=("commit=abc",), imports=False, show_output=True, again="jetable bench")
    assert (made.runs, made.warmup, made.seed, made.attributes) == (20, 3, 9, {"commit": "abc"})
    assert (made.imports, made.show_output, made.again) == (False, True, "jetable bench")
    assert of_command(precision="2.5%").precision == 0.025


def test_conditions_come_in_the_order_of_reports_and_each_once() -> None:
    assert of_command(under=("kill,load", "load")).under == ("load", "kill")


def test_several_starts_at_once_are_asked_for_by_their_numbers_alone() -> None:
    made = of_command(at_once="4,1,2")
    assert (made.under, made.at_once) == (("idle", "at-once"), (1, 2, 4))
    assert of_command(at_once="2", under=("kill",)).under == ("kill", "at-once")


def test_the_only_service_is_the_one_that_is_slow(tmp_path: Path) -> None:
    made = plan(scenarios=(write(tmp_path, BACKED),), under=("service-slow",), slow="250ms")
    assert (made.service, made.slow_s) == ("redis", 0.25)


def test_cold_starts_are_asked_for_by_name_or_by_the_flag_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flags, "may_drop_caches", lambda: "")
    assert of_command(cold=("bytecode,disk",)).variants[0].cold == ("disk", "bytecode")
    assert of_command(drop_caches=True).variants[0].cold == ("disk",)
    assert plan(image="shop:1", cold=("image",)).variants[0].cold == ("image",)


def test_caches_that_may_not_be_dropped_are_told_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flags, "may_drop_caches", lambda: "the page cache can't be dropped: use sudo")
    with pytest.raises(MachineError, match=r"^the page cache can't be dropped: use sudo$"):
        of_command(drop_caches=True)


# --- what is wrong ------------------------------------------------------------------------------------------------------------

TWO: Mapping[str, Any] = {"environment": ("A={a}",), "parameter_list": (("a", "1,2"),)}

MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"runs": 0}, "--runs 0: zero runs measure nothing; ask for 1 at least"),
    ({"max_runs": 0}, "--max-runs 0: zero runs measure nothing; ask for 1 at least"),
    ({"runs": -1}, "--runs -1: must be a number of rounds from 1 to 10000"),
    ({"runs": 10_001}, "--runs 10001: must be a number of rounds from 1 to 10000"),
    ({"warmup": -1}, "--warmup -1: must be a number of rounds from 0 to 10000"),
    ({"min_runs": 5, "max_runs": 4}, "--min-runs 5: is more than --max-runs 4; raise that one, or lower this one"),
    ({"runs": 5, "min_runs": 4}, "--runs 5: is an exact number, which --min-runs 4 contradicts; drop one of them"),
    ({"runs": 5, "precision": "2%"}, "--runs 5: is an exact number, which --precision 2% contradicts; drop one of them"),
    ({"precision": "2"}, "--precision 2: must be a per cent of the median, such as 2%"),
    ({"precision": ""}, "--precision '': must be a per cent of the median, such as 2%"),
    ({"precision": "0%"}, "--precision 0%: must be more than 0% and less than 100%"),
    ({"precision": "100%"}, "--precision 100%: must be more than 0% and less than 100%"),
    ({"precision": "-2%"}, "--precision -2%: must be a per cent of the median, such as 2%"),
    ({"seed": -1}, "--seed -1: must be a whole number from 0 to 9223372036854775807"),
    ({"attributes": ("commit",)}, "--attribute commit: must be written NAME=VALUE"),
    ({"attributes": ("=x",)}, "--attribute =x: must be written NAME=VALUE"),
    ({"attributes": ("a=1", "a=2")}, "--attribute a=2: a is 1 already; drop one of them"),
    ({"environment": ("A",)}, "--env A: must be written NAME=VALUE"),
    (
        {"environment": ("PORT=80",)},
        "--env PORT=80: PORT is handed in for each replica; remove it, and write {port} where the command needs it",
    ),
    (
        {"port": 80},
        (
            "--port 80: a command is told its port, a new one for each replica; write {port} among its words, or have it read PORT, "
            "and drop --port"
        ),
    ),
    ({"healthcheck": "healthz"}, "--healthcheck healthz: must be a path such as /healthz, or tcp, running or log:REGEX"),
    ({"healthcheck": "tpc"}, '--healthcheck tpc: must be a path such as /healthz, or tcp, running or log:REGEX (did you mean "tcp"?)'),
    ({"healthcheck": "log:"}, "--healthcheck log:: must be a path such as /healthz, or tcp, running or log:REGEX"),
    ({"healthcheck": "/a b"}, '--healthcheck /a b: must be a path such as /healthz, not "/a b"'),
    ({"healthcheck": "log:["}, "--healthcheck log:[: is no regular expression: unterminated character set at position 0"),
    ({"process": "web"}, "--process web: has no meaning without a scenario file, as there is one process type alone; drop it"),
    ({"engines": ("podman",)}, '--engine podman: no engine is called so; there is "process" or "docker"'),
    (
        {"engines": ("docker",)},
        "--engine docker: a command after -- is no container; leave it out, or name a scenario file that has both command: and image:",
    ),
    (
        {"under": ("busy",)},
        '--under busy: "busy" is unknown; there is "idle", "load", "kill", "keep-alive", "service-slow", "service-down" or "at-once"',
    ),
    (
        {"under": ("idle,laod",)},
        (
            '--under idle,laod: "laod" is unknown (did you mean "load"?); there is "idle", "load", "kill", "keep-alive", '
            '"service-slow", "service-down" or "at-once"'
        ),
    ),
    ({"under": ("clean",)}, "--under clean: clean comes with kill, which is compared with it; write kill"),
    ({"under": ("at-once",)}, "--under at-once: how many? Say it with --at-once 1,2,4,8"),
    ({"at_once": "0"}, '--at-once 0: must be numbers of replicas from 1 to 200 with commas, such as 1,2,4,8, not "0"'),
    ({"at_once": "1,,2"}, '--at-once 1,,2: must be numbers of replicas from 1 to 200 with commas, such as 1,2,4,8, not ""'),
    ({"at_once": "2,2"}, "--at-once 2,2: 2 is there more than once; name each number once"),
    ({"under": ("service-slow",)}, "--under service-slow: only a scenario file can name services; write one, or leave service-slow out"),
    ({"service": "redis"}, "--service redis: has no meaning without --under service-slow or service-down; add one, or drop this"),
    ({"slow": "100ms"}, "--slow 100ms: has no meaning without --under service-slow; add that, or drop this"),
    ({"slow": "100", "under": ("service-slow",)}, "--slow 100: needs a unit: write 100s or 100ms"),
    ({"slow": "0s", "under": ("service-slow",)}, "--slow 0s: is no delay at all; write for example 100ms"),
    ({"cold": ("cpu",)}, '--cold cpu: "cpu" is unknown; there is "disk", "bytecode" or "image"'),
    ({"reference": "x"}, "--reference x: there is one variant alone, and nothing to compare with it; add another, or drop this"),
    ({"reference": "a=3", **TWO}, '--reference a=3: no variant is called so (did you mean "a=2"?); there is "a=1" or "a=2"'),
    ({"names": ("x",), **TWO}, '--command-name: given once for 2 variants ("a=1" and "a=2"); give it once for each'),
    ({"names": ("x", "x"), **TWO}, "--command-name x: is the name of more than one variant; give each its own"),
    ({"names": ("",)}, "--command-name '': must be one line of printable text of at most 120 characters"),
    ({"prepare": ("a", "b")}, "--prepare: given 2 times for one variant; give it once for all, or once for each"),
    ({"cleanup": ("a", "b", "c"), **TWO}, "--cleanup: given 3 times for 2 variants; give it once for all, or once for each"),
    ({"parameter_step": "2"}, "--parameter-step-size 2: has no meaning without --parameter-scan; add that, or drop this"),
    ({"parameter_scan": (("n", "1", "x"),)}, '--parameter-scan n 1 x: "x" is no number; write VAR MIN MAX, such as workers 1 4'),
    ({"parameter_scan": (("n", "3", "1"),)}, "--parameter-scan n 3 1: 3 is more than 1; write the smaller one first"),
    ({"parameter_scan": (("n", "0.1", "1"),)}, "--parameter-scan n 0.1 1: bounds with a point need a step; add --parameter-step-size 0.5"),
    (
        {"parameter_scan": (("n", "1", "5000"),)},
        "--parameter-scan n 1 5000: has 5000 values, and 1000 are the most; take a larger --parameter-step-size",
    ),
    (
        {"parameter_scan": (("n", "1", "5"),), "parameter_step": "0"},
        "--parameter-step-size 0: must be a number above 0, such as 2 or 0.5",
    ),
    (
        {"parameter_list": (("port", "1,2"),)},
        "--parameter-list port 1,2: {port} is the port that the replica must listen on, also in its environment as PORT; take another name",
    ),
    (
        {"parameter_list": (("1a", "1,2"),)},
        '--parameter-list 1a 1,2: "1a" is no name for a parameter; use letters, digits, - and _, and begin with a letter',
    ),
    ({"parameter_list": (("a", "1,1"),)}, '--parameter-list a 1,1: "1" is there more than once; name each value once'),
    ({"parameter_list": (("a", ""),)}, "--parameter-list a: has no value; write VAR A,B,C"),
    ({"parameter_list": (("a", "1"), ("a", "2"))}, "--parameter-list a 2: a has values already; name each parameter once"),
    (
        {"parameter_list": (("a", "1,2"),)},
        "--parameter-list a: nothing uses it: write {a} in the target, in --env or in --prepare, or drop it",
    ),
    (
        {"environment": ("A={a}{b}{c}",), "parameter_scan": (("a", "1", "50"), ("b", "1", "50"), ("c", "1", "2"))},
        "5000 variants are too many, and 1000 are the most; take fewer values, engines or scenario files",
    ),
    (
        {"command": ("no-such-program", "x")},
        "-- no-such-program x: command no-such-program is not on PATH; install it, or mend the words after --",
    ),
    ({"command": ("",)}, "-- '': must name a program"),
    ({"command": ("app '",)}, "-- app ': can't be split into words: no closing quotation"),
    ({"command": ()}, "nothing to start; name a scenario file, an image with --image, or a command after --, as in -- gunicorn app:app"),
    ({"image": "shop"}, "--image shop and a command after --: each is a target by itself; leave one out"),
    (
        {"image": "shop", "build": "."},
        "--image shop and --build . and a command after --: each is a target by itself; leave all but one out",
    ),
    ({"prepare": ("\udcff",)}, "--prepare \\udcff: is no text in UTF-8, so no report could hold it; write it in other characters"),
]

OF_IMAGES: list[tuple[dict[str, Any], str]] = [
    ({"image": "Shop"}, '--image Shop: "Shop" is no image\'s name; names look like nginx:1.27 or ghcr.io/owner/app:1.0, in small letters'),
    (
        {"image": "shop:{tag}", "parameter_list": (("tag", "1,!"),)},
        '--image shop:!: "shop:!" is no image\'s name; names look like nginx:1.27 or ghcr.io/owner/app:1.0, in small letters',
    ),
    ({"image": "shop", "port": 70_000}, "--port 70000: must be a port from 1 to 65535, not 70000"),
    (
        {"image": "shop", "engines": ("process",)},
        (
            "--engine process: --image shop is no process of this machine; leave it out, or name a scenario file that has both command: "
            "and image:"
        ),
    ),
    ({"build": "/nowhere/app"}, "--build /nowhere/app: there is no folder /nowhere/app; a relative path begins where jetable is started"),
    (
        {"scenarios": (Path("gunicorn"), Path("app:app"))},
        "gunicorn: no such file or folder; a command is written after --, as in jetable bench -- gunicorn app:app",
    ),
]


@pytest.mark.parametrize(("asked", "sentence"), MISTAKES, ids=[sentence[:40] for _, sentence in MISTAKES])
def test_each_mistake_is_told_in_one_sentence_that_names_its_flag(asked: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as told:
        plan(**{"command": COMMAND, **asked})
    assert str(told.value) == sentence


@pytest.mark.parametrize(("asked", "sentence"), OF_IMAGES, ids=[sentence[:40] for _, sentence in OF_IMAGES])
def test_each_mistake_about_another_target_is_told_in_one_sentence(asked: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as told:
        plan(**asked)
    assert str(told.value) == sentence


def test_all_that_is_wrong_with_a_target_is_told_at_once() -> None:
    with pytest.raises(ScenarioError) as told:
        plan(image="Shop", port=0, healthcheck="/a b")
    assert [problem.partition(" ")[0] for problem in told.value.problems] == ["--image", "--port", "--healthcheck"]


OF_FILES: list[tuple[dict[str, Any], str]] = [
    (
        {"engines": ("docker",)},
        (
            "FILE: the service redis has a url, and in containers 127.0.0.1 is the container itself; use --engine process, or leave "
            "the url out"
        ),
    ),
    ({"port": 80}, "--port 80: has no meaning for a scenario file, which says it itself; write it there, or drop this"),
    ({"healthcheck": "tcp"}, "--healthcheck tcp: has no meaning for a scenario file, which says it itself; write it there, or drop this"),
    ({"process": "wbe"}, '--process wbe: FILE has no such process type (did you mean "web"?); there is "web" or "worker"'),
    (
        {"process": "worker", "under": ("load",)},
        "--under load: worker of FILE is started and stopped, and the requests go to web; write --process web, or leave load out",
    ),
    (
        {"under": ("service-down",)},
        "--under service-down: redis of FILE has a url, so it is not the bench's own and never stopped; remove the url, or leave it out",
    ),
    (
        {"under": ("service-slow",), "service": "rediss"},
        '--service rediss: FILE: unknown service "rediss" (did you mean "redis"?); the scenario has "redis"',
    ),
    (
        {"cold": ("image",), "engines": ("docker", "process")},
        '--cold image: "process" is started by the process engine, which has no images; drop it, or use --engine docker',
    ),
    (
        {"parameter_list": (("n", "1,2"),)},
        "--parameter-list n: nothing uses it: write {n} in FILE: the command and environment of web, in --env or in --prepare, or drop it",
    ),
    (
        {"environment": ("REDIS_URL=x",)},
        (
            "FILE: target.web.environment.REDIS_URL: REDIS_URL hands over the URL of redis; remove it here, or write "
            "variable: with another name there"
        ),
    ),
    (
        {"environment": ("PORT=1",)},
        "FILE: target.web.environment.PORT: PORT is handed in for each replica; remove it, and write {port} where the command needs it",
    ),
]


@pytest.mark.parametrize(("asked", "sentence"), OF_FILES, ids=[sentence[:40] for _, sentence in OF_FILES])
def test_each_mistake_about_a_scenario_file_is_told_in_one_sentence(tmp_path: Path, asked: dict[str, Any], sentence: str) -> None:
    path = write(tmp_path, BACKED)
    with pytest.raises(UsageError) as told:
        plan(scenarios=(path,), **asked)
    assert str(told.value) == sentence.replace("FILE", str(path))


def test_a_scenario_that_an_engine_can_not_start_is_told_with_its_place(tmp_path: Path) -> None:
    path = write(tmp_path, BOTH.replace("    image: app:1\n", ""))
    with pytest.raises(ScenarioError) as told:
        plan(scenarios=(path,), engines=("docker",))
    assert len(told.value.problems) == 2
    assert all(problem.startswith(f"{path}:") and "--engine process" in problem for problem in told.value.problems)


def test_all_that_is_wrong_with_several_files_is_told_at_once(tmp_path: Path) -> None:
    paths = (write(tmp_path, "jetable: 2\n"), write(tmp_path, "nothing: 1\n", "other.yaml"))
    with pytest.raises(ScenarioError) as told:
        plan(scenarios=paths)
    assert {problem.partition(":")[0] for problem in told.value.problems} == {str(path) for path in paths}


def test_a_folder_without_scenarios_selects_nothing(tmp_path: Path) -> None:
    with pytest.raises(NothingSelectedError):
        plan(scenarios=(tmp_path,))


def test_a_scenario_without_requests_is_not_put_under_load(tmp_path: Path) -> None:
    jobs = "jobs:\n  rate: 20/s\n  body: x{job}\n  done: {file: done.log}\n"
    path = write(tmp_path, BACKED.replace("load:\n  requests: [GET /]\n", jobs))
    with pytest.raises(UsageError, match=r"^--under load: \S+ has no requests; write load: there, or leave load out$"):
        plan(scenarios=(path,), under=("load",))


# --- properties ---------------------------------------------------------------------------------------------------------------

LETTERS = st.text("abcxyz019.-_ {}'", min_size=1, max_size=6)
ANY = st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=8)


@pytest.mark.slow
@given(values=st.lists(LETTERS, min_size=1, max_size=4, unique=True), high=st.integers(1, 3), cold=st.booleans())
@settings(max_examples=40)
def test_every_variant_is_a_scenario_that_reads_back_as_itself(values: list[str], high: int, cold: bool) -> None:  # noqa: FBT001  drawn
    made = plan(
        command=(*COMMAND, "{a}"),
        environment=("N={n}",),
        parameter_list=(("a", ",".join(values)),),
        parameter_scan=(("n", "1", str(high)),),
        cold=("bytecode",) if cold else (),
    )
    assert len(made.variants) == len(values) * high == len(set(names(made)))
    assert [variant.reference for variant in made.variants].count(True) == (len(made.variants) > 1)
    for variant in made.variants:
        assert Scenario.model_validate_json(variant.scenario.model_dump_json()) == variant.scenario
        assert kind_of(variant).argv[-1] == variant.parameters["a"]


@pytest.mark.slow
@given(
    asked=st.fixed_dictionaries(
        {},
        optional={
            "image": ANY,
            "build": ANY,
            "command": st.lists(ANY, max_size=2).map(tuple),
            "healthcheck": ANY.map(lambda text: f"log:{text}") | ANY,
            "environment": st.lists(ANY | ANY.map(lambda text: f"A={text}"), max_size=2).map(tuple),
            "port": st.integers(),
            "runs": st.integers(),
            "warmup": st.integers(),
            "precision": ANY,
            "parameter_scan": st.lists(st.tuples(ANY, ANY, ANY), max_size=2).map(tuple),
            "parameter_list": st.lists(st.tuples(ANY, ANY), max_size=2).map(tuple),
            "parameter_step": ANY,
            "reference": ANY,
            "names": st.lists(ANY, max_size=2).map(tuple),
            "under": st.lists(ANY, max_size=2).map(tuple),
            "at_once": ANY,
            "slow": ANY,
            "attributes": st.lists(ANY, max_size=2).map(tuple),
            "scenarios": st.lists(ANY.map(Path), max_size=1).map(tuple),
        },
    )
)
@settings(max_examples=100)
def test_whatever_is_written_makes_a_plan_or_a_sentence(asked: dict[str, Any]) -> None:
    told = ["a plan"]
    try:
        plan(**{"command": COMMAND, **asked})
    except ScenarioError as error:
        told = error.problems
    except JetableError as error:
        told = [str(error)]
    assert told
    assert all(line and line.isprintable() for line in told)
