"""What became of the state: whether all answers can be explained, what every replica has at the end, and whether sessions go on elsewhere.

Each violation is a finding of its own name, with the smallest history that is still wrong: told in sentences, drawn as lanes, and saved as
a file that ``jetable check --history`` judges again. What was not read, and what could not be decided, is unknown. A run whose answers can
all be explained says by how many reads, of how many keys, at how many replicas that was seen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

import numpy as np

from harness.checks.facts import Facts
from harness.checks.state_causes import explain
from harness.checks.state_facts import Worked
from harness.checks.state_judgement import BUDGET, StateJudgement, Wrong, metric_of, state_of
from harness.checks.state_walks import walks
from harness.checks.wording import count, grouped, listed, some, tally
from harness.clock import NS_PER_S
from harness.history import History
from harness.monitors import lanes, stale, witness, words
from harness.monitors.calls import NEVER, Ended, F
from harness.monitors.judged import KINDS
from harness.units import span
from harness.verdict import Finding, Proof, Verdict

CHECK: Final = "state"

NOT_READ_CURE: Final = (
    "See the replicas' logs for what they answered at the end; a key is read there as the operation read of its workload says."
)
UNHEARD_CURE: Final = "Mend answer: of the operation, so that it names the place of the value in the app's answers."
UNDECIDED_CURE: Final = "Let the app keep each value once, use fewer clients on a key, or raise the budget of a check of the saved history."
IDLE_CURE: Final = "See which answers the clients got: requests-counted and the errors of findings on requests tell why none was good."
ONE_CURE: Final = (
    "Give the process type at least two replicas, or steps that start others, so that one can be asked for what another one wrote."
)


def check(history: History) -> list[Finding]:
    """Findings about the state of the app; one that says so when the scenario asks for none."""
    facts = Facts(history)
    if not facts.scenario.state:
        return [Finding(check=CHECK, name="no-state", verdict=Verdict.PASS, title="the scenario checks no state")]
    judgement = state_of(facts)
    findings = [_wrong(judgement, wrong) for wrong in judgement.wrongs]
    for worked in judgement.facts.workloads:
        findings += [*_unknown(judgement, worked), _counted(judgement, worked), *_stale(worked), *_foreign(worked)]
    return [*findings, *walks(judgement.facts)]


def _wrong(judgement: StateJudgement, wrong: Wrong) -> Finding:
    found = witness.shrink(wrong.calls, wrong.violation, wrong.monitor, BUDGET)
    moments = judgement.facts.moments
    told = words.proof(found.calls, found.violation, words.Speak(moments=moments, left_out=found.left_out))
    name = f"witness/{wrong.worked.name}-{wrong.kind}"
    small = "the smallest history that is still wrong" if found.minimal else "operations that prove it"
    cause, cure = explain(judgement.facts, wrong)
    return Finding(
        check=CHECK,
        name=wrong.kind,
        verdict=Verdict.FAIL,
        title=f"{wrong.worked.name}: {KINDS[wrong.kind]} ({count(wrong.times, 'time')})",
        evidence=(*told, f"{small}: {name}.jsonl ({count(len(found.calls), 'operation')}), drawn in {name}.svg"),
        cause=cause,
        cure=cure,
        metric=metric_of(wrong.kind),
        count=wrong.times,
        proofs=(
            Proof(name=f"{name}.jsonl", text="".join(f"{line}\n" for line in witness.to_lines(found))),
            Proof(name=f"{name}.txt", text="".join(f"{line}\n" for line in (*told, "", *lanes.text(found.calls, moments)))),
            Proof(name=f"{name}.svg", text=lanes.svg(found.calls, moments)),
        ),
    )


# --- what nobody knows ------------------------------------------------------------------------------------------------------


def _unknown(judgement: StateJudgement, worked: Worked) -> Iterator[Finding]:
    calls, name = worked.calls, worked.name
    mine = slice(0, worked.asked)
    good = int(np.count_nonzero(calls.ended[mine] == Ended.OK))
    if not good:
        yield _doubt("state-not-used", f"{name}: no operation was acknowledged, so nothing is known of its state", cure=IDLE_CURE)
    if worked.unheard[0]:
        title = f"{name}: {count(worked.unheard[0], 'good answer')} could not be understood"
        yield _doubt("state-not-understood", title, (worked.unheard[1],), UNHEARD_CURE)
    if worked.unread or not len(worked.final):
        lines = [f"{replica}: {why}" for replica, why in worked.unread]
        what = f"{name}: not all replicas could be read at the end" if len(worked.final) else f"{name}: nothing was read at the end"
        if "read" in worked.workload.operations or worked.workload.store is not None:
            yield _doubt("state-not-read", what, some(lines), NOT_READ_CURE if judgement.facts.facts.finished else "")
    undecided = list(dict.fromkeys(text for judged, _, _ in judgement.judged[name] for text in judged.undecided))
    if undecided and good:
        yield _doubt("state-undecided", f"{name}: not everything could be decided", some(undecided), UNDECIDED_CURE)
    if good and len(_answered(judgement, worked)) < 2:
        yield _doubt("state-one-replica", f"{name}: only one replica ever answered, so nothing is known of the others", cure=ONE_CURE)


def _doubt(name: str, title: str, evidence: tuple[str, ...] = (), cure: str = "") -> Finding:
    return Finding(check=CHECK, name=name, verdict=Verdict.UNKNOWN, title=title, evidence=evidence, cure=cure)


def _answered(judgement: StateJudgement, worked: Worked) -> list[str]:
    """The replicas that answered an operation, the store not among them."""
    calls = worked.calls
    rows = np.flatnonzero((calls.ended == Ended.OK) & (calls.replica >= 0))
    names = {calls.replicas[code] for code in np.unique(calls.replica[rows]).tolist()}
    return sorted(names - {judgement.facts.store_of(worked.workload)})


# --- what is known ----------------------------------------------------------------------------------------------------------


def _counted(judgement: StateJudgement, worked: Worked) -> Finding:
    calls = worked.calls
    mine = slice(0, worked.asked)
    ended = Counter(calls.ended[mine].tolist())
    parts = [("acknowledged", ended[Ended.OK]), ("refused", ended[Ended.FAIL]), ("of unknown outcome", ended[Ended.INFO])]
    keys = len(np.unique(calls.key[mine]))
    asked = [(F(code).name.lower(), times) for code, times in sorted(Counter(calls.f[mine].tolist()).items())]
    ends = f"; read at the end at {listed(sorted({calls.replicas[code] for code in calls.replica[worked.final].tolist()}))}"
    agreed = f", which took {span(worked.settled_s)}" if len(worked.final) and worked.settled_s else ""
    return Finding(
        check=CHECK,
        name="state-counted",
        verdict=Verdict.PASS,
        title=f"{worked.name} ({worked.workload.model}): {count(worked.asked, 'operation')} on {count(keys, 'key')} by "
        f"{count(worked.workload.clients, 'client')}, {tally([part for part in parts if part[1]])}"
        + (ends + agreed if len(worked.final) else ""),
        evidence=(tally(asked), f"answered by {listed(_answered(judgement, worked))}") if worked.asked else (),
        count=worked.asked,
    )


def _stale(worked: Worked) -> Iterator[Finding]:
    """How old answers were, of registers; a promise about it is judged elsewhere."""
    if worked.workload.model not in ("register", "sessions"):
        return
    found = stale.staleness(worked.calls)
    if not len(found.rows):
        return
    old = int(np.count_nonzero(found.stale))
    title = f"{worked.name}: {grouped(old)} of {count(len(found.rows), 'read')} {'was' if old == 1 else 'were'} stale"
    if old:
        median_s, longest_s = found.quantile_ns(0.5) / NS_PER_S, found.quantile_ns(1.0) / NS_PER_S
        title += f", by {span(median_s)} (median), {span(longest_s)} (longest)"
    yield Finding(check=CHECK, name="staleness", verdict=Verdict.PASS, title=title, evidence=tuple(_knew(worked)), count=old)


def _knew(worked: Worked) -> Iterator[str]:
    """After which time each replica told a client of what had been acknowledged since it was first asked, and what it never told."""
    calls = worked.calls.take(worked.clients)
    for known in sorted(stale.known(calls), key=lambda known: calls.replicas[known.replica]):
        since_ns = calls.call_ns[(calls.replica == known.replica) & (calls.f == F.READ)].min(initial=NEVER)
        after_ns = known.after_ns[calls.ret_ns[known.writes] >= since_ns]
        took_s = np.sort(after_ns[after_ns < NEVER]) / NS_PER_S
        name, in_vain = calls.replicas[known.replica], int(np.count_nonzero(after_ns == NEVER))
        if len(took_s):
            when = f"{span(took_s[(len(took_s) - 1) // 2])} (median), {span(took_s[-1])} (longest)"
            yield f"{name}: {count(len(took_s), 'acknowledged write')} known after {when}"
        if in_vain:
            yield f"{name}: what it answered last was older than {count(in_vain, 'acknowledged write')}"


def _foreign(worked: Worked) -> Iterator[Finding]:
    if worked.foreign:
        were = "was" if worked.foreign == 1 else "were"
        title = f"{worked.name}: {count(worked.foreign, 'value')} that this run did not write came among its own, and {were} left out"
        yield Finding(check=CHECK, name="foreign-values", verdict=Verdict.PASS, title=title, count=worked.foreign)
