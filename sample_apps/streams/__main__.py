"""``PORT=8000 python -m sample_apps.streams``: serve until SIGTERM or SIGINT."""

from __future__ import annotations

import os
import sys

from sample_apps.streams.app import serve
from sample_apps.streams.settings import SettingsError, read_settings


def main() -> int:
    """The exit status: 0 after a graceful end, 2 when the environment can't be used."""
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        print(f"sample_apps.streams: {error}", file=sys.stderr)
        return 2
    serve(settings)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
