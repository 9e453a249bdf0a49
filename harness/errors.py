"""Everything that can stop Jetable, and the exit code that each carries.

    JetableError
    ├── UsageError            4  a flag, a path or a scenario file that is wrong; the person at the terminal can mend it
    │   ├── ScenarioError         4  all that is wrong with one scenario file, each problem with line and column
    │   └── KeyOfScenarioError    4  what stands under one key of a scenario turned out to be wrong when it was used
    ├── NothingSelectedError  5  the paths hold no scenario
    ├── MachineError     8  this machine can't run it: no Docker, no permission, no free port
    ├── TargetError           1  the app under test did not do what a start needs; becomes a finding of the run
    │   └── EngineLostError       7  the engine went away in the middle of a run, which is then judged as far as it got
    └── StoppedError     2  Ctrl-C or SIGTERM of the harness

Anything else that escapes is an internal error (exit code 3) and keeps its traceback. A message names the key, the flag or the
file that mends it.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What ``jetable`` returns to the shell; printed in ``jetable --help``."""

    PASSED = 0
    FAILED = 1
    INTERRUPTED = 2
    INTERNAL = 3
    USAGE = 4
    NOTHING = 5
    UNKNOWN = 7
    ENVIRONMENT = 8


class JetableError(Exception):
    """The base of all that Jetable raises on purpose; ``exit_code`` says how the command ends."""

    exit_code: ExitCode = ExitCode.INTERNAL


class UsageError(JetableError):
    """A flag, a path or an environment variable is wrong; the message names the cure."""

    exit_code = ExitCode.USAGE


class ScenarioError(UsageError):
    """All that is wrong with one scenario file: one line a problem, each ``file:line:col: path: what is wrong``."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class KeyOfScenarioError(UsageError):
    """What stands under ``key`` of a scenario turned out to be wrong when the run used it."""

    def __init__(self, key: tuple[str | int, ...], what: str) -> None:
        super().__init__(what)
        self.key = key


class NothingSelectedError(JetableError):
    """The given paths hold no scenario file."""

    exit_code = ExitCode.NOTHING


class MachineError(JetableError):
    """This machine can't run it; the message names what to install or allow."""

    exit_code = ExitCode.ENVIRONMENT


class TargetError(JetableError):
    """The app under test did not start as it must: the run records it and judges it."""

    exit_code = ExitCode.FAILED


class EngineLostError(TargetError):
    """The engine went away in the middle of a run. What there is, is recorded and judged, and the verdict is unknown."""

    exit_code = ExitCode.UNKNOWN


class StoppedError(JetableError):
    """Somebody pressed Ctrl-C or sent SIGTERM to the harness."""

    exit_code = ExitCode.INTERRUPTED
