"""`jetable check --history`: what a person types, reads and gets as an exit code, most of it wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import cli

DATA = Path(__file__).parent / "data"
WRITE = '{"f": "write", "value": 1, "call_ns": 1, "ret_ns": 2}\n'
EVENT = "{:type :invoke, :f :write, :value 3, :process 0}\n"
OK = "{:type :ok, :f :write, :value 3, :process 0}\n"
TIMED = '{"type": "invoke", "f": "write", "value": 3, "process": 0, "time": 5000000000}\n'
LOG = "INFO  jepsen.util - 0\t:invoke\t:write\t3\n"


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")


def jetable(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main.main(args=[str(argument) for argument in arguments], prog_name="jetable")
    return int(ended.value.code or 0)


BROKEN: list[tuple[str | bytes, str, str]] = [
    # what stands in the file, options, what is said
    ("", "", ": it is empty; nothing can be judged"),
    (" \n\n", "", "it is empty"),
    ("\ufeff", "", "it is empty"),
    (b"\xff\xfe{\x00", "", "it is not UTF-8 text"),
    (b"{:type :invoke, :f :write, :value \"\xff\", :process 0}\n", "", ":1: it is not UTF-8 text; save it as UTF-8"),
    (LOG.encode() + b"\xe4\n", "", ":2: it is not UTF-8 text"),
    (b"JEPSEN\x00\x01", "", "it is Jepsen's binary file; give the history.edn"),
    (b"\x00\x01\x02", "", "it looks like no dialect"),
    ("hello\n", "", "it looks like no dialect"),
    ("<html>", "", "it looks like no dialect"),
    ("f,value\nwrite,3\n", "", "it looks like no dialect"),
    ("{}", "--model register", "no dialect"),
    ("[]", "--model register", "it holds no operation of a client"),
    ("()", "", "it holds no operation of a client"),
    ("3", "--dialect jsonl", ":1: must be `object`, got `int`"),
    ("hello", "--dialect jepsen-log", "it holds no operation of a client"),
    ("hello", "--dialect jepsen-edn --model register", ":1: 'hello is no event"),
    ("hello", "--dialect jepsen-json", ":1: it is no JSON"),
    # Jetable's own
    (WRITE + '{"f": "wri', "", ":2: it is cut off in the midst of a JSON object"),
    (WRITE + '{"f": "write", "value": 1,}', "", ":2: it is no JSON"),
    (WRITE + "write 3\n", "", ":2: it is no JSON"),
    (WRITE + "[]\n", "", ":2: must be `object`, got `array`"),
    ("[" + WRITE, "", "it is cut off"),
    (WRITE + '{"value": 1}', "", "missing required field `f`"),
    (WRITE + '{"f": 3}', "", ":2: f: must be `str`, got `int`"),
    (WRITE + '{"f": "wirte", "value": 1}', "--model register", ':2: a register has no operation "wirte" (did you mean "write"?)'),
    (WRITE + '{"f": "add", "value": 1}', "--model register", "judge it with --model set"),
    (WRITE + '{"f": "add", "value": 1}', "", 'no model has all of its operations ("add" and "write")'),
    ('{"f": "add", "value": 1}', "", "say which with --model"),
    (WRITE, "--model queue", "judge it with --model register"),
    (WRITE + '{"f": "read"}', "", ":2: some lines have call_ns and some have none"),
    ('{"f": "read", "value": 1}', "--model register", ":1: a read has no value; write what it answered as result"),
    ('{"f": "write", "value": 1, "call_ns": 1}', "", ":1: an operation that ended ok needs ret_ns"),
    ('{"f": "write", "value": 1, "call_ns": 1, "ended": "fail"}', "", ":1: an operation that ended fail needs ret_ns"),
    ('{"f": "write", "value": 1, "call_ns": 5, "ret_ns": 2}', "", ":1: it returned 3 ns before it was called"),
    ('{"f": "write", "value": 1, "call_ns": 5e30, "ret_ns": 2}', "", "past any clock"),
    ('{"f": "write", "value": 1, "call_ns": 99999999999999999999, "ret_ns": 2}', "", "past any clock"),
    ('{"f": "write", "value": 1, "call_ns": true, "ret_ns": 2}', "", "call_ns: must be"),
    ('{"f": "write", "value": 1, "ended": "done"}', "", ':1: ended is "done"'),
    ('{"f": "write", "valeu": 1}', "", 'an operation has no field "valeu" (did you mean "value"?)'),
    ('{"f": "write"}', "", ":1: a write needs a value"),
    ('{"f": "cas", "value": [1, 2]}', "", ":1: a cas needs old and new"),
    ('{"f": "cas", "old": 1, "new": 2, "result": 1}', "", "must be true or false, not the number 1"),
    ('{"f": "read", "result": 3}', "--model log", ":1: a read of a log must answer a list"),
    ('{"f": "add", "value": "x"}', "--model counter", ":1: x is no number that a counter can hold"),
    ('{"f": "add", "value": 1.5}', "--model counter", "1.5 is no number"),
    ('{"f": "write", "value": ' + "[" * 3000 + "]" * 3000 + "}", "", ":1: its values are nested deeper than any history needs"),
    # Jepsen's JSON
    ('{"type": "invoke", "f": "write"}', "", ":1: the event has no process"),
    ('{"type": "invoke", "process": 0}', "", ":1: the event has no f"),
    ('{"type": "done", "f": "write", "process": 0}', "", ":1: its type is done"),
    ('{"type": "ok", "f": "write", "value": 3, "process": 0}', "", ":1: process 0 completes :write that it never invoked"),
    ('{"type": "invoke", "f": "write", "value": 3, "process": 0, "time": "x"}', "", "time: must be"),
    ('{"type": "info", "f": "kill", "process": "nemesis"}', "", "it holds no operation of a client"),
    (TIMED + TIMED + TIMED.replace("5000000000", "1"), "", ":3: its time is 5 s before"),
    # EDN
    (EVENT + "{:type :ok, :f :wri", "", ":2: the map that begins here never ends; the file may be cut off"),
    ("[" + EVENT, "", ":1: the vector that begins here never ends"),
    ("(" + EVENT + "]", "", ":2: ] closes nothing that is open"),
    (EVENT + '{:type :ok, :f :write, :value "3', "", ":2: the text that begins here is never closed"),
    (EVENT + "{:type :ok :f}", "", ":2: the map that begins here has a key without a value"),
    (EVENT + "{:type :ok :f :write :f :read :process 0}", "", ":2: the map that begins here has a key twice"),
    (EVENT + "#_", "", "#_ stands before nothing"),
    (EVENT + OK + OK, "", ":3: process 0 completes :write that it never invoked"),
    (OK, "", ":1: process 0 completes :write that it never invoked"),
    (EVENT + OK.replace(":value 3", ":value 4"), "", ":2: :write was invoked with 3 on line 1 and completed with 4;"),
    (EVENT + OK.replace(":write", ":cas"), "", ":2: process 0 completes :cas, but had invoked :write on line 1"),
    (EVENT + "{:type :okay, :f :write, :process 0}", "", ":2: its type is :okay"),
    (EVENT + "{:type :ok, :f :write}", "", ":2: the event has no :process"),
    (EVENT + "7", "", ":2: 7 is no event"),
    (EVENT, "--model set", ':1: a set has no operation "write"'),
    (EVENT.replace(":write", ":txn"), "--model register", ':1: a register has no operation "txn"'),
    (EVENT.replace(":value 3", ":value 012"), "", '"012" is not a number'),
    (EVENT.replace("process 0", "process 0 :time 1.5"), "", "its time is 1.5"),
    (EVENT.replace("0", "0 :index 4") + OK.replace("0", "0 :index 3"), "", ":2: its :index 3 comes after 4"),
    ("{:type :invoke, :f :cas, :value 3, :process 0}", "", ":1: a cas needs the old and the new value, not 3"),
    ("{:type :invoke, :f :add, :value :x, :process 0}", "--model counter", ":1: :x is no number"),
    (EVENT, "--keyed yes", ":1: 3 is no pair of a key and a value"),
    # logs
    (LOG + "INFO  jepsen.util - 0\t:o", "", ":2: the line of an event is cut off"),
    (LOG + "INFO  jepsen.util - 0\t:ok\t:wri", "--model register", ":2: process 0 completes :wri, but had invoked :write"),
    (LOG + "INFO  jepsen.util - 1\t:ok\t:write\t3", "", ":2: process 1 completes :write that it never invoked"),
    (LOG + "INFO  jepsen.util - 1\t:invoke\t:cas\t[3", "", ':2: its value "[3" can\'t be read'),
]  # fmt: skip  # a table


@pytest.mark.parametrize(("written", "options", "says"), BROKEN)
def test_a_broken_history_is_told_in_one_sentence_with_its_place(
    written: str | bytes, options: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "history"
    path.write_bytes(written if isinstance(written, bytes) else written.encode())
    assert jetable("check", "--history", path, *options.split()) == 4
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"jetable: {path}:"), captured.err
    assert captured.err.count("\n") == 1
    assert says in captured.err, captured.err


def test_the_broken_ones_are_many() -> None:
    assert len(BROKEN) >= 60


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--history", "nowhere"], 4, "nowhere: there is no such file"),
        (["--history", "empty"], 5, "empty: holds no history"),
        (["--history", "x", "--model", "regsiter"], 4, 'did you mean "register"?); name "register", "set"'),
        (["--history", "x", "--dialect", "edn"], 4, "--dialect edn: there is no such dialect"),
        (["--history", "x", "--budget", "30"], 4, "--budget 30: needs a unit: write 30s or 30ms"),
        (["--history", "x", "--model", "set", "--initial", "0"], 4, "--initial is the first value of a register"),
        (["--history", "x", "--failed-cas", "maybe"], 4, "'maybe' is not one of 'look', 'nothing'"),
        (["--history", "x", "--reporter", "json"], 4, "--reporter has no meaning with --history"),
        (["--model", "register", "x"], 4, "--model has no meaning without --history FILE"),
        (["--json", "x"], 4, "--json has no meaning without --history FILE"),
        ([], 4, "nothing to judge; name stored runs"),
        (["--history", "x", "--witness", "nowhere/w"], 8, "the witness can't be written"),
    ],
)
def test_a_wrong_command_line_is_told_with_its_cure(
    arguments: list[str], code: int, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "x").write_text('{"f": "write", "value": 1}\n{"f": "read", "result": 2}\n')
    assert jetable("check", *arguments) == code
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted(DATA.glob("*/*.*")), ids=lambda path: path.stem)
def test_simulated_histories_get_the_verdict_they_were_made_for(path: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    good = path.name.startswith("good")
    witness = tmp_path / "w.jsonl"
    assert jetable("check", "--history", path, "--model", "register", "--witness", witness) == (0 if good else 1)
    assert ("not linearizable: " not in capsys.readouterr().out) == good
    assert witness.exists() != good
    if not good:
        assert jetable("check", "--history", witness, "--model", "register") == 1


def test_all_files_of_a_folder_are_judged_in_one_json_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert jetable("check", "--json", "--model", "register", "--history", DATA / "edn") == 1
    document = json.loads(capsys.readouterr().out)
    assert document["exit_code"] == 1
    verdicts = {Path(history["file"]).name: history["verdict"] for history in document["histories"]}
    assert len(verdicts) == 4
    assert all((verdict == "pass") == name.startswith("good") for name, verdict in verdicts.items())


def test_several_files_follow_and_an_unreadable_one_leaves_the_others_judged(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "broken").write_text("hello")
    good, bad = DATA / "edn/good-1.edn", DATA / "edn/bad-1.edn"
    assert jetable("check", "--history", good, tmp_path / "broken", bad) == 4
    captured = capsys.readouterr()
    assert "looks like no dialect" in captured.err
    assert captured.out.endswith("3 histories: 1 linearizable, 1 not linearizable, 1 not readable\n")
    assert jetable("check", "--json", f"--history={tmp_path / 'broken'}") == 4
    assert json.loads(capsys.readouterr().out)["histories"][0]["error"].startswith(str(tmp_path))


def test_what_nil_and_a_failed_cas_mean_can_be_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "x.edn"
    path.write_text(EVENT + OK + "{:type :invoke :f :read :process 0}{:type :ok :f :read :value nil :process 0}")
    assert jetable("check", "--history", path) == 1
    assert jetable("check", "--history", path, "--nil", "unknown") == 7
    path.write_text(EVENT + OK + "{:type :invoke :f :cas :value [3 4] :process 0}{:type :fail :f :cas :value [3 4] :process 0}")
    assert jetable("check", "--history", path, "--failed-cas", "look") == 1
    assert jetable("check", "--history", path) == 7
    path.write_text("{:type :invoke :f :read :process 0}{:type :ok :f :read :value 0 :process 0}")
    assert jetable("check", "--history", path, "--model", "register", "--initial", "0") == 0
    assert jetable("check", "--history", path, "--model", "register") == 1
    capsys.readouterr()


def test_the_witness_is_said_to_be_missing_where_nothing_is_wrong(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    good = DATA / "edn/good-1.edn"
    assert jetable("check", "--history", good, "--witness", tmp_path / "w") == 0
    assert "none was written" in capsys.readouterr().err
