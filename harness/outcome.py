"""What happened on the wire, and what it means: the one table that turns evidence into the outcome of a request.

An *attempt* is one request on one connection to one replica; an *op* is what the user of the app wanted, with all of its attempts.
The load client reports how far an attempt got (`Reached`) and how it ended (`Ending`, from exception type and errno, never from
message text). `TABLE` gives the outcome, whether the app may have executed the request, and when it may be sent again. The rows are
tried from top to bottom and the first that fits counts; together they cover every combination (a property test holds that).

Sources: RFC 9110 section 9.2.2 (idempotent methods), RFC 9112 section 9.3.1 (retrying on a closed connection), Jepsen's error table
for the difference between *surely not executed* and *unknown*.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum

IDEMPOTENT_METHODS = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})
"""Methods whose repetition has the effect of one request (RFC 9110, section 9.2.2)."""


class Reached(IntEnum):
    """How far an attempt got before it ended."""

    NOTHING = 0  # no connection
    CONNECTED = 1  # connected, no byte of the request left
    SENT = 2  # at least one byte of the request left, no byte of an answer came
    HEADERS = 3  # answer began, its headers are not whole
    BODY = 4  # headers are whole, the body is not
    ANSWERED = 5  # the whole answer is here


class Ending(StrEnum):
    """How an attempt ended, as the operating system or the clock told it."""

    ANSWERED = "answered"  # the whole answer came; of a stream, all that its client wanted
    ENDED = "ended"  # the server ended a stream in order, before its client wanted
    REFUSED = "refused"  # ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, or no replica to go to
    CLOSED = "closed"  # FIN, ECONNRESET or EPIPE
    TIMEOUT = "timeout"  # the scenario's time-out passed
    GARBLED = "garbled"  # what came is not HTTP
    LOAD_ENDED = "load-ended"  # the load was stopped while the attempt was under way
    OWN_TROUBLE = "own-trouble"  # the load's own machine had no port, file or memory left: nothing was asked of the app


class Executed(StrEnum):
    """Whether the app executed the request, as far as the client can know."""

    NO = "no"
    UNKNOWN = "unknown"
    YES = "yes"


class Outcome(StrEnum):
    """The outcome of an attempt, or of an op."""

    OK = "ok"
    REDIRECTED = "redirected"  # op: refused by one replica, answered by another
    RETRIED = "retried"  # op: a permitted retry of an idempotent request was answered
    RESUMED = "resumed"  # op: the connection of a stream ended, its client connected again, and the stream went on
    STALE = "stale-connection"  # attempt: the reused connection was closed before the first byte left
    REFUSED = "refused"  # attempt: surely not executed
    ENDED = "stream-ended"  # attempt: the server ended the connection of a stream in order
    CUT = "stream-cut"  # attempt: the connection of a stream ended without that
    UNAVAILABLE = "unavailable"  # op: refused, and nowhere else to go
    CLOSED = "closed-before-response"
    TRUNCATED = "truncated"
    TIMEOUT = "timeout"
    REJECTED = "rejected"
    ERROR = "error"
    WRONG = "wrong"
    UNFINISHED = "unfinished"

    @property
    def dropped(self) -> bool:
        """True for every op outcome that the app's user would call a failure."""
        return self not in _NOT_DROPPED


_NOT_DROPPED = frozenset({Outcome.OK, Outcome.REDIRECTED, Outcome.RETRIED, Outcome.RESUMED, Outcome.STALE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """The evidence about one attempt.

    Attributes:
        reached: How far it got.
        ending: How it ended.
        reused: True when the connection had carried a request before.
        status: HTTP status of a whole answer, else 0.
        as_expected: Status and body are what the scenario expects; false unless the answer is whole.
        stream: It was one connection of a stream, whose client connects again when it ends.
    """

    reached: Reached
    ending: Ending
    reused: bool = False
    status: int = 0
    as_expected: bool = False
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: when ``fits(wire)``, the attempt's outcome is ``outcome``."""

    sentence: str
    fits: Callable[[Wire], bool]
    outcome: Outcome
    executed: Executed


OWN_TROUBLE: frozenset[str] = frozenset({"EADDRNOTAVAIL", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"})
"""Names of the errnos that say so (connect(2), socket(2)); they are no refusal of the app's."""

TABLE: tuple[Row, ...] = (
    Row(
        "The load could not send: its own machine had no port, file or memory left.",
        lambda w: w.ending is Ending.OWN_TROUBLE,
        Outcome.UNFINISHED,
        Executed.UNKNOWN,
    ),
    Row(
        "The load ended before a byte left: never silently dropped from the books.",
        lambda w: w.ending is Ending.LOAD_ENDED and w.reached <= Reached.CONNECTED,
        Outcome.UNFINISHED,
        Executed.NO,
    ),
    Row(
        "The load ended first: never silently dropped from the books.",
        lambda w: w.ending is Ending.LOAD_ENDED,
        Outcome.UNFINISHED,
        Executed.UNKNOWN,
    ),
    Row(
        "What came is not HTTP.",
        lambda w: w.ending is Ending.GARBLED,
        Outcome.WRONG,
        Executed.UNKNOWN,
    ),
    Row(
        "The server ended the connection of a stream in order.",
        lambda w: w.ending is Ending.ENDED,
        Outcome.ENDED,
        Executed.UNKNOWN,
    ),
    Row(
        "The connection of a stream ended and nothing said so: its client, as a browser, connects again.",
        lambda w: w.stream and w.ending is Ending.CLOSED and w.reached >= Reached.SENT,
        Outcome.CUT,
        Executed.UNKNOWN,
    ),
    Row(
        "A whole answer as expected.",
        lambda w: w.ending is Ending.ANSWERED and w.as_expected,
        Outcome.OK,
        Executed.YES,
    ),
    Row(
        "503 or 429: the app says no for now.",
        lambda w: w.ending is Ending.ANSWERED and w.status in (429, 503),
        Outcome.REJECTED,
        Executed.UNKNOWN,
    ),
    Row(
        "Another 5xx: the app says that it failed.",
        lambda w: w.ending is Ending.ANSWERED and w.status >= 500,
        Outcome.ERROR,
        Executed.UNKNOWN,
    ),
    Row(
        "A whole answer that does not match what was expected.",
        lambda w: w.ending is Ending.ANSWERED,
        Outcome.WRONG,
        Executed.YES,
    ),
    Row(
        "No connection: refused, unreachable, or not connected in time.",
        lambda w: w.reached is Reached.NOTHING,
        Outcome.REFUSED,
        Executed.NO,
    ),
    Row(
        "A reused connection was already closed by the peer before the first byte left.",
        lambda w: w.reached is Reached.CONNECTED and w.reused and w.ending in (Ending.CLOSED, Ending.REFUSED),
        Outcome.STALE,
        Executed.NO,
    ),
    Row(
        "A new connection was closed before the first byte left.",
        lambda w: w.reached is Reached.CONNECTED and w.ending in (Ending.CLOSED, Ending.REFUSED),
        Outcome.REFUSED,
        Executed.NO,
    ),
    Row(
        "Connected, but no byte could be sent in time.",
        lambda w: w.reached is Reached.CONNECTED,
        Outcome.TIMEOUT,
        Executed.NO,
    ),
    Row(
        "No whole answer in time.",
        lambda w: w.ending is Ending.TIMEOUT,
        Outcome.TIMEOUT,
        Executed.UNKNOWN,
    ),
    Row(
        "Bytes left, then FIN or RST before any byte of a response.",
        lambda w: w.reached is Reached.SENT,
        Outcome.CLOSED,
        Executed.UNKNOWN,
    ),
    Row(
        "The response was cut: in its headers, in its body or in its chunking.",
        lambda w: w.reached >= Reached.HEADERS,
        Outcome.TRUNCATED,
        Executed.UNKNOWN,
    ),
)


def classify(wire: Wire) -> Row:
    """The row of `TABLE` that fits ``wire``; there is always exactly one first."""
    return next(row for row in TABLE if row.fits(wire))


def may_send_again(row: Row, *, method: str, retries_left: int) -> bool:
    """Whether the client sends an op again after an attempt that ended as ``row`` says.

    What surely was not executed may go to another replica or on a new connection, as a load balancer would do. Anything else is sent
    again only when the scenario allows retries and the method is idempotent (RFC 9110, section 9.2.2).
    """
    if row.outcome in (Outcome.OK, Outcome.WRONG, Outcome.UNFINISHED):
        return False
    if row.executed is Executed.NO:
        return True
    return retries_left > 0 and method in IDEMPOTENT_METHODS


def of_op(attempts: Sequence[Outcome], *, closed: bool) -> Outcome:
    """The outcome of an op from those of its attempts in order; ``closed`` is false when the ledger ends in the middle of it."""
    if not attempts or not closed:
        return Outcome.UNFINISHED
    last = attempts[-1]
    if last is Outcome.OK:
        earlier = set(attempts[:-1])
        if earlier & {Outcome.ENDED, Outcome.CUT}:
            return Outcome.RESUMED
        if earlier - {Outcome.STALE, Outcome.REFUSED}:
            return Outcome.RETRIED
        return Outcome.REDIRECTED if Outcome.REFUSED in earlier else Outcome.OK
    return Outcome.UNAVAILABLE if last in (Outcome.REFUSED, Outcome.STALE) else last
