"""What a run has made in services that others use as well: queues, keys, tables, schemas. They go when those are gone who use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from harness import marks
from harness.cleanup.base import LOOK_AGAIN_S, Order, Swept, Trace
from harness.cleanup.folders import ScratchFolders, is_ours
from harness.errors import JetableError

if TYPE_CHECKING:
    from harness.services.deposits import Deposit

_ON_ITS_WAY_S: Final = 0.5
"""What a dead harness had sent reaches a service of this machine within that; it is there again then, and is taken out again."""


class Deposits:
    """The lines of `harness.services.deposits`, in the run's scratch folder."""

    def traces(self) -> Mapping[str, Trace]:
        """What is on record; it may not have been made."""
        found = {}
        for run_id, trace in ScratchFolders().traces().items():
            if things := tuple(map(str, _recorded(run_id))):
                found[run_id] = Trace(owners=trace.owners, things=things)
        return found

    def remove(self, order: Order) -> Swept:
        """Take all of it out, the last first; what can't be reached stays on record."""
        if not is_ours(marks.scratch_folder(order.run_id)):
            return Swept()
        deposits = _recorded(order.run_id)[::-1]
        left = _left(deposits, order)
        if deposits and order.settle_s and not left:
            order.clock.sleep(min(_ON_ITS_WAY_S, order.settle_s))
            left = _left(deposits, order)
        if not left:
            marks.forget_deposits(marks.scratch_folder(order.run_id))
        there = [deposit for deposit, _ in left]
        return Swept(
            removed=tuple(str(each) for each in deposits if each not in there), left=tuple(f"{each} ({why})" for each, why in left)
        )


def _recorded(run_id: str) -> Sequence[Deposit]:
    folder = marks.scratch_folder(run_id)
    if not marks.has_deposits(folder):
        return ()
    from harness.services.deposits import recorded  # noqa: PLC0415  few runs have any, and each watchdog would import all services

    return recorded(folder)


def _left(deposits: Sequence[Deposit], order: Order) -> Sequence[tuple[Deposit, str]]:
    """Take them out, again and again while that is refused (by a queue that has not noticed that a worker is gone), until the deadline.

    Returns:
        What is left, and why.
    """
    while True:
        left = []
        for deposit in deposits:
            try:
                deposit.take_out()
            except JetableError as error:
                left.append((deposit, str(error)))
        if not left or order.over:
            return left
        deposits = [deposit for deposit, _ in left]
        order.clock.sleep(LOOK_AGAIN_S)
