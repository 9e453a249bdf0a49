"""Why requests were dropped and what to change: one visible table, in which every row names the evidence that it needs.

`explain` tries the rows of a name from top to bottom; the first whose evidence is there gives cause and cure. When none fits, nothing is
said: a guess costs its reader more time than silence.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from harness.checks import drops as names
from harness.checks.drops import Drops
from harness.checks.facts import SAME_MOMENT_S
from harness.checks.wording import count, span
from harness.clock import NS_PER_S
from harness.outcome import Outcome

AT_ONCE_S: Final = 0.25
"""A main process that is gone so soon after the signal, with that signal's own status, did not handle it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One row.

    Attributes:
        name: The finding's name.
        needs: The evidence, in words.
        fits: Whether these drops have it.
        cause: Says why, with their numbers.
        cure: What to change.
    """

    name: str
    needs: str
    fits: Callable[[Drops], bool]
    cause: Callable[[Drops], str]
    cure: str


def explain(drops: Drops) -> tuple[str, str]:
    """Cause and cure of ``drops``, both empty when the evidence says neither."""
    for row in CAUSES:
        if row.name == drops.name and row.fits(drops):
            return row.cause(drops), row.cure
    return "", ""


# --- evidence ---------------------------------------------------------------------------------------------------------------


def _killed_after_grace(drops: Drops) -> bool:
    return drops.fault is not None and drops.fault.killed is not None and drops.ended_ns[0] >= drops.fault.killed.at_ns


def _left_descendants(drops: Drops) -> bool:
    exited = drops.life.exited
    return bool(drops.life.survived) and exited is not None and drops.ended_ns[1] > exited.at_ns + SAME_MOMENT_S * NS_PER_S


def _in_backlog(drops: Drops) -> bool:
    """Never answered on connections of their own, while the listener was closed with connections still waiting to be accepted."""
    closed = drops.life.closed
    return closed is not None and closed.backlog > 0 and drops.reused == 0 and drops.only(Outcome.CLOSED)


def _no_handler(drops: Drops) -> bool:
    fault, exited = drops.fault, drops.life.exited
    if fault is None or exited is None or fault.exit_s is None:
        return False
    return exited.status == 128 + _number(fault.signal.signal) and fault.exit_s <= AT_ONCE_S


def _number(name: str) -> int:
    return int(signal.Signals[name]) if name in signal.Signals.__members__ else -1


def _with_exit(drops: Drops) -> bool:
    """They ended with the process, or after it."""
    exited = drops.life.exited
    return exited is not None and drops.ended_ns[0] >= exited.at_ns - SAME_MOMENT_S * NS_PER_S


def _before_exit(drops: Drops) -> bool:
    exited = drops.life.exited
    return exited is not None and drops.ended_ns[1] < exited.at_ns - SAME_MOMENT_S * NS_PER_S


def _still_took_connections(drops: Drops) -> bool:
    knocks = drops.life.knocks
    return drops.new > 0 and any(knock.result != "refused" for knock in knocks)


def _died(drops: Drops) -> bool:
    return drops.life.died_by_itself and _with_exit(drops)


def _alone_on_the_way(drops: Drops) -> bool:
    """Closed on reused connections, while nothing was done to a replica that went on."""
    return drops.new == 0 and drops.only(Outcome.CLOSED) and not drops.life.died_by_itself


def _gave_up(drops: Drops) -> bool:
    """Nothing came back: no answer in time, or no connection."""
    silent = {Outcome.TIMEOUT.value, Outcome.UNAVAILABLE.value}
    return drops.disturbance is not None and {name for name, _ in drops.outcomes} <= silent


# --- words ------------------------------------------------------------------------------------------------------------------


def _signal(drops: Drops) -> str:
    return drops.fault.signal.signal if drops.fault else "the signal"


def _exit_words(drops: Drops) -> str:
    """``exited with status 0, 12 ms after SIGTERM``."""
    status = drops.life.exited.status if drops.life.exited else -1
    words = f"exited with status {status}" if status >= 0 else "exited"
    after_s = drops.fault.exit_s if drops.fault else None
    return words if after_s is None else f"{words}, {span(after_s)} after {_signal(drops)}"


def _grace_words(drops: Drops) -> str:
    grace_s = drops.fault.signal.grace_s if drops.fault else 0.0
    return f"They were still under way at the end of the grace of {span(grace_s)}, when SIGKILL came."


def _listener_words(drops: Drops) -> str:
    """``The listener still took new connections 412 ms after SIGTERM``."""
    taken = [knock.done_ns for knock in drops.life.knocks if knock.result != "refused"]
    after = f"{span(drops.fault.after_s(taken[-1]))} after" if drops.fault and taken else "after"
    return f"The listener still took new connections {after} {_signal(drops)}"


def _backlog_words(drops: Drops) -> str:
    backlog = drops.life.closed.backlog if drops.life.closed else 0
    return f"They waited in the accept queue ({count(backlog, 'connection')}) when the listener was closed; the kernel reset them."


def _survived_words(drops: Drops) -> str:
    left = sum(len(event.processes) for event in drops.life.survived)
    return f"The main process {_exit_words(drops)}, but {count(left, 'descendant')} went on serving without it and had to be killed."


def _lasted_words(drops: Drops) -> str:
    return span(drops.disturbance.lasted_s) if drops.disturbance else "a while"


def _oom_words(drops: Drops) -> str:
    exited, disturbance = drops.life.exited, drops.disturbance
    main = exited is not None and exited.oom and disturbance is not None and exited.at_ns <= disturbance.end_ns
    whom = "its main process" if main else "a process of it"
    detail = disturbance.taken.detail if disturbance else ""
    return f"Squeezed {detail}, the replica lacked memory: the kernel killed {whom}, and what was in flight there was lost for its client."


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

CAUSES: Final[tuple[Cause, ...]] = (
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
        fits=_killed_after_grace,
        cause=_grace_words,
        cure="Raise stop_grace_period above the slowest request, or bound how long a request may take while stopping.",
    ),
    Cause(
        name=names.DROPPED_IN_FLIGHT,
        needs="descendants outlived the main process, and some of these requests did too",
        fits=_left_descendants,
        cause=_survived_words,
        cure="Make the main process the server (exec in the shell), or let it pass the signal on and wait for its children.",
    ),
    Cause(
        name=names.DROPPED_IN_FLIGHT,
        needs="the exit status is 128 plus the signal's number, and the process was gone at once",
        fits=_no_handler,
        cause=lambda drops: f"Nothing handles {_signal(drops)}, so it ended the process at once: it {_exit_words(drops)}.",
        cure=_WAIT,
    ),
    Cause(
        name=names.DROPPED_IN_FLIGHT,
        needs="all on new connections without a byte of an answer, and the accept queue was not empty when the listener closed",
        fits=_in_backlog,
        cause=_backlog_words,
        cure="Accept what waits before closing the listener, or stop new requests first: drain: in routing, a preStop sleep on Kubernetes.",
    ),
    Cause(
        name=names.DROPPED_IN_FLIGHT,
        needs="all of them timed out",
        fits=lambda drops: drops.only(Outcome.TIMEOUT),
        cause=lambda drops: f"Their connections stayed open after {_signal(drops)}, but no whole answer came in time.",
        cure="Look at what the app does with requests that it has begun when the signal comes; its handler may stop their workers.",
    ),
    Cause(
        name=names.DROPPED_IN_FLIGHT,
        needs="they ended at the same moment as the main process, or later",
        fits=_with_exit,
        cause=lambda drops: f"The process {_exit_words(drops)}, without waiting for what was in flight.",
        cure=_WAIT,
    ),
    Cause(
        name=names.DROPPED_IN_FLIGHT,
        needs="all of them ended well before the main process did",
        fits=_before_exit,
        cause=lambda drops: f"The app closed their connections after {_signal(drops)} while it went on; it {_exit_words(drops)}.",
        cure=_WAIT,
    ),
    Cause(
        name=names.DROPPED_AFTER_SIGNAL,
        needs="some on new connections while knocks were not refused, and all ended well before the main process did",
        fits=lambda drops: _still_took_connections(drops) and _before_exit(drops),
        cause=lambda drops: f"{_listener_words(drops)}, and the app closed them without a whole answer.",
        cure=LISTENER_CURE,
    ),
    Cause(
        name=names.DROPPED_AFTER_SIGNAL,
        needs="some on new connections, and knocks after the signal were not refused",
        fits=_still_took_connections,
        cause=lambda drops: f"{_listener_words(drops)}, and they were cut when it {_exit_words(drops)}.",
        cure=LISTENER_CURE,
    ),
    Cause(
        name=names.DROPPED_AFTER_SIGNAL,
        needs="all on reused connections, and they ended with the main process",
        fits=lambda drops: drops.new == 0 and _with_exit(drops),
        cause=lambda drops: f"Kept-alive connections went on bringing requests until the process {_exit_words(drops)}.",
        cure="Answer with Connection: close once the signal has come, and wait for what is in flight; or drain first (drain: in routing).",
    ),
    Cause(
        name=names.DROPPED_AFTER_SIGNAL,
        needs="they ended with the main process",
        fits=_with_exit,
        cause=lambda drops: f"They reached it after {_signal(drops)} and were cut when it {_exit_words(drops)}.",
        cure=LISTENER_CURE,
    ),
    Cause(
        name=names.KEEP_ALIVE_RACE,
        needs="closed before a byte of an answer, on a reused connection, sent after the signal",
        fits=lambda drops: drops.new == 0,
        cause=lambda drops: f"After {_signal(drops)} the server closed idle kept-alive connections on which a request was on its way.",
        cure="Drain first (drain: in routing, a preStop sleep), or answer with Connection: close before closing; or: " + _RETRY,
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
        fits=_gave_up,
        cause=lambda drops: f"The replica hung for {_lasted_words(drops)}, the router went on sending to it, and their clients gave up.",
        cure=_ROUTE_AROUND,
    ),
    Cause(
        name=names.DROPPED_WHILE_PAUSED,
        needs="some of their connections were closed or their answers cut",
        fits=lambda drops: drops.disturbance is not None,
        cause=lambda drops: f"The app cut them after it had hung for {_lasted_words(drops)}.",
        cure="Look for time-outs inside the app that run out while it hangs, such as the heartbeat of workers; its log may say.",
    ),
    Cause(
        name=names.DROPPED_WHILE_CUT_OFF,
        needs="all of them met nothing but silence",
        fits=_gave_up,
        cause=lambda drops: (
            f"The replica could not be reached for {_lasted_words(drops)}, the router went on sending to it, and their clients gave up."
        ),
        cure=_ROUTE_AROUND,
    ),
    Cause(
        name=names.DROPPED_WHILE_CUT_OFF,
        needs="some of their connections were lost",
        fits=lambda drops: drops.disturbance is not None,
        cause=lambda drops: f"Their connections did not live through the {_lasted_words(drops)} without a network.",
        cure=_RETRY,
    ),
    Cause(
        name=names.LOST_BY_OOM,
        needs="the kernel killed in the replica while the harness had lowered its limit of memory",
        fits=lambda drops: drops.disturbance is not None,
        cause=_oom_words,
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
        cure="Run more replicas, or start the new one before the old one stops (order: start-first).",
    ),
    Cause(
        name=names.UNAVAILABLE,
        needs="the last replica that they tried had just been stopped",
        fits=lambda drops: drops.fault is not None and drops.fault.victim.replica == drops.replica,
        cause=lambda _: "The last replica that they tried was being stopped and refused them; there was no other left.",
        cure="Run more replicas, or start the new one before the old one stops (order: start-first).",
    ),
    Cause(
        name=names.UNAVAILABLE,
        needs="the last replica that they tried had ended by itself",
        fits=_died,
        cause=lambda _: "The replica had ended by itself, and no other one took them.",
        cure="See died-by-itself.",
    ),
    Cause(
        name=names.REJECTED,
        needs="answered 503 or 429 by a replica that was being stopped",
        fits=lambda drops: drops.fault is not None,
        cause=lambda drops: f"The replica took them after {_signal(drops)} and answered that it is stopping.",
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
            fits=_died,
            cause=lambda drops: f"The replica ended by itself at that moment, with status {_status(drops)}.",
            cure="See died-by-itself.",
        )
        for name in (names.DROPPED_WITHOUT_FAULT, names.TRUNCATED_ANSWERS)
    ),
    Cause(
        name=names.DROPPED_WITHOUT_FAULT,
        needs="closed before a byte of an answer, all on reused connections, with no fault near",
        fits=_alone_on_the_way,
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
"""Why requests are dropped, for each name the more telling evidence first."""


def _status(drops: Drops) -> int:
    return drops.life.exited.status if drops.life.exited else -1
