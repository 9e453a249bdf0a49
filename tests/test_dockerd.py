"""Which Docker engine is meant, and what is wrong with it, in one sentence each."""

from __future__ import annotations

import gc
import hashlib
import importlib.util
import json
import os
import socket
import socketserver
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

import pytest

from harness import dockerd
from harness.dockerd import DaemonGoneError, NoSuchThingError, RefusedError, connect, named_place, translated
from harness.errors import ExitCode, JetableError, MachineError, UsageError

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A docker command that was never set up, unless the real engine is wanted."""
    if request.node.get_closest_marker("docker") is None:
        for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    (tmp_path / "config").mkdir()
    return tmp_path / "config"


def make_context(settings: Path, name: str, host: str, *, current: bool = False, tls: bool = False) -> None:
    key = hashlib.sha256(name.encode()).hexdigest()
    folder = settings / "contexts" / "meta" / key
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(
        json.dumps({"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": False}}})
    )
    if tls:
        (settings / "contexts" / "tls" / key / "docker").mkdir(parents=True)
    if current:
        (settings / "config.json").write_text(json.dumps({"currentContext": name}))


class Engine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Plays an engine at a unix socket: says what it is told to say, whatever it is asked."""

    daemon_threads = True
    answers: ClassVar[dict[str, tuple[int, bytes]]] = {}

    class Handler(BaseHTTPRequestHandler):
        """Answers by the last word of the path."""

        def do_GET(self) -> None:
            server = self.server
            assert isinstance(server, Engine)
            status, body = server.answers.get(self.path.rpartition("/")[2], (404, b'{"message": "page not found"}'))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "somebody"

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass


@contextmanager
def engine(path: Path, **answers: tuple[int, bytes]) -> Iterator[str]:
    server = Engine(str(path), Engine.Handler)
    server.answers = answers  # type: ignore[misc]  # each its own
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"unix://{path}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def version(api: str, own: str = "20.10.24") -> tuple[int, bytes]:
    return 200, json.dumps({"Version": own, "ApiVersion": api, "MinAPIVersion": "1.12"}).encode()


def said(error: pytest.ExceptionInfo[JetableError], code: ExitCode = ExitCode.ENVIRONMENT) -> str:
    text = str(error.value)
    assert error.value.exit_code is code
    assert "\n" not in text
    return text


def test_docker_host_wins_then_the_named_context_then_the_current_one_then_the_usual_socket(
    settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert named_place() == dockerd.Place(url="unix:///var/run/docker.sock")
    make_context(settings, "current", "unix:///current.sock", current=True)
    assert (named_place().url, named_place().source) == ("unix:///current.sock", "the Docker context 'current'")
    make_context(settings, "named", "tcp://named:2376", tls=True)
    monkeypatch.setenv("DOCKER_CONTEXT", "named")
    assert named_place().url == "tcp://named:2376"
    assert named_place().certificates == settings / "contexts/tls" / hashlib.sha256(b"named").hexdigest() / "docker"
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/podman/podman.sock")
    assert (named_place().url, named_place().source) == ("unix:///run/podman/podman.sock", "DOCKER_HOST")
    monkeypatch.setenv("DOCKER_HOST", "")
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert named_place().url == "unix:///var/run/docker.sock"


def test_certificates_are_for_connections_that_can_use_them(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/docker.sock")
    assert named_place().certificates is None
    monkeypatch.setenv("DOCKER_HOST", "tcp://10.0.0.1:2376")
    assert (named_place().certificates, named_place().verified) == (settings, True)
    monkeypatch.setenv("DOCKER_CERT_PATH", "/certs")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "")
    assert (named_place().certificates, named_place().verified) == (Path("/certs"), False)


@pytest.mark.parametrize("host", ["foo bar", "tcp://10.0.0.1", "tcp://a:b", "http:/x", "fd://", "tcp://"])
def test_a_docker_host_that_is_no_address_is_a_usage_error(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    with pytest.raises(UsageError) as error:
        connect()
    assert f"DOCKER_HOST names {host!r}, which is no address of a Docker engine; it looks like unix:///" in said(error, ExitCode.USAGE)


def test_a_context_that_does_not_exist_or_can_not_be_read_is_a_usage_error(settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONTEXT", "nowhere")
    with pytest.raises(UsageError) as error:
        connect()
    assert "there is no Docker context 'nowhere' (DOCKER_CONTEXT=nowhere); see docker context ls" in said(error, ExitCode.USAGE)
    make_context(settings, "nowhere", "x")
    next(settings.rglob("meta.json")).write_text("[]")
    with pytest.raises(UsageError, match="can't be read"):
        connect()
    monkeypatch.delenv("DOCKER_CONTEXT")
    (settings / "config.json").write_text("{")
    with pytest.raises(UsageError, match=r"config\.json can't be read"):
        connect()
    assert not dockerd.may_be_there()


def test_missing_certificates_are_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    for _ in range(2):
        with pytest.raises(UsageError) as error:
            connect()
        assert f"{tmp_path} must hold ca.pem, cert.pem and key.pem; see DOCKER_TLS_VERIFY and DOCKER_CERT_PATH" in said(
            error, ExitCode.USAGE
        )
        (tmp_path / "cert.pem").write_text("")


def test_where_nobody_answers_the_cure_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dockerd, "USUAL_URL", f"unix://{tmp_path}/none")
    assert not dockerd.may_be_there()
    with pytest.raises(DaemonGoneError) as error:
        connect()
    assert "(no such file or directory); start it (systemctl start docker), install it, or set DOCKER_HOST" in said(error)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")
    assert dockerd.may_be_there()
    with pytest.raises(DaemonGoneError) as error:
        connect()
    assert "see DOCKER_HOST, or start it there" in said(error)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "dead"))
    with pytest.raises(DaemonGoneError, match="connection refused"):
        connect(f"unix://{tmp_path}/dead")
    with pytest.raises(DaemonGoneError, match="connection refused"):
        connect("tcp://127.0.0.1:1")


@pytest.mark.slow
@pytest.mark.live
def test_who_may_not_use_the_socket_is_told_how_to(tmp_path: Path) -> None:
    with engine(tmp_path / "e", version=version("1.41")) as url:
        (tmp_path / "e").chmod(0)
        for folder in (tmp_path, *tmp_path.parents):
            if folder.stat().st_uid == os.geteuid() and "pytest" in str(folder):
                folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
        text = (
            "import os, sys\nfrom harness import dockerd, errors\nos.geteuid() or (os.setgid(65534), os.setuid(65534))\n"
            f"try: dockerd.connect({url!r})\nexcept errors.JetableError as error: print(int(error.exit_code), error)"
        )
        ended = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    wanted = (
        f"8 you may not use the Docker engine at {url}; have yourself added to its group (sudo usermod -aG docker $USER) and log in again"
    )
    assert ended.stdout.strip() == wanted


@pytest.mark.parametrize("api", ["1.39", "1.12", "0.9"])
def test_one_that_is_too_old_is_refused_with_the_cure(tmp_path: Path, api: str) -> None:
    with engine(tmp_path / "e", version=version(api)) as url, pytest.raises(MachineError) as error:
        connect(url)
    assert "Jetable needs API 1.40; update it to Docker 19.03 or later" in said(error)


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>hello</html>"),
        (404, b"not here"),
        (200, b"{}"),
        (200, b"[]"),
        (200, b'{"ApiVersion": "one"}'),
        (200, b'{"ApiVersion": 1}'),
        (500, b""),
    ],
)
def test_something_else_that_answers_is_no_engine(tmp_path: Path, answer: tuple[int, bytes]) -> None:
    with engine(tmp_path / "e", version=answer) as url, pytest.raises(MachineError) as error:
        connect(url)
    assert "set DOCKER_HOST" in said(error)


def test_one_that_takes_connections_and_never_answers_is_given_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(tmp_path / "e"))
        mute.listen()
        with pytest.raises(DaemonGoneError) as error:
            connect(f"unix://{tmp_path}/e", timeout_s=1)
    assert "does not answer in time" in said(error)


def test_by_ssh_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "paramiko" else find(name, *rest))
    with pytest.raises(MachineError) as error:
        connect("ssh://me@example.invalid")
    assert "pip install paramiko" in said(error)


def test_podman_is_one_more_engine(tmp_path: Path) -> None:
    info = json.dumps(
        {"Name": "vm", "KernelVersion": os.uname().release, "SecurityOptions": ["name=seccomp", "name=rootless"], "Driver": "overlay"}
    )
    with engine(tmp_path / "e", version=version("1.40", "4.3.1-dev"), info=(200, info.encode())) as url:
        daemon = connect(url)
        assert (daemon.version, daemon.api_version, daemon.local, daemon.url) == ("4.3.1-dev", (1, 40), True, url)
        about = dockerd.about(daemon)
        daemon.close()
    assert (about.here, about.rootless, about.cgroups, about.cgroup_driver) == (True, True, "1", "none")


def test_an_engine_in_a_virtual_machine_is_not_here(tmp_path: Path) -> None:
    with engine(
        tmp_path / "e", version=version("1.41"), info=(200, b'{"KernelVersion": "6.6.0-linuxkit", "SecurityOptions": null}')
    ) as url:
        daemon = connect(url)
        about = dockerd.about(daemon)
        daemon.close()
    assert not about.here


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # the SDK leaks the socket that it could not connect
def test_what_the_engine_refuses_and_what_it_does_not_know_are_told_apart(tmp_path: Path) -> None:
    refusal = (409, b'{"message": "it is in use"}')
    with engine(tmp_path / "e", version=version("1.41"), info=refusal) as url:
        daemon = connect(url)
        with pytest.raises(RefusedError) as error:
            dockerd.about(daemon)
        assert (said(error), error.value.status) == ("it is in use", 409)
        with pytest.raises(NoSuchThingError), translated():
            daemon.api.inspect_network("none")
    with pytest.raises(DaemonGoneError) as gone, translated():
        daemon.api.info()
    assert "the Docker engine does not answer" in said(gone)
    daemon.close()
    del error, gone
    gc.collect()


@pytest.mark.docker
@pytest.mark.live
def test_the_engine_of_this_machine_is_found_and_understood(daemon: dockerd.Daemon) -> None:
    assert daemon.api_version >= dockerd.OLDEST_API
    assert daemon.url == named_place().url
    again = connect(daemon.url)
    assert again.version == daemon.version
    again.close()
    about = dockerd.about(daemon)
    assert about.cgroups in ("1", "2")
    assert about.storage != "unknown"
