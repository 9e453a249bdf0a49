"""The user that Locust runs. Importing this patches the standard library, so only the load process does."""

from __future__ import annotations

from collections.abc import Callable

from locust import User
from locust.exception import StopUser

from harness.load.user import Crowd


def make_user_class(crowd: Crowd, failed: Callable[[BaseException], None]) -> type[User]:
    """A Locust user class whose only task is to live as one of ``crowd``; ``failed`` hears of a defect in it.

    All ops of a user are one task, because Locust's choice of a next task costs as much as a request.
    """

    class JetableUser(User):  # type: ignore[misc]  # Locust publishes no types
        """One user of the load."""

    def live(_user: User) -> None:
        try:
            crowd.new_user().live()
        except Exception as error:  # noqa: BLE001  handed on: the load ends with it
            failed(error)
        raise StopUser

    JetableUser.tasks = [live]
    return JetableUser
