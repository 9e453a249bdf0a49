"""Backing services: one file a kind, one line in `KINDS`."""

from __future__ import annotations

from typing import Final

from harness.services.base import Kind
from harness.services.beanstalkd import BEANSTALKD
from harness.services.memcached import MEMCACHED
from harness.services.postgres import POSTGRES
from harness.services.rabbitmq import RABBITMQ
from harness.services.redis import REDIS
from harness.services.sqlite import SQLITE

KINDS: Final[dict[str, Kind]] = {
    "beanstalkd": BEANSTALKD,
    "rabbitmq": RABBITMQ,
    "sqlite": SQLITE,
    "redis": REDIS,
    "memcached": MEMCACHED,
    "postgres": POSTGRES,
}
"""Every kind of service that a scenario may name."""
