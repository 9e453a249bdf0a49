"""The history of a run: all ops and events, on disk as they happen.

One JSON object a line, its ``kind`` first, instants in nanoseconds of CLOCK_MONOTONIC. The harness writes ``events.jsonl`` with one
``write(2)`` a line. The load process writes ``ops.jsonl`` through a memory map: a line that was copied into the map belongs to the
kernel, so SIGKILL of the process can't take it back and no system call is needed for each request; the unused rest of the file is
NUL bytes until it is closed. An attempt is written twice, *invoke* before it leaves and *close* when it ended; an invoke without a
close is an attempt that nobody saw the end of.

Checks read a `History`, which holds events as records and attempts and ops as numpy columns. `read` takes a run's folder, its
``history/`` folder or one ``.jsonl`` file that holds all kinds of lines.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from harness.errors import UsageError
from harness.job_history import (
    JOBS_FILE,
    JobAnswered,
    JobColumns,
    JobDone,
    JobLedger,
    JobLine,
    JobsClosed,
    JobSeen,
    JobSubmitted,
    JobTold,
    ledger_of,
)
from harness.line import Line
from harness.outcome import Outcome, of_op
from harness.state_history import (
    STATE_FILE,
    JourneyMade,
    SameAnswered,
    StateAnswered,
    StateAsked,
    StateLedger,
    StateLine,
    StateRead,
    state_ledger,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FORMAT: Final = 1
"""Version of the line format; a reader refuses a larger one."""

EVENTS_FILE: Final = "events.jsonl"
OPS_FILE: Final = "ops.jsonl"


class BaselineNumber(msgspec.Struct, frozen=True, kw_only=True):
    """What the baseline says for one threshold, named by its text: the number in its metric's unit, made of so many samples."""

    threshold: str
    number: float
    samples: int


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """What thresholds that say ``baseline`` are compared with: all that is needed of another run or bench, which may be gone later.

    Attributes:
        place: Where it lay.
        name: Of its scenario or bench.
        engine: Where its replicas lived.
        machine: Where it was measured, in words.
        began: Its wall time, ISO 8601.
        numbers: One for each such threshold of the scenario.
    """

    place: str
    name: str
    engine: str
    machine: str
    began: str
    numbers: tuple[BaselineNumber, ...]


class Header(Line, frozen=True, tag="header"):
    """What the run is; always the first line.

    ``scenario`` is the frozen scenario as JSON text; ``wall_start`` (ISO 8601) is the only wall time of a run; ``rerun`` is the
    command line that repeats it; ``baseline`` is what it is compared with, if anything.
    """

    format: int
    run_id: str
    harness: str
    engine: str
    seed: int
    scenario: str
    scenario_path: str
    started_ns: int
    wall_start: str
    machine: str = ""
    rerun: str = ""
    baseline: Baseline | None = None


class StepBegan(Line, frozen=True, tag="step-began"):
    """Step number ``step`` began; step 0 is the start of the target. ``name`` is the step's key, ``text`` says it in words.

    ``of`` is the number of the step that has drawn it, 0 when it stands in the scenario.
    """

    at_ns: int
    step: int
    name: str
    text: str
    of: int = 0


class Planned(Line, frozen=True, tag="planned"):
    """Step number ``step`` as it is really done, with nothing left to chance; ``plan`` is a `harness.scenario.Step` as JSON text."""

    at_ns: int
    step: int
    plan: str


class StepEnded(Line, frozen=True, tag="step-ended"):
    """Step number ``step`` ended; ``problem`` is empty when it did all that it should."""

    at_ns: int
    step: int
    problem: str = ""


class Spawned(Line, frozen=True, tag="spawned"):
    """A replica is being made; ``at_ns`` is the instant before the engine was asked. ``pid`` 0: not visible from here."""

    at_ns: int
    step: int
    replica: str
    process: str
    command: str
    host: str = ""
    port: int = 0
    pid: int = 0
    replaces: str = ""


class PhaseReached(Line, frozen=True, tag="phase"):
    """A replica reached a phase: ``running``, ``listening``, ``healthy``; after a signal ``stopped-listening``.

    In a bench without load the harness itself asks for a ``first-answer``.

    An engine with a runtime between itself and the command also tells ``created`` (the runtime had made the replica) and ``started`` (its
    first process existed) before ``running``, and ``removed`` at the end.
    ``backlog`` is the number of connections that waited in the accept queue when it was last seen listening.
    """

    at_ns: int
    replica: str
    phase: str
    backlog: int = 0


class StartFailed(Line, frozen=True, tag="start-failed"):
    """A replica did not become healthy: ``never-healthy`` within its start period, ``exited``, or ``port-taken``.

    ``left`` are the descendants of one that ``exited`` with status 0 which were still there a second after that.
    """

    at_ns: int
    step: int
    replica: str
    reason: str
    detail: str = ""
    log: tuple[str, ...] = ()
    left: tuple[Process, ...] = ()


class Cycled(Line, frozen=True, tag="cycled"):
    """A cycle of a bench is over: some replicas were started and stopped to be timed.

    Attributes:
        began_ns: When it began.
        round: The number of its round, from 0 on; of a warm-up, the number of the warm-up.
        warmup: It is discarded on purpose.
        under: A key of `harness.benches.CONDITIONS`.
        process: The process type that was timed: each replica of it that was started meanwhile.
        others: How many CPUs programs that are not of this run used meanwhile, on average, or just before it where replicas are
            containers; -1 when nobody knows.
        problem: Why it did not go as it should; empty when it did.
    """

    at_ns: int
    began_ns: int
    round: int
    under: str
    process: str
    warmup: bool = False
    others: float = -1.0
    problem: str = ""


class Used(Line, frozen=True, tag="used"):
    """What the processes of a replica had used since its start, those that have ended included as far as the kernel tells.

    Attributes:
        when: ``healthy``, or ``steady`` just before the stop.
        processes: How many were alive.
        cpu_ns: CPU time, in user and kernel mode.
        minor_faults: Page faults that needed no disk.
        major_faults: Those that did.
        read_bytes: Bytes that were fetched from the disk (``read_bytes`` of proc(5)); -1 when it can't be read.
        resident_bytes: Memory of the living ones now; pages that they share count once where the kernel tells (PSS).
        peak_bytes: The most that they had; of a container its cgroup's peak, else the sum of each one's own.
    """

    at_ns: int
    replica: str
    when: str
    processes: int
    cpu_ns: int
    minor_faults: int
    major_faults: int
    read_bytes: int
    resident_bytes: int
    peak_bytes: int


class Routed(Line, frozen=True, tag="routed"):
    """The router was told about a replica: from ``at_ns`` on it gets new requests (``open``) or no more of them."""

    at_ns: int
    replica: str
    open: bool


class Signalled(Line, frozen=True, tag="signalled"):
    """The harness sent a signal to a replica.

    Attributes:
        at_ns: The instant before the system call.
        until_ns: The instant after it.
        purpose: ``terminate``, ``kill``, ``scale``, ``start`` (a stop while it starts) or ``signal`` (one that it may live through); after
            one of these ``again`` (the stop signal a second time) and ``grace-over`` (SIGKILL at the end of the grace); ``survivor`` or
            ``teardown``.
        delivered: False when the replica's main process was already gone.
        wants_busy: The step demands that the victim is as ``when`` says.
        when: ``in-flight``, ``mid-response``, ``just-accepted`` or ``idle``; empty: in-flight where ``wants_busy``, else anything.
        in_flight: Requests that awaited the first byte of their answer from the victim, as the load told it at ``at_ns``, or when the
            router was told before; -1 when it gets no load.
        disposition: What the main process does on the signal (signal(7)), just before it: ``caught``, ``ignored`` or ``default``; empty
            when it can't be seen. A runtime may catch it on behalf of a program that has no handler.
        grace_s: What the scenario grants before SIGKILL; 0 for a kill.
        lag_s: The router learns of it so many seconds after the signal; negative: before it.
    """

    at_ns: int
    until_ns: int
    step: int
    replica: str
    signal: str
    purpose: str
    delivered: bool = True
    wants_busy: bool = False
    when: str = ""
    in_flight: int = -1
    disposition: str = ""
    grace_s: float = 0.0
    lag_s: float = 0.0


class Knocked(Line, frozen=True, tag="knocked"):
    """A probe on a new connection after the signal: ``refused``, ``served``, ``rejected`` (5xx), ``reset`` or ``hung``."""

    at_ns: int
    done_ns: int
    replica: str
    result: str


class Held(Line, frozen=True, tag="held"):
    """A connection that the harness itself held to a replica over a stop.

    Attributes:
        at_ns: The instant before it was asked for; ``connected_ns``: it was made, 0 when it never was.
        ended_ns: The instant at which its end was seen, or at which the harness let go of it.
        what: ``idle``, ``silent``, ``half-open``, ``http/1.0`` or ``pipelined``.
        path: What was asked for on it; empty for a silent one.
        sent_ns: The instant after its requests were sent; 0 when no whole one was.
        requests: How many whole requests were sent.
        answered_ns: When each of their answers was whole.
        end: ``refused`` (never made), ``closed`` (FIN between two answers, or after the last), ``cut`` (FIN in the middle of an answer),
            ``reset``, ``done`` (all was answered and the harness closed it), or ``open`` (nothing had ended it when the harness let go).
        close_told: The last answer said that the connection would be closed (RFC 9112, section 9.6).
    """

    at_ns: int
    ended_ns: int
    step: int
    replica: str
    what: str
    end: str
    path: str = ""
    connected_ns: int = 0
    sent_ns: int = 0
    requests: int = 0
    answered_ns: tuple[int, ...] = ()
    close_told: bool = False


class LetGo(Line, frozen=True, tag="let-go"):
    """The grace was over with nothing in flight: the load and the harness closed their connections to the replica before any SIGKILL.

    ``held`` of them were the harness's own.
    """

    at_ns: int
    step: int
    replica: str
    held: int = 0


class Exited(Line, frozen=True, tag="exited"):
    """A replica's main process ended; ``status`` is its exit status, 128+N when signal N ended it, -1 when it can't be known.

    ``commanded`` is false when the harness had sent it no signal. ``log`` holds its last lines. ``oom``: for want of memory the kernel
    killed it, or one of its processes. ``lost``: the engine went away, and nobody knows whether the replica would have ended.
    """

    at_ns: int
    replica: str
    status: int
    commanded: bool
    log: tuple[str, ...] = ()
    oom: bool = False
    lost: bool = False


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """One operating system process: ``listening`` when it holds the replica's port open."""

    pid: int
    command: str
    listening: bool = False


class Repeated(Line, frozen=True, tag="repeated"):
    """The last fault on ``replica`` came at another moment than step ``step`` demands, and is done again, on ``again`` if that is up."""

    at_ns: int
    step: int
    replica: str
    again: str = ""


class Survived(Line, frozen=True, tag="survived"):
    """Descendants that still ran ``after_ns`` after the replica's main process had ended (by itself or by the stop)."""

    at_ns: int
    replica: str
    after_ns: int
    processes: tuple[Process, ...]


class Contained(Line, frozen=True, tag="contained"):
    """What holds a replica, told once it runs by an engine with containers.

    ``main`` is the command line of process 1; ``uid`` its user's number, -1 when it can't be seen; ``init``: the engine's own init is
    process 1, as the scenario asked. ``serves`` is false when another process holds the port open and process 1 does not.
    ``watched`` is false where its processes and their ends can't be seen, so that no word of them says nothing.
    """

    at_ns: int
    replica: str
    container: str
    image: str
    main: str
    uid: int = -1
    init: bool = False
    serves: bool = True
    watched: bool = True


class Zombies(Line, frozen=True, tag="zombies"):
    """Processes of a replica that had ended and that nobody waited for, not even ``after_ns`` after they were first seen so."""

    at_ns: int
    replica: str
    after_ns: int
    processes: tuple[Process, ...]


class CutOff(Line, frozen=True, tag="cut-off"):
    """Processes that still ran when process 1 of their container ended, so that the kernel killed them (pid_namespaces(7))."""

    at_ns: int
    replica: str
    processes: tuple[Process, ...]


class Wrote(Line, frozen=True, tag="wrote"):
    """What a replica changed in its own filesystem, outside volumes: ``A /app/x`` added, ``C`` changed, ``D`` deleted.

    ``paths`` holds the first of ``count`` in all, files only where a folder's content tells as much. A count of 0: it was looked at.
    """

    at_ns: int
    replica: str
    paths: tuple[str, ...]
    count: int


class OomKilled(Line, frozen=True, tag="oom-killed"):
    """The kernel killed a process of a replica for want of memory; ``limit_bytes`` is what the replica might have, 0 for no limit."""

    at_ns: int
    replica: str
    limit_bytes: int = 0


class Import(msgspec.Struct, frozen=True, kw_only=True):
    """A Python package that was imported: what its ``modules`` modules took by themselves, and which of them took longest."""

    name: str
    self_ns: int
    modules: int = 1
    slowest: str = ""


class Imported(Line, frozen=True, tag="imported"):
    """What a replica imported while it started, as Python itself told it (``PYTHONPROFILEIMPORTTIME=1``), the longest first.

    ``apart``: it was another start of the same process type, apart from the run, and took ``took_ns`` until it was healthy.
    """

    at_ns: int
    replica: str
    total_ns: int
    top: tuple[Import, ...]
    apart: bool = False
    took_ns: int = 0


class Disturbed(Line, frozen=True, tag="disturbed"):
    """The harness took something away from a replica: its time (``pause``), its ``network`` or its ``memory``.

    ``at_ns``, ``until_ns``, ``delivered``, ``wants_busy`` and ``in_flight`` are as in `Signalled`.
    """

    at_ns: int
    until_ns: int
    step: int
    replica: str
    what: str
    delivered: bool = True
    wants_busy: bool = False
    in_flight: int = -1
    detail: str = ""


class Restored(Line, frozen=True, tag="restored"):
    """The replica has it back since some instant between ``at_ns`` and ``until_ns``; ``delivered`` is false when it was gone by then."""

    at_ns: int
    until_ns: int
    step: int
    replica: str
    what: str
    delivered: bool = True


class ServicePhase(Line, frozen=True, tag="service"):
    """A backing service reached a phase.

    Attributes:
        at_ns: The instant; of a signal the one before the system call, of a cut the one before it was asked for.
        until_ns: Of a cut, when the last connection was closed; otherwise 0.
        step: The step in progress.
        service: Its name.
        phase: ``asked`` (it is being started), ``ready`` (it does its work), ``signalled``, ``exited``, ``cut`` (its clients' connections
            were closed), ``away`` (it answers no more although nobody stopped it).
        kind_of: Its kind, with ``asked`` and ``ready``.
        own: The run has started it.
        detail: What else there is to say: its version, the signal, how many connections, why it is away.
        status: Of an exit, as in `Exited`.
        log: Its last lines, of an exit that nobody had ordered.
    """

    at_ns: int
    step: int
    service: str
    phase: str
    kind_of: str = ""
    own: bool = True
    detail: str = ""
    status: int = -1
    log: tuple[str, ...] = ()
    until_ns: int = 0


class QueueSeen(Line, frozen=True, tag="queue-seen"):
    """What the queue said that it holds; -1 where it can't tell.

    ``until_ns`` is when its answer was there. ``why``: what was asked for is not a sample but a look ``before`` a fault on ``replica``, or
    ``after`` its end. ``error`` is set, and the numbers say nothing, when it gave no answer.
    """

    at_ns: int
    until_ns: int
    ready: int = -1
    held: int = -1
    delayed: int = 0
    set_aside: int = 0
    why: str = ""
    replica: str = ""
    error: str = ""


class Drained(Line, frozen=True, tag="drained"):
    """The wait for all jobs after the last step is over.

    Attributes:
        at_ns: Its end.
        began_ns: Its beginning; no job was submitted from then on.
        whole: Every acknowledged job was done, or the queue was seen to be empty with nothing held.
        seen: The queue could be asked at the end, so that the lines of what is left (`harness.job_history.JobTold`) are all there is.
        foreign: Jobs or effects that do not carry the run's mark.
        counts: Where effects show, one that happened twice can be told from one that happened once.
        readable: The place where effects show could be read at the end.
        why: Why it is not whole.
    """

    at_ns: int
    began_ns: int
    whole: bool
    seen: bool = True
    foreign: int = 0
    counts: bool = True
    readable: bool = True
    why: str = ""


class EngineLost(Line, frozen=True, tag="engine-lost"):
    """The engine went away, or somebody else used it on a replica: what happened to replicas from ``at_ns`` on is not the app's doing."""

    at_ns: int
    why: str


class Lagged(Line, frozen=True, tag="lagged"):
    """The harness itself stood still for ``lag_ns`` until ``at_ns``: what it saw meanwhile, it saw that late."""

    at_ns: int
    lag_ns: int


class Scheduled(Line, frozen=True, tag="scheduled"):
    """What the machine gave a replica of its CPUs from ``since_ns`` on, when its time was over: for its start, or its grace.

    All its threads that were left then ran for ``ran_ns``; for ``waited_ns`` they were ready to run and waited for a CPU.
    """

    at_ns: int
    since_ns: int
    step: int
    replica: str
    ran_ns: int
    waited_ns: int


class Note(Line, frozen=True, tag="note"):
    """Something that the reader of a report should know, such as a command that ran under a shell."""

    at_ns: int
    text: str


class RunEnded(Line, frozen=True, tag="run-ended"):
    """The last event: ``finished``, ``interrupted`` or ``aborted``, with a sentence that says why.

    ``lines`` is how many lines stand before it in its file, the header included; -1 when nobody counted.
    """

    at_ns: int
    how: str
    why: str = ""
    lines: int = -1


class Invoke(Line, frozen=True, tag="invoke", gc=False):
    """Attempt ``n`` (from 0) of op ``op`` is about to leave for ``replica`` (empty: there was none to go to).

    ``request`` is the index in the scenario's requests; ``step`` the step in progress; ``due_ns`` the instant at which the open model
    wanted the op to start (its ``at_ns`` otherwise).
    """

    op: int
    n: int
    user: int
    request: int
    replica: str
    step: int
    at_ns: int
    due_ns: int


class Close(Line, frozen=True, tag="close", gc=False):
    """How attempt ``n`` of op ``op`` ended; instants that were never reached are 0.

    ``reached`` is a `harness.outcome.Reached`; ``error`` an errno name or exception type; ``last`` is true when the op is over with
    it; ``tx`` and ``rx`` are bytes; ``port`` is the client's own port; ``eof`` says that nothing but the end of the connection told
    the end of the answer, which a process that dies sends too.
    """

    op: int
    n: int
    outcome: str
    reached: int
    last: bool
    done_ns: int
    connected_ns: int = 0
    sent_ns: int = 0
    first_ns: int = 0
    reused: bool = False
    status: int = 0
    tx: int = 0
    rx: int = 0
    port: int = 0
    eof: bool = False
    error: str = ""


class Streamed(Line, frozen=True, tag="streamed"):
    """What one connection of a stream brought; written at its end, beside the `Close` of the same attempt.

    Numbers are those of successive events, as their ids tell them; all ops count from the first number that they got.

    Attributes:
        at_ns: Its end.
        opened_ns: The stream was open: its headers, or the consent to a WebSocket, were here.
        end: ``complete`` (the client had what it wanted), ``ended`` (by the server, in order), ``eof`` (by nothing but the end of the
            connection, which a process that dies sends too), ``cut``, or ``stopped`` (the load was cut off).
        code: The close code of a WebSocket, 1005 for none; 0 where there was no close frame.
        events: Events, or messages, that came.
        unnumbered: How many of them carried no number.
        first_event_ns: The first of them came; 0 for never.
        last_event_ns: The last of them came.
        first_id: The first number; -1 for none.
        last_id: The last number.
        missing: Numbers that the first event left out, counted from the last one of the connections before.
        skipped: Numbers that later events left out.
        holes: How many events left some out so.
        late: Numbers that came after all, out of order.
        twice: Numbers that did not come for the first time.
        resumed: A connection of the same op had been open before.
        away_ns: How long the client was without a stream before; 0 where it did not connect again as it would have done.
        waited_ns: How much of that the client itself waited, as the server (``retry:``) or a default told it.
    """

    op: int
    n: int
    at_ns: int
    opened_ns: int
    end: str
    code: int = 0
    events: int = 0
    unnumbered: int = 0
    first_event_ns: int = 0
    last_event_ns: int = 0
    first_id: int = -1
    last_id: int = -1
    missing: int = 0
    skipped: int = 0
    holes: int = 0
    late: int = 0
    twice: int = 0
    resumed: bool = False
    away_ns: int = 0
    waited_ns: int = 0


class Control(Line, frozen=True, tag="control"):
    """One request of the control sampler to the harness's own tiny server, over the same path as the load.

    ``error`` is an errno name or another label of `Close` when it was not answered.
    """

    at_ns: int
    done_ns: int
    ok: bool
    error: str = ""


class Generator(Line, frozen=True, tag="generator"):
    """How the load process itself did since the last such line.

    ``lag_ns`` is the worst delay of its event loop, ``cpu`` the share of one core it used, ``late`` how many arrivals of the open
    model began over 100 ms after they were due, of ``arrivals`` in all; ``crowded`` of the late ones had to wait because every user
    waited for an answer.
    """

    at_ns: int
    lag_ns: int
    cpu: float
    late: int = 0
    crowded: int = 0
    arrivals: int = 0


class LoadBegan(Line, frozen=True, tag="load-began"):
    """The load process sends from now on."""

    at_ns: int
    pid: int


class LoadEnded(Line, frozen=True, tag="load-ended"):
    """The load process closed its ledger in order, with so many attempts invoked and closed."""

    at_ns: int
    invoked: int
    closed: int


Event: TypeAlias = (
    StepBegan
    | Planned
    | StepEnded
    | Spawned
    | PhaseReached
    | StartFailed
    | Cycled
    | Used
    | Routed
    | Signalled
    | Knocked
    | Held
    | LetGo
    | Exited
    | Repeated
    | Survived
    | Contained
    | Zombies
    | CutOff
    | Wrote
    | OomKilled
    | Imported
    | Disturbed
    | Restored
    | ServicePhase
    | QueueSeen
    | Drained
    | EngineLost
    | Lagged
    | Scheduled
    | Note
    | RunEnded
    | LoadBegan
    | LoadEnded
)
AnyLine: TypeAlias = Header | Event | Invoke | Close | Streamed | Control | Generator | JobLine | StateLine

_encoder = msgspec.json.Encoder()


class EventWriter:
    """Appends lines to a file with one ``write(2)`` each; safe from several threads. A write that fails raises `OSError`."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        self._lock = threading.Lock()
        self._lines = 0

    def append(self, line: AnyLine) -> None:
        """Write one line; it survives SIGKILL of this process as soon as this returns. The last one gets the number of those before it."""
        with self._lock:
            if isinstance(line, RunEnded):
                line = msgspec.structs.replace(line, lines=self._lines)
            data = memoryview(_encoder.encode(line) + b"\n")
            while data:
                data = data[os.write(self._fd, data) :]
            self._lines += 1

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        with self._lock:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1


class LedgerWriter:
    """Appends lines to a memory-mapped file; for one thread. Space is allocated ahead, so a full disk raises `OSError` here."""

    CHUNK: Final = 4 << 20

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self._position = 0
        self._size = 0
        self._map: mmap.mmap | None = None
        self._buffer = bytearray(1024)
        self._grow(1)

    def append(self, line: AnyLine) -> None:
        """Write one line; it survives SIGKILL of this process as soon as this returns."""
        buffer = self._buffer
        _encoder.encode_into(line, buffer)
        buffer += b"\n"
        end = self._position + len(buffer)
        if end > self._size:
            self._grow(end)
        assert self._map is not None  # noqa: S101  closed ledgers take no lines
        self._map[self._position : end] = buffer
        self._position = end

    def close(self) -> None:
        """Cut the unused rest off and close the file; a second call does nothing."""
        if self._map is None:
            return
        self._map.close()
        self._map = None
        os.ftruncate(self._fd, self._position)
        os.close(self._fd)

    def _grow(self, needed: int) -> None:
        size = self._size
        while size < needed:
            size += self.CHUNK
        os.posix_fallocate(self._fd, 0, size)
        if self._map is not None:
            self._map.close()
        self._map = mmap.mmap(self._fd, size)
        self._size = size


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """All attempts as numpy columns of one length, in the order of their invokes.

    ``replica``, ``outcome`` and ``error`` are indexes into ``replicas``, ``OUTCOMES`` and ``errors``. Instants are nanoseconds, 0 for
    never; ``done_ns`` of an attempt without a close is 0 and its ``closed`` is false. Replica names are in ``replicas``; the empty
    name stands for *there was none to go to*.
    """

    op: NDArray[np.int64]
    n: NDArray[np.int64]
    user: NDArray[np.int64]
    request: NDArray[np.int64]
    replica: NDArray[np.int64]
    step: NDArray[np.int64]
    invoke_ns: NDArray[np.int64]
    due_ns: NDArray[np.int64]
    connected_ns: NDArray[np.int64]
    sent_ns: NDArray[np.int64]
    first_ns: NDArray[np.int64]
    done_ns: NDArray[np.int64]
    outcome: NDArray[np.int64]
    reached: NDArray[np.int64]
    status: NDArray[np.int64]
    reused: NDArray[np.bool_]
    last: NDArray[np.bool_]
    closed: NDArray[np.bool_]
    tx: NDArray[np.int64]
    rx: NDArray[np.int64]
    eof: NDArray[np.bool_]
    error: NDArray[np.int64]
    replicas: tuple[str, ...]
    errors: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.op)


OUTCOMES: Final[tuple[Outcome, ...]] = tuple(Outcome)
"""The order in which outcome columns count; ``OUTCOMES[code]``."""

CODE: Final[dict[Outcome, int]] = {outcome: code for code, outcome in enumerate(OUTCOMES)}
"""The code of each outcome in a column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ops:
    """All ops as numpy columns: ``first`` and ``last`` are rows of `Attempts`; ``done_ns`` is 0 for an op that was never closed."""

    op: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    attempts: NDArray[np.int64]
    outcome: NDArray[np.int64]
    due_ns: NDArray[np.int64]
    invoke_ns: NDArray[np.int64]
    done_ns: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.op)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All that a run recorded. ``torn`` counts lines that could not be read (the last one of a killed writer)."""

    header: Header
    events: tuple[Event, ...]
    attempts: Attempts
    ops: Ops
    controls: tuple[Control, ...]
    generator: tuple[Generator, ...]
    streamed: tuple[Streamed, ...] = ()
    jobs: JobLedger = field(default_factory=lambda: ledger_of(()))
    state: StateLedger = field(default_factory=StateLedger)
    torn: int = 0

    @property
    def complete(self) -> bool:
        """The harness came to the end of the run by itself and wrote so."""
        return any(isinstance(event, RunEnded) for event in self.events)

    @property
    def ended_ns(self) -> int:
        """The instant of the last event, or of the beginning when there is none."""
        return self.events[-1].at_ns if self.events else self.header.started_ns


def read(path: Path) -> History:
    """Read a run's folder, its ``history`` folder or one ``.jsonl`` file.

    Raises:
        UsageError: There is no history, no header, or a newer format.
    """
    files = _files(path)
    lines: list[AnyLine] = []
    torn, jobs = 0, JobColumns()
    for file in files:
        if file.name == JOBS_FILE:
            torn += jobs.read(file)
            continue
        found, bad = _lines(file)
        lines += found
        torn += bad
    return build(lines, torn=torn, source=str(path), jobs=jobs)


def build(lines: Iterable[AnyLine], *, torn: int = 0, source: str = "history", jobs: JobColumns | None = None) -> History:
    """Make a `History` of lines in any order, and of what ``jobs`` has taken in; raises `UsageError` without exactly one header."""
    headers: list[Header] = []
    events: list[Event] = []
    invokes: list[Invoke] = []
    closes: list[Close] = []
    controls: list[Control] = []
    generator: list[Generator] = []
    streamed: list[Streamed] = []
    of_jobs: list[JobLine] = []
    of_state: list[StateLine] = []
    for line in lines:
        match line:
            case Invoke():
                invokes.append(line)
            case Close():
                closes.append(line)
            case Control():
                controls.append(line)
            case Generator():
                generator.append(line)
            case Streamed():
                streamed.append(line)
            case JobSubmitted() | JobAnswered() | JobSeen() | JobDone() | JobTold() | JobsClosed():
                of_jobs.append(line)
            case StateAsked() | StateAnswered() | StateRead() | SameAnswered() | JourneyMade():
                of_state.append(line)
            case Header():
                headers.append(line)
            case _:
                events.append(line)
    if len(headers) != 1:
        raise UsageError(f"{source}: no run's history (one header line is needed, {len(headers)} found); name a folder under reports/")
    if headers[0].format > FORMAT:
        raise UsageError(f"{source}: written by a newer Jetable (format {headers[0].format}); update Jetable to judge it")
    attempts = _attempts(invokes, closes)
    ledger = jobs or JobColumns()
    ledger.add(of_jobs)
    return History(
        header=headers[0],
        events=tuple(sorted(events, key=lambda event: event.at_ns)),
        attempts=attempts,
        ops=_ops(attempts),
        controls=tuple(sorted(controls, key=lambda control: control.at_ns)),
        generator=tuple(sorted(generator, key=lambda sample: sample.at_ns)),
        streamed=tuple(sorted(streamed, key=lambda connection: (connection.op, connection.n))),
        jobs=ledger.ledger(),
        state=state_ledger(of_state),
        torn=torn,
    )


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    folder = path / "history" if (path / "history").is_dir() else path
    files = [folder / name for name in (EVENTS_FILE, OPS_FILE, JOBS_FILE, STATE_FILE) if (folder / name).is_file()]
    if not files:
        raise UsageError(f"{path}: no history here (looked for {EVENTS_FILE}); name a run's folder, such as reports/latest")
    return files


def _lines(file: Path) -> tuple[list[AnyLine], int]:
    """The lines of one file and how many could not be read."""
    decoder: msgspec.json.Decoder[AnyLine] = msgspec.json.Decoder(AnyLine)
    data = file.read_bytes().rstrip(b"\0")
    whole = data.rfind(b"\n") + 1
    torn = int(whole < len(data))
    try:
        return decoder.decode_lines(data[:whole]), torn
    except msgspec.DecodeError:
        found: list[AnyLine] = []
        for raw in data[:whole].splitlines():
            try:
                found.append(decoder.decode(raw))
            except msgspec.DecodeError:
                torn += 1
        return found, torn


def _column(lines: Sequence[Invoke] | Sequence[Close], name: str) -> NDArray[np.int64]:
    """One attribute of all ``lines``; names of replicas, outcomes and errors go through `_codes` instead."""
    import numpy as np  # noqa: PLC0415  writers don't need it and it takes a tenth of a second

    return np.fromiter(map(attrgetter(name), lines), dtype=np.int64, count=len(lines))


def _codes(lines: Sequence[Invoke] | Sequence[Close], name: str, codes: dict[str, int]) -> NDArray[np.int64]:
    """The attribute ``name`` of all ``lines`` as numbers of ``codes``, which gets a new number for each name that it lacks."""
    import numpy as np  # noqa: PLC0415  as above

    for found in dict.fromkeys(map(attrgetter(name), lines)):
        codes.setdefault(found, len(codes))
    return np.fromiter(map(codes.__getitem__, map(attrgetter(name), lines)), dtype=np.int64, count=len(lines))


def _attempts(invokes: Sequence[Invoke], closes: Sequence[Close]) -> Attempts:
    import numpy as np  # noqa: PLC0415  as above

    at_ns, op, n = _column(invokes, "at_ns"), _column(invokes, "op"), _column(invokes, "n")
    order = np.lexsort((n, op, at_ns))
    replicas: dict[str, int] = {}
    replica = _codes(invokes, "replica", replicas)

    # An attempt without a close takes the values of `nothing`, which stands behind the last close.
    nothing = Close(op=0, n=0, outcome=Outcome.UNFINISHED.value, reached=0, last=False, done_ns=0)
    ended = [*closes, nothing]
    end = _closes_of(op[order], n[order], _column(closes, "op"), _column(closes, "n"))
    outcomes = {outcome.value: code for outcome, code in CODE.items()}
    outcome = _codes(ended, "outcome", outcomes)
    if len(outcomes) > len(CODE):
        raise UsageError(f"unknown outcomes {', '.join(sorted(set(outcomes) - set(CODE)))}; update Jetable to judge this history")
    errors: dict[str, int] = {}
    error = _codes(ended, "error", errors)

    return Attempts(
        op=op[order],
        n=n[order],
        user=_column(invokes, "user")[order],
        request=_column(invokes, "request")[order],
        replica=replica[order],
        step=_column(invokes, "step")[order],
        invoke_ns=at_ns[order],
        due_ns=_column(invokes, "due_ns")[order],
        connected_ns=_column(ended, "connected_ns")[end],
        sent_ns=_column(ended, "sent_ns")[end],
        first_ns=_column(ended, "first_ns")[end],
        done_ns=_column(ended, "done_ns")[end],
        outcome=outcome[end],
        reached=_column(ended, "reached")[end],
        status=_column(ended, "status")[end],
        reused=_column(ended, "reused")[end].astype(np.bool_),
        last=_column(ended, "last")[end].astype(np.bool_),
        closed=end < len(closes),
        tx=_column(ended, "tx")[end],
        rx=_column(ended, "rx")[end],
        eof=_column(ended, "eof")[end].astype(np.bool_),
        error=error[end],
        replicas=tuple(replicas),
        errors=tuple(errors),
    )


def _closes_of(op: NDArray[np.int64], n: NDArray[np.int64], close_op: NDArray[np.int64], close_n: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each attempt the index of its last close, or ``len(close_op)`` when it has none."""
    import numpy as np  # noqa: PLC0415  as above

    if not len(close_op):
        return np.zeros(len(op), dtype=np.int64)
    # Op numbers may be as large as 64 bits; their ranks leave room for the attempt's number in one key.
    known_ops, rank = np.unique(close_op, return_inverse=True)
    known_ns, rank_n = np.unique(close_n, return_inverse=True)
    keys = rank * len(known_ns) + rank_n
    order = np.argsort(keys, kind="stable")
    at_op = np.minimum(np.searchsorted(known_ops, op), len(known_ops) - 1)
    at_n = np.minimum(np.searchsorted(known_ns, n), len(known_ns) - 1)
    known = (known_ops[at_op] == op) & (known_ns[at_n] == n)
    wanted = at_op * len(known_ns) + at_n
    place = np.searchsorted(keys[order], wanted, side="right") - 1
    found = known & (place >= 0) & (keys[order][place] == wanted)
    return np.where(found, order[place], len(close_op))


def _ops(attempts: Attempts) -> Ops:
    """Group attempts into ops; the common op with one attempt is handled in numpy, the few others one by one."""
    import numpy as np  # noqa: PLC0415  as above

    order = np.lexsort((attempts.n, attempts.op))
    op_sorted = attempts.op[order]
    starts = np.flatnonzero(np.r_[True, op_sorted[1:] != op_sorted[:-1]]) if len(op_sorted) else np.zeros(0, dtype=np.int64)
    ends = np.r_[starts[1:], len(op_sorted)].astype(np.int64)
    first, last = order[starts], order[ends - 1] if len(starts) else order[:0]
    over = attempts.closed[last] & attempts.last[last]
    outcome = np.where(over, attempts.outcome[last], CODE[Outcome.UNFINISHED])
    alone = np.isin(outcome, [CODE[Outcome.REFUSED], CODE[Outcome.STALE]])
    outcome = np.where(alone, CODE[Outcome.UNAVAILABLE], outcome)
    for index in np.flatnonzero(ends - starts > 1):
        parts = [OUTCOMES[code] for code in attempts.outcome[order[starts[index] : ends[index]]]]
        outcome[index] = CODE[of_op(parts, closed=bool(over[index]))]
    by_start = np.argsort(attempts.invoke_ns[first], kind="stable")
    first, last, outcome = first[by_start], last[by_start], outcome[by_start]
    return Ops(
        op=attempts.op[first],
        first=first,
        last=last,
        attempts=(ends - starts)[by_start],
        outcome=outcome,
        due_ns=attempts.due_ns[first],
        invoke_ns=attempts.invoke_ns[first],
        done_ns=np.where(over[by_start], attempts.done_ns[last], 0),
    )
