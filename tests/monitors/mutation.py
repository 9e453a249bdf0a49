"""Whether each condition of a monitor is needed: its source is changed in memory, one fragment at a time, and the comparison must notice.

A change that nothing notices is a condition that no history of the fuzz meets, or one that is not needed; both are defects.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change of a source: ``fragment``, which is there exactly once, becomes ``instead``; ``why`` is the test's name."""

    why: str
    fragment: str
    instead: str


@contextmanager
def changed(module: ModuleType, mutant: Mutant) -> Iterator[ModuleType]:
    """A module of the changed source, under a name of its own. The true one stays as it is, and others go on to use it."""
    source = inspect.getsource(module)
    assert source.count(mutant.fragment) == 1, f"{mutant.fragment!r} is {source.count(mutant.fragment)} times in {module.__name__}"
    name = f"{module.__name__}_changed"
    spec = importlib.util.spec_from_loader(name, loader=None)
    assert spec is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made  # dataclasses look their module up by its name
    try:
        exec(compile(source.replace(mutant.fragment, mutant.instead), f"<{mutant.why}>", "exec"), made.__dict__)  # noqa: S102  our own source
        yield made
    finally:
        del sys.modules[name]


def noticed(module: ModuleType, mutant: Mutant, differs: Callable[[ModuleType], bool]) -> bool:
    """Whether ``differs`` tells the changed module from what is right; that it raises counts as well."""
    with changed(module, mutant) as made:
        try:
            return differs(made)
        except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError):
            return True
