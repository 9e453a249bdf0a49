"""Why something failed and what to change: one visible table, in which every row names the evidence that it needs.

The functions here try the rows of a finding's name from top to bottom; the first whose evidence is there gives cause and cure. When none
fits, nothing is said: a guess costs its reader more time than silence. The evidence itself is in `harness.checks.evidence`;
docs/causes.md is this table for people. What is said of jobs stands in a table of its own, `harness.checks.job_causes`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from harness.checks import drops as names
from harness.checks import evidence
from harness.checks.drops import Drops
from harness.checks.evidence import (
    Start,
    Stop,
    alone_on_the_way,
    backlog_words,
    before_exit,
    behind_reloader,
    by_second_signal,
    died,
    early_words,
    ended_by_signal,
    exit_words,
    gave_up,
    grace_words,
    in_backlog,
    killed_after_grace,
    lasted_words,
    left_descendants,
    listener_words,
    looked_well,
    never_else_words,
    no_handler,
    oom_words,
    second_words,
    signal_of,
    status_of,
    still_took_connections,
    survived_words,
    too_early,
    with_exit,
)
from harness.checks.shells import main_of, manager_of
from harness.checks.wording import count
from harness.outcome import Outcome

E = TypeVar("E")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause(Generic[E]):
    """One row; ``E`` is what it speaks of: `Drops`, a `Stop`, a `Start`, or the fate of a job.

    Attributes:
        name: The finding's name.
        needs: The evidence, in words.
        fits: Whether it is there.
        cause: Says why, with numbers.
        cure: What to change.
    """

    name: str
    needs: str
    fits: Callable[[E], bool]
    cause: Callable[[E], str]
    cure: str


def explain(drops: Drops) -> tuple[str, str]:
    """Cause and cure of ``drops``, both empty when the evidence says neither."""
    return first_that_fits(OF_DROPS, drops.name, drops)


def explain_stop(name: str, stop: Stop) -> tuple[str, str]:
    """The same of what was found of a stop."""
    return first_that_fits(OF_STOPS, name, stop)


def explain_start(name: str, start: Start) -> tuple[str, str]:
    """The same of what was found of a start."""
    return first_that_fits(OF_STARTS, name, start)


def first_that_fits(rows: Sequence[Cause[E]], name: str, subject: E) -> tuple[str, str]:
    """Cause and cure of the first row of ``name`` whose evidence is there; both empty when there is none."""
    for row in rows:
        if row.name == name and row.fits(subject):
            return row.cause(subject), row.cure
    return "", ""


NO_MANAGER: Final = (
    "Start the server itself as the main process (exec form, exec): reloaders and process managers are for development, or need to be told "
    "to hand the signal on and wait."
)

_WAIT: Final = (
    "Handle the signal: close the listener, let what is in flight be answered, then exit. Servers call this their graceful mode; "
    "make sure that the signal reaches the server itself."
)
_RETRY: Final = "Let the router retry idempotent requests (retries: in load), as load balancers do, or make clients retry."
_ROUTE_AROUND: Final = (
    "Let the router take a replica out that does not answer (a shorter health check, outlier ejection), and give requests a time-out "
    "with a retry of idempotent ones (timeout: and retries: in load)."
)
LISTENER_CURE: Final = (
    "Go on serving until the router has learned of the stop (drain: or a preStop sleep of that length), or close the listener as soon "
    "as the signal comes, so that new connections are refused and go elsewhere."
)

NO_NPM: Final = (
    "Start the server itself: node server.js as the command (with working_dir: instead of cd), or exec node server.js as the script in "
    "package.json. npm and its like run that in a shell, which passes no signal on."
)

_BREAKS_WHILE_STOPPING: Final = "Mend what breaks while the app stops; if it is meant to end so, write its exit_status in expect."
_NOT_LISTENING: Final = "Nothing listens: bind the port that is handed in as PORT and {{port}}, {where}, or raise start_period."

LIKEWISE_CURE: Final = "See what is found of those with no fault near: dropped-without-fault, truncated-answers or timeouts."

OF_DROPS: Final[tuple[Cause[Drops], ...]] = (
    *(
        Cause(
            name=name,
            needs="they ended as at least nine of ten of the same requests did with no fault near",
            fits=lambda drops: drops.likewise,
            cause=evidence.likewise_words,
            cure=LIKEWISE_CURE,
        )
        for name in (
            names.DROPPED_IN_FLIGHT,
            names.DROPPED_AFTER_SIGNAL,
            names.KEEP_ALIVE_RACE,
            names.LOST_BY_KILL,
            names.DROPPED_AT_SIGNAL,
            names.DROPPED_WHILE_PAUSED,
            names.DROPPED_WHILE_CUT_OFF,
            names.DROPPED_WHILE_SQUEEZED,
        )
    ),
    *(
        Cause(
            name=name,
            needs="all were cut in the middle of an answer, and other answers of the run were cut with no fault near",
            fits=lambda drops: drops.only(Outcome.TRUNCATED) and names.TRUNCATED_ANSWERS in drops.beside,
            cause=lambda _: "Answers of this app are cut with no fault near as well, so the stop may have no part in it.",
            cure="See truncated-answers.",
        )
        for name in (names.DROPPED_IN_FLIGHT, names.DROPPED_AFTER_SIGNAL)
    ),
    Cause(
        name=names.DROPPED_IN_FLIGHT,
        needs="SIGKILL was sent at the end of the grace, and all of them ended after it",
        fits=killed_after_grace,
        cause=grace_words,
        cure="Raise stop_grace_period above the slowest request, or bound how long a request may take while stopping.",
    ),
    Cause(
        name=names.DROPPED_IN_FLIGHT,
        needs="the stop signal came a second time, and all of them ended after that",
        fits=by_second_signal,
        cause=second_words,
        cure="Let a second signal change nothing while the first one's work is under way: ignore it once the handler runs.",
    ),
    Cause(
        name=names.DROPPED_IN_FLIGHT,
        needs="descendants outlived the main process, and some of these requests did too",
        fits=left_descendants,
        cause=survived_words,
        cure="Make the main process the server (exec in the shell), or let it pass the signal on and wait for its children.",
    ),
    Cause(
        name=names.DROPPED_IN_FLIGHT,
        needs="the main process is a reloader or a process manager by its command line, and it ended before its grace was over",
        fits=behind_reloader,
        cause=lambda drops: (
            f"The main process is {manager_of(main_of(drops.life))} and not the server: it got {signal_of(drops)} and "
            f"{exit_words(drops)}, while the server still had them to answer."
        ),
        cure=NO_MANAGER,
    ),
    Cause(
        name=names.DROPPED_IN_FLIGHT,
        needs="the exit status is 128 plus the signal's number, and the process was gone at once",
        fits=no_handler,
        cause=lambda drops: f"Nothing handles {signal_of(drops)}, so it ended the process at once: it {exit_words(drops)}.",
        cure=_WAIT,
    ),
    Cause(
        name=names.DROPPED_IN_FLIGHT,
        needs="all on new connections without a byte of an answer, and the accept queue was not empty when the listener closed",
        fits=in_backlog,
        cause=backlog_words,
        cure="Accept what waits before closing the listener, or stop new requests first: drain: in routing, a preStop sleep on Kubernetes.",
    ),
    Cause(
        name=names.DROPPED_IN_FLIGHT,
        needs="all of them timed out",
        fits=lambda drops: drops.only(Outcome.TIMEOUT),
        cause=lambda drops: f"Their connections stayed open after {signal_of(drops)}, but no whole answer came in time.",
        cure="Look at what the app does with requests that it has begun when the signal comes; its handler may stop their workers.",
    ),
    Cause(
        name=names.DROPPED_IN_FLIGHT,
        needs="the exit status is 0, and they ended at the same moment as the main process, or later",
        fits=looked_well,
        cause=lambda drops: f"It looks like an orderly end and is none: the process {exit_words(drops)}, with requests still in flight.",
        cure=_WAIT,
    ),
    Cause(
        name=names.DROPPED_IN_FLIGHT,
        needs="they ended at the same moment as the main process, or later",
        fits=with_exit,
        cause=lambda drops: f"The process {exit_words(drops)}, without waiting for what was in flight.",
        cure=_WAIT,
    ),
    Cause(
        name=names.DROPPED_IN_FLIGHT,
        needs="all of them ended well before the main process did",
        fits=before_exit,
        cause=lambda drops: f"The app closed their connections after {signal_of(drops)} while it went on; it {exit_words(drops)}.",
        cure=_WAIT,
    ),
    Cause(
        name=names.DROPPED_AFTER_SIGNAL,
        needs="some on new connections while knocks were not refused, and all ended well before the main process did",
        fits=lambda drops: still_took_connections(drops) and before_exit(drops),
        cause=lambda drops: f"{listener_words(drops)}, and the app closed them without a whole answer.",
        cure=LISTENER_CURE,
    ),
    Cause(
        name=names.DROPPED_AFTER_SIGNAL,
        needs="some on new connections, and knocks after the signal were not refused",
        fits=still_took_connections,
        cause=lambda drops: f"{listener_words(drops)}, and they were cut when it {exit_words(drops)}.",
        cure=LISTENER_CURE,
    ),
    Cause(
        name=names.DROPPED_AFTER_SIGNAL,
        needs="all on reused connections, and they ended with the main process",
        fits=lambda drops: drops.new == 0 and with_exit(drops),
        cause=lambda drops: f"Kept-alive connections went on bringing requests until the process {exit_words(drops)}.",
        cure="Answer with Connection: close once the signal has come, and wait for what is in flight; or drain first (drain: in routing).",
    ),
    Cause(
        name=names.DROPPED_AFTER_SIGNAL,
        needs="they ended with the main process",
        fits=with_exit,
        cause=lambda drops: f"They reached it after {signal_of(drops)} and were cut when it {exit_words(drops)}.",
        cure=LISTENER_CURE,
    ),
    Cause(
        name=names.KEEP_ALIVE_RACE,
        needs="closed before a byte of an answer, on a reused connection, sent after the signal",
        fits=lambda drops: drops.new == 0,
        cause=lambda drops: f"After {signal_of(drops)} the server closed idle kept-alive connections on which a request was on its way.",
        cure="Drain first (drain: in routing, a preStop sleep), or answer with Connection: close before closing; or: " + _RETRY,
    ),
    Cause(
        name=names.DROPPED_AT_SIGNAL,
        needs="the replica ended by a signal that it should live through",
        fits=ended_by_signal,
        cause=lambda drops: f"{signal_of(drops)} ended the process instead of what it should do: it {exit_words(drops)}.",
        cure="See ended-by-signal.",
    ),
    Cause(
        name=names.DROPPED_AT_SIGNAL,
        needs="the replica lived on",
        fits=lambda drops: drops.fault is not None,
        cause=lambda drops: f"The app cut them when {signal_of(drops)} came, though the replica lived on.",
        cure="Let old workers answer what they have before new ones take their place, and keep the listener open meanwhile.",
    ),
    Cause(
        name=names.LOST_BY_KILL,
        needs="the load retries already, and all of them are of methods that may not be sent twice",
        fits=lambda drops: drops.not_resent and drops.fault is not None and drops.fault.is_kill,
        cause=evidence.not_resent_words,
        cure=(
            "Make it idempotent (PUT, or an idempotency key), leave it out of this load, or allow so many: dropped_requests <= N in expect."
        ),
    ),
    Cause(
        name=names.LOST_BY_KILL,
        needs="the fault is a SIGKILL",
        fits=lambda drops: drops.fault is not None and drops.fault.is_kill,
        cause=lambda _: "SIGKILL can't be answered: what is in flight on a killed replica is lost for its client.",
        cure=_RETRY,
    ),
    Cause(
        name=names.DROPPED_WHILE_PAUSED,
        needs="all of them got no answer or no connection in time",
        fits=gave_up,
        cause=lambda drops: f"The replica hung for {lasted_words(drops)}, the router went on sending to it, and their clients gave up.",
        cure=_ROUTE_AROUND,
    ),
    Cause(
        name=names.DROPPED_WHILE_PAUSED,
        needs="some of their connections were closed or their answers cut",
        fits=lambda drops: drops.disturbance is not None,
        cause=lambda drops: f"The app cut them after it had hung for {lasted_words(drops)}.",
        cure="Look for time-outs inside the app that run out while it hangs, such as the heartbeat of workers; its log may say.",
    ),
    Cause(
        name=names.DROPPED_WHILE_CUT_OFF,
        needs="all of them met nothing but silence",
        fits=gave_up,
        cause=lambda drops: (
            f"The replica could not be reached for {lasted_words(drops)}, the router went on sending to it, and their clients gave up."
        ),
        cure=_ROUTE_AROUND,
    ),
    Cause(
        name=names.DROPPED_WHILE_CUT_OFF,
        needs="some of their connections were lost",
        fits=lambda drops: drops.disturbance is not None,
        cause=lambda drops: f"Their connections did not live through the {lasted_words(drops)} without a network.",
        cure=_RETRY,
    ),
    Cause(
        name=names.LOST_BY_OOM,
        needs="the kernel killed in the replica while the harness had lowered its limit of memory",
        fits=lambda drops: drops.disturbance is not None,
        cause=oom_words,
        cure=f"{_RETRY} Or give it room (mem_limit), and bound what its workers may use.",
    ),
    Cause(
        name=names.DROPPED_WHILE_SQUEEZED,
        needs="the harness had lowered the limit of memory, and nothing was killed",
        fits=lambda drops: drops.disturbance is not None,
        cause=lambda _: "The kernel killed nothing, but the replica did not answer with so little memory.",
        cure="Give it room (mem_limit), and bound what its workers may use.",
    ),
    Cause(
        name=names.UNAVAILABLE,
        needs="there was no replica to go to, and no fault near",
        fits=lambda drops: not drops.replica and drops.harm is None,
        cause=lambda _: "No replica was up to take them, though none was being stopped.",
        cure="Look for why the replicas were gone, such as died-by-itself or a step that scaled to 0.",
    ),
    Cause(
        name=names.UNAVAILABLE,
        needs="there was no replica to go to while something was being done to one",
        fits=lambda drops: not drops.replica,
        cause=lambda _: "No other replica was up to take them.",
        cure="Run more replicas (replicas: in target, 1 by default), or start the new one before the old one stops (order: start-first).",
    ),
    Cause(
        name=names.UNAVAILABLE,
        needs="the last replica that they tried had just been stopped",
        fits=lambda drops: drops.fault is not None and drops.fault.victim.replica == drops.replica,
        cause=lambda _: "The last replica that they tried was being stopped and refused them; there was no other left.",
        cure="Run more replicas (replicas: in target, 1 by default), or start the new one before the old one stops (order: start-first).",
    ),
    Cause(
        name=names.UNAVAILABLE,
        needs="the last replica that they tried had ended by itself",
        fits=died,
        cause=lambda _: "The replica had ended by itself, and no other one took them.",
        cure="See died-by-itself.",
    ),
    *(
        Cause(
            name=name,
            needs="they are all there is of their requests: none of those ended otherwise in the whole run",
            fits=lambda drops: drops.never_else,
            cause=never_else_words,
            cure="Look into the app's log for what it does with them, or mend path, method or body in load.",
        )
        for name in (names.ERRORS, names.REJECTED, names.WRONG_ANSWERS)
    ),
    *(
        Cause(
            name=name,
            needs="within 2 s after a replica became healthy, with no fault near; it answered the same requests after that, and not before",
            fits=too_early,
            cause=early_words,
            cure="Let the health check try what requests need (connections, caches, models), and answer 200 only when all is there.",
        )
        for name in (
            names.ERRORS,
            names.REJECTED,
            names.WRONG_ANSWERS,
            names.TIMEOUTS,
            names.TRUNCATED_ANSWERS,
            names.DROPPED_WITHOUT_FAULT,
        )
    ),
    Cause(
        name=names.REJECTED,
        needs="answered 503 or 429 by a replica that was being stopped",
        fits=lambda drops: drops.fault is not None,
        cause=lambda drops: f"The replica took them after {signal_of(drops)} and answered that it is stopping.",
        cure="Refuse connections instead of answering 503, so that the router goes elsewhere; or let the router retry on 503.",
    ),
    Cause(
        name=names.ERRORS,
        needs="answered 5xx by a replica that was being stopped",
        fits=lambda drops: drops.fault is not None,
        cause=lambda _: "The replica answered with an error while it was being stopped.",
        cure="Close what requests need (pools, connections to stores) only after the last request is answered.",
    ),
    *(
        Cause(
            name=name,
            needs="the replica ended by itself at that moment",
            fits=died,
            cause=lambda drops: f"The replica ended by itself at that moment, with status {status_of(drops)}.",
            cure="See died-by-itself.",
        )
        for name in (names.DROPPED_WITHOUT_FAULT, names.TRUNCATED_ANSWERS)
    ),
    Cause(
        name=names.DROPPED_WITHOUT_FAULT,
        needs="no request was answered as expected in the whole run",
        fits=lambda drops: drops.unanswered and not drops.life.died_by_itself,
        cause=lambda _: "No request was answered in this whole run: load and app do not speak the same, or not of the same.",
        cure=(
            "Look at what the app expects: tls: true in its target where it serves HTTPS (and none where it does not), its port "
            "({port}), and path and method in load; try one with curl."
        ),
    ),
    Cause(
        name=names.DROPPED_WITHOUT_FAULT,
        needs="closed before a byte of an answer, all on reused connections, with no fault near",
        fits=alone_on_the_way,
        cause=lambda _: "The server closed kept-alive connections on which a request was on its way, though nobody had stopped it.",
        cure="Raise the server's keep-alive time-out above the pause between two requests of a client; or: " + _RETRY,
    ),
    Cause(
        name=names.TRUNCATED_ANSWERS,
        needs="cut in the middle of an answer by a replica that went on running",
        fits=lambda drops: drops.harm is None and not drops.life.died_by_itself,
        cause=lambda _: "The app closed the connection in the middle of its answer, though nothing was done to the replica.",
        cure="Look for a worker that ended, a time-out or an exception inside the app while it writes an answer; its log may say.",
    ),
    Cause(
        name=names.UNFINISHED,
        needs="the load had waited for the scenario's time-out when it ended",
        fits=lambda _: True,
        cause=lambda _: "They were still under way when the load ended, which waits for the time-out of a request.",
        cure="Look at what the app does with them; shorten timeout: in load to see them time out.",
    ),
)
"""Why requests are dropped."""


def _shell_words(stop: Stop) -> str:
    return f"The main process is a shell, and a shell does not pass {evidence.name_of(stop)} on to the command that it runs."


OF_STOPS: Final[tuple[Cause[Stop], ...]] = (
    Cause(
        name="new-connections-dropped",
        needs="no more were lost than waited in the accept queue when the listener was closed",
        fits=evidence.waited_in_queue,
        cause=evidence.queue_words,
        cure="Accept what waits before closing the listener, or let nothing new come: drain: in routing, a preStop sleep on Kubernetes.",
    ),
    Cause(
        name="new-connections-dropped",
        needs="new connections were taken after the signal and lost before the router knew of it",
        fits=lambda _: True,
        cause=lambda _: "The port was open after the signal, but nobody served what connected to it.",
        cure=LISTENER_CURE,
    ),
    *(
        Cause(
            name=name,
            needs=f"the command runs a script of package.json (npm, npx, yarn, pnpm){also}",
            fits=fits,
            cause=cause,
            cure=NO_NPM,
        )
        for name, also, fits, cause in (
            ("signal-swallowed-by-shell", " in a shell", lambda stop: evidence.by("command")(stop) and evidence.by_npm(stop), _shell_words),
            (
                "survivors",
                ", and a process that outlived it holds the port",
                lambda stop: evidence.by_npm(stop) and evidence.managed(stop) and evidence.port_kept(stop),
                evidence.manager_words,
            ),
            (
                "killed-after-grace",
                ", and new connections were served until SIGKILL",
                lambda stop: evidence.by_npm(stop) and evidence.managed(stop) and evidence.ignored(stop),
                evidence.manager_words,
            ),
        )
    ),
    Cause(
        name="signal-swallowed-by-shell",
        needs="the main process is a shell whose command begins with cd, and the app outlived it, or the shell had to be killed",
        fits=lambda stop: evidence.by("command")(stop) and evidence.in_folder(stop),
        cause=_shell_words,
        cure="Write working_dir: with that folder and leave cd out, so that the command needs no shell; or put exec before the server.",
    ),
    Cause(
        name="signal-swallowed-by-shell",
        needs="the main process is a shell that runs a command, and the app outlived it, or the shell had to be killed",
        fits=evidence.by("command"),
        cause=_shell_words,
        cure="Write exec before the command, so that it takes the shell's place, or write the command as a list, which needs no shell.",
    ),
    Cause(
        name="signal-not-forwarded",
        needs="process 1 of a container is a shell with a script, and the app did not hear of the stop",
        fits=evidence.by("script"),
        cause=lambda stop: (
            f"Process 1 is a shell that runs the app as its child ({main_of(stop.life)}), and a shell does not pass "
            f"{evidence.name_of(stop)} on."
        ),
        cure='End the script with exec "$@", or exec and the command, so that the app takes the place of the shell.',
    ),
    Cause(
        name="signal-not-forwarded",
        needs="process 1 of a container does not hold the port, and its child, which does, served until SIGKILL",
        fits=evidence.by("init"),
        cause=lambda stop: (
            f"Process 1 ({main_of(stop.life)}) only started the app, which holds the port as its child, and did not hand "
            f"{evidence.name_of(stop)} on to it."
        ),
        cure="Let process 1 hand its signals on, or let it become the app (exec); an init such as tini (init: true) does so for one child.",
    ),
    Cause(
        name="killed-after-grace",
        needs="the main process is a reloader or a process manager by its command line, and new connections were served until SIGKILL",
        fits=lambda stop: evidence.managed(stop) and evidence.ignored(stop),
        cause=evidence.manager_words,
        cure=NO_MANAGER,
    ),
    Cause(
        name="killed-after-grace",
        needs="the main process ignored the signal when it came (SIG_IGN), and the last new connection before SIGKILL was served",
        fits=lambda stop: evidence.ignored(stop) and evidence.does(stop, "ignored"),
        cause=lambda stop: (
            f"{evidence.name_of(stop)} was ignored by the main process (SIG_IGN, which it set itself or inherited from what started it): "
            "it went on serving new requests until SIGKILL."
        ),
        cure="Handle the signal; after a parent that ignores it (nohup, trap '' TERM), not even the default action is left without that.",
    ),
    Cause(
        name="killed-after-grace",
        needs="process 1 of a container had no handler for the signal, and the last new connection before SIGKILL was served",
        fits=lambda stop: evidence.ignored(stop) and evidence.is_process_1(stop) and evidence.does(stop, "default"),
        cause=lambda stop: (
            f"The main process has no handler for {evidence.name_of(stop)} and is process 1 of its container, for which there is no "
            "default action (pid_namespaces(7)): it went on serving new requests until SIGKILL."
        ),
        cure="Install a handler, or put an init before the app (init: true), so that the app is not process 1.",
    ),
    Cause(
        name="killed-after-grace",
        needs="the last new connection before SIGKILL was served",
        fits=evidence.ignored,
        cause=lambda stop: f"{evidence.name_of(stop)} was ignored: it went on serving new requests until SIGKILL.",
        cure="Handle the signal. Without a handler it is ignored by process 1 of a container, and by a process whose parent ignored it.",
    ),
    Cause(
        name="killed-after-grace",
        needs="streams were open on the replica when SIGKILL came, and no other request was in flight",
        fits=evidence.only_streams_open,
        cause=lambda stop: evidence.busy_words(stop, "stream", "open"),
        cure=(
            "End streams at the signal: of server-sent events the body, of a WebSocket with close code 1001 or 1012. Their clients connect "
            "again; no stop_grace_period is long enough for them."
        ),
    ),
    Cause(
        name="killed-after-grace",
        needs="jobs were in hand on the replica when SIGKILL came",
        fits=lambda stop: evidence.jobs_in_hand(stop) > 0,
        cause=lambda stop: f"It still worked on {count(evidence.jobs_in_hand(stop), 'job')} when the grace was over and SIGKILL came.",
        cure="Give the job in hand back on SIGTERM when it can't be finished in time, or raise stop_grace_period above the longest job.",
    ),
    Cause(
        name="killed-after-grace",
        needs="requests were in flight on the replica when SIGKILL came",
        fits=evidence.still_answering,
        cause=evidence.busy_words,
        cure="Raise stop_grace_period above the longest request, or bound how long a request may take while stopping.",
    ),
    Cause(
        name="killed-after-grace",
        needs="it had stopped listening and answered everything, and was still there when the grace was over",
        fits=evidence.stays_idle,
        cause=evidence.idle_words,
        cure=(
            "Let the handler end the process: close pools and loops, make threads daemons or join them with a time-out, then exit; "
            "its last log lines may show what it waited for."
        ),
    ),
    Cause(
        name="killed-after-grace",
        needs="new connections were taken until SIGKILL, and not served",
        fits=evidence.only_port_open,
        cause=lambda stop: f"The port stayed open after {evidence.name_of(stop)}, but nobody answered there: the stop hangs half-way.",
        cure="Look for a handler that waits for what it has itself stopped (a lock, a thread, a worker); its last log lines may say.",
    ),
    Cause(
        name="killed-after-grace",
        needs="SIGKILL was sent at the end of the grace, and nobody knows what it did until then",
        fits=lambda _: True,
        cause=lambda stop: f"The stop that {evidence.name_of(stop)} began did not come to its end.",
        cure="Bound the stop inside the app below stop_grace_period, or raise that; the last log lines may show what it waited for.",
    ),
    Cause(
        name="survivors",
        needs="the main process is a reloader or a process manager by its command line, and a process that outlived it holds the port",
        fits=lambda stop: evidence.managed(stop) and evidence.port_kept(stop),
        cause=evidence.manager_words,
        cure=NO_MANAGER,
    ),
    Cause(
        name="survivors",
        needs="a process that outlived the main process holds the port",
        fits=evidence.port_kept,
        cause=evidence.port_words,
        cure=(
            "Make the server itself the main process, or let the main process end and wait for its workers; let workers end with their "
            "parent (PR_SET_PDEATHSIG, or by noticing that it is gone)."
        ),
    ),
    Cause(
        name="survivors",
        needs="descendants were there a second after the main process had ended",
        fits=lambda _: True,
        cause=lambda _: "The main process ended without ending the processes that it, or one of them, had started.",
        cure="End and wait for child processes before exiting; on Linux PR_SET_PDEATHSIG ends them with their parent even then.",
    ),
    Cause(
        name="crashed-while-stopping",
        needs="another signal than the stop signal ended it, and it left a log",
        fits=lambda stop: bool(evidence.last_words(stop.life)),
        cause=lambda stop: evidence.last_words(stop.life),
        cure=_BREAKS_WHILE_STOPPING,
    ),
    Cause(
        name="crashed-while-stopping",
        needs="another signal than the stop signal ended it",
        fits=lambda _: True,
        cause=lambda _: "",
        cure=_BREAKS_WHILE_STOPPING,
    ),
    Cause(
        name="ignored-while-starting",
        needs="the main process ignored the signal when it came (SIG_IGN), and SIGKILL was needed at the end of the grace",
        fits=lambda stop: evidence.does(stop, "ignored"),
        cause=lambda stop: (
            f"{evidence.name_of(stop)} came {evidence.started_words(stop)}, and the main process ignored it until SIGKILL "
            "(SIG_IGN, which it set itself or inherited from what started it)."
        ),
        cure="Keep the signal's default action until the app is ready; where a parent ignored it, set that or a handler first of all.",
    ),
    Cause(
        name="ignored-while-starting",
        needs="it is process 1 of its container, without an init or a handler that was seen, and SIGKILL was needed",
        fits=evidence.unheard_by_process_1,
        cause=lambda stop: (
            f"{evidence.name_of(stop)} came {evidence.started_words(stop)}; process 1 of a container gets no signal that it has no "
            "handler for."
        ),
        cure="Install the handler before anything that takes time, or put an init before the app (init: true).",
    ),
    Cause(
        name="ignored-while-starting",
        needs="the signal came before it was healthy, and SIGKILL was needed at the end of the grace",
        fits=lambda _: True,
        cause=lambda stop: f"{evidence.name_of(stop)} came {evidence.started_words(stop)}, and nothing came of it until SIGKILL.",
        cure="Keep the signal's default action until the app is ready, or let the handler end a start that is under way.",
    ),
    Cause(
        name="crashed-while-starting",
        needs="the signal came before it was healthy, and its log has a traceback",
        fits=evidence.broke,
        cause=lambda stop: (
            f"{evidence.name_of(stop)} came {evidence.started_words(stop)}, and the start broke. {evidence.last_words(stop.life)}"
        ),
        cure="Let the handler do without what is not there yet, or install it late: until then the default action will do.",
    ),
    Cause(
        name="crashed-while-starting",
        needs="the signal came before it was healthy, and the exit status is neither 0 nor 128 plus the signal's number",
        fits=lambda _: True,
        cause=lambda stop: f"{evidence.name_of(stop)} came {evidence.started_words(stop)}. {evidence.last_words(stop.life)}".strip(),
        cure="Let a stop during the start end with status 0, or by the signal's default action.",
    ),
    Cause(
        name="ended-by-signal",
        needs="the exit status is 128 plus the signal's number, and the signal was not seen to be caught",
        fits=evidence.by_its_default_action,
        cause=evidence.default_words,
        cure="Install a handler for it before the app serves (or ignore it), or do not send it.",
    ),
    Cause(
        name="ended-by-signal",
        needs="it exited soon after the signal, which it caught, or with another status",
        fits=lambda stop: stop.life.exited is not None,
        cause=evidence.ended_words,
        cure="Look at what the handler of this signal does; the last log lines may say.",
    ),
)
"""Why stops failed."""

OF_STARTS: Final[tuple[Cause[Start], ...]] = (
    *(
        Cause(
            name=name,
            needs="the port was in use, and a process that outlived the replica before it holds one",
            fits=evidence.held_by_orphans,
            cause=evidence.orphan_words,
            cure=(
                "Let workers end with their main process (PR_SET_PDEATHSIG, or by noticing that it is gone), or have the whole group "
                "stopped (KillMode=control-group, a container)."
            ),
        )
        for name in ("port-taken", "exited-at-start")
    ),
    Cause(
        name="port-taken",
        needs="another process holds the port",
        fits=lambda _: True,
        cause=evidence.start_words,
        cure="Stop what holds the port; after a restart on the same port that is often a process which the stop left behind.",
    ),
    *(
        Cause(
            name=name,
            needs="the replica before it was killed, and its log speaks of a pid, lock or socket file that is there",
            fits=evidence.left_file,
            cause=evidence.file_words,
            cure=(
                "Hold a lock on the file (flock), which the kernel frees with the process, not its being there; or remove a "
                "stale one at the start, or keep it in a tmpfs that goes with the replica."
            ),
        )
        for name in ("exited-at-start", "never-ready")
    ),
    Cause(
        name="exited-at-start",
        needs="it ended with status 0 before it was healthy, and processes that it had started were there a second later",
        fits=evidence.made_itself_a_daemon,
        cause=evidence.daemon_words,
        cure="Run the server in the foreground, so that it is the main process: pm2-runtime, --no-daemon, nginx -g 'daemon off;'.",
    ),
    Cause(
        name="exited-at-start",
        needs="its log says that an address was in use",
        fits=evidence.port_in_use,
        cause=evidence.port_in_use_words,
        cure=(
            "Bind the port that is handed in, as PORT and as {port} in the command, which is another one for each replica; where a second "
            "port is fixed (metrics, a debugger), that too must differ, or stop what holds it."
        ),
    ),
    Cause(
        name="exited-at-start",
        needs="it ended before it was healthy",
        fits=lambda _: True,
        cause=evidence.start_words,
        cure="Start the command by hand with the same environment, in the same folder; logs/ in the run's folder has its output.",
    ),
    Cause(
        name="never-ready",
        needs="its port is open on the loopback address of its container only",
        fits=evidence.inward,
        cause=evidence.start_words,
        cure="It listens on 127.0.0.1, which nobody outside the container reaches: bind 0.0.0.0.",
    ),
    Cause(
        name="never-ready",
        needs="the image's own health check does not pass",
        fits=evidence.own_check,
        cause=evidence.start_words,
        cure="Make the health check's command pass inside the container, give it more time (start_period), or write healthcheck: /path.",
    ),
    Cause(
        name="never-ready",
        needs="it listens on another port than the one that it was given",
        fits=lambda start: evidence.told_of(start, "not on its PORT"),
        cause=evidence.detail_words,
        cure="Write {port} in the command (such as --port {port}), or let the app read PORT: each replica is given a port of its own.",
    ),
    Cause(
        name="never-ready",
        needs="its certificate was refused",
        fits=lambda start: evidence.told_of(start, "certificate was refused"),
        cause=evidence.detail_words,
        cure=(
            "Mend ca: (the authority that signed it) or server_name: (whom it is made out to) in tls:, or write tls: true, which looks at "
            "no certificate."
        ),
    ),
    Cause(
        name="never-ready",
        needs="it was asked without TLS, gave no answer, and shook hands with TLS",
        fits=lambda start: evidence.told_of(start, "it speaks TLS"),
        cause=lambda _: "It speaks TLS and was asked without.",
        cure="Write tls: true in its target, or tls: with ca and server_name.",
    ),
    Cause(
        name="never-ready",
        needs="it was asked with TLS, and no handshake was done",
        fits=lambda start: evidence.told_of(start, "does not speak TLS as it should"),
        cause=evidence.detail_words,
        cure="Remove tls: in its target where it speaks plain HTTP, or give the app its certificate and key.",
    ),
    Cause(
        name="never-ready",
        needs="its health check was answered with a 4xx",
        fits=lambda start: evidence.told_of(start, r"was answered with 4\d\d"),
        cause=evidence.detail_words,
        cure="It serves, but not this: mend the path in healthcheck:, to one that is answered with 200 to 399 without a log-in.",
    ),
    Cause(
        name="never-ready",
        needs="its health check was answered with a 5xx",
        fits=lambda start: start.life.listening_ns > 0 and evidence.told_of(start, r"was answered with 5\d\d"),
        cause=evidence.detail_words,
        cure="It says itself that it is not ready: see its log for what it waits for, mend that, or raise start_period.",
    ),
    Cause(
        name="never-ready",
        needs="its port is open",
        fits=lambda start: start.life.listening_ns > 0,
        cause=evidence.start_words,
        cure="It listens but is not healthy: let the healthcheck answer with 200 to 399 once it is ready, or raise start_period.",
    ),
    Cause(
        name="never-ready",
        needs="no port is open, in a container",
        fits=lambda start: start.life.created_ns > 0,
        cause=evidence.start_words,
        cure=_NOT_LISTENING.format(where="on 0.0.0.0, since nobody reaches 127.0.0.1 of a container"),
    ),
    Cause(
        name="never-ready",
        needs="no port is open",
        fits=lambda _: True,
        cause=evidence.start_words,
        cure=_NOT_LISTENING.format(where="on 127.0.0.1 or all addresses"),
    ),
    Cause(
        name="start-failed",
        needs="the engine said why",
        fits=lambda _: True,
        cause=evidence.start_words,
        cure="See the evidence, which is all that the engine told.",
    ),
    Cause(
        name="expectation-failed",
        needs="a time of starts is too long, and imports took at least half as long as the whole start",
        fits=evidence.imports_took_it,
        cause=evidence.import_words,
        cure="Import what only some requests need when they need it, drop what none does, and keep bytecode caches in the image.",
    ),
    Cause(
        name="expectation-failed",
        needs="a time of starts is too long, and more than half of it passed between listening and healthy",
        fits=evidence.health_took_it,
        cause=evidence.health_words,
        cure="Do less before the health check passes (warm caches in the background), or ask more often (interval in healthcheck).",
    ),
    Cause(
        name="expectation-failed",
        needs="a time of starts is too long, at least half of it passed before it listened, and it told its imports, which took less",
        fits=evidence.imports_told,
        cause=evidence.listening_words,
        cure="Look at what the app does before it listens besides its imports; PYTHONPROFILEIMPORTTIME: 1 in environment tells those.",
    ),
    Cause(
        name="expectation-failed",
        needs="a time of starts is too long, and at least half of it passed before it listened",
        fits=evidence.listening_took_it,
        cause=evidence.listening_words,
        cure="Look at what the app does before it listens: modules that it loads, connections, migrations, caches.",
    ),
)
"""Why starts failed or took long."""

CAUSES: Final[tuple[Cause[Any], ...]] = (*OF_DROPS, *OF_STOPS, *OF_STARTS)
"""The whole table; for each name the more telling evidence stands first."""
