"""The command line: arguments in, exit code out.

Commands import what they need when they run, so that ``jetable --help`` answers at once.
"""

from __future__ import annotations

import atexit
import errno
import gc
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from harness import __version__
from harness.errors import ExitCode, JetableError, ScenarioError, StoppedError, UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from harness.history import History
    from harness.report.model import RunReport
    from harness.report.progress import Progress
    from harness.scenario import Scenario
    from harness.units import Duration


def _engines(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from harness.run import real_engines

    return [name for name in real_engines() if name.startswith(incomplete)]


def _reporters(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from harness.report.choice import NAMES

    return [name for name in NAMES if name.startswith(incomplete)]


def _models(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from harness.dialects import MODELS

    return [name for name in MODELS if name.startswith(incomplete)]


def _dialects(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    from harness.dialects import DIALECTS

    return [name for name in DIALECTS if name.startswith(incomplete)]


EXIT_CODES = """Example: jetable run scenarios/quickstart

\b
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
    shell_complete=_reporters,
    help="terminal (default), json or junit; with =FILE all runs go to that file. Can be given several times.",
)


class _Commands(click.Group):
    """Turns every error into one message and the exit code that it carries."""

    def main(self, *args: Any, **kwargs: Any) -> NoReturn:
        if sys.stdout is None:  # a closed standard output is no reason to fail
            sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  it lives as long as this process
        atexit.register(gc.freeze)  # the system takes all that is left at once; a last search through it takes a tenth of a second
        sys.exit(_flushed(self._ended(*args, **kwargs)))

    def _ended(self, *args: Any, **kwargs: Any) -> int:  # noqa: PLR0911  one return an ending
        kwargs["standalone_mode"] = False
        try:
            return int(super().main(*args, **kwargs) or ExitCode.PASSED)
        except SystemExit:  # click's answer to a reader that has left, as in `jetable list . | head -1`
            return ExitCode.PASSED
        except click.ClickException as error:
            error.show()
            return ExitCode.USAGE
        except (click.Abort, StoppedError):
            click.echo("jetable: stopped; what there is was written, and all was removed but what a note above names", err=True)
            return ExitCode.INTERRUPTED
        except ScenarioError as error:
            click.echo(str(error), err=True)  # each line begins with its place, so that editors and people find it
            return error.exit_code
        except JetableError as error:
            click.echo(f"jetable: {error}", err=True)
            return error.exit_code
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
                return _internal()
            return _unwritable(error)
        except Exception:  # noqa: BLE001  the outermost frame: nothing may end without its exit code
            return _internal()


@contextmanager
def _imports() -> Iterator[None]:
    """Import without searching for garbage, which imports do not make, and leave what was imported out of every later search.

    A fifth of the time that the imports of a run take is such searches; and later ones, in the middle of a run, are the shorter for it.
    In a process that has all of it already nothing is left out, lest what is garbage there never be found.
    """
    known = len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > known:
            gc.freeze()
        gc.enable()


def _internal() -> int:
    click.echo(traceback.format_exc(), err=True)
    click.echo("jetable: internal error; please report it with the traceback above", err=True)
    return ExitCode.INTERNAL


def _unwritable(error: OSError) -> int:
    """Say that standard output can't be written, once, and write no more to it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    click.echo(f"jetable: standard output can't be written: {error.strerror}; send it elsewhere", err=True)
    return ExitCode.ENVIRONMENT


def _flushed(code: int) -> int:
    """``code``, once standard output is written; what can't be written is told, and a reader that has left is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        unwritable = _unwritable(error)
        return code or unwritable
    return code


@click.group(cls=_Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="jetable")
def main() -> None:
    """Prove that an app can be thrown away at any moment.

    Jetable starts your app, puts load on it, terminates, kills and scales it, and shows with evidence what was dropped and how long
    every start and stop took.
    """


@main.command(epilog="\b\nExample: jetable run scenarios/quickstart --seed 7 --reporter junit=junit.xml")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--engine",
    default="",
    metavar="NAME",
    shell_complete=_engines,
    help="Where replicas live: process or docker. Default: process; docker where a process type has an image or a build and no command.",
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Repeat a run's choices; printed at the end of every run.")
@click.option(
    "--replay", metavar="RUN", type=click.Path(path_type=Path), help="Do again what a stored run did: the same steps on the same replicas."
)
@click.option("--repeat", type=click.IntRange(1, 1000), default=1, show_default=True, help="Run everything so many times.")
@click.option("--dry-run", is_flag=True, help="Play it on fakes: show the plan, start nothing, write nothing.")
@click.option(
    "--baseline",
    "baselines",
    multiple=True,
    metavar="RUN",
    type=click.Path(path_type=Path),
    envvar="JETABLE_BASELINE",
    help="A stored run or bench for thresholds such as startup_time p(50) <= baseline + 10%. Can be given once for each scenario.",
)
@REPORTER
@REPORTS
def run(  # noqa: PLR0913  one parameter a flag
    *,
    paths: tuple[Path, ...],
    engine: str,
    seed: int | None,
    replay: Path | None,
    repeat: int,
    dry_run: bool,
    baselines: tuple[Path, ...],
    reporters: tuple[str, ...],
    reports: Path,
) -> ExitCode:
    """Run scenarios: a file, a folder, or several of them."""
    with _imports():
        from harness.baseline import read_baselines
        from harness.run import RunOptions, check_engine, check_scenarios, rehearse, replay_of, run_scenario, with_baseline
        from harness.stopping import stoppable

    if engine:
        check_engine(engine)
    if dry_run and reporters:
        raise UsageError("--reporter has no meaning with --dry-run, which judges nothing; leave one of them out")
    if bool(paths) == (replay is not None):
        what = "nothing to run" if replay is None else f"--replay {replay} runs what that run did"
        raise UsageError(f"{what}; name scenarios, such as scenarios/quickstart, or one stored run with --replay")
    screen = _Screen(reporters)
    replayed = None
    if replay is not None:
        path, scenario, replayed = replay_of(replay)
        scenarios, engine = [(path, scenario)], engine or replayed.engine
    else:
        scenarios = _load(paths)
    check_scenarios(scenarios, engine)
    asked, sources = RunOptions(engine=engine, seed=seed, reports=reports), read_baselines(baselines)
    _check_use(baselines, [scenario for _path, scenario in scenarios])
    planned = [(path, scenario, with_baseline(scenario, asked, sources, replayed)) for path, scenario in scenarios]
    if dry_run:
        for path, scenario, options in planned:
            screen.rehearsal(rehearse(scenario, path, options))
        return ExitCode.PASSED
    try:
        with stoppable():
            for path, scenario, options in planned * repeat:
                report, stopped = run_scenario(scenario, path, options, screen.progress())
                screen.show(report)
                if stopped:
                    raise StoppedError("stopped")
    finally:
        ended = screen.finish()  # an error in a later run must not lose what the earlier ones gave
    return ended


def _check_use(baselines: tuple[Path, ...], scenarios: list[Scenario]) -> None:
    """Refuse a baseline that nothing is compared with, unless the environment names it for whoever needs one."""
    from click.core import ParameterSource

    from harness.baseline import needs_baseline

    given = click.get_current_context().get_parameter_source("baselines") is ParameterSource.COMMANDLINE
    if given and not any(map(needs_baseline, scenarios)):
        raise UsageError(
            f"--baseline {baselines[0]}: nothing is compared with it; expect something such as startup_time p(50) <= baseline + 10%"
        )


@main.command(epilog="\b\nExample: jetable drain scenarios/quickstart/1-graceful-stop.yaml --endpoint-lag 2s")
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option("--endpoint-lag", metavar="DURATION", help="When the router learns of a stop. Default: the longest that the scenario names.")
@click.option("--up-to", metavar="DURATION", help="The longest drain to try. Default: 10s, or twice the endpoint lag if that is longer.")
@click.option("--precision", default="250ms", show_default=True, metavar="DURATION", help="How exact the answer must be.")
@click.option("--confirm", type=click.IntRange(1, 100), default=2, show_default=True, help="Tries with the answer that must lose nothing.")
@click.option("--at", metavar="DURATION", help="Try this drain only.")
@click.option("--engine", default="", metavar="NAME", shell_complete=_engines, help="As in jetable run.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="The first try's seed; each try's is one higher than the one before.")
@REPORTS
def drain(*, scenario: Path, engine: str, seed: int | None, reports: Path, precision: str, confirm: int, **spans: str | None) -> ExitCode:
    """Find the shortest drain (preStop) with which stops lose nothing.

    The platform decides to stop a replica; the router learns of it after the endpoint lag; the process gets its signal after the drain.
    Each try is a run of the scenario's stops with another drain. Says at the end how sure it is, and what to paste.
    """
    with _imports():
        from harness.drain import DrainOptions, prepare, shortest_drain
        from harness.report.console import console_for
        from harness.report.drain import print_head, print_result, print_try, write_result
        from harness.run import RunOptions, check_engine, check_scenarios, run_scenario
        from harness.stopping import stoppable

    if engine:
        check_engine(engine)
    loaded = _load((scenario,))
    if len(loaded) > 1:
        raise UsageError(f"{scenario}: {len(loaded)} scenarios, and a drain belongs to one; name its file")
    path, whole = loaded[0]
    check_scenarios(loaded, engine)
    given = {flag: _duration(flag, written) for flag, written in spans.items() if written is not None}
    lag, up_to, at = (given.get(flag) for flag in ("endpoint_lag", "up_to", "at"))
    asked = DrainOptions(lag=lag, up_to=up_to, at=at, precision=_duration("precision", precision), confirm=confirm)
    search = prepare(whole, path, RunOptions(engine=engine, seed=seed, reports=reports), asked)
    console = console_for(sys.stdout, os.environ)
    print_head(search.scenario.name, search.lag.s, search.left_out, console)
    with stoppable():
        result = shortest_drain(
            search,
            lambda one, options: run_scenario(one, path, options, _moving(console)),
            lambda tried: print_try(tried, console),
        )
    print_result(result, console, write_result(result))
    return ExitCode(result.exit_code)


BENCH = (
    click.argument("targets", nargs=-1, type=click.UNPROCESSED),
    click.option("--image", default="", metavar="NAME", help="Start containers of this image instead of a scenario's target."),
    click.option("--build", default="", metavar="FOLDER", help="The same of the image that the folder's Dockerfile makes."),
    click.option("--port", type=int, help="The port on which the container listens. Default: what the image exposes."),
    click.option(
        "--healthcheck", default="", metavar="CHECK", help="When it is ready: a path such as /healthz, tcp, running or log:REGEX."
    ),
    click.option("-e", "--env", "environment", multiple=True, metavar="NAME=VALUE", help="An environment variable for the target."),
    click.option(
        "--process", default="", metavar="NAME", help="The process type of the scenario to start. Default: the one that takes load."
    ),
    click.option(
        "--engine", "engines", multiple=True, metavar="NAME", shell_complete=_engines, help="As in jetable run; each is a variant."
    ),
    click.option("-w", "--warmup", type=int, default=0, metavar="NUM", help="Rounds that come first and are discarded."),
    click.option("-r", "--runs", type=int, metavar="NUM", help="Exactly so many rounds."),
    click.option("-m", "--min-runs", type=int, metavar="NUM", help="At least so many. Default: 10."),
    click.option("-M", "--max-runs", type=int, metavar="NUM", help="At most so many. Default: 100."),
    click.option("--precision", metavar="PERCENT", help="Stop when the median of every start is known so well. Default: 5%."),
    click.option("-p", "--prepare", multiple=True, metavar="CMD", help="Run before each cycle, untimed; once, or once for each variant."),
    click.option("-c", "--cleanup", multiple=True, metavar="CMD", help="Run when a variant is done; once, or once for each variant."),
    click.option(
        "-P", "--parameter-scan", type=(str, str, str), multiple=True, metavar="VAR MIN MAX", help="A variant for each number; {VAR} is it."
    ),
    click.option("-D", "--parameter-step-size", "parameter_step", metavar="DELTA", help="The step of --parameter-scan. Default: 1."),
    click.option(
        "-L", "--parameter-list", type=(str, str), multiple=True, metavar="VAR VALUES", help="A variant for each of VALUES (a,b,c)."
    ),
    click.option("--reference", metavar="VARIANT", help="The variant with which the others are compared. Default: the first."),
    click.option("-n", "--command-name", "names", multiple=True, metavar="NAME", help="What a variant is called; once for each."),
    click.option(
        "--under",
        multiple=True,
        metavar="CONDITION",
        help="idle (default), load, kill, keep-alive, service-slow, service-down; several with commas.",
    ),
    click.option("--at-once", metavar="NUMBERS", help="Start so many at the same time, such as 1,2,4,8."),
    click.option("--service", default="", metavar="NAME", help="The backing service that is slow or down."),
    click.option("--slow", metavar="DURATION", help="How much later each answer of the slow service comes. Default: 100ms."),
    click.option(
        "--cold", multiple=True, metavar="WHAT", help="Make cold before each start: disk, bytecode or image; several with commas."
    ),
    click.option("--drop-caches", is_flag=True, help="As --cold disk."),
    click.option("--attribute", "attributes", multiple=True, metavar="NAME=VALUE", help="What to find the bench by, such as commit=1f3a."),
    click.option("--no-imports", "imports", flag_value=False, default=True, help="Do not start a Python target once more for its imports."),
    click.option("--show-output", is_flag=True, help="Show what the target writes."),
    click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Repeat the order of the cycles."),
    click.option(
        "--export-json", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="As hyperfine writes it, and more."
    ),
    click.option("--export-csv", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="The same as CSV."),
    click.option("--export-markdown", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="The same as a table."),
    REPORTS,
)


def _with_bench(command: Callable[..., ExitCode]) -> Callable[..., ExitCode]:
    for option in reversed(BENCH):
        command = option(command)
    return command


def _again(words: list[str], seed: int) -> str:
    """The command line that repeats what ``words`` began, in the same order of turns."""
    if any(word.partition("=")[0] == "--seed" for word in words):
        return shlex.join(["jetable", *words])
    end = words.index("--") if "--" in words else len(words)
    return shlex.join(["jetable", *words[:end], "--seed", str(seed), *words[end:]])


class _Behind(click.Command):
    """A command that tells what stands behind ``--`` from what stands before it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            place = args.index("--")
            ctx.meta["behind"] = tuple(args[place + 1 :])
            args = args[:place]
        return super().parse_args(ctx, args)


@main.command(
    cls=_Behind,
    epilog="\b\nExample: jetable bench scenarios/quickstart/1-graceful-stop.yaml --runs 20\n"
    "         jetable bench --image shop:1.4 --port 8000 --healthcheck /healthz\n"
    "         jetable bench --parameter-list workers 1,2,4 -- gunicorn -w {workers} app:app",
)
@_with_bench
@click.pass_context
def bench(
    context: click.Context,
    /,
    *,
    targets: tuple[str, ...],
    export_json: Path | None,
    export_csv: Path | None,
    export_markdown: Path | None,
    **asked: Any,
) -> ExitCode:
    """Time the starts and stops of a target, phase by phase, as hyperfine does for commands.

    The target is a scenario file, an image, or the command behind --, which gets the port to listen on in PORT and for {port}. Starts
    and stops it again and again until the median of its start is known well enough; variants take turns. docs/bench.md tells the rest.
    """
    from dataclasses import replace

    with _imports():
        from harness.bench.course import run_bench
        from harness.bench.flags import Asked, plan_of
        from harness.report.bench import print_bench
        from harness.report.console import console_for
        from harness.report.exports import check_exports, write_exports
        from harness.report.hyperfine import contents
        from harness.stopping import stoppable

    exports = {"json": export_json, "csv": export_csv, "markdown": export_markdown}
    to_stdout = check_exports(exports)
    command = context.meta.get("behind", ())
    plan = plan_of(Asked(scenarios=tuple(map(Path, targets)), command=command, **asked), int.from_bytes(os.urandom(4), "big"))
    plan = replace(plan, again=_again(sys.argv[1:], plan.seed))
    console = console_for(sys.stderr if to_stdout else sys.stdout, os.environ)
    with stoppable():
        ended = run_bench(plan, _lines(console) if plan.show_output else _moving(console))
    print_bench(ended.bench, console)
    click.echo(f"\nreport  {ended.folder}", err=to_stdout)
    write_exports(exports, contents(ended.bench), sys.stdout.buffer)
    if ended.stopped:
        raise StoppedError("stopped")
    return ExitCode(ended.exit_code)


@main.command(
    epilog="\b\nExample: jetable compare reports/main reports/latest --threshold 5% --export-markdown comment.md\n"
    "         jetable compare reports/latest   (the variants of one bench)"
)
@click.argument("places", metavar="BASE... NEW", nargs=-1, type=click.Path(path_type=Path))
@click.option("--threshold", default="5%", show_default=True, metavar="PERCENT", help="A median that grew by no more is no regression.")
@click.option(
    "--fail-on",
    type=click.Choice(["regression", "none"]),
    default="regression",
    show_default=True,
    help="Exit with 1 on a regression and with 7 when the data can't tell; none: always with 0.",
)
@click.option("--anyway", is_flag=True, help="Compare with a warning what was measured on another machine, with another engine or cold.")
@click.option(
    "--export-markdown", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="For a pull request; - for stdout."
)
@click.option("--export-json", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="For programs.")
@click.option("--export-csv", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="The medians over time (Apache Otava).")
def compare(*, places: tuple[Path, ...], threshold: str, fail_on: str, anyway: bool, **exports: Path | None) -> ExitCode:
    """Compare stored benches or runs, phase by phase: the last one with all others.

    A regression is a median that grew by more than the threshold, where a rank test finds a difference that is not chance. Several BASE
    are pooled, and from three on they tell what is noise. A single bench compares its variants. docs/compare.md tells the rest.
    """
    from harness.compare import compare as compared
    from harness.compare import exit_of, parse_percent, read_place
    from harness.report.compare import contents, notes_on, print_comparison
    from harness.report.console import console_for
    from harness.report.exports import check_exports, write_exports

    if not places:
        raise UsageError("nothing to compare; name two benches or runs, such as reports/main reports/latest")
    wanted = {name.removeprefix("export_"): path for name, path in exports.items()}
    to_stdout, share = check_exports(wanted), parse_percent("--threshold", threshold)
    read = [read_place(place) for place in places]
    comparison = compared(read, threshold=share, anyway=anyway)
    if to_stdout:
        for warning in comparison.warnings:
            click.echo(f"jetable: {warning}", err=True)
    else:
        print_comparison(comparison, console_for(sys.stdout, os.environ))
    for note in notes_on(read, wanted):
        click.echo(f"jetable: {note}", err=True)
    write_exports(wanted, contents(comparison, read), sys.stdout.buffer)
    return exit_of(comparison, fail_on=fail_on)


def _duration(flag: str, written: str) -> Duration:
    from harness.units import Duration

    try:
        return Duration.parse(written)
    except ValueError as error:
        raise UsageError(f"--{flag.replace('_', '-')} {written}: {error}") from error


def _moving(console: Console) -> Progress:
    """Progress that leaves no line behind where it can't move: each of many runs is told in one line when it is over."""
    from harness.clock import MonotonicClock
    from harness.report.console import may_move
    from harness.report.live import TerminalProgress
    from harness.report.progress import SilentProgress

    return TerminalProgress(console, MonotonicClock(), moving=True) if may_move(console, os.environ) else SilentProgress()


def _lines(console: Console) -> Progress:
    """Progress of which every line stays, so that what a target writes can be read."""
    from harness.clock import MonotonicClock
    from harness.report.live import TerminalProgress

    return TerminalProgress(console, MonotonicClock(), moving=False)


HISTORY = (
    click.option(
        "--history",
        "histories",
        multiple=True,
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Judge a history instead, or a folder of them: Jetable's JSON Lines, Jepsen's EDN, JSON or log lines. More files may follow.",
    ),
    click.option(
        "--model",
        default="",
        metavar="MODEL",
        shell_complete=_models,
        help="register, set, counter, queue, log or mutex. Default: the one that has all operations of the file.",
    ),
    click.option("--budget", metavar="DURATION", help="How long to judge each history; unknown beyond. Default: 60s."),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document."),
    click.option(
        "--witness",
        metavar="FILE",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Write the smallest part that is still wrong as a history of its own.",
    ),
    click.option(
        "--dialect",
        metavar="NAME",
        shell_complete=_dialects,
        help="The language of the files: jsonl, jepsen-json, jepsen-edn or jepsen-log. Default: what each looks like.",
    ),
    click.option("--initial", metavar="VALUE", help="What a register holds before any write. Default: nil."),
    click.option(
        "--failed-cas",
        type=click.Choice(["look", "nothing"]),
        help="What a cas says that failed without error: that another value was there, or nothing. Default: nothing, in jepsen-log look.",
    ),
    click.option(
        "--nil",
        type=click.Choice(["initial", "unknown"]),
        help="What a read that answered nil says: that nothing is there, or nothing at all. Default: initial.",
    ),
    click.option(
        "--keyed",
        type=click.Choice(["auto", "yes", "no"]),
        help="Whether values in Jepsen's dialects are pairs [key value]. Default: auto.",
    ),
)


def _with_history(command: Callable[..., ExitCode]) -> Callable[..., ExitCode]:
    for option in reversed(HISTORY):
        command = option(command)
    return command


@main.command(epilog="\b\nExample: jetable check reports/latest\n         jetable check --history etcd.log --model register --budget 30s")
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@REPORTER
@_with_history
def check(*, runs: tuple[Path, ...], reporters: tuple[str, ...], histories: tuple[Path, ...], as_json: bool, **asked: Any) -> ExitCode:
    """Judge stored runs again, or a history; nothing is started.

    A run that was cut off gets the reports that it lacks; those that are there are left as they are.

    With --history it judges a history that you bring: whether some order of all operations explains every answer. docs/histories.md
    tells the dialects and what nil and fail mean in each.
    """
    if histories:
        if reporters:
            raise UsageError("--reporter has no meaning with --history; --json prints a document")
        return _check_histories((*histories, *runs), as_json=as_json, **asked)
    without = [name for name, given in {**asked, "json": as_json}.items() if given]
    if without:
        raise UsageError(f"--{without[0].replace('_', '-')} has no meaning without --history FILE")
    if not runs:
        raise UsageError("nothing to judge; name stored runs, such as reports/latest, or a history with --history FILE")
    return _check_runs(runs, reporters)


def _check_histories(  # noqa: PLR0913  one parameter a flag
    paths: tuple[Path, ...],
    *,
    as_json: bool,
    model: str,
    budget: str | None,
    witness: Path | None,
    dialect: str | None,
    initial: str | None,
    failed_cas: str | None,
    nil: str | None,
    keyed: str | None,
) -> ExitCode:
    from harness.clock import MonotonicClock
    from harness.dialects import Options, check_names
    from harness.histories import Asked, exit_of, files_of, judge_history
    from harness.report.console import console_for
    from harness.report.history import print_history, print_summary, write_json, write_witness

    check_names(model=model, dialect=dialect or "", initial=initial)
    options = Options(
        dialect=dialect or "", initial=initial or "nil", failed_cas=failed_cas or "", nil=nil or "initial", keyed=keyed or "auto"
    )
    asked = Asked(model=model, budget_s=_duration("budget", budget or "60s").s, options=options)
    console = None if as_json else console_for(sys.stdout, os.environ)
    reports = []
    for path in files_of(paths):
        report = judge_history(path, asked, MonotonicClock())
        reports.append(report)
        if report.error:  # the others are judged all the same
            click.echo(f"jetable: {report.error}", err=True)
        elif console is not None:
            print_history(report, console)
    if console is None:
        write_json(reports, sys.stdout.buffer)
    elif len(reports) > 1:
        print_summary(reports, console)
    if witness is not None:
        wrong = next((report.wrong[0] for report in reports if report.wrong), None)
        if wrong is not None:
            write_witness(wrong, witness)
        click.echo(f"witness: {witness}" if wrong else "witness: none was written, because nothing is wrong", err=True)
    return exit_of(reports)


def _check_runs(runs: tuple[Path, ...], reporters: tuple[str, ...]) -> ExitCode:
    from harness.benches import is_bench
    from harness.report import write_missing
    from harness.run import judge_folder

    benches = [place for place in runs if is_bench(place)]
    if benches and reporters:
        raise UsageError(f"{benches[0]} is a bench, which --reporter can't tell; leave it out, since bench.json is there for programs")
    shown = _check_benches(benches)
    if shown is not None and len(benches) == len(runs):
        return shown
    screen = _Screen(reporters)
    wrong: list[UsageError] = []
    for folder in (place for place in runs if place not in benches):
        try:
            report = judge_folder(folder)
        except UsageError as error:  # the others are judged all the same
            click.echo(f"jetable: {error}", err=True)
            wrong.append(error)
            continue
        screen.show(report)
        try:
            write_missing(report)
        except OSError as error:
            click.echo(f"jetable: no reports were written into {report.folder}: {error.strerror}; see --reporter", err=True)
    ended = screen.finish()
    return wrong[0].exit_code if wrong else _worse(ended, shown)


def _check_benches(places: Sequence[Path]) -> ExitCode | None:
    """Show stored benches as their histories tell them now; None for none."""
    from harness.bench.books import exit_of, judge_again
    from harness.report.bench import print_bench
    from harness.report.console import console_for

    ended = None
    for place in places:
        bench = judge_again(place)
        print_bench(bench, console_for(sys.stdout, os.environ))
        ended = _worse(exit_of(bench), ended)
    return ended


def _worse(one: ExitCode, other: ExitCode | None) -> ExitCode:
    """The first that did not pass."""
    return one if one != ExitCode.PASSED or other is None else other


class _Screen:
    """What the person at the terminal sees, and the files that were asked for beside the run's own."""

    def __init__(self, reporters: tuple[str, ...]) -> None:
        from harness.report.choice import TERMINAL, check_place, parse_reporter
        from harness.report.console import console_for

        self._choices = [parse_reporter(written) for written in reporters or (TERMINAL,)]
        to_stdout = [choice for choice in self._choices if choice.path is None and choice.name != TERMINAL]
        wanted = any(choice.name == TERMINAL for choice in self._choices)
        if len(to_stdout) + wanted > 1:
            names = " and ".join(choice.name for choice in self._choices if choice.path is None)
            raise UsageError(f"--reporter: {names} both go to standard output; give all but one a file, such as json=result.json")
        shown = wanted or not to_stdout  # a report that goes to a file still leaves the terminal to the person
        self._console = console_for(sys.stdout, os.environ) if shown else None
        for choice in self._choices:
            check_place(choice)
        self._reports: list[RunReport] = []

    def progress(self) -> Progress:
        """Shows how far a run is."""
        from harness.clock import MonotonicClock
        from harness.report.console import may_move
        from harness.report.live import TerminalProgress
        from harness.report.progress import SilentProgress

        if self._console is None:
            return SilentProgress()
        return TerminalProgress(self._console, MonotonicClock(), moving=may_move(self._console, os.environ))

    def rehearsal(self, history: History) -> None:
        """Show what a run would do."""
        from harness.report.rehearsal import print_rehearsal

        if self._console is not None:
            print_rehearsal(history, self._console)

    def show(self, report: RunReport) -> None:
        """Show one run that was judged."""
        self._reports.append(report)
        if self._console is not None:
            from harness.report.terminal import print_run

            print_run(report, self._console)

    def finish(self) -> ExitCode:
        """Show all runs together, write what was asked for, and say how the command ends."""
        from harness.report.choice import write_choice
        from harness.verdict import exit_code, worst

        if not self._reports:
            return ExitCode.UNKNOWN  # nothing was run or judged, and whatever stopped that says why

        if self._console is not None and len(self._reports) > 1:
            from harness.report.terminal import print_suite

            print_suite(self._reports, self._console)
        for choice in self._choices:
            write_choice(choice, self._reports, sys.stdout.buffer)
        return exit_code(worst(report.verdict for report in self._reports))


@main.command(epilog="\b\nExample: jetable validate scenarios")
@PATHS
def validate(*, paths: tuple[Path, ...]) -> None:
    """Say all that is wrong with scenario files; start nothing."""
    loaded, problems = _read(paths)
    for path, scenario in loaded:
        click.echo(f"{path}: valid ({scenario.name})")
    if problems:
        raise ScenarioError(problems)


@main.command(name="list", epilog="\b\nExample: jetable list scenarios")
@PATHS
def list_(*, paths: tuple[Path, ...]) -> None:
    """List scenarios with their steps and what they expect."""
    for path, scenario in _load(paths):
        click.echo(f"{path}\n  {scenario.name}")
        for step in scenario.steps:
            click.echo(f"    {step.text}")
        for threshold in scenario.expect:
            click.echo(f"    expects {threshold.text}")


@main.command(epilog="\b\nExample: jetable schema > scenario.schema.json")
def schema() -> None:
    """Print the JSON Schema (draft 7) of scenario files, for editors."""
    import json

    from harness.schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


@main.command(epilog="\b\nExample: jetable doctor")
@REPORTS
def doctor(*, reports: Path) -> ExitCode:
    """Say what this machine can and can't run, and the cure for what it can't."""
    from harness.doctor import examine

    worst = ExitCode.PASSED
    for line in examine(reports):
        click.echo(f"{'ok  ' if line.ok else 'bad '} {line.what}: {line.found}" + (f"; {line.cure}" if line.cure else ""))
        worst = worst if line.ok else ExitCode.ENVIRONMENT
    return worst


@main.command(epilog="\b\nExample: jetable cleanup --older-than 1h --dry-run")
@click.option("--older-than", default="0s", show_default=True, metavar="DURATION", help="Leave runs alone that began later than that.")
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
def cleanup(*, older_than: str, dry_run: bool) -> None:
    """Remove what runs left behind whose harness is no longer alive; touch nothing else."""
    from harness.cleanup import clean_stale

    removed = clean_stale(older_than_s=_duration("older_than", older_than).s, dry_run=dry_run)
    for line in removed:
        click.echo(f"{'would remove' if dry_run else 'removed'} {line}")
    if not removed:
        click.echo("nothing is left of any run")


def _load(paths: tuple[Path, ...]) -> list[tuple[Path, Scenario]]:
    """Load every scenario before anything starts; all problems of all files are shown at once."""
    loaded, problems = _read(paths)
    if problems:
        raise ScenarioError(problems)
    return loaded


def _read(paths: tuple[Path, ...]) -> tuple[list[tuple[Path, Scenario]], list[str]]:
    """The scenarios that are valid, and all that is wrong with the others."""
    from harness.scenario import find_scenarios, load_scenario

    loaded: list[tuple[Path, Scenario]] = []
    problems: list[str] = []
    for path in find_scenarios(paths):
        try:
            loaded.append((path, load_scenario(path)))
        except ScenarioError as error:
            problems += error.problems
    return loaded, problems
