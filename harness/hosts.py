"""Which addresses are this machine's, and which others were allowed by name: what runs elsewhere may be somebody's."""

from __future__ import annotations

import ipaddress
import os
from contextlib import suppress
from typing import Final

ALLOWED_HOSTS: Final = "JETABLE_ALLOW_HOSTS"
"""The environment variable with the names of other machines that may be used, separated by commas or blanks."""


def is_here(host: str) -> bool:
    """Whether ``host`` is the loopback interface of whoever asks."""
    if not host or host == "localhost":
        return True
    with suppress(ValueError):
        address = ipaddress.ip_address(host)
        return address.is_loopback or address.is_unspecified
    return False


def is_elsewhere(host: str) -> bool:
    """Whether ``host`` is another machine that nobody has allowed; an empty one is this machine."""
    return not is_here(host) and host not in os.environ.get(ALLOWED_HOSTS, "").replace(",", " ").split()
