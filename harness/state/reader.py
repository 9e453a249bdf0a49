"""Reads what one replica, or the store itself, says of one key.

A replica is asked as the scenario's clients ask, by the workload's own ``read``, page after page where there are pages. The store is asked
by a query or by a key of its own. Either way the values come back as text, as they are: whether two texts mean the same is for others to
say. What can't be read is told with its reason and never taken for *nothing there*.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from harness.clock import NS_PER_S, Clock, Dice
from harness.extract import Extractor
from harness.services.base import Client, Held, Keys, Rows, ServiceError
from harness.state.asker import Asked, Asker, Form, Place
from harness.state_history import OF_MANY, key_text
from harness.words import quoted

if TYPE_CHECKING:
    from harness.scenario import Operation, Request, StoreQuery, Workload

MOST_PAGES: Final = 10_000
"""Pages of one read."""

PAGES_WITHIN_S: Final = 60.0
"""How long all pages of one read may take."""

_KEY: Final = "{key}"
_KEY_AND_VALUE: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was read of a key.

    Attributes:
        result: The value; None where there is nothing.
        items: All elements, of a set or a log.
        error: Why it could not be read; then the others say nothing.
        silent: There was no answer at all.
    """

    result: str | None = None
    items: tuple[str, ...] | None = None
    error: str = ""
    silent: bool = False


class Understanding:
    """What the answer of one operation tells."""

    def __init__(self, operation: Operation, model: str, *, whole: bool) -> None:
        """``whole``: all values in the answer count, if the model is one of `OF_MANY`."""
        self.many = whole and model in OF_MANY
        self._operation = operation
        self._extractor = Extractor(operation.answer) if operation.answer is not None else None
        self._next = Extractor(operation.next) if operation.next is not None else None

    def told(self, asked: Asked, problem: str) -> Told:
        """What a whole answer tells; ``problem``: why it is not as the scenario expects, empty where it is."""
        if not asked.error and asked.status in self._operation.nothing:
            return Told(items=() if self.many else None)
        if error := self._why_not(asked, problem):
            return Told(error=error, silent=not asked.status)
        assert self._extractor is not None  # noqa: S101  else there was an error
        if self.many:
            texts = self._extractor.texts(asked.body)
            if texts is not None:
                return Told(items=tuple(text for text in texts if text is not None))
            return Told(error=f"{self._extractor.written} can't be read in the answer")
        understood, text = self._extractor.text(asked.body, must=bool(self._operation.nothing))
        return Told(result=text) if understood else Told(error=f"{self._extractor.written} is not one value in the answer")

    def _why_not(self, asked: Asked, problem: str) -> str:
        """Why the answer tells nothing; empty when it may."""
        if asked.error:
            return asked.error
        if redirect := redirected(self._operation, asked):
            return redirect
        unsaid = "" if self._extractor is not None else "the scenario does not say where in the answer the value stands (answer)"
        return problem or unsaid

    def next_page(self, asked: Asked) -> tuple[str, str]:
        """What {page} becomes for the next page, empty for none; and why that can't be known."""
        if self._next is None or asked.status in self._operation.nothing:
            return "", ""
        understood, text = self._next.text(asked.body)
        return (text or "", "") if understood else ("", f"{self._next.written} is not one value in the answer")


def redirected(request: Request, asked: Asked) -> str:
    """What is wrong with a redirect that the scenario does not expect: it has done nothing yet. Empty for any other answer."""
    unwanted = 300 <= asked.status < 400 and asked.status not in request.expect.status
    return f"answered with {asked.status}; redirects are not followed" if unwanted else ""


class KeyReader:
    """Reads keys of one workload at replicas. Safe from several threads, each with an `Asker` of its own."""

    def __init__(self, name: str, workload: Workload, *, mark: str, clock: Clock, dice: Dice) -> None:
        """``name``: the workload's; it has a ``read``."""
        assert workload.read is not None  # noqa: S101  the caller has looked
        self._name = name
        self._mark = mark
        self._clock = clock
        self._dice = dice
        self._lock = threading.Lock()
        self._seq = 0
        self._form = Form(workload.read)
        self._understanding = Understanding(workload.read, workload.model, whole=True)

    def read(self, asker: Asker, place: Place, key: int, *, text: str = "") -> Told:
        """What the replica says of a key, which travels as ``text`` where it is none of the workload's own."""
        key_is = text or key_text(self._mark, self._name, key)
        end_ns = self._clock.now_ns() + round(PAGES_WITHIN_S * NS_PER_S)
        items: list[str] = []
        page, pages = "", set[str]()
        for _ in range(MOST_PAGES):
            asked, told = self._page(asker, place, key_is, page)
            if told.error or told.items is None:
                return told
            items += told.items
            page, error = self._understanding.next_page(asked)
            if error:
                return Told(error=error)
            if not page:
                return Told(items=tuple(items))
            if page in pages:
                return Told(error=f"its pages go in a circle: {quoted(page)} came twice")
            if self._clock.now_ns() > end_ns:
                return Told(error=f"its pages were not over after {PAGES_WITHIN_S:g} s")
            pages.add(page)
        return Told(error=f"it has more than {MOST_PAGES} pages")

    def _page(self, asker: Asker, place: Place, key: str, page: str) -> tuple[Asked, Told]:
        with self._lock:  # one dice for all threads
            self._seq += 1
            values = self._form.values(self._dice, given(key=key, page=page), seq=self._seq)
        asked = asker.ask(place, self._form.ready(values))
        return asked, self._understanding.told(asked, self._form.problem(asked, values))


def given(*, key: str = "", value: str = "", page: str = "") -> dict[str, str]:
    """What stands for the placeholders of state in a request of the harness's own."""
    return {
        "key": key,
        "value": value,
        "number": value.rpartition("-")[2],
        "old": "",
        "old_number": "",
        "client": "0",
        "page": page,
    }


class StoreReader:
    """Reads all keys of one workload in the store itself."""

    def __init__(self, name: str, workload: Workload, client: Client, *, mark: str) -> None:
        """``client`` speaks to the service that is the store."""
        assert workload.store is not None  # noqa: S101  the caller has looked
        self._store: StoreQuery = workload.store
        self._many = workload.model in OF_MANY
        self._client = client
        self._keys = {key: key_text(mark, name, key) for key in range(workload.keys)}

    def read_all(self) -> Mapping[int, Told]:
        """What the store holds under each key."""
        try:
            if self._store.query is not None and isinstance(self._client, Rows):
                return self._of_rows(self._client.rows(self._store.query))
            if self._store.key is not None and isinstance(self._client, Keys):
                return self._of_keys(self._client, self._store.key)
        except ServiceError as error:
            return self._all(Told(error=str(error)))
        what = "is asked by a query (store: query)" if isinstance(self._client, Rows) else "is asked by a key (store: key)"
        able = isinstance(self._client, Rows | Keys)
        return self._all(Told(error=f"the store {what}" if able else "this kind of service can't be asked what it holds"))

    def _all(self, told: Told) -> dict[int, Told]:
        return dict.fromkeys(self._keys, told)

    def _of_rows(self, rows: Sequence[tuple[str | None, ...]]) -> Mapping[int, Told]:
        if len(self._keys) == 1 and all(len(row) == 1 for row in rows):
            return self._all(self._of_values([row[0] for row in rows]))
        if any(len(row) != _KEY_AND_VALUE for row in rows):
            return self._all(Told(error=f"the query of the store tells {len(rows[0])} columns; it must tell the key and the value"))
        found: dict[str | None, list[str | None]] = defaultdict(list)
        for key, value in rows:
            found[key].append(value)
        return {number: self._of_values(found.get(text, [])) for number, text in self._keys.items()}

    def _of_values(self, values: Sequence[str | None]) -> Told:
        if self._many:
            return Told(items=tuple(value for value in values if value is not None))
        if len(values) > 1:
            return Told(error=f"the query of the store tells {len(values)} rows of one key")
        return Told(result=values[0] if values else None)

    def _of_keys(self, client: Keys, written: str) -> Mapping[int, Told]:
        if _KEY in written:
            return {number: self._of_held(client.held(written.replace(_KEY, text)), written) for number, text in self._keys.items()}
        held = client.held(written)
        if held.fields is not None and not self._many:
            return {number: Told(result=held.fields.get(text)) for number, text in self._keys.items()}
        if len(self._keys) == 1 or held == Held():
            return self._all(self._of_held(held, written))
        return self._all(Told(error=f"the key {written} is one for all {len(self._keys)} keys; write {_KEY} into it, or use a hash"))

    def _of_held(self, held: Held, written: str) -> Told:
        if held == Held():
            return Told(items=() if self._many else None)
        if self._many:
            return Told(items=held.items) if held.items is not None else Told(error=f"the key {written} holds no set and no list")
        return Told(result=held.value) if held.value is not None else Told(error=f"the key {written} holds no text")
