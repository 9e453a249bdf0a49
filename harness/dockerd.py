"""The Docker engine that the environment names, and what goes wrong with it, in sentences.

The only place that imports the Docker SDK, and only when somebody connects: it takes longer to import than all of Jetable's command line.
``DOCKER_HOST`` wins, then the context (``DOCKER_CONTEXT``, or the current one of the docker command), then the usual socket: whatever the
docker command talks to, Jetable does, too. Podman's compatible socket is one more such place. Contexts are read here and not by the SDK,
which overlooks ``DOCKER_CONTEXT`` (7.1) and would have to be imported to learn that there is no engine at all.

Errors of the SDK become three: `DaemonGoneError` (nobody answers), `NoSuchThingError` (404) and `RefusedError` (any other no).
"""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from harness.errors import ExitCode, JetableError, MachineError, UsageError
from harness.hosts import ALLOWED_HOSTS, is_elsewhere

if TYPE_CHECKING:
    import docker

OLDEST_API: Final = (1, 40)
"""Docker 19.03. Older ones lack what the engine relies on."""

ANSWERS_WITHIN_S: Final = 60
GREETS_WITHIN_S: Final = 10
"""An engine that is there says its version within milliseconds; what it is asked to do later may take its time."""

USUAL_URL: Final = "unix:///var/run/docker.sock"


class DaemonGoneError(MachineError):
    """Nobody answers where the Docker engine should be."""


class RefusedError(JetableError):
    """The Docker engine said no; ``status`` is the HTTP status of its answer, 0 when it was never asked."""

    exit_code = ExitCode.ENVIRONMENT

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class NoSuchThingError(RefusedError):
    """There is no such container, image, network or volume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an engine is.

    Attributes:
        url: ``unix:///var/run/docker.sock``.
        source: Who says so: ``DOCKER_HOST``; empty: nobody, it is the usual place.
        certificates: A folder with ``ca.pem``, ``cert.pem`` and ``key.pem``; None: no TLS.
        verified: Whether the engine must prove who it is.
    """

    url: str
    source: str = ""
    certificates: Path | None = None
    verified: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """A connection to a Docker engine.

    Attributes:
        api: The SDK's low-level client; safe from several threads. Use it inside `translated`.
        url: Where it is: ``unix:///var/run/docker.sock``.
        local: It is reached by a unix socket, so most likely it runs on this machine; `about` knows.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What an engine says of itself.

    Attributes:
        host: The name of the machine it runs on.
        here: It is reached by a unix socket and runs on this very kernel: not in a virtual machine, and not behind a tunnel.
        rootless: It runs without root, its networks in a namespace of their own.
        cgroups: The version of the control groups: ``1`` or ``2``.
        cgroup_driver: ``systemd`` or ``cgroupfs``.
        storage: The storage driver: ``overlay2``.
    """

    host: str
    here: bool
    rootless: bool
    cgroups: str
    cgroup_driver: str
    storage: str


_importing = threading.Lock()


def connect(url: str = "", *, timeout_s: int = ANSWERS_WITHIN_S) -> Daemon:
    """Connect to the engine at ``url``; empty: to the one that the environment names.

    Raises:
        DaemonGoneError: Nobody answers there.
        MachineError: It is too old, may not be used, or is no Docker engine.
        UsageError: What names it can't be an address or a context.
    """
    place = _place_of(url) if url else named_place()
    _knock(place)
    with _importing:
        from docker import APIClient  # noqa: PLC0415  see the head of this file
        from docker.errors import DockerException, InvalidVersion, TLSParameterError  # noqa: PLC0415  see the head of this file
        from requests import RequestException  # noqa: PLC0415  see the head of this file
    try:
        settings = _settings(place)
        if not url:  # one that was noted down was allowed then
            _refuse_elsewhere(place)
        api = APIClient(version="auto", timeout=min(timeout_s, GREETS_WITHIN_S), **settings)
    except TLSParameterError as error:
        raise _bad_certificates(place) from error
    except InvalidVersion as error:
        raise _too_old(str(error)) from error
    except (DockerException, RequestException, OSError, ValueError) as error:
        raise _no_engine(place, error) from error
    api.timeout = timeout_s
    local = place.url.startswith(("unix:", "http+unix:"))
    api.trust_env = not local  # else all of the environment is searched for proxies at each call, while another thread may change it
    try:
        spoken = _spoken(api.api_version)
        with translated():
            version = str(api.version().get("Version", "?"))
    except BaseException:
        api.close()
        raise
    return Daemon(api=api, url=place.url, local=local, version=version, api_version=spoken)


def about(daemon: Daemon) -> About:
    """Ask an engine about itself.

    Raises:
        DaemonGoneError: It does not answer.
        RefusedError: It does not say.
    """
    with translated():
        info = daemon.api.info()
    return About(
        host=str(info.get("Name", "")),
        here=daemon.local and info.get("KernelVersion") == os.uname().release,
        rootless=any("rootless" in str(option) for option in info.get("SecurityOptions") or ()),
        cgroups=str(info.get("CgroupVersion") or "1"),
        cgroup_driver=str(info.get("CgroupDriver") or "none"),
        storage=str(info.get("Driver") or "unknown"),
    )


@contextmanager
def translated() -> Iterator[None]:
    """Turn errors of the SDK into those of this module."""
    from http.client import HTTPException  # noqa: PLC0415  see the head of this file

    from docker.errors import APIError, DockerException, NotFound  # noqa: PLC0415  see the head of this file
    from requests import RequestException  # noqa: PLC0415  see the head of this file
    from urllib3.exceptions import HTTPError  # noqa: PLC0415  see the head of this file

    try:
        yield
    except NotFound as error:
        raise NoSuchThingError(_explanation(error), 404) from error
    except APIError as error:
        raise RefusedError(_explanation(error), error.status_code or 0) from error
    except (RequestException, HTTPError, HTTPException, ConnectionError, TimeoutError) as error:
        raise DaemonGoneError(f"the Docker engine does not answer: {_reason(error)}; see that it runs (systemctl status docker)") from error
    except DockerException as error:  # the SDK itself said no, such as for want of a helper that keeps passwords
        raise RefusedError(_explanation(error), 0) from error


def finish(stream: Any) -> None:
    """Free the connection of a stream of the SDK that nobody reads any more; what the SDK does itself leaves that to chance."""
    with suppress(OSError):
        stream._response.close()  # noqa: SLF001  there is no other way to it


def named_place() -> Place:
    """Where the environment says that the engine is; nobody is asked and nothing is imported.

    Raises:
        UsageError: It names a context that does not exist or can't be read.
    """
    host = os.environ.get("DOCKER_HOST", "").strip()
    if host:
        return _with_certificates(host, "DOCKER_HOST")
    name = os.environ.get("DOCKER_CONTEXT", "")
    source = f"DOCKER_CONTEXT={name}" if name else "the current context"
    name = name or _current_context()
    if name in ("", "default"):
        return _with_certificates(USUAL_URL, "")
    return _of_context(name, source)


def may_be_there() -> bool:
    """Whether it is worth asking the engine that the environment names: cheap, and true too often rather than too rarely."""
    try:
        place = named_place()
    except UsageError:
        return False
    return bool(place.source) or Path(USUAL_URL.removeprefix("unix://")).exists()


def _place_of(url: str) -> Place:
    """An engine that was noted down by its url alone: the environment knows how to prove who we are."""
    with suppress(UsageError):
        place = named_place()
        if place.url == url:
            return place
    return _with_certificates(url, "")


def _with_certificates(url: str, source: str) -> Place:
    """What the environment says of TLS, in the docker command's words: a path alone encrypts, and does not verify."""
    path, verified = os.environ.get("DOCKER_CERT_PATH", ""), bool(os.environ.get("DOCKER_TLS_VERIFY"))
    if url.startswith(("unix:", "ssh:")) or not (path or verified):
        return Place(url=url, source=source)
    return Place(url=url, source=source, certificates=Path(path) if path else _settings_folder(), verified=verified)


def _settings_folder() -> Path:
    return Path(os.environ.get("DOCKER_CONFIG") or Path("~/.docker").expanduser())


def _current_context() -> str:
    file = _settings_folder() / "config.json"
    try:
        settings = json.loads(file.read_text())
        return str(settings.get("currentContext") or "")
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(f"{file} can't be read ({error}); mend it, or set DOCKER_HOST") from error


def _of_context(name: str, source: str) -> Place:
    """A context as the docker command stores it: ``contexts/meta/<sha256 of the name>/meta.json``, certificates beside it."""
    folder, key = _settings_folder() / "contexts", hashlib.sha256(name.encode()).hexdigest()
    try:
        endpoint = json.loads((folder / "meta" / key / "meta.json").read_text())["Endpoints"]["docker"]
        url, verified = str(endpoint["Host"]), not endpoint.get("SkipTLSVerify", False)
    except FileNotFoundError as error:
        raise UsageError(f"there is no Docker context {name!r} ({source}); see docker context ls, or set DOCKER_HOST") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"the Docker context {name!r} ({source}) can't be read: {error!r}; see docker context inspect {name}") from error
    certificates = folder / "tls" / key / "docker"
    return Place(
        url=url, source=f"the Docker context {name!r}", certificates=certificates if certificates.is_dir() else None, verified=verified
    )


def _knock(place: Place) -> None:
    """See whether anybody opens a unix socket, before the SDK is imported: it takes longer, and leaks where nobody does."""
    if not place.url.startswith("unix:///"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knocking:
        knocking.settimeout(GREETS_WITHIN_S)
        try:
            knocking.connect(place.url.removeprefix("unix://"))
        except OSError as error:
            raise _no_engine(place, error) from error


def _refuse_elsewhere(place: Place) -> None:
    """Raise `UsageError` when the engine is on another machine and nobody allowed that by name: what runs there may be somebody's."""
    host = urlsplit(place.url).hostname or ""
    if not is_elsewhere(host):
        return
    raise UsageError(
        f"{place.source or 'it'} names the Docker engine at {place.url}, which is not on this machine; "
        f"set {ALLOWED_HOSTS}={host} if containers may be started, put under load and killed there"
    )


def _settings(place: Place) -> dict[str, Any]:
    """The place in the words of the SDK."""
    from docker.errors import DockerException  # noqa: PLC0415  see the head of this file
    from docker.tls import TLSConfig  # noqa: PLC0415  see the head of this file
    from docker.utils import parse_host  # noqa: PLC0415  see the head of this file

    try:
        parse_host(place.url, tls=place.certificates is not None)
    except (DockerException, ValueError) as error:
        raise UsageError(
            f"{place.source or 'it'} names {place.url!r}, which is no address of a Docker engine; it looks like {USUAL_URL} or tcp://host:2376"
        ) from error
    if place.url.startswith("ssh:") and importlib.util.find_spec("paramiko") is None:
        raise MachineError(f"{place.url}: to reach a Docker engine by ssh the package paramiko is needed: pip install paramiko")
    settings: dict[str, Any] = {"base_url": place.url}
    if place.certificates is not None:
        pair = (str(place.certificates / "cert.pem"), str(place.certificates / "key.pem"))
        ca = place.certificates / "ca.pem"
        if not any(Path(file).exists() for file in (*pair, ca)):
            raise _bad_certificates(place)
        settings["tls"] = TLSConfig(
            client_cert=pair if any(Path(file).exists() for file in pair) else None,
            ca_cert=str(ca) if ca.exists() else None,
            verify=place.verified,
        )
    return settings


def _no_engine(place: Place, error: Exception) -> MachineError:
    """Why nobody could be talked to, with the cure."""
    url, number = place.url, _errno(error)
    if number in (errno.EACCES, errno.EPERM):
        return MachineError(
            f"you may not use the Docker engine at {url}; have yourself added to its group (sudo usermod -aG docker $USER) and log in again"
        )
    causes = _causes(error)
    names = {type(one).__name__ for one in causes}
    if any(isinstance(one, TimeoutError) for one in causes) or names & {"Timeout", "ReadTimeout", "ConnectTimeout"}:
        return DaemonGoneError(
            f"the Docker engine at {url} does not answer in time; see what it does, or restart it (systemctl restart docker)"
        )
    if names & {"SSLError", "SSLCertVerificationError"} or "HTTPS server" in str(error):
        return MachineError(f"no TLS with the Docker engine at {url}: {_reason(error)}; see DOCKER_TLS_VERIFY and DOCKER_CERT_PATH")
    if names & {"JSONDecodeError", "KeyError", "TypeError", "HTTPError", "InvalidHeader", "BadStatusLine", "LocationParseError"}:
        return MachineError(f"what answers at {url} is no Docker engine ({_reason(error)}); set DOCKER_HOST to the address of one")
    cure = f"see {place.source}, or start it there" if place.source else "start it (systemctl start docker), install it, or set DOCKER_HOST"
    return DaemonGoneError(f"no Docker engine answers at {url} ({_reason(error)}); {cure}")


def _too_old(what: str) -> MachineError:
    needed = ".".join(map(str, OLDEST_API))
    return MachineError(
        f"the Docker engine is too old ({what.rstrip('.')}): Jetable needs API {needed}; update it to Docker 19.03 or later"
    )


def _bad_certificates(place: Place) -> UsageError:
    return UsageError(
        f"the certificates for the Docker engine at {place.url} can't be used: {place.certificates} must hold ca.pem, cert.pem "
        "and key.pem; see DOCKER_TLS_VERIFY and DOCKER_CERT_PATH"
    )


def _causes(error: BaseException) -> list[BaseException]:
    """An error with all that led to it, as far down as Python knows."""
    found: dict[int, BaseException] = {}
    todo: list[BaseException | None] = [error]
    while todo:
        one = todo.pop()
        if one is not None and id(one) not in found:
            found[id(one)] = one
            todo += [one.__cause__, one.__context__, *(arg for arg in one.args if isinstance(arg, BaseException))]
    return list(found.values())


def _errno(error: BaseException) -> int:
    """The number of the system call's error at the bottom of a chain of errors; 0 for none."""
    numbers = [one.errno for one in _causes(error) if isinstance(one, OSError) and isinstance(one.errno, int)]
    return next((number for number in numbers if number > 0), 0)


def _reason(error: BaseException) -> str:
    number = _errno(error)
    if any(isinstance(one, socket.gaierror) for one in _causes(error)):
        return "no machine is called so"
    return os.strerror(number).lower() if number else (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _explanation(error: Any) -> str:
    return str(getattr(error, "explanation", None) or error).strip()


def _spoken(version: str) -> tuple[int, int]:
    """The version of the API as numbers, if it is new enough."""
    major, _, minor = version.partition(".")
    if not (major.isdigit() and minor.isdigit()):
        raise MachineError(f"the Docker engine says that it speaks API {version!r}, which is no version; set DOCKER_HOST to another one")
    spoken = int(major), int(minor)
    if spoken < OLDEST_API:
        raise _too_old(f"it speaks API {version}")
    return spoken
