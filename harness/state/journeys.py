"""Sessions that begin at one replica and go on at another: a login, a form in several steps, an upload.

A journey's requests are asked in their order, each at another replica than the one before. Its cookies go with it to whoever is asked, and
so does what its requests keep (``{kept:name}``). In a step ``hand_over`` the replica that was asked first is stopped before the second
request. A journey ends at the first answer that is not as the scenario expects: what comes after it would only repeat the same.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from harness.clock import Clock, Dice
from harness.extract import Extractor
from harness.state.asker import Asked, Asker, Form, Place, Ready
from harness.state.cookies import Cookies
from harness.state.reader import given
from harness.state_history import JourneyMade, StateLine
from harness.template import KEPT

if TYPE_CHECKING:
    from harness.scenario import Visit, Workload

Next: TypeAlias = Callable[[Place | None], Place | None]
"""Who is asked after somebody (None: who is asked first); None when nobody is up."""

MOST_PAIRS: Final = 20
"""Journeys over pairs of replicas at the end, of each workload."""

NOBODY: Final = "no replica was up"


def in_turns(places: Sequence[Place]) -> Next:
    """One after the other, and from the beginning again."""

    def after(before: Place | None) -> Place | None:
        if not places:
            return None
        return places[(places.index(before) + 1) % len(places)] if before in places else places[0]

    return after


def pairs_of(places: Sequence[Place]) -> Iterator[tuple[Place, Place]]:
    """Every replica with every other one, both ways, but no more than `MOST_PAIRS`: those at first in which each replica has been."""
    ordered = sorted(permutations(range(len(places)), 2), key=lambda pair: ((pair[1] - pair[0]) % len(places), pair[0]))
    for first, second in ordered[:MOST_PAIRS]:
        yield places[first], places[second]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One request of a journey, compiled."""

    form: Form
    keep: Mapping[str, Extractor]


@dataclass(slots=True, kw_only=True)
class _Traveller:
    """What a journey carries with it."""

    number: int
    cookies: Cookies = field(default_factory=Cookies)
    kept: dict[str, str] = field(default_factory=dict)


class Journeys:
    """All journeys of one run. Safe from several threads."""

    def __init__(
        self,
        workloads: Mapping[str, Workload],
        *,
        clock: Clock,
        dice: Dice,
        append: Callable[[StateLine], None],
        asker: Callable[[], Asker],
    ) -> None:
        """``workloads``: those of the model ``journey``, by name."""
        self._parts = {name: [_compiled(visit) for visit in workload.requests] for name, workload in workloads.items()}
        self._clock = clock
        self._dice = dice.fork("journeys")
        self._append = append
        self._asker = asker
        self._lock = threading.Lock()
        self._made: Counter[str] = Counter()

    @property
    def names(self) -> tuple[str, ...]:
        """The journeys that there are."""
        return tuple(self._parts)

    def walk(self, name: str, after: Next, *, between: Callable[[], None] | None = None, fault: str = "") -> bool:
        """Make one journey; whether all answers were good.

        Args:
            name: Which one.
            after: Who is asked.
            between: What happens between the first request and the second one, whatever became of the first.
            fault: What that is to the replica that was asked first.
        """
        with self._lock:
            self._made[name] += 1
            traveller = _Traveller(number=self._made[name])
        asker = self._asker()
        before: Place | None = None
        good = True
        try:
            for request, part in enumerate(self._parts[name]):
                place = after(before)
                did = fault if request == 1 else ""
                line = JourneyMade(
                    workload=name,
                    number=traveller.number,
                    request=request,
                    replica=place.name if place else "",
                    at_ns=self._clock.now_ns(),
                    done_ns=self._clock.now_ns(),
                    before=before.name if before else "",
                    fault=did,
                    error=NOBODY,
                )
                good = self._step(asker, part, traveller, place, line)
                if request == 0 and between is not None:
                    between()
                if not good:
                    break
                before = place
        finally:
            asker.close()
        return good

    def _step(self, asker: Asker, part: _Part, traveller: _Traveller, place: Place | None, line: JourneyMade) -> bool:
        """One request, put on record; whether its answer was good. ``line`` is what is known before."""
        if place is None:
            self._append(line)
            return False
        values = self._values(part.form, traveller)
        ready = _with_cookies(part.form.ready(values), traveller.cookies)
        asked = asker.ask(place, ready)
        error = part.form.problem(asked, values)
        if not asked.error:
            traveller.cookies.take(asked.headers, ready.path)
        error = error or _keep(part, asked, traveller)
        self._append(_ended(line, asked, error))
        return not error

    def _values(self, form: Form, traveller: _Traveller) -> dict[str, str]:
        kept = {f"{KEPT}:{name}": value for name, value in traveller.kept.items()}
        with self._lock:  # one dice for all threads
            return form.values(self._dice, {**given(), **kept}, seq=traveller.number)


def _compiled(visit: Visit) -> _Part:
    return _Part(form=Form(visit), keep={name: Extractor(written) for name, written in visit.keep.items()})


def _with_cookies(ready: Ready, cookies: Cookies) -> Ready:
    """The request with the cookies of the session, behind those that the scenario writes itself."""
    carried = cookies.header(ready.path)
    own = "; ".join(value for name, value in ready.headers if name.lower() == "cookie")
    if not carried:
        return ready
    others = tuple((name, value) for name, value in ready.headers if name.lower() != "cookie")
    return replace(ready, headers=(*others, ("Cookie", f"{own}; {carried}" if own else carried)))


def _keep(part: _Part, asked: Asked, traveller: _Traveller) -> str:
    """Keep what an answer tells; why that can't be done, empty when it is."""
    for name, extractor in part.keep.items():
        understood, text = extractor.text(asked.body)
        if not understood or text is None:
            return f"{name} can't be kept: {extractor.written} is not one value in the answer"
        traveller.kept[name] = text
    return ""


def _ended(line: JourneyMade, asked: Asked, error: str) -> JourneyMade:
    return msgspec.structs.replace(line, at_ns=asked.at_ns, done_ns=asked.done_ns, good=not error, status=asked.status, error=error)
