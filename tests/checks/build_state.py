"""Small histories of state as stories: clients write and read through replicas, somebody kills one, all are read at the end.

`tests/histories/state` holds what these stories make, named as those of `tests.checks.build` are.
``python -m tests.checks.build_state`` writes them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from harness.history import Exited, LoadBegan, RunEnded, Spawned
from harness.outcome import Outcome
from harness.scenario import Scenario
from harness.state_history import FAIL, INFO, OK, JourneyMade, SameAnswered, StateAnswered, StateAsked, StateRead, value_text
from tests.checks import build
from tests.checks.build import ONE_KILL, ONE_TERMINATE, STEADY_ONLY, Story, at

FOLDER = build.FOLDER / "state"

MARK = "000000"
NAME = "things"
ONE, TWO, THREE = "web.1", "web.2", "web.3"
CUT = Outcome.CLOSED
"""How the request of an operation ends whose replica is gone."""

REGISTER: dict[str, Any] = {
    "write": {"PUT /things/{key}": {"value": "{value}"}},
    "read": {"request": "GET /things/{key}", "answer": "$.value", "nothing": 404},
}
OPERATIONS: dict[str, dict[str, Any]] = {
    "register": {**REGISTER, "cas": {"PUT /things/{key}?if={old}": {"value": "{value}"}}},
    "sessions": REGISTER,
    "set": {
        "add": {"POST /things/{key}": {"value": "{value}"}},
        "read": {"request": "GET /things/{key}", "answer": "$.items[*]"},
        "remove": "DELETE /things/{key}/{value}",
    },
    "counter": {"add": "POST /things/{key}", "read": {"request": "GET /things/{key}", "answer": "$.count"}},
    "log": {"append": {"POST /things/{key}": {"value": "{value}"}}, "read": {"request": "GET /things/{key}", "answer": "$.entries[*]"}},
    "same": {"requests": ["GET /things", "GET /about"]},
    "journey": {"requests": [{"POST /login": {"user": "{user}"}}, "GET /me"]},
}
LOOKS: dict[str, Any] = {
    "add": {"POST /things/{key}": {"value": "{value}"}},
    "contains": {"request": "GET /things/{key}/{value}", "nothing": 404},
}
"""A set whose elements are only asked for one by one."""

KEYLESS: dict[str, Any] = {"add": {"POST /things": {"value": "{value}"}}, "read": {"request": "GET /things", "answer": "$[*]"}}
"""A set that others may add to."""


class StateStory(Story):
    """A story of state; all times are milliseconds after its zero, and values are whole numbers, 0 for nothing."""

    def __init__(
        self,
        steps: Sequence[Mapping[str, Any]] = STEADY_ONLY,
        *,
        model: str = "register",
        expect: Sequence[str] = (),
        store: bool = False,
        operations: Mapping[str, Any] | None = None,
        **workload: Any,
    ) -> None:
        super().__init__(steps)
        written: dict[str, Any] = {"model": model, **(operations or OPERATIONS[model]), **workload}
        if model not in ("same", "journey"):
            written.setdefault("keys", 1)
        if store:
            written["store"] = {"query": "SELECT id, value FROM things"}
        self.scenario = Scenario.model_validate(
            {
                "jetable": 1,
                "name": "a story of state",
                "target": {"web": {"command": ["app"], "replicas": 2}, "worker": {"command": ["work"]}},
                **({"services": {"postgres": {}}} if store else {}),
                "load": {"process": "web", "requests": ["GET /items/{id}"]},
                "state": {NAME: written},
                "steps": list(steps),
                "expect": list(expect),
            }
        )
        self.many = model in ("set", "log")

    def attempts(self, tries: Iterable[tuple[str, float, float, Outcome]], **changes: Any) -> None:
        """One op, of a user unless ``changes`` name another request than the first."""
        super().attempts(tries, **{"request": 0, **changes})

    # --- operations ---------------------------------------------------------------------------------------------------

    def do(self, f: str, replica: str, begin: float, value: int = 0, **changes: Any) -> None:
        """One operation, which a client asks for at ``begin`` and has answered 5 ms later.

        ``changes``: ``took``, ``client``, ``session``, ``key``, ``old``; what it was told: ``result``, ``items``, ``there``, ``ended``,
        ``error``; how its request ended: ``outcome``, ``tries``; ``answered=False`` for an end that nobody wrote down.
        """
        end = begin + changes.get("took", 5)
        op, tries, outcome = self.ops, changes.get("tries", 1), changes.get("outcome", Outcome.OK)
        before = [(replica, begin + n / 10, begin + n / 10 + 0.05, Outcome.TIMEOUT) for n in range(tries - 1)]
        self.attempts([*before, (replica, begin + tries / 10 - 0.1, end, outcome)], request=1, user=10 + changes.get("client", 1))
        self.lines.append(
            StateAsked(
                op=op,
                at_ns=at(begin),
                workload=NAME,
                f=f,
                key=changes.get("key", 0),
                client=changes.get("client", 1),
                session=changes.get("session", 0),
                value=_text(value) if f != "read" else "",
                old=_text(changes.get("old", 0)),
            )
        )
        if changes.get("answered", True):
            ended = changes.get("ended", OK if outcome is Outcome.OK else INFO)
            items = changes.get("items")
            self.lines.append(
                StateAnswered(
                    op=op,
                    at_ns=at(end),
                    ended=ended,
                    replica=replica,
                    result=changes.get("result"),
                    items=tuple(map(_text, items)) if items is not None else None,
                    there=changes.get("there", ended == OK and f in ("read", "contains")),
                    error=changes.get("error", ""),
                    attempts=tries,
                )
            )

    def put(self, replica: str, begin: float, value: int, **changes: Any) -> None:
        """A value is written to a register."""
        self.do("write", replica, begin, value, **changes)

    def read(self, replica: str, begin: float, *values: int, **changes: Any) -> None:
        """A register, a set or a log is read, by a client of its own unless ``changes`` name one; no value: nothing is there."""
        told: dict[str, Any] = {"items": values} if self.many else {"result": _text(values[0]) if values and values[0] else None}
        self.do("read", replica, begin, **{"client": 3, **told, **changes})

    def count(self, replica: str, begin: float, number: int | str, **changes: Any) -> None:
        """A counter is read."""
        self.do("read", replica, begin, **{"client": 3, "result": str(number), **changes})

    def look(self, replica: str, begin: float, value: int, *, there: bool, **changes: Any) -> None:
        """Somebody asks whether an element is there."""
        self.do("contains", replica, begin, value, **{"client": 3, "result": "1" if there else None, **changes})

    # --- faults -------------------------------------------------------------------------------------------------------

    def kill(self, when: float = 700, replica: str = ONE) -> None:
        """SIGKILL, and another replica in its place."""
        self.signal(replica, when, purpose="kill")
        self.exit(replica, when + 1, 137)
        self._replace(replica, when)

    def stop(self, when: float = 700, replica: str = ONE) -> None:
        """SIGTERM, after which it ends in 30 ms, and another replica in its place."""
        self.signal(replica, when)
        self.close_listener(replica, when + 1)
        self.exit(replica, when + 30, 0)
        self._replace(replica, when)

    def _replace(self, replica: str, when: float) -> None:
        self.start(THREE, when + 100, step=2, replaces=replica)

    # --- the end ------------------------------------------------------------------------------------------------------

    def ends(self, told: Mapping[str, Any], *, key: int = 0, number: int = 1, when: float | None = None) -> None:
        """What each replica, and the store (``""``), says at the end; a text says why one could not be read, or is a count."""
        begin = (self.over + 10 if when is None else when) + 20 * (number - 1)
        for place, (replica, said) in enumerate(told.items()):
            read: dict[str, Any] = {"at_ns": at(begin + 2 * place), "done_ns": at(begin + 2 * place + 1)}
            if isinstance(said, str):
                read |= {"result": said} if said.isdigit() else {"error": said}
            elif isinstance(said, tuple):
                read["items"] = tuple(map(_text, said))
            else:
                read["result"] = _text(said) or None
            self.lines.append(StateRead(workload=NAME, key=key, replica=replica, round=number, **read))

    def same(self, request: int, told: Mapping[str, Any], *, number: int = 1) -> None:
        """What each replica answers to a request that all get: a body, a status, or a text beginning with ! that says why there is none."""
        for place, (replica, said) in enumerate(told.items()):
            begin = self.over + 10 + 20 * (number - 1) + 2 * place
            answer: dict[str, Any] = {"status": 200, "headers": (("content-type", "text/plain"),)}
            if isinstance(said, int):
                answer["status"] = said
            elif said.startswith("!"):
                answer = {"error": said[1:]}
            else:
                answer["body"] = said
            line = {"workload": NAME, "request": request, "replica": replica, "round": number, **answer}
            self.lines.append(SameAnswered(at_ns=at(begin), done_ns=at(begin + 1), **line))

    def journey(self, number: int, *visits: tuple[str, int], fault: str = "") -> None:
        """One journey: which replica was asked, and the status of its answer, 0 for none."""
        before = ""
        for place, (replica, status) in enumerate(visits):
            made: dict[str, Any] = {"good": 200 <= status < 400, "status": status, "error": "" if status else "ECONNRESET"}
            begin = 300 + 20 * number + 2 * place
            self.lines.append(
                JourneyMade(
                    workload=NAME,
                    number=number,
                    request=place,
                    replica=replica,
                    at_ns=at(begin),
                    done_ns=at(begin + 1),
                    before=before,
                    fault=fault if place else "",
                    **made,
                )
            )
            before = replica

    @property
    def over(self) -> float:
        """When the load is over."""
        return 1200 if len(self.scenario.steps) == 1 else 2600


def _text(value: int | str) -> str:
    """A value as it travels; what is a text already is somebody else's."""
    if isinstance(value, str):
        return value
    return value_text(MARK, value) if value else ""


def state_run(tell: Callable[[StateStory], None], steps: Sequence[Mapping[str, Any]] = STEADY_ONLY, **options: Any) -> StateStory:
    """Two replicas under load; ``tell`` tells what clients do and see, and what all say at the end."""
    story = StateStory(steps, **options)
    faulty = len(steps) > 1
    story.step(1, 110, "start the target")
    for replica in (ONE, TWO):
        story.start(replica, 5)
    story.start("worker.1", 6)
    story.tell(LoadBegan(at_ns=at(100), pid=99))
    if faulty:
        story.step(120, 690, "steady for 500ms")
        story.step(690, 1900, next(iter(steps[1])) + " oldest")
        story.step(1900, 2500, "steady for 500ms")
    else:
        story.step(120, 1120, "steady for 1s")
    story.load(ONE, 130, 660 if faulty else 1100)
    story.load(TWO, 150, story.over - 100)
    if faulty:
        story.ask(ONE, 698, 699.5)
        story.load(THREE, 1000, story.over - 100)
    story.watch(120, story.over - 80)
    tell(story)
    story.load_ends(story.over)
    gone = {line.replica for line in story.lines if isinstance(line, Exited)}
    for line in list(story.lines):
        if isinstance(line, Spawned) and line.replica not in gone:
            story.signal(line.replica, story.over + 110, step=-1, purpose="teardown", in_flight=-1)
            story.exit(line.replica, story.over + 112, 137)
    story.tell(RunEnded(at_ns=at(story.over + 150), how="finished"))
    return story


def everywhere(said: Any, *, store: bool = False) -> dict[str, Any]:
    """All that are up without a fault say the same."""
    return {ONE: said, TWO: said, **({"": said} if store else {})}


# --- registers --------------------------------------------------------------------------------------------------------------


def fine(story: StateStory) -> None:
    """Values go through both replicas, and both know them at once."""
    story.read(ONE, 190)
    story.put(ONE, 200, 1)
    story.read(TWO, 220, 1)
    story.do("cas", TWO, 240, 2, old=1, client=2)
    story.do("cas", ONE, 260, 3, old=1, ended=FAIL, error="status 412")
    story.put(TWO, 280, 4, client=2)
    story.read(ONE, 300, 4)
    story.ends(everywhere(4, store=story.scenario.state[NAME].store is not None))


def memory(story: StateStory) -> None:
    """Each replica keeps what goes through it to itself."""
    for place in range(4):
        story.put(ONE, 200 + 40 * place, 2 * place + 1)
        story.put(TWO, 210 + 40 * place, 2 * place + 2, client=2)
        story.read(ONE, 220 + 40 * place, 2 * place + 1)
        story.read(TWO, 230 + 40 * place, 2 * place + 2, client=4)
    story.ends({ONE: 7, TWO: 8})


def memory_of_few(story: StateStory) -> None:
    """As `memory`, but two answers are no habit yet."""
    story.put(ONE, 200, 1)
    story.put(TWO, 210, 2, client=2)
    story.read(ONE, 220, 1)
    story.read(TWO, 230, 2)


def forgetful(story: StateStory, *, once: bool = False) -> None:
    """No read tells anything, but for one where ``once`` says so."""
    story.put(ONE, 200, 1)
    story.read(TWO, 220, 1 if once else 0)
    story.read(ONE, 240)
    story.ends(everywhere(0))


def cache(story: StateStory) -> None:
    """The second replica keeps what it has read."""
    story.put(ONE, 200, 1)
    story.read(TWO, 220, 1)
    story.put(ONE, 240, 2)
    story.read(ONE, 250, 2)
    story.read(TWO, 260, 1)
    story.ends(everywhere(2))


def cache_and_kill(story: StateStory) -> None:
    """As `cache`, and the replica that had taken the newer value is killed, which loses nothing."""
    story.put(ONE, 600, 1)
    story.read(TWO, 620, 1)
    story.put(ONE, 640, 2)
    story.kill()
    story.read(TWO, 1000, 1)
    story.ends({TWO: 2, THREE: 2})


def lag(story: StateStory) -> None:
    """The second replica hears of what the first one wrote 30 ms later."""
    story.put(ONE, 200, 1)
    story.put(ONE, 220, 2)
    story.read(TWO, 240, 1)
    story.read(TWO, 260, 2)
    story.read(TWO, 400, 2)
    story.ends(everywhere(2))


def skewed_clocks(story: StateStory) -> None:
    """The clock of the first replica is ahead, so its write wins over a later one."""
    story.put(ONE, 200, 1)
    story.put(TWO, 220, 2, client=2)
    story.ends(everywhere(1))


def one_clock(story: StateStory) -> None:
    """As `skewed_clocks`, through one replica."""
    story.put(ONE, 200, 1)
    story.put(ONE, 220, 2, client=2)
    story.ends(everywhere(1))


def write_behind(story: StateStory, killed: float = 700, *, kill: bool = True) -> None:
    """What the first replica has acknowledged is lost with it."""
    story.put(TWO, 600, 1)
    story.put(ONE, 680, 2, client=2)
    if kill:
        story.kill(killed)
    else:
        story.stop(killed)
    story.ends({TWO: 1, THREE: 1})


def cut(story: StateStory, *, kill: bool = True, happened: bool = True) -> None:
    """A write is under way when its replica goes."""
    story.put(TWO, 600, 1)
    story.put(ONE, 695, 2, client=2, took=5.5 if kill else 10, outcome=CUT)
    if kill:
        story.kill()
    else:
        story.stop()
    left = 2 if happened else 1
    story.read(TWO, 900, left)
    story.ends({TWO: left, THREE: left})


def read_modify_write(story: StateStory, *, at_once: bool = True) -> None:
    """Two compare-and-sets of one value succeed."""
    story.put(ONE, 200, 1)
    story.do("cas", ONE, 220, 2, old=1, took=10)
    story.do("cas", TWO, 225 if at_once else 235, 3, old=1, client=2, took=10)
    story.ends(everywhere(3))


def _phantom(story: StateStory) -> None:
    story.put(ONE, 200, 1)
    story.read(TWO, 220, 99)
    story.ends(everywhere(1))


def refused(story: StateStory) -> None:
    """A write is refused and there all the same."""
    story.put(ONE, 200, 1)
    story.put(ONE, 220, 2, ended=FAIL, error="status 409")
    story.read(TWO, 240, 2)
    story.ends(everywhere(2))


def _future(story: StateStory) -> None:
    story.read(TWO, 200, 1)
    story.put(ONE, 220, 1)
    story.ends(everywhere(1))


def _twice_written(story: StateStory) -> None:
    """A value comes again, so the general search decides."""
    story.put(ONE, 200, 1)
    story.put(ONE, 220, 2)
    story.put(ONE, 240, 1)
    story.read(TWO, 260, 2)
    story.ends(everywhere(1))


def _settled_late(story: StateStory) -> None:
    """They agree in the second round, as a write of which nobody knows took effect between the two."""
    story.put(ONE, 200, 1)
    story.put(ONE, 695, 2, took=5.5, outcome=CUT, client=2)
    story.kill()
    story.ends({TWO: 1, THREE: 2})
    story.ends({TWO: 2, THREE: 2}, number=2)


def _diverged_for_good(story: StateStory) -> None:
    story.put(ONE, 200, 1)
    story.put(TWO, 220, 2, client=2)
    story.read(ONE, 240, 2)
    for number in (1, 2):
        story.ends({ONE: 2, TWO: 2, "": 1}, number=number)


# --- sessions ---------------------------------------------------------------------------------------------------------------


def _own_write_unread(story: StateStory) -> None:
    story.put(ONE, 190, 5, client=2)
    story.put(ONE, 200, 1)
    story.read(TWO, 220, client=1)
    story.ends(everywhere(1))


def _reads_go_back(story: StateStory) -> None:
    story.put(ONE, 200, 1)
    story.put(ONE, 220, 2)
    story.read(ONE, 240, 2)
    story.read(TWO, 260, 1)
    story.ends(everywhere(2))


def _writes_change_places(story: StateStory) -> None:
    story.put(ONE, 200, 1)
    story.put(TWO, 220, 2)
    story.read(ONE, 240, 2)
    story.read(ONE, 260, 1)
    story.ends(everywhere(2))


def _reaction_before_its_reason(story: StateStory) -> None:
    story.put(ONE, 200, 1)
    story.read(ONE, 220, 1, client=2)
    story.put(TWO, 240, 2, client=2)
    story.read(TWO, 260, 2)
    story.read(TWO, 280, 1)
    story.ends(everywhere(2))


def _two_orders(story: StateStory) -> None:
    story.put(ONE, 200, 1)
    story.put(TWO, 201, 2, client=2)
    story.read(ONE, 240, 1)
    story.read(ONE, 250, 2)
    story.read(TWO, 240, 2, client=4)
    story.read(TWO, 250, 1, client=4)
    story.ends(everywhere(2))


# --- sets, logs and counters ------------------------------------------------------------------------------------------------


def _set_fine(story: StateStory) -> None:
    story.do("add", ONE, 200, 1)
    story.read(TWO, 220, 1)
    story.do("remove", TWO, 240, 1)
    story.do("add", TWO, 260, 2, client=2)
    story.ends(everywhere((2,)))


def elements_behind(story: StateStory, *, seen: bool) -> None:
    """Elements that a replica acknowledged before it was killed."""
    story.do("add", TWO, 200, 1)
    story.do("add", ONE, 680, 2, client=2)
    story.kill()
    story.read(TWO, 1000, *((1, 2) if seen else (1,)))
    story.read(TWO, 1100, 1)
    story.ends({TWO: (1,), THREE: (1,)})


def element_lost(story: StateStory, *, at_once: bool = False, tries: int = 1) -> None:
    """What was acknowledged is nowhere later."""
    story.do("add", ONE, 200, 1, took=10, tries=tries)
    story.do("add", TWO, 205 if at_once else 220, 2, client=2, took=10)
    story.read(ONE, 240, 2)
    story.ends(everywhere((2,)))


def _element_late(story: StateStory) -> None:
    story.do("add", ONE, 200, 1)
    story.read(TWO, 220)
    story.read(TWO, 240, 1)
    story.ends(everywhere((1,)))


def _element_not_seen(story: StateStory) -> None:
    story.do("add", ONE, 200, 1)
    story.look(TWO, 220, 1, there=False)
    story.look(ONE, 240, 1, there=True)


def _element_skipped(story: StateStory) -> None:
    """A read that is under way sees the later of two elements and not the earlier one."""
    story.do("add", ONE, 200, 1)
    story.do("add", ONE, 220, 2)
    story.read(TWO, 195, 2, took=60)
    story.ends(everywhere((1, 2)))


def _reads_that_do_not_compare(story: StateStory) -> None:
    story.do("add", ONE, 200, 1, took=60)
    story.do("add", TWO, 200, 2, client=2, took=60)
    story.read(ONE, 210, 1, took=10)
    story.read(TWO, 210, 2, client=4, took=10)
    story.ends(everywhere((1, 2)))


def _element_of_nobody(story: StateStory) -> None:
    story.do("add", ONE, 200, 1)
    story.read(TWO, 220, 1, 99)
    story.ends(everywhere((1,)))


def _element_refused(story: StateStory) -> None:
    story.do("add", ONE, 200, 1, ended=FAIL, error="status 409")
    story.do("add", ONE, 210, 2)
    story.read(TWO, 220, 1, 2)
    story.ends(everywhere((1, 2)))


def _element_twice(story: StateStory) -> None:
    story.do("add", ONE, 200, 1)
    story.read(TWO, 220, 1, 1)
    story.ends(everywhere((1, 1)))


def _removed_yet_there(story: StateStory) -> None:
    story.do("add", ONE, 200, 1)
    story.do("remove", ONE, 220, 1)
    story.read(TWO, 240, 1)
    story.ends(everywhere((1,)))


def _foreign(story: StateStory) -> None:
    story.do("add", ONE, 200, 1)
    story.do("read", TWO, 220, client=3, items=(1, "of somebody else"))
    story.ends(everywhere((1,)))


def _log_fine(story: StateStory) -> None:
    story.do("append", ONE, 200, 1)
    story.do("append", TWO, 220, 2, client=2)
    story.read(ONE, 240, 1, 2)
    story.ends(everywhere((1, 2)))


def _log_two_orders(story: StateStory) -> None:
    story.do("append", ONE, 200, 1)
    story.do("append", TWO, 201, 2, client=2)
    story.ends({ONE: (1, 2), TWO: (2, 1)})


def _log_turned(story: StateStory) -> None:
    story.do("append", ONE, 200, 1)
    story.do("append", TWO, 220, 2, client=2)
    story.read(ONE, 240, 2, 1)
    story.ends(everywhere((2, 1)))


def _log_twice(story: StateStory, tries: int = 1) -> None:
    story.do("append", ONE, 200, 1, tries=tries)
    story.read(ONE, 240, 1, 1)
    story.ends(everywhere((1, 1)))


def _counter_fine(story: StateStory) -> None:
    for place in range(4):
        story.do("add", (ONE, TWO)[place % 2], 200 + 20 * place, client=1 + place % 2)
        story.count(TWO, 210 + 20 * place, place + 1)
    story.ends(everywhere("4"))


def counts_alone(story: StateStory) -> None:
    """Each replica counts what comes to itself."""
    for place in range(5):
        story.do("add", (ONE, TWO)[place % 2], 200 + 20 * place, client=1 + place % 2)
    story.ends({ONE: "3", TWO: "2"})


def _increment_lost(story: StateStory, *, at_once: bool = True) -> None:
    story.do("add", ONE, 200, took=10)
    story.do("add", TWO, 205 if at_once else 220, client=2, took=10)
    story.ends(everywhere("1"))


def _counted_twice(story: StateStory, *, tries: int = 1) -> None:
    story.do("add", ONE, 200, tries=tries)
    story.ends(everywhere("2"))


def _count_went_back(story: StateStory) -> None:
    story.do("add", ONE, 190)
    story.do("add", ONE, 200, took=60)
    story.count(ONE, 210, 2)
    story.count(TWO, 230, 1)
    story.ends(everywhere("2"))


def _below_nothing(story: StateStory) -> None:
    story.do("add", ONE, 200)
    story.count(TWO, 220, -3)
    story.ends(everywhere("1"))


def _no_number(story: StateStory) -> None:
    story.do("add", ONE, 200)
    story.count(TWO, 220, "many")
    story.ends(everywhere("1"))


# --- what nobody knows ------------------------------------------------------------------------------------------------------


def _nothing_good(story: StateStory) -> None:
    story.put(ONE, 200, 1, ended=FAIL, error="status 409")
    story.put(TWO, 220, 2, ended=FAIL, error="status 409", client=2)
    story.ends(everywhere(0))


def _not_understood(story: StateStory) -> None:
    story.put(ONE, 200, 1)
    story.read(TWO, 220, there=False, error="$.value is not one value in the answer")
    story.ends(everywhere(1))


def _not_read(story: StateStory) -> None:
    story.put(ONE, 200, 1)
    story.read(TWO, 220, 1)
    story.ends({ONE: 1, TWO: "status 500"})


def _never_read(story: StateStory) -> None:
    story.put(ONE, 200, 1)
    story.read(TWO, 220, 1)


def _store_not_read(story: StateStory) -> None:
    story.do("add", ONE, 200, 1)
    story.look(TWO, 220, 1, there=True)
    story.ends({"": "relation things does not exist"})


def _on_its_way(story: StateStory) -> None:
    """A change that nobody answered may have taken effect between two reads of the last round."""
    story.put(TWO, 200, 1)
    story.put(ONE, 695, 2, took=5.5, outcome=CUT, client=2)
    story.kill()
    story.ends({TWO: 1, THREE: 2})


def _one_replica(story: StateStory, *, store: bool = False) -> None:
    story.put(ONE, 200, 1)
    story.read(ONE, 220, 1)
    story.ends({ONE: 1, **({"": 1} if store else {})})


# --- all alike, and journeys ------------------------------------------------------------------------------------------------


def _alike(story: StateStory) -> None:
    story.same(0, everywhere("3 things"))
    story.same(1, everywhere("me"))


def _differ(story: StateStory) -> None:
    story.same(0, {ONE: "3 things\nall well", TWO: "2 things\nall well"})
    story.same(1, everywhere("me"))


def _differ_by_status(story: StateStory) -> None:
    story.same(0, {ONE: 200, TWO: 404})


def _alike_at_last(story: StateStory) -> None:
    story.same(0, {ONE: "3 things", TWO: "!ECONNRESET"})
    story.same(0, everywhere("3 things"), number=2)
    story.same(1, everywhere("me"), number=2)


def _one_asked(story: StateStory) -> None:
    story.same(0, {ONE: "3 things", TWO: "!ECONNRESET"})


def _went_on(story: StateStory) -> None:
    story.journey(1, (ONE, 200), (TWO, 200))
    story.journey(2, (ONE, 200), (TWO, 200), fault="kill")


def session_lost(story: StateStory, *, fault: str = "") -> None:
    """The second replica does not know of the session."""
    story.journey(1, (ONE, 200), (TWO, 401), fault=fault)
    story.journey(2, (ONE, 200), (TWO, 200))


def _bad_login(story: StateStory) -> None:
    story.journey(1, (ONE, 500))
    story.journey(2, (ONE, 200), (TWO, 200))


def _nothing(_story: StateStory) -> None:
    pass


SET, LOG, COUNTER, SESSIONS = ({"model": model} for model in ("set", "log", "counter", "sessions"))
SAME, JOURNEY = ({"model": model} for model in ("same", "journey"))
LATE: dict[str, Any] = {"stale": "100ms"}

STORIES: dict[str, Callable[[], Story]] = {
    "pass--no-state": build.steady_run,
    "pass--state-counted": lambda: state_run(fine),
    "pass--state-counted--store": lambda: state_run(fine, store=True),
    "pass--state-counted--set": lambda: state_run(_set_fine, **SET),
    "pass--state-counted--log": lambda: state_run(_log_fine, **LOG),
    "pass--state-counted--counter": lambda: state_run(_counter_fine, **COUNTER),
    "pass--state-counted--settled": lambda: state_run(_settled_late, ONE_KILL),
    "pass--state-counted--sessions": lambda: state_run(lag, **SESSIONS),
    "pass--no-request-dropped--cut-by-kill": lambda: state_run(cut, ONE_KILL),
    "pass--no-request-dropped--cut-by-kill-in-vain": lambda: state_run(lambda story: cut(story, happened=False), ONE_KILL),
    "pass--staleness--within": lambda: state_run(lag, **LATE),
    "pass--foreign-values": lambda: state_run(_foreign, operations=KEYLESS, **SET),
    "pass--lost-write--allowed": lambda: state_run(skewed_clocks, expect=["lost_writes <= 9", "stale_reads <= 9", "state_errors <= 9"]),
    "pass--replicas-alike": lambda: state_run(_alike, **SAME),
    "pass--replicas-alike--at-last": lambda: state_run(_alike_at_last, **SAME),
    "pass--journeys-went-on": lambda: state_run(_went_on, **JOURNEY),
    "fail--dropped-in-flight--cut-by-term": lambda: state_run(lambda story: cut(story, kill=False), ONE_TERMINATE),
    "fail--stale-read--memory": lambda: state_run(memory),
    "fail--lost-write--memory": lambda: state_run(memory),
    "fail--diverged--memory": lambda: state_run(memory),
    "fail--stale-read--memory-of-few": lambda: state_run(memory_of_few),
    "fail--stale-read--cache": lambda: state_run(cache),
    "fail--stale-read--cache-and-kill": lambda: state_run(cache_and_kill, ONE_KILL),
    "fail--stale-read--lag": lambda: state_run(lag),
    "fail--lost-write--clocks": lambda: state_run(skewed_clocks),
    "fail--lost-write--one-clock": lambda: state_run(one_clock),
    "fail--lost-write--nothing-told": lambda: state_run(forgetful),
    "fail--lost-write--once-told": lambda: state_run(lambda story: forgetful(story, once=True)),
    "fail--lost-write--write-behind": lambda: state_run(write_behind, ONE_KILL),
    "fail--lost-write--term": lambda: state_run(lambda story: write_behind(story, kill=False), ONE_TERMINATE),
    "fail--lost-update--at-once": lambda: state_run(read_modify_write),
    "fail--lost-update--in-turn": lambda: state_run(lambda story: read_modify_write(story, at_once=False)),
    "fail--phantom-read": lambda: state_run(_phantom),
    "fail--aborted-read": lambda: state_run(refused),
    "fail--resurrected--refused": lambda: state_run(refused),
    "fail--future-read": lambda: state_run(_future),
    "fail--not-linearizable": lambda: state_run(_twice_written),
    "fail--stale-beyond-bound": lambda: state_run(lag, stale="10ms"),
    "fail--diverged--store": lambda: state_run(_diverged_for_good, store=True),
    "fail--read-your-writes": lambda: state_run(_own_write_unread, **SESSIONS),
    "fail--monotonic-reads": lambda: state_run(_reads_go_back, **SESSIONS),
    "fail--monotonic-writes": lambda: state_run(_writes_change_places, **SESSIONS),
    "fail--writes-follow-reads": lambda: state_run(_reaction_before_its_reason, **SESSIONS),
    "fail--order-disagreement--sessions": lambda: state_run(_two_orders, **SESSIONS),
    "fail--lost-element": lambda: state_run(element_lost, **SET),
    "fail--lost-element--at-once": lambda: state_run(lambda story: element_lost(story, at_once=True), **SET),
    "fail--lost-element--write-behind": lambda: state_run(lambda story: elements_behind(story, seen=False), ONE_KILL, **SET),
    "fail--lost-element--later": lambda: state_run(lambda story: elements_behind(story, seen=True), ONE_KILL, **SET),
    "fail--stale-element": lambda: state_run(_element_late, **SET),
    "fail--stale-element--looked": lambda: state_run(_element_not_seen, operations=LOOKS, **SET),
    "fail--skipped-element": lambda: state_run(_element_skipped, **SET),
    "fail--incomparable-reads": lambda: state_run(_reads_that_do_not_compare, **SET),
    "fail--unexpected-element": lambda: state_run(_element_of_nobody, **SET),
    "fail--resurrected-element": lambda: state_run(_element_refused, **SET),
    "fail--duplicated-element": lambda: state_run(_element_twice, **SET),
    "fail--removed-yet-there": lambda: state_run(_removed_yet_there, **SET),
    "fail--resurrected--removed": lambda: state_run(_removed_yet_there, **SET),
    "fail--order-disagreement--log": lambda: state_run(_log_two_orders, **LOG),
    "fail--reordered-elements": lambda: state_run(_log_turned, **LOG),
    "fail--duplicated-element--log": lambda: state_run(_log_twice, **LOG),
    "fail--lost-increment--alone": lambda: state_run(counts_alone, **COUNTER),
    "fail--diverged--counter": lambda: state_run(counts_alone, **COUNTER),
    "fail--lost-increment--at-once": lambda: state_run(_increment_lost, **COUNTER),
    "fail--lost-increment--in-turn": lambda: state_run(lambda story: _increment_lost(story, at_once=False), **COUNTER),
    "fail--counted-twice--once": lambda: state_run(_counted_twice, **COUNTER),
    "fail--counted-twice--again": lambda: state_run(lambda story: _counted_twice(story, tries=2), **COUNTER),
    "fail--went-back": lambda: state_run(_count_went_back, **COUNTER),
    "fail--impossible-number": lambda: state_run(_below_nothing, **COUNTER),
    "fail--replicas-differ": lambda: state_run(_differ, **SAME),
    "fail--replicas-differ--status": lambda: state_run(_differ_by_status, **SAME),
    "fail--session-lost": lambda: state_run(session_lost, **JOURNEY),
    "fail--session-lost--killed": lambda: state_run(lambda story: session_lost(story, fault="kill"), **JOURNEY),
    "unknown--state-not-used": lambda: state_run(_nothing_good),
    "unknown--state-not-understood": lambda: state_run(_not_understood),
    "unknown--state-not-understood--number": lambda: state_run(_no_number, **COUNTER),
    "unknown--state-not-read": lambda: state_run(_not_read),
    "unknown--state-not-read--nothing": lambda: state_run(_never_read),
    "unknown--state-not-read--store": lambda: state_run(_store_not_read, operations=LOOKS, store=True, **SET),
    "unknown--state-undecided": lambda: state_run(_on_its_way, ONE_KILL),
    "unknown--state-one-replica": lambda: state_run(_one_replica),
    "unknown--state-one-replica--store": lambda: state_run(lambda story: _one_replica(story, store=True), store=True),
    "unknown--replicas-not-asked": lambda: state_run(_one_asked, **SAME),
    "unknown--replicas-not-asked--none": lambda: state_run(_nothing, **SAME),
    "unknown--no-journey": lambda: state_run(_nothing, **JOURNEY),
    "unknown--journey-not-begun": lambda: state_run(_bad_login, **JOURNEY),
    "unknown--journey-at-one-replica": lambda: state_run(lambda story: story.journey(1, (ONE, 200), (ONE, 200)), **JOURNEY),
}
"""Every history under ``tests/histories/state``: verdict, finding that must be there, and what is special about it."""


def main() -> None:
    """Write every story to `FOLDER`."""
    build.write(FOLDER, STORIES)


if __name__ == "__main__":
    main()
