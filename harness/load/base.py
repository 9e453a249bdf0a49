"""What the run needs of a load: begin, be told of replicas, tell what is in flight, end.

The real one is Locust in a child process (`harness.load.process`), the other one a simulation on a fake clock (`harness.load.fake`).
"""

from __future__ import annotations

from typing import Protocol

from harness.load.tail import Demand


class Load(Protocol):
    """What users do to the target while the run goes on."""

    def start(self) -> None:
        """Begin; returns when requests may flow. Raises `MachineError` when the load can't begin."""
        ...

    def publish(self, replica: str, host: str, port: int) -> None:
        """From now on ``replica`` gets new requests."""
        ...

    def withdraw(self, replica: str) -> None:
        """From now on no new request is routed to ``replica``; those that were routed to it may still leave."""
        ...

    def vanish(self, replica: str) -> None:
        """Nobody is at the replica's address any more, not even a kernel that would refuse a connection: no more are tried."""
        ...

    def forget(self, replica: str) -> None:
        """The replica is gone for good; its place in the routing table is free again."""
        ...

    def on_the_way(self, replica: str) -> int:
        """Requests that were routed to ``replica`` and of which no byte has left yet, without those that are held."""
        ...

    def in_flight(self, replica: str) -> int:
        """Requests that have been sent to ``replica`` and of whose answer no byte has come yet."""
        ...

    def answering(self, replica: str) -> int:
        """Requests that ``replica`` has begun to answer, and whose answer is not over."""
        ...

    def connected(self, replica: str) -> int | None:
        """Connections to ``replica`` that neither side has ended, whoever of this machine made them; None when that can't be known."""
        ...

    def hold(self, replica: str) -> None:
        """From now on a few requests to ``replica`` wait on a new connection before their first byte leaves, each for a second at most.

        Streams are never held: they stay, so a moment at which one is open need not be made. Withdrawing the replica does not end this;
        `release` does, and so do `vanish` and `forget`.
        """
        ...

    def release(self, replica: str) -> None:
        """What is held goes on within a millisecond, and nothing more is held."""
        ...

    def held(self, replica: str) -> int:
        """Requests that have a connection to ``replica`` on which no byte has left, because of a hold."""
        ...

    def met(self, demand: Demand) -> bool:
        """Whether the victim was as demanded when the signal came, by the instants in the ledger; for when it is gone."""
        ...

    def sent(self, replica: str) -> int:
        """How many requests have been sent to ``replica`` so far; it grows before `in_flight` does."""
        ...

    def set_step(self, step: int) -> None:
        """Ops that begin from now on belong to step number ``step``."""
        ...

    def alive(self) -> bool:
        """False when the load has ended although nobody stopped it."""
        ...

    def last_words(self) -> str:
        """Why it ended although nobody stopped it, in its own words."""
        ...

    def stop(self, *, at_once: bool = False) -> None:
        """Take no new ops, let those in flight end within the scenario's time-out (or leave them unfinished), close the ledger."""
        ...
