"""Pictures of operations: narrow, escaped, and with all that they should show."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from harness.monitors import lanes
from harness.monitors.calls import NEVER, Call, Calls, Ended, F, calls_of
from harness.monitors.lanes import COLUMNS, MOST_DRAWN
from harness.monitors.words import Moment
from tests.monitors.histories import FS, Recipe, histories

MS = 1_000_000
SVG = "{http://www.w3.org/2000/svg}"


def call(f: F, at_ms: int, took_ms: int = 5, *, ended: Ended = Ended.OK, **also: object) -> Call:
    return Call(f=f, call_ns=at_ms * MS, ret_ns=(at_ms + took_ms) * MS, ended=ended, **also)  # type: ignore[arg-type]  # as Call takes them


def parsed(drawn: str) -> ElementTree.Element:
    return ElementTree.fromstring(drawn)  # noqa: S314  it is our own


def stale() -> Calls:
    return calls_of(
        [
            call(F.WRITE, 0, arg=3, session="1", replica="web.1"),
            call(F.WRITE, 14, arg=4, session="2", replica="web.2"),
            call(F.WRITE, 30, arg=5, session="2", replica="web.2", ended=Ended.INFO),
            call(F.CAS, 40, arg=4, arg2=6, session="4", ended=Ended.FAIL),
            call(F.READ, 60, result=3, session="3", replica="web.1"),
        ]
    )


MOMENTS = (
    Moment(at_ns=-2500 * MS, until_ns=-2500 * MS + 999, text="SIGKILL", replica="web.3"),
    Moment(at_ns=-2040 * MS, until_ns=-2040 * MS, text="start", replica="web.1", fault=False),
    Moment(at_ns=20 * MS, until_ns=50 * MS, text="pause", replica="web.2"),
    Moment(at_ns=22 * MS, until_ns=NEVER, text="partition"),
    Moment(at_ns=-9000 * MS, until_ns=-9000 * MS, text="SIGTERM", replica="web.4"),
)


def test_a_picture_has_a_lane_for_each_session_and_for_each_replica_that_something_was_done_to() -> None:
    drawn = lanes.text(stale(), MOMENTS)
    assert [line[:17].strip() for line in drawn[:-1]] == [
        "web.3",
        "web.1",
        "web.2",
        "target",
        "client 1 at web.1",
        "client 2 at web.2",
        "client 4",
        "client 3 at web.1",
        "",
    ]
    assert "▼SIGKILL" in drawn[0]
    assert "△start" in drawn[1]
    assert re.search("╞═+pause═+╡", drawn[2])
    assert re.search("╞═+partition═+→", drawn[3])
    assert re.search("├─*w1 3─*┤", drawn[4])
    assert re.search("├─*w2 4─*┤ +├─*w3 5─*→", drawn[5])
    assert re.search("├─*c4 4→6─*✗", drawn[6])
    assert re.search("├─*r5 3─*┤", drawn[7])
    assert drawn[8].count("⫽") == 2
    assert "-2.50 s" in drawn[8]
    assert "+60.0 ms" in drawn[8]


def test_a_bar_is_left_of_another_one_only_when_it_ended_before() -> None:
    drawn = lanes.text(stale())
    left = {line.split(" at ")[0]: line for line in drawn if line.startswith("client")}
    assert left["client 1"].index("┤") < left["client 2"].index("├")
    touching = calls_of([call(F.WRITE, 0, arg=1, session="a"), call(F.WRITE, 5, arg=2, session="b")])
    first, second = lanes.text(touching)[:2]
    assert first.index("┤") > second.index("├")


def test_what_one_session_left_open_has_a_line_of_its_own() -> None:
    one = calls_of([call(F.WRITE, 0, arg=1, ended=Ended.INFO), call(F.WRITE, 9, arg=2)])
    assert ["w1 1" in line for line in lanes.text(one)[:2]] == [True, False]


@pytest.mark.parametrize("model", FS)
def test_each_picture_fits_its_columns_and_shows_each_operation(model: str) -> None:
    for calls in histories(Recipe(model=model, most=12, keys=2), seed=5, count=20):
        lines = lanes.text(calls, MOMENTS)
        assert max(map(len, lines)) <= COLUMNS
        drawn = " ".join(lines)
        assert all(re.search(rf"[a-z]{number}\b", drawn) for number in range(1, len(calls) + 1))


def test_what_is_too_much_to_draw_is_counted_and_what_is_too_wide_goes_on_below() -> None:
    many = calls_of([call(F.WRITE, 3 * n, 2, arg=n, session=str(n % 3)) for n in range(MOST_DRAWN + 960)])
    lines = lanes.text(many)
    assert lines[-1] == "960 more operations are not drawn"
    assert max(map(len, lines)) <= COLUMNS
    assert "" in lines
    assert "w1 0" in " ".join(lines)
    assert "w1000 999" in " ".join(lines)
    assert "960 more operations are not drawn" in lanes.svg(many)


def test_long_names_and_odd_values_break_nothing() -> None:
    odd = calls_of(
        [
            call(F.WRITE, 0, arg="<script>&\"'\x1b[2J\x00", session="s" * 80, replica="r" * 80),
            call(F.WRITE, 9, arg="漢字" * 30, session="漢字"),
            call(F.WRITE, 19, arg="", session="\ud800"),
            call(F.READ, 29, items=["]]>", "\u202e"], session="{x}"),
        ]
    )
    moments = (Moment(at_ns=0, until_ns=5 * MS, text="<b>" * 20, replica="&" * 50),)
    assert max(map(len, lanes.text(odd, moments))) <= COLUMNS
    assert all(char.isprintable() for line in lanes.text(odd, moments) for char in line)
    root = parsed(lanes.svg(odd, moments))
    titles = [title.text or "" for title in root.iter(f"{SVG}title")]
    assert any("<script>&" in title for title in titles)
    assert not [
        node
        for node in root.iter()
        if node.tag not in {SVG + name for name in ("svg", "style", "rect", "line", "path", "text", "g", "title")}
    ]


def test_an_svg_is_one_element_that_needs_nothing_else() -> None:
    drawn = lanes.svg(stale(), MOMENTS)
    root = parsed(drawn)
    assert root.tag == f"{SVG}svg"
    assert "href" not in drawn
    assert "url(" not in drawn
    assert "prefers-color-scheme:dark" in drawn
    kinds = [node.get("class") for node in root.iter(f"{SVG}rect")]
    assert {kind: kinds.count(kind) for kind in ("jl-ok", "jl-unknown", "jl-refused", "jl-fault", "jl-across")} == {
        "jl-ok": 3,
        "jl-unknown": 1,
        "jl-refused": 1,
        "jl-fault": 2,
        "jl-across": 3,
    }
    titles = [title.text for title in root.iter(f"{SVG}title")]
    assert "r5: a read; it answered 3" in titles
    assert "the SIGKILL of web.3" in titles
    assert len([path for path in root.iter(f"{SVG}path") if path.get("class") == "jl-cut"]) == 2


def test_bars_of_one_line_never_overlap() -> None:
    for calls in histories(Recipe(model="register", most=30), seed=9, count=20):
        root = parsed(lanes.svg(calls))
        lines: dict[str, list[tuple[float, float]]] = {}
        for node in root.iter(f"{SVG}rect"):
            if node.get("class") in ("jl-ok", "jl-refused", "jl-unknown"):
                x = float(node.get("x", "0"))
                lines.setdefault(node.get("y", ""), []).append((x, x + float(node.get("width", "0"))))
        assert all(end < begin for bars in lines.values() for (_, end), (begin, _) in pairwise(sorted(bars)))


def test_no_operations_make_an_empty_picture() -> None:
    assert lanes.text(calls_of([])) == ["no operation"]
    assert parsed(lanes.svg(calls_of([]))).tag == f"{SVG}svg"
