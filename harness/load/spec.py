"""What the load process is told: one frozen record, sent as JSON.

The load process never sees a scenario: it gets the few facts that it needs, so that it can start without pydantic and YAML, and so that
a load can be driven without a scenario file (the tests and the benchmark do so).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, Self

import msgspec

from harness.state_history import OF_MANY

if TYPE_CHECKING:
    from harness.scenario import Operation, Request, Scenario, Workload

LONGEST_S: Final = 24 * 3600.0
"""The load process lives no longer, should nobody end it."""


class StreamSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What makes a request a stream.

    Attributes:
        kind: ``sse`` or ``websocket``.
        for_s: How long one subscription lasts, from its first open connection.
    """

    kind: str
    for_s: float


class RequestSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of request. Texts are templates of `harness.template`.

    Attributes:
        method: The HTTP method.
        path: Path and query.
        headers: Names and values.
        json: The body as JSON text whose texts are templates; empty for none.
        body: The body as text, where it is not JSON; empty for none.
        weight: How often it is chosen, relative to the others.
        statuses: What a good answer's status is; empty for 200 to 399.
        body_contains: What a good answer's body contains; empty for anything.
        body_is: What a good answer's body is from its first byte to its last; None for anything.
        idempotent: It may be sent again when nobody knows whether it was executed, as far as ``retries`` allows.
        stream: What makes it a stream; None for a plain request.
    """

    method: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()
    json: str = ""
    body: str = ""
    weight: int = 1
    statuses: tuple[int, ...] = ()
    body_contains: str = ""
    body_is: str | None = None
    idempotent: bool = False
    stream: StreamSpec | None = None

    @classmethod
    def of(cls, request: Request) -> Self:
        """The facts of one request of a scenario."""
        return cls(
            method=request.method,
            path=request.path,
            headers=tuple(request.headers.items()),
            json=json.dumps(request.json_body, ensure_ascii=False) if request.json_body is not None else "",
            body=request.body or "",
            weight=request.weight,
            statuses=request.expect.status,
            body_contains=request.expect.body_contains or "",
            body_is=request.expect.body,
            idempotent=request.idempotent,
            stream=StreamSpec(kind=request.stream.kind, for_s=request.stream.lasts.s) if request.stream is not None else None,
        )


class OperationSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One operation on state: the request that does it, and what its answer tells.

    Attributes:
        f: What it does, as in `harness.state_history.StateAsked`.
        request: How it is asked for. Its statuses are all that the app may answer, those below included.
        answer: Where in the answer the value stands, or the values; empty when it tells none.
        many: All values count, as in a set and a log.
        nothing: The statuses by which the app says that there is nothing.
        next: Where the place of the next page stands; empty when one page is all.
        keyed: It holds an idempotency key, so it may be sent again when nobody knows whether it was executed.
    """

    f: str
    request: RequestSpec
    answer: str = ""
    many: bool = False
    nothing: tuple[int, ...] = ()
    next: str = ""
    keyed: bool = False


class StateSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One workload: who does which operations on how many keys.

    Attributes:
        name: Its name in the scenario.
        operations: What is done, chosen by weight.
        keys: How many keys there are.
        hot: The share of operations on the first key; 0 when all are alike.
        clients: How many clients there are.
        pause_s: How long a client waits between two operations.
        refused: The statuses by which the app says that it did not happen.
    """

    name: str
    operations: tuple[OperationSpec, ...]
    keys: int
    hot: float
    clients: int
    pause_s: float
    refused: tuple[int, ...]

    @classmethod
    def of(cls, name: str, workload: Workload) -> Self:
        """The facts of one workload of a scenario."""
        return cls(
            name=name,
            operations=tuple(_operation(f, operation, workload) for f, operation in workload.operations.items()),
            keys=workload.keys,
            hot=workload.hot_share,
            clients=workload.clients,
            pause_s=workload.pause.s,
            refused=workload.refused,
        )


KEYED: Final = "idempotency-key"
"""The header of a request that the app executes once, however often it comes (draft-ietf-httpapi-idempotency-key-header)."""


def _operation(f: str, operation: Operation, workload: Workload) -> OperationSpec:
    request = RequestSpec.of(operation)
    good = operation.expect.status or tuple(range(200, 300))  # a redirect does nothing
    return OperationSpec(
        f=f,
        request=msgspec.structs.replace(request, statuses=tuple(dict.fromkeys((*good, *operation.nothing, *workload.refused)))),
        answer=operation.answer or "",
        many=f == "read" and workload.model in OF_MANY,
        nothing=operation.nothing,
        next=operation.next or "",
        keyed=any(name.lower() == KEYED for name in operation.headers),
    )


class TlsSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the app's certificate: the file of its authority, empty for nothing, and the name that it is made out to."""

    ca: str = ""
    server_name: str = ""


class LoadSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The whole load.

    Attributes:
        seed: The run's seed; the same seed makes the same requests.
        requests: What is sent, chosen by weight.
        users: Closed model: users that each wait for their answer. Open model: ops that may be under way at once.
        rate_per_s: Open model: ops that begin in each second, whether or not earlier ones are answered. 0: closed model.
        think_s: Closed model: a user's pause between two ops.
        timeout_s: What one attempt may take, from connecting to the last byte of its answer.
        keep_alive: Use a connection for more than one request.
        retries: How often an idempotent op may be sent again when nobody knows whether it was executed.
        tls: How TLS is spoken to the app; None where it speaks plain HTTP.
        longest_s: The load process ends by itself after so long.
        state: What clients do to the app's state beside the users.
        mark: What all values and keys of state carry, so that nothing of another run is taken for them.
    """

    seed: int
    requests: tuple[RequestSpec, ...]
    users: int = 10
    rate_per_s: float = 0.0
    think_s: float = 0.0
    timeout_s: float = 10.0
    keep_alive: bool = True
    retries: int = 0
    tls: TlsSpec | None = None
    longest_s: float = LONGEST_S
    state: tuple[StateSpec, ...] = ()
    mark: str = ""

    @classmethod
    def of(cls, scenario: Scenario, *, seed: int, mark: str = "") -> Self:
        """The load of ``scenario``, drawn from ``seed``; ``mark`` is the run's."""
        load = scenario.load
        tls = scenario.target[scenario.load_process].tls
        return cls(
            seed=seed,
            requests=tuple(RequestSpec.of(request) for request in load.requests),
            users=load.users if load.requests else 0,
            rate_per_s=load.rate.per_s if load.rate is not None else 0.0,
            think_s=load.think_time.s,
            timeout_s=load.timeout.s,
            keep_alive=load.keep_alive,
            retries=load.retries,
            tls=TlsSpec(ca=tls.ca or "", server_name=tls.server_name or "") if tls is not None else None,
            state=tuple(StateSpec.of(name, workload) for name, workload in scenario.state.items() if workload.operations),
            mark=mark,
        )

    @property
    def clients(self) -> int:
        """How many clients there are in all workloads."""
        return sum(workload.clients for workload in self.state)


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What the load process gets on its way: the load, its ledger's path, and where the control server listens (port 0: there is none)."""

    load: LoadSpec
    ledger: str
    control_port: int = 0
