"""Which replicas a step means: a word, a share, a place in their row, or several places at once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Final

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema

from harness.scenario.values import MAX_REPLICAS
from harness.words import MistakeError, did_you_mean, shown

EACH: Final = "each"
ALL: Final = "all"
HALF: Final = "half"
ANY: Final = "any"
OLDEST: Final = "oldest"
NEWEST: Final = "newest"

REPLICA_WORDS: Final = (EACH, ANY, HALF, ALL, OLDEST, NEWEST)
_SHARE: Final = re.compile(r"([1-9]\d?|100)%")

Choice = str | int | tuple[int, ...]


def share_of(choice: Choice) -> float | None:
    """The share of all replicas that ``choice`` means, from 0 to 1; None when it means no share."""
    if choice == HALF:
        return 0.5
    share = _SHARE.fullmatch(choice) if isinstance(choice, str) else None
    return int(share[1]) / 100 if share else None


def words_of(choice: Choice) -> str:
    """``any``, ``replica 2``, ``replicas 1 and 3``, ``30% of all``."""
    if isinstance(choice, int):
        return f"replica {choice}"
    if isinstance(choice, tuple):
        return f"replicas {', '.join(map(str, choice))} at once"
    return f"{choice} at once" if choice in (HALF, ALL) or share_of(choice) else choice


def _choice(written: object) -> Choice:
    if written in REPLICA_WORDS or (isinstance(written, str) and _SHARE.fullmatch(written)):
        return str(written)
    if isinstance(written, int) and not isinstance(written, bool):
        return _place(written)
    if isinstance(written, Sequence) and not isinstance(written, str) and written:
        places = tuple(_place(item) for item in written)
        if len(set(places)) < len(places):
            raise MistakeError("names a replica twice")
        return places
    near = did_you_mean(written, REPLICA_WORDS) if isinstance(written, str) else ""
    raise MistakeError(
        f"must be {', '.join(REPLICA_WORDS)}, a share such as 30%, a number from 1 or a list of them, not {shown(written)}{near}"
    )


def _place(written: object) -> int:
    if not isinstance(written, int) or isinstance(written, bool):
        raise MistakeError(f"must hold numbers of replicas such as 1, not {shown(written)}")
    if not 1 <= written <= MAX_REPLICAS:
        raise MistakeError(f"replicas are counted from 1 to {MAX_REPLICAS}; there is no number {written}")
    return written


_PLACE_SCHEMA: Final[dict[str, Any]] = {"type": "integer", "minimum": 1, "maximum": MAX_REPLICAS}
CHOICE_SCHEMAS: Final[tuple[dict[str, Any], ...]] = (
    {"enum": list(REPLICA_WORDS)},
    {"type": "string", "pattern": f"^(?:{_SHARE.pattern})$"},
    _PLACE_SCHEMA,
)

ReplicaChoice = Annotated[
    Choice,
    PlainValidator(_choice),
    PlainSerializer(lambda choice: list(choice) if isinstance(choice, tuple) else choice),
    WithJsonSchema({"anyOf": [*CHOICE_SCHEMAS, {"type": "array", "items": _PLACE_SCHEMA, "minItems": 1, "uniqueItems": True}]}),
]
