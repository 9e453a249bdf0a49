"""Processes of a run: found by every trace there is, and killed until nobody is found any more."""

from __future__ import annotations

import os
from collections.abc import Mapping

from harness import marks, proctable
from harness.cleanup.base import AFTER_KILL_S, LOOK_AGAIN_S, Order, Swept, Trace


class Processes:
    """Processes with the mark, those that the harness listed, and their sessions and descendants.

    Never this process or one that it descends from.
    """

    def traces(self) -> Mapping[str, Trace]:
        """The marked processes of this pid namespace; in another one the pid of an owner means another process."""
        table = proctable.scan()
        never = proctable.ancestors(table, os.getpid())
        here = proctable.namespace(os.getpid())
        found: dict[str, Trace] = {}
        for proc in table.procs.values():
            environment = table.environment(proc.pid)
            run_id, owner = marks.value_of(environment, marks.RUN), marks.value_of(environment, marks.OWNER)
            if run_id and owner and proc.alive and proc.pid not in never and proctable.namespace(proc.pid) == here:
                before = found.get(run_id, Trace(owners=frozenset(), things=()))
                found[run_id] = Trace(owners=before.owners | {owner}, things=(*before.things, _process_text(proc)))
        return found

    def remove(self, order: Order) -> Swept:
        """SIGKILL until two looks in a row find nothing."""
        listed = marks.recorded(marks.scratch_folder(order.run_id))
        known = dict(listed)
        texts: dict[tuple[int, int], str] = {}
        found: list[proctable.Proc] = []
        quiet = 0
        while quiet < 2 and not order.over:
            table = proctable.scan()
            found = self._of_run(table, order, listed, known)
            for proc in found:
                known[proc.pid] = proc.started
                texts.setdefault((proc.pid, proc.started), _process_text(proc))
            proctable.kill(found, table)
            quiet = 0 if found else quiet + 1
            if quiet < 2:
                order.clock.sleep(AFTER_KILL_S if found else LOOK_AGAIN_S)
        left = {(proc.pid, proc.started) for proc in found}
        return Swept(
            removed=tuple(text for key, text in texts.items() if key not in left),
            left=tuple(text for key, text in texts.items() if key in left),
        )

    def _of_run(self, table: proctable.Table, order: Order, listed: Mapping[int, int], known: Mapping[int, int]) -> list[proctable.Proc]:
        """All living processes of a run. Of an old run, a session whose leader is gone may be a stranger's: its number is free for use."""
        leaders = {pid: started for pid, started in listed.items() if order.fresh or table.same(pid, started)}
        needles = (marks.needle(marks.RUN, order.run_id),)
        kin = proctable.Kinship(marks=needles, leaders=leaders, known=known, brands=marks.brands(order.run_id))
        family = proctable.family(table, kin, never=proctable.ancestors(table, os.getpid()))
        return [proc for proc in family.values() if proc.alive]


def _process_text(proc: proctable.Proc) -> str:
    return f"process {proc.pid} {proctable.command_line(proc)}"
