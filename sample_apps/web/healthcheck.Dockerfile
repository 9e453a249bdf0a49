# Not a defect: an image that knows by itself whether the app is healthy.
FROM python:3.11-slim-bookworm

# `wheels` is there when `python -m sample_apps.wheels` was run; then nothing is asked of the network.
COPY web/requirements.txt wheel[s] /opt/wheels/
RUN if ls /opt/wheels/*.whl >/dev/null 2>&1; then set -- --no-index --find-links /opt/wheels; fi; \
    python -m pip install --no-cache-dir --root-user-action ignore "$@" -r /opt/wheels/requirements.txt

RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin app && install -d -o app -g app /data
WORKDIR /app
COPY __init__.py closing.py sample_apps/
COPY web/*.py sample_apps/web/
ENV HOST=0.0.0.0 PORT=8000 DATABASE_PATH=/data/items.db PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

EXPOSE 8000
HEALTHCHECK --interval=1s --timeout=3s --retries=3 CMD ["python", "-c", "\
import http.client, os; \
app = http.client.HTTPConnection('127.0.0.1', int(os.environ['PORT']), timeout=2); \
app.request('GET', '/healthz'); \
raise SystemExit(app.getresponse().status != 200)"]
USER app
CMD ["python", "-m", "sample_apps.web"]
