"""Backing services: one file a kind, one line in `KINDS`."""

from __future__ import annotations

from typing import Final

from harness.services.base import Kind
from harness.services.sqlite import SQLITE

KINDS: Final[dict[str, Kind]] = {
    "sqlite": SQLITE,
}
"""Every kind of service that a scenario may name."""
