"""Images that are loaded anew: what the copy has, that nothing of it stays, and that the image itself is left alone."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.dockerd import Daemon, NoSuchThingError, translated
from harness.engines.base import FreshImages
from harness.engines.docker_fresh import copied
from harness.errors import MachineError
from tests.engines.containers import IMAGE, Run, child, docker_run, leftovers


def layer_with(**files: str) -> bytes:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as layer:
        for name, words in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(words)
            layer.addfile(info, io.BytesIO(words.encode()))
    return whole.getvalue()


def saved(path: Path, *layers: bytes, config: dict[str, Any] | None = None) -> Path:
    """An archive as ``docker save`` writes it."""
    members = {f"blobs/{number}": layer for number, layer in enumerate(layers)}
    manifest = [{"Config": "blobs/config", "RepoTags": ["app:1"], "Layers": list(members)}]
    settings = {"config": {"Cmd": ["app"], "Labels": {"of": "app"}}, "rootfs": {"type": "layers", "diff_ids": ["sha256:old"] * len(layers)}}
    members["blobs/config"] = json.dumps(settings if config is None else config).encode()
    members["manifest.json"] = json.dumps(manifest).encode()
    with tarfile.open(path, "w") as archive:
        for name, words in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(words)
            archive.addfile(info, io.BytesIO(words))
    return path


def members_of(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {member.name: found.read() for member in archive if (found := archive.extractfile(member))}


def test_a_copy_has_the_same_files_and_settings_its_own_name_and_the_labels_of_the_run(tmp_path: Path) -> None:
    origin = saved(tmp_path / "saved", layer_with(a="one"), gzip.compress(layer_with(b="two")))
    copied(origin, tmp_path / "copy.tar", tag="jetable/run:web-fresh", labels={"jetable.run": "run"})
    found = members_of(tmp_path / "copy.tar")
    assert json.loads(found["manifest.json"]) == [
        {"Config": "config.json", "RepoTags": ["jetable/run:web-fresh"], "Layers": ["0.tar", "1.tar"]}
    ]
    config = json.loads(found["config.json"])
    assert config["config"] == {"Cmd": ["app"], "Labels": {"of": "app", "jetable.run": "run"}}
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(found[name]).hexdigest()}" for name in ("0.tar", "1.tar")]
    for name, file, words in (("0.tar", "a", b"one"), ("1.tar", "b", b"two")):
        with tarfile.open(fileobj=io.BytesIO(found[name])) as layer:
            assert layer.getnames() == [file]
            told = layer.extractfile(file)
            assert told is not None
            assert told.read() == words
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.tar", "saved"]


def test_no_two_copies_share_a_layer_neither_with_each_other_nor_with_the_image(tmp_path: Path) -> None:
    layer = layer_with(a="one")
    origin = saved(tmp_path / "saved", layer)
    layers = {layer}
    for name in ("one", "two"):
        copied(origin, tmp_path / name, tag=name, labels={})
        layers.add(members_of(tmp_path / name)["0.tar"])
    assert len(layers) == 3


def test_an_image_without_labels_gets_those_of_the_run(tmp_path: Path) -> None:
    config = {"config": {"Labels": None}, "rootfs": {"diff_ids": []}}
    copied(saved(tmp_path / "saved", config=config), tmp_path / "copy", tag="x", labels={"a": "b"})
    assert json.loads(members_of(tmp_path / "copy")["config.json"])["config"]["Labels"] == {"a": "b"}


def test_layers_that_cannot_be_read_are_told_and_nothing_is_left_aside(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="zstd"):
        copied(saved(tmp_path / "saved", b"\x28\xb5\x2f\xfd..."), tmp_path / "copy.tar", tag="x", labels={})
    assert not (tmp_path / "copy.layer").exists()


@pytest.fixture
def run(daemon: Daemon, tmp_path: Path) -> Iterator[Run]:
    with docker_run(daemon, tmp_path) as run:
        yield run


def image_of(run: Run, name: str) -> dict[str, Any]:
    with translated():
        found: dict[str, Any] = run.daemon.api.inspect_image(name)
    return found


@pytest.mark.docker
@pytest.mark.live
@pytest.mark.slow
def test_each_replica_runs_from_layers_that_were_not_there_before_and_the_image_itself_is_left_alone(run: Run) -> None:
    before = image_of(run, IMAGE)
    assert isinstance(run.engine, FreshImages)
    for number in (1, 2):
        run.engine.freshen(child(f"web.{number}"))
        replica = run.up(child(f"web.{number}"))
        used = image_of(run, run.inspect(replica)["Image"])
        assert used["RepoTags"] == [f"jetable/{run.run_id.lower()}:web-fresh"]
        assert not set(used["RootFS"]["Layers"]) & set(before["RootFS"]["Layers"])
        assert len(used["RootFS"]["Layers"]) == len(before["RootFS"]["Layers"])
        assert used["Config"]["Env"] == before["Config"]["Env"]
        if number == 1:
            with pytest.raises(MachineError, match="can't be made fresh while a container runs from it"):
                run.engine.freshen(child("web.2"))
        run.end(replica)
    assert image_of(run, IMAGE) == before
    run.engine.close()
    assert not leftovers(run.daemon, run.run_id)
    with pytest.raises(NoSuchThingError):
        image_of(run, used["Id"])
    assert not list(run.scratch.glob("*.saved"))


@pytest.mark.docker
@pytest.mark.live
@pytest.mark.slow
def test_other_process_types_keep_their_image(run: Run) -> None:
    run.engine.freshen(child("web.1"))
    replica = run.up(child("worker.1"))
    assert image_of(run, run.inspect(replica)["Image"])["Id"] == image_of(run, IMAGE)["Id"]
    run.end(replica)
