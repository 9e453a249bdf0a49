"""What only a container shows of an app: who it is, what it writes beside itself, and what becomes of its processes and its memory.

Some of it is advice, because it works until the day on which it does not: running as root, keeping files in a filesystem that goes with
the container. A scenario that writes a threshold about the metric makes a failure of it. The rest fails by itself: zombies, processes that
process 1 left to be killed, ends for want of memory, and starts that need what the scenario denies them. Where no replica ran in a
container there is nothing to say, and that passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Final

from harness.checks.deaths import CAPABILITY, WRITABLE, Denial, denial, ended_by_oom, oom_kills_of
from harness.checks.evidence import log_block
from harness.checks.facts import Facts, Fault, Life
from harness.checks.metrics import SAMPLERS, contained_of, contained_stops_of, lives_of, roots_of, zombies_of
from harness.checks.power import bound
from harness.checks.shells import main_of, swallowed
from harness.checks.wording import count, listed, none_did, only, some
from harness.checks.writes import written
from harness.clock import NS_PER_S
from harness.history import History
from harness.units import bytes_text, span
from harness.verdict import Finding, Verdict

CHECK: Final = "posture"


def check(history: History) -> list[Finding]:
    """Findings about each process type whose replicas ran in containers."""
    facts = Facts(history)
    deaths = _deaths(facts)
    lives = contained_of(facts, None)
    if not lives:
        return deaths or [Finding(check=CHECK, name="no-containers", verdict=Verdict.PASS, title="no replica ran in a container")]
    told = {each.fault.number for each in swallowed(facts)}
    return [
        *deaths,
        *(
            finding
            for process in dict.fromkeys(life.process for life in lives)
            for finding in (*_zombies(facts, process), *_cut_off(facts, process, told), *_root(facts, process), *_written(facts, process))
        ),
        *_none_cut_off(facts),
        _containers(lives),
    ]


def _advice_or_failure(facts: Facts, metric: str, process: str) -> Verdict:
    """A failure where the scenario itself demands otherwise of ``process``, else something worth knowing."""
    demands = [each for each in facts.scenario.expect if each.metric == metric and each.process in (None, process)]
    broken = any(each.holds(SAMPLERS[metric](facts, each.process)) is False for each in demands)
    return Verdict.FAIL if broken else Verdict.PASS


def _names(lives: Sequence[Life]) -> str:
    return listed([life.replica for life in lives])


def _only_name(lives: Sequence[Life]) -> str:
    return only((life.replica for life in lives), "")


# --- what it is -------------------------------------------------------------------------------------------------------------


def _containers(lives: Sequence[Life]) -> Finding:
    """What was looked at, so that silence about the rest has a meaning."""
    seen = [life for life in lives if life.contained]
    lines = dict.fromkeys(f"{life.process}: {_container_words(life)}" for life in seen)
    title = f"{len(seen)} of {count(len(lives), 'container')} looked into"
    return Finding(check=CHECK, name="containers", verdict=Verdict.PASS, title=title, evidence=some(list(lines)), count=len(seen))


def _container_words(life: Life) -> str:
    if life.contained is None:
        return ""
    user = "a user that can't be seen" if life.contained.uid < 0 else f"user {life.contained.uid}"
    return f"image {life.contained.image}, process 1 is {life.contained.main or 'not known'}, {user}"


def _root(facts: Facts, process: str) -> Iterator[Finding]:
    roots = roots_of(facts, process)
    if not roots:
        return
    yield Finding(
        check=CHECK,
        name="runs-as-root",
        verdict=_advice_or_failure(facts, "root_replicas", process),
        title=f"{process} runs as root in its container",
        evidence=some([f"{life.replica}: {_container_words(life)}" for life in roots], most=5),
        cause="A container runs as root unless its image names another user (USER), or the scenario does (user:).",
        cure="Make a user in the Dockerfile and name it with USER, or set user: to a number other than 0.",
        metric="root_replicas",
        replica=_only_name(roots),
        count=len(roots),
    )


def _written(facts: Facts, process: str) -> Iterator[Finding]:
    writes = [(life, written(life)) for life in contained_of(facts, process)]
    kept = [(life, each) for life, each in writes if each.counted]
    cached = [(life, each) for life, each in writes if each.caches and not each.counted]
    if kept:
        files = sum(each.counted for _, each in kept)
        folders = listed(list(dict.fromkeys(line.partition(": ")[0] for _, each in kept for line in each.kept if line.startswith("/"))))
        yield Finding(
            check=CHECK,
            name="writes-own-filesystem",
            verdict=_advice_or_failure(facts, "written_files", process),
            title=f"{process} changed {count(files, 'file')} in its own filesystem{f', in {folders}' if folders else ''}",
            evidence=some([f"{life.replica}: {line}" for life, each in kept for line in (*each.kept, *each.known)]),
            cause="What a container keeps in its own filesystem is lost with it, and no other replica sees it.",
            cure="Keep it in a backing service, or in a volume or tmpfs; read_only: true then proves that nothing else is written.",
            metric="written_files",
            replica=_only_name([life for life, _ in kept]),
            count=files,
        )
    if cached:
        files = sum(each.caches for _, each in cached)
        what = listed(list(dict.fromkeys(what for _, each in cached for what in each.what)))
        yield Finding(
            check=CHECK,
            name="writes-caches",
            verdict=Verdict.PASS,
            title=f"{process} changed nothing in its own filesystem but {count(files, 'file')} that may be lost: {what}",
            evidence=some([f"{life.replica}: {line}" for life, each in cached for line in each.known]),
            count=files,
        )


# --- its processes ----------------------------------------------------------------------------------------------------------


def _zombies(facts: Facts, process: str) -> Iterator[Finding]:
    lives = [life for life in contained_of(facts, process) if life.zombies]
    if not lives:
        return
    left = [(life, zombie, after_s) for life in lives for zombie, after_s in zombies_of(life).values()]
    init = any(life.contained and life.contained.init for life in lives)
    yield Finding(
        check=CHECK,
        name="zombies-left",
        verdict=Verdict.FAIL,
        title=f"nobody waited for {count(len(left), 'process', 'processes')} of {_names(lives)} that had ended",
        evidence=some(
            [f"{life.replica}: pid {zombie.pid}, still a zombie after {span(after_s)}: {zombie.command}" for life, zombie, after_s in left]
        ),
        cause=(
            "Their parent runs and does not wait for them; an init reaps only what has lost its parent."
            if init
            else "A process stays in the table until its parent waits for it; process 1 is the parent of all that have lost theirs."
        ),
        cure="Wait for child processes." if init else "Wait for child processes, or write init: true, for a process 1 that does.",
        metric="zombies",
        replica=_only_name(lives),
        count=len(left),
    )


def _cut_off(facts: Facts, process: str, told: set[int]) -> Iterator[Finding]:
    """Stops after which process 1 did not wait for the others; one that ended in a shell is told as that."""
    faults = [fault for fault in contained_stops_of(facts, process) if fault.victim.cut_off and fault.number not in told]
    if not faults:
        return
    lines = [line for fault in faults for line in _cut_off_lines(fault)]
    victims = list({fault.victim.replica: fault.victim for fault in faults}.values())
    yield Finding(
        check=CHECK,
        name="cut-off-with-process-1",
        verdict=Verdict.FAIL,
        title=f"{count(len(lines), 'process', 'processes')} of {_names(victims)} had to be killed as process 1 ended",
        evidence=some(lines),
        cause="It did not wait for its workers: when process 1 of a container ends, the kernel kills all that it has not killed itself.",
        cure="End and wait for child processes before exiting; gunicorn and other managers of processes do that when they are process 1.",
        metric="cut_off",
        replica=_only_name(victims),
        step=only((fault.signal.step for fault in faults), -1),
        count=len(lines),
    )


def _cut_off_lines(fault: Fault) -> list[str]:
    processes = fault.victim.cut_off.processes if fault.victim.cut_off else ()
    ended = f"{main_of(fault.victim)} ended {span(fault.exit_s or 0.0)} after {fault.signal.signal}"
    return [
        f"step {fault.signal.step}, {fault.victim.replica}: {ended}, and with it pid {process.pid}"
        f"{' (holds the port)' if process.listening else ''}: {process.command}"
        for process in processes
    ]


def _none_cut_off(facts: Facts) -> list[Finding]:
    """How strong it is that process 1 waited for the others."""
    stops = contained_stops_of(facts, None)
    strength = bound(0, len(stops))
    if strength is None or any(fault.victim.cut_off for fault in stops):
        return []
    title = none_did(strength, "stop", "cut a process off")
    return [Finding(check=CHECK, name="none-cut-off", verdict=Verdict.PASS, title=title, count=len(stops), bound=strength)]


# --- why it ended -----------------------------------------------------------------------------------------------------------


def _deaths(facts: Facts) -> list[Finding]:
    """Ends for want of memory, and for want of what the scenario denies; each replica is told under one of them."""
    lives = lives_of(facts, None)
    short = [life for life in lives if oom_kills_of(facts, life)]
    denied: dict[tuple[str, str, bool], list[tuple[Life, Denial]]] = {}
    for life in lives:
        found = None if ended_by_oom(facts, life) else denial(facts, life)
        if found:
            denied.setdefault((found.name, life.process, life.failed is not None), []).append((life, found))
    by_process = {process: [life for life in short if life.process == process] for process in dict.fromkeys(life.process for life in short)}
    return [
        *(_oom_killed(facts, mine) for mine in by_process.values()),
        *(_denied(name, mine) for (name, *_), mine in denied.items()),
    ]


def _oom_killed(facts: Facts, lives: Sequence[Life]) -> Finding:
    kills = sum(len(oom_kills_of(facts, life)) for life in lives)
    limited = any(event.limit_bytes for life in lives for event in life.oom_kills)
    unlimited = any(not event.limit_bytes for life in lives for event in life.oom_kills)
    return Finding(
        check=CHECK,
        name="oom-killed",
        verdict=Verdict.FAIL,
        title=f"the kernel killed a process of {_names(lives)} for want of memory"
        + (f", {count(kills, 'time')} in all" if kills > len(lives) else ""),
        evidence=some([_oom_proof(facts, life) for life in lives], most=5) + log_block(lives),
        cause="Without a limit of its own it has that of the machine, whose memory was used up." if unlimited and not limited else "",
        cure="Raise mem_limit if it needs that much, or bound what it keeps in memory: workers, caches, whole bodies of requests.",
        metric="oom_kills",
        replica=_only_name(lives),
        count=kills,
    )


def _oom_proof(facts: Facts, life: Life) -> str:
    kills = oom_kills_of(facts, life)
    limit = max((event.limit_bytes for event in life.oom_kills), default=0)
    ended = f"exit status {life.exited.status}" if life.exited and ended_by_oom(facts, life) else "its main process went on"
    times = f"{count(len(kills), 'time')}, first " if len(kills) > 1 else ""
    after = span((kills[0] - life.spawned_ns) / NS_PER_S)
    return f"{life.replica}: {f'with a limit of {bytes_text(limit)}, ' if limit else ''}{times}{after} after its start; {ended}"


def _denied(name: str, denied: Sequence[tuple[Life, Denial]]) -> Finding:
    lives = [life for life, _ in denied]
    started = lives[0].failed is None
    what = "a filesystem that it may write to" if name == WRITABLE else "a capability that it does not have"
    began = "ended" if started else "did not start"
    return Finding(
        check=CHECK,
        name=name,
        verdict=Verdict.FAIL,
        title=f"{_names(lives)} {began} for want of {what}",
        evidence=some([_denied_proof(*each) for each in denied], most=5),
        cause=_DENIED_CAUSES[name],
        cure=_writable_cure(denied[0][1]) if name == WRITABLE else _capability_cure(denied[0][1]),
        metric="died_by_itself" if started else "failed_starts",
        replica=_only_name(lives),
        step=only((life.failed.step for life in lives if life.failed), -1),
        count=len(lives),
    )


_DENIED_CAUSES: Final = {
    WRITABLE: "The scenario says read_only: true, and the app writes into its own filesystem all the same.",
    CAPABILITY: "The scenario drops capabilities (cap_drop), and what the log says was refused needs one, or rights on a file.",
}

_NEEDED_FOR: Final = {
    "chown": "CHOWN",
    "setuid": "SETUID",
    "setgid": "SETGID",
    "setgroups": "SETGID",
    "chroot": "SYS_CHROOT",
    "mknod": "MKNOD",
    "bind": "NET_BIND_SERVICE",
    "raw socket": "NET_RAW",
    "setpriority": "SYS_NICE",
    "mount": "SYS_ADMIN",
}
"""What a log line speaks of, and the capability that this needs (capabilities(7))."""


def _denied_proof(life: Life, found: Denial) -> str:
    ended_ns = life.failed.at_ns if life.failed else life.exited.at_ns if life.exited else life.spawned_ns
    status = f", exit status {life.exited.status}" if life.exited and not life.failed else ""
    return f"{life.replica}: {span((ended_ns - life.spawned_ns) / NS_PER_S)} after its start{status}; its log: {found.line[:300]}"


def _writable_cure(found: Denial) -> str:
    over = f"{(folder := PurePosixPath(found.path).parent)} (tmpfs: [{folder}])" if found.path else "the folder that it writes to (tmpfs:)"
    return f"Mount a tmpfs or a volume over {over} if the image holds nothing there that it needs; else let it write elsewhere."


def _capability_cure(found: Denial) -> str:
    needed = next((name for word, name in _NEEDED_FOR.items() if word in found.line.lower()), "")
    just = f"cap_add: [{needed}]" if needed else "cap_add"
    return f"Give it just the one that it needs ({just}), or let it do without, as an app that is started as its own user does."
