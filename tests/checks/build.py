"""Small histories as stories: replicas start, users ask, somebody stops a replica; each line as a run would have written it.

`tests/histories` holds what these stories make, as data, with the verdict and the finding that must be there in each file's name.
``python -m tests.checks.build`` writes them again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.checks.facts import Facts
from harness.checks.metrics import SAMPLERS
from harness.history import (
    AnyLine,
    Baseline,
    BaselineNumber,
    Close,
    Contained,
    Control,
    CutOff,
    Disturbed,
    EngineLost,
    Event,
    Exited,
    Generator,
    Header,
    Held,
    History,
    Invoke,
    Knocked,
    Lagged,
    LetGo,
    LoadBegan,
    LoadEnded,
    OomKilled,
    PhaseReached,
    Process,
    Restored,
    Routed,
    RunEnded,
    Scheduled,
    Signalled,
    Spawned,
    StartFailed,
    StepBegan,
    StepEnded,
    Streamed,
    Survived,
    Wrote,
    Zombies,
    build,
)
from harness.outcome import Outcome, Reached
from harness.scenario import Scenario

FOLDER = Path(__file__).parent.parent / "histories"
ZERO_NS = 5_000_000_000_000
MS = 1_000_000

STEADY_ONLY = ({"steady": "1s"},)
ONE_TERMINATE = ({"steady": "500ms"}, {"terminate": "oldest"}, {"steady": "500ms"})
ONE_PAUSE = ({"steady": "500ms"}, {"pause": {"replica": "oldest", "for": "500ms"}}, {"steady": "500ms"})
ONE_CUT = ({"steady": "500ms"}, {"cut_network": {"replica": "oldest", "for": "500ms"}}, {"steady": "500ms"})
ONE_SQUEEZE = ({"steady": "500ms"}, {"squeeze_memory": {"replica": "oldest", "to": "32m", "for": "500ms"}}, {"steady": "500ms"})
ONE_KILL = ({"steady": "500ms"}, {"kill": "oldest"}, {"steady": "500ms"})


def at(ms: float) -> int:
    """The instant ``ms`` after the story's zero, in nanoseconds."""
    return ZERO_NS + round(ms * MS)


def samples(history: History, metric: str, process: str | None = None) -> list[float]:
    """All samples of ``metric``, of one process type or of all together."""
    return SAMPLERS[metric](Facts(history), process)


def instant(line: AnyLine) -> int:
    """When a run would have written ``line``."""
    if isinstance(line, Header):
        return 0
    if isinstance(line, Close | Control | Knocked):
        return line.done_ns
    if isinstance(line, Signalled | Disturbed | Restored):
        return line.until_ns
    return line.at_ns


class Story:
    """Collects the lines of one history. All times are milliseconds after its zero."""

    def __init__(
        self,
        steps: Sequence[Mapping[str, Any]] = ONE_TERMINATE,
        *,
        expect: Sequence[str] = (),
        web: Mapping[str, Any] | None = None,
        others: Mapping[str, Any] | None = None,
        expected: Mapping[str, Any] | None = None,
    ) -> None:
        self.scenario = Scenario.model_validate(
            {
                "jetable": 1,
                "name": "a story",
                "target": {"web": {"command": ["app"], "replicas": 2, **(web or {})}, **(others or {})},
                "load": {
                    "process": "web",
                    "requests": [{"request": "GET /items/{id}", "expect": expected or {}}, {"POST /items": {"name": "x"}}],
                },
                "steps": list(steps),
                "expect": list(expect),
            }
        )
        self.lines: list[AnyLine] = []
        self.baseline: Baseline | None = None
        self.ops = 0
        self.step_number = 0

    # --- events -------------------------------------------------------------------------------------------------------

    def tell(self, *events: Event) -> None:
        """Add events as they are."""
        self.lines += events

    def step(self, begin: float, end: float, text: str, *, problem: str = "") -> int:
        """The next step, counted from 0, the start of the target."""
        number, self.step_number = self.step_number, self.step_number + 1
        name = text.split(maxsplit=1)[0]
        self.tell(StepBegan(at_ns=at(begin), step=number, name=name, text=text), StepEnded(at_ns=at(end), step=number, problem=problem))
        return number

    def start(self, replica: str, begin: float, *, step: int = 0, replaces: str = "", command: str = "app") -> None:
        """A replica that is healthy after 50 ms and then gets load."""
        self.tell(
            Spawned(
                at_ns=at(begin),
                step=step,
                replica=replica,
                process=replica.partition(".")[0],
                command=command,
                host="127.0.0.1",
                port=8000,
                pid=100,
                replaces=replaces,
            ),
            PhaseReached(at_ns=at(begin + 2), replica=replica, phase="running"),
            PhaseReached(at_ns=at(begin + 40), replica=replica, phase="listening"),
            PhaseReached(at_ns=at(begin + 50), replica=replica, phase="healthy"),
            Routed(at_ns=at(begin + 51), replica=replica, open=True),
        )

    def signal(self, replica: str, when: float, *, step: int = 2, **changes: Any) -> None:
        """SIGTERM of a terminate step, unless ``changes`` say otherwise."""
        purpose = changes.get("purpose", "terminate")
        signal, grace_s = ("SIGTERM", 10.0) if purpose in ("terminate", "scale") else ("SIGKILL", 0.0)
        given: dict[str, Any] = {
            "signal": signal,
            "purpose": purpose,
            "wants_busy": purpose in ("terminate", "kill"),
            "in_flight": 1,
            "grace_s": grace_s,
            **changes,
        }
        self.tell(Signalled(at_ns=at(when), until_ns=at(when) + 50_000, step=step, replica=replica, **given))
        if given.get("lag_s", 0) == 0 and purpose in ("terminate", "kill", "scale"):
            self.tell(Routed(at_ns=at(when), replica=replica, open=False))

    def disturb(self, replica: str, what: str, begin: float, end: float, **changes: Any) -> None:
        """``what`` is taken away and given back."""
        given: dict[str, Any] = {"step": 2, "wants_busy": True, "in_flight": 1, "detail": "to 32m" if what == "memory" else "", **changes}
        self.tell(
            Disturbed(at_ns=at(begin), until_ns=at(begin) + 50_000, replica=replica, what=what, **given),
            Restored(at_ns=at(end), until_ns=at(end) + 50_000, replica=replica, what=what, step=given["step"]),
        )

    def close_listener(self, replica: str, when: float, *, backlog: int = 0) -> None:
        """The port is closed."""
        self.tell(PhaseReached(at_ns=at(when), replica=replica, phase="stopped-listening", backlog=backlog))

    def knock(self, replica: str, begin: float, end: float, result: str) -> None:
        """Knocks every 20 ms, all with one result."""
        when = begin
        while when < end:
            self.tell(Knocked(at_ns=at(when), done_ns=at(when + 1), replica=replica, result=result))
            when += 20

    def exit(self, replica: str, when: float, status: int = 0, **changes: Any) -> None:
        """The main process ended; it had been signalled, unless ``changes`` say otherwise."""
        given = {"commanded": True, **changes, "log": tuple(changes.get("log", ()))}
        self.tell(Exited(at_ns=at(when), replica=replica, status=status, **given))

    def survive(self, replica: str, when: float, *commands: str) -> None:
        """Descendants outlived the replica; the first of them holds the port."""
        processes = tuple(Process(pid=200 + n, command=command, listening=n == 0) for n, command in enumerate(commands))
        self.tell(Survived(at_ns=at(when), replica=replica, after_ns=1000 * MS, processes=processes))

    def contain(self, **changes: Any) -> Story:
        """Put every replica into a container of its own, as another user than root unless ``changes`` say otherwise."""
        given = {"image": "jetable/web", "main": "python app.py", "uid": 1000, **changes}
        for line in list(self.lines):
            if isinstance(line, Spawned):
                begin = (line.at_ns - ZERO_NS) / MS
                self.tell(
                    PhaseReached(at_ns=at(begin + 0.5), replica=line.replica, phase="created"),
                    PhaseReached(at_ns=at(begin + 1.5), replica=line.replica, phase="started"),
                    Contained(at_ns=at(begin + 3), replica=line.replica, container=f"{line.replica}-c", **given),
                )
            elif isinstance(line, Exited):
                self.tell(PhaseReached(at_ns=line.at_ns + 5 * MS, replica=line.replica, phase="removed"))
        return self

    def cut_off(self, replica: str, when: float, *commands: str) -> None:
        """Process 1 ended before these."""
        processes = tuple(Process(pid=300 + n, command=command) for n, command in enumerate(commands))
        self.tell(CutOff(at_ns=at(when), replica=replica, processes=processes))

    def zombie(self, replica: str, when: float, *commands: str) -> None:
        """Processes that nobody waited for."""
        processes = tuple(Process(pid=400 + n, command=command) for n, command in enumerate(commands))
        self.tell(Zombies(at_ns=at(when), replica=replica, after_ns=500 * MS, processes=processes))

    def write(self, replica: str, *paths: str, more: int = 0) -> None:
        """What it added to its own filesystem, as it was seen at its end, and so many more files."""
        self.tell(Wrote(at_ns=at(1150), replica=replica, paths=tuple(f"A {path}" for path in paths), count=len(paths) + more))

    def oom(self, replica: str, when: float, *, limit_bytes: int = 64 << 20) -> None:
        """The kernel killed a process of it for want of memory."""
        self.tell(OomKilled(at_ns=at(when), replica=replica, limit_bytes=limit_bytes))

    def hold(self, what: str, end: str, ended: float, *answered: float, replica: str = "web.1", **changes: Any) -> None:
        """A connection that the harness held to a replica from 600 on, with these answers."""
        wanted = {"idle": 1, "http/1.0": 1, "pipelined": 3}.get(what, 0)
        given: dict[str, Any] = {
            "connected_ns": at(600.1),
            "sent_ns": at(600.2) if wanted else 0,
            "requests": wanted,
            "path": "" if what == "silent" else "/slow",
            "answered_ns": tuple(map(at, answered)),
            **changes,
        }
        self.tell(Held(at_ns=at(600), ended_ns=at(ended), step=2, replica=replica, what=what, end=end, **given))

    def compare(self, text: str, number: float, samples: int = 12) -> Story:
        """Its thresholds of this text have a baseline: this number, over so many samples."""
        numbers = (BaselineNumber(threshold=text, number=number, samples=samples),)
        self.baseline = Baseline(
            place="reports/main",
            name="a story",
            engine="process",
            machine="2 cores",
            began="2025-12-31T00:00:00.000+00:00",
            numbers=numbers,
        )
        return self

    # --- load ---------------------------------------------------------------------------------------------------------

    def ask(self, replica: str, begin: float, end: float, outcome: Outcome = Outcome.OK, **changes: Any) -> None:
        """One op with one attempt on ``replica`` from ``begin`` to ``end``; see `attempts`."""
        self.attempts([(replica, begin, end, outcome)], **changes)

    def attempts(self, tries: Iterable[tuple[str, float, float, Outcome]], **changes: Any) -> None:
        """One op; ``changes`` go to every close, ``user``, ``request`` and ``step`` to every invoke."""
        tries = list(tries)
        op, self.ops = self.ops, self.ops + 1
        told = {key: changes.pop(key) for key in ("user", "request", "step") if key in changes}
        for n, (replica, begin, end, outcome) in enumerate(tries):
            where = {"user": op % 4, "request": op % 2, "step": 1, **told}
            self.lines.append(Invoke(op=op, n=n, replica=replica, at_ns=at(begin), due_ns=at(begin), **where))
            given = {**_wire(outcome, begin, end), **changes}
            self.lines.append(Close(op=op, n=n, outcome=outcome.value, last=n == len(tries) - 1, done_ns=at(end), **given))

    def leave_open(self, replica: str, begin: float) -> None:
        """An op that nobody saw the end of."""
        self.lines.append(Invoke(op=self.ops, n=0, user=0, request=0, replica=replica, step=1, at_ns=at(begin), due_ns=at(begin)))
        self.ops += 1

    def load(self, replica: str, begin: float, end: float, *, every: float = 100, took: float = 8) -> None:
        """Answered requests, one after the other."""
        when = begin
        while when < end:
            self.ask(replica, when, when + took)
            when += every

    def watch(self, begin: float, end: float, *, every: float = 200) -> None:
        """Control requests that are answered at once, and a load that has time to spare."""
        when = begin
        while when < end:
            self.lines.append(Control(at_ns=at(when), done_ns=at(when + 0.4), ok=True))
            self.lines.append(Generator(at_ns=at(when + 100), lag_ns=2 * MS, cpu=0.21))
            when += every

    def load_ends(self, when: float) -> None:
        """The load closed its ledger in order."""
        invoked = sum(isinstance(line, Invoke) for line in self.lines)
        closed = sum(isinstance(line, Close) for line in self.lines)
        self.tell(LoadEnded(at_ns=at(when), invoked=invoked, closed=closed))

    # --- the whole ----------------------------------------------------------------------------------------------------

    def ordered(self) -> list[AnyLine]:
        """The header and all lines as they would have been written."""
        header = Header(
            format=1,
            run_id="20260101T000000-a-story-000000",
            harness="0.1.0",
            engine="docker" if any(isinstance(line, Contained) for line in self.lines) else "process",
            seed=7,
            scenario=self.scenario.model_dump_json(),
            scenario_path="story.yaml",
            started_ns=at(0),
            wall_start="2026-01-01T00:00:00.000+00:00",
            machine="2 cores",
            rerun="jetable run story.yaml --engine process --seed 7",
            baseline=self.baseline,
        )
        return [header, *sorted(self.lines, key=instant)]

    def history(self) -> History:
        """The history of these lines."""
        return build(self.ordered())

    def without(self, *kinds: type[AnyLine]) -> Story:
        """The same story, but without lines of ``kinds``."""
        self.lines = [line for line in self.lines if not isinstance(line, kinds)]
        return self


def _wire(outcome: Outcome, begin: float, end: float) -> dict[str, Any]:
    """What a load would have seen of an attempt that ended with ``outcome``."""
    sent = {"connected_ns": at(begin), "sent_ns": at(begin + 0.1), "tx": 80, "port": 40_000, "reused": True}
    answered = {**sent, "first_ns": at(end - 0.2), "reached": Reached.ANSWERED, "rx": 200}
    refused = {"reached": Reached.NOTHING, "error": "ECONNREFUSED"}
    seen: dict[Outcome, dict[str, Any]] = {
        Outcome.OK: {**answered, "status": 200},
        Outcome.WRONG: {**answered, "status": 404},
        Outcome.ERROR: {**answered, "status": 500},
        Outcome.REJECTED: {**answered, "status": 503},
        Outcome.REFUSED: refused,
        Outcome.STALE: {"reached": Reached.CONNECTED, "connected_ns": at(begin), "reused": True, "error": "EOF"},
        Outcome.TRUNCATED: {**answered, "reached": Reached.BODY, "status": 200, "error": "EOF"},
        Outcome.TIMEOUT: {**sent, "reached": Reached.SENT, "error": "TimeoutError"},
    }
    return seen.get(outcome, {**sent, "reached": Reached.SENT, "error": "ECONNRESET"})


# --- frames -----------------------------------------------------------------------------------------------------------------


def steady_run(*, expect: Sequence[str] = (), end: bool = True, web: Mapping[str, Any] | None = None) -> Story:
    """Two replicas and one second of load, nothing else."""
    story = Story(STEADY_ONLY, expect=expect, web=web)
    _begin(story)
    story.step(120, 1120, "steady for 1s")
    story.load("web.1", 130, 1100)
    story.load("web.2", 150, 1100)
    story.watch(120, 1120)
    if end:
        _end(story, 1200)
    return story


def stop_run(stop: Callable[[Story], None], *, steps: Sequence[Mapping[str, Any]] = ONE_TERMINATE, **options: Any) -> Story:
    """Two replicas under load; ``stop`` tells what happens to web.1 from 700 on; web.3 takes its place at 1800; the load ends at 2500."""
    command = options.pop("command", "app")
    story = Story(steps, **options)
    _begin(story, command=command)
    story.step(120, 690, "steady for 500ms")
    story.step(690, 1900, next(iter(steps[1])) + " oldest")
    story.step(1900, 2500, "steady for 500ms")
    story.load("web.1", 130, 660)
    story.load("web.2", 150, 2450)
    story.watch(120, 2500)
    stop(story)
    if not any(isinstance(line, Spawned) and line.replaces for line in story.lines):
        story.start("web.3", 1800, step=2, replaces="web.1", command=command)
        story.load("web.3", 1910, 2450)
    _end(story, 2600)
    return story


def disturb_run(tell: Callable[[Story], None], steps: Sequence[Mapping[str, Any]] = ONE_PAUSE, **options: Any) -> Story:
    """Two replicas under load; ``tell`` tells what happens to web.1 from 700 on, which is as before at 1300; the load ends at 2500."""
    story = Story(steps, **options)
    _begin(story)
    story.step(120, 690, "steady for 500ms")
    story.step(690, 1300, next(iter(steps[1])) + " oldest")
    story.step(1300, 2500, "steady for 500ms")
    story.load("web.1", 130, 660)
    story.load("web.2", 150, 2450)
    story.watch(120, 2500)
    tell(story)
    if not any(isinstance(line, Spawned) and line.replaces for line in story.lines):
        story.load("web.1", 1310, 2450)
    _end(story, 2600)
    return story


def _begin(story: Story, *, command: str = "app") -> None:
    story.step(1, 110, "start the target")
    story.start("web.1", 5, command=command)
    story.start("web.2", 6, command=command)
    story.tell(LoadBegan(at_ns=at(100), pid=99))


def _end(story: Story, when: float) -> None:
    """The load ends, what still runs is removed, the run says that it finished."""
    story.load_ends(when)
    gone = {line.replica for line in story.lines if isinstance(line, Exited)}
    for line in list(story.lines):
        if isinstance(line, Spawned) and line.replica not in gone:
            story.signal(line.replica, when + 10, step=-1, purpose="teardown", in_flight=-1)
            story.exit(line.replica, when + 12, 137)
    story.tell(RunEnded(at_ns=at(when + 50), how="finished"))


_SLOWER = "shutdown_time p(50) <= baseline + 10%"


def clean_stop(story: Story) -> None:
    """What is in flight at the signal is answered; then the process ends."""
    story.ask("web.1", 695, 760)
    story.signal("web.1", 700)
    story.close_listener("web.1", 702)
    story.knock("web.1", 705, 780, "refused")
    story.exit("web.1", 780, 0, log=["draining", "bye"])


def _hold_all(story: Story) -> None:
    """What an app does that stops as it should."""
    clean_stop(story)
    story.hold("idle", "closed", 705, 601)
    story.hold("silent", "closed", 706)
    story.hold("half-open", "reset", 707)
    story.hold("http/1.0", "done", 750.1, 750)
    story.hold("pipelined", "closed", 752, 751, close_told=True)


def _awaits_idle(story: Story, *, ends: bool = True) -> None:
    """Nothing is left to answer, and the clients close their connections only when the grace is over."""
    story.ask("web.1", 695, 760)
    story.signal("web.1", 700, grace_s=0.9)
    story.close_listener("web.1", 702)
    story.knock("web.1", 705, 1600, "refused")
    story.tell(LetGo(at_ns=at(1600), step=2, replica="web.1", held=3))
    story.hold("idle", "open", 1603, 601)
    story.hold("silent", "open", 1603)
    story.hold("half-open", "open", 1603)
    if not ends:
        story.signal("web.1", 1700, purpose="grace-over", in_flight=-1)
    story.exit("web.1", 1612 if ends else 1702, 0 if ends else 137)


def _drops_old_clients(story: Story, what: str, end: str, *answered: float) -> None:
    clean_stop(story)
    story.hold(what, end, 740, *answered)


def closes_idle_late() -> Story:
    """Two replicas under load; web.1 has answered all at 760 and ends when it has closed an idle connection, three seconds later."""
    story = Story()
    _begin(story)
    story.step(120, 690, "steady for 500ms")
    story.step(690, 4200, "terminate oldest")
    story.step(4200, 4700, "steady for 500ms")
    story.load("web.1", 130, 660)
    story.load("web.2", 150, 4650)
    story.watch(120, 4700)
    story.ask("web.1", 695, 760)
    story.signal("web.1", 700)
    story.close_listener("web.1", 702)
    story.knock("web.1", 705, 780, "refused")
    story.hold("idle", "closed", 3760, 601)
    story.exit("web.1", 3790, 0)
    story.start("web.3", 3800, step=2, replaces="web.1")
    story.load("web.3", 4210, 4650)
    _end(story, 4800)
    return story


# --- stories ----------------------------------------------------------------------------------------------------------------


def _dropped_in_flight(story: Story) -> None:
    story.ask("web.1", 690, 703, Outcome.CLOSED)
    story.ask("web.1", 692, 703.5, Outcome.TRUNCATED, reused=False)
    story.signal("web.1", 700)
    story.close_listener("web.1", 703)
    story.knock("web.1", 705, 780, "refused")
    story.exit("web.1", 703, 143, log=["listening on 8000"])


def _backlog(story: Story) -> None:
    story.ask("web.1", 690, 705, Outcome.CLOSED, reused=False)
    story.ask("web.1", 691, 730)
    story.signal("web.1", 700)
    story.close_listener("web.1", 705, backlog=1)
    story.exit("web.1", 740, 0)


def _killed_while_answering(story: Story) -> None:
    story.ask("web.1", 690, 1702, Outcome.TRUNCATED)
    story.signal("web.1", 700, grace_s=1.0)
    story.close_listener("web.1", 702)
    story.signal("web.1", 1700, purpose="grace-over", in_flight=-1)
    story.exit("web.1", 1702, 137)


def _ignores(story: Story) -> None:
    story.ask("web.1", 690, 760)
    story.signal("web.1", 700, grace_s=1.0)
    story.knock("web.1", 710, 1690, "served")
    story.signal("web.1", 1700, purpose="grace-over", in_flight=-1)
    story.exit("web.1", 1702, 137, log=["listening on 8000"])


def _cut_at_grace_end(story: Story) -> None:
    _ignores(story)
    story.ask("web.1", 695, 1701, Outcome.CLOSED)


def _after_signal(story: Story) -> None:
    story.ask("web.1", 690, 720)
    story.signal("web.1", 700, lag_s=0.2)
    story.knock("web.1", 705, 800, "served")
    story.ask("web.1", 790, 805, Outcome.CLOSED, reused=False)
    story.close_listener("web.1", 805)
    story.exit("web.1", 805, 0)
    story.tell(Routed(at_ns=at(900), replica="web.1", open=False))
    story.attempts([("web.1", 850, 851, Outcome.REFUSED), ("web.2", 851, 860, Outcome.OK)])


def _race(story: Story) -> None:
    story.ask("web.1", 690, 740)
    story.signal("web.1", 700)
    story.ask("web.1", 700.5, 701, Outcome.CLOSED)
    story.close_listener("web.1", 701)
    story.exit("web.1", 750, 0)


def _kill(story: Story, outcome: Outcome) -> None:
    story.ask("web.1", 690, 760 if outcome is Outcome.OK else 701, outcome)
    story.signal("web.1", 700, purpose="kill")
    story.exit("web.1", 701, 137)


def _idle(story: Story) -> None:
    story.signal("web.1", 700, in_flight=0)
    story.close_listener("web.1", 702)
    story.exit("web.1", 780, 0)


def _idle_on_purpose(story: Story) -> None:
    story.signal("web.1", 700, in_flight=0, wants_busy=False)
    story.exit("web.1", 780)


def _drained(story: Story) -> None:
    story.ask("web.1", 690, 740)
    story.tell(Routed(at_ns=at(700), replica="web.1", open=False))
    story.signal("web.1", 900, lag_s=-0.2)
    story.close_listener("web.1", 902)
    story.exit("web.1", 910, 0)


def _not_landed(story: Story) -> None:
    story.ask("web.1", 690, 720)
    story.signal("web.1", 700, delivered=False)
    story.exit("web.1", 699, 0)


def _gone_in_time(story: Story) -> None:
    """Its main process ended while the harness made up its mind to kill it."""
    story.ask("web.1", 690, 760)
    story.signal("web.1", 700, grace_s=1.0)
    story.exit("web.1", 1699, 0)
    story.signal("web.1", 1700, purpose="grace-over", in_flight=-1, delivered=False)


def _crash(story: Story) -> None:
    story.ask("web.1", 690, 760)
    story.signal("web.1", 700)
    story.exit("web.1", 780, 139, log=["draining", "Segmentation fault"])


def _orphans(story: Story) -> None:
    story.ask("web.1", 690, 800)
    story.ask("web.1", 690, 740)
    story.signal("web.1", 700)
    story.exit("web.1", 703, 0)


def _lagging(story: Story, *results: str) -> None:
    """The router learns of the stop 200 ms after the signal; until then new connections end with ``results``."""
    story.ask("web.1", 690, 760)
    story.signal("web.1", 700, lag_s=0.2)
    for number, result in enumerate(results):
        story.knock("web.1", 705 + 20 * number, 706 + 20 * number, result)
    story.close_listener("web.1", 905, backlog=2)
    story.exit("web.1", 910, 0)
    story.tell(Routed(at_ns=at(900), replica="web.1", open=False))


def _ended_by_eof(story: Story) -> None:
    story.ask("web.1", 695, 760, eof=True, request=0)
    story.ask("web.1", 695, 750)
    story.signal("web.1", 700)
    story.exit("web.1", 780, 0)


def _killed_at_the_end_of_an_answer(story: Story) -> None:
    story.ask("web.1", 695, 702, eof=True, request=0)
    story.attempts([("web.1", 695, 702, Outcome.CLOSED), ("web.2", 706, 715, Outcome.OK)])
    story.signal("web.1", 700, purpose="kill")
    story.exit("web.1", 701, 137)


def _lag(story: Story, *lags: tuple[float, float]) -> Story:
    """The harness stood still until each instant for so many milliseconds."""
    story.tell(*(Lagged(at_ns=at(when), lag_ns=round(ms * MS)) for when, ms in lags))
    return story


def _scheduled(story: Story, since: float, until: float, *, ran: float, waited: float) -> Story:
    """What the machine had given to web.1 of its CPUs when its time was over, in milliseconds."""
    had = (round(ms * MS) for ms in (ran, waited))
    story.tell(
        Scheduled(at_ns=at(until), since_ns=at(since), step=2, replica="web.1", **dict(zip(("ran_ns", "waited_ns"), had, strict=True)))
    )
    return story


def _refused(**options: Any) -> Story:
    story = steady_run(**options)
    story.attempts([("web.1", 700, 700.2, Outcome.REFUSED), ("web.2", 701, 708, Outcome.OK)])
    return _recounted(story)


def _surplus() -> Story:
    story = steady_run()
    story.ask("web.1", 700, 708, error="SURPLUS")
    return _recounted(story)


def _controls(*more: Control, until: float = 1200) -> Story:
    """Control samples until then, and more of them."""
    story = steady_run()
    story.lines = [line for line in story.lines if not (isinstance(line, Control) and line.at_ns > at(until))]
    story.lines += more
    return story


def _shell(story: Story) -> None:
    story.ask("web.1", 690, 720)
    story.signal("web.1", 700)
    story.exit("web.1", 702, 143)
    story.survive("web.1", 1702, "python app.py", "python worker.py")
    story.signal("web.1", 1703, purpose="survivor", in_flight=-1)


def _child(story: Story) -> None:
    clean_stop(story)
    story.survive("web.1", 1790, "sleep 3600")


def _unavailable(story: Story) -> None:
    clean_stop(story)
    story.attempts([("web.1", 790, 791, Outcome.REFUSED), ("", 791, 792, Outcome.REFUSED)])


def _errors(story: Story) -> None:
    story.ask("web.1", 690, 720, Outcome.ERROR)
    story.ask("web.1", 691, 721, Outcome.REJECTED)
    clean_stop(story)


def _not_dropped(story: Story) -> None:
    clean_stop(story)
    story.attempts([("web.1", 705, 706, Outcome.REFUSED), ("web.2", 706, 715, Outcome.OK)])
    story.attempts([("web.1", 705, 705.1, Outcome.STALE), ("web.2", 706, 715, Outcome.OK)])
    story.attempts([("web.1", 695, 705, Outcome.CLOSED), ("web.2", 706, 715, Outcome.OK)])


def _failed_start(reason: str, detail: str) -> Story:
    story = Story()
    story.step(1, 1100, "start the target", problem="it did not come to its end")
    story.start("web.1", 5)
    story.lines = [
        line for line in story.lines if not ((isinstance(line, PhaseReached) and line.phase == "healthy") or isinstance(line, Routed))
    ]
    story.tell(StartFailed(at_ns=at(1005), step=0, replica="web.1", reason=reason, detail=detail, log=("warming up",)))
    story.exit("web.1", 1006, 137)
    story.tell(RunEnded(at_ns=at(1100), how="aborted", why=detail))
    return story


def _with_workers(story: Story) -> None:
    """Process 1 ends before its two workers do."""
    clean_stop(story)
    story.cut_off("web.1", 780, "python worker.py", "python worker.py --more")


def _shell_cut_off(story: Story) -> None:
    story.ask("web.1", 695, 701)
    story.signal("web.1", 700)
    story.exit("web.1", 702, 143)
    story.cut_off("web.1", 702, "python app.py")


def _script(story: Story) -> None:
    _ignores(story)
    story.cut_off("web.1", 1702, "python app.py")


def _lost(**scenario: Any) -> Story:
    """The engine goes away while web.1 stops, and web.2 with it, in which a request is in flight."""
    story = Story(**scenario)
    _begin(story)
    story.step(120, 690, "steady for 500ms")
    story.load("web.1", 130, 690)
    story.load("web.2", 150, 690)
    story.watch(120, 800)
    story.ask("web.1", 695, 760)
    story.signal("web.1", 700, grace_s=1.0)
    story.tell(EngineLost(at_ns=at(770), why="the engine went away"))
    story.ask("web.2", 765, 779, Outcome.CLOSED)
    story.exit("web.1", 780, -1, lost=True)
    story.exit("web.2", 780, -1, lost=True, commanded=False)
    story.load_ends(800)
    story.tell(RunEnded(at_ns=at(810), how="aborted", why="the engine went away"))
    return story.contain()


def _tell(story: Story, *tell: Callable[[Story], None], **contained: Any) -> Story:
    """``story`` in containers, with more."""
    for each in tell:
        each(story)
    return story.contain(**contained)


def out_of_memory(*, squeezed: bool = False, **options: Any) -> Story:
    """web.1 ends for want of memory, of its own doing or because a step took it away."""
    story = steady_run(**options)
    story.exit("web.1", 704, 137, commanded=False, oom=True, log=["building the report"])
    _only_first_end(story)
    story.oom("web.1", 703, limit_bytes=16 << 20 if squeezed else 64 << 20)
    if squeezed:
        story.tell(
            Disturbed(at_ns=at(650), until_ns=at(651), step=1, replica="web.1", what="memory"),
            Restored(at_ns=at(800), until_ns=at(801), step=1, replica="web.1", what="memory", delivered=False),
        )
    return story.contain()


def _workerout_of_memory() -> Story:
    """The kernel kills a worker twice; the main process goes on."""
    story = steady_run()
    story.oom("web.1", 400, limit_bytes=0)
    story.oom("web.1", 600, limit_bytes=0)
    return story.contain()


def _denied_start(log: str, **web: Any) -> Story:
    story = Story(web=web)
    story.step(1, 1100, "start the target", problem="it did not come to its end")
    story.start("web.1", 5)
    story.lines = [
        line
        for line in story.lines
        if not (isinstance(line, PhaseReached) and line.phase in ("listening", "healthy")) and not isinstance(line, Routed)
    ]
    detail = "it exited with status 1 before it was healthy"
    story.exit("web.1", 100, 1, commanded=False, log=["warming up", log])
    story.tell(StartFailed(at_ns=at(101), step=0, replica="web.1", reason="exited", detail=detail, log=("warming up", log)))
    story.tell(RunEnded(at_ns=at(1100), how="aborted", why=detail))
    return story.contain()


def _denied_later(log: str, **options: Any) -> Story:
    story = steady_run(**options)
    story.exit("web.1", 704, 1, commanded=False, log=[log, "bye"])
    return _only_first_end(story).contain()


def _only_first_end(story: Story) -> Story:
    """web.1 is gone before the harness tears the rest down."""
    story.lines = [
        line for line in story.lines if not (isinstance(line, Signalled | Exited) and line.replica == "web.1" and instant(line) > at(1000))
    ]
    return story


def _with(story: Story, *asked: tuple[str, float, float, Outcome]) -> Story:
    """``story`` with more requests; the load counts them too."""
    for replica, begin, end, outcome in asked:
        story.ask(replica, begin, end, outcome)
    return _recounted(story)


def _recounted(story: Story) -> Story:
    ended = [line for line in story.lines if isinstance(line, LoadEnded)]
    story.without(LoadEnded).load_ends((ended[0].at_ns - ZERO_NS) / MS)
    return story


def _died(outcome: Outcome) -> Story:
    story = steady_run()
    story.exit("web.1", 704, 139, commanded=False, log=["Segmentation fault"])
    return _with(_only_first_end(story), ("web.1", 700, 705, outcome))


def _saturated() -> Story:
    story = steady_run()
    story.lines = [msgspec.structs.replace(line, cpu=0.99) if isinstance(line, Generator) else line for line in story.lines]
    return story


def _late(*, crowded: int = 0) -> Story:
    story = steady_run()
    late = {"late": 3, "crowded": crowded, "arrivals": 100}
    story.lines = [msgspec.structs.replace(line, **late) if isinstance(line, Generator) else line for line in story.lines]
    return story


def _stalled(outcome: Outcome) -> Story:
    story = steady_run()
    story.lines.append(Control(at_ns=at(400), done_ns=at(900), ok=False, error="TimeoutError"))
    return _with(story, ("web.1", 380, 890, outcome))


def _open() -> Story:
    story = steady_run()
    story.leave_open("web.1", 1000)
    return _recounted(story)


def _miscounted() -> Story:
    story = steady_run()
    first = next(line for line in story.lines if isinstance(line, Invoke))
    story.lines = [line for line in story.lines if not (isinstance(line, Invoke | Close) and line.op == first.op)]
    return story


def _interrupted() -> Story:
    story = steady_run().without(RunEnded, StepEnded, LoadEnded)
    story.ask("web.1", 1100, 1150, Outcome.UNFINISHED)
    story.load_ends(1160)
    story.tell(RunEnded(at_ns=at(1250), how="interrupted", why="somebody stopped the harness"))
    return story


def _problem() -> Story:
    story = stop_run(clean_stop)
    story.lines = [
        msgspec.structs.replace(line, problem="no replica of web was up") if isinstance(line, StepEnded) and line.step == 3 else line
        for line in story.lines
    ]
    return story


def many_kills(outcome: Outcome, *, retried: bool = False, **options: Any) -> Story:
    """Kills of one replica after the other, each busy; ``retried``: what they cut is answered elsewhere."""
    count = 6
    story = Story(({"steady": "500ms"}, {"kill": "oldest", "repeat": count}, {"steady": "500ms"}), **options)
    _begin(story)
    story.step(120, 600, "steady for 500ms")
    for number in range(count):
        begin, victim = 700 + 200 * number, f"web.{number + 1}" if number == 0 else f"web.{number + 2}"
        step = story.step(begin - 50, begin + 100, "kill oldest")
        story.load(victim, begin - 100, begin - 20, every=20)
        again = [("web.2", begin + 2, begin + 10, Outcome.OK)] if retried else []
        story.attempts([(victim, begin - 5, begin + 1, Outcome.CLOSED if retried else outcome), *again])
        story.signal(victim, begin, purpose="kill", step=step)
        story.exit(victim, begin + 1, 137)
        story.start(f"web.{number + 3}", begin + 5, step=step, replaces=victim)
    story.step(1900, 2450, "steady for 500ms")
    story.load("web.2", 150, 2400)
    story.watch(120, 2500)
    _end(story, 2600)
    return story


def _worker(story: Story) -> None:
    story.start("worker.1", 7)
    story.lines = [line for line in story.lines if not (isinstance(line, Routed) and line.replica == "worker.1")]
    story.signal("worker.1", 700, in_flight=-1)
    story.exit("worker.1", 720, 0)
    story.start("worker.2", 800, step=2, replaces="worker.1")


def _gap(story: Story) -> None:
    """Nothing is answered after the last fault."""
    clean_stop(story)
    story.start("web.3", 1800, step=2, replaces="web.1")
    late = {line.op for line in story.lines if isinstance(line, Invoke) and line.at_ns > at(1700)}
    story.lines = [line for line in story.lines if not (isinstance(line, Invoke | Close) and line.op in late)]


def _hung(story: Story) -> None:
    """web.1 hangs from 700 to 1200 and then answers all that it was asked meanwhile."""
    story.ask("web.1", 690, 1208)
    story.ask("web.1", 800, 1210)
    story.disturb("web.1", "pause", 700, 1200)


def _hung_too_long(story: Story) -> None:
    story.ask("web.1", 690, 1090, Outcome.TIMEOUT)
    story.ask("web.1", 790, 1190, Outcome.TIMEOUT)
    story.disturb("web.1", "pause", 700, 1200)


def _cut_after_a_pause(story: Story) -> None:
    story.ask("web.1", 690, 1205, Outcome.CLOSED)
    story.disturb("web.1", "pause", 700, 1200)


def _unreachable(story: Story) -> None:
    """What is in flight gets no answer, and whoever connects anew gets no connection."""
    story.ask("web.1", 690, 1190, Outcome.TIMEOUT)
    story.attempts([("web.1", 710, 1210, Outcome.REFUSED)], error="TimeoutError")
    story.disturb("web.1", "network", 700, 1200)


def _reset_while_unreachable(story: Story) -> None:
    story.ask("web.1", 690, 1205, Outcome.CLOSED)
    story.disturb("web.1", "network", 700, 1200)


def _reachable_again(story: Story) -> None:
    story.ask("web.1", 690, 1208)
    story.attempts([("web.1", 710, 760, Outcome.REFUSED), ("web.2", 760, 768, Outcome.OK)])
    story.disturb("web.1", "network", 700, 1200)


def _oom_without_end(story: Story, *, main: bool) -> None:
    """The kernel kills in web.1, which does not get its memory back."""
    _oom(story, ("web.2", 712, 720, Outcome.OK), main=main)
    story.lines = [msgspec.structs.replace(line, delivered=False) if isinstance(line, Restored) else line for line in story.lines]


def _oom(story: Story, *again: tuple[str, float, float, Outcome], main: bool = False) -> None:
    """The kernel kills in web.1 at 710 and cuts a request, which is then sent ``again``."""
    story.attempts([("web.1", 690, 711, Outcome.CLOSED), *again])
    story.disturb("web.1", "memory", 700, 712 if main else 1200)
    story.tell(OomKilled(at_ns=at(710), replica="web.1", limit_bytes=32 << 20))
    if main:
        story.tell(Exited(at_ns=at(711), replica="web.1", status=137, commanded=True, oom=True))
        story.tell(Routed(at_ns=at(711), replica="web.1", open=False))
        story.start("web.3", 1000, step=2, replaces="web.1")
        story.load("web.3", 1310, 2450)


def _little_memory(story: Story) -> None:
    story.ask("web.1", 690, 1190, Outcome.TIMEOUT)
    story.disturb("web.1", "memory", 700, 1200)


def _squeezed_in_vain(story: Story) -> None:
    story.ask("web.1", 690, 740)
    story.disturb("web.1", "memory", 700, 1200)


def _again(story: Story) -> None:
    """A second SIGTERM cuts what the first one had let be answered."""
    story.ask("web.1", 690, 905, Outcome.CLOSED)
    story.signal("web.1", 700)
    story.close_listener("web.1", 702)
    story.signal("web.1", 900, purpose="again", signal="SIGTERM", in_flight=-1)
    story.exit("web.1", 905, 143)


def _reload(story: Story, *asked: tuple[float, float, Outcome]) -> None:
    """SIGHUP, through which web.1 lives."""
    for begin, end, outcome in asked:
        story.ask("web.1", begin, end, outcome)
    story.signal("web.1", 700, purpose="signal", signal="SIGHUP", wants_busy=True)
    story.load("web.1", 1310, 2450)


def _ended_by_reload(story: Story, status: int = 129) -> None:
    story.ask("web.1", 690, 702, Outcome.CLOSED)
    story.signal("web.1", 700, purpose="signal", signal="SIGHUP", wants_busy=True)
    story.exit("web.1", 702, status, commanded=False, log=["reloading"])


def reload_run(tell: Callable[[Story], None]) -> Story:
    """Two replicas under load; ``tell`` tells what SIGHUP at 700 does to web.1, which is as before unless it ends."""
    return disturb_run(tell, steps=ONE_PAUSE) if tell is not _ended_by_reload else stop_run(tell)


def start_run(status: int, exit_ms: float, *, killed: bool = False, log: Sequence[str] = ()) -> Story:
    """web.3 gets SIGTERM at 800, 100 ms after it was asked for and before it listens; web.4 starts where it was."""

    def tell(story: Story) -> None:
        story.ask("web.1", 690, 760)
        story.tell(
            Spawned(at_ns=at(700), step=2, replica="web.3", process="web", command="app", host="127.0.0.1", port=8001, pid=300),
            PhaseReached(at_ns=at(702), replica="web.3", phase="running"),
        )
        story.signal("web.3", 800, purpose="start", signal="SIGTERM", grace_s=1.0, in_flight=-1, wants_busy=False)
        if killed:
            story.signal("web.3", 1800, purpose="grace-over", in_flight=-1)
        story.exit("web.3", exit_ms, status, log=log)
        story.start("web.4", 1810, step=2, replaces="web.3")

    return stop_run(tell)


def _to_none(story: Story) -> None:
    """The scenario scales to none and back; nobody is there meanwhile."""
    for number, when in ((2, 700), (1, 800)):
        story.ask(f"web.{number}", when - 5, when + 20)
        story.signal(f"web.{number}", when, purpose="scale")
        story.exit(f"web.{number}", when + 60)
    for when in range(900, 1500, 50):
        story.attempts([("", when, when + 0.2, Outcome.REFUSED)])
    story.start("web.3", 1600, step=3)
    story.load("web.3", 1700, 2450)


def to_none_run() -> Story:
    """Two replicas, none, and one again."""
    story = Story(({"steady": "500ms"}, {"scale": {"web": 0}}, {"scale": {"web": 1}}, {"steady": "500ms"}))
    _begin(story)
    story.step(120, 690, "steady for 500ms")
    story.step(690, 900, "scale web to 0")
    story.step(1500, 1690, "scale web to 1")
    story.step(1690, 2500, "steady for 500ms")
    story.load("web.1", 130, 760)
    story.load("web.2", 150, 660)
    story.watch(120, 2500)
    _to_none(story)
    _end(story, 2600)
    return story


def failed_successor(log: str, *orphans: str, reason: str = "exited") -> Story:
    """web.1 is killed, ``orphans`` outlive it, and web.3 does not start in its place."""

    def tell(story: Story) -> None:
        story.ask("web.1", 690, 740)
        story.signal("web.1", 700, purpose="kill")
        story.exit("web.1", 701, 137)
        if orphans:
            story.survive("web.1", 1701, *orphans)
        story.start("web.3", 1800, step=2, replaces="web.1")
        told = [line for line in story.lines if getattr(line, "replica", "") == "web.3" and not isinstance(line, Spawned)]
        story.lines = [line for line in story.lines if line not in told]
        detail = "it exited with status 1 before it was healthy"
        story.tell(StartFailed(at_ns=at(1850), step=2, replica="web.3", reason=reason, detail=detail, log=("starting", log)))
        story.exit("web.3", 1849, 1, commanded=False, log=["starting", log])

    return stop_run(tell, steps=({"steady": "500ms"}, {"kill": {"replica": "oldest", "scope": "main"}}, {"steady": "500ms"}))


def _wrong_moment(story: Story, when: str) -> None:
    story.ask("web.1", 690, 760)
    story.signal("web.1", 700)
    story.lines = [msgspec.structs.replace(line, when=when) if isinstance(line, Signalled) else line for line in story.lines]
    story.exit("web.1", 780)


class _Unreadable(Story):
    def ordered(self) -> list[AnyLine]:
        """As it was, but for the scenario."""
        header, *lines = super().ordered()
        assert isinstance(header, Header)
        return [msgspec.structs.replace(header, scenario="{}"), *lines]


def _unreadable_scenario() -> Story:
    story = steady_run()
    story.__class__ = _Unreadable
    return story


_KILL: dict[str, Any] = {"steps": ONE_KILL}
_SHELL: dict[str, Any] = {"command": "sh -c python app.py & wait"}
_WORKER: dict[str, Any] = {"others": {"worker": {"command": ["work"]}}}
_ANY = ({"steady": "500ms"}, {"terminate": {"replica": "oldest", "when": "any"}}, {"steady": "500ms"})

_READ_ONLY: dict[str, Any] = {"read_only": True}
_EROFS = "OSError: [Errno 30] Read-only file system: '/app/data/pid'"
_EPERM = "PermissionError: [Errno 1] Operation not permitted: chown '/srv'"
_PYC = "/app/__pycache__/app.cpython-311.pyc"

# --- streams ----------------------------------------------------------------------------------------------------------------


def subscribe(story: Story, *connections: Mapping[str, Any], **stream: Any) -> None:
    """One subscription over ``connections``; each names replica, begin, end, how it ended, and what of `Streamed` is special about it."""
    data = json.loads(story.scenario.model_dump_json())
    if "stream" not in data["load"]["requests"][-1]:
        data["load"]["requests"].append({"request": "GET /events", "name": "events", "stream": {"kind": "sse", **stream}})
        story.scenario = Scenario.model_validate_json(json.dumps(data))
    request, op, story.ops = 2, story.ops, story.ops + 1
    outcomes = {"complete": Outcome.OK, "ended": Outcome.ENDED}
    for n, told in enumerate(connections):
        given = dict(told)
        replica, begin, end, how = (given.pop(key) for key in ("replica", "begin", "end", "how"))
        story.lines.append(Invoke(op=op, n=n, user=9, request=request, replica=replica, step=1, at_ns=at(begin), due_ns=at(begin)))
        if how not in {*outcomes, "cut", "eof"}:
            status, error = {"sent_ns": at(begin + 0.1), "status": 500}, Outcome.ERROR.value
            story.lines.append(Close(op=op, n=n, outcome=error, reached=Reached.ANSWERED, last=True, done_ns=at(end), **status))
            continue
        numbers = {"events": 10, "first_event_ns": at(begin + 3), "last_event_ns": at(end - 1), "resumed": n > 0, **given}
        if n:
            numbers = {"away_ns": 60 * MS, "waited_ns": 50 * MS, **numbers}
        outcome = outcomes.get(how, Outcome.CUT)
        reached = Reached.ANSWERED if outcome is Outcome.OK else Reached.BODY
        seen = {"connected_ns": at(begin), "sent_ns": at(begin + 0.1), "first_ns": at(begin + 2), "status": 200, "rx": 500}
        story.lines += [
            Streamed(op=op, n=n, at_ns=at(end), opened_ns=at(begin + 2), end=how, **numbers),
            Close(op=op, n=n, outcome=outcome.value, reached=reached, last=outcome is Outcome.OK, done_ns=at(end), **seen),
        ]


def stream_run(*connections: Mapping[str, Any], how: str = "ended", expect: Sequence[str] = (), **stream: Any) -> Story:
    """A clean stop of web.1, where a stream is open from 200 to 705 that ends as ``how`` says, and then has ``connections``."""
    first = {"replica": "web.1", "begin": 200, "end": 705, "how": how, "first_id": 1, "last_id": 10}

    def stop(story: Story) -> None:
        clean_stop(story)
        subscribe(story, first, *connections, **stream)

    return stop_run(stop, expect=expect)


def resumed(**changes: Any) -> Mapping[str, Any]:
    """The connection after that, on which the stream goes on to its end."""
    return {"replica": "web.2", "begin": 760, "end": 1700, "how": "complete", "first_id": 11, "last_id": 20, **changes}


def _held_streams(story: Story) -> None:
    first = {"replica": "web.1", "begin": 200, "end": 1701, "how": "cut", "first_id": 1, "last_id": 10}
    story.signal("web.1", 700, grace_s=1.0)
    story.signal("web.1", 1700, purpose="grace-over", in_flight=-1)
    story.exit("web.1", 1702, 137)
    subscribe(story, first, resumed(begin=1760, end=2400))


def _holds_too_late(story: Story) -> None:
    """What was asked for was answered before the signal, and nobody could connect without asking."""
    load = story.scenario.load.model_copy(update={"connections": ("http/1.0", "silent")})
    story.scenario = story.scenario.model_copy(update={"load": load})
    clean_stop(story)
    story.hold("http/1.0", "done", 650, 649)
    story.hold("silent", "refused", 600.1, connected_ns=0)


def _stream_elsewhere(story: Story) -> None:
    clean_stop(story)
    subscribe(story, resumed(begin=200, first_id=1, resumed=False))


STORIES: dict[str, Callable[[], Story]] = {
    "pass--streams-resumed": lambda: stream_run(resumed(), expect=["lost_events == 0", "repeated_events == 0", "resume_time max < 1s"]),
    "pass--streams-ended": lambda: stream_run(resumed()),
    "pass--streams-counted": lambda: stream_run(resumed()),
    "pass--stream-cut": lambda: stream_run(resumed(), how="cut"),
    "fail--stream-cut": lambda: stream_run(resumed(), how="cut", expect=["cut_streams == 0"]),
    "pass--streams-ended--by-the-end-of-the-connection": lambda: stream_run(resumed(), how="eof", expect=["cut_streams == 0"]),
    "fail--streams-held": lambda: stop_run(_held_streams),
    "unknown--streams-not-met": lambda: stop_run(_stream_elsewhere),
    "pass--no-streams": steady_run,
    "pass--streams-reconnected": lambda: stream_run(resumed(first_id=17, missing=6), resume=False),
    "fail--stream-events-lost": lambda: stream_run(resumed(first_id=14, missing=3)),
    "fail--stream-events-lost--everywhere": lambda: stream_run(resumed(first_id=14, missing=3, skipped=2, holes=1)),
    "fail--stream-events-lost--within": lambda: stream_run(resumed(skipped=2, holes=1)),
    "pass--stream-events-lost--allowed": lambda: stream_run(resumed(first_id=14, missing=3), expect=["lost_events <= 3"]),
    "pass--streams-resumed--late": lambda: stream_run(resumed(first_id=12, missing=1, late=1)),
    "fail--stream-events-repeated": lambda: stream_run(resumed(first_id=9, twice=2)),
    "fail--errors--of-a-stream": lambda: stream_run({"replica": "web.2", "begin": 760, "end": 770, "how": "error"}),
    "unknown--stream-not-verifiable": lambda: stream_run(resumed(first_id=-1, unnumbered=10)),
    "unknown--stream-not-verifiable--not-successive": lambda: stream_run(resumed(skipped=40, holes=12)),
    "unknown--stream-not-verifiable--nothing-came": lambda: stream_run(resumed(events=0, first_id=-1, first_event_ns=0, last_event_ns=0)),
    "unknown--expectation-unknown--streams": lambda: steady_run(expect=["resume_time p(95) < 1s", "lost_events == 0"]),
    "pass--faults-landed": lambda: stop_run(clean_stop),
    "pass--no-request-dropped": lambda: stop_run(
        clean_stop, expect=["dropped_requests == 0", "shutdown_time p(95) < 5s", "exit_status == 0"]
    ),
    "pass--no-fault": steady_run,
    "pass--expectation-not-applicable": steady_run,
    "pass--faults-landed--drained": lambda: stop_run(_drained),
    "pass--faults-landed--idle-on-purpose": lambda: stop_run(_idle_on_purpose, steps=_ANY),
    "pass--redirected": lambda: stop_run(_not_dropped),
    "pass--retried": lambda: stop_run(_not_dropped),
    "pass--stale-connections": lambda: stop_run(_not_dropped),
    "pass--control-stalled": lambda: _stalled(Outcome.OK),
    "pass--lost-by-kill--allowed": lambda: stop_run(lambda story: _kill(story, Outcome.CLOSED), **_KILL, expect=["dropped_requests <= 2"]),
    "pass--survivors--allowed": lambda: stop_run(_child, expect=["web.survivors <= 1"]),
    "pass--listener-after-signal": lambda: stop_run(clean_stop),
    "pass--connections-at-signal": lambda: stop_run(_hold_all),
    "pass--idle-connections-closed-late": closes_idle_late,
    "pass--pipelined-unanswered": lambda: stop_run(lambda story: _drops_old_clients(story, "pipelined", "closed", 720)),
    "pass--no-stop-met": steady_run,
    "fail--idle-connections-awaited": lambda: stop_run(_awaits_idle),
    "fail--killed-after-grace--let-go": lambda: stop_run(lambda story: _awaits_idle(story, ends=False)),
    "unknown--held-not-met": lambda: stop_run(_holds_too_late),
    "fail--http-1-0-dropped": lambda: stop_run(lambda story: _drops_old_clients(story, "http/1.0", "closed")),
    "fail--pipelined-dropped": lambda: stop_run(lambda story: _drops_old_clients(story, "pipelined", "cut", 720)),
    "fail--dropped-in-flight": lambda: stop_run(_dropped_in_flight),
    "fail--dropped-in-flight--backlog": lambda: stop_run(_backlog),
    "fail--dropped-in-flight--grace-over": lambda: stop_run(_killed_while_answering),
    "fail--dropped-after-signal": lambda: stop_run(_after_signal),
    "fail--keep-alive-race": lambda: stop_run(_race),
    "fail--lost-by-kill": lambda: stop_run(lambda story: _kill(story, Outcome.CLOSED), **_KILL),
    "fail--lost-by-kill--many": lambda: many_kills(Outcome.TRUNCATED),
    "fail--unavailable": lambda: stop_run(_unavailable),
    "fail--errors": lambda: stop_run(_errors),
    "fail--rejected": lambda: stop_run(_errors),
    "fail--wrong-answers": lambda: _with(steady_run(), ("web.1", 700, 710, Outcome.WRONG)),
    "fail--truncated-answers": lambda: _with(steady_run(), ("web.1", 700, 710, Outcome.TRUNCATED)),
    "fail--timeouts": lambda: _with(steady_run(), ("web.1", 200, 1100, Outcome.TIMEOUT)),
    "fail--unfinished": lambda: _with(steady_run(), ("web.1", 200, 1190, Outcome.UNFINISHED)),
    "fail--dropped-without-fault": lambda: _with(steady_run(), ("web.1", 700, 701, Outcome.CLOSED)),
    "fail--died-by-itself": lambda: _died(Outcome.CLOSED),
    "fail--killed-after-grace": lambda: stop_run(_ignores),
    "fail--survivors": lambda: stop_run(_child),
    "fail--signal-swallowed-by-shell": lambda: stop_run(_shell, **_SHELL),
    "fail--signal-swallowed-by-shell--until-sigkill": lambda: stop_run(_ignores, **_SHELL),
    "fail--never-ready": lambda: _failed_start("never-healthy", "GET /healthz was answered with 503 (waited 1s)"),
    "fail--exited-at-start": lambda: _failed_start("exited", "it exited with status 1 before it was healthy"),
    "fail--port-taken": lambda: _failed_start("port-taken", "port 8000 is held by another program"),
    "fail--port-taken--starved": lambda: _scheduled(
        _failed_start("port-taken", "port 8000 is held by another program"), 0, 150, ran=20, waited=120
    ),
    "fail--start-failed": lambda: _failed_start("lost-its-way", "it went elsewhere"),
    "pass--exit-statuses--gone-at-the-end-of-its-grace": lambda: stop_run(_gone_in_time),
    "fail--crashed-while-stopping": lambda: stop_run(_crash),
    "pass--crashed-while-stopping--allowed": lambda: stop_run(_crash, expect=["exit_status in (0, 139)"]),
    "pass--no-survivors": lambda: stop_run(clean_stop),
    "fail--answered-by-orphans": lambda: stop_run(_orphans),
    "fail--new-connections-dropped": lambda: stop_run(lambda story: _lagging(story, "served", "reset", "hung", "hung")),
    "pass--listener-after-signal--slow": lambda: stop_run(lambda story: _lagging(story, "hung", "hung", "served", "refused")),
    "pass--listener-after-signal--one-hung": lambda: stop_run(lambda story: _lagging(story, "served", "hung", "rejected", "refused")),
    "fail--refused-without-fault": _refused,
    "pass--refused-without-fault--allowed": lambda: _refused(expect=["redirected_requests <= 1"]),
    "pass--no-request-dropped--end-told-by-the-body": lambda: stop_run(_ended_by_eof, expected={"body_contains": "item"}),
    "unknown--end-not-provable": lambda: stop_run(_ended_by_eof),
    "unknown--end-not-provable--kill": lambda: stop_run(_killed_at_the_end_of_an_answer, **_KILL),
    "unknown--surplus-bytes": _surplus,
    "unknown--fault-on-idle--answered-before-the-kill": lambda: stop_run(lambda story: _kill(story, Outcome.OK), **_KILL),
    "pass--harness-stalled": lambda: _lag(stop_run(clean_stop), (1820, 300)),
    "unknown--harness-stalled": lambda: _lag(stop_run(clean_stop), (725, 150), (775, 120)),
    "unknown--replica-starved": lambda: _scheduled(stop_run(_ignores), 700, 1600, ran=90, waited=700),
    "unknown--replica-starved--cut": lambda: _scheduled(stop_run(_cut_at_grace_end), 700, 1700, ran=90, waited=800),
    "unknown--replica-starved--let-go": lambda: _scheduled(stop_run(_awaits_idle), 700, 1600, ran=20, waited=690),
    "unknown--replica-starved--at-its-start": lambda: _scheduled(
        _failed_start("never-healthy", "GET /healthz got no answer: TimeoutError (waited 1s)"), 0, 1000, ran=200, waited=760
    ),
    "unknown--expectation-unknown--harness-stalled": lambda: _lag(stop_run(clean_stop, expect=["shutdown_time max < 50ms"]), (775, 260)),
    "unknown--app-too-slow-for-rate": lambda: _late(crowded=3),
    "unknown--control-missing--ended-early": lambda: _controls(until=90),
    "unknown--control-missing--refused": lambda: _controls(Control(at_ns=at(700), done_ns=at(701), ok=False, error="ECONNREFUSED")),
    "fail--expectation-failed": lambda: stop_run(clean_stop, expect=["shutdown_time max < 50ms"]),
    "fail--expectation-failed--baseline": lambda: stop_run(clean_stop, expect=[_SLOWER]).compare(_SLOWER, 0.07),
    "pass--expectation-held--baseline": lambda: stop_run(clean_stop, expect=[_SLOWER]).compare(_SLOWER, 0.075),
    "unknown--expectation-unknown--no-baseline": lambda: stop_run(clean_stop, expect=[_SLOWER]),
    "fail--outage": lambda: stop_run(_unavailable),
    "unknown--expectation-unknown": lambda: steady_run(expect=["shutdown_time p(95) < 5s"]),
    "unknown--expectation-unknown--survivors": lambda: steady_run(expect=["survivors == 0"]),
    "unknown--fault-on-idle": lambda: stop_run(_idle),
    "unknown--fault-on-idle--no-load-there": lambda: stop_run(_worker, **_WORKER),
    "unknown--fault-not-landed": lambda: stop_run(_not_landed),
    "pass--faults-landed--paused": lambda: disturb_run(_hung),
    "pass--faults-landed--cut-off": lambda: disturb_run(_reachable_again, ONE_CUT),
    "pass--faults-landed--worker-killed": lambda: disturb_run(
        lambda story: _oom(story, ("web.2", 712, 720, Outcome.OK)),
        ONE_SQUEEZE,
    ),
    "pass--no-request-dropped--main-process-killed": lambda: disturb_run(
        lambda story: _oom(story, ("web.2", 712, 720, Outcome.OK), main=True),
        ONE_SQUEEZE,
    ),
    "pass--dropped-while-paused--allowed": lambda: disturb_run(_hung_too_long, expect=["dropped_requests <= 2"]),
    "fail--dropped-while-paused": lambda: disturb_run(_hung_too_long),
    "fail--dropped-while-paused--cut-afterwards": lambda: disturb_run(_cut_after_a_pause),
    "fail--dropped-while-cut-off": lambda: disturb_run(_unreachable, ONE_CUT),
    "fail--dropped-while-cut-off--reset": lambda: disturb_run(_reset_while_unreachable, ONE_CUT),
    "fail--lost-by-oom": lambda: disturb_run(lambda story: _oom(story, main=True), ONE_SQUEEZE),
    "fail--lost-by-oom--worker": lambda: disturb_run(_oom, ONE_SQUEEZE),
    "fail--dropped-while-squeezed": lambda: disturb_run(_little_memory, ONE_SQUEEZE),
    "unknown--fault-not-landed--nothing-to-pause": lambda: disturb_run(
        lambda story: story.disturb("web.1", "pause", 700, 701, delivered=False)
    ),
    "unknown--fault-not-landed--nothing-killed": lambda: disturb_run(_squeezed_in_vain, ONE_SQUEEZE),
    "unknown--fault-on-idle--paused": lambda: disturb_run(lambda story: story.disturb("web.1", "pause", 700, 1200, in_flight=0)),
    "unknown--fault-not-reversed": lambda: disturb_run(lambda story: _oom_without_end(story, main=False), ONE_SQUEEZE),
    "pass--faults-landed--gone-before-it-was-reversed": lambda: disturb_run(lambda story: _oom_without_end(story, main=True), ONE_SQUEEZE),
    "unknown--no-load": lambda: _recounted(steady_run().without(Invoke, Close)),
    "unknown--no-requests": lambda: _recounted(steady_run().without(Invoke, Close)),
    "unknown--load-gap": lambda: _recounted(stop_run(_gap)),
    "unknown--load-died": lambda: steady_run().without(LoadEnded),
    "unknown--ledger-open": _open,
    "unknown--ledger-open--miscounted": _miscounted,
    "unknown--run-incomplete": lambda: steady_run(end=False),
    "unknown--run-incomplete--interrupted": _interrupted,
    "unknown--unfinished": _interrupted,
    "unknown--step-problem": _problem,
    "unknown--control-missing": lambda: steady_run().without(Control),
    "unknown--generator-missing": lambda: steady_run().without(Generator),
    "unknown--generator-saturated": _saturated,
    "unknown--generator-saturated--late": _late,
    "unknown--control-stalled": lambda: _stalled(Outcome.TIMEOUT),
    "unknown--check-raised": _unreadable_scenario,
    "pass--no-containers": steady_run,
    "pass--containers": lambda: stop_run(clean_stop).contain(),
    "pass--none-cut-off": lambda: stop_run(clean_stop).contain(),
    "pass--runs-as-root": lambda: stop_run(clean_stop).contain(uid=0),
    "fail--runs-as-root": lambda: stop_run(clean_stop, expect=["root_replicas == 0"]).contain(uid=0),
    "pass--writes-own-filesystem": lambda: _tell(steady_run(), lambda story: story.write("web.1", "/app/data/a", "/app/data/b", _PYC)),
    "fail--writes-own-filesystem": lambda: _tell(
        steady_run(expect=["web.written_files == 0"]), lambda story: story.write("web.1", "/app/data/a", "/var/log/app.log", more=3)
    ),
    "pass--writes-caches": lambda: _tell(
        steady_run(expect=["written_files == 0"]), lambda story: story.write("web.2", _PYC, "/run/app.pid", "/root/.cache/pip/y")
    ),
    "fail--zombies-left": lambda: _tell(steady_run(), lambda story: story.zombie("web.2", 900, "python job.py", "python job.py")),
    "pass--zombies-left--allowed": lambda: _tell(
        steady_run(expect=["zombies <= 1"]), lambda story: story.zombie("web.2", 900, "python job.py")
    ),
    "fail--cut-off-with-process-1": lambda: stop_run(_with_workers).contain(),
    "pass--cut-off-with-process-1--allowed": lambda: stop_run(_with_workers, expect=["cut_off <= 2"]).contain(),
    "fail--oom-killed": out_of_memory,
    "fail--oom-killed--worker": _workerout_of_memory,
    "pass--oom-killed--allowed": lambda: out_of_memory(expect=["oom_kills <= 1", "died_by_itself <= 1"]),
    "fail--needs-writable-filesystem": lambda: _denied_start(_EROFS, **_READ_ONLY),
    "pass--needs-writable-filesystem--allowed": lambda: _denied_later(_EROFS, web=_READ_ONLY, expect=["died_by_itself <= 1"]),
    "fail--needs-capability": lambda: _denied_start(_EPERM, cap_drop=["ALL"]),
    "pass--needs-capability--allowed": lambda: _denied_later(_EPERM, web={"cap_drop": ["ALL"]}, expect=["died_by_itself <= 1"]),
    "fail--signal-swallowed-by-shell--image": lambda: stop_run(_ignores).contain(main="/bin/sh -c python app.py & wait"),
    "fail--signal-swallowed-by-shell--cut-off": lambda: stop_run(_shell_cut_off).contain(main="/sbin/docker-init -- sh -c x; y", init=True),
    "fail--signal-not-forwarded--init": lambda: stop_run(_ignores).contain(main="python start.py", serves=False),
    "fail--signal-not-forwarded": lambda: stop_run(_script).contain(main="sh /entrypoint.sh"),
    "pass--faults-landed--script-that-waits": lambda: stop_run(clean_stop).contain(main="sh /entrypoint.sh"),
    "unknown--run-incomplete--engine-lost": _lost,
    "fail--dropped-in-flight--second-signal": lambda: stop_run(_again),
    "fail--dropped-at-signal": lambda: reload_run(lambda story: _reload(story, (690, 702, Outcome.CLOSED))),
    "pass--no-request-dropped--lived-through": lambda: reload_run(lambda story: _reload(story, (690, 740, Outcome.OK))),
    "fail--ended-by-signal": lambda: reload_run(_ended_by_reload),
    "fail--ignored-while-starting": lambda: start_run(137, 1801, killed=True),
    "fail--crashed-while-starting": lambda: start_run(1, 810, log=["Traceback (most recent call last):", "KeyError: 'pool'"]),
    "pass--faults-landed--stopped-while-starting": lambda: start_run(143, 803),
    "pass--scaled-to-zero": to_none_run,
    "pass--saved-by-retry": lambda: stop_run(_not_dropped),
    "fail--port-taken--orphans": lambda: failed_successor("starting", "python worker.py", reason="port-taken"),
    "fail--exited-at-start--orphans": lambda: failed_successor("OSError: [Errno 98] Address already in use", "python worker.py"),
    "fail--exited-at-start--left-file": lambda: failed_successor("fatal: already running (found /run/app.pid)"),
    "unknown--fault-at-wrong-moment": lambda: stop_run(lambda story: _wrong_moment(story, "idle")),
    "unknown--fault-at-wrong-moment--no-answer": lambda: stop_run(lambda story: _wrong_moment(story, "mid-response")),
    "unknown--expectation-unknown--zombies": lambda: steady_run(expect=["zombies == 0"]),
}
"""Every history under ``tests/histories``: verdict, finding that must be there, and what is special about it."""


def main() -> None:
    """Write every story to `FOLDER`."""
    write(FOLDER, STORIES)


def write(folder: Path, stories: Mapping[str, Callable[[], Story]]) -> None:
    """Write ``stories`` to a folder, each to a file of its name."""
    folder.mkdir(exist_ok=True)
    encoder = msgspec.json.Encoder()
    for name, tell in stories.items():
        (folder / f"{name}.jsonl").write_bytes(b"".join(encoder.encode(line) + b"\n" for line in tell().ordered()))


if __name__ == "__main__":
    main()
