"""The jobs of one run from the first submission to the end of the drain.

    declare the queue ─▶ submit, watch effects, sample the queue, hear the workers ─▶ steps … ─▶ submit no more ─▶ drain ─▶ what is left

The drain waits until every acknowledged job is done and the queue is empty, or until the queue has been empty for a while with nothing in
anybody's hands, so that what is missing then is *lost*; at most as long as the scenario says. It ends early when all that is left is held
until later than that by the queue's own word. What is left then is listed, from outside where the queue can be looked into, else by taking
it out once all workers are gone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.clock import NS_PER_S, Clock
from harness.errors import MachineError
from harness.history import Drained, Event, QueueSeen
from harness.job_history import HELD, SIGHTINGS, JobLine, JobTold, job_pattern, naming
from harness.jobs.book import JobBook
from harness.jobs.listen import Listener
from harness.jobs.places import AppEffects, FileEffects
from harness.jobs.submit import AppDoor, Submitter
from harness.scenario import Jobs, Scenario
from harness.services.base import Client, DoneSpec, Effects, Look, MakesBeside, Queue, QueueSpec, ServiceError, TellsAbsence, Told
from harness.stage import Background, Watch

EFFECTS_EVERY_S: Final = 0.02
MOST_OF_THE_TIME: Final = 4.0
"""After a look that took long there is a rest of so many times as long, as the machine is not the harness's alone."""

QUEUE_EVERY_S: Final = 0.1
SAME_AGAIN_NS: Final = NS_PER_S
"""A sample of the queue that says what the one before said is written down once a second."""

DRAIN_EVERY_S: Final = 0.02
QUIET_S: Final = 0.5
"""How long a queue must have been empty until what is not done counts as gone."""

BLIND_QUIET_S: Final = 2.0
"""The same where the queue does not tell what its workers hold."""

STUCK_S: Final = 2.0
"""How long nothing must have changed until what is held for long is taken for stuck: a worker may be between two jobs."""

RELEASED_AFTER_S: Final = 0.3
RELEASED_WITHIN_S: Final = 3.0
"""How long a queue may take to notice that those are gone who held its jobs."""

DECLARE_WITHIN_S: Final = 10.0
MOST_TOLD: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the queue and the place of effects are called in this run: ``queue``, and ``done`` (empty for a query or an answer)."""

    mark: str
    queue: str
    done: str

    def environment(self, jobs: Jobs) -> dict[str, str]:
        """What is handed to every replica."""
        return {jobs.variable: self.queue} | ({jobs.done.variable: self.done} if self.done else {})


def names_of(scenario: Scenario, mark: str, shared: Path) -> Names:
    """The names, with the run's mark where others use the same service; a file lies in ``shared`` unless its path is absolute."""
    jobs = scenario.jobs
    assert jobs is not None  # noqa: S101  nobody asks without jobs
    done = jobs.done
    shows = done.service or scenario.job_service
    return Names(
        mark=mark,
        queue=_own(jobs.queue, mark, foreign=scenario.services[scenario.job_service].url is not None),
        done=str(shared / done.file)
        if done.file is not None
        else _own(done.key or done.queue or "", mark, foreign=scenario.services[shows].url is not None),
    )


def _own(name: str, mark: str, *, foreign: bool) -> str:
    return f"jetable_{mark}_{name}" if name and foreign else name


class JobCourse:
    """The jobs of one run; `start`, then steps, then `drain` and `close`, the last one whatever happened."""

    def __init__(  # noqa: PLR0913  what a run hands over
        self,
        scenario: Scenario,
        names: Names,
        *,
        clock: Clock,
        record: Callable[[Event], None],
        append: Callable[[JobLine], None],
        background: Background,
        client: Callable[[str], Client],
        deposit: Callable[[str, QueueSpec | DoneSpec, Sequence[str]], None],
        address: Callable[[str], tuple[str, int] | None],
        step: Callable[[], int],
        up: Callable[[str], Sequence[str]] = lambda _process: (),
    ) -> None:
        """``address`` finds a replica of a process type that is up, and ``up`` names all of them; ``deposit``: see `harness.backing`."""
        assert scenario.jobs is not None  # noqa: S101  made only for scenarios that have them
        self._scenario = scenario
        self._jobs = scenario.jobs
        self._names = names
        self._clock = clock
        self._record = record
        self._background = background
        self._client = client
        self._deposit = deposit
        self._noted = False
        self._address = address
        self._step = step
        self._up = up
        self._book = JobBook(append, clock, tells=frozenset(name for name in SIGHTINGS if getattr(self._jobs.log, name) is not None))
        self._listener = Listener(self._jobs.log, names.mark, self._book.see)
        self._pattern = job_pattern(names.mark)
        self._effects: Effects | None = None
        self._clients: list[Client] = []
        self._watches: list[Watch] = []
        self._submitting: Watch | None = None
        self._submitter: Submitter | None = None
        self._look_lock = threading.Lock()
        self._looker = self._spec_queue()
        self._effects_problem = ""
        self._problem: OSError | None = None
        self._polls = 0
        self._began_ns = 0
        self._over: tuple[int, bool, str] | None = None
        self._closed = False

    def start(self) -> None:
        """Make the queue and begin to submit. Raises `MachineError` when the queue can't be made."""
        deadline_ns = self._clock.now_ns() + round(DECLARE_WITHIN_S * NS_PER_S)
        while True:
            try:
                with self._look_lock:
                    self._declare()
                break
            except ServiceError as error:
                if self._clock.now_ns() > deadline_ns:
                    raise MachineError(f"the queue {self._names.queue} can't be made: {error}") from error
                self._clock.sleep(DRAIN_EVERY_S)
        self._effects = self._place()
        self._watches.append(self._background.watch(self._watch_effects))
        self._watches.append(self._background.watch(self._sample))

    def submit(self) -> None:
        """Begin to submit; the workers are up."""
        path = self._jobs.post
        door = AppDoor(path, lambda: self._address(self._scenario.asked_process)) if path is not None else self._spec_queue()
        self._submitter = Submitter(self._jobs, self._names.mark, self._book, door=door, clock=self._clock, step=self._step)
        self._submitting = self._background.watch(self._submitter.run)

    def hear(self, replica: str, data: bytes) -> None:
        """A replica wrote something; what can't be written down is raised when the ledger is closed, and never where the log is kept."""
        if replica.rpartition(".")[0] != self._scenario.job_process:
            return
        try:
            self._listener.hear(replica, data)
        except OSError as error:
            self._problem = error

    def gone(self, replica: str) -> None:
        """A replica has ended."""
        self._book.gone(replica)

    def in_hand(self, replica: str, when: str, share: float = 0.0) -> int:
        """How many jobs the replica has in hand as ``when`` says, worked on for at least ``share`` of what jobs usually take."""
        if self._listener.hears:
            return self._book.in_hand(replica, when, older_ns=round(share * self._book.usual_ns()))
        return self._held_by(replica)

    def had(self, replica: str, when: str, at_ns: int) -> bool:
        """Whether it was as ``when`` says at that instant, as far as its log has told by now; true where the log tells nothing."""
        if not self._listener.hears:
            return True
        return self._book.had(replica, when, at_ns) == (when != "idle")

    def look(self, why: str, replica: str) -> None:
        """Write down what the queue holds right now, because of a fault on ``replica``."""
        self._record(self._seen(why, replica))

    def drain(self) -> None:
        """Submit no more, and wait until the jobs are done, or lost, or the scenario's patience is over."""
        if self._submitting is not None and self._submitter is not None:
            if self._jobs.count is not None:
                self._submitter.over.wait(self._jobs.drain.s)
            self._submitting.end()
        self._began_ns = self._clock.now_ns()
        whole, why = self._await_end()
        if self._jobs.done.get is not None:  # who tells it is gone soon
            self._end_watches()
            self._poll_effects(self._clock.now_ns())
        self._over = self._clock.now_ns(), whole, why

    def close(self) -> None:
        """All workers are gone: list what is left, and close the ledger; raises what a watcher died of. A second call does nothing."""
        if self._closed:
            return
        self._closed = True
        with ExitStack() as ending:  # the last one that is named here is the first one done, and each is done whatever happens before
            for client in self._clients:
                ending.callback(client.close)
            ending.callback(self._book.close)
            ending.callback(self._account)
            ending.callback(self._end_watches)
            if self._submitting is not None:
                ending.callback(self._submitting.end)

    def _account(self) -> None:
        """Say how the drain ended, and what is left."""
        if self._problem is not None:
            raise self._problem
        if self._over is not None:
            at_ns, whole, why = self._over
            seen = self._list_rest()
            if self._jobs.done.get is None:
                self._poll_effects(at_ns)  # what the queue has no more since the last look is done, and must not be called lost
            absent = self._effects.absent if isinstance(self._effects, TellsAbsence) else ""
            blind = self._effects_problem or absent
            self._record(
                Drained(
                    at_ns=at_ns,
                    began_ns=self._began_ns,
                    whole=whole and not blind,
                    seen=seen,
                    readable=not blind,
                    foreign=self._book.foreign,
                    counts=self._effects.counts if self._effects is not None else True,
                    why=why or (f"effects can't be read: {blind}" if blind else ""),
                )
            )

    def _end_watches(self) -> None:
        with ExitStack() as ending:
            while self._watches:
                ending.callback(self._watches.pop().end)

    # --- what is watched -----------------------------------------------------------------------------------------------------

    def _watch_effects(self, stop: threading.Event) -> None:
        assert self._effects is not None  # noqa: S101  start makes it
        since_ns = self._clock.now_ns()
        while True:
            before_ns = self._clock.now_ns()
            try:
                since_ns = self._poll_effects(since_ns)
            except Exception as error:  # not swallowed: the drain must not wait for what nobody reads, and `end` raises it
                self._effects_problem = f"{type(error).__name__}: {error}"
                raise
            took_s = (self._clock.now_ns() - before_ns) / NS_PER_S
            if stop.wait(max(EFFECTS_EVERY_S, MOST_OF_THE_TIME * took_s)):
                return

    def _poll_effects(self, since_ns: int) -> int:
        """Note the effects that are new since then; returns since when the next ones will be."""
        assert self._effects is not None  # noqa: S101  as above
        before_ns = self._clock.now_ns()
        try:
            texts = self._effects.new()
        except ServiceError as error:
            self._effects_problem = str(error)
            return since_ns
        self._effects_problem = ""
        self._polls += 1
        self._note_effects(texts, since_ns)
        return before_ns

    def _note_effects(self, texts: Sequence[str], since_ns: int) -> None:
        at_ns = self._clock.now_ns()
        for text in texts:
            numbers = [int(found[1]) for found in self._pattern.finditer(text)]
            for number in dict.fromkeys(numbers):
                self._book.effect(number, at_ns=at_ns, since_ns=since_ns)
            self._book.foreign += not numbers

    def _sample(self, stop: threading.Event) -> None:
        before: QueueSeen | None = None
        while True:
            seen = self._seen("", "")
            told = (seen.ready, seen.held, seen.delayed, seen.set_aside, seen.error)
            known = before and (before.ready, before.held, before.delayed, before.set_aside, before.error)
            if before is None or told != known or seen.at_ns - before.at_ns > SAME_AGAIN_NS:
                self._record(seen)
                before = seen
            if stop.wait(QUEUE_EVERY_S):
                return

    def _seen(self, why: str, replica: str) -> QueueSeen:
        at_ns = self._clock.now_ns()
        look, error = self._ask()
        return QueueSeen(
            at_ns=at_ns,
            until_ns=self._clock.now_ns(),
            ready=look.ready,
            held=look.held,
            delayed=look.delayed,
            set_aside=look.set_aside,
            why=why,
            replica=replica,
            error=error,
        )

    def _ask(self) -> tuple[Look, str]:
        with self._look_lock:
            try:
                return self._looker.look(), ""
            except ServiceError as error:
                return Look(ready=-1), str(error)

    def _alone(self, replica: str) -> bool:
        """No other replica that works on jobs is up."""
        return not [name for name in self._up(self._scenario.job_process) if name != replica]

    def _held_by(self, replica: str) -> int:
        """How many jobs the queue says that the replica holds; where it names nobody, what is held if nobody else could hold it."""
        alone = self._alone(replica)
        with self._look_lock, suppress(ServiceError):
            told = self._looker.told(MOST_TOLD)
            if told is None:
                return max(0, self._looker.look().held) if alone else 0
            held = [each for each in told if each.state == HELD]
            named = naming(replica)
            if any(each.by for each in held):
                return sum(bool(named.search(each.by)) for each in held)
            return len(held) if alone else 0
        return 0

    # --- the drain -------------------------------------------------------------------------------------------------------------

    def _await_end(self) -> tuple[bool, str]:
        """Whether all came to its end, and why not."""
        deadline_ns = self._clock.now_ns() + self._jobs.drain.ns
        empty_since_ns, stuck, stuck_since_ns = 0, (-1, -1), 0
        while True:
            look, error = self._ask()
            now_ns = self._clock.now_ns()
            held = (look.held, self._book.effects) if self._held_for_long(look, deadline_ns - now_ns) else (-1, -1)
            if held != stuck:
                stuck, stuck_since_ns = held, now_ns
            is_stuck = held[0] > 0 and now_ns - stuck_since_ns > STUCK_S * NS_PER_S
            empty = not error and look.ready == 0 and look.delayed == 0 and look.held <= 0 and not self._busy()
            if not empty:
                empty_since_ns = 0
            elif not empty_since_ns:
                empty_since_ns, self._polls = now_ns, 0
            if empty_since_ns and self._polls > 1 and self._is_quiet(now_ns - empty_since_ns, told=look.held == 0):
                return True, ""
            if now_ns > deadline_ns or is_stuck:
                return False, self._why(look, error)
            self._clock.sleep(DRAIN_EVERY_S)

    def _is_quiet(self, empty_ns: int, *, told: bool) -> bool:
        """Nothing more will come: all is done, or the queue has been empty for long enough."""
        rest = self._book.missing() or self._book.doubtful()
        if self._effects_problem or (rest and not told):  # a worker may have it, and nobody says so
            return False
        enough_s = QUIET_S if told and self._jobs.post is None else BLIND_QUIET_S  # an app may hand it on a little later
        return empty_ns > enough_s * NS_PER_S / (1 if rest or not told else 5)

    def _busy(self) -> bool:
        return self._listener.hears and self._book.all_in_hand() > 0

    def _held_for_long(self, look: Look, left_ns: int) -> bool:
        """All that is left is held until after the end of the wait, by the queue's own word."""
        if look.held <= 0 or look.ready or look.delayed or self._busy():
            return False
        if not self._listener.hears and self._up(self._scenario.job_process):  # one of them may work on it without a word
            return False
        with self._look_lock, suppress(ServiceError):
            held = [each for each in self._looker.told(MOST_TOLD) or () if each.state == HELD]
            return bool(held) and all(each.until_s is not None and each.until_s * NS_PER_S > left_ns for each in held)
        return False

    def _why(self, look: Look, error: str) -> str:
        if error:
            return f"the queue can't be asked: {error}"
        if self._effects_problem:
            return f"effects can't be read: {self._effects_problem}"
        parts = {"ready": look.ready, "held": look.held, "delayed": look.delayed}
        return ", ".join(f"{count} {state}" for state, count in parts.items() if count > 0) or "not all is done, and the queue is silent"

    def _list_rest(self) -> bool:
        """Write down what the queue says of the jobs that are left; false when it could not be asked."""
        with self._look_lock:
            try:
                told = self._looker.told(MOST_TOLD)
                if told is None:
                    self._await_release()
                    told = self._looker.take_rest(MOST_TOLD)
            except ServiceError:
                return False
        now_ns = self._clock.now_ns()
        if len(told) >= MOST_TOLD:
            return False  # there may be more
        for each in told:
            found = self._pattern.search(each.text)
            if found is None:
                self._book.foreign += 1
                continue
            self._book.write(_line(int(found[1]), each, now_ns))
        return True

    def _await_release(self) -> None:
        """Wait until the queue has noticed that its workers are gone, and has back what they held. Raises `ServiceError`."""
        deadline_ns = self._clock.now_ns() + round(RELEASED_WITHIN_S * NS_PER_S)
        self._clock.sleep(RELEASED_AFTER_S)
        while (held := self._looker.look().held) and self._clock.now_ns() < deadline_ns:
            self._clock.sleep(DRAIN_EVERY_S)
        if held > 0:
            raise ServiceError("it still holds jobs for workers that are gone")

    def _spec(self) -> QueueSpec:
        return QueueSpec(form=self._scenario.job_form, name=self._names.queue, options=self._jobs.options)

    def _spec_queue(self) -> Queue:
        """The queue over a client of its own, for one thread."""
        return self._open(self._scenario.job_service).queue(self._spec())

    def _declare(self) -> None:
        """Make the queue, which is noted first, and once: what an attempt that failed has made would be there for the next one."""
        if not self._noted:
            beside = self._looker.beside() if isinstance(self._looker, MakesBeside) else ()
            self._deposit(self._scenario.job_service, self._spec(), beside)
            self._noted = True
        self._looker.declare()

    def _place(self) -> Effects:
        done = self._jobs.done
        if done.file is not None:
            return FileEffects(Path(self._names.done))
        if done.get is not None:
            process = done.process or self._scenario.asked_process
            return AppEffects(done.get, lambda: self._address(process), self._pattern)
        service = done.service or self._scenario.job_service
        spec = DoneSpec(kind=done.kind, name=done.query or self._names.done)
        if done.query is None:
            self._deposit(service, spec, ())
        return self._open(service).effects(spec)

    def _open(self, service: str) -> Client:
        client = self._client(service)
        self._clients.append(client)
        return client


def _line(number: int, told: Told, now_ns: int) -> JobTold:
    return JobTold(
        job=number,
        at_ns=now_ns,
        state=told.state,
        by=told.by,
        until_ns=now_ns + round(told.until_s * NS_PER_S) if told.until_s is not None else 0,
        deliveries=told.deliveries,
        redelivered=told.redelivered,
    )
