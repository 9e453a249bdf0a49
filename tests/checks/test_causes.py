"""Why something failed: each row of the table has a story that shows its evidence, and nothing is guessed without."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from harness.checks import judge
from harness.checks.causes import CAUSES, OF_DROPS, explain
from harness.checks.drops import NAMES, Drops, book
from harness.checks.facts import Facts
from harness.history import Close, Exited, Import, Imported, Invoke, PhaseReached, Process, Signalled, StartFailed, Survived
from harness.outcome import Outcome
from tests.checks.build import MS, ONE_KILL, STORIES, Story, at, failed_successor, start_run, steady_run, stop_run
from tests.checks.build_jobs import STORIES as STORIES_OF_JOBS
from tests.checks.page import PAGE, page


def stop(
    *asked: tuple[float, float, Outcome],
    exit_ms: float = 800,
    status: int = 0,
    reused: bool = True,
    purpose: str = "terminate",
    knocks: str = "refused",
) -> Callable[[], Story]:
    """web.1 is signalled at 700 and ends at ``exit_ms``; the requests ``asked`` of it fail."""

    def tell(story: Story) -> None:
        for begin, end, outcome in asked:
            story.ask("web.1", begin, end, outcome, reused=reused)
        story.signal("web.1", 700, purpose=purpose)
        story.knock("web.1", 710, 760, knocks)
        story.exit("web.1", exit_ms, status)

    return lambda: stop_run(tell, steps=ONE_KILL) if purpose == "kill" else stop_run(tell)


def left_behind() -> Story:
    def tell(story: Story) -> None:
        story.ask("web.1", 690, 1750, Outcome.CLOSED)
        story.signal("web.1", 700)
        story.exit("web.1", 702, 143)
        story.survive("web.1", 1702, "python app.py")
        story.signal("web.1", 1703, purpose="survivor")

    return stop_run(tell)


def refused_by_the_victim() -> Story:
    def tell(story: Story) -> None:
        story.ask("web.1", 690, 740)
        story.signal("web.1", 700)
        story.attempts([("web.1", 710, 711, Outcome.REFUSED)])
        story.exit("web.1", 800)

    return stop_run(tell)


def nobody_there() -> Story:
    story = steady_run()
    story.attempts([("", 500, 501, Outcome.REFUSED)])
    return story


def dead_and_refusing() -> Story:
    story = STORIES["fail--died-by-itself"]()
    story.lines = [line for line in story.lines if getattr(line, "outcome", "") != "closed-before-response"]
    story.attempts([("web.1", 720, 721, Outcome.REFUSED)])
    return story


def cut_anyway() -> Story:
    def tell(story: Story) -> None:
        story.ask("web.2", 600, 640, Outcome.TRUNCATED)
        story.ask("web.1", 690, 720, Outcome.TRUNCATED)
        story.ask("web.1", 710, 720, Outcome.TRUNCATED)
        story.signal("web.1", 700)
        story.exit("web.1", 800)

    return stop_run(tell)


def behind(command: str) -> Story:
    def tell(story: Story) -> None:
        story.ask("web.1", 690, 703, Outcome.CLOSED)
        story.signal("web.1", 700)
        story.exit("web.1", 703, 0)

    return stop_run(tell, command=command)


def never_answered() -> Story:
    story = steady_run().without(Invoke, Close)
    for when in range(200, 1000, 100):
        story.ask("web.1", when, when + 5, Outcome.ERROR, request=0)
        story.ask("web.2", when, when + 5, request=1)
    return story


def not_ready() -> Story:
    """The replica that took the place of web.1 answers three requests with an error, and never again."""

    def tell(story: Story) -> None:
        story.ask("web.1", 690, 760)
        story.signal("web.1", 700)
        story.exit("web.1", 780)
        story.start("web.3", 1000, step=2, replaces="web.1")
        for when in (1060, 1070, 1080):
            story.ask("web.3", when, when + 5, Outcome.ERROR, request=0)
        for when in range(1200, 2400, 100):
            story.ask("web.3", when, when + 5, request=0)

    return stop_run(tell)


def nothing_answered() -> Story:
    """No request is ever answered, whether a stop is near or not."""

    def tell(story: Story) -> None:
        story.lines = [line for line in story.lines if not isinstance(line, Invoke | Close)]
        story.ops = 0
        for when in range(100, 690, 20):
            story.ask("web.2", when, when + 2, Outcome.CLOSED, reused=False, request=0)
        story.ask("web.1", 690, 702, Outcome.CLOSED, reused=False, request=0)
        story.signal("web.1", 700)
        story.exit("web.1", 720)

    story = stop_run(tell)
    answered = {line.op for line in story.lines if isinstance(line, Close) and line.outcome == Outcome.OK}
    story.lines = [line for line in story.lines if not (isinstance(line, Invoke | Close) and line.op in answered)]
    return story


def killed(*asked: tuple[float, float, Outcome], knocks: str = "") -> Story:
    """web.1 is killed at 1700, at the end of its grace."""

    def tell(story: Story) -> None:
        for begin, end, outcome in asked:
            story.ask("web.1", begin, end, outcome)
        story.signal("web.1", 700, grace_s=1.0)
        if knocks:
            story.knock("web.1", 710, 1690, knocks)
        story.signal("web.1", 1700, purpose="grace-over")
        story.exit("web.1", 1702, 137)

    return stop_run(tell)


def deaf(disposition: str) -> Story:
    """It serves until SIGKILL; what the main process did on the signal was seen just before it."""

    def tell(story: Story) -> None:
        story.ask("web.1", 690, 760)
        story.signal("web.1", 700, grace_s=1.0, disposition=disposition)
        story.knock("web.1", 710, 1690, "served")
        story.signal("web.1", 1700, purpose="grace-over")
        story.exit("web.1", 1702, 137)

    return stop_run(tell)


def daemon() -> Story:
    """The main process of web.1 ends with status 0 before it is healthy, and what it started goes on."""
    story = STORIES["fail--exited-at-start"]()
    story.lines = [line for line in story.lines if not isinstance(line, StartFailed | Exited)]
    story.exit("web.1", 900, 0, commanded=False)
    left = (Process(pid=200, command="node server.js"),)
    story.tell(StartFailed(at_ns=at(1900), step=0, replica="web.1", reason="exited", detail="it exited with status 0", left=left))
    return story


def changed(story: Story, **changes: str) -> Story:
    """``story``, in which every signal is told with ``changes``."""
    story.lines = [msgspec.structs.replace(line, **changes) if isinstance(line, Signalled) else line for line in story.lines]
    return story


def mute(story: Story) -> Story:
    """``story``, in which nobody left a log."""
    story.lines = [msgspec.structs.replace(line, log=()) if isinstance(line, Exited) else line for line in story.lines]
    return story


def manager(command: str = "/usr/bin/npm start", *, served: bool = False) -> Story:
    """A process manager ends at once, or serves until SIGKILL."""

    def tell(story: Story) -> None:
        story.ask("web.1", 690, 760)
        story.signal("web.1", 700, grace_s=1.0)
        if served:
            story.knock("web.1", 710, 1690, "served")
            story.signal("web.1", 1700, purpose="grace-over")
            story.exit("web.1", 1702, 137)
        else:
            story.exit("web.1", 705, 143)
            story.survive("web.1", 1705, "node server.js")

    return stop_run(tell, command=command)


def orphans() -> Story:
    def tell(story: Story) -> None:
        story.ask("web.1", 690, 740)
        story.signal("web.1", 700, purpose="kill")
        story.exit("web.1", 701, 137)
        story.survive("web.1", 1701, "python worker.py")

    return stop_run(tell, steps=({"steady": "500ms"}, {"kill": {"replica": "oldest", "scope": "main"}}, {"steady": "500ms"}))


def leaves_child(story: Story) -> None:
    story.ask("web.1", 690, 740)
    story.signal("web.1", 700)
    story.exit("web.1", 780)
    left = (Process(pid=200, command="sleep 3600"),)
    story.tell(Survived(at_ns=at(1790), replica="web.1", after_ns=1000 * MS, processes=left))


def ended_with_status_1(story: Story) -> None:
    story.ask("web.1", 690, 760)
    story.signal("web.1", 700, purpose="signal", signal="SIGHUP", wants_busy=False)
    story.exit("web.1", 702, 1, commanded=False)


def unlistened(story: Story) -> Story:
    """Nobody ever saw a port open."""
    story.lines = [line for line in story.lines if not (isinstance(line, PhaseReached) and line.phase == "listening")]
    return story


def slow(listening_ms: float, *imports: Import) -> Story:
    """web.3 takes a second to start, and listens after ``listening_ms``."""
    story = stop_run(replaced, expect=["startup_time max < 100ms"])
    story.lines = [line for line in story.lines if not (isinstance(line, PhaseReached) and line.replica == "web.3")]
    phases = (("running", 2.0), ("listening", listening_ms), ("healthy", 1000.0))
    story.tell(*(PhaseReached(at_ns=at(1000 + ms), replica="web.3", phase=phase) for phase, ms in phases))
    if imports:
        story.tell(Imported(at_ns=at(2600), replica="web.3", total_ns=sum(each.self_ns for each in imports), top=imports))
    return story


def replaced(story: Story) -> None:
    story.ask("web.1", 690, 760)
    story.signal("web.1", 700)
    story.exit("web.1", 780)
    story.start("web.3", 1000, step=2, replaces="web.1")


def never(detail: str) -> Story:
    story = STORIES["fail--never-ready"]()
    failed = [line for line in story.lines if isinstance(line, StartFailed)]
    story.lines = [line for line in story.lines if line not in failed]
    story.tell(StartFailed(at_ns=at(1005), step=0, replica="web.1", reason="never-healthy", detail=detail, log=("warming up",)))
    return story


def may_not_be_sent_twice() -> Story:
    """A POST that a kill cuts, of a load that retries."""
    story = stop((690, 701, Outcome.CLOSED), purpose="kill", exit_ms=701, status=137)()
    load = story.scenario.load.model_copy(update={"retries": 2})
    story.scenario = story.scenario.model_copy(update={"load": load})
    story.lines = [
        msgspec.structs.replace(line, request=1) if isinstance(line, Invoke) and line.at_ns == at(690) else line for line in story.lines
    ]
    return story


def queued() -> Story:
    """A connection waits in the accept queue when the listener is closed, before the router knows."""

    def tell(story: Story) -> None:
        story.ask("web.1", 690, 760)
        story.signal("web.1", 700, lag_s=0.3)
        story.knock("web.1", 701, 702, "reset")
        story.close_listener("web.1", 701.5, backlog=1)
        story.exit("web.1", 780)

    return stop_run(tell)


def of_a_shell(command: str) -> Story:
    def tell(story: Story) -> None:
        story.ask("web.1", 690, 740)
        story.signal("web.1", 700)
        story.exit("web.1", 701, 143)
        story.survive("web.1", 1701, "node server.js")

    return stop_run(tell, command=f"sh -c {command}")


OF_THE_REST: dict[str, tuple[Callable[[], Story], str, str]] = {
    "jobs were in hand on the replica when SIGKILL came": (
        STORIES_OF_JOBS["fail--stranded-jobs--grace-too-short"],
        "killed-after-grace",
        "It still worked on 1 job when",
    ),
    "the command runs a script of package.json (npm, npx, yarn, pnpm) in a shell": (
        lambda: of_a_shell("cd app && npm start"),
        "signal-swallowed-by-shell",
        "a shell does not pass SIGTERM on",
    ),
    "the main process is a shell whose command begins with cd, and the app outlived it, or the shell had to be killed": (
        lambda: of_a_shell("cd app && node server.js"),
        "signal-swallowed-by-shell",
        "a shell does not pass SIGTERM on",
    ),
    "the command runs a script of package.json (npm, npx, yarn, pnpm), and a process that outlived it holds the port": (
        manager,
        "survivors",
        "is npm and not the server: it got SIGTERM and ended, and pid 200 (node server.js), which holds the port, went on.",
    ),
    "the command runs a script of package.json (npm, npx, yarn, pnpm), and new connections were served until SIGKILL": (
        lambda: manager(served=True),
        "killed-after-grace",
        "was there until SIGKILL, and so was what served",
    ),
    "no more were lost than waited in the accept queue when the listener was closed": (
        queued,
        "new-connections-dropped",
        "1 connection waited in the accept queue",
    ),
    "new connections were taken after the signal and lost before the router knew of it": (
        STORIES["fail--new-connections-dropped"],
        "new-connections-dropped",
        "nobody served what connected to it",
    ),
    "the main process is a shell that runs a command, and the app outlived it, or the shell had to be killed": (
        STORIES["fail--signal-swallowed-by-shell"],
        "signal-swallowed-by-shell",
        "a shell does not pass SIGTERM on",
    ),
    "process 1 of a container is a shell with a script, and the app did not hear of the stop": (
        STORIES["fail--signal-not-forwarded"],
        "signal-not-forwarded",
        "runs the app as its child (sh /entrypoint.sh)",
    ),
    "the main process is a reloader or a process manager by its command line, and a process that outlived it holds the port": (
        lambda: manager("nodemon server.js"),
        "survivors",
        "is nodemon and not the server: it got SIGTERM and ended, and pid 200 (node server.js), which holds the port, went on.",
    ),
    "the main process is a reloader or a process manager by its command line, and new connections were served until SIGKILL": (
        lambda: manager("nodemon server.js", served=True),
        "killed-after-grace",
        "was there until SIGKILL, and so was what served",
    ),
    "process 1 of a container does not hold the port, and its child, which does, served until SIGKILL": (
        STORIES["fail--signal-not-forwarded--init"],
        "signal-not-forwarded",
        "Process 1 (python start.py) only started the app",
    ),
    "the last new connection before SIGKILL was served": (STORIES["fail--killed-after-grace"], "killed-after-grace", "was ignored"),
    "the main process ignored the signal when it came (SIG_IGN), and the last new connection before SIGKILL was served": (
        lambda: deaf("ignored"),
        "killed-after-grace",
        "SIGTERM was ignored by the main process (SIG_IGN, which",
    ),
    "process 1 of a container had no handler for the signal, and the last new connection before SIGKILL was served": (
        lambda: deaf("default").contain(),
        "killed-after-grace",
        "no handler for SIGTERM and is process 1",
    ),
    "streams were open on the replica when SIGKILL came, and no other request was in flight": (
        STORIES["fail--streams-held"],
        "killed-after-grace",
        "1 stream was still open when the grace of 1.00 s was over, the oldest of them for 1.50 s",
    ),
    "requests were in flight on the replica when SIGKILL came": (
        lambda: killed((690, 1702, Outcome.TRUNCATED)),
        "killed-after-grace",
        "1 request was still under way when the grace of 1.00 s was over, the oldest of them for 1.01 s",
    ),
    "it had stopped listening and answered everything, and was still there when the grace was over": (
        lambda: killed((690, 760, Outcome.OK), knocks="refused"),
        "killed-after-grace",
        "had answered all that was in flight after 60.0 ms, and did not exit",
    ),
    "new connections were taken until SIGKILL, and not served": (
        lambda: killed((690, 760, Outcome.OK), knocks="hung"),
        "killed-after-grace",
        "nobody answered there",
    ),
    "SIGKILL was sent at the end of the grace, and nobody knows what it did until then": (
        lambda: killed((690, 760, Outcome.OK)),
        "killed-after-grace",
        "did not come to its end",
    ),
    "a process that outlived the main process holds the port": (
        orphans,
        "survivors",
        "pid 200 (python worker.py) went on and holds the port",
    ),
    "descendants were there a second after the main process had ended": (
        lambda: stop_run(leaves_child),
        "survivors",
        "without ending the processes",
    ),
    "another signal than the stop signal ended it, and it left a log": (
        STORIES["fail--crashed-while-stopping"],
        "crashed-while-stopping",
        "Segmentation fault",
    ),
    "another signal than the stop signal ended it": (lambda: mute(STORIES["fail--crashed-while-stopping"]()), "crashed-while-stopping", ""),
    "the main process ignored the signal when it came (SIG_IGN), and SIGKILL was needed at the end of the grace": (
        lambda: changed(STORIES["fail--ignored-while-starting"](), disposition="ignored"),
        "ignored-while-starting",
        "and the main process ignored it until SIGKILL",
    ),
    "it is process 1 of its container, without an init or a handler that was seen, and SIGKILL was needed": (
        lambda: STORIES["fail--ignored-while-starting"]().contain(),
        "ignored-while-starting",
        "while it started, 100 ms after it was asked for and before it listened; process 1 of a container gets no signal",
    ),
    "the signal came before it was healthy, and SIGKILL was needed at the end of the grace": (
        STORIES["fail--ignored-while-starting"],
        "ignored-while-starting",
        "nothing came of it until SIGKILL",
    ),
    "the signal came before it was healthy, and its log has a traceback": (
        STORIES["fail--crashed-while-starting"],
        "crashed-while-starting",
        "the start broke. The last line of web.3's log: KeyError: 'pool'",
    ),
    "the signal came before it was healthy, and the exit status is neither 0 nor 128 plus the signal's number": (
        lambda: start_run(2, 810),
        "crashed-while-starting",
        "SIGTERM came while it started, 100 ms after it was asked for",
    ),
    "the exit status is 128 plus the signal's number, and the signal was not seen to be caught": (
        STORIES["fail--ended-by-signal"],
        "ended-by-signal",
        "Nothing handles SIGHUP",
    ),
    "it exited soon after the signal, which it caught, or with another status": (
        lambda: stop_run(ended_with_status_1),
        "ended-by-signal",
        "It exited with status 1, 2.00 ms after SIGHUP",
    ),
    "the port was in use, and a process that outlived the replica before it holds one": (
        STORIES["fail--exited-at-start--orphans"],
        "exited-at-start",
        "pid 200 (python worker.py) outlived the main process of web.1",
    ),
    "another process holds the port": (STORIES["fail--port-taken"], "port-taken", "The last line of web.1's log"),
    "the replica before it was killed, and its log speaks of a pid, lock or socket file that is there": (
        STORIES["fail--exited-at-start--left-file"],
        "exited-at-start",
        "fatal: already running",
    ),
    "it ended with status 0 before it was healthy, and processes that it had started were there a second later": (
        daemon,
        "exited-at-start",
        "the process that was started (app) ended with status 0, and pid 200 (node server.js) went on without it",
    ),
    "its log says that an address was in use": (
        lambda: failed_successor("ERROR: [Errno 98] error while attempting to bind on address ('127.0.0.1', 8765): address already in use"),
        "exited-at-start",
        "web.3's log says: ERROR: [Errno 98]",
    ),
    "it listens on another port than the one that it was given": (
        lambda: never("it listens on port 8765, not on its PORT 22240 (waited 5s)"),
        "never-ready",
        "It listens on port 8765, not on its PORT 22240.",
    ),
    "its certificate was refused": (
        lambda: never("its certificate was refused: Hostname mismatch; mend ca or server_name in tls:"),
        "never-ready",
        "Its certificate was refused: Hostname mismatch.",
    ),
    "it was asked without TLS, gave no answer, and shook hands with TLS": (
        lambda: never("GET / got no answer: RemoteDisconnected; it speaks TLS: write tls: true (waited 4s)"),
        "never-ready",
        "It speaks TLS and was asked without.",
    ),
    "it was asked with TLS, and no handshake was done": (
        lambda: never(
            "GET / got no answer: it does not speak TLS as it should (wrong version number); remove tls: where it speaks plain HTTP"
        ),
        "never-ready",
        "does not speak TLS as it should (wrong version number).",
    ),
    "its health check was answered with a 4xx": (
        lambda: never("GET /health was answered with 404 (waited 4s)"),
        "never-ready",
        "GET /health was answered with 404.",
    ),
    "its health check was answered with a 5xx": (
        lambda: never("GET /health was answered with 503 (waited 4s)"),
        "never-ready",
        "GET /health was answered with 503.",
    ),
    "it ended before it was healthy": (STORIES["fail--exited-at-start"], "exited-at-start", "The last line of web.1's log"),
    "its port is open on the loopback address of its container only": (
        lambda: never("it listens on its loopback address only"),
        "never-ready",
        "warming up",
    ),
    "the image's own health check does not pass": (lambda: never("its own health check had not passed"), "never-ready", "warming up"),
    "its port is open": (lambda: never("GET /health got no answer: ReadTimeout (waited 4s)"), "never-ready", "warming up"),
    "no port is open, in a container": (lambda: unlistened(STORIES["fail--never-ready"]()).contain(), "never-ready", "warming up"),
    "no port is open": (lambda: unlistened(STORIES["fail--never-ready"]()), "never-ready", "warming up"),
    "the engine said why": (STORIES["fail--start-failed"], "start-failed", "The last line of web.1's log"),
    "a time of starts is too long, and imports took at least half as long as the whole start": (
        lambda: slow(800, Import(name="pandas", self_ns=600 * MS, slowest="pandas.core"), Import(name="app", self_ns=20 * MS)),
        "expectation-failed",
        "web.3 took 1.00 s until it was healthy; its processes spent 620 ms on imports, most on pandas.core 600 ms and app 20.0 ms.",
    ),
    "a time of starts is too long, and more than half of it passed between listening and healthy": (
        lambda: slow(100),
        "expectation-failed",
        "listened after 100 ms, and its health check passed only 900 ms later",
    ),
    "a time of starts is too long, at least half of it passed before it listened, and it told its imports, which took less": (
        lambda: slow(900, Import(name="app", self_ns=20 * MS)),
        "expectation-failed",
        "took 900 ms of its 1.00 s before it listened",
    ),
    "a time of starts is too long, and at least half of it passed before it listened": (
        lambda: slow(900),
        "expectation-failed",
        "took 900 ms of its 1.00 s before it listened",
    ),
}

WITH_EVIDENCE: dict[str, tuple[Callable[[], Story], str]] = {
    "they ended as at least nine of ten of the same requests did with no fault near": (nothing_answered, "the fault has no part in it"),
    "no request was answered as expected in the whole run": (nothing_answered, "No request was answered in this whole run"),
    "all were cut in the middle of an answer, and other answers of the run were cut with no fault near": (
        cut_anyway,
        "no fault near as well",
    ),
    "SIGKILL was sent at the end of the grace, and all of them ended after it": (
        STORIES["fail--dropped-in-flight--grace-over"],
        "grace of 1.00 s",
    ),
    "descendants outlived the main process, and some of these requests did too": (left_behind, "1 descendant went on serving"),
    "all on new connections without a byte of an answer, and the accept queue was not empty when the listener closed": (
        STORIES["fail--dropped-in-flight--backlog"],
        "accept queue (1 connection)",
    ),
    "the exit status is 128 plus the signal's number, and the process was gone at once": (
        STORIES["fail--dropped-in-flight"],
        "Nothing handles SIGTERM",
    ),
    "all of them timed out": (stop((690, 1900, Outcome.TIMEOUT)), "no whole answer came in time"),
    "the stop signal came a second time, and all of them ended after that": (
        STORIES["fail--dropped-in-flight--second-signal"],
        "when it came a second time, 200 ms later",
    ),
    "the main process is a reloader or a process manager by its command line, and it ended before its grace was over": (
        lambda: behind("python -m flask --app app --debug run"),
        "is the reloader of flask and not the server: it got SIGTERM and exited with status 0",
    ),
    "the exit status is 0, and they ended at the same moment as the main process, or later": (
        stop((690, 799, Outcome.CLOSED)),
        "is none: the process exited with status 0, 100 ms after SIGTERM",
    ),
    "they ended at the same moment as the main process, or later": (
        stop((690, 799, Outcome.CLOSED), status=1),
        "exited with status 1, 100 ms after SIGTERM",
    ),
    "the replica ended by a signal that it should live through": (STORIES["fail--ended-by-signal"], "SIGHUP ended the process"),
    "the replica lived on": (STORIES["fail--dropped-at-signal"], "cut them when SIGHUP came"),
    "they are all there is of their requests: none of those ended otherwise in the whole run": (never_answered, "never answered otherwise"),
    "within 2 s after a replica became healthy, with no fault near; it answered the same requests after that, and not before": (
        not_ready,
        "before the app was ready",
    ),
    "all of them ended well before the main process did": (stop((690, 703, Outcome.CLOSED)), "while it went on"),
    "some on new connections while knocks were not refused, and all ended well before the main process did": (
        stop((720, 722, Outcome.CLOSED), reused=False, knocks="reset"),
        "took new connections 51.0 ms after SIGTERM, and the app closed them",
    ),
    "some on new connections, and knocks after the signal were not refused": (
        STORIES["fail--dropped-after-signal"],
        "still took new connections 86.0 ms after SIGTERM, and they were cut when it exited",
    ),
    "all on reused connections, and they ended with the main process": (
        stop((710, 799, Outcome.TRUNCATED)),
        "Kept-alive connections went on",
    ),
    "they ended with the main process": (stop((710, 799, Outcome.CLOSED), reused=False), "were cut when it exited"),
    "closed before a byte of an answer, on a reused connection, sent after the signal": (
        STORIES["fail--keep-alive-race"],
        "idle kept-alive",
    ),
    "the load retries already, and all of them are of methods that may not be sent twice": (may_not_be_sent_twice, "may not be sent twice"),
    "the fault is a SIGKILL": (stop((690, 701, Outcome.CLOSED), purpose="kill", exit_ms=701, status=137), "SIGKILL can't be answered"),
    "there was no replica to go to, and no fault near": (nobody_there, "though none was being stopped"),
    "there was no replica to go to while something was being done to one": (STORIES["fail--unavailable"], "No other replica was up"),
    "all of them got no answer or no connection in time": (STORIES["fail--dropped-while-paused"], "hung for 500 ms"),
    "some of their connections were closed or their answers cut": (
        STORIES["fail--dropped-while-paused--cut-afterwards"],
        "after it had hung for 500 ms",
    ),
    "all of them met nothing but silence": (STORIES["fail--dropped-while-cut-off"], "could not be reached for 500 ms"),
    "some of their connections were lost": (STORIES["fail--dropped-while-cut-off--reset"], "did not live through the 500 ms"),
    "the kernel killed in the replica while the harness had lowered its limit of memory": (
        STORIES["fail--lost-by-oom"],
        "the kernel killed its main process",
    ),
    "the harness had lowered the limit of memory, and nothing was killed": (STORIES["fail--dropped-while-squeezed"], "killed nothing"),
    "the last replica that they tried had just been stopped": (refused_by_the_victim, "was being stopped and refused them"),
    "the last replica that they tried had ended by itself": (dead_and_refusing, "had ended by itself"),
    "answered 503 or 429 by a replica that was being stopped": (stop((690, 720, Outcome.REJECTED)), "answered that it is stopping"),
    "answered 5xx by a replica that was being stopped": (stop((690, 720, Outcome.ERROR)), "answered with an error"),
    "the replica ended by itself at that moment": (STORIES["fail--died-by-itself"], "with status 139"),
    "closed before a byte of an answer, all on reused connections, with no fault near": (
        STORIES["fail--dropped-without-fault"],
        "nobody had stopped it",
    ),
    "cut in the middle of an answer by a replica that went on running": (STORIES["fail--truncated-answers"], "in the middle of its answer"),
    "the load had waited for the scenario's time-out when it ended": (STORIES["fail--unfinished"], "still under way when the load ended"),
}


def drops_of(story: Story) -> list[Drops]:
    return list(book(Facts(story.history())).groups)


@pytest.mark.parametrize("needs", WITH_EVIDENCE)
def test_with_its_evidence_a_row_tells_cause_and_cure(needs: str) -> None:
    tell, words = WITH_EVIDENCE[needs]
    rows = [row for row in CAUSES if row.needs == needs]
    story = drops_of(tell())
    told = [explain(drops) for row in rows for drops in story if drops.name == row.name and row.fits(drops)]
    assert [cure for cause, cure in told if words in cause][:1] == [rows[0].cure], told


@pytest.mark.parametrize("needs", OF_THE_REST)
def test_with_its_evidence_a_row_about_a_stop_or_a_start_tells_cause_and_cure(needs: str) -> None:
    tell, name, words = OF_THE_REST[needs]
    cures = {row.cure for row in CAUSES if row.needs == needs and row.name == name}
    found = [finding for finding in judge(tell().history()).findings if finding.name == name]
    assert [finding.cure for finding in found if words in finding.cause and finding.cure in cures], found


@pytest.mark.parametrize(
    ("story", "name", "words"),
    [
        (lambda: changed(STORIES["fail--ended-by-signal"](), disposition="caught"), "ended-by-signal", "It exited with status 129"),
        (lambda: changed(STORIES["fail--ended-by-signal"](), disposition="default"), "ended-by-signal", "Nothing handles SIGHUP"),
        (lambda: deaf("caught").contain(), "killed-after-grace", "SIGTERM was ignored: it went on"),
        (lambda: deaf("default").contain(init=True), "killed-after-grace", "SIGTERM was ignored: it went on"),
        (
            lambda: changed(STORIES["fail--ignored-while-starting"](), disposition="caught").contain(),
            "ignored-while-starting",
            "nothing came of it until SIGKILL",
        ),
    ],
)
def test_what_was_seen_of_a_handler_is_not_contradicted(story: Callable[[], Story], name: str, words: str) -> None:
    (found,) = [finding for finding in judge(story().history()).findings if finding.name == name]
    assert words in found.cause


def test_every_row_is_told_by_a_story() -> None:
    assert {row.needs for row in CAUSES} == {*WITH_EVIDENCE, *OF_THE_REST}


def test_every_row_belongs_to_a_name_and_has_a_cure() -> None:
    assert {row.name for row in OF_DROPS} <= set(NAMES)
    assert all(row.cure and row.needs for row in CAUSES)


def test_the_page_for_people_is_made_of_the_table() -> None:
    assert PAGE.read_text() == page(), "run python -m tests.checks.page"


@pytest.mark.parametrize("name", ["fail--wrong-answers", "fail--timeouts"])
def test_without_evidence_nothing_is_said(name: str) -> None:
    (drops,) = drops_of(STORIES[name]())
    assert explain(drops) == ("", "")


def test_what_a_fault_has_no_part_in_stands_behind_what_tells_of_all_like_it() -> None:
    found = [finding for finding in judge(nothing_answered().history()).findings if finding.check == "requests" and finding.cause]
    assert [finding.name for finding in found] == ["dropped-without-fault", "dropped-in-flight"]


def test_errors_without_a_fault_are_not_blamed_on_one() -> None:
    def tell(story: Story) -> None:
        story.ask("web.2", 690, 740, Outcome.ERROR)
        story.ask("web.1", 690, 740)
        story.signal("web.1", 700)
        story.exit("web.1", 780)

    (drops,) = drops_of(stop_run(tell))
    assert explain(drops) == ("", "")
