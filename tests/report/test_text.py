"""Foreign text made fit to print."""

from __future__ import annotations

import unicodedata
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.report.text import clean, clean_lines, elapsed, encodable

FOREIGN = st.text(st.one_of(st.characters(), st.sampled_from("\x00\x07\x1b[]m\r\n\t\x85\u2028\u202e\ud800\ufffe😀é")))


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[1;31mERROR\x1b[0m failed", "ERROR failed"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\nb\r\nc", "a b c"),
        ("bell \x07 rings", r"bell \x07 rings"),
        ("cut off \x1b[", "cut off"),
        ("turned \u202e around", r"turned \u202e around"),
        ("half \ud800 pair", r"half \ud800 pair"),
        ("[bold]kept[/bold] 😀 naïve", "[bold]kept[/bold] 😀 naïve"),
    ],
)
def test_clean_text_says_what_was_written_and_moves_no_cursor(raw: str, shown: str) -> None:
    assert clean(raw) == shown


@settings(max_examples=40, deadline=None)
@given(FOREIGN)
def test_clean_text_is_one_line_without_control_characters_and_stays_as_it_is(raw: str) -> None:
    text = clean(raw)
    assert not [char for char in text if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")]
    assert len(text.splitlines()) <= 1
    assert clean(text) == text


@settings(max_examples=40, deadline=None)
@given(FOREIGN)
def test_clean_text_is_valid_in_xml_as_text_and_attribute(raw: str) -> None:
    element = ET.Element("x", {"a": clean(raw)})
    element.text = "\n".join(clean_lines(raw))
    back = ET.fromstring(ET.tostring(element, "utf-8"))  # noqa: S314  written one line above
    assert back.attrib["a"] == clean(raw)
    assert (back.text or "") == element.text


def test_lines_keep_their_indentation_and_empty_ones_go() -> None:
    assert clean_lines("Traceback:\n  File x\n\n\tdeeper\r\nend") == ["Traceback:", "  File x", "    deeper", "end"]


@settings(max_examples=40, deadline=None)
@given(FOREIGN)
def test_encodable_text_is_what_it_was_except_for_lone_surrogates(raw: str) -> None:
    encodable(raw).encode()
    if not any(unicodedata.category(char) == "Cs" for char in raw):
        assert encodable(raw) == raw


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0, "0.0 s"), (31.24, "31.2 s"), (99.94, "99.9 s"), (99.96, "1m40s"), (125.0, "2m05s"), (7500.0, "2h05m")]
)
def test_a_running_clock_shows_tenths_and_then_minutes(seconds: float, shown: str) -> None:
    assert elapsed(seconds) == shown
