"""The backing services of a run: started before the target and gone after it, stopped and started again by steps.

A service is started through the run's engine, as a replica is, so it carries the run's mark, has a log, and is removed by whoever removes
the run. One with a ``url`` is only spoken to. What happens to a service is on record (`harness.history.ServicePhase`) and never a fault of
the app.
"""

from __future__ import annotations

import os
import pwd
import shlex
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from harness.clock import NS_PER_S, Clock
from harness.engines.base import Engine, EngineClass, Exit, Inside, Replica, ReplicaSpec
from harness.errors import MachineError, UsageError
from harness.history import Event, ServicePhase
from harness.hosts import ALLOWED_HOSTS, is_elsewhere, is_here
from harness.scenario import ProcessType, Scenario, Service
from harness.scenario.services import EMBEDDED, HIDDEN
from harness.services import KINDS
from harness.services.base import Client, DoneSpec, Launch, MakesPlace, QueueSpec, ServiceError
from harness.services.deposits import EffectsDeposit, PlaceDeposit, QueueDeposit, record

READY_WITHIN_S: Final = 60.0
ENDED_WITHIN_S: Final = 2.0
"""How long services have at the end of a run."""

STOPPED_WITHIN_S: Final = 30.0
"""How long a service may take to end on its stop signal; then it gets SIGKILL."""

UNSHARED_WITHIN_S: Final = 10.0

_POLL_S: Final = 0.02
_LOG_LINES: Final = 20
_DEFAULT_STOP: Final = "SIGTERM"
_FOLDER: Final = "{folder}"
_PREPARED: Final = ".prepared"


Handed: TypeAlias = Callable[[str, str], str]
"""Gets the name of a service and its URL, and returns the one at which replicas are to find it."""


def itself(_name: str, url: str) -> str:
    """Replicas find a service where it is."""
    return url


@dataclass(slots=True, kw_only=True)
class _Life:
    """One service: its kind's launch, where it is, and whether somebody has asked it to end."""

    name: str
    service: Service
    folder: Path
    launch: Launch | None
    url: str = ""
    replica: Replica | None = None
    asked: bool = False
    ended: bool = False


def launch_of(service: Service) -> Launch | None:
    """How the run starts a service; None for one that runs already, or is no process."""
    return KINDS[service.kind].launch(durable=service.durable) if service.url is None else None


def service_spec(name: str, service: Service, folder: Path, *, again: Replica | None = None) -> ReplicaSpec | None:
    """What a service is started from; None for one that is not started by the run. At the address of ``again``, if given."""
    launch = launch_of(service)
    if launch is None:
        return None
    written: dict[str, object] = {
        "image": service.image or launch.image,
        "expose": [launch.port],
        "volumes": [f"{name}-data:{launch.volume}"] if launch.volume else [],
    }
    return ReplicaSpec(
        name=name,
        process=name,
        argv=_as_user(launch, _with_preparation(launch, folder)),
        environment={key: value.replace(_FOLDER, str(folder)) for key, value in launch.environment.items()},
        working_dir=folder,
        port=again.port if again else 0,
        host=again.host if again else "",
        declared=ProcessType.model_validate(written),
        inside=Inside(argv=launch.command, environment=launch.image_environment),
    )


def check_services(scenario: Scenario, engine: EngineClass) -> None:
    """Look, before anything starts, whether all services could be had.

    Raises:
        MachineError: A program is not installed; the message names the package.
        UsageError: A Python client is not installed; the message names the extra. Or a password was hidden.
    """
    for name, service in scenario.services.items():
        kind = KINDS[service.kind]
        if f":{HIDDEN}@" in (service.url or ""):
            raise UsageError(
                f"the password in the url of the service {name} is hidden in what a run has written; run the scenario's own file"
            )
        host = urlsplit(service.url or "").hostname or ""
        if is_elsewhere(host):
            what = f"the service {name} is at {host}, which is not on this machine"
            raise UsageError(f"{what}; set {ALLOWED_HOSTS}={host} if jobs may be put there and connections cut")
        if service.url is not None and engine.contained and is_here(host):
            where = f"{host} is the container itself" if host else "no file of this machine is in them"
            raise UsageError(f"the service {name} has a url, and in containers {where}; use --engine process, or leave the url out")
        with suppress(ServiceError):
            kind.open(service.url or kind.url("127.0.0.1", 1, Path("/"))).close()
        spec, launch = service_spec(name, service, Path.cwd()), launch_of(service)
        if spec is None or launch is None:
            continue
        try:
            engine.check(replace(spec, argv=launch.argv))  # what stands before it, a shell, is always there
        except UsageError as error:
            program = Path(launch.argv[0]).name
            raise MachineError(
                f"the service {name} needs {program}, which is not here: install the Debian package {launch.package}, write url: for one "
                "that runs already, or use --engine docker"
            ) from error


class Backing:
    """The services of one run. Safe from several threads.

    ``shared`` is a folder that every replica has to see where ``shares`` says so; ``step`` tells the number of the step in progress;
    ``handed`` turns the name and the URL of a service into the URL that replicas are given.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        mark: str,
        scratch: Path,
        clock: Clock,
        record: Callable[[Event], None],
    ) -> None:
        """``scratch`` is the run's folder for temporary files, which all replicas can be shown."""
        self._clock = clock
        self._record = record
        self.step: Callable[[], int] = lambda: 0
        self.handed: Handed = itself
        self._mark = mark
        self._scratch = scratch
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self.shared = scratch / "shared"
        files = scenario.jobs is not None and scenario.jobs.done.file is not None
        self.shares = files or any(service.kind in EMBEDDED and service.url is None for service in scenario.services.values())
        self._lives: dict[str, _Life] = {}
        for name, service in scenario.services.items():
            self._lives[name] = _Life(name=name, service=service, folder=scratch / "services" / name, launch=launch_of(service))

    def specs(self) -> list[ReplicaSpec]:
        """What the engine has to get ready for."""
        specs = [service_spec(life.name, life.service, life.folder) for life in self._lives.values()]
        return [spec for spec in specs if spec is not None]

    def start_all(self, engine: Engine) -> None:
        """Start all services, or find them, and wait until each does its work.

        Raises:
            MachineError: One can't be started, or does not get ready; the message ends with its last words.
        """
        self._engine = engine
        if self.shares or any(life.launch is not None and life.launch.user for life in self._lives.values()):
            self.shared.parent.chmod(0o711)  # others have to find their folder in it
        if self.shares:
            self.shared.mkdir(mode=0o777)
            self.shared.chmod(0o777)
        for life in self._lives.values():
            if life.launch is not None:
                self._make_folder(life)
                self._launch(life)
            else:
                kind = KINDS[life.service.kind]
                self._tell(life, "asked", kind_of=life.service.kind, own=life.service.url is None)
                life.url = self._owned(life) if life.service.url else kind.url("", 0, self.shared)
                self._await_ready(life)

    def owns(self, replica: str) -> bool:
        """Whether the engine's replica of that name is one of the services."""
        return replica in self._lives

    def environment(self) -> Mapping[str, str]:
        """The URL of each service by the variable that hands it to the app."""
        return {life.service.handed_as: self.handed(life.name, life.url) for life in self._lives.values()}

    def client(self, name: str) -> Client:
        """A client of a service, for one thread."""
        life = self._lives[name]
        return KINDS[life.service.kind].open(life.url)

    def deposit(self, name: str, what: QueueSpec | DoneSpec, beside: Sequence[str] = ()) -> None:
        """The run is about to make this in a service: note it where others use that as well, so that whoever removes the run takes it out.

        ``beside`` is what `harness.services.base.MakesBeside` says. Raises `MachineError` when it can't be noted.
        """
        life = self._lives[name]
        if life.service.url is None:
            return
        kind, url = life.service.kind, life.url
        if isinstance(what, QueueSpec):
            names = what.name, *beside
            record(self._scratch, QueueDeposit(service=kind, url=url, form=what.form, names=names, options=what.options))
        else:
            record(self._scratch, EffectsDeposit(service=kind, url=url, where=what.kind, name=what.name))

    def exited(self, replica: Replica, gone: Exit) -> None:
        """The engine tells that a service's main process has ended; from any thread."""
        with self._lock:
            life = self._lives[replica.name]
            asked, life.ended = life.asked, True
        log = self._engine.log_tail(replica, _LOG_LINES) if self._engine is not None and not asked else ()
        what = "" if asked else "nobody had asked it to end"
        self._tell(life, "exited", at_ns=gone.at_ns, status=gone.status, detail=what, log=log)

    def stop(self, name: str, signal: str) -> bool:
        """Stop a service and wait until it is gone; false when it was gone before.

        Raises:
            MachineError: It survived SIGKILL.
        """
        life, engine = self._lives[name], self._running()
        replica = life.replica
        if replica is None or life.launch is None or life.ended:
            return False
        sent_signal = life.launch.stop_signal if signal == _DEFAULT_STOP else signal
        with self._lock:
            life.asked = True
        sent = engine.signal(replica, sent_signal, everything=sent_signal == "SIGKILL")
        self._tell(life, "signalled", at_ns=sent.at_ns, detail=sent_signal)
        if engine.wait_exit(replica, STOPPED_WITHIN_S) is None:
            self._tell(life, "signalled", detail="SIGKILL")
        engine.signal(replica, "SIGKILL", everything=True)
        if engine.wait_exit(replica, STOPPED_WITHIN_S) is None:
            raise MachineError(f"the service {name} is still there {STOPPED_WITHIN_S:.0f} s after SIGKILL")
        return True

    def start(self, name: str) -> None:
        """Start a service again where it was, with what it kept; nothing when it runs. Raises as `start_all`."""
        life = self._lives[name]
        if life.replica is not None and not life.ended:
            return
        self._launch(life)

    def cut(self, name: str) -> int:
        """Have a service close the connections of its clients; how many there were. Raises `MachineError` when it can't be asked."""
        life = self._lives[name]
        client = self.client(name)
        at_ns = self._clock.now_ns()
        try:
            count = client.cut_connections()
        except ServiceError as error:
            raise MachineError(f"the connections of {name} could not be cut: {error}") from error
        finally:
            client.close()
        self._tell(life, "cut", at_ns=at_ns, until_ns=self._clock.now_ns(), detail=f"{count} connections")
        return count

    def tear_down(self) -> None:
        """The run is over: expect the end of all that it has started."""
        with self._lock:
            for life in self._lives.values():
                life.asked = True
        running = [life for life in self._lives.values() if life.replica is not None and not life.ended]
        for life in running:
            self._ask_to_end(life)
        deadline_ns = self._clock.now_ns() + round(ENDED_WITHIN_S * NS_PER_S)
        for life in running:
            left_s = (deadline_ns - self._clock.now_ns()) / NS_PER_S
            if life.replica is not None and self._running().wait_exit(life.replica, max(0.0, left_s)) is None:
                self._running().signal(life.replica, "SIGKILL", everything=True)

    def _ask_to_end(self, life: _Life) -> None:
        """In order, so that it leaves nothing behind that is no process, such as shared memory."""
        if life.replica is not None and life.launch is not None:
            self._running().signal(life.replica, life.launch.stop_signal)

    # --- one service -----------------------------------------------------------------------------------------------------------

    def _running(self) -> Engine:
        assert self._engine is not None  # noqa: S101  start_all comes first
        return self._engine

    def _owned(self, life: _Life) -> str:
        kind, url = KINDS[life.service.kind], str(life.service.url)
        if isinstance(kind, MakesPlace):
            record(self._scratch, PlaceDeposit(service=kind.name, url=url, mark=self._mark, place=kind.place(self._mark)))
        try:
            return kind.own(url, self._mark)
        except ServiceError as error:
            raise MachineError(f"the service {life.name} can't be used: {error}; look at its url") from error

    def _make_folder(self, life: _Life) -> None:
        assert life.launch is not None  # noqa: S101  the caller has looked
        life.folder.parent.mkdir(mode=0o711, exist_ok=True)
        life.folder.mkdir(mode=0o700)
        if life.launch.user and os.geteuid() == 0:
            try:
                account = pwd.getpwnam(life.launch.user)
            except KeyError:
                return  # a container has its own accounts
            os.chown(life.folder, account.pw_uid, account.pw_gid)

    def _launch(self, life: _Life) -> None:
        engine = self._running()
        spec = service_spec(life.name, life.service, life.folder, again=life.replica)
        assert spec is not None  # noqa: S101  only services with a launch come here
        with self._lock:
            life.asked = life.ended = False
        at_ns = self._clock.now_ns()
        try:
            replica = engine.start(spec)
        except UsageError as error:
            raise MachineError(f"the service {life.name} can't be started: {error}") from error
        life.replica = replica
        life.url = KINDS[life.service.kind].url(replica.host, replica.port, self.shared)
        self._tell(life, "asked", at_ns=at_ns, kind_of=life.service.kind)
        self._await_ready(life)

    def _await_ready(self, life: _Life) -> None:
        deadline_ns = self._clock.now_ns() + round(READY_WITHIN_S * NS_PER_S)
        client = self.client(life.name)
        try:
            while True:
                try:
                    version = client.ready()
                except ServiceError as error:
                    self._raise_if_hopeless(life, str(error), late=self._clock.now_ns() > deadline_ns)
                    self._clock.sleep(_POLL_S)
                    continue
                self._tell(life, "ready", kind_of=life.service.kind, own=life.service.url is None, detail=version)
                return
        finally:
            client.close()

    def _raise_if_hopeless(self, life: _Life, why: str, *, late: bool) -> None:
        if life.replica is None:
            if late or life.service.url:
                raise MachineError(f"the service {life.name} does not do its work: {why}; look at its url")
            return
        gone = self._running().wait_exit(life.replica, 0)
        if gone is None and not late:
            return
        words = [line for line in self._running().log_tail(life.replica, _LOG_LINES) if line.strip()]
        said = f"; its last words: {words[-1].strip()}" if words else ""
        what = f"ended with status {gone.status}" if gone is not None else f"was not ready within {READY_WITHIN_S:.0f} s ({why})"
        raise MachineError(f"the service {life.name} {what}{said}")

    def _tell(  # noqa: PLR0913  what the line holds
        self,
        life: _Life,
        phase: str,
        *,
        at_ns: int = 0,
        kind_of: str = "",
        own: bool = True,
        detail: str = "",
        status: int = -1,
        log: tuple[str, ...] = (),
        until_ns: int = 0,
    ) -> None:
        self._record(
            ServicePhase(
                at_ns=at_ns or self._clock.now_ns(),
                until_ns=until_ns,
                step=self.step(),
                service=life.name,
                phase=phase,
                kind_of=kind_of,
                own=own,
                detail=detail,
                status=status,
                log=log,
            )
        )


def _filled(words: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """The words with the folder in them; ``{port}`` is the engine's."""
    return tuple(word.replace(_FOLDER, str(folder)) for word in words)


def _with_preparation(launch: Launch, folder: Path) -> tuple[str, ...]:
    """The command, behind what has to be done once in an empty folder, by a shell that then becomes the command itself."""
    words = _filled(launch.argv, folder)
    if not launch.prepare:
        return words
    once = " && ".join(shlex.join(_filled(each, folder)) for each in launch.prepare)
    done = shlex.quote(str(folder / _PREPARED))
    return ("sh", "-c", f"[ -e {done} ] || {{ {once} && : > {done}; }} || exit 1; exec {shlex.join(words)}")


@cache
def _own_ipc() -> tuple[str, ...]:
    """What gives a service System V memory of its own (ipc_namespaces(7)), which goes with its last process; nothing where it may not."""
    words = ("unshare", "--ipc", "--")
    try:
        allowed = subprocess.run([*words, "true"], capture_output=True, timeout=UNSHARED_WITHIN_S, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return words if allowed else ()


def _as_user(launch: Launch, words: tuple[str, ...]) -> tuple[str, ...]:
    """The command as an account of its own where the program refuses root (setpriv(1))."""
    if not launch.user or os.geteuid() != 0:
        return words
    return (*_own_ipc(), "setpriv", f"--reuid={launch.user}", f"--regid={launch.user}", "--clear-groups", "--", *words)
