"""The first picture: that Textual draws the same over it, and that the terminal comes back."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import select
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.color import Color, ColorSystem

from tui import palette
from tui.app import Nanodeck, Options
from tui.picture import picture
from tui.presets import PresetList
from tui.setup import SetupScreen

APP = Path(__file__).parent.parent / "app.py"
WAIT = 60.0
SIZES = [(120, 40), (150, 45), (119, 30), (100, 24), (99, 24), (80, 24), (60, 20), (40, 13)]
LONG = "A model — for very/long/paths/that/do/not/break, 日本語, \\u001b[31mfor\\u202e steering."
TRUE_COLOR = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
SEQUENCE = re.compile(
    r"\x1b(?:\[(?P<private>[<=>?]?)(?P<words>[\d;:]*)[$ ]?(?P<kind>[@-~])|\].*?\x07|[^\[\]])"
)
Cell = tuple[str, str]
"""A character, and the codes that say how it looks: of a blank, the background alone."""


class Paper:
    """A terminal's screen, as far as the picture and Textual's drawing need it."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.columns, self.lines = size
        self.cells = self._blank()
        self.x = self.y = 0
        self.look = ""
        self.modes: dict[str, bool] = {}
        self._rest = ""

    def write(self, text: str) -> None:
        """Take what a program writes; a sequence may come in pieces."""
        text = self._rest + text
        last = text.rfind("\x1b")
        whole = len(text) if last < 0 or SEQUENCE.match(text, last) else last
        text, self._rest = text[:whole], text[whole:]
        end = 0
        for found in SEQUENCE.finditer(text):
            self._put(text[end : found.start()])
            end = found.end()
            private, words, kind = found["private"], found["words"], found["kind"]
            if kind == "H":
                self.y, self.x = (int(word or 1) - 1 for word in (words or "1;1").split(";"))
            elif kind == "m":
                self._set_look(words)
            elif kind in ("h", "l") and private:
                self.modes[words] = kind == "h"
                if words == "1049":  # some terminals do so even when it is set already
                    self.cells = self._blank()
        self._put(text[end:])

    def _blank(self) -> list[list[Cell]]:
        return [[(" ", "")] * self.columns for _ in range(self.lines)]

    def _set_look(self, words: str) -> None:
        bare = [word for word in words.split(";") if word not in ("", "0")]
        self.look = ";".join(bare)

    def _put(self, text: str) -> None:
        for character in text:
            width = cell_len(character)
            if character == "\n":
                self.x, self.y = 0, self.y + 1
            elif character >= " " and self.x < self.columns and self.y < self.lines:
                look = self.look.partition("48;")[2] if character == " " else self.look
                self.cells[self.y][self.x] = character, look
                for x in range(self.x + 1, min(self.columns, self.x + width)):
                    self.cells[self.y][x] = "", self.look
                self.x += width

    def rows(self, left: int, right: int) -> list[str]:
        """The text between these columns."""
        return ["".join(text for text, _ in row[left:right]) for row in self.cells]


# --- the same as Textual's


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a person's own presets, with one that says much about itself."""
    for kind in ("CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"NANODECK_{kind}_DIR", str(tmp_path / kind.lower()))
    for name, value in TRUE_COLOR.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "config" / "presets"
    folder.mkdir(parents=True)
    # The screen as it is first painted: nothing is added to it.
    monkeypatch.setattr(SetupScreen, "_furnish", lambda _: None)
    (folder / "mine.toml").write_text(f'description = "{LONG}"\n', "utf-8")
    return folder


async def same(size: tuple[int, int], preset: str | None = None, ascii: bool = False) -> list[str]:
    """Check that the picture has Textual's words in Textual's places, and give its rows."""
    drawn = picture(preset, size, os.environ, ascii)
    assert drawn is not None
    paper = Paper(size)
    paper.write(drawn)

    app = Nanodeck(Options(preset=preset, ascii=ascii))
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        listed = app.screen.query_one(PresetList).scrollable_content_region
        filters = app.get_line_filters()
        shown = Paper(size)
        for y, strip in enumerate(app.screen._compositor.render_strips()):
            for each in filters:
                strip = strip.apply_filter(each, app.screen.background_colors[1])
            shown.write(f"\x1b[{y + 1};1H{strip.text}")

    assert paper.rows(0, size[0])[: listed.y] == shown.rows(0, size[0])[: listed.y]
    inside = listed.x, listed.right
    assert paper.rows(*inside)[: listed.bottom] == shown.rows(*inside)[: listed.bottom]
    return paper.rows(0, size[0])


@pytest.mark.parametrize("size", SIZES)
async def test_the_picture_has_textuals_words_in_textuals_places(
    size: tuple[int, int], own: Path
) -> None:
    rows = await same(size)
    text = "\n".join(rows)
    assert ("nanodeck" in text) == (size[0] >= 100)
    assert ("2 settings" in text) == (size[0] < 100)
    assert "▸ shakes" in text


@pytest.mark.parametrize("preset", ["own05", "own29", "tiny"])
@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_a_long_list_is_scrolled_to_the_preset_that_was_named(
    size: tuple[int, int], preset: str, own: Path
) -> None:
    for number in range(30):
        (own / f"own{number:02}.toml").write_text(f'description = "Number {number} of mine."\n')
    (own / "broken.toml").write_text("n_layer = = 3\n")
    assert f"▸ {preset}" in "\n".join(await same(size, preset))


async def test_without_utf8_the_picture_is_ascii(own: Path) -> None:
    text = "\n".join(await same((80, 24), "mine", ascii=True))
    assert text.isascii()
    assert "> mine" in text


@pytest.mark.parametrize("size", [(39, 24), (80, 12), (1, 1)])
def test_on_very_little_room_there_is_no_picture(size: tuple[int, int]) -> None:
    assert picture(None, size, TRUE_COLOR, False) is None


@pytest.mark.parametrize(
    ("environ", "theme", "colors"),
    [
        (TRUE_COLOR, None, True),
        (TRUE_COLOR, "nanodeck", True),
        ({"TERM": "xterm-256color"}, None, True),
        (TRUE_COLOR, "nord", False),
        ({**TRUE_COLOR, "NO_COLOR": "1"}, None, False),
        ({"TERM": "screen"}, None, False),
        ({"TERM": "linux"}, None, False),
        ({}, None, False),
    ],
)
def test_the_picture_has_our_colours_only_where_textual_will(
    environ: dict[str, str], theme: str | None, colors: bool, own: Path
) -> None:
    if theme:
        palette.remember(theme)
    drawn = picture(None, (80, 24), environ, False)
    assert drawn is not None
    assert ("48;" in drawn) == colors
    # The line between two presets is seen with few colours alone; in ours it has no colour.
    assert ("─" in drawn) == (colors or palette.has_few_colors(environ))


def test_colours_are_reduced_as_rich_does() -> None:
    for color in (palette.PRIMARY, palette.FOREGROUND, palette.BACKGROUND):
        for layer, foreground in ((38, True), (48, False)):
            for bits, system in ((24, ColorSystem.TRUECOLOR), (8, ColorSystem.EIGHT_BIT)):
                codes = Color.parse(color).downgrade(system).get_ansi_codes(foreground)
                assert palette.sgr(layer, color, bits) == ";".join(codes)


# --- the real program in a pseudo-terminal

STARTED = "1000"
"""The mode that Textual sets first of all: mouse tracking."""
WATCHED = """
import pathlib, runpy, sys, time

class Watch:
    def find_spec(self, name, path, target=None):
        if name == "tui.app":
            pathlib.Path("loaded").write_text(" ".join(sys.modules))
            {act}

sys.meta_path.insert(0, Watch())
sys.path.insert(0, {home!r})
sys.argv = [{app!r}, "tiny"]
runpy.run_path({app!r}, run_name="__main__")
"""
"""The app, where something happens at the moment at which it begins to import Textual."""


class Seat:
    """The app in a terminal of its own, and a person in front of it."""

    def __init__(self, folder: Path, size: tuple[int, int], arguments: list[str]) -> None:
        import fcntl
        import pty
        import termios

        self.paper = Paper(size)
        self.output = b""
        self.code: int | None = None
        self.watch: Callable[[], object] = lambda: None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        self.modes = termios.tcgetattr(self.slave)
        self.pid = os.fork()
        if self.pid == 0:
            with contextlib.suppress(BaseException):
                os.chdir(folder)
                os.close(self.master)
                os.login_tty(self.slave)
                for name in ("COLUMNS", "LINES"):  # which readline may have set, unseen by Python
                    os.unsetenv(name)
                os.execv(sys.executable, [sys.executable, *arguments])
            os._exit(99)

    def until(self, condition: Callable[[], object]) -> None:
        """Wait, reading what is drawn."""
        deadline = time.monotonic() + WAIT
        while not condition():
            assert time.monotonic() < deadline, self.output[-2000:]
            if select.select([self.master], [], [], 0.02)[0]:
                with contextlib.suppress(OSError):
                    data = os.read(self.master, 1 << 12)
                    self.output += data
                    self.paper.write(self._decoder.decode(data))
                    self.watch()

    def shows(self, text: str) -> bool:
        return any(text in row for row in self.paper.rows(0, self.paper.columns))

    def drawn(self) -> bool:
        """Whether the picture is all there."""
        return self.output.endswith(b"\x1b[0m") and self.shows("▸")

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def ended(self) -> bool:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    def came_back(self) -> None:
        """Check that the program ended and the terminal is as it was before."""
        import termios

        self.until(self.ended)
        self.until(lambda: not select.select([self.master], [], [], 0.1)[0])
        assert termios.tcgetattr(self.slave) == self.modes
        assert self.paper.modes["25"]
        assert not self.paper.modes["1049"]

    def leave(self) -> None:
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.master)
        os.close(self.slave)


Sit = Callable[..., Seat]


@pytest.fixture
def sit(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sit]:
    """Opens seats, and clears them away."""
    pytest.importorskip("pty", reason="a pseudo-terminal needs a Unix")
    monkeypatch.setenv("LANG", "C.UTF-8")
    for name in ("TEXTUAL_DRIVER", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    seats: list[Seat] = []

    def open_seat(size: tuple[int, int] = (120, 40), act: str | None = None) -> Seat:
        code = WATCHED.format(app=str(APP), home=str(APP.parent), act=act)
        seats.append(Seat(tmp_path, size, ["-c", code] if act else [str(APP), "tiny"]))
        return seats[-1]

    yield open_seat
    for seat in seats:
        seat.leave()


@pytest.mark.parametrize("colors", ["truecolor", ""])
@pytest.mark.parametrize(("size", "width"), [((120, 40), 31), ((80, 24), 77)])
def test_nothing_moves_when_textual_draws_over_the_picture(
    size: tuple[int, int], width: int, colors: str, sit: Sit, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given the app in a terminal, and what is where the list is after each bit of drawing
    monkeypatch.setenv("COLORTERM", colors)
    seat = sit(size)
    states: list[tuple[bool, list[list[Cell]]]] = []
    seat.watch = lambda: states.append(
        (STARTED in seat.paper.modes, [row[:width] for row in seat.paper.cells[: size[1] - 3]])
    )

    # When it has started
    seat.until(lambda: seat.shows("q quit"))

    # Then all that stood there before Textual drew is there, in the same colours, all the time
    final = states[-1][1]
    first = next(number for number, (_, cells) in enumerate(states) if cells == final)
    by_textual, _ = states[first]
    assert not by_textual
    assert all(cells == final for _, cells in states[first:])


def test_a_key_pressed_on_the_picture_acts_and_is_not_echoed(sit: Sit) -> None:
    # Given the picture, while Textual is not there yet
    seat = sit()
    seat.until(seat.drawn)
    end = len(seat.output)
    assert STARTED not in seat.paper.modes
    assert seat.shows("▸ tiny")

    # When the arrow key is pressed
    seat.press("\x1b[B")

    # Then the next preset is chosen, and nothing was drawn in between
    seat.until(lambda: seat.shows("▸ mine"))
    assert seat.output[end:].startswith(b"\x1b[?1000h")
    seat.press("q")
    seat.came_back()
    assert seat.code == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_on_the_picture_ends_the_app(number: signal.Signals, sit: Sit) -> None:
    # Given the picture, and an import that takes very long
    seat = sit(act="time.sleep(600)")
    seat.until(seat.drawn)

    # When ctrl+c is pressed, or another signal comes
    if number == signal.SIGINT:
        seat.press("\x03")
    else:
        os.kill(seat.pid, number)

    # Then the terminal is as before, and nothing is said that a person need not know
    seat.came_back()
    assert seat.code == 128 + number
    assert b"Traceback" not in seat.output


def test_when_the_app_cannot_be_imported_the_terminal_comes_back(sit: Sit) -> None:
    seat = sit(act="raise ImportError('no app')")
    seat.came_back()
    assert seat.code == 1
    # What went wrong is said on the screen that stays.
    assert seat.output.rfind(b"\x1b[?1049l") < seat.output.rfind(b"no app")


def test_what_is_drawn_first_needs_nothing_that_takes_long(sit: Sit, tmp_path: Path) -> None:
    seat = sit(act="time.sleep(600)")
    seat.until(seat.drawn)
    seat.until((tmp_path / "loaded").exists)
    loaded = (tmp_path / "loaded").read_text().split()
    assert "tui.picture" in loaded
    assert not {"textual", "pydantic", "numpy", "torch", "plotext", "asyncio"} & set(loaded)
