"""Engines: where replicas live. One file an engine, one line in `ENGINES`."""

from __future__ import annotations

from typing import Final

from harness.engines.base import EngineClass
from harness.engines.docker import DockerEngine
from harness.engines.fake import FakeEngine
from harness.engines.process import ProcessEngine

ENGINES: Final[dict[str, EngineClass]] = {
    "process": ProcessEngine,
    "docker": DockerEngine,
    "fake": FakeEngine,
}
"""Every engine, by the name that ``--engine`` takes."""
