"""PostgreSQL as a service: its tables of jobs, its locks, its connections, with a real server on loopback."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from harness.errors import KeyOfScenarioError
from harness.job_history import DELAYED, HELD, READY, SET_ASIDE
from harness.services import KINDS, base, postgres_client
from harness.services.base import Client, DoneSpec, Kind, Launch, PutRefusedError, Queue, QueueSpec, Rows, ServiceError
from harness.services.postgres import POSTGRES
from harness.services.postgres_client import AnsweredError, Link
from tests.services.brokers import Broker, free_port, until
from tests.services.sql_place import await_clients

pytestmark = [pytest.mark.slow, pytest.mark.live]

MARK = "2fecf0"
CUT = r"terminating connection|closed"


@pytest.fixture
def client(schema: str) -> Iterator[Client]:
    with closing(POSTGRES.open(schema)) as opened:
        yield opened


@pytest.fixture
def app(schema: str) -> Iterator[Link]:
    """Another program's connection."""
    with closing(Link(schema)) as link:
        link.do("SET application_name = 'worker.1'")
        yield link


def queue_of(client: Client, form: str = "table", **options: str | int | bool) -> Queue:
    made = client.queue(QueueSpec(form=form, name="jobs", options=options))
    made.declare()
    return made


def test_it_is_started_on_loopback_alone_by_who_is_not_root() -> None:
    launch = POSTGRES.launch(durable=True)
    assert isinstance(launch, Launch)
    assert KINDS["postgres"] is POSTGRES
    assert launch.user == "postgres"
    assert launch.stop_signal == "SIGINT"
    assert "127.0.0.1" in launch.argv
    assert not any("fsync" in word for word in launch.argv)
    lazy = POSTGRES.launch(durable=False)
    assert lazy is not None
    assert {"fsync=off"} <= set(lazy.argv) & set(lazy.command)


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ("", "options=-csearch_path%3Djetable_2fecf0"),
        ("?sslmode=disable", "sslmode=disable&options=-csearch_path%3Djetable_2fecf0"),
        ("?options=-cgeqo%3Doff&sslmode=disable", "options=-cgeqo%3Doff%20-csearch_path%3Djetable_2fecf0&sslmode=disable"),
    ],
)
def test_its_own_place_is_a_schema_in_which_everything_is_made(postgres: Broker, given: str, options: str) -> None:
    own = POSTGRES.own(postgres.url + given, MARK)
    assert own == f"{postgres.url}?{options}"
    try:
        with closing(Link(own)) as link:
            link.do("CREATE TABLE things (id integer)")
            assert link.ask("SELECT schemaname FROM pg_tables WHERE tablename = 'things'") == [("jetable_2fecf0",)]
    finally:
        POSTGRES.disown(postgres.url, MARK)
    with closing(Link(postgres.url)) as link:
        assert link.ask("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'jetable_2fecf0'") == [("0",)]


def test_it_tells_its_version_when_it_is_ready_and_why_when_it_is_not(client: Client) -> None:
    assert client.ready()[0].isdigit()
    port = free_port()
    secret = f"postgresql://postgres:hush@127.0.0.1:{port}/postgres"
    with closing(POSTGRES.open(secret)) as nobody, pytest.raises(ServiceError, match=f"127.0.0.1:{port}/postgres.*refused") as told:
        nobody.ready()
    assert "hush" not in str(told.value)


def test_a_login_that_is_refused_is_told(postgres: Broker) -> None:
    wrong = postgres.url.replace("postgres@", "nobody@")
    with closing(POSTGRES.open(wrong)) as client, pytest.raises(ServiceError, match='role "nobody" does not exist'):
        client.ready()


def test_jobs_are_counted_by_what_workers_may_do_with_them(client: Client, app: Link) -> None:
    queue = queue_of(client)
    assert queue.look().empty
    for number in range(5):
        queue.put(f"m-{number}", f'{{"id": "m-{number}"}}')
    app.do("UPDATE jobs SET locked_by = 'worker.1', locked_at = now(), locked_until = now() + interval '1m', attempts = 2 WHERE id = 2")
    app.do("UPDATE jobs SET locked_by = 'worker.2', locked_until = now() - interval '1m', attempts = 1 WHERE id = 3")
    app.do("UPDATE jobs SET run_at = now() + interval '1m' WHERE id = 4; UPDATE jobs SET failed_at = now() WHERE id = 5")
    look = queue.look()
    assert (look.ready, look.held, look.delayed, look.set_aside) == (2, 1, 1, 1)
    told = queue.told(10)
    assert told is not None
    assert [each.state for each in told] == [READY, HELD, READY, DELAYED, SET_ASIDE]
    assert [each.text for each in told] == [f'{{"id": "m-{number}"}}' for number in range(5)]
    assert (told[1].by, told[1].deliveries, told[1].redelivered) == ("worker.1", 2, True)
    assert told[1].until_s == pytest.approx(60, abs=30)
    assert (told[2].by, told[2].until_s, told[2].deliveries) == ("", None, 1)
    assert len(queue.take_rest(2)) == 2
    queue.remove()
    with pytest.raises(ServiceError, match='relation "jobs" does not exist'):
        queue.look()


def test_a_row_that_a_transaction_has_locked_is_held_by_the_name_of_its_connection(client: Client, app: Link) -> None:
    queue = queue_of(client)
    queue.put("m-0", "m-0")
    queue.put("m-1", "m-1")
    with app.transaction():
        app.ask("SELECT id FROM jobs ORDER BY id FOR UPDATE SKIP LOCKED LIMIT 1")
        told = queue.told(10)
        assert told is not None
        assert [(each.state, each.by, each.until_s) for each in told] == [(HELD, "worker.1", None), (READY, "", None)]
        assert queue.look().held == 1
    assert queue.look().ready == 2


def test_a_job_that_the_server_refuses_is_surely_not_there(client: Client, app: Link) -> None:
    queue = queue_of(client)
    app.do("ALTER TABLE jobs ADD CHECK (body <> 'bad')")
    with pytest.raises(PutRefusedError, match="violates check constraint"):
        queue.put("m-0", "bad")
    queue.put("m-1", "good")
    assert queue.look().ready == 1
    app.do("CREATE TABLE known (body text PRIMARY KEY); ALTER TABLE jobs ADD FOREIGN KEY (body) REFERENCES known NOT VALID")
    app.do("ALTER TABLE jobs ALTER CONSTRAINT jobs_body_fkey DEFERRABLE INITIALLY DEFERRED")
    with pytest.raises(PutRefusedError, match="violates foreign key"):  # only the COMMIT finds out
        queue.put("m-2", "m-2")
    assert queue.look().ready == 1


def test_a_connection_that_was_cut_before_the_commit_refuses_and_during_it_nobody_knows(
    client: Client, app: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = queue_of(client)
    link = queue._link  # type: ignore[attr-defined]  # whose connection is cut between two of its statements
    ask = link.ask

    def cut_before(word: str) -> None:
        def cutting(sql: str, values: tuple[str, ...] = ()) -> object:
            if sql.startswith(word):
                mine = ask("SELECT pg_backend_pid()")[0][0]
                app.ask("SELECT pg_terminate_backend($1::integer)", [mine])
            return ask(sql, values)

        monkeypatch.setattr(link, "ask", cutting)

    cut_before("INSERT")
    with pytest.raises(PutRefusedError, match=CUT):
        queue.put("m-0", "m-0")
    cut_before("COMMIT")
    with pytest.raises(ServiceError, match=CUT) as told:
        queue.put("m-1", "m-1")
    assert not isinstance(told.value, PutRefusedError)
    monkeypatch.undo()
    queue.put("m-2", "m-2")
    assert queue.look().ready == 1


def test_all_connections_but_our_own_are_cut(client: Client, app: Link, schema: str) -> None:
    app.ask("SELECT 1")
    await_clients(client, 1)
    with closing(POSTGRES.open(schema)) as ours:
        ours.ready()
        assert client.cut_connections() == 1
        link = ours._link  # type: ignore[attr-defined]  # the same connection as before, and no new one
        kept = link._connection
        ours.ready()
        assert link._connection is kept
    with pytest.raises(ServiceError, match=CUT):
        app.ask("SELECT 1")
    assert app.ask("SELECT 1") == [("1",)]


def test_a_table_of_the_app_s_own_is_spoken_to_in_its_own_words(client: Client, app: Link) -> None:
    queue = queue_of(
        client,
        declare="CREATE TABLE tasks (id serial, name text, payload jsonb, taken text); CREATE INDEX ON tasks (name)",
        insert="INSERT INTO tasks (name, payload) VALUES ({job}, {body})",
        states="SELECT CASE WHEN taken IS NULL THEN 'ready' ELSE 'held' END, name, taken, 7.5 FROM tasks ORDER BY name;",
    )
    queue.put("m-0", '{"n": 0}')
    queue.put("m-1", '{"n": 1}')
    app.do("UPDATE tasks SET taken = 'worker.1' WHERE name = 'm-0'")
    assert (queue.look().ready, queue.look().held) == (1, 1)
    told = queue.told(1)
    assert told is not None
    assert [(each.text, each.state, each.by, each.until_s, each.deliveries) for each in told] == [("m-0", HELD, "worker.1", 7.5, -1)]
    assert app.ask("SELECT payload->>'n' FROM tasks WHERE name = 'm-1'") == [("1",)]
    queue.remove()
    assert queue.look().ready == 1  # the app's own is left alone


def test_states_that_mean_nothing_are_an_error(client: Client) -> None:
    insert = "SELECT {body}"
    with pytest.raises(ServiceError, match='the state waiting; there is "ready", "held"'):
        queue_of(client, insert=insert, states="SELECT 'waiting', 'm-0'").look()
    with pytest.raises(ServiceError, match="no number"):
        queue_of(client, insert=insert, states="SELECT 'held', 'm-0', 'me', 'soon'").told(1)


@pytest.mark.parametrize(
    ("form", "options", "words"),
    [
        ("table", {"inserts": "x"}, 'there is no option "inserts" here, but "insert", "states"'),
        ("table", {"insert": "x"}, "needs states, too"),
        ("delayed_job", {"max_run_time": "soon"}, '"soon" is not a duration'),
    ],
)
def test_options_that_mean_nothing_are_told_by_name(client: Client, form: str, options: dict[str, str], words: str) -> None:
    with pytest.raises(KeyOfScenarioError, match=words):
        queue_of(client, form, **options)


def test_delayed_job_s_table_is_read_as_the_gem_reads_it(client: Client, app: Link) -> None:
    queue = queue_of(client, "delayed_job", max_run_time="10m", handler="--- !ruby/struct:Work\nbody: '{body}'\n")
    other = client.queue(QueueSpec(form="delayed_job", name="others"))
    other.declare()
    for number in range(4):
        queue.put(f"m-{number}", f'{{"id": "m-{number}", "it\'s": 1}}')
    other.put("o-0", "--- o-0")
    utc = "(now() AT TIME ZONE 'UTC')"
    app.do(f"UPDATE delayed_jobs SET locked_at = {utc} - interval '9m', locked_by = 'host:a pid:1' WHERE id = 1")  # noqa: S608  ours
    app.do(f"UPDATE delayed_jobs SET locked_at = {utc} - interval '11m', locked_by = 'host:a pid:2' WHERE id = 2")  # noqa: S608  ours
    app.do(f"UPDATE delayed_jobs SET run_at = {utc} + interval '1m', attempts = 1 WHERE id = 3")  # noqa: S608  ours
    app.do(f"UPDATE delayed_jobs SET failed_at = {utc} WHERE id = 4")  # noqa: S608  ours
    told = queue.told(10)
    assert told is not None
    assert [each.state for each in told] == [HELD, READY, DELAYED, SET_ASIDE]
    assert told[0].text == '--- !ruby/struct:Work\nbody: \'{"id": "m-0", "it\'\'s": 1}\'\n'
    assert told[0].by == "host:a pid:1"
    assert told[0].until_s == pytest.approx(60, abs=30)
    assert (queue.look().ready, other.look().ready) == (1, 1)


def test_effects_are_the_rows_that_came_since_and_none_before_there_is_a_table(client: Client, app: Link) -> None:
    effects = client.effects(DoneSpec(kind="query", name="SELECT job FROM effects;"))
    assert effects.new() == []
    app.do("CREATE TABLE effects (job text)")
    assert effects.new() == []
    app.do("INSERT INTO effects VALUES ('m-0'), ('m-1'), ('m-0')")
    assert Counter(effects.new()) == {"m-0": 2, "m-1": 1}
    assert effects.new() == []
    with app.transaction():
        app.ask("INSERT INTO effects VALUES ('m-1')")
        assert effects.new() == []
    assert effects.new() == ["m-1"]
    app.do("UPDATE effects SET job = job; DELETE FROM effects WHERE job = 'm-0'")
    assert effects.new() == []
    assert effects.counts
    with pytest.raises(AnsweredError, match='column "jib" does not exist'):
        client.effects(DoneSpec(kind="query", name="SELECT jib FROM effects")).new()


def test_a_server_that_is_frozen_is_given_up_and_asked_again_later(postgres: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    assert base.TIMEOUT_S < 10
    with closing(POSTGRES.open(postgres.url)) as client, closing(POSTGRES.open(postgres.url)) as fresh:
        client.ready()
        link = client._link  # type: ignore[attr-defined]  # the process that serves it
        served_by = int(link.ask("SELECT pg_backend_pid()")[0][0])
        assert postgres.process is not None
        os.kill(served_by, signal.SIGSTOP)
        os.kill(postgres.process.pid, signal.SIGSTOP)
        monkeypatch.setattr(postgres_client, "TIMEOUT_S", 0.3)
        try:
            for frozen in (client, fresh):
                with pytest.raises(ServiceError, match="no answer within"):
                    frozen.ready()
        finally:
            os.kill(postgres.process.pid, signal.SIGCONT)
            os.kill(served_by, signal.SIGCONT)
        monkeypatch.setattr(postgres_client, "TIMEOUT_S", 10.0)
        assert client.ready() == fresh.ready()


def test_what_it_was_given_is_there_after_it_was_killed(started: Callable[[Kind], Broker]) -> None:
    broker = started(POSTGRES)
    with closing(broker.client()) as client:
        queue = queue_of(client)
        for number in range(3):
            queue.put(f"m-{number}", f"m-{number}")
        broker.kill()
        with pytest.raises(PutRefusedError):
            queue.put("m-3", "m-3")
        broker.start()
        until(lambda: queue.look().ready == 3, "all of them are there", within_s=30)
    broker.stop()


def test_a_query_tells_all_rows_as_texts(client: Client) -> None:
    assert isinstance(client, Rows)
    assert list(client.rows("SELECT 1, NULL::text, 'ü' UNION ALL SELECT 2, 'x', 'y' ORDER BY 1;\n")) == [("1", None, "ü"), ("2", "x", "y")]
    with pytest.raises(ServiceError, match="nowhere"):
        client.rows("SELECT * FROM nowhere")
