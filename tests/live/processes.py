"""What tests of whole runs share: what is left of a run, on this machine and on a Docker engine, and waiting for a condition."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from harness import marks, proctable
from harness.dockerd import Daemon, translated


def left_of(run_id: str) -> list[str]:
    """All that is left of a run: processes that carry its mark (zombies excepted) and temporary files."""
    left = [str(path) for path in Path(tempfile.gettempdir()).glob(f"*{run_id}*")]
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if run_id.encode() in environ.read_bytes():
                left.append((environ.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # it is gone
    return left


def left_in(daemon: Daemon, run_id: str) -> list[str]:
    """All that is left of a run on a Docker engine."""
    return _labelled(daemon, f"{marks.LABEL_RUN}={run_id}")


def left_by(daemon: Daemon, owner: str) -> list[str]:
    """All that a harness left on a Docker engine, also images that it had not finished, which do not name the run yet."""
    return _labelled(daemon, f"{marks.LABEL_OWNER}={owner}")


def _labelled(daemon: Daemon, label: str) -> list[str]:
    api, filters = daemon.api, {"label": [label]}
    with translated():
        return [
            *(f"container {each['Names']} {each['State']}" for each in api.containers(all=True, filters=filters)),
            *(f"network {each['Name']}" for each in api.networks(filters=filters)),
            *(f"volume {each['Name']}" for each in api.volumes(filters=filters).get("Volumes") or ()),
            *(f"image {each['RepoTags']} {each['Id']}" for each in api.images(filters=filters)),
        ]


def owner_label(pid: int) -> str:
    """A living process in the words of the label that names who made a thing."""
    proc = proctable.look(pid)
    assert proc is not None
    return f"{pid}:{proc.started} {proctable.namespace(pid)} {marks.boot_id()}"


def wait_until(condition: Callable[[], bool], *, within_s: float, why: Callable[[], str] = lambda: "") -> None:
    """Wait until ``condition`` holds, looking a hundred times a second; fails with ``why`` when ``within_s`` is over."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {why()}"
        time.sleep(0.01)
