"""What all tests share.

Property tests have no deadline, because a busy machine is no defect. With ``JETABLE_REQUIRE_ALL=1``, as CI sets it, a skipped test is a
failed one: what a machine lacks must not look like what works. A test that needs a Docker engine is marked so and takes `daemon`.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from harness.dockerd import Daemon

settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")


@pytest.fixture(scope="session")
def docker_or_why_not() -> Iterator[Daemon | str]:
    """The Docker engine of this machine, or the sentence that says why there is none."""
    from harness.dockerd import connect  # this file is also used where there is no harness
    from harness.errors import JetableError

    try:
        found = connect()
    except JetableError as error:
        yield str(error)
        return
    yield found
    found.close()


@pytest.fixture(scope="session")
def daemon(docker_or_why_not: Daemon | str) -> Daemon:
    """A connection to the Docker engine of this machine."""
    if isinstance(docker_or_why_not, str):
        pytest.skip(docker_or_why_not)
    return docker_or_why_not


@pytest.fixture(autouse=True)
def _needs_docker(request: pytest.FixtureRequest) -> None:
    """A test that is marked so is skipped where there is no Docker engine, also when it does not ask for `daemon`."""
    if request.node.get_closest_marker("docker") is not None:
        request.getfixturevalue("daemon")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where nothing may be skipped."""
    report = yield
    _refuse_skip(report, item.nodeid)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a whole module that skips itself."""
    report = yield
    _refuse_skip(report, collector.nodeid)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport, name: str) -> None:
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("JETABLE_REQUIRE_ALL") == "1":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{name} was skipped though JETABLE_REQUIRE_ALL=1: {reason}"
