"""The doctor looks at everything and never breaks."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from harness import doctor
from harness.doctor import examine


def found(reports: Path) -> dict[str, doctor.Examined]:
    return {line.what: line for line in examine(reports)}


def test_everything_that_a_run_needs_is_looked_at(tmp_path: Path) -> None:
    whats = set(found(tmp_path / "reports"))
    assert {"python", "system", "packages", "sample apps", "exits", "listeners", "ports", "open files", "reports", "leftovers"} == whats
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
    def _broken_thing(_reports: Path) -> doctor.Examined:
        raise OSError(5, "input/output error")

    monkeypatch.setattr(doctor, "LOOKS", (_broken_thing,))
    (line,) = examine(tmp_path)
    assert (line.what, line.ok) == ("broken thing", False)
    assert "input/output error" in line.found
