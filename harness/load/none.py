"""No load at all, for a scenario that has jobs and no requests."""

from __future__ import annotations

from harness.load.tail import Demand


class NoLoad:
    """A `harness.load.base.Load` that sends nothing."""

    def start(self) -> None:
        """Nothing begins."""

    def publish(self, replica: str, host: str, port: int) -> None:
        """Nobody would send to it."""

    def withdraw(self, replica: str) -> None:
        """Nobody sent to it."""

    def vanish(self, replica: str) -> None:
        """Nobody sent to it."""

    def forget(self, replica: str) -> None:
        """Nobody sent to it."""

    def on_the_way(self, replica: str) -> int:  # noqa: ARG002  nothing ever is
        """None."""
        return 0

    def in_flight(self, replica: str) -> int:  # noqa: ARG002  as above
        """None."""
        return 0

    def answering(self, replica: str) -> int:  # noqa: ARG002  as above
        """None."""
        return 0

    def connected(self, replica: str) -> int | None:  # noqa: ARG002  as above
        """None."""
        return 0

    def hold(self, replica: str) -> None:
        """There is nothing to hold."""

    def release(self, replica: str) -> None:
        """Nothing was held."""

    def held(self, replica: str) -> int:  # noqa: ARG002  as above
        """None."""
        return 0

    def met(self, demand: Demand) -> bool:  # noqa: ARG002  no request is ever demanded here
        """No ledger contradicts it."""
        return True

    def sent(self, replica: str) -> int:  # noqa: ARG002  as above
        """None."""
        return 0

    def set_step(self, step: int) -> None:
        """Nothing belongs to it."""

    def alive(self) -> bool:
        """It never ends by itself."""
        return True

    def last_words(self) -> str:
        """It has nothing to say."""
        return ""

    def stop(self, *, at_once: bool = False) -> None:
        """There is nothing to end."""
