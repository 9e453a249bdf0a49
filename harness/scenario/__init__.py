"""The frozen scenario, and everything that can be wrong with a file.

One YAML file is one scenario: the app under test (`target`), what users do to it meanwhile (`load`), what happens to it (`steps`) and what
must hold (`expect`). The words are those of the Compose specification wherever it has them. `load_scenario` shows all problems of a file
at once, each as ``file:line:col: path: what is wrong``; nothing is guessed and no value is converted in silence. A scenario written as
JSON (`Scenario.model_dump_json`) reads back as the same scenario, which is how a run's header keeps it.
"""

from harness.scenario.container import Build, ContainerKeys, Port, Volume
from harness.scenario.files import find_scenarios, load_scenario, problem_at
from harness.scenario.jobs import Done, Jobs, WorkerLog
from harness.scenario.load import Expectation, Load, Request, Stream
from harness.scenario.options import (
    CrashLoop,
    CutConnections,
    CutNetwork,
    HandOver,
    Kill,
    Pause,
    Restart,
    RollingRestart,
    Routing,
    Scale,
    Signal,
    SqueezeMemory,
    StartService,
    Steady,
    StopService,
    Terminate,
    TerminateAtStart,
)
from harness.scenario.queues import JOB_MOMENTS
from harness.scenario.services import Service
from harness.scenario.state import Operation, StoreQuery, Visit, Workload
from harness.scenario.steps import STEP_KINDS, Aimed, Chaos, Disturb, OfOneProcess, OfService, Options, Step, Stop, Together, nested
from harness.scenario.target import Healthcheck, ProcessType, Tls, WorkingDir
from harness.scenario.whole import NO_LOAD, Scenario

__all__ = [
    "JOB_MOMENTS",
    "NO_LOAD",
    "STEP_KINDS",
    "Aimed",
    "Build",
    "Chaos",
    "ContainerKeys",
    "CrashLoop",
    "CutConnections",
    "CutNetwork",
    "Disturb",
    "Done",
    "Expectation",
    "HandOver",
    "Healthcheck",
    "Jobs",
    "Kill",
    "Load",
    "OfOneProcess",
    "OfService",
    "Operation",
    "Options",
    "Pause",
    "Port",
    "ProcessType",
    "Request",
    "Restart",
    "RollingRestart",
    "Routing",
    "Scale",
    "Scenario",
    "Service",
    "Signal",
    "SqueezeMemory",
    "StartService",
    "Steady",
    "Step",
    "Stop",
    "StopService",
    "StoreQuery",
    "Stream",
    "Terminate",
    "TerminateAtStart",
    "Tls",
    "Together",
    "Visit",
    "Volume",
    "WorkerLog",
    "WorkingDir",
    "Workload",
    "find_scenarios",
    "load_scenario",
    "nested",
    "problem_at",
]
