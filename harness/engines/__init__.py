"""Engines: where replicas live. One file an engine, one line in `ENGINES`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from harness.engines.base import Engine, EngineContext
from harness.engines.fake import FakeEngine
from harness.engines.process import ProcessEngine

EngineFactory: TypeAlias = Callable[[EngineContext], Engine]

ENGINES: Final[dict[str, EngineFactory]] = {
    "process": ProcessEngine,
    "fake": FakeEngine,
}
"""Every engine, by the name that ``--engine`` takes."""
