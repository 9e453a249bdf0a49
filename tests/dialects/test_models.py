"""Which model has which operations."""

from __future__ import annotations

import pytest

from harness.dialects.models import MODELS, Ask, model_of, operation_of
from harness.dialects.values import Elements, WrongHistoryError


@pytest.mark.parametrize(
    ("asked", "model"),
    [
        ([("read", None), ("write", 3)], "register"),
        ([("cas", (1, 2))], "register"),
        ([("add", 1), ("read", Elements((1,)))], "set"),
        ([("add", 1), ("read", 3)], "counter"),
        ([("increment", None), ("read", 3)], "counter"),
        ([("enqueue", 1), ("dequeue", None)], "queue"),
        ([("append", 1), ("read", (1,))], "log"),
        ([("acquire", None)], "mutex"),
    ],
)
def test_the_model_follows_from_the_operations(asked: list[tuple[str, object]], model: str) -> None:
    assert model_of(asked) == model


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["read"], "could be those of a"),
        (["add", "read"], 'could be those of a "set" or "counter"; say which with --model'),
        (["write", "enqueue"], "no model has all of its operations"),
        (["txn"], "no model has all of its operations"),
    ],
)
def test_a_model_that_does_not_follow_must_be_named(names: list[str], says: str) -> None:
    with pytest.raises(WrongHistoryError) as wrong:
        model_of((name, None) for name in names)
    assert says in str(wrong.value)


def test_an_operation_of_another_model_names_that_model() -> None:
    assert operation_of("set", "add", 1) is Ask.ADD
    with pytest.raises(WrongHistoryError, match=r"a register has no operation .*enqueue.*; judge it with --model queue"):
        operation_of("register", "enqueue", 7)
    with pytest.raises(WrongHistoryError, match=r"did you mean .*write"):
        operation_of("register", "wirte", 7)


def test_every_model_names_a_monitor() -> None:
    assert {model.monitor for model in MODELS.values()} <= {"register", "set", "counter", "queue", "log"}
