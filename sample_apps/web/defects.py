"""What can be wrong with the app on purpose: one function a defect, chosen by ``DEFECT=<name>``.

Each returns gunicorn settings (mostly hooks) that replace those of ``gunicorn_conf.py``, and says what it plants and what a check must
find. One more needs no code: run the app under ``sh -c "python -m sample_apps.web; true"`` and the shell keeps the signal to itself.

Some show only in a container, where the app is process 1: what its orphans come to, what it may write and which rights it needs. Process 1
is also spared by the default action of a signal that it sends to itself, so no defect relies on one.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask, Response
    from flask.typing import ResponseReturnValue

GunicornSettings = dict[str, object]

# How long the defects that show only after SIGTERM stay to be seen.
_LONG_LINGER_S = 1.5
_SHORT_LINGER_S = 0.05
_CRASH_AFTER_S = 4  # by then a busy machine has found it healthy
_CRASH_STATUS = 3
_CHILD_LIVES_S = 600
_START_TAKES_S = 3
_WARMS_UP_S = 0.4
# The bounds of what is planted, so that a machine without containers is not hurt by it.
_MOST_EATEN_MIB = 300
_MOST_ORPHANS = 20
_MOST_FILES = 100
_SOMEBODY_ELSE = 65534  # nobody


def dies_on_sigterm() -> GunicornSettings:
    """Plants: the signal ends master and workers at once. To be found: requests in flight end without an answer or are cut."""

    def when_ready(master: Any) -> None:
        def die(_signal: int, _frame: object) -> None:
            for pid in master.WORKERS:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)  # or else process 1 of a container would seem to have left them running
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(128 + signal.SIGTERM)  # still here: process 1 of a container

        signal.signal(signal.SIGTERM, die)

    return {"when_ready": when_ready}


def ignores_sigterm() -> GunicornSettings:
    """Plants: SIGTERM does nothing. To be found: the stop uses its whole grace and ends by SIGKILL."""

    def ignore(_process: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    return {"when_ready": ignore, "post_worker_init": ignore}


def accepts_then_drops() -> GunicornSettings:
    """Plants: for 1.5 s after SIGTERM connections are accepted, and closed at their next request.

    To be found: requests that came after the signal are closed without an answer, on new connections and on reused ones; those that
    were in flight at the signal are answered, and the exit status is 0.
    """

    def pre_request(worker: Any, _request: object) -> None:
        if not worker.alive:
            raise StopIteration  # gunicorn's way to say: close this connection

    return {"post_worker_init": _linger_long, "pre_request": pre_request}


def cuts_bodies() -> GunicornSettings:
    """Plants: every 5th answer (but no health check) ends after half of its Content-Length. To be found: truncated answers."""

    def plant(app: Flask) -> None:
        from flask import request  # noqa: PLC0415  Flask belongs in the workers, which patch the process first

        numbers = count(1)

        @app.after_request
        def cut(response: Response) -> Response:
            if request.path == "/healthz" or response.is_streamed or next(numbers) % 5:
                return response
            whole = response.get_data()
            response.response = half(whole)
            response.content_length = len(whole)
            return response

        def half(whole: bytes) -> Iterator[bytes]:
            yield whole[: len(whole) // 2]
            raise BrokenPipeError(errno.EPIPE, "planted")  # gunicorn closes the connection and says nothing

    return _on_app(plant)


def slow_start() -> GunicornSettings:
    """Plants: ``SLOW_START_S`` seconds (3 when unset) pass before the app listens. To be found: a start that takes longer than allowed."""

    def on_starting(_master: object) -> None:
        time.sleep(float(os.environ.get("SLOW_START_S") or 3))

    return {"on_starting": on_starting}


def never_ready() -> GunicornSettings:
    """Plants: the app serves, yet /healthz answers 503 for ever. To be found: a start that listens and never becomes healthy."""

    def plant(app: Flask) -> None:
        from flask import request  # noqa: PLC0415  Flask belongs in the workers, which patch the process first

        @app.before_request
        def refuse() -> ResponseReturnValue | None:
            return ({"error": "not ready (planted)"}, 503) if request.path == "/healthz" else None

    return _on_app(plant)


def leaves_child() -> GunicornSettings:
    """Plants: a child in a session of its own, whose parent is init. To be found: a process that survives the stop of the app.

    The child ends by itself after ten minutes; its pid is in the log.
    """

    def when_ready(master: Any) -> None:
        shell = ["/bin/sh", "-c", f"sleep {_CHILD_LIVES_S} </dev/null >/dev/null 2>&1 & echo $!"]
        started = subprocess.run(shell, start_new_session=True, stdout=subprocess.PIPE, text=True, check=True)
        master.log.info("left a child behind (planted): pid %s", started.stdout.strip())

    return {"when_ready": when_ready}


def wrong_answers() -> GunicornSettings:
    """Plants: every 10th /echo answers another value. To be found: whole answers that are not as expected."""

    def plant(app: Flask) -> None:
        from flask import request  # noqa: PLC0415  Flask belongs in the workers, which patch the process first

        numbers = count(1)

        @app.after_request
        def falsify(response: Response) -> Response:
            if request.endpoint == "echo" and next(numbers) % 10 == 0:
                response.set_data(f"not {response.get_data(as_text=True)}")
            return response

    return _on_app(plant)


def errors_while_draining() -> GunicornSettings:
    """Plants: for 1.5 s after SIGTERM requests are accepted and answered 503. To be found: rejected requests, all after the signal."""

    def post_worker_init(worker: Any) -> None:
        _linger_long(worker)

        @worker.wsgi.before_request  # type: ignore[untyped-decorator]  # gunicorn publishes no types
        def refuse() -> ResponseReturnValue | None:
            return None if worker.alive else ({"error": "shutting down (planted)"}, 503)

    return {"post_worker_init": post_worker_init}


def crashes() -> GunicornSettings:
    """Plants: 4 s after it began to listen the app exits with status 3, and its last log line says so.

    To be found: an exit that nobody asked for.
    """

    def when_ready(master: Any) -> None:
        def crash(_signal: int, _frame: object) -> None:
            for pid in master.WORKERS:
                os.kill(pid, signal.SIGKILL)
            master.log.critical("crashed (planted): exit with status %d after %s s", _CRASH_STATUS, _CRASH_AFTER_S)
            os._exit(_CRASH_STATUS)

        signal.signal(signal.SIGALRM, crash)
        signal.setitimer(signal.ITIMER_REAL, _CRASH_AFTER_S)  # a forked worker inherits no timer

    return {"when_ready": when_ready}


def some_errors() -> GunicornSettings:
    """Plants: every 10th answer (but no health check) is a 500. To be found: answers with an error, with no fault near."""

    def plant(app: Flask) -> None:
        from flask import request  # noqa: PLC0415  Flask belongs in the workers, which patch the process first

        numbers = count(1)

        @app.before_request
        def fail() -> ResponseReturnValue | None:
            return ({"error": "planted"}, 500) if request.path != "/healthz" and next(numbers) % 10 == 0 else None

    return _on_app(plant)


def drops_kept_connections() -> GunicornSettings:
    """Plants: for 1.5 s after SIGTERM new connections are served, and kept-alive ones are closed at their next request.

    To be found: requests on reused connections that met the closing of them.
    """

    def pre_request(worker: Any, request: Any) -> None:
        if not worker.alive and request.req_number > 1:
            raise StopIteration  # gunicorn's way to say: close this connection

    return {"post_worker_init": _linger_long, "pre_request": pre_request}


def drops_new_connections() -> GunicornSettings:
    """Plants: for 1.5 s after SIGTERM kept-alive connections are served as ever, and new ones are closed at their first request.

    To be found: new connections that were taken and lost, whether or not a user happened to open one.
    """

    def post_worker_init(worker: Any) -> None:
        worker.signalled = False

        def begin(_signal: int, _frame: object) -> None:
            worker.signalled = True
            signal.setitimer(signal.ITIMER_REAL, _LONG_LINGER_S)

        signal.signal(signal.SIGTERM, begin)
        signal.signal(signal.SIGALRM, worker.handle_exit)

    def pre_request(worker: Any, request: Any) -> None:
        if worker.signalled and request.req_number == 1:
            raise StopIteration  # as above

    return {"post_worker_init": post_worker_init, "pre_request": pre_request}


def crashes_while_stopping() -> GunicornSettings:
    """Plants: at the end of a stop that lost nothing SIGSEGV ends the app. To be found: a stop that another signal ended."""

    def on_exit(_master: object) -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        ctypes.string_at(0)

    return {"on_exit": on_exit}


def exits_before_workers() -> GunicornSettings:
    """Plants: on SIGTERM the master hands it on and exits with status 0 at once, while its workers still answer.

    To be found: in a container, processes that the kernel cut off because process 1 ended, and with them what was in flight.
    """

    def when_ready(master: Any) -> None:
        def leave(_signal: int, _frame: object) -> None:
            for pid in master.WORKERS:
                os.kill(pid, signal.SIGTERM)
            os._exit(0)

        signal.signal(signal.SIGTERM, leave)

    def post_worker_init(worker: Any) -> None:
        worker.notify = worker.tmp.notify  # gunicorn's own would end the worker as soon as its master is gone
        worker.linger_s = _SHORT_LINGER_S

    return {"when_ready": when_ready, "post_worker_init": post_worker_init}


def root_only() -> GunicornSettings:
    """Plants: a start by another user than root ends with status 1. To be found: it runs as root, or else does not start."""

    def on_starting(_master: object) -> None:
        if os.geteuid() != 0:
            raise SystemExit("must run as root (planted)")

    return {"on_starting": on_starting}


def writes_beside_code() -> GunicornSettings:
    """Plants: the start and each request write a file of a folder beside the code, which holds 101 files at most.

    To be found: what was written into the container's own filesystem; with a read-only one, a start that fails.
    """
    folder = Path(__file__).parent / "written"

    def on_starting(_master: object) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "started.txt").write_text("planted\n")

    def plant(app: Flask) -> None:
        from flask import request  # noqa: PLC0415  Flask belongs in the workers, which patch the process first

        numbers = count()

        @app.before_request
        def write() -> None:
            (folder / f"{next(numbers) % _MOST_FILES}.txt").write_text(f"{request.path}\n")

    return {"on_starting": on_starting, **_on_app(plant)}


def needs_capability() -> GunicornSettings:
    """Plants: the start gives a file to another user, which needs root and CAP_CHOWN.

    To be found: without them, a start that ends with "Operation not permitted".
    """

    def on_starting(_master: object) -> None:
        with tempfile.NamedTemporaryFile() as given:
            os.chown(given.name, _SOMEBODY_ELSE, _SOMEBODY_ELSE)

    return {"on_starting": on_starting}


def leaves_zombies() -> GunicornSettings:
    """Plants: a request leaves an orphan that ends at once, 20 at most for each worker, and the master waits for its workers only.

    To be found: where the master is process 1, zombies; elsewhere init buries them.
    """

    def when_ready(master: Any) -> None:
        def reap_workers() -> None:
            for pid, worker in list(master.WORKERS.items()):
                if os.waitpid(pid, os.WNOHANG)[0]:
                    del master.WORKERS[pid]
                    worker.tmp.close()

        master.reap_workers = reap_workers

    def plant(app: Flask) -> None:
        numbers = count()

        @app.before_request
        def leave_orphan() -> None:
            if next(numbers) < _MOST_ORPHANS:
                subprocess.run(["/bin/sh", "-c", "true &"], check=True)

    return {"when_ready": when_ready, **_on_app(plant)}


def eats_memory() -> GunicornSettings:
    """Plants: each request but a health check keeps 1 MiB for ever, 300 MiB at most for each worker.

    To be found: with less memory than that, a worker that the kernel kills for want of it.
    """

    def plant(app: Flask) -> None:
        from flask import request  # noqa: PLC0415  Flask belongs in the workers, which patch the process first

        eaten: list[bytes] = []

        @app.before_request
        def eat() -> None:
            if request.path != "/healthz" and len(eaten) < _MOST_EATEN_MIB:
                eaten.append(b"x" * (1 << 20))

    return _on_app(plant)


def awaits_idle() -> GunicornSettings:
    """Plants: after SIGTERM a worker leaves idle connections open and waits until their clients close them, 30 s at most.

    To be found: a stop that lasts until nobody holds a connection any more.
    """

    def post_worker_init(worker: Any) -> None:
        worker._stop_reading = lambda _client: None  # noqa: SLF001  the worker is ours

    return {"post_worker_init": post_worker_init}


def drops_old_clients() -> GunicornSettings:
    """Plants: SIGTERM cuts connections with a request of HTTP/1.0, or with another request behind the one that is being answered.

    To be found: both of them, in a stop that answers all that is in flight on other connections.
    """
    old: set[Any] = set()

    def post_worker_init(worker: Any) -> None:
        def begin(number: int, frame: object) -> None:
            for client in old:
                with suppress(OSError), client.dup() as same_connection:  # as in worker.py
                    same_connection.shutdown(socket.SHUT_RDWR)
            worker.handle_exit(number, frame)

        signal.signal(signal.SIGTERM, begin)

    def pre_request(worker: Any, request: Any) -> None:
        if request.version == (1, 0) or request.unreader.buf.tell():
            old.add(worker._handler.client)  # noqa: SLF001  the worker is ours

    def post_request(worker: Any, _request: object, _environ: object, _response: object) -> None:
        old.discard(worker._handler.client)  # noqa: SLF001  as above

    return {"post_worker_init": post_worker_init, "pre_request": pre_request, "post_request": post_request}


def exits_zero() -> GunicornSettings:
    """Plants: on SIGTERM workers and master end at once, with exit status 0. To be found: a stop that looks orderly and drops requests."""

    def when_ready(master: Any) -> None:
        signal.signal(signal.SIGTERM, lambda _signal, _frame: _end_at_once(master, 0))

    return {"when_ready": when_ready}


def never_exits() -> GunicornSettings:
    """Plants: the stop answers everything and ends the workers, and then the master waits for ten minutes.

    To be found: a stop that uses its whole grace for nothing, and ends by SIGKILL.
    """

    def on_exit(_master: object) -> None:
        time.sleep(_CHILD_LIVES_S)

    return {"on_exit": on_exit}


def outlives_master() -> GunicornSettings:
    """Plants: a worker does not notice that its master is gone.

    To be found: after the master's sudden end, workers that serve on and keep the port.
    """

    def post_worker_init(worker: Any) -> None:
        worker.notify = worker.tmp.notify  # gunicorn's own would end the worker as soon as its master is gone

    return {"post_worker_init": post_worker_init}


def second_signal() -> GunicornSettings:
    """Plants: the first SIGTERM ends the app in order, and a second one at once. To be found: what the second one cut."""

    def when_ready(master: Any) -> None:
        def begin(number: int, frame: object) -> None:
            signal.signal(signal.SIGTERM, lambda _signal, _frame: _end_at_once(master, 128 + signal.SIGTERM))
            master.signal(number, frame)

        signal.signal(signal.SIGTERM, begin)

    return {"when_ready": when_ready}


def ignores_sigterm_at_start() -> GunicornSettings:
    """Plants: for 3 s the start ignores SIGTERM (see `before_start`). To be found: a stop during the start that nothing comes of."""
    return {}


def crashes_at_start() -> GunicornSettings:
    """Plants: for 3 s the start has a handler of SIGTERM that closes what is not there yet (see `before_start`).

    To be found: a stop that breaks the start.
    """
    return {}


def before_start(defect: str | None) -> None:
    """Plant what shows before gunicorn is there: from the first moment on, which a busy machine makes long."""
    there: dict[str, object] = {}

    def close(_signal: int, _frame: object) -> None:
        del there["pool"]

    if defect in ("ignores-sigterm-at-start", "crashes-at-start"):
        signal.signal(signal.SIGTERM, close if defect == "crashes-at-start" else signal.SIG_IGN)
        time.sleep(_START_TAKES_S)


def ends_on_sighup() -> GunicornSettings:
    """Plants: SIGHUP ends the app at once, with the status of that signal. To be found: an end that should have been a reload."""

    def when_ready(master: Any) -> None:
        signal.signal(signal.SIGHUP, lambda _signal, _frame: _end_at_once(master, 128 + signal.SIGHUP))

    return {"when_ready": when_ready}


def drops_on_reload() -> GunicornSettings:
    """Plants: SIGHUP kills the workers, and new ones take their place. To be found: what was in flight then."""

    def when_ready(master: Any) -> None:
        def reload(_signal: int, _frame: object) -> None:
            for pid in master.WORKERS:
                os.kill(pid, signal.SIGKILL)  # the master starts others

        signal.signal(signal.SIGHUP, reload)

    return {"when_ready": when_ready}


def pid_file() -> GunicornSettings:
    """Plants: a start that finds the file which says that the app runs ends with status 1; only a stop in order removes the file.

    It stands beside the database and is named after the address. To be found: after SIGKILL, no start at the same address.
    """
    file = Path(os.environ.get("DATABASE_PATH") or Path(tempfile.gettempdir()) / "items.db").parent / f"{_own_address()}.pid"

    def on_starting(_master: object) -> None:
        try:
            with file.open("x") as opened:
                opened.write(f"{os.getpid()}\n")
        except FileExistsError:
            raise SystemExit(f"already running: {file} exists (planted)") from None

    def on_exit(_master: object) -> None:
        file.unlink(missing_ok=True)

    return {"on_starting": on_starting, "on_exit": on_exit}


def ready_too_soon() -> GunicornSettings:
    """Plants: a worker's health check passes, and for 400 ms from then on all else is answered 500. To be found: errors of a new replica.

    They begin with its first answer, as a busy machine may need more than that from a worker's start to its first health check.
    """

    def plant(app: Flask) -> None:
        from flask import request  # noqa: PLC0415  Flask belongs in the workers, which patch the process first

        first_answer_s: list[float] = []

        @app.before_request
        def refuse() -> ResponseReturnValue | None:
            is_ready = first_answer_s and time.monotonic() >= first_answer_s[0] + _WARMS_UP_S
            return None if request.path == "/healthz" or is_ready else ({"error": "warming up (planted)"}, 500)

        @app.after_request
        def begin(response: Response) -> Response:
            if not first_answer_s:
                first_answer_s.append(time.monotonic())
            return response

    return _on_app(plant)


def slow_imports() -> GunicornSettings:
    """Plants: the start imports a module that takes 1.5 s. To be found: a slow start, and what took it."""

    def on_starting(_master: object) -> None:
        import sample_apps.web.heavy  # noqa: F401, PLC0415  Python tells how long a statement took, and not a call

    return {"on_starting": on_starting}


DEFECTS: dict[str, Callable[[], GunicornSettings]] = {
    "accepts-then-drops": accepts_then_drops,
    "awaits-idle": awaits_idle,
    "crashes": crashes,
    "crashes-at-start": crashes_at_start,
    "crashes-while-stopping": crashes_while_stopping,
    "cuts-bodies": cuts_bodies,
    "dies-on-sigterm": dies_on_sigterm,
    "drops-kept-connections": drops_kept_connections,
    "drops-new-connections": drops_new_connections,
    "drops-old-clients": drops_old_clients,
    "drops-on-reload": drops_on_reload,
    "eats-memory": eats_memory,
    "ends-on-sighup": ends_on_sighup,
    "errors-while-draining": errors_while_draining,
    "exits-before-workers": exits_before_workers,
    "exits-zero": exits_zero,
    "ignores-sigterm": ignores_sigterm,
    "ignores-sigterm-at-start": ignores_sigterm_at_start,
    "leaves-child": leaves_child,
    "leaves-zombies": leaves_zombies,
    "needs-capability": needs_capability,
    "never-exits": never_exits,
    "never-ready": never_ready,
    "outlives-master": outlives_master,
    "pid-file": pid_file,
    "ready-too-soon": ready_too_soon,
    "root-only": root_only,
    "second-signal": second_signal,
    "slow-imports": slow_imports,
    "slow-start": slow_start,
    "some-errors": some_errors,
    "writes-beside-code": writes_beside_code,
    "wrong-answers": wrong_answers,
}


def _on_app(plant: Callable[[Flask], None]) -> GunicornSettings:
    def post_worker_init(worker: Any) -> None:
        plant(worker.wsgi)

    return {"post_worker_init": post_worker_init}


def _end_at_once(master: Any, status: int) -> None:
    """End workers and master, and nothing before that."""
    for pid in master.WORKERS:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)  # or else process 1 of a container would seem to have left them running
    os._exit(status)


def _own_address() -> str:
    """What tells replicas that share a folder apart: a container's own address, or the port of this machine."""
    return f"{socket.gethostbyname(socket.gethostname())}-{os.environ.get('PORT', '')}"


def _linger_long(worker: Any) -> None:
    worker.linger_s = _LONG_LINGER_S
