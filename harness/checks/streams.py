"""What became of streams: whether each client that lost its connection got another one, and every event exactly once.

A connection that ends is no loss as long as its client goes on where it was: that is what streams are made for (twelve-factor, IX: clients
must be able to reconnect seamlessly). So a stream that was cut at a stop instead of being ended is advice, unless the scenario demands
``cut_streams == 0``; events that are missing or came twice are failures. Where events carry no successive numbers, nobody knows, and that
is unknown, never a pass. Streams that nobody takes up again are dropped requests, which `requests` tells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Final

from harness.checks.facts import Facts, Fault
from harness.checks.metrics import SAMPLERS
from harness.checks.power import bound
from harness.checks.subscriptions import COMPLETE, ENDED, EOF, Connection, Stream, cut_at_stop, held, met_stops, streams_of
from harness.checks.wording import count, grouped, listed, none_did, offset, only, some, tally
from harness.history import History
from harness.units import span
from harness.verdict import Finding, Verdict

CHECK: Final = "streams"

ENDS: Final[dict[str, str]] = {
    "complete": "had all that their client wanted",
    "ended": "were ended by the app in order",
    "eof": "were ended by nothing but the end of the connection",
    "cut": "were cut",
    "stopped": "were under way when the load was cut off",
}
"""What is said of each end of a connection."""

LOST_CURE: Final = (
    "Keep the last events where every replica finds them (a stream or list of a store), number them there, and on Last-Event-ID (or the id "
    "that the client of a WebSocket sends) begin with the one after it."
)
LEFT_OUT_CURE: Final = "Look at what the app does with events that it can't send at once."
REPEATED_CURE: Final = "Begin with the event after the one that the client names, not with that one or an earlier one."
CUT_CURE: Final = (
    "On SIGTERM end streams yourself: write the last chunk of server-sent events, send close code 1001 or 1012 on a WebSocket; then exit."
)
HELD_CURE: Final = (
    "On SIGTERM end every open stream at once: its client connects again to another replica, and the stop need not wait for it."
)
NUMBER_CURE: Final = (
    "Give each event an id that is one more than that of the event before it, from a source that all replicas share; or say resume: false "
    "if it does not matter what a client misses while it connects again."
)


MEET_CURE: Final = "Let streams last longer (for: under stream:), let more users follow them, or stop every replica (replica: each)."


def check(history: History) -> list[Finding]:
    """Findings about every stream of the load; one that says so when there is none."""
    facts = Facts(history)
    streams = streams_of(facts)
    if not any(request.stream is not None for request in facts.scenario.requests):
        return [Finding(check=CHECK, name="no-streams", verdict=Verdict.PASS, title="the load has no streams")]
    if not streams:
        return [Finding(check=CHECK, name="stream-not-verifiable", verdict=Verdict.UNKNOWN, title="no stream was ever open")]
    findings = [_counted(streams)]
    for stream in streams:
        findings += _of_stream(facts, stream)
    return [*findings, *_at_stops(facts, streams)]


def _counted(streams: Sequence[Stream]) -> Finding:
    connections = [each for stream in streams for each in stream.connections]
    ends = Counter(each.told.end for each in connections)
    subscriptions, events = sum(stream.subscriptions for stream in streams), sum(stream.events for stream in streams)
    return Finding(
        check=CHECK,
        name="streams-counted",
        verdict=Verdict.PASS,
        title=f"{count(subscriptions, 'subscription')} over {count(len(connections), 'connection')}, {count(events, 'event')}",
        evidence=(tally((ENDS.get(end, end), times) for end, times in ends.most_common()),),
        count=subscriptions,
    )


# --- one stream ---------------------------------------------------------------------------------------------------------------


def _of_stream(facts: Facts, stream: Stream) -> list[Finding]:
    if stream.resume and stream.why_not:
        return [_not_verifiable(stream, stream.why_not)]
    if stream.resume and (stream.lost or stream.repeated):
        return [*_lost(facts, stream), *_repeated(facts, stream)]
    if not stream.again:
        # A client that lost its connection and found no other one is told as a dropped request.
        undisturbed = all(each.told.end == COMPLETE for each in stream.connections)
        title = f"{stream.name}: no connection of it met a fault, so nobody had to connect again"
        unmet = Finding(check=CHECK, name="streams-not-met", verdict=Verdict.UNKNOWN, title=title, cure=MEET_CURE)
        return [unmet] if facts.faults and undisturbed else []
    if not stream.resume:
        title = f"{stream.name}: {_again_words(stream)}; what they missed meanwhile was not asked for"
        return [_good(stream, "streams-reconnected", title)]
    if not stream.proven:
        return [_not_verifiable(stream, "no event came after a client had connected again")]
    return [_resumed(stream)]


def _again_words(stream: Stream) -> str:
    return f"clients connected again {count(len(stream.again), 'time')}{_times_words(stream)}"


def _times_words(stream: Stream) -> str:
    away_s = stream.away_s
    return f", without a stream for {span(median(away_s))} (median), {span(max(away_s))} (longest)" if away_s else ""


def _good(stream: Stream, name: str, title: str) -> Finding:
    return Finding(check=CHECK, name=name, verdict=Verdict.PASS, title=title, evidence=_waits(stream), count=len(stream.again))


def _waits(stream: Stream) -> tuple[str, ...]:
    """How much of the time away the clients waited by themselves."""
    waited = [each.told.waited_ns / 1e9 for each in stream.again if each.told.away_ns]
    return (
        (f"of that the clients waited {span(median(waited))} (median) before they tried, as they were told or by default",)
        if waited
        else ()
    )


def _resumed(stream: Stream) -> Finding:
    harms = {each.before.harm.order.at_ns for each in stream.proven if each.before is not None and each.before.harm is not None}
    strength = bound(0, len(harms))
    title = f"{stream.name}: {_again_words(stream)}, and every event came exactly once"
    evidence = list(_waits(stream))
    unproven = len(stream.again) - len(stream.proven)
    evidence += [f"{grouped(unproven)} of them brought no event, so they prove nothing"] if unproven else []
    if strength is not None:
        evidence.append(none_did(strength, "fault", "lost or repeated one"))
    return Finding(
        check=CHECK,
        name="streams-resumed",
        verdict=Verdict.PASS,
        title=title,
        evidence=tuple(evidence),
        count=len(stream.proven),
        bound=strength,
    )


def _not_verifiable(stream: Stream, why: str) -> Finding:
    evidence = (_again_words(stream), *_waits(stream)) if stream.again else ()
    return Finding(
        check=CHECK,
        name="stream-not-verifiable",
        verdict=Verdict.UNKNOWN,
        title=f"{stream.name}: nobody knows whether events were lost or repeated: {why}",
        evidence=evidence,
        cure=NUMBER_CURE,
        count=len(stream.again),
    )


def _lost(facts: Facts, stream: Stream) -> list[Finding]:
    if not stream.lost:
        return []
    guilty = [each for each in stream.connections if each.lost > 0]
    seams = [each for each in guilty if each.told.missing]
    middle = [each for each in guilty if each.told.skipped > each.told.late]
    cause, cure = "The replica that the client came to did not go on after the event that the client had named.", LOST_CURE
    if middle:
        also = f", and at {count(len(seams), 'return')} of a client" if seams else ""
        cause = f"Events were left out in the middle of a connection{also}."
        cure = " ".join([LEFT_OUT_CURE, *([LOST_CURE] if seams else [])])
    return [
        Finding(
            check=CHECK,
            name="stream-events-lost",
            verdict=Verdict.FAIL,
            title=f"{stream.name}: {count(stream.lost, 'event')} {'is' if stream.lost == 1 else 'are'} missing, on "
            f"{count(len(guilty), 'connection')} of {grouped(len(stream.connections))}{_times_words(stream)}",
            evidence=some([_seam_words(facts, each) for each in sorted(guilty, key=lambda each: -each.lost)], most=8),
            cause=cause,
            cure=cure,
            metric="lost_events",
            replica=only((each.replica for each in guilty), ""),
            count=stream.lost,
        )
    ]


def _repeated(facts: Facts, stream: Stream) -> list[Finding]:
    if not stream.repeated:
        return []
    guilty = [each for each in stream.connections if each.told.twice]
    return [
        Finding(
            check=CHECK,
            name="stream-events-repeated",
            verdict=Verdict.FAIL,
            title=f"{stream.name}: {count(stream.repeated, 'event')} came twice, on {count(len(guilty), 'connection')} of "
            f"{grouped(len(stream.connections))}",
            evidence=some([_seam_words(facts, each) for each in sorted(guilty, key=lambda each: -each.told.twice)], most=8),
            cause="A client that connected again got events that it had." if all(each.told.resumed for each in guilty) else "",
            cure=REPEATED_CURE,
            metric="repeated_events",
            replica=only((each.replica for each in guilty), ""),
            count=stream.repeated,
        )
    ]


def _seam_words(facts: Facts, each: Connection) -> str:
    """One line: where the client had been, what it had, and what it got."""
    told, before = each.told, each.before
    words = [f"op {told.op}, {each.replica}"]
    if before is not None:
        words.append(f"after {before.told.last_id} from {before.replica}, {_end_words(before)}, it sent {told.first_id} first")
    else:
        words.append(f"from {told.first_id} to {told.last_id}, {span((told.opened_ns - facts.load_ns[0]) / 1e9)} after the load began")
    numbers = [("missing", told.missing), ("left out later", told.skipped), ("came late", told.late), ("twice", told.twice)]
    return f"{'; '.join(words)}: {tally((word, times) for word, times in numbers if times)}"


def _end_words(connection: Connection) -> str:
    told, harm = connection.told, connection.harm
    how = {"ended": "which ended it in order", "cut": "where it was cut"}.get(told.end, "where it ended")
    how += f" with close code {told.code}" if told.code else ""
    return how + (f" {offset(harm.after_s(told.at_ns))} after {harm.blow}" if harm is not None else "")


# --- at stops -----------------------------------------------------------------------------------------------------------------


def _at_stops(facts: Facts, streams: Sequence[Stream]) -> list[Finding]:
    """How the connections ended that were open when their replica was asked to stop."""
    met, cut = met_stops(list(streams)), cut_at_stop(list(streams))
    kept = [(each, stop) for each, stop in met if held(each, stop)]
    orderly = [(each, stop) for each, stop in met if each.told.end in (ENDED, EOF) and not held(each, stop)]
    findings = []
    if orderly:
        after_s = [stop.after_s(each.told.at_ns) for each, stop in orderly]
        ways = Counter(_way(each) for each, _ in orderly)
        title = (
            f"{count(len(orderly), 'stream')} of {grouped(len(met))} on stopped replicas {'was' if len(orderly) == 1 else 'were'} ended "
        )
        title += f"by the app {span(median(after_s))} (median), {span(max(after_s))} (longest) after the signal"
        evidence = (tally(ways.most_common()),)
        findings.append(
            Finding(check=CHECK, name="streams-ended", verdict=Verdict.PASS, title=title, evidence=evidence, count=len(orderly))
        )
    if cut:
        findings.append(_advice("stream-cut", "cut instead of ended", cut, len(met), verdict=_cut_verdict(facts), metric="cut_streams"))
    if kept:
        findings.append(_advice("streams-held", "held open until SIGKILL", kept, len(met)))
    return findings


def _way(connection: Connection) -> str:
    if connection.told.code:
        return f"with close code {connection.told.code}"
    return "with the last chunk" if connection.told.end == ENDED else "by nothing but the end of the connection"


def _cut_verdict(facts: Facts) -> Verdict:
    """A failure where the scenario itself demands otherwise, else something worth knowing."""
    demands = [each for each in facts.scenario.expect if each.metric == "cut_streams"]
    broken = any(each.holds(SAMPLERS["cut_streams"](facts, each.process)) is False for each in demands)
    return Verdict.FAIL if broken else Verdict.PASS


def _advice(
    name: str,
    what: str,
    found: Sequence[tuple[Connection, Fault]],
    met: int,
    *,
    verdict: Verdict = Verdict.PASS,
    metric: str = "",
) -> Finding:
    replicas = [stop.victim.replica for _, stop in found]
    each_stop = dict.fromkeys((stop.number, stop) for _, stop in found)
    lines = []
    for number, stop in each_stop:
        ended = [each.told.at_ns for each, fault in found if fault.number == number]
        first, last = offset(stop.after_s(min(ended))), offset(stop.after_s(max(ended)))
        lines.append(f"step {stop.signal.step}, {stop.victim.replica}: {grouped(len(ended))}, {first} to {last} after {stop.signal.signal}")
    return Finding(
        check=CHECK,
        name=name,
        verdict=verdict,
        title=f"{count(len(found), 'stream')} of {grouped(met)} on stopped replicas {'was' if len(found) == 1 else 'were'} {what} "
        f"({listed(sorted(set(replicas)))})",
        evidence=some(lines),
        cause="The connection just ended: no last chunk, no close frame." if name == "stream-cut" else "",
        cure=CUT_CURE if name == "stream-cut" else HELD_CURE,
        metric=metric,
        replica=only(replicas, ""),
        step=only((stop.signal.step for _, stop in found), -1),
        count=len(found),
    )
