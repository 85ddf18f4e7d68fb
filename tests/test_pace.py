"""How often something is drawn, and which columns of a row are sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.lines import CHARACTER, COLOUR, Row, changed, weight
from tui.pace import SELDOM, Pace


def test_what_is_drawn_waits_for_its_time() -> None:
    # given
    pace = Pace(1.0)

    # when: ticks come a little early or late
    drawn = [pace.due(now, free=True) for now in (0.0, 0.51, 0.99, 1.5, 2.01)]

    # then
    assert drawn == [True, False, True, False, True]


def test_a_terminal_that_is_behind_gets_less_from_then_on() -> None:
    # given
    pace = Pace(1.0)

    # when
    assert not pace.due(0.0, free=False)

    # then
    assert not pace.due(1.0, free=True)
    assert pace.due(2.0, free=True)


def test_the_pace_recovers_when_the_terminal_keeps_up() -> None:
    # given
    pace = Pace(1.0)
    for now in range(0, 100, 20):
        pace.due(float(now), free=False)
    assert pace.seconds == SELDOM

    # when
    for _ in range(40):
        with pace.drawing():
            pass

    # then
    assert pace.seconds == pytest.approx(1.0)


rows = st.lists(st.tuples(st.sampled_from(["plain", "good"]), st.text("ab ⠒", max_size=4)))


@given(rows, rows)
def test_outside_the_changed_columns_two_rows_look_the_same(old: Row, new: Row) -> None:
    # given
    width = 20
    before, after = (cells(row, width) for row in (old, new))

    # when
    start, end = changed(old, new, width)

    # then
    assert before[:start] == after[:start]
    assert before[end:] == after[end:]


def test_a_row_weighs_what_its_changed_columns_say_and_their_colours() -> None:
    row: Row = [("plain", "aaaa"), ("good", "bb"), ("plain", "cccc")]
    assert weight(row, 0, 4) == COLOUR + 4 * CHARACTER
    assert weight(row, 3, 7) == 3 * COLOUR + 4 * CHARACTER
    assert weight(row, 10, 20) == 0


def cells(row: Row, width: int) -> list[tuple[str, str]]:
    found = [(role, letter) for role, text in row for letter in text]
    return (found + [("plain", " ")] * width)[:width]
