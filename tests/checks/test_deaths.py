"""Why a replica ended or did not start: memory, and what the scenario denied it."""

from __future__ import annotations

import pytest

from harness.checks.deaths import denial, died_by_itself, ended_by_oom, oom_kills_of
from harness.checks.facts import Facts
from harness.history import Disturbed, Restored
from tests.checks.build import STORIES, Story, at, out_of_memory, steady_run


def facts_of(story: Story) -> Facts:
    return Facts(story.history())


def test_memory_that_a_step_took_away_is_not_blamed_on_the_app() -> None:
    facts = facts_of(out_of_memory(squeezed=True))
    assert oom_kills_of(facts, facts.life("web.1")) == []
    assert not ended_by_oom(facts, facts.life("web.1"))
    assert not died_by_itself(facts, facts.life("web.1"))


@pytest.mark.parametrize(("replica", "when", "blamed"), [("web.1", 640, 1), ("web.1", 660, 0), ("web.1", 900, 0), ("web.2", 660, 1)])
def test_a_squeeze_explains_what_the_kernel_kills_of_that_replica_during_it_and_shortly_after(
    replica: str, when: float, blamed: int
) -> None:
    story = steady_run()
    story.tell(
        Disturbed(at_ns=at(650), until_ns=at(651), step=1, replica="web.1", what="memory"),
        Restored(at_ns=at(800), until_ns=at(801), step=1, replica="web.1", what="memory"),
    )
    story.oom(replica, when)
    facts = facts_of(story)
    assert len(oom_kills_of(facts, facts.life(replica))) == blamed


def test_the_exit_alone_can_tell_that_memory_ran_out() -> None:
    story = STORIES["fail--oom-killed"]()
    story.lines = [line for line in story.lines if type(line).__name__ != "OomKilled"]
    facts = facts_of(story)
    assert len(oom_kills_of(facts, facts.life("web.1"))) == 1
    assert died_by_itself(facts, facts.life("web.1"))
    assert ended_by_oom(facts, facts.life("web.1"))


def died(log: str, **web: object) -> Facts:
    story = steady_run(web=web)
    story.exit("web.3", 700, 1, commanded=False, log=[log])
    return facts_of(story)


@pytest.mark.parametrize(
    ("log", "path"),
    [
        ("OSError: [Errno 30] Read-only file system: '/app/data/x.db'", "/app/data/x.db"),
        ("Error: EROFS: read-only file system, open '/app/x'", "/app/x"),
        ("panic: open /var/lib/app/x: read-only file system", "/var/lib/app/x"),
        ("/entrypoint.sh: 3: cannot create /app/x: Read-only file system", "/app/x"),
        ("mkdir: cannot create directory \u2018/srv/cache\u2019: Read-only file system", "/srv/cache"),
        ('mkdir() "/var/cache/nginx/client_temp" failed (30: Read-only file system)', "/var/cache/nginx/client_temp"),
        ("sqlite: Read-only file system", ""),
    ],
)
def test_the_path_that_could_not_be_written_is_taken_from_the_log(log: str, path: str) -> None:
    facts = died(log, read_only=True)
    found = denial(facts, facts.life("web.3"))
    assert found is not None
    assert (found.name, found.path, found.line) == ("needs-writable-filesystem", path, log)


@pytest.mark.parametrize(
    "log",
    [
        "chown: changing ownership of '/srv': Operation not permitted",
        "Error: EACCES: permission denied, mkdir '/srv'",
        "x [Errno 13] y",
        "[Errno 1] z",
    ],
)
def test_what_was_not_permitted_is_a_capability_only_where_some_were_dropped(log: str) -> None:
    facts = died(log, cap_drop=["ALL"])
    found = denial(facts, facts.life("web.3"))
    assert found is not None
    assert found.name == "needs-capability"
    facts = died(log)
    assert denial(facts, facts.life("web.3")) is None


@pytest.mark.parametrize("log", ["Connection refused [Errno 111]", "[Errno 130] x", "all well", ""])
def test_other_last_words_are_no_denial(log: str) -> None:
    facts = died(log, cap_drop=["ALL"], read_only=True)
    assert denial(facts, facts.life("web.3")) is None


def test_a_replica_that_was_stopped_was_denied_nothing() -> None:
    story = steady_run(web={"read_only": True})
    story.exit("web.3", 700, 1, log=["Read-only file system"])
    facts = facts_of(story)
    assert denial(facts, facts.life("web.3")) is None
