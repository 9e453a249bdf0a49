"""What a client of a workload does: operations on the app's state, one at a time, each with a value of its own.

A client writes down what it is about to ask, sends it as every other request is sent, and writes down what it was told. That is one of
three: it happened (`ok`), it surely did not (`fail`: refused before a byte left, or a status by which the app says so), or nobody knows
(`info`: cut, timed out, any other status). After an info the client goes on as a new session, since it can't know what it has done.

Values are whole numbers that no other client of the run uses, so an answer tells exactly which write it saw. Each request goes to the
replica whose turn it is: reads of what one replica acknowledged are spread over all of them. An operation that may have been executed is
sent again only when it has an ``Idempotency-Key`` and the scenario allows retries, else a late first attempt could undo what others wrote
meanwhile.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_right
from collections import deque
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Final

import gevent

from harness.extract import Extractor
from harness.load.sending import Sending
from harness.outcome import Ending, Executed
from harness.state_history import FAIL, INFO, OK, StateAnswered, StateAsked, key_text, value_text

if TYPE_CHECKING:
    from collections.abc import Collection

    from harness.clock import Dice
    from harness.load.client import Client
    from harness.load.spec import LoadSpec, OperationSpec, StateSpec
    from harness.load.user import Crowd, Sent

_now_ns = time.monotonic_ns

NOWHERE_S: Final = 0.01
"""The pause of a client that found no replica."""

KNOWN: Final = 200
"""Elements of a set that are remembered, to ask for them."""


class Operating:
    """One operation, compiled."""

    def __init__(self, index: int, spec: OperationSpec, refused: Collection[int] = (), *, keep_alive: bool) -> None:
        self.f = spec.f
        self.sending = Sending(index, spec.request, keep_alive=keep_alive)
        reads = spec.f in ("read", "contains")
        self.sending.repeatable = "PUT" if spec.keyed else "GET" if reads else "POST"
        self.many = spec.many
        self.nothing = frozenset(spec.nothing)
        self.sending.bare = self.nothing.union(refused)
        self.extractor = Extractor(spec.answer) if spec.answer else None


class Working:
    """One workload: what all its clients share."""

    def __init__(self, spec: StateSpec, first: int, *, keep_alive: bool) -> None:
        self.spec = spec
        self.refused = frozenset(spec.refused)
        self.operations = [
            Operating(first + place, operation, self.refused, keep_alive=keep_alive) for place, operation in enumerate(spec.operations)
        ]
        self.playable = [operating for operating, operation in zip(self.operations, spec.operations, strict=True) if not operation.next]
        self.weights = list(accumulate(operation.request.weight for operation in spec.operations if not operation.next))
        self.elements: deque[tuple[int, str]] = deque(maxlen=KNOWN)

    def choose(self, dice: Dice) -> Operating | None:
        """The next operation; None when all that there is are reads by page, which have no one instant."""
        if not self.playable:
            return None
        return self.playable[bisect_right(self.weights, dice.uniform() * self.weights[-1])]

    def find(self, f: str) -> Operating | None:
        """The operation that does ``f``."""
        return next((operating for operating in self.playable if operating.f == f), None)

    def key(self, dice: Dice) -> int:
        """The key of the next operation."""
        keys, hot = self.spec.keys, self.spec.hot
        if keys == 1 or (hot and dice.uniform() < hot):
            return 0
        return dice.integer(1 if hot else 0, keys - 1)

    def remember(self, key: int, value: str) -> None:
        """An element was added, or may have been."""
        self.elements.append((key, value))


class Workloads:
    """All workloads of a load, and whose turn it is to get a client."""

    def __init__(self, crowd: Crowd, spec: LoadSpec) -> None:
        self._crowd = crowd
        self._all: list[Working] = []
        first = len(spec.requests)
        for workload in spec.state:
            self._all.append(Working(workload, first, keep_alive=spec.keep_alive))
            first += len(workload.operations)
        self._places = [(working, number) for working in self._all for number in range(1, working.spec.clients + 1)]
        self.total = len(self._places)
        self.mark = spec.mark
        self.own = re.compile(rf"(?:{re.escape(spec.mark)}-)?[0-9]+")

    def client(self, number: int, client: Client, dice: Dice) -> StateClient:
        """The client that is user ``number`` of the load; users come first."""
        place = (number - 1 - self._crowd.spec.users) % self.total
        working, own = self._places[place]
        return StateClient(self._crowd, (place, working, own), number=number, client=client, dice=dice)


class StateClient:
    """One client: a number, connections of its own, and what it knows."""

    def __init__(self, crowd: Crowd, place: tuple[int, Working, int], *, number: int, client: Client, dice: Dice) -> None:
        """``place`` is its number among all clients, its workload, and its number there; ``number`` is that of a user of the load."""
        self.number = number
        self.client = client
        self._crowd = crowd
        self._place, self._working, self._own = place
        self._dice = dice
        self._count = 0
        self._session = 0
        self._seen: dict[int, str] = {}
        self._mine: list[tuple[int, str]] = []

    def live(self) -> None:
        """Do operations until the load stops."""
        crowd, pause_s = self._crowd, self._working.spec.pause_s
        gevent.sleep(pause_s * self._dice.uniform())
        while not crowd.stopping:
            operating = self._working.choose(self._dice)
            if operating is None:
                return
            found = crowd.book(partial(self._operate, operating=operating))
            gevent.sleep(pause_s if found else max(pause_s, NOWHERE_S))

    def _operate(self, number: int, operating: Operating) -> bool:
        operating, key, value, old = self._decide(operating)
        working, mark = self._working, self._crowd.workloads.mark
        given = {
            "key": key_text(mark, working.spec.name, key),
            "value": value,
            "number": value.rpartition("-")[2],
            "old": old,
            "old_number": old.rpartition("-")[2],
            "client": str(self._own),
            "page": "",
        }
        rendered = operating.sending.render_with(self._dice, given, user=self.number, seq=number)
        asked = StateAsked(
            op=number,
            at_ns=_now_ns(),
            workload=working.spec.name,
            f=operating.f,
            key=key,
            client=self._own,
            session=self._session,
            value=value,
            old=old,
        )
        self._crowd.append(asked)
        sent = self._crowd.send(self, number, operating.sending, rendered)
        answered = self._understood(number, operating, sent)
        self._crowd.append(answered)
        self._learn(operating, key, value, answered)
        return sent.executed is not Executed.NO

    def _decide(self, operating: Operating) -> tuple[Operating, int, str, str]:
        """What is really done, to which key, with which value, and which value it is to replace."""
        working, dice = self._working, self._dice
        key = working.key(dice)
        if operating.f == "cas":
            if old := self._seen.get(key):
                return operating, key, self._fresh(), old
            operating = working.find("read") or operating
        elif operating.f == "remove":
            if self._mine:
                return operating, *self._mine.pop(dice.integer(0, len(self._mine) - 1)), ""
            operating = working.find("add") or operating
        elif operating.f == "contains":
            if working.elements:
                return operating, *working.elements[dice.integer(0, len(working.elements) - 1)], ""
            operating = working.find("add") or operating
        value = self._fresh() if operating.f in ("write", "add", "append") else ""
        if operating.f == "add" and working.find("contains"):
            working.remember(key, value)
        return operating, key, value, ""

    def _fresh(self) -> str:
        """A value that nobody else uses."""
        self._count += 1
        workloads = self._crowd.workloads
        return value_text(workloads.mark, self._count * workloads.total + self._place)

    def _understood(self, number: int, operating: Operating, sent: Sent) -> StateAnswered:
        """What the answer says of the operation."""
        seen = sent.seen
        ended, result, there, error = INFO, None, False, ""
        items: tuple[str, ...] | None = None
        if seen.ending is not Ending.ANSWERED or not seen.as_expected:
            nowhere = sent.executed is Executed.NO and not sent.unsure
            ended, error = (FAIL if nowhere else INFO), seen.error or (f"status {seen.status}" if seen.status else "")
        elif seen.status in self._working.refused:
            ended, error = (INFO if sent.unsure else FAIL), f"status {seen.status}"
        else:
            ended = OK
            if seen.status in operating.nothing:
                there, result, items = True, None, () if operating.many else None
            elif operating.f == "contains":
                there, result = True, "1"
            elif operating.extractor is not None:
                there, result, items, error = _read(operating, operating.extractor, seen.body)
        return StateAnswered(
            op=number,
            at_ns=seen.done_ns or _now_ns(),
            ended=ended,
            replica=sent.replica,
            result=result,
            items=items,
            there=there,
            error=error,
            attempts=sent.attempts,
        )

    def _learn(self, operating: Operating, key: int, value: str, answered: StateAnswered) -> None:
        """Remember what the next operation needs to know."""
        if answered.ended == INFO and operating.f not in ("read", "contains"):
            self._session += 1
        if answered.ended != OK:
            return
        if operating.f in ("write", "cas"):
            self._seen[key] = value
        elif operating.f == "read" and not operating.many and answered.result is not None:
            if self._crowd.workloads.own.fullmatch(answered.result):  # anything else could be more than a value where it is put in
                self._seen[key] = answered.result
        elif operating.f == "add" and self._working.find("remove"):
            self._mine.append((key, value))


def _read(operating: Operating, extractor: Extractor, body: bytes | None) -> tuple[bool, str | None, tuple[str, ...] | None, str]:
    """What a good answer tells: whether it could be understood, the value, the items, and why not."""
    if body is None:
        return False, None, None, "the answer is too long"
    if operating.many:
        texts = extractor.texts(body)
        if texts is None:
            return False, None, None, f"{extractor.written} can't be read in the answer"
        return True, None, tuple(text for text in texts if text is not None), ""
    understood, text = extractor.text(body, must=bool(operating.nothing))  # whose app says by its status that there is none
    if not understood:
        return False, None, None, f"{extractor.written} is not one value in the answer"
    return True, text, None, ""
