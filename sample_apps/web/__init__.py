"""A small web app: Flask on gunicorn's gevent worker, its state in SQLite or Redis.

Run by ``python -m sample_apps.web``; the environment it reads is in ``settings.py``, what it answers in ``app.py``, how it stops in
``worker.py`` and what can be wrong with it on purpose in ``defects.py``.
"""
