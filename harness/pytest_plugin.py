"""The pytest plug-in: scenario files are tests, ``pytest scenarios/``.

A thin shell over `harness.run`: a file that says ``jetable:`` at the begin of a line is a scenario, and so is one with ``target:`` and
``steps:``, whose author forgot that line and would never learn that nothing was tested. A YAML file that is named on the command line and
that no other plug-in takes is one, too; every other YAML file is left to whom it belongs. A broken scenario is an error of the collection,
in the sentences of ``jetable validate``. A test passes when the run's verdict is pass; otherwise its failure is the report that ``jetable
run`` prints, with each cause and cure and the command that repeats it.

It is loaded into every pytest of an environment that has Jetable, so it imports nothing of Jetable until a scenario is there, and never
Locust, which would patch the whole test process: the load runs in a process of its own.
"""

from __future__ import annotations

import io
import os
import re
import sys
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import pytest

if TYPE_CHECKING:
    from harness.report.model import RunReport
    from harness.scenario import Scenario

SUFFIXES: Final = (".yaml", ".yml")
SCENARIO: Final = re.compile(rb"""^(?:---[ \t]+)?(?:\{\s*)?["']?jetable["']?[ \t]*:""", re.MULTILINE)
FORGOTTEN: Final = tuple(re.compile(rb"""^["']?%s["']?[ \t]*:""" % key, re.MULTILINE) for key in (b"target", b"steps"))
LOOKED_AT_BYTES: Final = 1 << 20
MOST_REPEATS: Final = 1000
MARKER: Final = "jetable: a scenario file of Jetable"
UNKNOWN: Final = ("fail", "skip")
BASELINES: Final = pytest.StashKey[list[Path]]()
STOPPED: Final = "jetable: stopped; what there is was written, and all was removed"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options, all of which begin with ``--jetable-``."""
    group = parser.getgroup("jetable", "scenarios of Jetable")
    group.addoption(
        "--jetable-engine", default="", metavar="NAME", help="Where replicas live: process or docker. Default: what each needs."
    )
    group.addoption("--jetable-seed", type=_whole_number(0, 2**63 - 1), metavar="N", help="Repeat a run's choices.")
    group.addoption(
        "--jetable-reports",
        type=Path,
        default=Path(os.environ.get("JETABLE_REPORTS", "reports")),
        metavar="FOLDER",
        help="The folder that gets one folder a run. Default: JETABLE_REPORTS, or reports.",
    )
    group.addoption(
        "--jetable-baseline",
        action="append",
        metavar="RUN",
        help="A stored run or bench for thresholds that say baseline, once for each scenario. Default: JETABLE_BASELINE.",
    )
    group.addoption(
        "--jetable-repeat", type=_whole_number(1, MOST_REPEATS), default=1, metavar="N", help="Make N tests of each scenario. Default: 1."
    )
    group.addoption(
        "--jetable-unknown",
        choices=UNKNOWN,
        default="fail",
        help="What a run with not enough evidence for a verdict is: fail or skip. Default: fail.",
    )


class _Parses(Protocol):
    def __call__(self, text: str) -> int: ...


def _whole_number(least: int, most: int) -> _Parses:
    def parse(text: str) -> int:
        number = int(text)
        if not least <= number <= most:
            raise ValueError(text)
        return number

    parse.__name__ = f"whole number from {least} to {most}"  # argparse says: invalid … value
    return parse


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known, find the baselines before a run makes another one the latest, and refuse an engine that there is not."""
    config.addinivalue_line("markers", MARKER)
    named = config.getoption("jetable_baseline") or filter(None, os.environ.get("JETABLE_BASELINE", "").split(os.pathsep))
    config.stash[BASELINES] = [Path(place).resolve() for place in named]
    engine = config.getoption("jetable_engine")
    if engine:
        from harness.errors import UsageError
        from harness.run import check_engine

        try:
            check_engine(engine)
        except UsageError as error:
            raise pytest.UsageError(str(error).replace("--engine", "--jetable-engine", 1)) from None


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """A scenario file, if it is one, beside what other plug-ins see in it."""
    others = yield
    if file_path.suffix not in SUFFIXES:
        return others
    named = parent.session.isinitpath(file_path)
    if not _says_so(file_path) and not (named and not others):
        return others
    from harness.scenario.files import is_of_a_run

    if is_of_a_run(file_path.parent) and not named:
        return others
    file: ScenarioFile = ScenarioFile.from_parent(parent, path=file_path)
    return [*others, file]


def _says_so(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            content = file.read(LOOKED_AT_BYTES).removeprefix(b"\xef\xbb\xbf")
    except OSError:
        return False
    return SCENARIO.search(content) is not None or all(key.search(content) for key in FORGOTTEN)


class ScenarioFile(pytest.File):
    """A scenario file; its tests are its runs."""

    def collect(self) -> Iterator[ScenarioItem]:
        """One test for each run that is wanted."""
        from harness.errors import JetableError
        from harness.scenario import load_scenario

        shown = self._as_given()
        try:
            scenario = load_scenario(shown)
        except JetableError as error:
            raise self.CollectError(str(error)) from None
        repeat = self.config.getoption("jetable_repeat")
        for number in range(1, repeat + 1):
            name = scenario.name.replace("::", ":") + (f"[{number}]" if repeat > 1 else "")
            yield ScenarioItem.from_parent(self, name=name, scenario=scenario, shown=shown)

    def _as_given(self) -> Path:
        """The path as a person in the folder where pytest was started writes it."""
        here = self.config.invocation_params.dir
        return self.path.relative_to(here) if self.path.is_relative_to(here) and Path.cwd() == here else self.path


class ScenarioItem(pytest.Item):
    """One run of a scenario."""

    def __init__(self, *, scenario: Scenario, shown: Path, **others: object) -> None:
        super().__init__(**others)  # type: ignore[arg-type]  # pytest's own: name and parent
        self._scenario = scenario
        self._shown = shown
        self.add_marker("jetable")

    def runtest(self) -> None:
        """Run the scenario; anything but a pass raises."""
        from harness.errors import StoppedError
        from harness.verdict import Verdict

        try:
            report = self._run()
        except StoppedError:
            pytest.exit(STOPPED, returncode=pytest.ExitCode.INTERRUPTED)
        self.user_properties += [
            ("jetable_verdict", report.verdict.word),
            ("jetable_folder", str(report.folder)),
            ("jetable_seed", report.seed),
            ("jetable_rerun", report.rerun),
        ]
        if report.verdict is Verdict.PASS:
            self.add_report_section("call", "jetable", as_text(report))
        elif report.verdict is Verdict.UNKNOWN and self.config.getoption("jetable_unknown") == "skip":
            # As pytest's own marks skip: the summary then names the scenario's file, and not this one.
            raise pytest.skip.Exception(f"{_reason(report)}; report: {report.folder}", _use_item_location=True)
        else:
            raise NotPassedError(report)

    def _run(self) -> RunReport:
        from harness.baseline import needs_baseline, read_baselines
        from harness.errors import StoppedError
        from harness.report.progress import SilentProgress
        from harness.run import RunOptions, check_scenarios, run_scenario, with_baseline
        from harness.stopping import stoppable

        option = self.config.getoption
        engine = option("jetable_engine")
        check_scenarios([(self._shown, self._scenario)], engine)
        places = self.config.stash[BASELINES]
        sources = read_baselines(places) if needs_baseline(self._scenario) else []
        asked = RunOptions(engine=engine, seed=option("jetable_seed"), reports=option("jetable_reports"))
        options = with_baseline(self._scenario, asked, sources)
        with _as_it_was(), stoppable():
            report, stopped = run_scenario(self._scenario, self._shown, options, SilentProgress())
        if stopped:
            raise StoppedError("stopped")
        return report

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: object = None) -> Told | str:  # type: ignore[override]  # it names what it returns more closely
        """The report, or the sentence of what could not be run; a defect of Jetable keeps its traceback."""
        from harness.errors import JetableError, ScenarioError

        del style
        error = excinfo.value
        if isinstance(error, NotPassedError):
            return Told(report=error.report, reprcrash=Reason(message=_reason(error.report)))
        if isinstance(error, ScenarioError):
            return str(error)
        if isinstance(error, JetableError):
            return f"jetable: {error}"
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where it stands."""
        return self.path, 0, self.name


class NotPassedError(Exception):
    """The verdict of a run was not pass."""

    def __init__(self, report: RunReport) -> None:
        super().__init__(_reason(report))
        self.report = report


class Terminal(Protocol):
    """What pytest hands to a failure that prints itself."""

    @property
    def hasmarkup(self) -> bool:
        """Whether colours are shown there."""
        ...

    @property
    def fullwidth(self) -> int:
        """Columns."""
        ...

    def line(self, s: str = "") -> None:
        """Print a line."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A failure in one line, for pytest's summary and for the ``message`` of its junit file."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A failure as pytest wants it: a long text for people and one line."""

    report: RunReport
    reprcrash: Reason

    def __str__(self) -> str:
        return as_text(self.report)

    def toterminal(self, tw: Terminal) -> None:
        """Print the report as ``jetable run`` does."""
        for line in as_text(self.report, width=tw.fullwidth, coloured=tw.hasmarkup).splitlines():
            tw.line(line)


def as_text(report: RunReport, *, width: int = 120, coloured: bool = False) -> str:
    """What ``jetable run`` prints of a run."""
    from harness.report.console import console_for
    from harness.report.terminal import print_run

    text = io.StringIO()
    print_run(report, console_for(text, {"FORCE_COLOR": "1"} if coloured else {"NO_COLOR": "1"}, width=width))
    return text.getvalue()


def _reason(report: RunReport) -> str:
    """The verdict and the finding that decided it."""
    from harness.report.text import clean

    decisive = next((finding for finding in report.findings if finding.verdict is report.verdict), None)
    return f"{report.verdict.word}: {clean(decisive.title)} [{decisive.name}]" if decisive is not None else report.verdict.word


@contextmanager
def _as_it_was() -> Iterator[None]:
    """What a run changes of this process is given back, and no warning of a library becomes an error in the middle of a run."""
    switch_s = sys.getswitchinterval()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            yield
    finally:
        sys.setswitchinterval(switch_s)
