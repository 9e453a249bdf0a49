"""gunicorn's settings, from the environment: what ``gunicorn -c python:sample_apps.state.gunicorn_conf`` reads."""

from __future__ import annotations

import gc
import os

from sample_apps.state.settings import read_settings

_settings = read_settings(os.environ)

wsgi_app = "sample_apps.state.app:create_app()"
bind = f"[{_settings.host}]:{_settings.port}" if ":" in _settings.host else f"{_settings.host}:{_settings.port}"
workers = _settings.workers
worker_class = "sample_apps.web.worker.GracefulWorker"
graceful_timeout = _settings.graceful_timeout_s
# As in the web sample, whose worker needs no short one.
keepalive = 75
control_socket_disable = True


def on_exit(_master: object) -> None:
    """Look for no garbage while the interpreter ends, as the web sample."""
    gc.freeze()
