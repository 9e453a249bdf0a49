"""A harness for tests that gets killed while it makes things on a Docker engine; it says ``making`` when the first one is there.

Usage: doomed_maker.py RUN_ID IMAGE
"""

from __future__ import annotations

import signal
import sys
import threading

from harness.cleanup import make_scratch, start_watchdog
from harness.dockerd import connect
from harness.marks import mark_labels, record_daemon

MOST = 40


def main() -> None:
    run_id, image = sys.argv[1:]
    signal.alarm(60)
    watchdog = start_watchdog(run_id)
    _say(f"watchdog {watchdog.pid}")
    scratch = make_scratch(run_id)
    daemon = connect()
    record_daemon(scratch, daemon.url)
    labels = mark_labels(run_id)
    network = daemon.api.create_network(f"{run_id}-net", labels=labels)["Id"]

    def make() -> None:
        for _ in range(MOST):
            config = daemon.api.create_host_config(network_mode=network)
            made = daemon.api.create_container(image, ["sleep", "60"], labels=labels, host_config=config, volumes=["/data"])
            daemon.api.start(made["Id"])
            _say("making")

    makers = [threading.Thread(target=make) for _ in range(2)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    _say("enough")
    signal.pause()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
