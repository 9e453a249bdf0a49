"""gunicorn's settings, from the environment: what ``gunicorn -c python:sample_apps.web.gunicorn_conf`` reads.

A planted defect is a change of these settings. ``GUNICORN_CMD_ARGS`` wins over them, as always with gunicorn: with
``--worker-class=gevent --keep-alive=5`` the same app ends as the stock worker does.
"""

from __future__ import annotations

import gc
import os
from typing import Any

from sample_apps.web.defects import DEFECTS
from sample_apps.web.settings import read_settings

_settings = read_settings(os.environ)

wsgi_app = "sample_apps.web.app:create_app()"
bind = f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"
workers = _settings.workers
worker_class = "sample_apps.web.worker.GracefulWorker"
graceful_timeout = _settings.graceful_timeout_s
# Longer than any client keeps an idle connection (load balancers: 60 s), so that the client is always the one to close it. The stop does
# not wait for it: see worker.py.
keepalive = 75
certfile, keyfile = _settings.tls or (None, None)
# The socket would stand at one path for all replicas, and nobody asks it anything.
control_socket_disable = True


def on_exit(_master: object) -> None:
    """Look for no garbage while the interpreter ends: see worker.py."""
    gc.freeze()


if _settings.graceful_signal == "SIGQUIT":

    def when_ready(master: Any) -> None:
        """Let SIGTERM and SIGQUIT change places, as they stand with nginx and PHP-FPM."""
        master.handle_term, master.handle_quit = master.handle_quit, master.handle_term


if _settings.defect is not None:
    globals().update(DEFECTS[_settings.defect]())
