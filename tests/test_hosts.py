"""Which addresses are this machine's, and which were allowed by name."""

from __future__ import annotations

import pytest

from harness.hosts import ALLOWED_HOSTS, is_elsewhere


@pytest.mark.parametrize("host", ["", "localhost", "127.0.0.1", "127.1.2.3", "::1", "0.0.0.0", "allowed.example", "10.0.0.9"])
def test_this_machine_and_those_that_were_allowed(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv(ALLOWED_HOSTS, "allowed.example, 10.0.0.9")
    assert not is_elsewhere(host)


@pytest.mark.parametrize("host", ["db.example", "10.0.0.1", "2001:db8::1", "allowed.example.org"])
def test_others_are_elsewhere(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv(ALLOWED_HOSTS, "allowed.example")
    assert is_elsewhere(host)
