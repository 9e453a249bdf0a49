"""What the load process is told (`harness.load.spec`)."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.load.spec import LoadSpec, Orders, RequestSpec
from harness.scenario import load_scenario

FILE = """
jetable: 1
name: a load
target:
  web: {command: [python, -m, app], replicas: 2}
load:
  users: 7
  rate: 30/m
  timeout: 1500ms
  keep_alive: false
  retries: 2
  requests:
    - GET /items/{id}
    - POST /items: {name: "{uuid}"}
      weight: 3
      headers: {X-A: "{user}"}
      expect: {status: [201, 409], body_contains: "{uuid}"}
    - request: PUT /text
      body: "n={int:1..5}"
steps:
  - steady: 1s
expect:
  - dropped_requests == 0
"""


def test_it_holds_what_the_scenario_says(tmp_path: Path) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(FILE)
    spec = LoadSpec.of(load_scenario(path), seed=5)
    assert spec == LoadSpec(
        seed=5,
        users=7,
        rate_per_s=0.5,
        timeout_s=1.5,
        keep_alive=False,
        retries=2,
        requests=(
            RequestSpec(method="GET", path="/items/{id}", idempotent=True),
            RequestSpec(
                method="POST",
                path="/items",
                headers=(("X-A", "{user}"),),
                json='{"name": "{uuid}"}',
                weight=3,
                statuses=(201, 409),
                body_contains="{uuid}",
            ),
            RequestSpec(method="PUT", path="/text", body="n={int:1..5}", idempotent=True),
        ),
    )
    orders = Orders(load=spec, ledger="ops.jsonl", control_port=1)
    assert msgspec.json.decode(msgspec.json.encode(orders), type=Orders) == orders
