"""The table of causes for people: ``python -m tests.checks.page`` writes docs/causes.md from `harness.checks.causes`."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from harness.checks.causes import OF_DROPS, OF_STARTS, OF_STOPS
from harness.checks.job_causes import OF_JOBS
from harness.checks.state_causes import OF_STATE

PAGE = Path(__file__).parent.parent.parent / "docs/causes.md"

HEAD = """# Causes and cures

What a failed finding says under *cause* and *cure* comes from a table, `harness/checks/causes.py` (of jobs `harness/checks/job_causes.py`,
of state `harness/checks/state_causes.py`), of which this page is made (`python -m tests.checks.page`). A row needs its evidence in the
run's history; of the rows of one finding the first whose evidence is there speaks. Where there is none, nothing is said.
[results.md](results.md) tells what the findings mean.
"""

PARTS = (("Requests", OF_DROPS), ("Stops and signals", OF_STOPS), ("Starts", OF_STARTS), ("Jobs", OF_JOBS), ("State", OF_STATE))


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    for title, rows in PARTS:
        lines += [f"## {title}\n", "| finding | evidence | cure |", "|---|---|---|"]
        for (needs, cure), alike in groupby(rows, lambda row: (row.needs, row.cure)):
            lines.append(f"| {', '.join(f'`{row.name}`' for row in alike)} | {needs} | {cure} |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page())
