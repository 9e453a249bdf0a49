"""What can stand in a scenario file, written down for editors (JSON Schema, draft 7) and for people (docs/scenarios.md).

Both come from the models themselves, so neither can say anything that the reader of a file does not know. After a change of the models
``python -m harness.schema --write`` writes both files anew; a test holds that the committed ones are current.
"""

from __future__ import annotations

import argparse
import inspect
import json
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from harness import command, template
from harness.scenario import (
    Build,
    Chaos,
    ContainerKeys,
    CrashLoop,
    CutConnections,
    CutNetwork,
    Done,
    Expectation,
    HandOver,
    Healthcheck,
    Jobs,
    Kill,
    Load,
    Operation,
    Pause,
    Port,
    ProcessType,
    Request,
    Restart,
    RollingRestart,
    Routing,
    Scenario,
    Service,
    Signal,
    SqueezeMemory,
    StartService,
    Step,
    StopService,
    StoreQuery,
    Stream,
    Terminate,
    TerminateAtStart,
    Tls,
    Together,
    Visit,
    Volume,
    WorkerLog,
    WorkingDir,
    Workload,
)
from harness.scenario.container import ONLY
from harness.scenario.jobs import forms_of
from harness.scenario.queues import EFFECTS_OF
from harness.scenario.services import CUTS_CONNECTIONS, EMBEDDED, SERVICE_KINDS, VARIABLES
from harness.scenario.state import OPERATIONS, WITHOUT_MEANING
from harness.threshold import AGGREGATES, BESIDES, DEFAULT_THRESHOLDS, METRICS, OPERATORS
from harness.units import DURATION_PATTERN, Duration, Rate

DOCS: Final = Path(__file__).parent.parent / "docs"
SCHEMA_FILE: Final = DOCS / "scenario.schema.json"
DOCS_FILE: Final = DOCS / "scenarios.md"

DRAFT: Final = "http://json-schema.org/draft-07/schema#"
_FOR_DOCS_ONLY: Final = ("type_words", "default_words", "unit", "title")
_MAPS: Final = ("properties", "patternProperties", "$defs")
_PLAIN: Final = ("default", "examples", "enum", "const")


# --- JSON Schema ------------------------------------------------------------------------------------------------------------


class _Generator(GenerateJsonSchema):
    """Pydantic's own generator, with defaults as a file spells them."""

    def encode_default(self, dft: Any) -> Any:
        """Durations as text."""
        return str(dft) if isinstance(dft, Duration | Rate) else super().encode_default(dft)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 7) of a scenario file, for editors; the loader knows more, such as names that name nothing."""
    schema = _draft_7(Scenario.model_json_schema(schema_generator=_Generator))
    definitions = schema.pop("definitions")
    definitions["Duration"] = {
        "type": "string",
        "pattern": DURATION_PATTERN,
        "description": "a duration such as 250ms, 10s, 1m30s or 2h; a bare number is refused",
        "examples": ["250ms", "10s", "1m30s"],
    }
    return {"$schema": DRAFT, "title": "A scenario of Jetable", **schema, "definitions": dict(sorted(definitions.items()))}


def _draft_7(schema: dict[str, Any]) -> dict[str, Any]:
    """Pydantic's schema (draft 2020-12) in the words of draft 7, without what only the docs need."""
    converted: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _FOR_DOCS_ONLY or (key == "default" and value is None):
            continue
        if key in _MAPS:
            converted["definitions" if key == "$defs" else key] = {name: _draft_7(item) for name, item in value.items()}
        elif key == "$ref":
            converted["allOf"] = [{"$ref": value.replace("#/$defs/", "#/definitions/")}]
        elif key in _PLAIN:
            converted[key] = value
        else:
            converted[key] = _converted(value)
    if converted.get("pattern") == DURATION_PATTERN:
        del converted["pattern"], converted["type"]
        converted["allOf"] = [{"$ref": "#/definitions/Duration"}]
    return converted


def _converted(value: Any) -> Any:
    if isinstance(value, dict):
        return _draft_7(value)
    if isinstance(value, list):
        return [_converted(item) for item in value]
    return value


# --- docs -------------------------------------------------------------------------------------------------------------------

EXAMPLE: Final = """\
jetable: 1
name: web survives a rolling restart
target:
  web:
    command: "{python} -m sample_apps.web"   # executed directly; PORT is in its environment
    replicas: 3
    healthcheck: /healthz
    stop_grace_period: 10s
load:
  rate: 200/s                                # open model: arrivals do not wait for answers
  retries: 2                                 # what may be sent twice is sent again, as load balancers do; a kill needs it
  requests:
    - GET /items/{id}
    - PUT /items/{uuid}: {name: "{uuid}"}    # a JSON body
    - request: GET /slow?ms=200              # long enough to be in flight when a fault comes
      weight: 2
steps:
  - steady: 2s
  - terminate: {replica: each}               # SIGTERM, grace, SIGKILL at its end; then a replacement
  - kill: any                                # SIGKILL
    repeat: 5
  - scale: {web: 5}
  - scale: {web: 2}
  - steady: 2s
expect:
  - dropped_requests == 0
  - startup_time p(95) < 2s
  - shutdown_time p(95) < 5s
"""

CONTAINER_EXAMPLE: Final = """\
target:
  web:
    build: {context: ../app, args: {VERSION: "1.0"}}
    ports: ["8080:8000"]                     # 8080 is dropped: Jetable finds its own way to each replica
    user: "1000:1000"
    init: true
    read_only: true
    tmpfs: /tmp
    cap_drop: [ALL]
    mem_limit: 256m
    volumes:
      - data:/data                           # made for the run, removed with it
      - ./conf:/etc/app:ro
    healthcheck:
      test: [CMD, python, -m, app.health]
      start_interval: 100ms
  cache:
    image: redis:7
"""

STEPS_EXAMPLE: Final = """\
steps:
  - signal: SIGHUP                           # the app should live through it
  - terminate: {replica: half, when: mid-response}
  - terminate: {again: 200ms}                # a second signal while the first is being obeyed
  - restart: {signal: SIGKILL}               # a crash, and a start on the same port
  - terminate_at_start: ready                # stopped just before it is ready
  - crash_loop: {times: 5}
  - rolling_restart: {at_a_time: 2}
    at: 20s                                  # not before so long after the load began
  - together:
      - rolling_restart:
      - scale: {web: 5}
  - chaos: {for: 30s, every: 500ms, of: [terminate, kill, scale]}
"""

STREAMS_EXAMPLE: Final = """\
```yaml
requests:
  - request: GET /events                     # server-sent events; Last-Event-ID says where the client was
    stream: sse
  - request: GET /ws?last={last_id}          # a WebSocket has no such header, so its path says it
    stream: {kind: websocket, for: 5s}
  - request: GET /chat
    stream: {kind: websocket, resume: false} # no event is awaited again
```
"""

JOBS_EXAMPLE: Final = """\
jetable: 1
name: workers lose no job
target:
  worker:
    command: "{python} -m sample_apps.workers.sqlite"
    environment: {WORKER_NAME: "{replica}"}  # DATABASE_URL and QUEUE are there already
    healthcheck: {log: takes jobs}
    replicas: 3
services:
  sqlite:                                    # a file that needs nothing to be installed
jobs:
  rate: 20/s                                 # put by Jetable, whatever becomes of the earlier ones
  body: '{"id": "{job}", "ms": 50}'
  done: {query: SELECT job FROM effects}     # a row for each effect, with the job's id in it
  log: {started: "job {job} started", finished: "job {job} finished"}
  idempotent: true                           # a second effect is a failure
steps:
  - steady: 1s
  - terminate: each                          # each in the midst of a job
  - kill: {when: job-started, job_share: 50%}
    repeat: 3
  - scale: {worker: 1}
  - scale: {worker: 4}
"""

BROKER_EXAMPLE: Final = """\
services:
  rabbitmq:                                  # started by the run, on a port and in a folder of its own
  db: {kind: postgres, url: "postgresql://app@127.0.0.1/test"}   # one that runs already, and is never stopped
jobs:
  service: rabbitmq
  form: quorum
  queue: mail                                # QUEUE says it to the workers, AMQP_URL where it is
  count: 500                                 # one right after the other, while the steps begin
  body: '{"id": "{job}"}'
  done: {query: SELECT job FROM sent, service: db}
  log: {started: "sending {job}", finished: "sent {job}", settled: "acknowledged {job}", returned: "requeued {job}"}
  drain: 60s
steps:
  - kill: {when: job-finished}               # the mail is sent, and the queue does not know it
  - stop_service: {service: rabbitmq, signal: SIGKILL, for: 2s}
  - cut_connections: rabbitmq
"""

STATE_EXAMPLE: Final = """\
services:
  postgres:
state:
  items:                                     # a name of your own
    model: register
    write:
      PUT /items/{key}: {name: "{value}"}    # the harness chooses keys and values
    read:
      request: GET /items/{key}
      answer: $.name                         # where the value stands in the answer
      nothing: 404                           # there is none yet
    cas:
      PUT /items/{key}?if={old}: {name: "{value}"}   # 409 or 412: it was another value
    keys: 20
    hot: 50%                                 # every other operation is on the first key
    store: {query: "SELECT id, name FROM items"}     # what the store itself holds at the end
  tags:
    model: set                               # no operation has {key}, so there is one set
    add:
      POST /tags: {tag: "{value}"}
    read: {request: GET /tags, answer: "$.tags[*]"}  # inside of { }, text with [ ] needs quotes
    remove: DELETE /tags/{value}
  hits:
    model: counter
    add:
      request: POST /hits
      headers: {Idempotency-Key: "{value}"}  # another one for each operation; the same when it is sent again
    read: {request: GET /hits, answer: "regex:hits=([0-9]+)"}
  front:
    model: same                              # every replica answers alike
    requests:
      - GET /
      - request: GET /version
        mask: ["started at [0-9:.]+"]
  login:
    model: journey                           # begins at one replica and goes on at another
    requests:
      - request: GET /login
        keep: {token: $.csrf}
      - POST /login: {user: jo, token: "{kept:token}"}
      - request: GET /me
        expect: {body_contains: jo}
"""

CONTAINER_PORT: Final = 8000
"""The port of a container when nothing says it."""

MOMENTS: Final[Mapping[str, str]] = {
    "in-flight": "while a request has been sent to it and no byte of the answer has come",
    "mid-response": "while an answer of its has begun and is not over",
    "just-accepted": "while a new connection is there on which no byte has left; a few requests, not streams, are held back to make it so",
    "idle": "when none of these is so; it is given nothing new until then, where the router may know",
    "any": "at once",
    "job-started": "while it works on a job; with `job_share`, when that share of the time that jobs usually take is over",
    "job-finished": "while the work on a job is done and the queue has not been told",
}
"""What each ``when`` means, for the reference."""

_HEAD: Final = "| key | type | default | unit | meaning | example |\n|---|---|---|---|---|---|"
_UNIT_WORDS: Final = {"count": "count", "s": "seconds", "share": "share", "status": "exit status", "per_s": "requests a second"}


def scenario_docs() -> str:
    """The reference of the scenario file, in Markdown."""
    sections = [
        _opening(),
        _target_docs(),
        _container_docs(),
        _load_docs(),
        _services_docs(),
        _jobs_docs(),
        _state_docs(),
        _steps_docs(),
        _more_steps_docs(),
        _service_steps_docs(),
        _steps_of_steps_docs(),
        _expect_docs(),
        _baseline_docs(),
        _values_docs(),
    ]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _opening() -> str:
    return f"""\
<!-- Written by `python -m harness.schema --write` from the models in harness/scenario/; edit those. -->

# The scenario file

One YAML file is one scenario: the app under test, what users do to it meanwhile, what happens to it, and what must hold. The words are
those of the Compose specification wherever it has them.

```yaml
{EXAMPLE.strip()}
```

Or, for workers, the service that keeps their jobs, and the jobs instead of requests. A scenario may have both.

```yaml
{JOBS_EXAMPLE.strip()}
```

Files are read strictly, by the rules of YAML 1.2: `on`, `yes` and `22:22` are text, unknown and duplicate keys, tags, merge keys and
several documents are errors, and no value is converted in silence. All problems of a file are shown at once, with line and column:

```
web.yaml:6:5: target.web.comand: unknown key "comand" (did you mean "command"?)
web.yaml:9:24: target.web.stop_grace_period: needs a unit: write 10s or 10ms
web.yaml:24:5: expect[0]: unknown metric "dropped_request" (did you mean "dropped_requests"?)
```

`jetable validate FILE` looks at files without starting anything. For completion and checks while you type, point your editor at
[scenario.schema.json](scenario.schema.json), for example with this first line in a file:
`# yaml-language-server: $schema=docs/scenario.schema.json`.

{_keys(Scenario)}"""


def _target_docs() -> str:
    placeholders = _table(("placeholder", "becomes"), ((f"`{{{name}}}`", doc) for name, doc in command.PLACEHOLDERS.items()))
    return f"""\
## target

The app under test: a mapping of names to process types, as in a Procfile. A process type has these keys, and those for
[containers](#containers):

{_keys(ProcessType, besides=ContainerKeys)}

A command that is text is split into words as a shell would do it and executed directly, so that signals reach the app. It runs under
`sh -c` only when it uses something that only a shell understands: a pipe, `&&`, a redirection, `$VARIABLE`, a glob, `NAME=value` before
the command, or `exec` and its like. The run then says so.

In a command, and in the values of `environment`, these stand for what is known only when a replica starts; all other braces stay as
they are. YAML takes a `{{` at the beginning of a value for a mapping, so such text needs quotes.

{placeholders}

In a container `{{python}}` is `python`, `{{port}}` the port inside, and `{{scratch}}` a folder on a volume that all replicas share.

### working_dir

{_law(WorkingDir)}

{_keys(WorkingDir)}

A folder of this machine must exist. An absolute path is not looked for where `image` or `build` is given, because it may be one in the
container.

### healthcheck

{_law(Healthcheck)} A healthcheck that only says `disable: true` has none of them.

{_keys(Healthcheck)}

Whatever is asked, and however often, a start has failed when `start_period` is over, and only then. A `test` runs inside the container,
so it needs `image` or `build`; it is asked by the container engine, which goes on with it every `interval` after the start, as in Compose.
Where the file says nothing, an image's own HEALTHCHECK decides; `http`, `tcp`, `log`, `running` and `disable` are asked
instead of it.

### tls

{_law(Tls)}

{_keys(Tls)}

With `true` the connection is encrypted and nobody looks at the certificate: a run shows how the app behaves, and not who it is. A
connection counts as made when the handshake is over, so one that ends in the middle of it is a refusal, and surely nothing was executed.
With the health check kind `tcp` the port must take a connection and finish the handshake."""


def _container_docs() -> str:
    return f"""\
## containers

These keys of a process type stand beside those above, as in a Compose service, and mean what they mean there. They mean something
to containers only; where replicas are processes of this machine they are read, as strictly, and ignored. A scenario with a process type
that gives `image` or `build` and no `command` runs on Docker unless `--engine` says otherwise.

```yaml
{CONTAINER_EXAMPLE.strip()}
```

{_keys(ContainerKeys)}

A replica is told in PORT, and in `{{port}}`, on which port it must listen: the first of `ports`, else the first of `expose`, else what the
image says by `ENV PORT` or by a single `EXPOSE`, else {CONTAINER_PORT}. `command` stands for the image's CMD, `entrypoint` for its
ENTRYPOINT; as in Docker, an `entrypoint` without a `command` clears the image's CMD, an empty one does not.

What would keep a second replica from starting is read and dropped, and the run says so: `container_name`, the host ports in `ports`, and
`restart`, because Jetable itself starts replacements. Other keys of Compose are refused by name.

### build

{_law(Build)}

{_keys(Build)}

### ports

{_law(Port)} UDP and ranges are refused.

{_keys(Port)}

### volumes

{_law(Volume)} A folder of this machine begins with `.`, `/` or `~` and must exist.

{_keys(Volume)}"""


def _load_docs() -> str:
    placeholders = _table(
        ("placeholder", "becomes", "a number in JSON"),
        ((_code(each.written), each.doc, "yes" if each.number else "no") for each in template.PLACEHOLDERS.values()),
    )
    return f"""\
## load

{_law(Load)}

{_keys(Load)}

### requests

{_law(Request)}

```yaml
requests:
  - GET /items/{{id}}                          # text: method and path
  - POST /items: {{name: "{{uuid}}"}}            # method and path, and under it the JSON body
    weight: 3                                # other keys beside it
  - request: PUT /items/{{id}}                 # all keys
    headers: {{Content-Type: text/plain}}
    body: "a new text"
    expect: {{status: [200, 404]}}
```

{_HEAD}
| `request` | text | **required**, unless method and path are given |  | method and path in one | `request: POST /items` |
{_rows(Request)}

What a request `expect`s:

{_keys(Expectation)}

A `stream`: {_law(Stream)} It is a key beside `request`, not under it:

{STREAMS_EXAMPLE.strip()}

{_keys(Stream)}

A stream's client does as a browser's EventSource does: when its connection ends, however it does, it connects again after the
reconnection time, which the server may set with `retry:` (50 ms otherwise, where browsers wait seconds), here to the replica whose turn
it is, and says in `Last-Event-ID` which event it had last. The client of a WebSocket says it where the path has `{{last_id}}`; its
messages carry their number as `id` of a JSON object, or as the digits that they begin with. One subscription is one request: it is
*resumed* when its stream went on, and dropped when the app answered with anything but a stream, or when the client had none for longer
than `timeout`. Chunked answers, long polls and other requests that last are plain requests.

Placeholders may stand in the path, in the values of headers, in the texts of a JSON body, in `body` and in `body_contains`. One
placeholder has one value within one request: `{{uuid}}` in the path and in the body is the same. All values come from the run's seed.
`{{{{` and `}}}}` are literal braces.

{placeholders}

## routing

{_law(Routing)}

{_keys(Routing)}"""


def _services_docs() -> str:
    kinds = _table(
        ("kind", "hands over", "keeps jobs as", "effects can show in it by", "steps"),
        (
            (_code(kind), _code(VARIABLES[kind]), _listed(forms_of(kind)), _listed(_effects_of(kind)), _steps_with(kind))
            for kind in SERVICE_KINDS
        ),
    )
    return f"""\
## services

The backing services that the app needs: a mapping of names to services. A name that is a kind needs nothing under it (`redis:`), any other
says its kind (`cache: {{kind: redis}}`).

{_keys(Service)}

{kinds}

Each service is there before the first replica starts. It is started where the replicas are, on this machine or as a container, with a port
and a temporary folder of its own, and is gone after the run. Its URL is handed to every replica in the environment, as twelve-factor apps
expect it; `variable` gives it another name there.

A service with `url` is somebody else's: it is never stopped, and what is in it is left alone. The run's queue has a name of its own there,
with the run's mark in it, and is removed at the end."""


def _effects_of(kind: str) -> list[str]:
    return [key for key, kinds in EFFECTS_OF.items() if kind in kinds]


def _steps_with(kind: str) -> str:
    if kind in EMBEDDED:
        return "none: it is a file"
    return _listed(["stop_service", "start_service", *(["cut_connections"] if kind in CUTS_CONNECTIONS else [])])


def _listed(names: Iterable[str]) -> str:
    return ", ".join(_code(name) for name in names) or "nothing"


def _jobs_docs() -> str:
    return f"""\
## jobs

{_law(Jobs)} A scenario with jobs needs no `load`.

```yaml
{BROKER_EXAMPLE.strip()}
```

{_keys(Jobs)}

Every job has an id, which stands for `{{job}}` in `body` and carries the run's mark, and is written down before it is put. The worker must
write that id where the effect of the job shows; jobs of others in the same queue are left alone. The first job is put when the target is
up, and none after the last step. Then the run waits until all of them are done, for `drain` at most.

### done

{_law(Done)}

{_keys(Done)}

The place must show it when a job had its effect twice: a list, a stream, a file that is appended to, or a table without a unique key on the
job does, a set does not. A key, a file or a queue is handed to every replica in the environment, as `DONE`.

### log

{_law(WorkerLog)}

{_keys(WorkerLog)}

The text may stand anywhere in a line of the replica's output, and each line must be flushed when it is written (for Python,
`PYTHONUNBUFFERED=1`). Without `log` a run knows only what the queue tells: a fault waits for `job-started` until the queue says that the
replica holds a job, if workers call themselves there by their name, `{{replica}}`, and else until anybody holds one."""


def _state_docs() -> str:
    models = _table(
        ("model", "needs", "may have", "can't have"),
        (
            (_code(model), _listed(needed or ("requests",)), _listed(allowed), _listed(WITHOUT_MEANING.get(model, ())))
            for model, (needed, allowed) in OPERATIONS.items()
        ),
    )
    return f"""\
## state

What clients write and read beside the users of `load`, and what every replica must answer alike: a mapping of names to workloads. A
scenario with state needs no `load`. All workloads ask the process type that takes the load.

```yaml
{STATE_EXAMPLE.strip()}
```

{_law(Workload)}

{_keys(Workload)}

{models}

A client does one operation after the other, drawn by `weight`, each at the replica whose turn it is, and each is an ordinary request of the
run as well. `{{key}}`, `{{value}}` and their like are chosen by the harness: no value comes twice, so an answer tells which write it saw.
With more than one key every operation must send `{{key}}`. A good answer says that the operation happened, and a status in `refused` that
it did not; after any other answer, or none, nobody knows, and the run reckons with both.

YAML takes a brace inside of `{{ }}` or `[ ]` for its own, so a request with a placeholder needs quotes there:
`read: {{request: "GET /items/{{key}}", answer: $.name}}`.

### operations

{_law(Operation)} All keys of [requests](#requests) but `stream` stand beside these:

{_keys(Operation, besides=Request)}

A JSON path is one of RFC 9535, such as `$.value`, `$.items[*]` or `$.items[*].id`; what it finds counts as text, so 5 and `"5"` are the
same. A regular expression follows `regex:`, and is looked for in the whole body; its group is the value, or all that it matches where it
has none. A read needs `answer`; of a `counter` the `add` may have it, too. Of a body that is no JSON, or holds several values where one is
asked for, nothing is known; where a path or an expression finds nothing, there is nothing.

### requests of same and journey

{_law(Visit)} All keys of [requests](#requests) but `stream` and `weight` stand beside these:

{_keys(Visit, besides=Request)}

### store

{_law(StoreQuery)} Either `query` or `key`.

{_keys(StoreQuery)}"""


def _steps_docs() -> str:
    moments = _table(("when", "the victim is hit"), ((f"`{word}`", meaning) for word, meaning in MOMENTS.items()))
    return f"""\
## steps

{_law(Step)}

{_keys(Step)}

```yaml
{STEPS_EXAMPLE.strip()}
```

A step begins when the one before it is over, or later with `at`. Steps that stop a replica end when its replacement is healthy. What chance
decides, such as `replica: any`, comes from the run's seed.

### Which replicas, and when

`replica` chooses among the replicas that are up. `each` hits them one after the other, each when the one before is replaced. `half`,
`all`, a share such as `30%` and a list hit theirs at the same time; a share is rounded down, and is one replica at least. A number is a
place in the row of those that are up, 1 being the oldest. Where there is no such replica the step has a problem, and the verdict is
*unknown*.

`when` is what the victim must be doing at the fault:

{moments}

The fault comes at that moment or, when it has not come within `busy_within`, at another one; then the run says so, and the verdict is
*unknown*. For a process type that works on jobs and takes no load, `in-flight` means `job-started`. One that does neither is never busy,
so its steps need `when: any`.

### terminate, restart, kill

- `terminate`: {_law(Terminate)}
- `restart`: {_law(Restart)}
- `kill`: {_law(Kill)}

So `terminate: each`, or `kill: half`. All keys are optional. `scope` belongs to `kill` and `restart`, where it says whom SIGKILL hits;
`signal` and `again` belong to `terminate` and `restart`. With `signal: SIGKILL` a restart is a crash and a start on the same port right
after it.

A fault that the ledger shows to have come at another moment than `when` demands is done again on the replacement, at most three times, and
the run notes it. Not so with `scale`, `crash_loop`, and steps that leave a replica where it is.

When a grace is over and nothing but idle connections is left, they are closed from the client's side, and SIGKILL waits for up to 3 s: an
app that ends then had waited for them. It fails all the same (`idle-connections-awaited`), with its cause known.

{_keys(Restart)}

### rolling_restart

{_law(RollingRestart)} All keys are optional.

{_keys(RollingRestart)}"""


def _more_steps_docs() -> str:
    return f"""\
### signal

{_law(Signal)}

{_keys(Signal)}

### terminate_at_start

{_law(TerminateAtStart)} All keys are optional.

{_keys(TerminateAtStart)}

### crash_loop

{_law(CrashLoop)} All keys are optional.

{_keys(CrashLoop)}

### hand_over

{_law(HandOver)} So `hand_over: {{journey: login}}`, or `hand_over: {{state: items, replica: each}}`.

{_keys(HandOver)}

### pause, squeeze_memory, cut_network

These take something away from a replica and give it back at the end of the step, whatever happens meanwhile. The router is not told: nobody
tells it that a process hangs.

- `pause`: {_law(Pause)}
- `squeeze_memory`: {_law(SqueezeMemory)}
- `cut_network`: {_law(CutNetwork)}

Only `squeeze_memory` has `to`, which it needs; all other keys are optional. A scenario with a step that the engine can't do is refused
before anything starts.

{_keys(SqueezeMemory)}"""


def _service_steps_docs() -> str:
    return f"""\
### stop_service, start_service, cut_connections

- `stop_service`: {_law(StopService)}
- `start_service`: {_law(StartService)}
- `cut_connections`: {_law(CutConnections)}

So `stop_service: redis`, or with all keys:

{_keys(StopService)}

With `for` the step is over when the service does its work again; without it, the steps that follow find it away. Replicas are left alone:
what they do meanwhile, and whether they find their way back, is what the run shows. A service with `url` is never stopped, and one that
has no command to close its clients' connections can only be stopped and started again."""


def _steps_of_steps_docs() -> str:
    return f"""\
### together

{_law(Together)} There are at least two, in a list:

```yaml
- together:
    - rolling_restart: {{at_a_time: 2}}
    - scale: {{web: 5}}
```

A replica that one of them has chosen is left alone by the others until it is replaced, and counts as one that is there when `scale` counts.
What has begun is not taken back, so which of them comes first to a replica may differ from run to run. `chaos`, `repeat` and `at` have no
meaning in such a step.

### chaos

{_law(Chaos)}

{_keys(Chaos)}

Each step that is drawn is a step of its own in the history and in reports, so the report says what was drawn and done, and so does
`plan.yaml` in the run's folder. `jetable run --replay RUN` does again what was done, on the same replicas and at the same times. The same
seed draws the same steps, but a run whose steps take longer need not get as far before `for` is over. `chaos`, `repeat` and `at` have no
meaning in a step that is drawn."""


THERE_IS: Final = {
    "jobs": "there are jobs",
    "once": "jobs are idempotent",
    "state": "clients write and read state",
    "same": "all replicas are asked the same",
    "journey": "there are journeys",
}
"""What a part of a scenario is that more is expected of, in words."""


def _expect_docs() -> str:
    metrics = _table(
        ("metric", "unit", "samples in a run", "meaning", "example"),
        (
            (_code(metric.name), _UNIT_WORDS[metric.unit], "many" if metric.many else "one", metric.doc, _code(metric.example))
            for metric in METRICS.values()
        ),
    )
    where = {"": DEFAULT_THRESHOLDS} | {f", where {THERE_IS[part]}": thresholds for part, thresholds in BESIDES.items()}
    defaults = "\n".join(f"- `{threshold}`{words}" for words, thresholds in where.items() for threshold in thresholds)
    return f"""\
## expect

Each line is a threshold: a metric, an aggregate where a run has many samples of it, a comparison and a value. A process type and a dot
before the metric (`web.startup_time max < 2s`) restrict it to that process type. A metric without data makes the line *unknown*, never
true.

- Comparisons: {", ".join(_code(op) for op in OPERATORS)}, and `in (a, b)`.
- Aggregates: `p(95)` (any percentile, by linear interpolation), {", ".join(_code(name) for name in AGGREGATES)}.
- `exit_status` is compared one by one: `exit_status in (0, 143)` holds when every status is one of these.
- Values carry their unit: `5s` for a time, `1%` or `0.01` for a share, a bare whole number for a count.
- A value may hang on a [baseline](#baselines): `startup_time p(50) <= baseline + 10%`.

{metrics}

`retries` cover every step, so what a `terminate` dropped and a retry saved does not count in `dropped_requests`. Where stops in order must
lose nothing even without retries, write `retried_requests == 0`, and give `kill`, which can't do without them, a scenario of its own.

When not even the quickest start of a Python app keeps a threshold `startup_time < …`, Jetable starts it once more, when the load is over
and apart from the run, with `PYTHONPROFILEIMPORTTIME=1` in its environment, to see what it imports meanwhile. What counts as a Python app
is decided by the words of its command. That start counts in no metric.

These apply to every scenario that does not name their metric itself:

{defaults}"""


def _baseline_docs() -> str:
    return """\
### Baselines

```yaml
expect:
  - startup_time p(50) <= baseline + 10%     # at most a tenth more than the median of the baseline
  - shutdown_time max <= baseline + 500ms    # or so much more, in the unit of the metric
  - requests_per_second >= baseline - 5%
  - web.dropped_requests <= baseline
```

`jetable run … --baseline RUN` (or `JETABLE_BASELINE`, and `--jetable-baseline` in pytest) names what to compare with: the folder of a
stored run of the same scenario, or of a bench. The aggregate of this run's samples is compared with the same aggregate of the baseline's.
Metrics whose unit is a share take an amount such as `baseline + 0.01`, since per cent could be of the baseline or of the whole, and an exit
status has no baseline. Of a bench count the starts and stops with nothing else on, so compare with one only what your scenario measures
alike.

- Without a baseline the line is *unknown*, never true.
- What does not compare is refused before anything starts: another scenario, other process types, another engine or machine, no samples, a
  run or bench that was not finished, times during which the harness stood still (for a median of a bench: more than a tenth of them), a
  bench of several variants, or one that made its starts cold; and for `startup_time` and `time_to_first_answer` another health check,
  where both are known. A run that failed does compare: what it dropped does not make its times wrong.
- The limit is taken literally, as in every line, and the finding tells how many samples both had. Of few samples noise decides: leave room
  for it, have more starts and stops (`repeat`), or let `jetable compare` say what is more than noise.
- The run keeps the numbers in its own record. `jetable check` says the same when the baseline is gone, and `--replay` compares with them
  again, on the same engine and machine.
- Several scenarios in one command have one `--baseline` each, told apart by the name of the scenario. `jetable drain` leaves such lines
  out, as it does all of `expect`.
"""


def _values_docs() -> str:
    return """\
## Durations and rates

A duration is a number with its unit, or several from large to small: `250ms`, `10s`, `1m30s`, `2h`. Units are `h`, `m`, `s`, `ms`, `us`
and `ns`; the longest duration is `24h`. A rate is a number a second, minute or hour: `400/s`, `20/m`, `100/h`. Bare numbers are refused.
"""


def _keys(model: type[BaseModel], *, besides: type[BaseModel] | None = None) -> str:
    """The table of a model's keys, those of ``besides`` left out."""
    return f"{_HEAD}\n{_rows(model, besides)}"


def _rows(model: type[BaseModel], besides: type[BaseModel] | None = None) -> str:
    rows = []
    told = besides.model_fields if besides else {}
    for name in (each for each in _own_first(model) if each not in told):
        field = model.model_fields[name]
        key = field.alias or name
        extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        rows.append(
            _row(
                _code(key),
                str(extra.get("type_words") or _type_words(field.annotation, field)),
                str(extra.get("default_words") or _default_words(field)),
                str(extra.get("unit") or _unit_words(field.annotation)),
                str(field.description).removeprefix(ONLY) if model is ContainerKeys else str(field.description),
                _code(_example(key, field)),
            )
        )
    return "\n".join(rows)


def _own_first(model: type[BaseModel]) -> list[str]:
    """Names of a model's fields, what it has of its own before what it shares with others."""
    names = (name for each in model.__mro__ for name in inspect.get_annotations(each))
    return [name for name in dict.fromkeys(names) if name in model.model_fields]


def _law(model: type[BaseModel]) -> str:
    """What a model's docstring says of it."""
    return " ".join((model.__doc__ or "").split()).replace("``", "`")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join([_row(*head), "|" + "---|" * len(head), *(_row(*row) for row in rows)])


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _code(text: str) -> str:
    return f"`{text}`"


def _example(key: str, field: FieldInfo) -> str:
    """``key: value`` as one line of YAML."""
    assert field.examples, f"{key} has no example"  # noqa: S101  a test builds the docs
    return str(yaml.safe_dump({key: field.examples[0]}, default_flow_style=True, width=10_000, sort_keys=False)).strip()[1:-1]


def _default_words(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    default = field.default
    if default is None:
        return "none"
    if isinstance(default, BaseModel):
        return "see below"
    if default in ((), {}):
        return "empty"
    return _code(json.dumps(default) if isinstance(default, bool | int) else str(default))


def _unit_words(annotation: Any) -> str:
    return "ms, s, m, h" if Duration in (annotation, *get_args(annotation)) else ""


_TYPE_WORDS: Final[Mapping[Any, str]] = {str: "text", bool: "true or false", int: "whole number", Duration: "duration", Rate: "rate"}


def _type_words(annotation: Any, field: FieldInfo) -> str:
    """A type in the words of a person who has never seen Python."""
    origin = get_origin(annotation)
    if annotation in _TYPE_WORDS:
        return _TYPE_WORDS[annotation] + _bounds(field)
    if origin in (Union, types.UnionType):
        return _type_words(next(arg for arg in get_args(annotation) if arg is not type(None)), field)
    if origin is Annotated:
        return _type_words(get_args(annotation)[0], field)
    if origin is Literal:
        return " or ".join(_code(json.dumps(value) if isinstance(value, bool) else str(value)) for value in get_args(annotation))
    if origin is tuple:
        return "list"
    if origin is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return "request" if annotation is Operation else "mapping"
    raise AssertionError(f"no words for {annotation}; give the field its type_words")


def _bounds(field: FieldInfo) -> str:
    lowest = next((limit.ge for limit in field.metadata if hasattr(limit, "ge")), None)
    highest = next((limit.le for limit in field.metadata if hasattr(limit, "le")), None)
    if lowest is None:
        return ""
    return f" from {lowest}" if highest is None or highest > 10**9 else f", {lowest} to {highest}"


# --- the committed files ----------------------------------------------------------------------------------------------------

FILES: Final[dict[Path, Callable[[], str]]] = {
    SCHEMA_FILE: lambda: json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n",
    DOCS_FILE: scenario_docs,
}
"""What is generated and committed."""


def write() -> None:
    """Write all generated files anew."""
    for file, content in FILES.items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(content(), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m harness.schema", description="Generate what the docs say about scenario files.")
    parser.add_argument("--write", action="store_true", required=True, help="write docs/scenarios.md and docs/scenario.schema.json")
    parser.parse_args()
    write()
