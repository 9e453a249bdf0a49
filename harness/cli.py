"""The command line: arguments in, exit code out.

Commands import what they need when they run, so that ``jetable --help`` answers at once.
"""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import click

from harness import __version__
from harness.errors import ExitCode, JetableError, StoppedError, UsageError

if TYPE_CHECKING:
    from harness.report.model import RunReport
    from harness.scenario import Scenario

EXIT_CODES = """\b
Exit codes:
  0  all passed
  1  a check failed
  2  interrupted
  3  internal error
  4  usage or scenario file
  5  nothing selected
  7  unknown: not enough evidence for a verdict
  8  this machine can't run it (no permission, no engine)
"""

PATHS = click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
REPORTS = click.option(
    "--reports",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("reports"),
    show_default=True,
    envvar="JETABLE_REPORTS",
    help="The folder that gets one folder a run.",
)
REPORTER = click.option(
    "--reporter",
    "reporters",
    multiple=True,
    metavar="NAME[=FILE]",
    help="terminal (default), json or junit; with =FILE all runs go to that file. Can be given several times.",
)


class _Commands(click.Group):
    """Turns every error into one message and the exit code that it carries."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        kwargs["standalone_mode"] = False
        try:
            sys.exit(super().main(*args, **kwargs) or ExitCode.PASSED)
        except click.exceptions.Exit as error:
            sys.exit(error.exit_code)
        except click.ClickException as error:
            error.show()
            sys.exit(ExitCode.USAGE)
        except (click.Abort, StoppedError):
            click.echo("jetable: stopped; what there is was written and everything was removed", err=True)
            sys.exit(ExitCode.INTERRUPTED)
        except JetableError as error:
            click.echo(f"jetable: {error}", err=True)
            sys.exit(error.exit_code)
        except Exception:  # noqa: BLE001  the outermost frame: nothing may end without its exit code
            click.echo(traceback.format_exc(), err=True)
            click.echo("jetable: internal error; please report it with the traceback above", err=True)
            sys.exit(ExitCode.INTERNAL)


@click.group(cls=_Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="jetable")
def main() -> None:
    r"""Prove that an app can be thrown away at any moment.

    Jetable starts your app, puts load on it, terminates, kills and scales it, and shows with evidence what was dropped and how long
    every start and stop took.

    \b
    Example:
      jetable run scenarios/quickstart
    """


@main.command(epilog="Example: jetable run scenarios/quickstart --seed 7 --reporter junit=junit.xml")
@PATHS
@click.option("--engine", default="process", show_default=True, metavar="NAME", help="Where replicas live.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Repeat a run's choices; printed at the end of every run.")
@click.option("--repeat", type=click.IntRange(1, 1000), default=1, show_default=True, help="Run everything so many times.")
@click.option("--dry-run", is_flag=True, help="Play it on fakes: show the plan, start nothing, write nothing.")
@REPORTER
@REPORTS
def run(  # noqa: PLR0913  one parameter a flag
    *, paths: tuple[Path, ...], engine: str, seed: int | None, repeat: int, dry_run: bool, reporters: tuple[str, ...], reports: Path
) -> ExitCode:
    """Run scenarios: a file, a folder, or several of them."""
    from harness.report import choice  # noqa: PLC0415  see the module's docstring
    from harness.run import RunOptions, check_engine, rehearse, run_scenario  # noqa: PLC0415

    check_engine(engine)
    chosen = choice.parse_all(reporters)
    scenarios = _load(paths)
    options = RunOptions(engine=engine, seed=seed, reports=reports)
    done: list[RunReport] = []
    with _stoppable():
        for _ in range(1 if dry_run else repeat):
            for path, scenario in scenarios:
                progress = choice.progress(chosen)
                if dry_run:
                    rehearse(scenario, path, options, choice.rehearsal(scenario))
                    continue
                report = run_scenario(scenario, path, options, progress)
                choice.show_run(chosen, report)
                done.append(report)
    return choice.finish(chosen, done)


@main.command(epilog="Example: jetable check reports/latest")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@REPORTER
def check(*, runs: tuple[Path, ...], reporters: tuple[str, ...]) -> ExitCode:
    """Judge stored runs again; nothing is started."""
    from harness.report import choice, write_all  # noqa: PLC0415
    from harness.run import judge_folder  # noqa: PLC0415

    chosen = choice.parse_all(reporters)
    done = []
    for folder in runs:
        report = judge_folder(folder.resolve())
        write_all(report)
        choice.show_run(chosen, report)
        done.append(report)
    return choice.finish(chosen, done)


@main.command(epilog="Example: jetable validate scenarios")
@PATHS
def validate(*, paths: tuple[Path, ...]) -> None:
    """Say all that is wrong with scenario files; start nothing."""
    for path, scenario in _load(paths):
        click.echo(f"{path}: valid ({scenario.name})")


@main.command(name="list", epilog="Example: jetable list scenarios")
@PATHS
def list_(*, paths: tuple[Path, ...]) -> None:
    """List scenarios with their steps and what they expect."""
    for path, scenario in _load(paths):
        click.echo(f"{path}\n  {scenario.name}")
        for step in scenario.steps:
            click.echo(f"    {step.text}" + (f"  ({step.repeat} times)" if step.repeat > 1 else ""))


@main.command(epilog="Example: jetable schema > scenario.schema.json")
def schema() -> None:
    """Print the JSON Schema (draft 7) of scenario files, for editors."""
    import json  # noqa: PLC0415

    from harness.schema import json_schema  # noqa: PLC0415

    click.echo(json.dumps(json_schema(), indent=2))


@main.command(epilog="Example: jetable doctor")
@REPORTS
def doctor(*, reports: Path) -> ExitCode:
    """Say what this machine can and can't run, and the cure for what it can't."""
    from harness.doctor import examine  # noqa: PLC0415

    worst = ExitCode.PASSED
    for line in examine(reports):
        click.echo(f"{'ok  ' if line.ok else 'bad '} {line.what}: {line.found}" + (f"; {line.cure}" if line.cure else ""))
        worst = worst if line.ok else ExitCode.ENVIRONMENT
    return worst


@main.command(epilog="Example: jetable cleanup --older-than 1h --dry-run")
@click.option("--older-than", default="0s", show_default=True, metavar="DURATION", help="Leave runs alone that began later than that.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def cleanup(*, older_than: str, dry_run: bool) -> None:
    """Remove what runs left behind whose harness is no longer alive; touch nothing else."""
    from harness.cleanup import clean_stale  # noqa: PLC0415
    from harness.units import Duration  # noqa: PLC0415

    try:
        older_than_s = Duration.parse(older_than).s
    except ValueError as error:
        raise UsageError(f"--older-than {older_than}: {error}") from error
    removed = clean_stale(older_than_s=older_than_s, dry_run=dry_run)
    for line in removed:
        click.echo(f"{'would remove' if dry_run else 'removed'} {line}")
    if not removed:
        click.echo("nothing is left of any run")


def _load(paths: tuple[Path, ...]) -> list[tuple[Path, Scenario]]:
    """Load every scenario before anything starts; all problems of all files are shown at once."""
    from harness.errors import ScenarioError  # noqa: PLC0415
    from harness.scenario import find_scenarios, load_scenario  # noqa: PLC0415

    loaded, problems = [], []
    for path in find_scenarios(paths):
        try:
            loaded.append((path, load_scenario(path)))
        except ScenarioError as error:
            problems += error.problems
    if problems:
        raise ScenarioError(problems)
    return loaded


@contextmanager
def _stoppable() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM raise `StoppedError` once; from then on they are ignored until the run is cleaned up."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.SIG_IGN)
        raise StoppedError("stopped")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: dict[signal.Signals, Callable[[int, FrameType | None], Any] | int | None] = {
        name: signal.signal(name, stop) for name in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
