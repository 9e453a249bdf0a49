"""What a bench measured, as it is stored in ``bench.json`` and read again: the series of each variant, phase by phase.

A *bench* starts and stops a target many times. A *variant* is one way to do so: an engine, a command, a set of parameters. A *condition*
says what else goes on at a start and a stop, such as ``idle``, or ``load`` on other replicas. One *cycle* is one start and one stop of
one variant under one condition, and a *round* has one cycle of each, in an order that chance decides: what was measured in the same round
was measured side by side. A *series* has all samples of one metric of one variant under one condition. Warm-ups are in none.

All that is here was computed from the histories of the variants, which lie beside it, and can be computed from them again.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any, Final, Literal, TypeAlias

import msgspec

from harness.errors import UsageError
from harness.words import quoted

FILE: Final = "bench.json"
VERSION: Final = 1
_LAST_ROUND: Final = 10**9

Unit: TypeAlias = Literal["s", "bytes", "count"]
Under: TypeAlias = Literal["idle", "load", "clean", "kill", "keep-alive", "service-slow", "service-down", "at-once"]


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """A condition: what users read, and what else is on."""

    words: str
    doc: str


CONDITIONS: Final[dict[str, Condition]] = {
    "idle": Condition(words="nothing else on", doc="no other replica is up and nobody sends requests"),
    "load": Condition(words="under load", doc="the other replicas are under the scenario's full load, and so is the replica when it stops"),
    "clean": Condition(words="after a clean stop", doc="at the place of a replica that SIGTERM has stopped in order"),
    "kill": Condition(words="after SIGKILL", doc="at the place of a replica that SIGKILL has ended: a crash-only app takes the same path"),
    "keep-alive": Condition(words="idle connections at the stop", doc="idle keep-alive connections are open when the stop comes"),
    "service-slow": Condition(words="service slow", doc="each answer of the backing service comes later"),
    "service-down": Condition(words="service down", doc="the backing service is away at the start and comes back later"),
    "at-once": Condition(words="several at once", doc="so many replicas start at the same time"),
}
"""All conditions by name, in the order of reports."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was measured: two benches compare only when these agree.

    Attributes:
        system: Such as ``Linux 6.1.0``.
        cpu: The model's name.
        cores: CPUs that this process may use.
        memory_bytes: Main memory.
        python: The version of the harness's interpreter.
    """

    system: str
    cpu: str
    cores: int
    memory_bytes: int
    python: str


def differences(theirs: Machine, ours: Machine) -> list[str]:
    """What two machines differ in, each as ``cores 2, not 4``; empty when they compare. What one of them does not tell is no difference."""
    before, now = _words(theirs), _words(ours)
    return [f"{name} {before[name]}, not {now[name]}" for name in now if name in before and before[name] != now[name]]


def _words(machine: Machine) -> dict[str, str]:
    """What is known of a machine, each in words; what a builder appends to a kernel's release says nothing."""
    gib = round(machine.memory_bytes / 2**30)
    words = {
        "system": machine.system.partition("-")[0],
        "CPU": machine.cpu,
        "cores": str(machine.cores or ""),
        "memory": f"{gib} GiB" if machine.memory_bytes else "",
        "Python": machine.python,
    }
    return {name: word for name, word in words.items() if word}


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """All samples of one metric.

    Attributes:
        process: The process type.
        under: A key of `CONDITIONS`.
        at_once: How many started at the same time; 1 but for ``at-once``.
        metric: A key of `harness.threshold.METRICS` or of `USED`.
        unit: Of the samples.
        samples: In the order in which they were measured.
        rounds: The round of each, from 0 on; several samples can share one.
    """

    process: str
    under: Under
    at_once: int = 1
    metric: str
    unit: Unit
    samples: tuple[float, ...]
    rounds: tuple[int, ...]


def by_cycle(series: Series) -> Series:
    """One sample for each cycle, the median of it: what starts at the same time has the luck of that time in common.

    Eight that start at once are no eight independent measurements, and to take them as such makes every interval too narrow.
    """
    cycles: dict[int, list[float]] = {}
    for number, sample in zip(series.rounds, series.samples, strict=True):
        cycles.setdefault(number, []).append(sample)
    if series.at_once == 1 or len(cycles) == len(series.samples):
        return series
    return msgspec.structs.replace(series, samples=tuple(map(median, cycles.values())), rounds=tuple(cycles))


USED: Final[dict[str, str]] = {
    "start_cpu_time": "CPU time of all its processes until its first answer",
    "start_page_faults": "page faults until its first answer that needed no disk",
    "start_major_faults": "page faults until its first answer that needed the disk",
    "start_read_bytes": "bytes that were read from the disk until its first answer",
    "steady_memory": "resident memory of all its processes just before the stop",
    "peak_memory": "the most resident memory that its processes had until then",
}
"""What a bench measures besides times: each metric in words."""


class FailedStart(msgspec.Struct, frozen=True, kw_only=True):
    """A start that never got healthy, or that ended by itself before anybody stopped it; it stays in the books."""

    process: str
    under: Under
    round: int
    replica: str
    reason: str
    detail: str
    after_s: float
    log: tuple[str, ...] = ()


class Attempts(msgspec.Struct, frozen=True, kw_only=True):
    """How many starts and stops of one condition are in the books.

    Attributes:
        starts: Those that were begun, warm-ups left out.
        failed: Those of them that never got healthy.
        killed: Stops that were not over at the end of their grace.
        warmups: Starts that were discarded on purpose.
        died: Those of them that got healthy, and ended by themselves before anybody stopped them.
        late: Starts and stops that may be measured too long, since the harness itself stood still; None where that is not known, as in what
            was stored before it was kept. Then a warning of the variant that begins with `STOOD_STILL` tells of any.
    """

    process: str
    under: Under
    at_once: int = 1
    starts: int
    failed: int
    killed: int
    warmups: int
    died: int = 0
    late: int | None = None


STOOD_STILL: Final = "the harness itself stood still during "


class ImportShare(msgspec.Struct, frozen=True, kw_only=True):
    """What a Python app imported while it started once more, apart from the others.

    ``self_s`` is the time of its own modules alone; ``share`` is of the whole start, from spawned (or running) to healthy.
    """

    package: str
    self_s: float
    share: float
    modules: int
    slowest: str


class HealthCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What said that a start was healthy: by another one, `TO_HEALTHY` end at another instant.

    Attributes:
        kind: ``http``, ``tcp``, ``log``, ``running`` or ``test``.
        asked: The path, the regular expression or the test's words; empty where the kind says it all.
        every_s: How often it was asked while it started; 0 where nobody asks, as the kernel tells the instant, and where it is not known.
    """

    kind: str
    asked: str = ""
    every_s: float = 0.0

    def __str__(self) -> str:
        """``GET /healthz every 10 ms``."""
        told = {
            "http": f"GET {self.asked}",
            "tcp": "a TLS handshake" if self.every_s else "an open port",
            "log": f"{quoted(self.asked)} in its output, looked for",
            "running": "a command that runs",
            "test": f"the test {quoted(self.asked)}",
        }
        every = f"{self.every_s:g} s" if self.every_s >= 1 else f"{self.every_s * 1000:g} ms"
        return told.get(self.kind, self.kind) + (f" every {every}" if self.every_s else "")


TO_HEALTHY: Final = ("startup_time", "time_to_first_answer")
"""Times that hang on the health check: the first answer is waited for when it has passed."""


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """One way to start the target, and what was measured of it.

    Attributes:
        name: What tells it from the others; unique in a bench.
        command: What is started, or the image.
        parameters: As ``--parameter-list`` or ``--parameter-scan`` gave them.
        reference: The others are compared with it.
        cold: What was made cold before each start: ``disk``, ``bytecode``, ``image``.
        health: What said that it was healthy; None where that is not known, as in what was stored before it was kept, and in runs.
        folders: Where the histories of its sessions lie, from the bench's folder.
        advice: Sentences that the evidence supports.
        warnings: What a reader must know before believing a number.
    """

    name: str
    engine: str
    command: str
    parameters: dict[str, str] = {}
    reference: bool = False
    cold: tuple[str, ...] = ()
    health: HealthCheck | None = None
    folders: tuple[str, ...] = ()
    series: tuple[Series, ...] = ()
    attempts: tuple[Attempts, ...] = ()
    failed: tuple[FailedStart, ...] = ()
    imports: tuple[ImportShare, ...] = ()
    import_s: float = 0.0
    advice: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """A bench, whole.

    Attributes:
        began: Wall time, ISO 8601.
        how: ``finished``, ``interrupted`` or ``aborted``, and ``why``.
        attributes: What the person wants to find it by, such as a commit.
        again: The command line that repeats it.
        seed: Where the order of the cycles and all resampling come from.
    """

    version: Literal[1] = VERSION
    name: str
    began: str
    how: str
    why: str = ""
    machine: Machine
    seed: int
    attributes: dict[str, str] = {}
    again: str = ""
    variants: tuple[Variant, ...]
    warnings: tuple[str, ...] = ()


def is_bench(place: Path) -> bool:
    """Whether a person who names ``place`` means a bench."""
    return path_of(place).name == FILE and path_of(place).is_file()


def path_of(place: Path) -> Path:
    """The file of a bench that somebody names by its folder or by itself."""
    return place / FILE if place.is_dir() else place


def encoded(bench: Bench) -> bytes:
    """``bench.json``: what `read_bench` reads again. What UTF-8 can't hold of an app's own words is spelled out."""
    try:
        data = msgspec.json.encode(bench)
    except UnicodeEncodeError:
        data = msgspec.json.encode(_encodable(msgspec.to_builtins(bench)))
    return msgspec.json.format(data, indent=2) + b"\n"


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list | tuple) else value


class _Head(msgspec.Struct):
    """What every version of the format has."""

    version: int = 0


def read_bench(place: Path) -> Bench:
    """The bench that ``place`` names: its folder, or its file.

    Raises:
        UsageError: It is not there, is no JSON, was cut off, is of another version, or is no bench.
    """
    path = path_of(place)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        where = f"{place}: no {FILE} in this folder" if path != place else f"{place}: no such file or folder"
        raise UsageError(f"{where}; name the folder of a bench, such as reports/latest") from error
    except OSError as error:
        raise UsageError(f"{path}: can't be read: {error.strerror}") from error
    bench = _decoded(data, path)
    wrong = _mistake(bench)
    if wrong:
        raise UsageError(f"{path}: no bench that Jetable wrote: {wrong}; make another one with jetable bench")
    return bench


def _decoded(data: bytes, path: Path) -> Bench:
    try:
        head = msgspec.json.decode(data, type=_Head)
        if head.version not in (0, VERSION):
            newer = "a newer" if head.version > VERSION else "another"
            raise UsageError(f"{path}: written by {newer} Jetable (version {head.version}, and this one reads {VERSION})")
        return msgspec.json.decode(data, type=Bench)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: no bench: {error}; name the folder of a bench, or its {FILE}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if "truncated" in str(error):
            raise UsageError(f"{path}: cut off in the middle, after {len(data)} bytes; make the bench again, or copy it whole") from error
        raise UsageError(f"{path}: no JSON: {error}; name the folder of a bench, or its {FILE}") from error


def _mistake(bench: Bench) -> str:
    """What no bench that Jetable writes has, in words; empty for none."""
    names = [variant.name for variant in bench.variants]
    if not names:
        return "it has no variant"
    if len(set(names)) < len(names):
        return "two of its variants have the same name"
    for variant in bench.variants:
        for series in variant.series:
            if len(series.samples) != len(series.rounds):
                return f"{series.metric} of {variant.name} has {len(series.samples)} samples in {len(series.rounds)} rounds"
            if any(not 0 <= number <= _LAST_ROUND for number in series.rounds):
                return f"{series.metric} of {variant.name} has a round that is none"
        for books in variant.attempts:
            if min(books.failed, books.died, books.killed) < 0 or books.failed + books.died > books.starts:
                return f"{books.failed + books.died} of {books.starts} starts of {variant.name} failed"
    return ""
