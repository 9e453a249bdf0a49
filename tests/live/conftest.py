"""What tests of whole runs need first: the wheels of the sample images, so that they build without network."""

from __future__ import annotations

import pytest

from sample_apps import wheels


@pytest.fixture(scope="session")
def prepared_wheels() -> None:
    """The wheels are there; where they are, nobody is asked."""
    if wheels.main() != 0:
        pytest.skip("the wheels of the sample images can't be fetched")


@pytest.fixture(autouse=True)
def _builds_without_network(request: pytest.FixtureRequest) -> None:
    """Every test that needs a Docker engine may build a sample image."""
    if request.node.get_closest_marker("docker") is not None:
        request.getfixturevalue("daemon")
        request.getfixturevalue("prepared_wheels")
