# Plants: no USER, and a folder of data that only root can write. To be found: it runs as root.
FROM python:3.11-slim-bookworm

# `wheels` is there when `python -m sample_apps.wheels` was run; then nothing is asked of the network.
COPY web/requirements.txt wheel[s] /opt/wheels/
RUN if ls /opt/wheels/*.whl >/dev/null 2>&1; then set -- --no-index --find-links /opt/wheels; fi; \
    python -m pip install --no-cache-dir --root-user-action ignore "$@" -r /opt/wheels/requirements.txt

RUN install -d /data
WORKDIR /app
COPY __init__.py closing.py sample_apps/
COPY web/*.py sample_apps/web/
ENV HOST=0.0.0.0 PORT=8000 DATABASE_PATH=/data/items.db PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

EXPOSE 8000
CMD ["python", "-m", "sample_apps.web"]
