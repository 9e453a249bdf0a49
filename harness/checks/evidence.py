"""What the rows of the table of causes ask of a history, and what they say of it: one small function each.

There are three subjects. `Drops` are requests that one harm dropped on one replica in one way. A `Stop` is a signal that a replica got,
with what came of it. A `Start` is a replica that took too long, or never got healthy, with the one whose place it took.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from harness.checks.deaths import log_of
from harness.checks.drops import Drops
from harness.checks.facts import SAME_MOMENT_S, Facts, Fault, Life, Rows, signal_number
from harness.checks.job_facts import jobs_of
from harness.checks.metrics import dropped_knocks
from harness.checks.shells import Swallowed, main_of, manager_of, went_on_serving
from harness.checks.wording import count, listed
from harness.clock import NS_PER_S
from harness.outcome import Outcome
from harness.units import span

AT_ONCE_S: Final = 0.25
"""A main process that is gone so soon after the signal, with that signal's own status, did not handle it."""

EARLY_S: Final = 2.0
"""What fails within this time after a replica was called healthy, and never again, failed because it was not ready."""

FROM_THE_FIRST_S: Final = 0.4
"""So soon after it was called healthy it failed already, and not only when something else had happened."""

ENOUGH: Final = 5
"""So many answers afterwards show that it was ready then."""

_IN_USE: Final = re.compile(r"address (is )?already in use|EADDRINUSE|errno 98\b", re.IGNORECASE)
_LEFT_FILE: Final = re.compile(
    r"pid ?-?file|\.pid\b|lock ?-?file|\.lock\b|\.sock\b|already running|already locked|another instance|file exists|\bEEXIST\b",
    re.IGNORECASE,
)
LOG_LINES: Final = 5
"""So many lines from the end of a log are shown."""

_NAMED: Final = re.compile(r"(error|exception)\w*\]?:\s|\bfatal\b|\bpanic:", re.IGNORECASE)
_TELLING: Final = re.compile(r"error|exception|cannot|can't|denied|in use|no such|not.found|failed|unable", re.IGNORECASE)
_IDLE_TALK: Final = re.compile(
    r"""^[\W\d_TZ]*(INFO|DEBUG|TRACE|NOTICE)\b  # what goes as it should
    |^Node\.js\ v\d|^npm\ (ERR!|error)\ A\ complete\ log
    |^\s+at\s|^\s*File\ "  # frames
    |HTTP/\d(\.\d)?"\ [123]\d\d\b  # answers
    |^[\W_]*$""",
    re.VERBOSE,
)
_NPM: Final = re.compile(r"(^|[\s/'\"&;])(npm|npx|yarn|pnpm)(\.js)?\s")
_FOLDER: Final = re.compile(r"(^|\s|['\"])cd\s+[^&;]+(&&|;)")
_TRACEBACK: Final = re.compile(r"^Traceback \(most recent call last\)")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stop:
    """A signal that a replica got, and what is known of its end."""

    facts: Facts
    fault: Fault
    swallowed: Swallowed | None = None

    @property
    def life(self) -> Life:
        """The replica."""
        return self.fault.victim


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Start:
    """A replica whose start is to be explained."""

    facts: Facts
    life: Life

    @property
    def before(self) -> Life | None:
        """The replica whose place it took, or the last one of its kind that had ended."""
        return self.facts.predecessor(self.life)


# --- dropped requests -------------------------------------------------------------------------------------------------------


def killed_after_grace(drops: Drops) -> bool:
    """SIGKILL came at the end of the grace, and all of them ended after it."""
    return drops.fault is not None and drops.fault.killed is not None and drops.ended_ns[0] >= drops.fault.killed.at_ns


def left_descendants(drops: Drops) -> bool:
    """Descendants outlived the main process, and some of these requests did too."""
    exited = drops.life.exited
    return bool(drops.life.survived) and exited is not None and drops.ended_ns[1] > exited.at_ns + SAME_MOMENT_S * NS_PER_S


def in_backlog(drops: Drops) -> bool:
    """Never answered on connections of their own, while the listener was closed with connections still waiting to be accepted."""
    closed = drops.life.closed
    return closed is not None and closed.backlog > 0 and drops.reused == 0 and drops.only(Outcome.CLOSED)


def no_handler(drops: Drops) -> bool:
    """The exit status is that of the signal, and the process was gone at once; it is not known to have caught the signal."""
    fault, exited = drops.fault, drops.life.exited
    if fault is None or exited is None or fault.exit_s is None or fault.signal.disposition == "caught":
        return False
    return exited.status == 128 + signal_number(fault.signal.signal) and fault.exit_s <= AT_ONCE_S


def with_exit(drops: Drops) -> bool:
    """They ended with the process, or after it."""
    exited = drops.life.exited
    return exited is not None and drops.ended_ns[0] >= exited.at_ns - SAME_MOMENT_S * NS_PER_S


def before_exit(drops: Drops) -> bool:
    """All of them ended well before the main process did."""
    exited = drops.life.exited
    return exited is not None and drops.ended_ns[1] < exited.at_ns - SAME_MOMENT_S * NS_PER_S


def still_took_connections(drops: Drops) -> bool:
    """Some were on new connections, and knocks after the signal were not refused."""
    knocks = drops.life.knocks
    return drops.new > 0 and any(knock.result != "refused" for knock in knocks)


def died(drops: Drops) -> bool:
    """The replica ended by itself, and they with it."""
    return drops.life.died_by_itself and with_exit(drops)


def alone_on_the_way(drops: Drops) -> bool:
    """Closed on reused connections, while nothing was done to a replica that went on."""
    return drops.new == 0 and drops.only(Outcome.CLOSED) and not drops.life.died_by_itself


def gave_up(drops: Drops) -> bool:
    """Nothing came back: no answer in time, or no connection."""
    silent = {Outcome.TIMEOUT.value, Outcome.UNAVAILABLE.value}
    return drops.disturbance is not None and {name for name, _ in drops.outcomes} <= silent


def by_second_signal(drops: Drops) -> bool:
    """They ended after the stop signal had come a second time."""
    again = drops.fault.again if drops.fault else None
    return again is not None and drops.ended_ns[0] >= again.at_ns


def behind_reloader(drops: Drops) -> bool:
    """A reloader or a process manager got the signal, and it was gone before the grace was over."""
    return bool(manager_of(main_of(drops.life))) and drops.life.exited is not None


def looked_well(drops: Drops) -> bool:
    """The exit status says that all was well, and they ended with the process."""
    exited = drops.life.exited
    return exited is not None and exited.status == 0 and with_exit(drops)


def too_early(drops: Drops) -> bool:
    """All within the first moments of a replica that had just been called healthy; it answered the same requests after that, not before."""
    healthy_ns = drops.life.healthy_ns
    if drops.harm is not None or not healthy_ns or drops.life.died_by_itself:
        return False
    before, after = drops.answered
    from_the_first = drops.sent_ns[0] - healthy_ns <= FROM_THE_FIRST_S * NS_PER_S
    return from_the_first and drops.ended_ns[1] - healthy_ns <= EARLY_S * NS_PER_S and not before and after >= ENOUGH


def ended_by_signal(drops: Drops) -> bool:
    """The signal that the replica should live through ended it."""
    return drops.fault is not None and drops.life.ended_by is drops.fault.signal


def signal_of(drops: Drops) -> str:
    """The name of the signal that they are laid at the door of."""
    return drops.fault.signal.signal if drops.fault else "the signal"


def exit_words(drops: Drops) -> str:
    """``exited with status 0, 12 ms after SIGTERM``."""
    status = drops.life.exited.status if drops.life.exited else -1
    words = f"exited with status {status}" if status >= 0 else "exited"
    after_s = drops.fault.exit_s if drops.fault else None
    return words if after_s is None else f"{words}, {span(after_s)} after {signal_of(drops)}"


def grace_words(drops: Drops) -> str:
    """How long the grace was."""
    grace_s = drops.fault.signal.grace_s if drops.fault else 0.0
    return f"They were still under way at the end of the grace of {span(grace_s)}, when SIGKILL came."


def listener_words(drops: Drops) -> str:
    """``The listener still took new connections 412 ms after SIGTERM``."""
    taken = [knock.done_ns for knock in drops.life.knocks if knock.result != "refused"]
    after = f"{span(drops.fault.after_s(taken[-1]))} after" if drops.fault and taken else "after"
    return f"The listener still took new connections {after} {signal_of(drops)}"


def backlog_words(drops: Drops) -> str:
    """How many connections waited in the accept queue."""
    backlog = drops.life.closed.backlog if drops.life.closed else 0
    return f"They waited in the accept queue ({count(backlog, 'connection')}) when the listener was closed; the kernel reset them."


def survived_words(drops: Drops) -> str:
    """How many descendants went on."""
    left = sum(len(event.processes) for event in drops.life.survived)
    return f"The main process {exit_words(drops)}, but {count(left, 'descendant')} went on serving without it and had to be killed."


def lasted_words(drops: Drops) -> str:
    """How long the replica lacked what was taken from it."""
    return span(drops.disturbance.lasted_s) if drops.disturbance else "a while"


def oom_words(drops: Drops) -> str:
    """What the kernel killed."""
    exited, disturbance = drops.life.exited, drops.disturbance
    main = exited is not None and exited.oom and disturbance is not None and exited.at_ns <= disturbance.end_ns
    whom = "its main process" if main else "a process of it"
    detail = disturbance.taken.detail if disturbance else ""
    return f"Squeezed {detail}, the replica lacked memory: the kernel killed {whom}, and what was in flight there was lost for its client."


def second_words(drops: Drops) -> str:
    """When the second signal came, and how the process ended."""
    fault = drops.fault
    after = span(fault.after_s(fault.again.at_ns)) if fault and fault.again else "a while"
    return f"What {signal_of(drops)} had begun to drain was cut when it came a second time, {after} later: the process {exit_words(drops)}."


def early_words(drops: Drops) -> str:
    """Until when it failed, and what it answered after that."""
    after = span((drops.ended_ns[1] - drops.life.healthy_ns) / NS_PER_S)
    then = f"of the same requests it answered none before and {drops.answered[1]} after that"
    last = f"the last of them was {after} after {drops.life.replica} was healthy, and {then}"
    return f"The health check passed before the app was ready: {last}."


def never_else_words(drops: Drops) -> str:
    """Which requests, and how they were answered."""
    which = listed([name for name, _ in drops.requests])
    status = f" with {listed([status for status, _ in drops.statuses])}" if drops.statuses else " so"
    return f"{which} was never answered otherwise than{status} in this run, so no fault has a part in it."


def status_of(drops: Drops) -> int:
    """The exit status of their replica; -1 when it is not known."""
    return drops.life.exited.status if drops.life.exited else -1


def likewise_words(drops: Drops) -> str:
    """Which requests end so with no fault near."""
    which = listed([request for request, _ in drops.requests])
    return f"With no fault near {which} nearly always ended so, too: the fault has no part in it."


def not_resent_words(drops: Drops) -> str:
    """Which requests nobody may send twice."""
    which = listed([request for request, _ in drops.requests])
    return f"SIGKILL can't be answered, and {which} may not be sent twice (RFC 9110, section 9.2.2), so no retry saved it."


# --- stops ------------------------------------------------------------------------------------------------------------------


def by(kind: str) -> Callable[[Stop], bool]:
    """The signal ended in a shell, manager or init of that kind."""
    return lambda stop: stop.swallowed is not None and stop.swallowed.by == kind


def ignored(stop: Stop) -> bool:
    """New connections were served until SIGKILL."""
    return went_on_serving(stop.fault)


def open_at_kill(stop: Stop) -> Rows:
    """Attempts that were in flight on the replica when SIGKILL came."""
    killed, attempts = stop.fault.killed, stop.facts.history.attempts
    rows = stop.facts.by_replica.get(stop.life.replica)
    if killed is None or rows is None:
        return np.zeros(0, dtype=np.int64)
    sent, done = attempts.sent_ns[rows], attempts.done_ns[rows]
    found: Rows = rows[(sent > 0) & (sent <= killed.at_ns) & ((done == 0) | (done >= killed.at_ns))]
    return found


def jobs_in_hand(stop: Stop) -> int:
    """How many jobs the replica had in hand when SIGKILL came."""
    killed = stop.fault.killed
    if killed is None or stop.facts.scenario.jobs is None:
        return 0
    return len(jobs_of(stop.facts).in_hand(stop.life.replica, killed.at_ns))


def still_answering(stop: Stop) -> bool:
    """Requests were in flight when SIGKILL came."""
    return len(open_at_kill(stop)) > 0


def only_streams_open(stop: Stop) -> bool:
    """What was in flight when SIGKILL came were streams, all of it."""
    rows = open_at_kill(stop)
    return len(rows) > 0 and bool(stop.facts.streaming[rows].all())


def stays_idle(stop: Stop) -> bool:
    """It stopped listening, everything was answered, and it was still there when the grace was over."""
    killed, closed = stop.fault.killed, stop.life.closed
    shut = closed is not None and killed is not None and closed.at_ns < killed.at_ns
    knocks = [knock for knock in stop.life.knocks if killed and knock.done_ns <= killed.at_ns]
    return (shut or (bool(knocks) and knocks[-1].result == "refused")) and not still_answering(stop)


def only_port_open(stop: Stop) -> bool:
    """Connections were taken until SIGKILL, and nobody answered them."""
    killed = stop.fault.killed
    knocks = [knock for knock in stop.life.knocks if killed and knock.done_ns <= killed.at_ns]
    return bool(knocks) and knocks[-1].result in ("hung", "reset") and not still_answering(stop)


def port_kept(stop: Stop) -> bool:
    """One of those that outlived it holds the port."""
    return any(process.listening for event in stop.life.survived for process in event.processes)


def is_process_1(stop: Stop) -> bool:
    """It is process 1 of its container, with no init before it."""
    return stop.life.contained is not None and not stop.life.contained.init


def does(stop: Stop, *dispositions: str) -> bool:
    """The main process did one of these on the signal, by what was seen just before it; empty stands for not seen."""
    return stop.fault.signal.disposition in dispositions


def unheard_by_process_1(stop: Stop) -> bool:
    """It is process 1 of its container, and not known to do anything else on the signal than the default, which is nothing there."""
    return is_process_1(stop) and does(stop, "default", "")


def by_its_default_action(stop: Stop) -> bool:
    """The exit status is 128 plus the signal's number, and the signal is not known to be caught."""
    exited = stop.life.exited
    return exited is not None and exited.status == 128 + signal_number(stop.fault.signal.signal) and does(stop, "default", "")


def broke(stop: Stop) -> bool:
    """Its log has a traceback."""
    return any(_TRACEBACK.search(line) for line in log_of(stop.life))


def name_of(stop: Stop) -> str:
    """The signal's name."""
    return stop.fault.signal.signal


def busy_words(stop: Stop, noun: str = "request", state: str = "under way") -> str:
    """How many were under way, and the oldest of them."""
    rows, attempts = open_at_kill(stop), stop.facts.history.attempts
    killed_ns = stop.fault.killed.at_ns if stop.fault.killed else 0
    oldest = span((killed_ns - int(attempts.sent_ns[rows].min())) / NS_PER_S)
    were = "was" if len(rows) == 1 else "were"
    return (
        f"{count(len(rows), noun)} {were} still {state} when the grace of {span(stop.fault.signal.grace_s)} was over, "
        f"the oldest of them for {oldest}."
    )


def idle_words(stop: Stop) -> str:
    """When it stopped listening, and when it had answered everything."""
    fault = stop.fault
    closed = (
        f"It stopped listening {span(fault.after_s(stop.life.closed.at_ns))} after {name_of(stop)}"
        if stop.life.closed
        else "It stopped listening"
    )
    drained = (
        f", had answered all that was in flight after {span(fault.after_s(fault.drained_ns))}"
        if fault.drained_ns
        else ", had nothing to answer"
    )
    return f"{closed}{drained}, and did not exit: what kept it is no request."


def port_words(stop: Stop) -> str:
    """Which processes went on and hold the port."""
    held = [f"pid {process.pid} ({process.command})" for event in stop.life.survived for process in event.processes if process.listening]
    status = f"ended with status {stop.life.exited.status}" if stop.life.exited and stop.life.exited.status >= 0 else "ended"
    return (
        f"The main process ({main_of(stop.life)}) {status}, and {listed(held)} went on and holds the port: it is served by what nobody "
        "manages any more, and the next start on that port fails."
    )


def waited_in_queue(stop: Stop) -> bool:
    """Of those that were lost all can have waited to be accepted when the listener was closed."""
    closed = stop.life.closed
    return closed is not None and 0 < len(dropped_knocks(stop.facts, stop.fault)) <= closed.backlog


def queue_words(stop: Stop) -> str:
    """How many waited there, and what the kernel did."""
    waiting = count(stop.life.closed.backlog if stop.life.closed else 0, "connection")
    return f"{waiting} waited in the accept queue when the listener was closed, and the kernel reset what waits there."


def in_folder(stop: Stop) -> bool:
    """The command of its shell begins with a change of folder."""
    return _FOLDER.search(main_of(stop.life)) is not None


def by_npm(stop: Stop) -> bool:
    """Its command line starts a script of package.json."""
    return _NPM.search(main_of(stop.life)) is not None


def managed(stop: Stop) -> bool:
    """A reloader or a process manager is the main process, by its command line."""
    return bool(manager_of(main_of(stop.life)))


def manager_words(stop: Stop) -> str:
    """Which program got the signal, and what went on."""
    held = [f"pid {process.pid} ({process.command})" for event in stop.life.survived for process in event.processes if process.listening]
    went_on = f"ended, and {listed(held)}, which holds the port, went on" if held else "was there until SIGKILL, and so was what served"
    return f"The main process is {manager_of(main_of(stop.life))} and not the server: it got {name_of(stop)} and {went_on}."


def last_words(life: Life) -> str:
    """What it wrote of its end: where an app does not start or breaks, a line near the end of its log mostly says why."""
    lines = log_of(life)
    if not lines:
        return ""
    at = _telling(lines)
    where = f"The last line of {life.replica}'s log" if at == len(lines) - 1 else f"{life.replica}'s log says"
    return f"{where}: {lines[at].strip()[:200]}"


def log_block(lives: Sequence[Life]) -> tuple[str, ...]:
    """The last lines of the log of one of ``lives``, as they were written, and before them the line that tells most; logs/ has the rest."""
    life = next((life for life in lives if log_of(life)), None)
    if life is None:
        return ()
    lines = log_of(life)
    shown = sorted({_telling(lines), *range(max(0, len(lines) - LOG_LINES), len(lines))})
    return tuple(f"{life.replica} log: {lines[at]}" for at in shown)


def _telling(lines: Sequence[str]) -> int:
    """The place of the last line that names an error; else of one that speaks of something that went wrong; else of the last word."""
    for pattern in (_NAMED, _TELLING, re.compile("")):
        found = [at for at, line in enumerate(lines) if pattern.search(line) and not _IDLE_TALK.search(line)]
        if found:
            return found[-1]
    return len(lines) - 1


def started_words(stop: Stop) -> str:
    """``150 ms after it was asked for, before it listened``."""
    after = span((stop.fault.signal.at_ns - stop.life.spawned_ns) / NS_PER_S)
    listened = stop.life.listening_ns and stop.life.listening_ns <= stop.fault.signal.at_ns
    where = "while it listened and was not healthy yet" if listened else "before it listened"
    return f"while it started, {after} after it was asked for and {where}"


def default_words(stop: Stop) -> str:
    """With which status it ended."""
    status = 128 + signal_number(name_of(stop))
    return f"Nothing handles {name_of(stop)}, and its default action ends a process: it ended with status {status}."


def ended_words(stop: Stop) -> str:
    """How it ended, and how long after the signal."""
    status = stop.life.exited.status if stop.life.exited else -1
    return f"It exited with status {status}, {span(stop.fault.exit_s or 0.0)} after {name_of(stop)}."


# --- starts -----------------------------------------------------------------------------------------------------------------


def held_by_orphans(start: Start) -> bool:
    """The port was in use, and what outlived the replica before it holds one."""
    return _port_in_use(start) and bool(_orphans_of(start))


def _orphans_of(start: Start) -> list[str]:
    before = start.before
    events = before.survived if before else ()
    return [f"pid {process.pid} ({process.command})" for event in events for process in event.processes if process.listening]


def _port_in_use(start: Start) -> bool:
    failed = start.life.failed
    return failed is not None and (failed.reason == "port-taken" or _line(start, _IN_USE) != "")


def _line(start: Start, pattern: re.Pattern[str]) -> str:
    """The newest line of its log that matches."""
    return next((line.strip()[:200] for line in reversed(log_of(start.life)) if pattern.search(line)), "")


def made_itself_a_daemon(start: Start) -> bool:
    """It ended with status 0 and left processes behind."""
    exited, failed = start.life.exited, start.life.failed
    return exited is not None and exited.status == 0 and failed is not None and len(failed.left) > 0


def left_file(start: Start) -> bool:
    """Its log speaks of a pid, lock or socket file that is there, and the replica before it was killed."""
    before = start.before
    killed = before is not None and any(each.signal == "SIGKILL" and each.delivered for each in before.signals)
    return killed and _line(start, _LEFT_FILE) != ""


def orphan_words(start: Start) -> str:
    """Which processes hold the port."""
    before = start.before.replica if start.before else "a replica"
    return f"{listed(_orphans_of(start))} outlived the main process of {before} and still held the port."


def daemon_words(start: Start) -> str:
    """Which processes went on without the one that was started."""
    left = start.life.failed.left if start.life.failed else ()
    names = listed([f"pid {process.pid} ({process.command})" for process in left])
    ended = f"the process that was started ({main_of(start.life)}) ended with status 0"
    return f"It made itself a daemon: {ended}, and {names} went on without it."


def file_words(start: Start) -> str:
    """What its log says of the file."""
    before = start.before.replica if start.before else "a replica"
    line = _line(start, _LEFT_FILE)
    return f"{before} was killed and could not remove the file that says that it runs; its successor found it: {line}"


def inward(start: Start) -> bool:
    """Its port is open on its own loopback address only."""
    return start.life.failed is not None and "loopback address only" in start.life.failed.detail


def own_check(start: Start) -> bool:
    """The health check of its image did not pass."""
    return start.life.failed is not None and "its own health check" in start.life.failed.detail


def port_in_use(start: Start) -> bool:
    """Its log says that an address was in use."""
    return _line(start, _IN_USE) != ""


def port_in_use_words(start: Start) -> str:
    """What its log says of the address."""
    return f"What it wanted to bind was held by another program or replica; {start.life.replica}'s log says: {_line(start, _IN_USE)}"


def told_of(start: Start, words: str) -> bool:
    """What was seen when it was given up says so."""
    return start.life.failed is not None and re.search(words, start.life.failed.detail) is not None


def detail_words(start: Start) -> str:
    """What was seen when it was given up, as a sentence; how long was waited stands in the evidence."""
    detail = start.life.failed.detail.partition(" (waited ")[0].partition("; ")[0] if start.life.failed else ""
    return f"{detail[:1].upper()}{detail[1:]}." if detail else ""


def start_words(start: Start) -> str:
    """The last thing that it wrote."""
    return last_words(start.life)


# --- slow starts ------------------------------------------------------------------------------------------------------------


def until_listening_s(start: Start) -> float:
    """Seconds of its own until it listened; 0 when nobody saw it."""
    life = start.life
    return (life.listening_ns - life.app_began_ns) / NS_PER_S if life.listening_ns else 0.0


def until_healthy_s(start: Start) -> float:
    """Seconds of its own until it was healthy; 0 when it never was."""
    return (start.life.healthy_ns - start.life.app_began_ns) / NS_PER_S if start.life.healthy_ns else 0.0


def imports_took_it(start: Start) -> bool:
    """Imports took at least half as long as the whole start."""
    imported = start.life.imported
    return imported is not None and 2 * imported.total_ns >= until_healthy_s(start) * NS_PER_S > 0


def health_took_it(start: Start) -> bool:
    """More than half of the time passed after it had begun to listen."""
    return 0 < 2 * until_listening_s(start) < until_healthy_s(start)


def listening_took_it(start: Start) -> bool:
    """At least half of the time passed before it listened."""
    return until_healthy_s(start) > 0 and 2 * until_listening_s(start) >= until_healthy_s(start)


def imports_told(start: Start) -> bool:
    """It told its imports, so it is a Python app that can be asked for them."""
    return listening_took_it(start) and start.life.imported is not None


def import_words(start: Start) -> str:
    """How long imports took, and which took longest."""
    imported = start.life.imported
    top = [f"{each.slowest or each.name} {span(each.self_ns / NS_PER_S)}" for each in imported.top[:3]] if imported else []
    total = span(imported.total_ns / NS_PER_S) if imported else ""
    healthy = span(until_healthy_s(start))
    whose = "those of a start like it, apart from the run," if imported and imported.apart else "its processes"
    return f"{start.life.replica} took {healthy} until it was healthy; {whose} spent {total} on imports, most on {listed(top)}."


def health_words(start: Start) -> str:
    """When it listened and when it was healthy."""
    listened, healthy = until_listening_s(start), until_healthy_s(start)
    return f"{start.life.replica} listened after {span(listened)}, and its health check passed only {span(healthy - listened)} later."


def listening_words(start: Start) -> str:
    """When it listened."""
    return f"{start.life.replica} took {span(until_listening_s(start))} of its {span(until_healthy_s(start))} before it listened."
