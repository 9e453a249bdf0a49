"""What the workloads of a scenario can get wrong about everything else: whom they ask, and which service is their store.

Like `harness.scenario.queues` this looks at a scenario as plain data, which may be wrong in any other way as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from harness.scenario.load import Request, holes_in, long_request
from harness.scenario.queues import Placed, kind_of, mapping, process_that, unknown_service
from harness.scenario.services import SERVICE_KINDS
from harness.scenario.state import WITH_REQUESTS, WITHOUT_MEANING
from harness.strict_model import Complaint, respelled
from harness.template import KEPT, OF_STATE
from harness.words import all_of, did_you_mean, one_of, quoted

STORES: Final[Mapping[str, tuple[str, ...]]] = {"query": ("sqlite", "postgres"), "key": ("redis",)}
"""Which kinds of service are asked by what."""


def asked_of(long: Mapping[str, Any], target: Mapping[str, object]) -> str | None:
    """The process type that takes the load, or whose state is asked for; None where it can't be told, empty without either."""
    load, state = long.get("load"), mapping(long.get("state"))
    if isinstance(load, Mapping) and (loaded := process_that(load.get("process"), target, "web")) is not None:
        return loaded
    if not isinstance(load, Mapping) and not state:
        return ""
    named = (mapping(workload).get("process") for workload in state.values())
    return process_that(next((name for name in named if name is not None), None), target, "web")


def is_busy(long: Mapping[str, Any]) -> bool:
    """Whether requests are sent while steps are done: those of users, or operations on state."""
    state = mapping(long.get("state"))
    return isinstance(long.get("load"), Mapping) or any(mapping(workload).get("model") not in WITH_REQUESTS for workload in state.values())


def state_complaints(long: Mapping[str, Any], target: Mapping[str, Any]) -> Iterator[Complaint]:
    """Whom workloads ask, and what they say of services."""
    state = mapping(long.get("state"))
    if state and asked_of(long, target) is None and not isinstance(long.get("load"), Mapping):
        yield Complaint(("state", next(iter(state))), f"which process type is asked? Write process: with {one_of(target)}", "key")
    yield from _process_complaints(long, state, target)
    for name, workload in state.items():
        store = mapping(workload).get("store")
        if isinstance(store, Mapping) and "store" not in WITHOUT_MEANING.get(str(mapping(workload).get("model")), ()):
            for complaint in _store_complaints(store, long.get("services")):
                yield complaint._replace(path=("state", name, "store", *complaint.path))


def _process_complaints(long: Mapping[str, Any], state: Mapping[str, Any], target: Mapping[str, Any]) -> Iterator[Complaint]:
    """All clients ask the process type that takes the load."""
    load = long.get("load")
    main = process_that(load.get("process"), target, "web") if isinstance(load, Mapping) else None
    who = "the load goes to"
    for name, workload in state.items():
        process = mapping(workload).get("process")
        if not isinstance(process, str) or process not in target:
            continue
        if main is None:
            main, who = process, f"{name} asks"
        elif process != main and main in target:
            yield Complaint(
                ("state", name, "process"),
                f"{who} {quoted(main)}, and all clients ask one process type; write {main} here, or process: {process} there",
            )


def _store_complaints(store: Mapping[str, Any], written: object) -> Iterator[Complaint]:
    """The service that is the store, and whether it can be asked in that way."""
    how = next((key for key in STORES if store.get(key) is not None), None)
    services, named = mapping(written), store.get("service")
    if not services:
        if written in (None, {}):
            kinds = one_of(STORES[how] if how else [kind for kinds in STORES.values() for kind in kinds])
            yield Complaint((), f"needs a service that is the store; write services: with {kinds}", "key")
        return
    if isinstance(named, str) and named not in services:
        yield Complaint(("service",), unknown_service(named, services))
        return
    if named is None and len(services) > 1:
        yield Complaint((), f"which service is the store? Write service: with {one_of(services)}", "key")
        return
    name = str(named or next(iter(services)))
    kind = kind_of(name, services)
    if how and kind in SERVICE_KINDS and kind not in STORES[how]:
        other = next((f"; {key} is for {kind}" for key, kinds in STORES.items() if kind in kinds), "")
        yield Complaint((how,), f"is for {one_of(STORES[how])}, and {name} is {kind}{other}; name another service: beside it", "key")


def hand_over_complaints(long: Mapping[str, Any], target: Mapping[str, Any], steps: Sequence[Placed]) -> Iterator[Complaint]:
    """Steps that hand over what is not there, or what can't be handed over, or from whom nobody asks."""
    state = mapping(long.get("state"))
    for path, step in steps:
        options = mapping(step.get("hand_over"))
        place = (*path, "hand_over")
        for key in ("journey", "state"):
            named = options.get(key)
            if isinstance(named, str) and (what := _cant_be_handed_over(key, named, state)):
                yield Complaint((*place, key), what)
        process, asked = options.get("process"), asked_of(long, target)
        if isinstance(process, str) and process in target and asked and process != asked:
            yield Complaint((*place, "process"), f"state is asked of {asked}, so nothing begins at {process}; remove it")


def _cant_be_handed_over(key: str, named: str, state: Mapping[str, Any]) -> str:
    """Why a step can't hand over what it names; empty when it can."""
    fit = [name for name, workload in state.items() if (mapping(workload).get("model") == "journey") == (key == "journey")]
    fit = [name for name in fit if mapping(state[name]).get("model") != "same"]
    if named in fit:
        return ""
    if named not in state:
        has = f"the scenario has {all_of(state)}" if state else "the scenario has no state:"
        return f"unknown workload {quoted(named)}{did_you_mean(named, fit or state)}; {has}"
    if mapping(state[named]).get("model") == "same":
        return f"{named} writes nothing and has no session, so there is nothing to hand over; name another workload"
    other = "state" if key == "journey" else "journey"
    return f"{named} is {'no' if key == 'journey' else 'a'} journey; write {other}: {named}"


def placeholder_complaints(long: Mapping[str, Any]) -> Iterator[Complaint]:
    """Placeholders of state in the requests of users, where they stand for nothing."""
    requests = mapping(long.get("load")).get("requests")
    for number, written in enumerate(requests if isinstance(requests, list) else []):
        spelled = Request.written_keys(written)
        for path, hole in holes_in(long_request(written)):
            kind = hole.partition(":")[0]
            if kind in OF_STATE or kind == KEPT:
                where = "operations" if kind in OF_STATE else "journeys"
                complaint = respelled(Complaint(path, f"{{{hole}}} has a value only in {where} under state"), spelled)
                yield complaint._replace(path=("load", "requests", number, *complaint.path))
