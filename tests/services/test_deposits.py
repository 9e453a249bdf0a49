"""What a run makes in services of others is on record before it is made, and can be taken out by somebody else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from harness.errors import MachineError
from harness.marks import DEPOSITS_FILE
from harness.services.base import Kind, MakesBeside, QueueSpec, ServiceError
from harness.services.deposits import Deposit, EffectsDeposit, PlaceDeposit, QueueDeposit, record, recorded
from harness.services.rabbitmq import RABBITMQ
from harness.services.sqlite import SQLITE
from tests.services.brokers import Broker

ROOT = Path(__file__).parents[2]
URL = "redis://user:secret@127.0.0.1:6379/1"
OPTIONS = {"failed": "{queue}:failed", "n": 1, "is": True}
QUEUE = QueueDeposit(service="redis", url=URL, form="list", names=("jetable_2fecf0_jobs",), options=OPTIONS)
FILE = QueueDeposit(service="sqlite", url="sqlite:////srv/a.db", form="table", names=("jobs",), options={})
EFFECTS = EffectsDeposit(service="redis", url=URL, where="key", name="jetable_2fecf0_done")
PLACE = PlaceDeposit(service="postgres", url="postgresql://localhost/db", mark="2fecf0", place="schema jetable_2fecf0")


def test_what_is_on_record_is_read_again_in_its_order(tmp_path: Path) -> None:
    for deposit in (PLACE, QUEUE, EFFECTS):
        record(tmp_path, deposit)
    assert list(recorded(tmp_path)) == [PLACE, QUEUE, EFFECTS]


def test_nothing_is_on_record_of_a_run_that_made_nothing(tmp_path: Path) -> None:
    assert list(recorded(tmp_path)) == []


def test_a_line_that_was_cut_off_by_a_sudden_death_is_of_what_was_never_made(tmp_path: Path) -> None:
    record(tmp_path, QUEUE)
    record(tmp_path, EFFECTS)
    file = tmp_path / DEPOSITS_FILE
    file.write_bytes(file.read_bytes()[:-5])
    assert list(recorded(tmp_path)) == [QUEUE]


def test_nobody_else_may_read_the_record_since_it_has_passwords_in_it(tmp_path: Path) -> None:
    record(tmp_path, QUEUE)
    assert (tmp_path / DEPOSITS_FILE).stat().st_mode & 0o777 == 0o600


def test_what_can_not_be_recorded_is_told_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"can't write to .*nowhere: No such file or directory; free space"):
        record(tmp_path / "nowhere", QUEUE)


def test_a_disk_that_takes_half_a_line_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "write", lambda _fd, data: len(data) // 2)
    with pytest.raises(MachineError, match=r"can't write to .*: No space left on device; free space"):
        record(tmp_path, QUEUE)


@pytest.mark.parametrize(
    ("deposit", "words"),
    [
        (QUEUE, "jetable_2fecf0_jobs in redis at 127.0.0.1:6379"),
        (EFFECTS, "jetable_2fecf0_done in redis at 127.0.0.1:6379"),
        (PLACE, "schema jetable_2fecf0 in postgres at localhost"),
        (FILE, "jobs in sqlite at /srv/a.db"),
    ],
)
def test_words_say_what_it_is_and_where_without_a_password(deposit: Deposit, words: str) -> None:
    assert str(deposit) == words


def test_a_table_is_dropped_and_once_more_is_no_error(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'theirs.db'}"
    deposit = QueueDeposit(service="sqlite", url=url, form="table", names=("jetable_2fecf0_jobs",), options={})
    with closing(SQLITE.open(url)) as client:
        queue = client.queue(QueueSpec(form="table", name="jetable_2fecf0_jobs"))
        queue.declare()
        queue.put("1", "job 1")
        for _ in range(2):
            deposit.take_out()
            with pytest.raises(ServiceError, match="no such table"):
                queue.look()


MAKES_AND_DIES = """
import os, sys
from contextlib import closing
from harness.services.base import QueueSpec
from harness.services.rabbitmq import RABBITMQ

queue = RABBITMQ.open(sys.argv[1]).queue(QueueSpec(form="classic", name="jetable_2fecf0_jobs", options={"dead_letter": "jobs.dead"}))
print(*queue.beside(), flush=True)
queue.declare()
os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.live
@pytest.mark.parametrize("there", [False, True], ids=["made by the run", "there before"])
def test_a_queue_of_dead_letters_goes_with_the_queue_only_where_the_dead_process_had_made_it(
    started: Callable[[Kind], Broker], *, there: bool
) -> None:
    pytest.importorskip("pika")
    url = started(RABBITMQ).url
    with closing(RABBITMQ.open(url)) as client:
        theirs = client.queue(QueueSpec(form="classic", name="jobs.dead"))
        if there:
            theirs.declare()
        dead = subprocess.run([sys.executable, "-c", MAKES_AND_DIES, url], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
        beside = tuple(dead.stdout.split())
        assert beside == (() if there else ("jobs.dead",))
        deposit = QueueDeposit(
            service="rabbitmq", url=url, form="classic", names=("jetable_2fecf0_jobs", *beside), options={"dead_letter": "jobs.dead"}
        )
        queue = client.queue(QueueSpec(form="classic", name="jetable_2fecf0_jobs"))
        assert isinstance(queue, MakesBeside)
        assert queue.look().ready == 0
        for _ in range(2):
            deposit.take_out()
            with pytest.raises(ServiceError):
                queue.look()
        if there:
            assert theirs.look().ready == 0
        else:
            with pytest.raises(ServiceError):
                theirs.look()
