"""Text that people or models wrote, made safe; and the small clocks."""

import unicodedata

import pytest
from conftest import Clock
from hypothesis import given
from hypothesis import strategies as st

from gpt.stopwatch import Stopwatch
from gpt.text import visible


@given(st.text())
def test_nothing_that_steers_a_terminal_is_left(text: str) -> None:
    shown = visible(text)
    assert all(
        unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
        for character in shown.replace("\n", "")
    )


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs"))))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;owned\x07", "␛]0;owned␇"),
        ("a\tb\nc", "a    b\nc"),
        ("\x9b31m", "<U+009B>31m"),
        ("abc\u202edef", "abc<U+202E>def"),
        ("\ud800", "<U+D800>"),
        ("\x7f", "␡"),
    ],
)
def test_what_would_steer_becomes_a_mark(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_line_can_be_kept_a_line() -> None:
    assert visible("a\nb", keep="") == "a␊b"


def test_a_pause_counts_in_no_time_and_a_lap_is_the_mean_of_its_steps() -> None:
    clock = Clock()
    watch = Stopwatch(clock=clock)
    for seconds in (1.0, 3.0):
        watch.start_step()
        clock.now += seconds
        watch.end_step()
    clock.now += 10.0  # an evaluation: working time, but no step
    watch.hold()
    clock.now += 1000.0
    assert watch.worked() == pytest.approx(14.0)
    watch.go_on()
    assert watch.worked() == pytest.approx(14.0)
    assert watch.since_save() == pytest.approx(14.0)
    assert watch.lap() == pytest.approx(2000.0)
    watch.saved()
    clock.now += 5.0
    assert watch.since_save() == pytest.approx(5.0)


def test_a_resumed_watch_goes_on_from_what_was_worked() -> None:
    clock = Clock()
    watch = Stopwatch(worked=60.0, clock=clock)
    clock.now += 1.0
    assert watch.worked() == pytest.approx(61.0)
