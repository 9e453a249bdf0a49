"""The models that a history can be judged by, and the operations that each has.

What an operation of a file means is said by its name in the model, whatever the dialect: ``add`` is of an element in a set and of a
number in a counter. Where nobody says the model it follows from the operations, if only one has them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from harness.dialects.values import Value, WrongHistoryError, elements_of, whole_number
from harness.words import all_of, did_you_mean, one_of, quoted


class Ask(Enum):
    """What an operation wants."""

    READ = auto()
    WRITE = auto()
    CAS = auto()
    ADD = auto()
    SUBTRACT = auto()
    REMOVE = auto()
    CONTAINS = auto()
    ENQUEUE = auto()
    DEQUEUE = auto()
    DRAIN = auto()
    APPEND = auto()
    ACQUIRE = auto()
    RELEASE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model.

    Attributes:
        monitor: Who judges it, a key of `harness.monitors.MONITORS`.
        asks: Its operations by name.
        whole: Reads answer a collection.
        numbers: Arguments and answers are numbers that are added.
    """

    monitor: str
    asks: Mapping[str, Ask]
    whole: bool = False
    numbers: bool = False


MODELS: Final[dict[str, Model]] = {
    "register": Model(monitor="register", asks={"read": Ask.READ, "write": Ask.WRITE, "cas": Ask.CAS, "get": Ask.READ, "put": Ask.WRITE}),
    "set": Model(monitor="set", asks={"add": Ask.ADD, "remove": Ask.REMOVE, "contains": Ask.CONTAINS, "read": Ask.READ}, whole=True),
    "counter": Model(
        monitor="counter",
        asks={"add": Ask.ADD, "increment": Ask.ADD, "inc": Ask.ADD, "decrement": Ask.SUBTRACT, "dec": Ask.SUBTRACT, "read": Ask.READ},
        numbers=True,
    ),
    "queue": Model(monitor="queue", asks={"enqueue": Ask.ENQUEUE, "dequeue": Ask.DEQUEUE, "drain": Ask.DRAIN}),
    "log": Model(monitor="log", asks={"append": Ask.APPEND, "read": Ask.READ}, whole=True),
    "mutex": Model(monitor="register", asks={"acquire": Ask.ACQUIRE, "release": Ask.RELEASE}),
}
"""Every model that a history can be judged by; a mutex is a register that is nil when free."""


def operation_of(model: str, name: str, line: int) -> Ask:
    """What the operation ``name`` wants in ``model``.

    Raises:
        WrongHistoryError: The model has no such operation; the message names those that it has.
    """
    ask = MODELS[model].asks.get(name)
    if ask is None:
        others = [other for other, told in MODELS.items() if name in told.asks]
        cure = f"judge it with --model {others[0]}" if others else f"it has {all_of(MODELS[model].asks)}"
        raise WrongHistoryError(line, f"a {model} has no operation {quoted(name)}{did_you_mean(name, MODELS[model].asks)}; {cure}")
    return ask


def model_of(asked: Iterable[tuple[str, Value]]) -> str:
    """The one model that has all operations of ``asked``, pairs of a name and an answer that tells a set from a counter.

    Raises:
        WrongHistoryError: None has, or several have.
    """
    names: set[str] = set()
    whole = numbers = False
    for name, answer in asked:
        names.add(name)
        if name == "read" and answer is not None:
            whole = whole or elements_of(answer) is not None
            numbers = numbers or whole_number(answer) is not None
    fit = [name for name, model in MODELS.items() if names <= set(model.asks)]
    if set(fit) == {"set", "counter"} and whole != numbers:
        fit = ["set" if whole else "counter"]
    if len(fit) == 1:
        return fit[0]
    listed = all_of(sorted(names))
    if not fit:
        raise WrongHistoryError(0, f"no model has all of its operations ({listed}); name one with --model {one_of(MODELS)}")
    raise WrongHistoryError(0, f"its operations ({listed}) could be those of a {one_of(fit)}; say which with --model")
