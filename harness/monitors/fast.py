"""Loops over columns that numpy can't do at once: compiled by numba where it is installed (``jetable[fast]``) and the input is large.

Small inputs run as plain Python, so a short history costs neither the import nor the compilation. The compiled code is kept beside the
module, or in the user's cache folder, so that it is compiled once a machine.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Final, Generic, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

FEW: Final = 20_000
"""Up to so many rows plain Python is faster than to load what is compiled."""


class Compiled(Generic[P, R]):
    """A function whose first argument is a column; ``plain`` is the function as it was written."""

    def __init__(self, plain: Callable[P, R]) -> None:
        self.plain = plain
        self._fast: Callable[P, R] | None = None
        update_wrapper(self, plain)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """What the function returns; by numba when the first argument is long."""
        if len(args[0]) <= FEW:  # type: ignore[arg-type]  # a ParamSpec can't say that the first argument is a column
            return self.plain(*args, **kwargs)
        return self.fast(*args, **kwargs)

    @property
    def fast(self) -> Callable[P, R]:
        """The compiled function; the plain one where numba is missing."""
        if self._fast is None:
            self._fast = _compile(self.plain)
        return self._fast


def compiled(function: Callable[P, R]) -> Compiled[P, R]:
    """Decorate a function of columns and numbers, written as loops that numba can compile (no objects, no exceptions)."""
    return Compiled(function)


def _compile(function: Callable[P, R]) -> Callable[P, R]:
    try:
        import numba  # noqa: PLC0415  optional, and slow to import
    except ImportError:
        return function
    try:
        fast: Callable[P, R] = numba.njit(cache=True)(function)
    except RuntimeError:  # there is no folder to keep it in
        fast = numba.njit(function)
    return fast
