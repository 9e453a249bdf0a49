"""An API whose state is to be judged: registers, counters, sets, logs and sessions, in SQLite, Redis or PostgreSQL.

Run by ``python -m sample_apps.state``. The environment it reads is in ``settings.py``, what it answers in ``app.py`` and ``journey.py``,
what a store must do in ``store.py``, and what can be wrong with it on purpose in ``defects.py``. It is served and stopped as the web sample
is: see ``sample_apps/web/worker.py``.
"""
