"""No load: nothing is sent, and nobody waits for it."""

from __future__ import annotations

from harness.load.base import Load
from harness.load.none import NoLoad
from harness.load.tail import Demand


def test_no_load_is_a_load_that_never_has_anything_under_way() -> None:
    load: Load = NoLoad()
    load.start()
    load.publish("web.1", "127.0.0.1", 1)
    load.hold("web.1")
    counts = [load.on_the_way, load.in_flight, load.answering, load.connected, load.held, load.sent]
    assert [count("web.1") for count in counts] == [0] * 6
    assert load.alive()
    assert load.met(Demand(replica="web.1", when="in-flight", at_ns=1, until_ns=2))
    for end in (load.release, load.withdraw, load.vanish, load.forget):
        end("web.1")
    load.set_step(2)
    load.stop(at_once=True)
    assert not load.last_words()
