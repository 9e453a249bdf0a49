"""What all replicas, and the store itself, say when the load is over: read again and again until they agree, or the app's time is over.

    every key at every replica ─▶ do all say the same? ─ no ─▶ a short rest, the next round ─▶ … ─▶ `settle` is over

There is always one whole round, and every read is on record with the number of its round; the last round is what counts. A replica that
dies meanwhile has an error on record in that round and is not asked in the next one. Workloads that only tell whether an element is
*there* (a set with ``contains`` and without ``read``) are not read here: which elements were acknowledged is in the ledger of the load.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from harness.clock import NS_PER_S, Clock, Dice
from harness.services.base import Client
from harness.state.asker import Asked, Asker, Form, Place
from harness.state.reader import KeyReader, StoreReader, Told, given
from harness.state_history import MOST_BODY, STORE, SameAnswered, StateLine, StateRead

if TYPE_CHECKING:
    from harness.scenario import Visit, Workload
    from harness.stage import Background

FIRST_REST_S: Final = 0.05
LONGEST_REST_S: Final = 0.25

MANY_KEYS: Final = 200
"""With more keys than that several threads read."""

THREADS: Final = 4

MOST_SILENCES: Final = 3
"""A replica that gave no answer so often in a round is not asked again in it: each silence may last as long as a request may take."""

READ_WITHIN_S: Final = 300.0
"""How long one round may take; what was not read by then has an error on record."""

MASKED: Final = "*"
"""What stands in a recorded body for what a mask matches."""

_USUAL_HEADERS: Final = ("content-type",)


class StateEnd:
    """The end of one run's workloads; `read_all` is called once."""

    def __init__(  # noqa: PLR0913  what a run hands over
        self,
        workloads: Mapping[str, Workload],
        *,
        mark: str,
        clock: Clock,
        dice: Dice,
        append: Callable[[StateLine], None],
        asker: Callable[[], Asker],
        client: Callable[[str], Client],
        background: Background,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        """``client`` opens a connection to a service by its name, or to the only one by the empty name.

        ``is_over`` says that the run was ended meanwhile.
        """
        self._workloads = workloads
        self._mark = mark
        self._clock = clock
        self._dice = dice
        self._append = append
        self._asker = asker
        self._client = client
        self._background = background
        self._is_over = is_over

    def read_all(self, replicas: Callable[[], Sequence[Place]]) -> None:
        """Read all workloads; ``replicas`` tells at each round who is up."""
        for name, workload in self._workloads.items():
            if workload.model == "same":
                self._settle(workload, _Same(self, name, workload), replicas)
            elif workload.read is not None or workload.store is not None:
                self._settle(workload, _Values(self, name, workload), replicas)

    def _settle(self, workload: Workload, reading: _Values | _Same, replicas: Callable[[], Sequence[Place]]) -> None:
        end_ns = self._clock.now_ns() + workload.settle.ns
        rest_s = FIRST_REST_S
        number = 1
        while not reading.round(number, replicas()):
            left_s = (end_ns - self._clock.now_ns()) / NS_PER_S
            if left_s <= 0 or self._is_over():
                return
            self._clock.sleep(min(rest_s, left_s))
            rest_s = min(2 * rest_s, LONGEST_REST_S)
            number += 1

    # --- what the two kinds of reading use ------------------------------------------------------------------------------------

    def asked_by_all(self, work: Callable[[Asker, Place, int], object], places: Sequence[Place], count: int) -> None:
        """Do ``work`` for each replica and each number from 0 below ``count``, on several threads where that is much."""

        def share(first: int, threads: int) -> None:
            asker = self._asker()
            try:
                for number in range(first, count, threads):
                    for place in places:
                        if self._is_over():
                            return
                        work(asker, place, number)
            finally:
                asker.close()

        if count > MANY_KEYS:
            self._background.map(lambda first: share(first, THREADS), range(THREADS))
        else:
            share(0, 1)

    def write(self, line: StateLine) -> None:
        """Put a line on record."""
        self._append(line)

    def now_ns(self) -> int:
        """The instant."""
        return self._clock.now_ns()

    def key_reader(self, name: str, workload: Workload) -> KeyReader:
        """A reader of one workload's keys."""
        return KeyReader(name, workload, mark=self._mark, clock=self._clock, dice=self._dice.fork(f"state {name}"))

    def store_reader(self, name: str, workload: Workload, ending: ExitStack) -> StoreReader | None:
        """A reader of its store, whose connection ``ending`` closes; None where the scenario names no store."""
        if workload.store is None:
            return None
        client = self._client(workload.store.service or "")
        ending.callback(client.close)
        return StoreReader(name, workload, client, mark=self._mark)

    def dice(self, name: str) -> Dice:
        """Chance of its own for a workload."""
        return self._dice.fork(f"state {name}")


class _Values:
    """The keys of one workload."""

    def __init__(self, end: StateEnd, name: str, workload: Workload) -> None:
        self._end = end
        self._name = name
        self._workload = workload
        self._reader = end.key_reader(name, workload) if workload.read is not None else None

    def round(self, number: int, places: Sequence[Place]) -> bool:
        """Read every key everywhere; whether all agree on each."""
        said: list[list[Told]] = [[] for _ in range(self._workload.keys)]
        silences: Counter[str] = Counter()
        end_ns = self._end.now_ns() + round(READ_WITHIN_S * NS_PER_S)

        def read(asker: Asker, place: Place, key: int) -> None:
            assert self._reader is not None  # noqa: S101  only then it is called
            at_ns = self._end.now_ns()
            if silences[place.name] >= MOST_SILENCES:
                told = Told(error=f"not asked: it had given no answer {MOST_SILENCES} times")
            elif at_ns > end_ns:
                told = Told(error=f"not asked: the reads before it had taken {READ_WITHIN_S:.0f} s")
            else:
                told = self._reader.read(asker, place, key)
                silences[place.name] += told.silent
            said[key].append(self._note(place.name, key, number, at_ns, told))

        if self._reader is not None:
            self._end.asked_by_all(read, places, self._workload.keys)
        self._read_store(number, said)
        return all(agree(self._workload.model, told) for told in said)

    def _read_store(self, number: int, said: list[list[Told]]) -> None:
        with ExitStack() as ending:
            store = self._end.store_reader(self._name, self._workload, ending)
            if store is not None:
                at_ns = self._end.now_ns()
                for key, told in store.read_all().items():
                    said[key].append(self._note(STORE, key, number, at_ns, told))

    def _note(self, replica: str, key: int, number: int, at_ns: int, told: Told) -> Told:
        self._end.write(
            StateRead(
                workload=self._name,
                key=key,
                replica=replica,
                round=number,
                at_ns=at_ns,
                done_ns=self._end.now_ns(),
                result=told.result,
                items=told.items,
                error=told.error,
            )
        )
        return told


def agree(model: str, told: Iterable[Told]) -> bool:
    """Whether all could be read and say the same: the same value, the same number, the same elements, or the same list."""
    said = list(told)
    return not any(each.error for each in said) and len({_meaning(model, each) for each in said}) <= 1


def _meaning(model: str, told: Told) -> object:
    if model == "set":
        return frozenset(told.items or ())
    if model == "log":
        return told.items or ()
    if model == "counter":
        text = (told.result or "0").strip()  # a counter that is not there has counted nothing
        try:
            return int(text)
        except ValueError:
            return text
    return told.result


class _Same:
    """The requests of one workload that all replicas must answer alike."""

    def __init__(self, end: StateEnd, name: str, workload: Workload) -> None:
        dice = end.dice(name)
        self._end = end
        self._name = name
        self._visits = [_Compared(visit, dice, seq) for seq, visit in enumerate(workload.requests)]

    def round(self, number: int, places: Sequence[Place]) -> bool:
        """Ask every replica everything; whether all answer alike."""
        answers: list[list[SameAnswered]] = [[] for _ in self._visits]

        def ask(asker: Asker, place: Place, request: int) -> None:
            line = self._visits[request].line(asker.ask(place, self._visits[request].ready), self._name, place.name, request, number)
            self._end.write(line)
            answers[request].append(line)

        self._end.asked_by_all(ask, places, len(self._visits))
        return all(not any(line.error for line in lines) and len(set(_alike(lines))) <= 1 for lines in answers)


def _alike(lines: Iterable[SameAnswered]) -> Iterator[tuple[int, tuple[tuple[str, str], ...], str]]:
    for line in lines:
        yield line.status, line.headers, line.body


class _Compared:
    """One request that is the same for all, and what of its answer is compared."""

    def __init__(self, visit: Visit, dice: Dice, seq: int) -> None:
        form = Form(visit)
        self.ready = form.ready(form.values(dice, given(), seq=seq))
        self._headers = tuple(sorted({name.lower() for name in visit.compare or _USUAL_HEADERS}))
        self._masks = [re.compile(mask) for mask in visit.mask]

    def line(self, asked: Asked, workload: str, replica: str, request: int, number: int) -> SameAnswered:
        """What is put on record of an answer."""
        there = not asked.error
        body, digest = self._shown(asked.body) if there else ("", "")
        return SameAnswered(
            workload=workload,
            request=request,
            replica=replica,
            round=number,
            at_ns=asked.at_ns,
            done_ns=asked.done_ns,
            status=asked.status,
            headers=tuple((name, asked.header(name)) for name in self._headers) if there else (),
            body=body,
            digest=digest,
            error=asked.error,
        )

    def _shown(self, body: bytes) -> tuple[str, str]:
        """The body as text with all that may differ masked; of a long one the beginning, and a digest of the whole, also at its end."""
        text = body.decode(errors="backslashreplace")
        for mask in self._masks:
            text = mask.sub(MASKED, text)
        if len(text) <= MOST_BODY:
            return text, ""
        digest = hashlib.sha256(text.encode()).hexdigest()
        tail = f"… {len(text)} characters, SHA-256 {digest}"
        return text[: MOST_BODY - len(tail)] + tail, digest
