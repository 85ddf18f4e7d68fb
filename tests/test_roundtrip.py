"""How far behind a terminal is, by what it answers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from textual.app import App
from textual.events import CursorPosition, Key
from textual.geometry import Size
from textual.message import Message

from tests.conftest import Clock
from tests.seat import Sit, sit  # noqa: F401 - a fixture
from tui.driver import LAST_ANSWER, LAST_SLOW_ANSWER, taking_over
from tui.lines import CHARACTER, COLOUR, Lines, Row
from tui.manners import MannerlyApp
from tui.opening import Opening
from tui.pace import Room
from tui.roundtrip import PATIENCE, QUESTION, RoundTrip

FRAME = "x" * 1000
LINUX = "textual.drivers.linux_driver.LinuxDriver"


def answered(line: RoundTrip, clock: Clock, bytes_a_second: float) -> None:
    """Draw, and have the terminal read it at this rate."""
    assert line.follow(FRAME) == FRAME + QUESTION
    clock.now += len(FRAME) / bytes_a_second
    line.answer()


def test_one_question_is_open_at_a_time(clock: Clock) -> None:
    # given
    line = RoundTrip(clock)
    answered(line, clock, 1e6)

    # when
    first, second = line.follow(FRAME), line.follow(FRAME)

    # then
    assert (first, second) == (FRAME + QUESTION, FRAME)
    assert line.open
    line.answer()
    assert not line.open


def test_a_quick_line_is_waited_for_only_when_it_is_late(clock: Clock) -> None:
    # given
    line = RoundTrip(clock)
    answered(line, clock, 1e6)
    line.follow(FRAME)

    # then
    assert not line.waiting
    clock.now += 0.5
    assert line.waiting


@pytest.mark.parametrize("bytes_a_second", [700, 2000, 20_000])
def test_a_slow_line_gets_what_it_takes_in_a_blink(bytes_a_second: int, clock: Clock) -> None:
    # given
    line = RoundTrip(clock)
    size = 300

    # when
    seconds: list[float] = []
    for _ in range(60):
        line.follow("x" * size)
        seconds.append(size / bytes_a_second)
        clock.now += seconds[-1]
        line.answer()
        size = line.share or 4000

    # then
    assert all(it < 0.7 for it in seconds[20:])
    assert max(seconds[20:]) > 0.1


def test_a_slow_line_that_becomes_quick_gets_everything_again(clock: Clock) -> None:
    line = RoundTrip(clock)
    answered(line, clock, 500)
    assert line.share is not None

    for _ in range(12):
        line.follow("x" * (line.share or 4000))
        clock.now += 0.01
        line.answer()
    assert line.share is None


@pytest.mark.parametrize("way", [0.05, 0.25, 0.6])
def test_a_line_that_is_far_away_is_not_slow_for_long(way: float, clock: Clock) -> None:
    # given
    line = RoundTrip(clock)

    # when
    for seconds in [way, way, way + 0.5, *[way] * 20]:
        line.follow("x" * (line.share or 4000))
        clock.now += seconds
        line.answer()

    # then
    assert line.share is None


def test_bytes_behind_a_question_do_not_make_a_slow_line_look_quick(clock: Clock) -> None:
    # given
    line = RoundTrip(clock)
    answered(line, clock, 300)
    slow = line.share

    # when
    line.follow("x" * 300)
    line.follow("x" * 100_000)
    clock.now += 0.1
    line.answer()
    clock.now += 100.0
    line.follow("x" * 300)
    clock.now += 0.1
    line.answer()

    # then
    assert slow is not None
    assert line.share is not None
    assert line.share <= 3 * slow


def test_a_terminal_that_never_answers_is_never_waited_for(clock: Clock) -> None:
    line = RoundTrip(clock)
    line.follow(FRAME)
    assert not line.waiting


def test_an_answer_that_is_lost_is_not_waited_for_for_ever(clock: Clock) -> None:
    # given
    line = RoundTrip(clock)
    answered(line, clock, 1e6)
    line.follow(FRAME)
    clock.now += PATIENCE / 2
    assert line.waiting

    # when
    clock.now += PATIENCE

    # then
    assert not line.waiting
    assert line.follow(FRAME) == FRAME + QUESTION


class Told(App[None]):
    """An app on a line that takes so many bytes at once."""

    def __init__(self, share: int | None) -> None:
        super().__init__()
        self._driver = cast(Any, SimpleNamespace(line=SimpleNamespace(share=share)))


def rows(*texts: str) -> list[Row]:
    return [[("plain", text)] for text in texts]


class Whole(Lines):
    """Lines that are all on screen."""

    def visible_rows(self) -> list[Row]:
        return self.rows

    @property
    def size(self) -> Size:
        return Size(4, 8)

    @property
    def painted(self) -> list[Row]:
        return list(self._painted)


def test_rows_are_painted_in_pieces_until_all_are_as_they_should_be() -> None:
    # given
    lines, room = Whole(), Room()
    lines.put(rows("aaaa", "bbbb", "same", "cccc"))
    lines.room = room

    # when
    share = COLOUR + 4 * CHARACTER + 1
    with room.of(Told(share)):
        lines.put(rows("AAAA", "BBBB", "same", "CCCC"))
        at_first, unpainted = lines.painted, lines.unpainted
    with room.of(Told(share)):
        lines.repaint()

    # then, of rows of four characters in one colour, one that fits and one that begins in its room
    assert at_first == rows("AAAA", "BBBB", "same", "cccc")
    assert unpainted
    assert lines.painted == lines.rows
    assert not lines.unpainted


@pytest.mark.parametrize("app", [None, Told(None)])
def test_on_a_quick_line_and_at_the_end_all_is_painted_at_once(app: App[None] | None) -> None:
    # given
    lines, room = Whole(), Room()
    lines.room = room

    # when
    with room.of(app):
        limited = room.limited
        lines.put(rows(*"abcdefgh"))

    # then
    assert not limited
    assert lines.painted == lines.rows


def test_what_a_person_asks_for_between_ticks_is_painted_at_once() -> None:
    # given
    lines, room = Whole(), Room()
    lines.room = room
    with room.of(Told(1)):
        pass

    # when
    lines.put(rows(*"abcdefgh"))

    # then
    assert lines.painted == lines.rows


def test_the_next_question_waits_for_the_answer(sit: Sit) -> None:  # noqa: F811
    # given
    seat = sit()
    seat.shows(QUESTION)
    seat.insist("?", "esc  back")
    asked = seat.output.count(QUESTION.encode())

    # when
    seat.press("\x1b[12;40R\x1b")

    # then
    seat.until(lambda: seat.output.count(QUESTION.encode()) == 2)
    assert asked == 1


def test_the_terminals_answers_are_kept_from_the_app(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    driver: Any = object.__new__(taking_over(Opening()))
    driver.line = RoundTrip(clock)
    answered(driver.line, clock, 1e6)
    driver.line.follow(FRAME)
    was_open, passed = driver.line.open, list[Message]()
    monkeypatch.setattr(f"{LINUX}.process_message", lambda _, message: passed.append(message))

    # when
    key = Key("a", "a")
    for message in (CursorPosition(3, 4), key):
        driver.process_message(message)

    # then
    assert was_open
    assert not driver.line.open
    assert passed == [key]


def test_after_each_picture_what_writes_it_is_let_through(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    written, let = list[str](), list[str]()
    app = MannerlyApp()
    driver: Any = object.__new__(taking_over(Opening()))
    driver.line, driver.asks, driver._app = RoundTrip(clock), True, app
    monkeypatch.setattr(f"{LINUX}.write", lambda _, data: written.append(data))
    monkeypatch.setattr(app.precedence, "let_write", lambda: let.append(written[-1]))

    # when
    for data in ("\x1b[?2026h", FRAME, "\x1b[?2026l"):
        driver.write(data)

    # then
    assert let == [FRAME + QUESTION]


@pytest.mark.parametrize(
    ("share", "patience"), [(None, LAST_ANSWER), (1000, LAST_SLOW_ANSWER)], ids=["quick", "slow"]
)
@pytest.mark.parametrize("late", [False, True])
def test_on_the_way_out_the_answer_is_read_as_long_as_it_may_come(
    share: int | None,
    patience: float,
    late: bool,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would be typed into the shell."""
    # given a driver whose terminal has a question open, and answers before or after its time
    driver: Any = object.__new__(taking_over(Opening()))
    driver.line, driver.asks = RoundTrip(clock), True
    answered(driver.line, clock, 1e6)
    driver.line.share = share
    driver.line.follow(FRAME)
    due, left = clock.now + patience * (1.1 if late else 0.9), list[float]()

    def sleep(seconds: float) -> None:
        clock.now += seconds
        if clock.now >= due:
            driver.line.answer()

    monkeypatch.setattr("tui.driver.time", SimpleNamespace(sleep=sleep, monotonic=clock))
    monkeypatch.setattr(f"{LINUX}.disable_input", lambda _: left.append(clock.now))

    # when
    begun = clock.now
    driver.disable_input()

    # then it stops reading then, and asks no more
    assert left == [pytest.approx(begun + (1.0 if late else 0.9) * patience, abs=0.02)]
    assert not driver.asks
