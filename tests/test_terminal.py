"""The terminal comes back as it was, and only what is drawn reaches it."""

from __future__ import annotations

import io
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.seat import Sit, sit, termios
from tui import terminal

__all__ = ["sit"]


def test_without_a_run_q_leaves_at_once(sit: Sit) -> None:
    seat = sit()
    seat.shows("?2004h")

    seat.press("q")
    seat.until(seat.ended)

    assert seat.code == 0
    seat.came_back()
    assert list(seat.folder.glob("runs")) == []


def test_in_a_plain_locale_and_without_the_mouse(sit: Sit) -> None:
    seat = sit({}, "--no-mouse", LC_ALL="C")
    seat.shows("shakespeare_char")
    seat.press("q")
    seat.until(seat.ended)

    assert seat.code == 0
    assert seat.output.isascii()
    assert b"\x1b[?1000h" not in seat.output
    assert termios.tcgetattr(seat.slave) == seat.modes


def test_even_a_killed_app_gives_the_terminal_back(sit: Sit) -> None:
    # Given the app on the screen
    seat = sit()
    seat.shows("?2004h")

    # When it is killed, so that nothing in it can run
    os.kill(seat.pid, signal.SIGKILL)
    seat.until(seat.ended)

    # Then its guard restores the terminal
    seat.shows("?1049l")
    seat.until(lambda: termios.tcgetattr(seat.slave) == seat.modes)
    seat.came_back()
    assert seat.code != 0


NATIVE = """
import os, sys
from pathlib import Path
from tui.terminal import Terminal

with Terminal(Path("first.log")) as terminal:
    os.write(1, b"native one\\n")
    terminal.redirect_native_output(Path("run/run.log"))
    os.write(2, b"native two\\n")
    os.system("echo of a child")
    print("python", file=sys.stderr)
    print("drawn", file=sys.__stderr__, flush=True)
    terminal.redirect_native_output()
    os.write(2, b"native three\\n")
print("after", flush=True)
"""


def test_only_what_is_drawn_reaches_the_terminal(sit: Sit) -> None:
    seat = sit(code=NATIVE)
    seat.until(seat.ended)
    seat.shows("after")

    assert b"drawn" in seat.output
    assert not any(word in seat.output for word in (b"native", b"child", b"python"))
    assert (seat.folder / "first.log").read_text() == "native one\nnative three\n"
    assert (seat.folder / "run" / "run.log").read_text() == "native two\nof a child\npython\n"
    assert termios.tcgetattr(seat.slave) == seat.modes


def test_on_windows_what_is_noted_is_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a system on which descriptors stay as they are
    monkeypatch.setattr(sys, "platform", "win32")
    before = os.fstat(2)

    # when
    with terminal.Terminal(tmp_path / "first.log") as lent:
        lent.note("one\n")
        lent.redirect_native_output(tmp_path / "run" / "run.log")
        lent.note("two\n")
        assert os.fstat(2) == before

    # then
    assert (tmp_path / "first.log").read_text() == "one\n"
    assert (tmp_path / "run" / "run.log").read_text() == "two\n"


class Stream(io.StringIO):
    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal


@pytest.mark.parametrize(
    ("stdin", "stdout", "environ", "usable"),
    [
        (True, True, {"TERM": "xterm"}, True),
        (True, True, {}, True),
        (True, True, {"TERM": "dumb"}, False),
        (False, True, {"TERM": "xterm"}, False),
        (True, False, {"TERM": "xterm"}, False),
        (False, False, {"TEXTUAL_DRIVER": "textual.drivers.web_driver:WebDriver"}, True),
    ],
)
def test_where_the_screen_can_be_shown(
    stdin: bool,
    stdout: bool,
    environ: dict[str, str],
    usable: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "__stdin__", Stream(stdin))
    monkeypatch.setattr(sys, "__stdout__", Stream(stdout))

    words = terminal.unusable(environ)

    assert (words is None) == usable
    assert words is None or ("app.py train" in words and "\n" not in words)


def test_closed_streams_are_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "__stdin__", None)
    assert terminal.unusable({"TERM": "xterm"})


@pytest.mark.parametrize(
    ("environ", "coerced", "expected"),
    [
        ({"LANG": "en_US.UTF-8"}, False, True),
        ({"LANG": "de_DE.utf8"}, False, True),
        ({"LANG": "C"}, False, False),
        ({}, False, False),
        ({"LANG": "en_US.ISO-8859-1"}, False, False),
        ({"LC_ALL": "C", "LANG": "en_US.UTF-8"}, False, False),
        ({"LC_CTYPE": "en_US.UTF-8"}, False, True),
        ({"LC_CTYPE": "C.UTF-8", "LANG": "C"}, True, False),
        ({"LC_CTYPE": "C.UTF-8", "LANG": "en_US.UTF-8"}, True, True),
        ({"LC_CTYPE": "C.UTF-8"}, False, True),
    ],
)
def test_what_the_locale_says(
    environ: dict[str, str], coerced: bool, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminal, "coerced_to_utf8", lambda: coerced)
    assert terminal.speaks_utf8(environ) == expected
