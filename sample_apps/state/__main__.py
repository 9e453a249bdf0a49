"""``python -m sample_apps.state``: becomes gunicorn's master, so the process that was started is the one to signal."""

from __future__ import annotations

import os
import sys

from sample_apps.state.settings import SettingsError, read_settings


def main() -> int:
    """Check the environment, then be gunicorn; 2 when a variable is wrong."""
    try:
        read_settings(os.environ)
    except SettingsError as error:
        print(f"sample_apps.state: {error}", file=sys.stderr)
        return 2

    from gunicorn.app.wsgiapp import run  # type: ignore[import-untyped]  # noqa: PLC0415  only when it is to run

    sys.argv = ["gunicorn", "--config", "python:sample_apps.state.gunicorn_conf"]
    run()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
