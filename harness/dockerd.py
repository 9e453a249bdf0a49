"""The Docker engine that the environment names, and what goes wrong with it, in sentences.

The only place that imports the Docker SDK, and only when somebody connects: it takes longer to import than all of Jetable's command line.
``DOCKER_HOST`` wins, then the context (``DOCKER_CONTEXT``, or the current one of the docker command), then the usual socket: whatever the
docker command talks to, Jetable does, too. Podman's compatible socket is one more such place.

Errors of the SDK become three: `DaemonGoneError` (nobody answers), `NoSuchThingError` (404) and `RefusedError` (any other no).
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import requests

from harness.errors import ExitCode, JetableError, MachineError

if TYPE_CHECKING:
    import docker

OLDEST_API: Final = (1, 40)
"""Docker 19.03. Older ones lack what the engine relies on."""

ANSWERS_WITHIN_S: Final = 60


class DaemonGoneError(MachineError):
    """Nobody answers where the Docker engine should be."""


class RefusedError(JetableError):
    """The Docker engine said no; ``status`` is the HTTP status of its answer."""

    exit_code = ExitCode.ENVIRONMENT

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class NoSuchThingError(RefusedError):
    """There is no such container, image, network or volume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """A connection to a Docker engine.

    Attributes:
        api: The SDK's low-level client; safe from several threads. Use it inside `translated`.
        url: Where it is: ``unix:///var/run/docker.sock``.
        local: It runs on this machine, reached by a unix socket.
        version: Its own version: ``20.10.24``.
        api_version: The version of the API that is spoken: ``(1, 41)``.
    """

    api: docker.APIClient
    url: str
    local: bool
    version: str
    api_version: tuple[int, int]

    def close(self) -> None:
        """Close the connections."""
        self.api.close()


_importing = threading.Lock()


def connect(url: str = "", *, timeout_s: int = ANSWERS_WITHIN_S) -> Daemon:
    """Connect to the engine at ``url``; empty: to the one that the environment names.

    Raises:
        DaemonGoneError: Nobody answers there.
        MachineError: It is too old, may not be used, or the environment's names lead nowhere.
    """
    with _importing:
        from docker import APIClient  # noqa: PLC0415  see the head of this file
        from docker.errors import DockerException, TLSParameterError  # noqa: PLC0415  see the head of this file
    settings: dict[str, Any] = {}
    try:
        settings = {"base_url": url} if url else _of_environment()
        api = APIClient(version="auto", timeout=timeout_s, **settings)
    except TLSParameterError as error:
        raise MachineError(
            f"the Docker engine's TLS settings can't be used: {error}; see DOCKER_TLS_VERIFY and DOCKER_CERT_PATH"
        ) from error
    except (DockerException, requests.RequestException, OSError, ValueError) as error:
        raise _not_there(str(settings.get("base_url") or url or "the place that the environment names"), error) from error
    spoken = _pair(api.api_version)
    if spoken < OLDEST_API:
        api.close()
        needed = ".".join(map(str, OLDEST_API))
        raise MachineError(f"the Docker engine speaks API {api.api_version} and Jetable needs {needed}; update it to Docker 19.03 or later")
    with translated():
        version = str(api.version().get("Version", "?"))
    where = str(settings.get("base_url") or api.base_url)
    return Daemon(api=api, url=where, local=where.startswith(("unix://", "http+docker://")), version=version, api_version=spoken)


@contextmanager
def translated() -> Iterator[None]:
    """Turn errors of the SDK into those of this module."""
    from docker.errors import APIError, DockerException, NotFound  # noqa: PLC0415  see the head of this file

    try:
        yield
    except NotFound as error:
        raise NoSuchThingError(_explanation(error), 404) from error
    except APIError as error:
        raise RefusedError(_explanation(error), error.status_code or 0) from error
    except (requests.RequestException, DockerException) as error:
        raise DaemonGoneError(f"the Docker engine does not answer: {_reason(error)}; see that it runs (systemctl status docker)") from error


def _of_environment() -> dict[str, Any]:
    """What to connect to, in the words of the SDK."""
    from docker.context import ContextAPI  # noqa: PLC0415  see the head of this file
    from docker.utils import kwargs_from_env  # noqa: PLC0415  see the head of this file

    if os.environ.get("DOCKER_HOST"):
        return dict(kwargs_from_env())
    context = ContextAPI.get_current_context()
    if context is None:
        name = os.environ.get("DOCKER_CONTEXT", "")
        raise MachineError(f"there is no Docker context {name!r}; see docker context ls, or unset DOCKER_CONTEXT")
    settings: dict[str, Any] = {"base_url": context.Host or "unix:///var/run/docker.sock"}
    if context.TLSConfig is not None:
        settings["tls"] = context.TLSConfig
    return settings


def _not_there(url: str, error: Exception) -> MachineError:
    number = _errno(error)
    if number in (errno.EACCES, errno.EPERM):
        return MachineError(
            f"you may not use the Docker engine at {url}; have yourself added to its group (sudo usermod -aG docker $USER) and log in again"
        )
    return DaemonGoneError(
        f"no Docker engine answers at {url} ({_reason(error)}); start it (systemctl start docker), install it, or set DOCKER_HOST"
    )


def _errno(error: BaseException | None) -> int:
    """The number of the system call's error at the bottom of a chain of errors; 0 for none."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, OSError) and one.errno and not isinstance(one, requests.RequestException):
            return one.errno
        todo += [one.__cause__, one.__context__, *(arg for arg in one.args if isinstance(arg, BaseException))]
    return 0


def _reason(error: BaseException) -> str:
    number = _errno(error)
    return os.strerror(number).lower() if number else str(error).splitlines()[0][:200]


def _explanation(error: Any) -> str:
    return str(error.explanation or error).strip()


def _pair(version: str) -> tuple[int, int]:
    major, _, minor = version.partition(".")
    return int(major), int(minor or 0)
