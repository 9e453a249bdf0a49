"""beanstalkd: a work queue whose jobs are reserved for a time, spoken to with greenstalk.

A queue is a *tube*. A worker reserves a job and must delete, release or bury it within its TTR; what a connection has reserved is ready
again as soon as that connection ends. ``options: {ttr: 60, priority: 65536, delay: 0}`` are a job's, the first and the last in seconds.
Buried jobs count as set aside.

beanstalkd lists no jobs: its *peek* shows the next ready, delayed or buried one. But whoever knows an id may ask for it, ids are given in
sequence, and a tube says how many jobs it has; so `Queue.told` asks for the ids that were put from here, then from 1 on, until it has found
as many as there are. It does not tell who holds a job. It counts how often a job was reserved, but keeps that count only in memory: after
a restart a job that was handed out before looks as if it never was. Without ``durable`` ids begin with 1 again, and jobs are gone.

A TTR that is over is no promise: beanstalkd 1.12 misses about two ends in five (its issues 262 and 380; 104 of 240, whoever asked how
often). Such a job stays reserved, with less than no time left, until its connection is used or ends.

There is no official image. ``jetable/beanstalkd:1`` is built from Debian's package; any image will do that has ``beanstalkd`` in its path.
"""

from __future__ import annotations

import re
import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

from harness.errors import KeyOfScenarioError
from harness.job_history import DELAYED, HELD, READY, SET_ASIDE
from harness.services.base import (
    TIMEOUT_S,
    Client,
    DoneSpec,
    Launch,
    Look,
    PutRefusedError,
    Queue,
    QueueSpec,
    ServiceEffects,
    ServiceError,
    Told,
    from_extra,
)
from harness.words import all_of, did_you_mean, quoted

if TYPE_CHECKING:
    import greenstalk

T = TypeVar("T")

_PORT: Final = 11300
_HIGHEST: Final = 2**32 - 1
_OPTIONS: Final[Mapping[str, int]] = {"priority": 2**16, "delay": 0, "ttr": 60}
"""What a job is put with, and what the protocol's clients take where nothing is said."""

_TUBE: Final = re.compile(r"[A-Za-z0-9+/;.$_()][A-Za-z0-9+/;.$_()-]{0,199}")
_STATES: Final[Mapping[str, str]] = {"ready": READY, "reserved": HELD, "delayed": DELAYED, "buried": SET_ASIDE}
_MOST_AT_ONCE: Final = 10_000
"""So many results are taken at most by one call."""

_RECOUNT_EVERY: Final = 500
"""After so many ids a search asks again how many jobs there are, as workers go on meanwhile."""

_WORDS: Final[Mapping[str, str]] = {
    "JobTooBigError": "the job is bigger than it takes (64 KiB, unless it was started with -z)",
    "DrainingError": "it is in drain mode and takes no new jobs",
    "OutOfMemoryError": "it has no memory, or no room in its folder, for the job",
    "ExpectedCrlfError": "it found the end of the job elsewhere",
    "BadFormatError": "it does not understand the command (BAD_FORMAT)",
    "UnknownCommandError": "it does not know the command",
    "BuriedError": "it had no memory to queue the job, and buried it",
    "InternalError": "it has an internal error",
    "DeadlineSoonError": "a reserved job's time is nearly over",
}
_REFUSALS: Final = ("JobTooBigError", "DrainingError", "OutOfMemoryError", "ExpectedCrlfError", "BadFormatError", "UnknownCommandError")
"""Answers to *put* after which the job surely is not there. A buried job is there, and nobody gets it before it is kicked."""


class _Spans:
    """The lowest and the highest id that was put into each tube from here, whichever client did it."""

    def __init__(self) -> None:
        self._spans: dict[tuple[str, str], tuple[int, int]] = {}

    def note(self, url: str, tube: str, number: int) -> None:
        """Job ``number`` was put; one thread puts into one tube."""
        lowest, highest = self._spans.get((url, tube), (number, number))
        self._spans[url, tube] = min(lowest, number), max(highest, number)

    def newest_first(self, url: str, tube: str) -> range:
        """All ids that may be of jobs that were put."""
        lowest, highest = self._spans.get((url, tube), (1, 0))
        return range(highest, lowest - 1, -1)


class _Beanstalkd:
    """The kind; see `harness.services.base.Kind`."""

    name = "beanstalkd"
    extra = "beanstalkd"

    def __init__(self) -> None:
        self._spans = _Spans()

    def launch(self, *, durable: bool) -> Launch | None:
        """With ``durable`` its log of jobs is synced with each of them."""
        keeps = ("-b", "{folder}", "-f", "0")
        keeps_there = ("-b", "/data", "-f", "0")
        return Launch(
            argv=("beanstalkd", "-l", "127.0.0.1", "-p", "{port}", *(keeps if durable else ())),
            package="beanstalkd",
            image="jetable/beanstalkd:1",
            command=("beanstalkd", "-l", "0.0.0.0", "-p", str(_PORT), *(keeps_there if durable else ())),  # noqa: S104  a container's own
            volume="/data" if durable else "",
            port=_PORT,
        )

    def url(self, host: str, port: int, folder: Path) -> str:  # noqa: ARG002  it is reached by its port
        """``beanstalk://127.0.0.1:11300``."""
        return f"beanstalk://{host}:{port}"

    def own(self, url: str, mark: str) -> str:  # noqa: ARG002  its tubes have the mark in their names
        """The same: there are only tubes."""
        return url

    def open(self, url: str) -> Client:
        """A client of the beanstalkd at ``url``."""
        with from_extra("beanstalkd", "beanstalkd needs the Python package greenstalk"):
            import greenstalk  # noqa: F401, PLC0415  only scenarios with this service need it
        return _Client(url, self._spans)


BEANSTALKD: Final = _Beanstalkd()


class _Client:
    def __init__(self, url: str, spans: _Spans) -> None:
        parts = urlsplit(url)
        self._address = parts.hostname or "127.0.0.1", parts.port or _PORT
        self._url = url
        self._spans = spans
        self._socket: socket.socket | None = None
        self._link: greenstalk.Client[bytes] | None = None
        self._tube = ""

    def link(self, tube: str = "") -> greenstalk.Client[bytes]:
        """A connection that the other side has not closed, which puts into ``tube`` and reserves from it. Raises `ServiceError`."""
        import greenstalk  # noqa: PLC0415  as in open

        if self._socket is not None and _said_something(self._socket):
            self.close()
        try:
            if self._link is None:
                self._socket = socket.create_connection(self._address, timeout=TIMEOUT_S)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._link, self._tube = greenstalk.Client(self._socket, encoding=None), "default"
            if tube and tube != self._tube:
                self._link.use(tube)
                self._link.watch(tube)
                self._link.ignore(self._tube)
                self._tube = tube
        except _failures() as error:
            raise self.failed(error) from error
        return self._link

    def call(self, ask: Callable[[greenstalk.Client[bytes]], T], tube: str = "") -> T | None:
        """What ``ask`` returns; None when beanstalkd answers that there is no such thing. Raises `ServiceError`."""
        import greenstalk  # noqa: PLC0415  as in open

        link = self.link(tube)
        try:
            return ask(link)
        except (greenstalk.NotFoundError, greenstalk.TimedOutError):
            return None
        except _failures() as error:
            raise self.failed(error) from error

    def reserve(self, tube: str) -> greenstalk.Job[bytes] | None:
        """A job that is ready, or None."""
        return self.call(lambda link: link.reserve(0), tube)

    def peek(self, state: str, tube: str) -> greenstalk.Job[bytes] | None:
        """The next job of the tube in one of `_STATES` but reserved, or None."""
        return self.call(lambda link: {"ready": link.peek_ready, "delayed": link.peek_delayed, "buried": link.peek_buried}[state](), tube)

    def stats_of(self, number: int) -> greenstalk.StatsJob | None:
        """What is told of a job, or None when it is no more."""
        return self.call(lambda link: link.stats_job(number))

    def delete(self, number: int) -> None:
        """Delete a job that is still there and that nobody else holds."""
        self.call(lambda link: link.delete(number))

    def put(self, tube: str, body: bytes, options: Mapping[str, int]) -> None:
        """Put one job and await the answer."""
        try:
            link = self.link(tube)
        except ServiceError as error:
            raise PutRefusedError(str(error)) from error
        try:
            number = link.put(body, **options)
        except _failures() as error:
            if (buried := getattr(error, "id", None)) is not None:
                self._spans.note(self._url, tube, buried)
            told = self.failed(error)
            if type(error).__name__ in _REFUSALS:
                raise PutRefusedError(str(told)) from error
            raise told from error
        self._spans.note(self._url, tube, number)

    def ids(self, tube: str) -> range:
        """The ids that were put into the tube from here, and some others; the newest first."""
        return self._spans.newest_first(self._url, tube)

    def failed(self, error: Exception) -> ServiceError:
        """Leave the connection, as nobody knows what would be read from it next, and say what went wrong."""
        self.close()
        host, port = self._address
        return ServiceError(f"beanstalkd at {host}:{port}: {_words(error)}")

    def ready(self) -> str:
        """Its version."""
        stats = self.call(lambda link: link.stats())
        if stats is None or stats["draining"] == "true":
            raise ServiceError("beanstalkd is in drain mode and takes no new jobs")
        return str(stats["version"])

    def cut_connections(self) -> int:
        """It has no command for that."""
        raise ServiceError("beanstalkd can't be told to close its clients' connections")

    def queue(self, spec: QueueSpec) -> Queue:
        """A tube of jobs."""
        return _Tube(self, _tube(spec.name, ("jobs", "queue")), _options(spec.options))

    def effects(self, spec: DoneSpec) -> ServiceEffects:
        """A tube of results."""
        if spec.kind != "queue":
            raise KeyOfScenarioError(("jobs", "done", spec.kind), f"beanstalkd has no {spec.kind}; write queue: with the name of a tube")
        return _Results(self, _tube(spec.name, ("jobs", "done", "queue")))

    def close(self) -> None:
        """Close the connection, which gives back what it has reserved."""
        if self._link is not None:
            with suppress(OSError):
                self._link.close()
        if self._socket is not None:
            self._socket.close()
        self._link = self._socket = None


class _Tube:
    def __init__(self, client: _Client, tube: str, options: Mapping[str, int]) -> None:
        self._client = client
        self._tube = tube
        self._options = options
        self._left: tuple[int, ...] = ()

    def declare(self) -> None:
        """A tube is there when it is named."""
        self._client.link(self._tube)

    def put(self, job: str, body: str) -> None:  # noqa: ARG002  the id is in the body
        """Put it; ``INSERTED`` confirms it, which with ``durable`` is said once it is on disk."""
        self._client.put(self._tube, body.encode(), self._options)

    def look(self) -> Look:
        """What the tube says of itself; one that nobody uses does not exist, and is empty."""
        stats = self._client.call(lambda link: link.stats_tube(self._tube))
        if stats is None:
            return Look(ready=0, held=0)
        return Look(
            ready=stats["current-jobs-ready"],
            held=stats["current-jobs-reserved"],
            delayed=stats["current-jobs-delayed"],
            set_aside=stats["current-jobs-buried"],
        )

    def told(self, limit: int) -> Sequence[Told] | None:
        """Each job that is found by its id; None when in ``TIMEOUT_S`` fewer were found than there are."""
        end_s = time.monotonic() + TIMEOUT_S
        asked: set[int] = set()
        found: dict[int, Told] = {}
        wanted = 0
        for number in self._candidates():
            if number in asked:
                continue
            if len(asked) % _RECOUNT_EVERY == 0 or len(found) >= wanted:
                wanted = min(limit, self._count())
            if len(found) >= wanted:
                break
            if time.monotonic() > end_s:
                return None
            asked.add(number)
            if (told := self._told_of(number)) is not None:
                found[number] = told
        self._left = tuple(found)
        return [found[number] for number in sorted(found)]

    def take_rest(self, limit: int) -> Sequence[Told]:
        """What is left; where it can't be found, ready jobs are reserved, looked at, and given back when the connection ends."""
        told = self.told(limit)
        return self._taken(limit) if told is None else told

    def remove(self) -> None:
        """Delete every job of it that nobody holds; a tube without jobs and clients is gone."""
        _empty(self._client, self._tube)
        if held := self.look().held:
            raise ServiceError(f"{held} jobs of the tube {self._tube} are reserved by others")

    def _taken(self, limit: int) -> Sequence[Told]:
        total = self._count()
        rest = [told for number in self._peeked("delayed", "buried") if (told := self._told_of(number)) is not None]
        try:
            while len(rest) < limit and (job := self._client.reserve(self._tube)) is not None:
                stats = self._client.stats_of(job.id)
                before = stats["reserves"] - 1 if stats is not None else -1
                rest.append(Told(text=_text(job.body), state=READY, deliveries=before, redelivered=before > 1))
        finally:
            self._client.close()
        if len(rest) < min(limit, total):
            raise ServiceError(f"beanstalkd shows {len(rest)} of the {total} jobs in the tube {self._tube}")
        return rest

    def _count(self) -> int:
        look = self.look()
        return look.ready + look.held + look.delayed + look.set_aside

    def _candidates(self) -> Iterator[int]:
        """Ids in which to look for jobs that are left, the likeliest first; without end."""
        return chain(self._left, self._peeked("ready", "delayed", "buried"), self._client.ids(self._tube), count(1))

    def _peeked(self, *states: str) -> Iterator[int]:
        for state in states:
            job = self._client.peek(state, self._tube)
            if job is not None:
                yield job.id

    def _told_of(self, number: int) -> Told | None:
        stats = self._client.stats_of(number)
        if stats is None or stats["tube"] != self._tube:
            return None
        job = self._client.call(lambda link: link.peek(number))
        if job is None:
            return None
        waits = stats["state"] in ("reserved", "delayed")
        return Told(
            text=_text(job.body),
            state=_STATES[stats["state"]],
            until_s=max(0.0, stats["time-left"] + 1.0) if waits else None,  # whole seconds, rounded down; less than 0 when it is overdue
            deliveries=stats["reserves"],
            redelivered=stats["reserves"] > 1,
        )


class _Results:
    """Each job of a tube of results is an effect; it is taken out."""

    counts = True

    def __init__(self, client: _Client, tube: str) -> None:
        self._client = client
        self._tube = tube
        self._handed_out: set[tuple[int, str]] = set()
        self._seen = False
        self.absent = ""  # says so until a first result was there

    def new(self) -> Sequence[str]:
        """Reserve and delete what is there. One whose deletion was not confirmed may come again, and is not told again."""
        texts: list[str] = []
        end_s = time.monotonic() + TIMEOUT_S
        while len(texts) < _MOST_AT_ONCE and time.monotonic() < end_s:
            try:
                job = self._client.reserve(self._tube)
            except ServiceError:
                if texts:
                    break  # the next call will say so, and these are not lost
                raise
            if job is None:
                break
            self._seen = True
            this = job.id, _text(job.body)
            if this not in self._handed_out:
                texts.append(this[1])
            self._handed_out.add(this)
            with suppress(ServiceError):
                self._client.delete(job.id)
                self._handed_out.discard(this)
        self.absent = "" if self._seen else f"nothing was ever in the tube {self._tube}"
        return texts

    def remove(self) -> None:
        """Delete what is in it."""
        _empty(self._client, self._tube)


def _empty(client: _Client, tube: str) -> None:
    """Delete all jobs of a tube that nobody holds. Raises `ServiceError`, also when ``TIMEOUT_S`` was not enough."""
    end_s = time.monotonic() + TIMEOUT_S
    for state in ("ready", "delayed", "buried"):
        while (job := client.peek(state, tube)) is not None:
            if time.monotonic() > end_s:
                raise ServiceError(f"beanstalkd: the tube {tube} still has jobs after {TIMEOUT_S:g} s of deleting them")
            client.delete(job.id)


def _failures() -> tuple[type[Exception], ...]:
    """What greenstalk raises: besides its own errors those of the socket, and of an answer that ends in the middle."""
    import greenstalk  # noqa: PLC0415  as in open

    return greenstalk.Error, OSError, AssertionError, ValueError


def _words(error: Exception) -> str:
    name = type(error).__name__
    if name in _WORDS:
        return _WORDS[name]
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT_S:g} s"
    if isinstance(error, AssertionError):
        return "its answer ended in the middle"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or name


def _said_something(connection: socket.socket) -> bool:
    """Whether there is something to read on a connection on which nothing was asked: its end."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


def _text(body: bytes) -> str:
    return body.decode(errors="replace")


def _tube(name: str, key: tuple[str, ...]) -> str:
    if not _TUBE.fullmatch(name):
        raise KeyOfScenarioError(key, f"{quoted(name)} is no name for a tube; use letters, digits and - + / ; . $ _ ( )")
    return name


def _options(written: Mapping[str, str | int | bool]) -> Mapping[str, int]:
    options = dict(_OPTIONS)
    for name, value in written.items():
        key = "jobs", "options", name
        if name not in _OPTIONS:
            near = did_you_mean(name, _OPTIONS)
            raise KeyOfScenarioError(key, f"a tube knows no option {quoted(name)}; there is {all_of(_OPTIONS)}{near}")
        lowest = 1 if name == "ttr" else 0
        if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= _HIGHEST:
            raise KeyOfScenarioError(key, f"must be a whole number from {lowest} to {_HIGHEST}, not {quoted(str(value))}")
        options[name] = value
    return options
