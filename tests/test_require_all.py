"""With ``JETABLE_REQUIRE_ALL=1`` a skipped test is a failed one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SKIPS = """
import pytest

def test_that_needs_a_program():
    pytest.skip("redis-server is not installed")
"""


SKIPS_WHOLE = """
import pytest

pytest.skip("redis-server is not installed", allow_module_level=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("text", "required", "code"), [(SKIPS, "1", 1), (SKIPS, "", 0), (SKIPS_WHOLE, "1", 2), (SKIPS_WHOLE, "", 5)])
def test_a_skip_is_a_failure_exactly_where_everything_is_required(tmp_path: Path, text: str, required: str, code: int) -> None:
    shutil.copy(Path(__file__).parent / "conftest.py", tmp_path)
    (tmp_path / "test_it.py").write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    environment = {**os.environ, "JETABLE_REQUIRE_ALL": required}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", str(tmp_path)]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == code, ended.stdout
    assert "redis-server is not installed" in ended.stdout
