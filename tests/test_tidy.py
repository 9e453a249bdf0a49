"""Style is a test: the import ladder and the rules of the house, so that nobody has to remember them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HARNESS = sorted((ROOT / "harness").rglob("*.py"))
OURS = HARNESS + sorted(path for path in (ROOT / "sample_apps").rglob("*.py") if "node_modules" not in path.parts)

LADDER: tuple[tuple[str, ...], ...] = (
    ("errors", "clock", "words", "hosts", "statistics"),
    (
        "units",
        "outcome",
        "strict_yaml",
        "proctable",
        "benches",
        "procevents",
        "loop",
        "extract",
        "keptlog",
        "sockets",
        "tls",
        "dockerd",
        "stopping",
    ),
    ("line",),
    ("job_history", "state_history"),
    ("history", "verdict", "threshold", "template", "command", "strict_model", "marks"),
    ("scenario", "imports", "monitors", "resources"),
    ("engines", "services", "checks", "schema", "openfiles", "dialects"),
    ("load", "histories", "compare", "baseline"),
    ("stage",),
    ("probes", "connections", "jobs", "state", "cleanup"),
    ("moment", "backing"),
    ("fleet",),
    ("faults",),
    ("report", "replay"),
    ("real",),
    ("run", "doctor"),
    ("drain", "bench"),
    ("cli", "pytest_plugin"),
    ("__main__",),
)
"""Each part may import itself and parts of the rungs above it; parts of one rung never import each other."""

LONGEST_FUNCTION = 60

PARTS_OF_ENGINES = {
    "docker": {
        "docker_container",
        "docker_events",
        "docker_evidence",
        "docker_first_look",
        "docker_fresh",
        "docker_image",
        "docker_network",
    },
}
"""Engines of several files: which files of harness/engines are parts of one and no engines themselves. Nobody else imports those but the
doctor, who says how replicas would be reached without starting any."""


def rung(part: str) -> int:
    found = [number for number, parts in enumerate(LADDER) if part in parts]
    assert found, f"harness/{part} has no rung: add it to LADDER in {Path(__file__).name}"
    return found[0]


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "harness":
            if node.module == "harness":
                yield from ((f"harness.{alias.name}", node.lineno) for alias in node.names if alias.name != "__version__")
            else:
                yield node.module, node.lineno
        elif isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names if alias.name.startswith("harness."))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module")
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in OURS}


def test_each_part_imports_only_from_the_rungs_above_it(trees: dict[Path, ast.Module]) -> None:
    wrong = []
    for path in HARNESS:
        relative = path.relative_to(ROOT / "harness")
        own = relative.parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        for module, line in imports(trees[path]):
            other = part_of(module)
            if other != own and rung(other) >= rung(own):
                wrong.append(f"{name_of(path)}:{line} imports harness.{other}")
    assert not wrong, "\n".join(wrong)


def test_the_ladder_of_the_documentation_is_this_one() -> None:
    text = (ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8")
    drawn = re.search(r"```\n(errors, clock.*?)\n```", text, re.DOTALL)
    assert drawn
    rungs = [set(re.findall(r"\w+", line.partition("(")[0])) for line in drawn[1].splitlines()]
    assert rungs == [set(parts) for parts in LADDER[:-1]]


def test_every_file_that_the_documentation_names_is_there() -> None:
    gone = [
        f"{name_of(page)}: {name}"
        for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
        for name in re.findall(r"`((?:harness|tests|scenarios|sample_apps|benchmarks)/[\w./-]+)`", page.read_text(encoding="utf-8"))
        if not (ROOT / name).exists() and name != "harness/checks/events.py"  # the example of a check that one may add
    ]
    assert not gone, "\n".join(gone)


def test_no_function_is_longer_than_a_screen(trees: dict[Path, ast.Module]) -> None:
    long = [
        f"{name_of(path)}:{function.lineno} {function.name}: {length} lines"
        for path, tree in trees.items()
        for function in functions(tree)
        if (length := (function.end_lineno or function.lineno) - function.lineno + 1) > LONGEST_FUNCTION
    ]
    assert not long, "\n".join(long)


def test_every_module_opens_with_a_paragraph(trees: dict[Path, ast.Module]) -> None:
    bare = [name_of(path) for path, tree in trees.items() if not ast.get_docstring(tree)]
    assert not bare, bare


def test_only_the_command_line_and_reports_print_and_exit(trees: dict[Path, ast.Module]) -> None:
    wrong = []
    for path in HARNESS:
        if path.name == "cli.py":
            continue
        in_report = "report" in path.parts
        for node in ast.walk(trees[path]):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in ("sys.exit", "exit", "quit") or (called == "print" and not in_report):
                    wrong.append(f"{name_of(path)}:{node.lineno} calls {called}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"shell\s*=\s*True", "a shell between us and what we start steals signals"),
        (r"\btime\.time\(|\btime\.perf_counter|datetime\.now\((?!datetime\.UTC)", "durations come from CLOCK_MONOTONIC"),
        (r"\bexcept:\s*$", "nothing is swallowed"),
        (r"\brandom\.(choice|randint|random|shuffle|seed)\(", "chance comes from the run's dice"),
        (r"isinstance\([^)]*(ProcessEngine|FakeEngine|DockerEngine)", "nobody asks which engine it is"),
        (r"engine(\.name)?\s*==\s*[\"']", "nobody asks which engine it is"),
    ],
)
def test_what_must_not_be_written_is_not(pattern: str, why: str) -> None:
    wrong = [
        f"{name_of(path)}:{number}: {line.strip()}  ({why})"
        for path in HARNESS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(pattern, line)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_exception_to_a_rule_gives_its_reason() -> None:
    files = [*OURS, *sorted((ROOT / "tests").rglob("*.py"))]
    bare = [
        f"{name_of(path)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(r"#\s*(noqa(:\s*[A-Z0-9, ]+)?|type:\s*ignore(\[[a-z-]+\])?)\s*$", line)
    ]
    assert not bare, "\n".join(bare)


def test_every_module_has_tests_that_mirror_it() -> None:
    named = {path.relative_to(ROOT / "tests").as_posix() for path in (ROOT / "tests").rglob("test_*.py")}
    text = {name: (ROOT / "tests" / name).read_text(encoding="utf-8") for name in named}
    missing = []
    for path in HARNESS:
        relative = path.relative_to(ROOT / "harness")
        if path.name.startswith("__"):
            continue
        module = ".".join(("harness", *relative.with_suffix("").parts))
        package, leaf = module.rsplit(".", 1)
        used = re.compile(rf"{re.escape(module)}\b|from {re.escape(package)} import [^\n]*\b{leaf}\b")
        if not any(used.search(body) for body in text.values()):
            missing.append(module)
    assert not missing, f"no test names {', '.join(missing)}"


def test_nothing_in_the_registries_is_missing() -> None:
    from harness.checks import CHECKS
    from harness.engines import ENGINES
    from harness.faults import STEPS
    from harness.report import REPORTERS
    from harness.scenario import STEP_KINDS

    files = {path.stem for path in (ROOT / "harness/engines").glob("*.py")} - {"__init__", "base"}
    assert set(ENGINES) == files - set().union(*PARTS_OF_ENGINES.values())
    assert set(STEPS) == set(STEP_KINDS)
    assert set(CHECKS) == defining("harness/checks", "check")
    assert {reporter.of_run.__module__.rpartition(".")[2] for reporter in REPORTERS.values()} == defining("harness/report", "of_run")


def test_the_parts_of_an_engine_are_its_own(trees: dict[Path, ast.Module]) -> None:
    wrong = []
    for engine, parts in PARTS_OF_ENGINES.items():
        own = {ROOT / "harness/engines" / f"{name}.py" for name in (engine, *parts)}
        assert all(path.exists() for path in own)
        wrong += [
            f"{name_of(path)}:{line} imports {module}"
            for path in HARNESS
            if path not in own and path.name != "doctor.py"
            for module, line in imports(trees[path])
            if module.removeprefix("harness.engines.") in parts
        ]
    assert not wrong, "\n".join(wrong)


def defining(folder: str, function: str) -> set[str]:
    """The modules of a folder that define ``function``, which is what makes them members of its registry."""
    found = set()
    for path in (ROOT / folder).glob("*.py"):
        top = ast.parse(path.read_text(encoding="utf-8")).body
        found |= {path.stem for node in top if isinstance(node, ast.FunctionDef) and node.name == function}
    return found


def test_the_sleep_of_a_test_is_never_a_wait_for_something() -> None:
    """Tests wait for a line or a condition; a bare sleep in a test is one that will be too short one day."""
    wrong = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep" and not is_a_breath(node.args[0]):
                line = lines[node.lineno - 1]
                if "#" not in line:
                    wrong.append(f"{name_of(path)}:{node.lineno}: {line.strip()}")
    assert not wrong, "\n".join(wrong)


def is_a_breath(seconds: ast.expr) -> bool:
    """Whether it is a number below a tenth of a second: what a loop sleeps between two looks at its condition."""
    return isinstance(seconds, ast.Constant) and isinstance(seconds.value, int | float) and seconds.value < 0.1
