"""``python -m sample_apps.web.supervisor``: an init that does not forward.

Plants: it starts the app, waits for its end and takes over its exit status, as a home-made process 1 does; SIGTERM it neither acts on nor
hands on. To be found: a signal that never reached the app, with a cure that differs from that of a shell.
"""

from __future__ import annotations

import subprocess
import sys


def main() -> int:
    """Run the app as a child; returns its exit status as a shell tells it."""
    ended = subprocess.run([sys.executable, "-m", "sample_apps.web"], check=False)
    return ended.returncode if ended.returncode >= 0 else 128 - ended.returncode


if __name__ == "__main__":
    raise SystemExit(main())
