"""What a log of CPython tells of imports."""

from __future__ import annotations

import subprocess
import sys

from harness.imports import VARIABLE, imported

LOG = """\
import time: self [us] | cumulative | imported package
import time:       100 |        100 |   zipimport
starting
import time:      2000 |       2000 |     pandas.core
import time:      1000 |       3100 |   pandas
import time:        50 |       3150 | app
import time:       900 |        900 |     pandas.core
ready
"""


def test_packages_are_told_with_what_they_took_by_themselves_the_longest_first() -> None:
    told = imported(LOG.splitlines(), replica="web.1", at_ns=5)
    assert told is not None
    assert (told.replica, told.at_ns, told.total_ns) == ("web.1", 5, 3_150_000)
    assert [(each.name, each.self_ns, each.modules, each.slowest) for each in told.top] == [
        ("pandas", 3_000_000, 2, "pandas.core"),
        ("zipimport", 100_000, 1, "zipimport"),
        ("app", 50_000, 1, "app"),
    ]


def test_a_log_that_speaks_of_no_import_tells_nothing() -> None:
    assert imported(["starting", "import time flies", ""], replica="web.1", at_ns=5) is None


def test_this_python_writes_what_is_read_here() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", "import json"], env={VARIABLE: "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True
    )
    told = imported(ran.stderr.splitlines(), replica="web.1", at_ns=5)
    assert told is not None
    assert "json" in {each.name for each in told.top} or told.total_ns > 0
