"""What a replica wrote into its own filesystem, and which of it is known and harmless."""

from __future__ import annotations

import pytest

from harness.checks.facts import Life
from harness.checks.writes import written
from harness.history import Wrote


def wrote(*paths: str, more: int = 0) -> Life:
    return Life(replica="web.1", process="web", wrote=Wrote(at_ns=1, replica="web.1", paths=paths, count=len(paths) + more))


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/app/pkg/__pycache__/m.cpython-311.pyc", "Python bytecode"),
        ("/app/m.pyc", "Python bytecode"),
        ("/root/.cache/pip/x", "a cache"),
        ("/home/app/.cache/fontconfig/y", "a cache"),
        ("/var/cache/nginx/z", "a cache"),
        ("/root/.npm/_logs/x", "npm's cache"),
        ("/tmp/upload", "temporary files"),  # noqa: S108  a path in a container
        ("/run/app.pid", "pid files"),
        ("/var/run/nginx.pid", "pid files"),
    ],
)
def test_a_known_cache_is_named_and_not_counted(path: str, what: str) -> None:
    found = written(wrote(f"A {path}"))
    assert (found.counted, found.caches, found.what) == (0, 1, (what,))
    assert what in found.known[0]


@pytest.mark.parametrize("path", ["/app/data/x", "/app/running/x", "/app/tmp2", "/srv/.cached", "/var/log/app.log", "/app/my.pyc.d/x"])
def test_anything_else_is_counted(path: str) -> None:
    found = written(wrote(f"C {path}"))
    assert (found.counted, found.caches) == (1, 0)


def test_logs_are_counted_and_told_where_they_belong() -> None:
    assert written(wrote("A /var/log/app.log")).kept == ("/var/log: 1 file, logs (write them to stdout)",)


def test_folders_come_with_their_number_of_files_and_most_first() -> None:
    found = written(wrote("A /a/1", "A /b/1", "C /b/2", "D /b/with blank"))
    assert found.kept == ("/b: 3 files", "/a: 1 file")


def test_what_was_not_listed_may_be_anything_and_counts() -> None:
    found = written(wrote("A /run/x", more=1500))
    assert (found.counted, found.caches, found.kept) == (1500, 1, ("1 500 files more, not listed",))


def test_who_wrote_nothing_has_nothing_counted() -> None:
    found = written(Life(replica="web.1", process="web"))
    assert (found.counted, found.caches, found.kept, found.known) == (0, 0, (), ())
