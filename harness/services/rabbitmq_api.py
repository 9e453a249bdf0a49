"""What RabbitMQ tells only by the HTTP API of its management plugin: messages that are not acknowledged, and whose connections there are.

The plugin of a broker that the run started itself answers on 127.0.0.2, at the very port that has AMQP on 127.0.0.1, because a
service has one port, and Linux has more than one loopback address. That of a container and of other people's brokers has the port that the
documentation gives it: 15672, or the AMQP port and 10000.
"""

from __future__ import annotations

import http.client
import json
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Final
from urllib.parse import quote

from harness.services.base import TIMEOUT_S, ServiceError
from harness.services.rabbitmq_wire import Wire

OWN_HOST: Final = "127.0.0.2"
OWN_NODE: Final = "jetable"
"""How the names begin that the run's own brokers have for themselves."""

_AGAIN_S: Final = 10.0
"""So long after it was found nowhere the plugin is not looked for again."""


class Management:
    """The HTTP API of the broker that a wire leads to."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._found: tuple[str, int] | None = None
        self._missed_s = float("-inf")
        self.own = False
        login = b64encode(f"{wire.user}:{wire.password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {login}", "Connection": "close"}

    def find(self) -> bool:
        """Whether it answers; `own` then says whether the broker is the run's."""
        if self._found is not None:
            return True
        if time.monotonic() - self._missed_s < _AGAIN_S:
            return False
        for place in self._places():
            try:
                status, told = self._asked(place, "GET", "/overview")
            except (OSError, http.client.HTTPException, ValueError):
                continue
            if status == http.HTTPStatus.OK and isinstance(told, Mapping) and "management_version" in told:
                self._found = place
                self.own = str(told.get("node", "")).startswith(OWN_NODE)
                return True
        self._missed_s = time.monotonic()
        return False

    def held(self, queue: str) -> tuple[int, int]:
        """Messages of a queue that are ready and that are not acknowledged, as of its last statistics. Raises `ServiceError`."""
        vhost = _quoted(self._wire.vhost)
        if self.own:  # which collects no metrics, and tells totals only in lists
            listed = self._ask("GET", f"/queues/{vhost}?disable_stats=true&enable_queue_totals=true")
            told = next((each for each in listed if each["name"] == queue), None) if isinstance(listed, list) else None
        else:
            told = self._ask("GET", f"/queues/{vhost}/{_quoted(queue)}?columns=messages_ready,messages_unacknowledged")
        if not isinstance(told, Mapping) or "messages_unacknowledged" not in told:
            return -1, -1
        return int(told["messages_ready"]), int(told["messages_unacknowledged"])

    def connections(self) -> Sequence[str]:
        """The names of all connections to this virtual host: ``127.0.0.1:44120 -> 127.0.0.1:5672``. Raises `ServiceError`.

        The list that the plugin has of one virtual host is made of statistics, which are old, or not collected at all.
        """
        told = self._ask("GET", "/connections?disable_stats=true")
        listed = [each for each in told if isinstance(each, Mapping)] if isinstance(told, list) else []
        return [str(each["name"]) for each in listed if each.get("vhost") == self._wire.vhost and "name" in each]

    def close(self, connection: str) -> None:
        """Close a connection; one that is gone already is closed. Raises `ServiceError`."""
        self._ask("DELETE", f"/connections/{_quoted(connection)}")

    def _ask(self, method: str, path: str) -> object:
        if not self.find() or self._found is None:
            raise ServiceError(f"{self._wire.where}: its management plugin does not answer; rabbitmq-plugins enable rabbitmq_management")
        try:
            status, told = self._asked(self._found, method, path)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ServiceError(f"{self._wire.where}: its management plugin: {error}") from error
        if status >= http.HTTPStatus.BAD_REQUEST and status != http.HTTPStatus.NOT_FOUND:
            raise ServiceError(f"{self._wire.where}: its management plugin answers {method} {path.partition('?')[0]} with {status}")
        return told if status == http.HTTPStatus.OK else None

    def _asked(self, place: tuple[str, int], method: str, path: str) -> tuple[int, object]:
        link = http.client.HTTPConnection(*place, timeout=TIMEOUT_S)
        try:
            link.request(method, f"/api{path}", headers=self._headers)
            answer = link.getresponse()
            body = answer.read()
            return answer.status, json.loads(body) if body and answer.status == http.HTTPStatus.OK else None
        finally:
            link.close()

    def _places(self) -> Sequence[tuple[str, int]]:
        host, port = self._wire.host, self._wire.port
        others = [(host, each) for each in dict.fromkeys((port + 10000, 15672)) if each < 65536]
        return [(OWN_HOST, port), *others] if _is_loopback(host) else others


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _quoted(name: str) -> str:
    return quote(name, safe="")
