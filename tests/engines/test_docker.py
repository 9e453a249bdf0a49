"""What only containers on a real engine can show."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import marks, proctable
from harness.cleanup import clean_run
from harness.clock import NS_PER_S
from harness.dockerd import Daemon
from harness.engines import docker
from harness.engines.base import EngineContext, Replica
from harness.engines.docker import CLOSE_WITHIN_S, DockerEngine
from harness.engines.docker_network import REACH
from harness.errors import EngineLostError, KeyOfScenarioError, MachineError, UsageError
from harness.history import Contained, CutOff, EngineLost, OomKilled, PhaseReached, Wrote, Zombies
from harness.procevents import ProcEvents
from tests.engines.containers import (
    CHILD,
    CLOCK,
    IMAGE,
    WITHIN_S,
    Proxy,
    Run,
    child,
    command,
    declared,
    docker_run,
    eventually,
    fresh_run_id,
    leftovers,
    sweep,
)

pytestmark = [pytest.mark.docker, pytest.mark.live, pytest.mark.slow]

NO_LIMIT = 1 << 62
"""Bytes."""

SAY_READY_AND_WAIT = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print("ready", flush=True)
signal.sigwait([signal.SIGTERM])
"""


@pytest.fixture(scope="module")
def shared(daemon: Daemon, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with docker_run(daemon, tmp_path_factory.mktemp("shared")) as run:
        yield run


@pytest.fixture
def run(shared: Run) -> Run:
    """A run that many tests share, as if nothing had been told yet."""
    for told in (shared.exits, shared.events, shared.notes, shared.told):
        told.clear()
    return shared


@pytest.fixture
def own(daemon: Daemon, tmp_path: Path) -> Iterator[Run]:
    """A run for one test."""
    with docker_run(daemon, tmp_path) as run:
        yield run


def python(name: str, code: str, **words: Any) -> Any:
    return command(name, "python", "-uc", code, says=declared(**words))


def is_removed(run: Run, replica: Replica) -> bool:
    """Whether its container was told to be removed; what is told of one of the test before may come late."""
    return any(event.phase == "removed" and event.replica == replica.name for event in run.of(PhaseReached))


def connects(address: tuple[str, int]) -> str:
    """What a connection meets: ``open`` or the name of an error."""
    try:
        with socket.create_connection(address, timeout=5):
            return "open"
    except OSError as error:
        return type(error).__name__


# --- refused before anything starts


def test_a_process_type_without_image_and_build_is_refused(daemon: Daemon) -> None:
    from harness.scenario import ProcessType

    for says in (None, ProcessType.model_validate({"command": "app"})):
        spec = command("web.1", "app")
        with pytest.raises(KeyOfScenarioError, match=r"image: or build:.*--engine process"):
            DockerEngine.check(
                type(spec)(name="web.1", process="web", argv=("app",), environment={}, working_dir=Path.cwd(), declared=says)
            )


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (("/nowhere/app",), "there is no /nowhere/app in image"),
        (("/etc/hostname",), "/etc/hostname may not be executed"),
        (("no-such-app",), "no-such-app is not on PATH"),
    ],
)
def test_a_command_that_can_not_run_is_told_in_a_sentence_and_leaves_no_container(run: Run, argv: tuple[str, ...], why: str) -> None:
    spec = command(f"bad{len(argv[0])}.1", *argv)
    with pytest.raises(UsageError, match=why):
        run.engine.start(spec)
    assert not [thing for thing in run.daemon.api.containers(all=True) if f"/jetable-{run.run_id}-{spec.name}" in thing["Names"]]
    assert spec.name not in [replica.name for replica, _ in run.exits]


# --- what the image and the scenario say


def test_what_an_image_says_of_itself_holds(own: Run, tmp_path: Path) -> None:
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "app.py").write_text(SAY_READY_AND_WAIT)
    (folder / "Dockerfile").write_text(
        f"FROM {IMAGE}\nENV NOT_IN_THE_CACHE={own.run_id}\nCOPY app.py /\nENV PORT=9000\nSTOPSIGNAL 2\nUSER 1234\n"
        'HEALTHCHECK --interval=200ms --timeout=5s CMD ["test", "-e", "/tmp/well"]\nENTRYPOINT ["python"]\nCMD ["/app.py"]\n'
    )
    spec = command("web.1", says=declared(build=str(folder)))
    own.engine.prepare([spec])
    assert any("Step " in line for line in own.told)
    replica = own.up(spec)
    assert (replica.port, replica.stop_signal, replica.command) == (9000, "SIGINT", "python /app.py")
    assert replica.patience_s > 0
    assert own.engine.healthy(replica) is False
    own.daemon.api.exec_start(own.daemon.api.exec_create(own.container(replica), ["touch", "/tmp/well"])["Id"])  # noqa: S108  in the container
    eventually(lambda: own.engine.healthy(replica))
    assert own.end(replica, "SIGTERM").status == 0
    contained = own.the(Contained, replica)  # at the latest when it ends: this app never listens
    assert (contained.uid, contained.main, contained.init) == (1234, "python /app.py", False)
    assert contained.image == str(folder / "Dockerfile")


def test_the_words_of_the_scenario_arrive(run: Run) -> None:
    says = declared(
        user="1000:1000",
        init=True,
        read_only=True,
        tmpfs=["/cache:size=1m"],
        cap_drop=["ALL"],
        cap_add=["NET_BIND_SERVICE"],
        mem_limit="64m",
        cpus=0.5,
        pids_limit=50,
        volumes=["data:/data", "/anonymous"],
        networks=["front", "back"],
        container_name="fixed",
        restart="always",
        ports=["8080:9000"],
        labels={"team": "a"},
    )
    replica = run.up(child("words.1", "--listen", "--show", "PORT", says=says))
    found = run.inspect(replica)
    host = found["HostConfig"]
    assert (found["Config"]["User"], host["Init"], host["ReadonlyRootfs"], host["Tmpfs"]) == (
        "1000:1000",
        True,
        True,
        {"/cache": "size=1m"},
    )
    assert (host["CapDrop"], host["CapAdd"]) == (["ALL"], ["NET_BIND_SERVICE"])
    assert (host["Memory"], host["MemorySwap"], host["NanoCpus"], host["PidsLimit"]) == (64 << 20, 64 << 20, 500_000_000, 50)
    assert host["RestartPolicy"]["Name"] in ("", "no")
    assert not any(found["NetworkSettings"]["Ports"].values())
    assert len(found["NetworkSettings"]["Networks"]) == 2
    assert found["Config"]["Labels"]["team"] == "a"
    assert {mount["Destination"] for mount in found["Mounts"]} >= {"/data", "/anonymous", "/helpers"}
    assert replica.port == 9000
    eventually(lambda: connects((replica.host, replica.port)) == "open")
    dropped = "\n".join(run.notes)
    assert all(f"words: {key}: " in dropped for key in ("container_name", "restart", "ports"))
    anonymous = next(mount["Name"] for mount in found["Mounts"] if mount["Destination"] == "/anonymous")
    contained = run.the(Contained, replica)
    assert (contained.uid, contained.init) == (1000, True)
    run.end(replica)
    eventually(lambda: is_removed(run, replica))
    assert f"volume {anonymous}" not in leftovers(run.daemon, run.run_id)


def test_two_replicas_of_a_user_that_is_not_root_share_the_scratch_folder(run: Run) -> None:
    says = declared(user="1000:1000")
    write = command("scratch.1", "sh", "-c", "echo hello > {scratch}/from-one && echo ready && sleep 60", says=says)
    run.up(write)
    read = run.engine.start(command("scratch.2", "cat", "{scratch}/from-one", says=says))
    assert run.ended(read).status == 0
    assert run.engine.log_tail(read, 5) == ("hello",)


def test_process_types_find_each_other_by_name_on_their_network(run: Run) -> None:
    first = run.up(child("first.1", "--listen", says=declared(networks=["shared"])))
    code = "import socket; print(socket.gethostbyname('first'))"
    second = run.engine.start(python("second.1", code, networks=["shared"]))
    assert run.ended(second).status == 0
    assert run.engine.log_tail(second, 1) == (first.host,)


# --- ends


def test_the_instants_of_a_life_are_in_order_and_the_kernels(run: Run) -> None:
    replica = run.up(child("instants.1", "--listen", "--on-term", "7"))
    assert replica.at_ns <= replica.created_ns <= replica.started_ns <= replica.running_ns
    assert replica.command == f"python {CHILD} --listen --on-term 7"
    sent = run.engine.signal(replica, "SIGTERM")
    gone = run.ended(replica)
    assert sent.at_ns <= gone.at_ns <= CLOCK.now_ns()
    assert (gone.status, gone.oom, gone.lost) == (7, False, False)
    eventually(lambda: is_removed(run, replica))


def test_the_begin_and_the_end_are_the_kernels_instants_however_busy_this_machine_is(run: Run) -> None:
    kernel = run.engine._kernel
    if kernel is None:
        pytest.skip("the kernel can't be heard here")
    replicas = [run.up(child(f"exact.{number}", "--listen", "--on-term", "7")) for number in range(3)]
    for replica in replicas:
        run.engine.signal(replica, "SIGTERM")
    for replica in replicas:
        gone, past = run.ended(replica), kernel.past(replica.pid)
        assert (replica.started_ns, replica.running_ns, gone.at_ns) == (past.forked_ns, past.executed_ns, past.ended_ns)


def test_all_output_of_one_that_ends_at_once_is_there_when_its_end_is_told(run: Run) -> None:
    replica = run.engine.start(python("brief.1", "print('x' * 100); [print(number) for number in range(5000)]; raise SystemExit(9)"))
    assert run.ended(replica).status == 9
    assert run.engine.log_tail(replica, 1) == ("4999",)


@pytest.mark.parametrize("how", ["kill", "remove"])
def test_an_end_that_somebody_else_makes_through_the_engine_is_told_and_nobody_is_blamed(own: Run, how: str) -> None:
    replica = own.up(child("web.1", "--listen"))
    if how == "kill":
        own.daemon.api.kill(own.container(replica))
    else:
        own.daemon.api.remove_container(own.container(replica), force=True)
    gone = own.ended(replica)
    assert (gone.status, gone.lost) == (137, True)
    assert own.exits == [(replica, gone)]
    assert "somebody else sent signal 9 to web.1" in own.engine.lost()
    assert own.the(EngineLost).why == own.engine.lost()


def test_a_kill_by_a_process_of_this_machine_is_a_crash(run: Run) -> None:
    replica = run.up(child("crash.1", "--listen"))
    if not replica.pid:
        pytest.skip("its processes are not visible here")
    os.kill(replica.pid, signal.SIGKILL)
    gone = run.ended(replica)
    assert (gone.status, gone.lost, run.engine.lost()) == (137, False, "")


def test_a_closed_port_of_a_container_refuses_connections(run: Run) -> None:
    replica = run.up(child("closed.1"))
    assert connects((replica.host, replica.port)) == "ConnectionRefusedError"


def test_a_paused_replica_does_nothing_until_it_is_resumed(run: Run) -> None:
    replica = run.up(child("paused.1", "--listen", "--on-term", "7"))
    assert run.engine.pause(replica).delivered
    run.engine.signal(replica, "SIGTERM")
    assert run.engine.wait_exit(replica, 0.1) is None
    assert run.engine.resume(replica).delivered
    assert run.ended(replica).status == 7


def test_one_that_is_off_the_network_is_back_at_its_address(run: Run) -> None:
    replica = run.up(child("cut.1", "--listen", says=declared(networks=["one", "two"])))
    address = (replica.host, replica.port)
    assert connects(address) == "open"
    assert run.engine.cut(replica).delivered
    assert connects(address) != "open"
    assert run.engine.reconnect(replica).delivered
    eventually(lambda: connects(address) == "open")
    assert len(run.inspect(replica)["NetworkSettings"]["Networks"]) == 2


def memory_limit(run: Run, replica: Replica) -> int:
    """Bytes that the kernel lets its container have, as the container sees it; without a limit more than any machine has."""
    files = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
    said: list[str] = []

    def answered() -> bool:  # the engine may hand out nothing of what a command says that ends at once
        asked = run.daemon.api.exec_create(run.container(replica), ["sh", "-c", f"cat {' '.join(files)} 2>/dev/null"])
        said[:] = run.daemon.api.exec_start(asked["Id"]).decode().split()
        return bool(said)

    eventually(answered)
    return NO_LIMIT if said == ["max"] else int(said[0])


@pytest.mark.parametrize("words", [{}, {"mem_limit": "256m"}], ids=["without a limit", "with a limit"])
def test_one_that_was_squeezed_has_the_limit_again_that_it_was_started_with(run: Run, words: dict[str, str]) -> None:
    replica = run.up(child(f"squeezed{len(words)}.1", "--listen", "--on-term", "7", says=declared(**words)))
    before = memory_limit(run, replica)
    assert before == 256 << 20 if words else before >= NO_LIMIT
    assert run.engine.squeeze(replica, 200 << 20).delivered
    assert memory_limit(run, replica) == 200 << 20
    assert run.engine.release(replica).delivered
    assert memory_limit(run, replica) == before
    assert run.end(replica, "SIGTERM").status == 7
    assert replica.name not in [event.replica for event in run.of(OomKilled)]


# --- what only the engine knows


def test_the_health_of_a_check_in_the_container_is_what_the_engine_says_of_it(run: Run) -> None:
    def up(name: str, test: str) -> Replica:
        check = {"test": ["CMD", test], "interval": "200ms", "start_period": "100ms", "retries": 1}
        return run.up(child(name, "--listen", says=declared(healthcheck=check)))

    def status(replica: Replica) -> str:
        return str(run.inspect(replica)["State"]["Health"]["Status"])

    well, sick = up("well.1", "true"), up("sick.1", "false")
    eventually(lambda: (status(well), status(sick)) == ("healthy", "unhealthy"))
    eventually(lambda: run.engine.healthy(well))
    assert run.engine.healthy(sick) is False
    assert run.engine.why_not_healthy(sick).startswith("its own health check ended with 1")
    unasked = run.up(child("unasked.1", "--listen", says=declared(healthcheck={"test": "true", "interval": "60s"})))
    assert run.engine.why_not_healthy(unasked) == "its own health check was not asked once"
    assert unasked.patience_s > 60
    assert run.engine.healthy(run.up(child("unchecked.1", "--listen"))) is None


def test_what_the_kernel_kills_for_want_of_memory_is_told_as_that(run: Run) -> None:
    replica = run.up(python("hungry.1", f"{SAY_READY_AND_WAIT}x = bytearray(200 << 20)\nprint(len(x))", mem_limit="32m"))
    gone = run.end(replica, "SIGTERM")  # only now, as containerd does not hear of what is killed before it has answered a start
    assert (gone.status, gone.oom) == (137, True)
    told = run.the(OomKilled, replica)
    assert (told.replica, told.limit_bytes) == ("hungry.1", 32 << 20)


def test_children_that_nobody_waits_for_are_told_as_zombies(run: Run) -> None:
    code = "import os, time\nfor _ in range(2):\n    if os.fork() == 0:\n        os._exit(0)\nprint('ready')\ntime.sleep(60)"
    replica = run.up(python("careless.1", code))

    def told() -> list[Zombies]:
        return [event for event in run.of(Zombies) if event.replica == replica.name]

    eventually(lambda: sum(len(event.processes) for event in told()) >= 2)  # a look may fall between the ends of the two
    assert len({process.pid for event in told() for process in event.processes}) == 2
    assert sum(len(event.processes) for event in told()) == 2
    assert all(event.after_ns >= NS_PER_S for event in told())


def test_whom_the_kernel_kills_with_process_1_is_told_as_cut_off(run: Run) -> None:
    code = (
        "import os, signal, sys, time\nif os.fork() == 0:\n    time.sleep(60)\n"
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\nprint('ready')\nwhile True: time.sleep(0.02)"
    )
    replica = run.up(python("hasty.1", code))
    (descendant,) = run.engine.descendants(replica)
    assert run.end(replica, "SIGTERM").status == 0
    if ProcEvents.open() is None:
        assert run.of(CutOff) == []
        return
    (process,) = run.the(CutOff, replica).processes
    assert process.pid == descendant.pid


def test_whom_process_1_kills_itself_on_its_way_out_is_not_cut_off(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker, "_CUT_OFF_WITHIN_NS", 1 << 62)  # not because it was killed long before
    code = (
        "import os, signal, time\npid = os.fork()\nif pid == 0:\n    time.sleep(60)\n"
        "def kill(*_):\n    os.kill(pid, signal.SIGKILL)\n    os.waitpid(pid, 0)\n    print('killed it')\n"
        "signal.signal(signal.SIGTERM, kill)\nsignal.signal(signal.SIGINT, lambda *_: os._exit(0))\n"
        "print('ready')\nwhile True: time.sleep(0.02)"
    )
    replica = run.up(python("stern.1", code))
    descendants = [process.pid for process in run.engine.descendants(replica)]
    run.engine.signal(replica, "SIGTERM")
    eventually(lambda: run.engine.log_matches(replica, "^killed it$"))
    kernel = run.engine._kernel
    assert kernel is None or all(kernel.past(pid).ended_ns for pid in descendants)  # it is known before process 1 goes on its way
    assert run.end(replica, "SIGINT").status == 0
    assert replica.name not in [event.replica for event in run.of(CutOff)]


def test_what_a_health_check_leaves_behind_is_not_the_apps(run: Run) -> None:
    if ProcEvents.open() is None:
        pytest.skip("the kernel does not tell this user of processes: who made one can't be known")
    test = "if [ -e /tmp/left ]; then exit 0; fi; sleep 60 & touch /tmp/left; sleep 60"
    says = declared(healthcheck={"test": test, "interval": "100ms", "timeout": "1s", "retries": 1})
    replica = run.up(child("checked.1", "--listen", "--on-term", "0", "--leave", "child", says=says))
    main = replica.pid
    eventually(lambda: [proc for proc in proctable.scan().procs.values() if proc.parent == main and proc.name == "sleep"])
    (own,) = run.engine.descendants(replica)
    assert "child.py" in own.command
    assert run.end(replica, "SIGTERM").status == 0
    (cut,) = run.the(CutOff, replica).processes
    assert cut.pid == own.pid


def test_what_a_replica_changes_in_its_own_filesystem_is_told_and_in_a_volume_it_is_not(run: Run) -> None:
    script = "echo x > /etc/new; echo x >> /etc/passwd; rm /etc/debian_version; echo x > /data/x; echo x > /cache/x; echo ready"
    replica = run.engine.start(command("writer.1", "sh", "-c", script, says=declared(volumes=["written:/data"], tmpfs=["/cache"])))
    run.ended(replica)
    wrote = run.the(Wrote, replica)
    assert wrote.paths == ("D /etc/debian_version", "A /etc/new", "C /etc/passwd")
    assert wrote.count == 3


def test_a_replica_that_changes_nothing_is_told_to_have_changed_nothing(run: Run) -> None:
    replica = run.up(child("tidy.1", "--listen", says=declared(init=True)))
    run.end(replica)
    wrote = run.the(Wrote, replica)
    assert (wrote.paths, wrote.count) == ((), 0)


# --- where less is allowed


def test_replicas_can_be_reached_by_published_ports(daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REACH, "published")
    with docker_run(daemon, tmp_path) as run:
        spec = child("web.1", "--listen", "--on-term", "7", says=declared(expose=[9000]))
        run.engine.prepare([spec])
        replica = run.up(spec)
        assert replica.host == "127.0.0.1"
        assert replica.port != 9000
        assert connects((replica.host, replica.port)) == "open"
        seen = run.engine.listening(replica)
        assert seen is None or seen.open
        assert any("published" in note for note in run.notes)
        assert run.end(replica, "SIGTERM").status == 7
        again = run.up(
            type(spec)(
                name="web.2",
                process="web",
                argv=spec.argv,
                environment=spec.environment,
                working_dir=spec.working_dir,
                declared=spec.declared,
                host=replica.host,
                port=replica.port,
            )
        )
        assert (again.host, again.port) == (replica.host, replica.port)


def test_without_the_kernels_help_ends_are_the_engines_word_and_signals_go_through_it(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object) -> None:
        raise PermissionError

    monkeypatch.setattr(ProcEvents, "open", classmethod(lambda _cls: None))
    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    with docker_run(daemon, tmp_path) as run:
        spec = child("web.1", "--listen", "--on-term", "7")
        run.engine.prepare([spec])
        replica = run.up(spec)
        sent = run.engine.signal(replica, "SIGTERM")
        gone = run.ended(replica)
        assert (sent.delivered, gone.status) == (True, 7)
        assert sent.at_ns <= gone.at_ns
        assert any("kernel" in note and "engine's word" in note for note in run.notes)
        assert any("docker kill" in note for note in run.notes)


def test_where_no_process_is_visible_the_engines_word_is_all_there_is(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DockerEngine, "_take_hold", lambda _self, _life, _pid: None)
    with docker_run(daemon, tmp_path) as run:
        replica = run.up(child("web.1", "--listen", "--leave", "child"))
        assert replica.pid == 0
        assert run.engine.listening(replica) is None
        assert len(run.engine.descendants(replica)) == 1
        assert run.end(replica).status == 137
        brief = run.engine.start(command("web.2", "python", "-c", "raise SystemExit(3)"))
        assert run.ended(brief).status == 3
        assert len(run.exits) == 2


# --- an engine that goes away


@pytest.fixture
def proxy(daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    if not daemon.url.startswith("unix://"):
        pytest.skip("the engine is not reached by a unix socket")
    proxy = Proxy(tmp_path / "docker.sock", daemon.url.removeprefix("unix://"))
    monkeypatch.setenv("DOCKER_HOST", f"unix://{proxy.path}")
    yield proxy
    proxy.close()


def test_an_engine_that_goes_away_is_told_and_what_it_leaves_is_found_when_it_is_back(
    daemon: Daemon, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    run_id = fresh_run_id()
    exits: list[Any] = []
    engine = DockerEngine(
        EngineContext(
            run_id=run_id,
            clock=CLOCK,
            scratch=marks.make_scratch(run_id),
            logs=tmp_path,
            on_exit=lambda replica, gone: exits.append((replica.name, gone)),
        )
    )
    try:
        first, second = engine.start(child("web.1", "--listen")), engine.start(child("web.2", "--listen"))
        assert engine.lost() == ""
        proxy.close()
        eventually(engine.lost)
        assert "went away in the middle of the run" in engine.lost()
        with pytest.raises(EngineLostError):
            engine.start(child("web.3", "--listen"))
        if first.pid:
            os.kill(first.pid, signal.SIGKILL)  # as whatever stops the engine does to its containers
            gone = engine.wait_exit(first, WITHIN_S)
            assert gone is not None
            assert gone.lost
        before_ns = CLOCK.now_ns()
        engine.close()
        assert CLOCK.now_ns() - before_ns < 2 * CLOSE_WITHIN_S * NS_PER_S
        assert {name for name, _ in exits} == {first.name, second.name}
        assert [gone.lost for name, gone in exits if name == second.name] == [False]  # that was our own kill
        proxy.open()
        assert leftovers(daemon, run_id)
        assert clean_run(run_id).left == ()
        assert leftovers(daemon, run_id) == []
    finally:
        engine.close()
        sweep(daemon, run_id)


def test_an_engine_that_is_not_there_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")
    with pytest.raises(MachineError, match="no Docker engine answers"):
        DockerEngine(EngineContext(run_id="x", clock=CLOCK, scratch=tmp_path, logs=tmp_path, on_exit=lambda _replica, _gone: None))
