"""Things of a run on a Docker engine: containers, networks, volumes and images that were built for it, found by their labels.

A run that makes such things notes the engine's url in its scratch folder first (`harness.marks.record_daemon`), and forgets it here when
nothing is left there. So a run on processes never knocks at a socket, and one whose engine went away stays on record until it is back.

Of a run that is looked at from elsewhere, the label of the owner must tell whether it still lives, and it only can within one pid
namespace and one boot. A thing of another namespace is never touched. One of another boot is dead, but only if it is certain that it was
a boot of this machine. Where that can't be known, nothing is touched.

A builder that is cut off can leave an image that names its owner and no run yet. It goes with any run of that owner; where nothing else is
left of those, it stands for itself, under the name of its owner (`harness.cleanup.base.UNFINISHED`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness import dockerd, marks, proctable
from harness.cleanup.base import LOOK_AGAIN_S, OF_EARLIER_BOOT, UNFINISHED, Order, Swept, Trace
from harness.cleanup.folders import is_ours
from harness.clock import NS_PER_S
from harness.errors import JetableError

if TYPE_CHECKING:
    from docker import APIClient

_LOST_COUNT: Final = "; where nobody is on it, only a restart of the engine makes it forget them"
_LOOK_WITHIN_S: Final = 5
_AT_ONCE: Final = 8
_UNTAGGED: Final = "<none>:<none>"
"""How older engines list the name of an image without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """Something with our labels.

    Attributes:
        kind: A key of ``_REMOVE``.
        key: What the engine calls it.
        name: What a person calls it.
        run_id: Its run; empty for an unfinished image.
        made_by: Its owner; None when it does not say.
        tagged: It is an image with a name that somebody gave it.
    """

    kind: str
    key: str
    name: str
    run_id: str
    made_by: marks.ScratchOwner | None
    tagged: bool

    @property
    def of(self) -> str:
        """What it is left of: its run, or the unfinished build of its owner; empty when neither can be said.

        Only a finished image gets a name from a builder, so who gave an unfinished one its name wants to keep it.
        """
        if self.run_id or self.made_by is None or self.tagged:
            return self.run_id
        return f"{UNFINISHED}{self.made_by.owner} {self.made_by.namespace} {self.made_by.boot}"

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


_REMOVE: Final[Mapping[str, Callable[[APIClient, str], object]]] = {
    "container": lambda api, key: api.remove_container(key, v=True, force=True),
    "network": lambda api, key: api.remove_network(key),
    "volume": lambda api, key: api.remove_volume(key, force=True),
    "image": lambda api, key: api.remove_image(key, force=True, noprune=True),
}
"""In the order of removal: what holds something goes before it. An image's layers stay, they are the cache of the next build."""


class DockerThings:
    """What has the label of a run on a Docker engine."""

    def traces(self) -> Mapping[str, Trace]:
        """On the engine that the environment names and on those that scratch folders note. One that does not answer shows nothing."""
        found: dict[str, Trace] = {}
        for url in _urls(_noted_everywhere()):
            try:
                with _connected(url, _LOOK_WITHIN_S) as daemon:
                    things, owners = _things(daemon), _Owners(daemon)
                    known = [(thing, owner) for thing in things if thing.of and (owner := owners.of(thing))]
            except JetableError:
                continue
            for thing, owner in known:
                before = found.get(thing.of, Trace(owners=frozenset(), things=()))
                words = tuple(dict.fromkeys((*before.things, str(thing))))
                found[thing.of] = Trace(owners=before.owners | {owner}, things=words)
        return found

    def remove(self, order: Order) -> Swept:
        """Remove from the noted engine; of a run of which only labels may be left, also from the one that the environment names.

        An unfinished build has no folder that could note its engine, so it is looked for where `traces` found it.
        """
        scratch = marks.scratch_folder(order.run_id)
        noted = marks.recorded_daemon(scratch) if is_ours(scratch) else ""
        removed: list[str] = []
        left: list[str] = []
        places = _noted_everywhere() if order.run_id.startswith(UNFINISHED) else [noted]
        urls = [url for url in places if url] if order.fresh else _urls(places)
        for url in urls:
            remaining_s = (order.deadline_ns - order.clock.now_ns()) / NS_PER_S
            try:
                with _connected(url, max(1, round(remaining_s))) as daemon:
                    swept = _sweep(daemon, order)
            except JetableError as error:
                if url == noted:
                    left.append(f"what it made on the Docker engine at {url}: {error}")
                continue
            removed += swept.removed
            left += swept.left
        if noted and not left:
            marks.forget_daemon(scratch)
        return Swept(removed=tuple(removed), left=tuple(left))


@dataclass(slots=True, kw_only=True)
class _Sweep:
    """One removal under way: who owns the run, what was seen so far, and what the engine said of those that it did not remove."""

    made_by: marks.ScratchOwner | None
    seen: dict[tuple[str, str], Thing] = field(default_factory=dict)
    refused: dict[tuple[str, str], str] = field(default_factory=dict)


def _sweep(daemon: dockerd.Daemon, order: Order) -> Swept:
    """Remove until two looks in a row, and all looks for as long as somebody's call may be under way, find nothing."""
    sweep = _Sweep(made_by=marks.scratch_owner(marks.scratch_folder(order.run_id)))
    quiet = 0
    quiet_from_ns = order.clock.now_ns()
    while True:
        found = _of_run(_things(daemon), order.run_id, sweep)
        sweep.seen.update({(thing.kind, thing.key): thing for thing in found})
        quiet = 0 if found else quiet + 1
        if order.over or (quiet >= 2 and order.clock.now_ns() - quiet_from_ns >= order.settle_s * NS_PER_S):
            break
        if found:
            _remove_all(daemon, found, sweep)
            quiet_from_ns = order.clock.now_ns()
        if quiet or sweep.refused:
            order.clock.sleep(LOOK_AGAIN_S * (1 if quiet < 2 else 4))
    left = {(thing.kind, thing.key) for thing in found}
    return Swept(
        removed=tuple(str(thing) for key, thing in sweep.seen.items() if key not in left),
        left=tuple(f"{thing} ({sweep.refused.get(key, 'it takes long')})" for key, thing in sweep.seen.items() if key in left),
    )


def _remove_all(daemon: dockerd.Daemon, found: Sequence[Thing], sweep: _Sweep) -> None:
    """Remove what a look found: one kind after the other, and of a kind some at a time, as each takes the engine a tenth of a second."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  a watchdog that has nothing to do must be up at once

    sweep.refused.clear()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for kind in _REMOVE:
            of_kind = [thing for thing in found if thing.kind == kind]
            for thing, why in zip(of_kind, pool.map(lambda thing: _remove_one(daemon, thing), of_kind), strict=True):
                if why:
                    sweep.refused[thing.kind, thing.key] = why


def _remove_one(daemon: dockerd.Daemon, thing: Thing) -> str:
    """Remove one thing; returns why it could not be, empty when it is gone. Somebody else may be removing it: the next look tells."""
    try:
        with dockerd.translated():
            if thing.kind == "network":
                _empty(daemon.api, thing.key)
            _REMOVE[thing.kind](daemon.api, thing.key)
    except dockerd.NoSuchThingError:
        return ""
    except dockerd.RefusedError as error:
        lost_count = thing.kind == "network" and "active endpoints" in str(error)
        return f"{error}{_LOST_COUNT if lost_count else ''}"
    return ""


def _empty(api: APIClient, network: str) -> None:
    """Take off a network who is still on it: somebody's own container, which stays, or the trace of one that an engine forgot."""
    for container in api.inspect_network(network).get("Containers") or {}:
        with _ignored_refusal():
            api.disconnect_container_from_network(container, network, force=True)


@contextmanager
def _ignored_refusal() -> Iterator[None]:
    """For a step before the one that counts: if it is refused, so is that one, and says why."""
    try:
        with dockerd.translated():
            yield
    except dockerd.RefusedError:
        pass


def _of_run(things: Sequence[Thing], run_id: str, sweep: _Sweep) -> list[Thing]:
    """The things with the label of exactly this run, and images that its owner had not finished; or those of one unfinished build.

    An engine without BuildKit adds one label after the other, the owner's first, and makes an image of each step. Of these it lists only
    such as no other image was made from.
    """
    found = [thing for thing in things if thing.of == run_id]
    if run_id.startswith(UNFINISHED):
        return found
    sweep.made_by = sweep.made_by or next((thing.made_by for thing in found), None)
    return found + [thing for thing in things if not thing.run_id and thing.made_by is not None and thing.made_by == sweep.made_by]


def _things(daemon: dockerd.Daemon) -> list[Thing]:
    """All things that somebody's harness made, and all that have the label of a run."""
    run, owner = {"label": [marks.LABEL_RUN]}, {"label": [marks.LABEL_OWNER]}
    with dockerd.translated():
        listed = {
            "container": daemon.api.containers(all=True, filters=run),
            "network": daemon.api.networks(filters=run),
            "volume": daemon.api.volumes(filters=run).get("Volumes"),
            "image": daemon.api.images(filters=owner),
        }
    return [_thing(kind, entry) for kind, entries in listed.items() for entry in entries or ()]


def _thing(kind: str, entry: Mapping[str, object]) -> Thing:
    labels = entry.get("Labels")
    labels = labels if isinstance(labels, dict) else {}
    tags = entry.get("RepoTags")
    tagged = [str(tag) for tag in tags if tag != _UNTAGGED] if isinstance(tags, list) else []
    names = entry.get("Names") or tagged or entry.get("Name")
    key = str(entry.get("Id") or entry["Name"])
    name = str(names[0] if isinstance(names, list) else names or key.removeprefix("sha256:")[:12])
    return Thing(
        kind=kind,
        key=key,
        name=name.removeprefix("/"),
        run_id=str(labels.get(marks.LABEL_RUN, "")),
        made_by=marks.parsed_owner(str(labels.get(marks.LABEL_OWNER, ""))),
        tagged=bool(tagged),
    )


class _Owners:
    """Who owns a thing, as far as it can be known from here."""

    def __init__(self, daemon: dockerd.Daemon) -> None:
        self._daemon = daemon
        self._namespace, self._boot = proctable.namespace(os.getpid()), marks.boot_id()
        self._sees_all = proctable.look(1) is not None
        self._of_this_machine: bool | None = None

    def of(self, thing: Thing) -> str:
        """The owner; empty when nobody here can tell whether it lives, so that the thing must not be touched."""
        made_by = thing.made_by
        if made_by is None:
            return ""
        if made_by.boot == self._boot:  # where /proc hides the processes of others, a living owner would look dead
            return made_by.owner if made_by.namespace == self._namespace and self._sees_all else ""
        if self._of_this_machine is None:
            about = dockerd.about(self._daemon)
            self._of_this_machine = about.here and about.host == os.uname().nodename
        return OF_EARLIER_BOOT if self._of_this_machine else ""


def _urls(noted: Sequence[str]) -> list[str]:
    """Those that are noted, and the one that the environment names if there may be one; each once."""
    named = [dockerd.named_place().url] if dockerd.may_be_there() else []
    return [url for url in dict.fromkeys((*noted, *named)) if url]


def _noted_everywhere() -> list[str]:
    folders = marks.scratch_root().glob(f"{marks.FOLDER_PREFIX}*")
    return [marks.recorded_daemon(Path(folder)) for folder in sorted(folders) if is_ours(folder)]


@contextmanager
def _connected(url: str, within_s: int) -> Iterator[dockerd.Daemon]:
    daemon = dockerd.connect(url, timeout_s=within_s)
    try:
        yield daemon
    finally:
        daemon.close()
