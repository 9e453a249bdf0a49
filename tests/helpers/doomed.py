"""A harness for tests that gets killed: starts watchdog, engine and replicas as a run does, says ``ready``, and waits.

Usage: doomed.py RUN_ID LOGS [--endless] -- CHILD_OPTION...   With --endless it goes on starting replicas (up to 200).
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from harness.cleanup import make_scratch, start_watchdog
from harness.clock import MonotonicClock
from harness.engines import ENGINES
from harness.engines.base import EngineContext, ReplicaSpec

CHILD = Path(__file__).with_name("child.py")


def main() -> None:
    own, _, for_child = " ".join(sys.argv[1:]).partition(" -- ")
    run_id, logs, *flags = own.split()
    signal.alarm(60)
    watchdog = start_watchdog(run_id)
    _say(f"watchdog {watchdog.pid}")
    scratch = make_scratch(run_id)
    engine = ENGINES["process"](
        EngineContext(run_id=run_id, clock=MonotonicClock(), scratch=scratch, logs=Path(logs), on_exit=lambda _replica, _exit: None)
    )
    for number in range(200 if "--endless" in flags else 2):
        spec = ReplicaSpec(
            name=f"web.{number}",
            process="web",
            argv=("{python}", str(CHILD), *for_child.split()),
            environment={},
            working_dir=Path.cwd(),
        )
        replica = engine.start(spec)
        if "--endless" not in flags:
            while not engine.log_matches(replica, "^ready$"):
                MonotonicClock().sleep(0.005)
        elif number == 1:
            _say("starting")
    _say("ready")
    signal.pause()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
