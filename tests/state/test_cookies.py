"""The cookies of a session."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.state.cookies import Cookies


def cookies(*written: str, asked: str = "/login", date: str = "Sun, 22 Nov 2026 15:00:00 GMT") -> Cookies:
    made = Cookies()
    for each in written:
        made.take((("date", date), ("set-cookie", each)) if date else (("set-cookie", each),), asked)
    return made


def test_what_was_set_is_sent_whatever_host_and_security_it_was_set_for() -> None:
    made = cookies("session=abc; Secure; HttpOnly; SameSite=Strict; Domain=example.org; Path=/", "b=2")
    assert made.header("/me?x=1") == "session=abc; b=2"


def test_the_last_one_of_a_name_counts() -> None:
    assert cookies("a=1", "a=2").header("/") == "a=2"


@pytest.mark.parametrize(
    ("written", "asked", "sent"),
    [
        ("a=1; Path=/admin", "/admin", True),
        ("a=1; Path=/admin", "/admin/x", True),
        ("a=1; Path=/admin/", "/admin/x", True),
        ("a=1; Path=/admin", "/administrator", False),
        ("a=1; Path=/admin", "/", False),
        ("a=1; Path=relative", "/x", True),
    ],
)
def test_a_cookie_of_a_path_is_sent_below_it_alone(written: str, asked: str, *, sent: bool) -> None:
    assert cookies(written).header(asked) == ("a=1" if sent else "")


def test_a_cookie_without_a_path_belongs_to_the_folder_of_its_request() -> None:
    made = cookies("a=1", asked="/app/login?next=/x/y")
    assert (made.header("/app/me"), made.header("/app"), made.header("/other")) == ("a=1", "a=1", "")


def test_longer_paths_come_first() -> None:
    assert cookies("a=1; Path=/", "a=2; Path=/x").header("/x/y") == "a=2; a=1"


@pytest.mark.parametrize(
    ("attributes", "left"),
    [
        ("Max-Age=0", False),
        ("Max-Age=-1", False),
        ("Max-Age=00", False),
        ("Max-Age=" + "9" * 5000, True),
        ("Max-Age=60", True),
        ("Expires=Thu, 01 Jan 1970 00:00:00 GMT", False),
        ("Expires=Sun, 22 Nov 2026 14:59:59 GMT", False),
        ("Expires=Sun, 22 Nov 2026 15:00:01 GMT", True),
        ("Expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=60", True),
        ("Expires=soon", True),
        ("Max-Age=x", True),
    ],
)
@pytest.mark.parametrize("again", ["a=; ", "a=2; "])
def test_a_cookie_that_has_ended_is_forgotten(attributes: str, again: str, *, left: bool) -> None:
    made = cookies("a=1", "b=1", again + attributes)
    assert ("a=" in made.header("/")) == left
    assert "b=1" in made.header("/")


def test_without_a_date_only_what_is_long_over_has_ended() -> None:
    assert cookies("a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", date="").header("/") == ""
    assert cookies("a=1; Expires=Sun, 22 Nov 2026 14:59:59 GMT", date="").header("/") == "a=1"


def test_values_are_kept_as_they_are_and_what_is_no_cookie_is_left_out() -> None:
    assert cookies('a="x=y"; Path=/', "nonsense", "=v").header("/") == 'a="x=y"'


@settings(max_examples=200)
@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from(["Max-Age", "Expires", "Path", "x"]))
def test_nothing_that_an_app_sets_raises(text: str, date: str, attribute: str) -> None:
    made = cookies(text, f"a=1; {attribute}={text}", f"b={text}; Expires={text} GMT", asked=text, date=date)
    assert isinstance(made.header(text), str)
