"""The doctor looks at everything and never breaks."""

from __future__ import annotations

import hashlib
import json
import os
import resource
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness import dockerd, doctor
from harness.doctor import examine
from harness.errors import MachineError


def found(reports: Path) -> dict[str, doctor.Examined]:
    return {line.what: line for line in examine(reports)}


def test_everything_that_a_run_needs_is_looked_at(tmp_path: Path) -> None:
    whats = set(found(tmp_path / "reports"))
    of_docker = {"docker", "docker host", "docker network", "docker signals", "docker layers"}
    assert {
        "python",
        "system",
        "packages",
        "sample apps",
        "exits",
        "listeners",
        "ports",
        "open files",
        "reports",
        "leftovers",
    } == whats - of_docker
    assert "docker" in whats
    assert not (tmp_path / "reports").exists()


def test_what_is_bad_names_its_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (64, 64))
    line = found(tmp_path)["open files"]
    assert not line.ok
    assert "ulimit -Hn" in line.cure


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "locust":
            raise doctor.importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    line = found(tmp_path)["packages"]
    assert not line.ok
    assert "locust" in line.cure


def test_what_only_the_samples_need_is_told_and_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise doctor.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    line = found(tmp_path)["sample apps"]
    assert line.ok
    assert "no gunicorn and no flask" in line.found


def test_a_full_disk_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _folder: doctor.shutil._ntuple_diskusage(100, 100, 0))
    line = found(tmp_path)["reports"]
    assert not line.ok
    assert "--reports" in line.cure


def test_a_look_that_fails_is_bad_and_not_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def _broken_thing(_reports: Path) -> Iterator[doctor.Examined]:
        yield doctor.Examined(what="half", ok=True, found="")
        raise OSError(5, "input/output error")

    monkeypatch.setattr(doctor, "LOOKS", (_broken_thing,))
    _, line = examine(tmp_path)
    assert (line.what, line.ok) == ("broken thing", False)
    assert "input/output error" in line.found


def of_docker(reports: Path) -> dict[str, doctor.Examined]:
    return {line.what: line for line in doctor._docker(reports)}


def test_a_machine_without_docker_is_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dockerd, "USUAL_URL", f"unix://{tmp_path}/none")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    for name in ("", "default"):
        monkeypatch.setenv("DOCKER_CONTEXT", name)
        (line,) = of_docker(tmp_path).values()
        assert line.ok
        assert "only --engine docker needs" in line.found


def test_an_engine_that_is_named_and_does_not_answer_is_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"unix://{tmp_path}/none"
    monkeypatch.setenv("DOCKER_HOST", url)
    (line,) = of_docker(tmp_path).values()
    assert (line.ok, line.found) == (False, f"no Docker engine answers at {url} (no such file or directory)")
    assert line.cure == "see DOCKER_HOST, or start it there; or unset DOCKER_HOST, which names it"
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setenv("DOCKER_CONTEXT", "away")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    meta = tmp_path / "contexts" / "meta" / hashlib.sha256(b"away").hexdigest() / "meta.json"
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"Endpoints": {"docker": {"Host": url}}}))
    (line,) = of_docker(tmp_path).values()
    assert not line.ok
    assert line.cure == "see the Docker context 'away', or start it there; or unset DOCKER_CONTEXT, which names it"


def test_an_engine_that_may_not_be_used_and_a_wrong_name_of_one_are_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(url: str = "", *, timeout_s: int = 0) -> dockerd.Daemon:
        raise MachineError("you may not use it; join its group")

    monkeypatch.setenv("DOCKER_HOST", "nonsense at all")
    (line,) = of_docker(tmp_path).values()
    assert not line.ok
    assert "DOCKER_HOST names" in line.cure
    monkeypatch.setattr(dockerd, "connect", refused)
    (line,) = of_docker(tmp_path).values()
    assert not line.ok
    assert line.cure == "you may not use it; join its group"


@pytest.mark.docker
@pytest.mark.live
def test_the_engine_says_what_it_is_and_how_containers_are_reached(
    tmp_path: Path, daemon: dockerd.Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = of_docker(tmp_path)
    assert all(line.ok for line in lines.values())
    assert lines["docker"].found == f"{daemon.version} at {daemon.url}, API {'.'.join(map(str, daemon.api_version))}"
    assert "cgroup version" in lines["docker host"].found
    assert "storage driver" in lines["docker host"].found
    about = dockerd.about(daemon)
    monkeypatch.setenv("JETABLE_DOCKER_REACH", "address")
    near = of_docker(tmp_path)
    assert (near["docker network"].found, near["docker network"].cure) == ("containers are reached by their own addresses", "")
    assert "docker diff" in near["docker layers"].found or os.geteuid() == 0
    monkeypatch.setenv("JETABLE_DOCKER_REACH", "published")
    monkeypatch.setattr(dockerd, "about", lambda _daemon: replace(about, here=False, rootless=True))
    far = of_docker(tmp_path)
    assert "a refused connection is seen as a reset there" in far["docker network"].found
    assert "JETABLE_DOCKER_REACH" in far["docker network"].cure
    assert "docker diff, of the first three replicas" in far["docker layers"].found
    assert "without root" in far["docker host"].found
    assert "by the engine" in far["docker signals"].found


def test_who_may_not_listen_to_the_kernel_is_told_what_that_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    about = dockerd.About(host="vm", here=True, rootless=False, cgroups="2", cgroup_driver="systemd", storage="overlay2")
    monkeypatch.setattr(doctor.procevents.ProcEvents, "open", classmethod(lambda _cls: None))
    monkeypatch.setattr(doctor, "_may_signal_all", lambda: False)
    told = doctor._told_of_containers(about)
    assert told.startswith("sent by the engine, some milliseconds late (root sends them directly); exits are told by the engine")


def test_layers_can_be_read_where_an_overlay_keeps_them_in_a_folder_that_is_open_to_us(tmp_path: Path) -> None:
    (tmp_path / "overlay2").mkdir()
    (tmp_path / "btrfs").mkdir()
    assert [doctor._layers_can_be_read(tmp_path / name) for name in ("overlay2", "btrfs", "overlayfs")] == [True, False, False]
