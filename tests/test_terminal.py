"""The terminal comes back as it was: the real app in a pseudo-terminal, and what decides."""

from __future__ import annotations

import contextlib
import io
import json
import os
import select
import shutil
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tui import terminal

fcntl = pytest.importorskip("fcntl", reason="a pseudo-terminal needs a Unix")
pty = pytest.importorskip("pty")
termios = pytest.importorskip("termios")

APP = Path(__file__).parent.parent / "app.py"
WAIT = 60.0
MODES = ("1049", "1000", "1003", "1006", "2004")
LONG = {"max_iters": "100000", "threads": "1", "device": "cpu"}
QUICK = {**LONG, "eval_iters": "2", "max_new_tokens": "5"}
RUNS = {
    "preparing": QUICK,
    "training": QUICK,
    "paused": QUICK,
    "evaluating": {**LONG, "eval_iters": "1000000"},
    "sampling": {**LONG, "eval_iters": "2", "max_new_tokens": "1000000"},
}


class Seat:
    """A program in a terminal of its own, the app for one, and a person in front of it."""

    def __init__(self, folder: Path, arguments: list[str], **environ: str) -> None:
        state = {"TERM": "xterm-256color", "NANODECK_STATE_DIR": str(folder / "state")}
        self.folder = folder
        self.output = b""
        self.code: int | None = None
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.modes = termios.tcgetattr(self.slave)
        self.pid = os.fork()
        if self.pid == 0:
            with contextlib.suppress(BaseException):
                os.chdir(folder)
                os.close(self.master)
                os.login_tty(self.slave)
                os.execve(
                    sys.executable, [sys.executable, *arguments], {**os.environ, **state, **environ}
                )
            os._exit(99)

    def until(self, condition: Callable[[], Any], reading: bool = True) -> None:
        """Wait, reading what the app draws unless told not to."""
        deadline = time.monotonic() + WAIT
        while not condition():
            assert time.monotonic() < deadline, self.output[-2000:]
            sources = [self.master] if reading else []
            if select.select(sources, [], [], 0.05)[0]:
                with contextlib.suppress(OSError):
                    self.output += os.read(self.master, 1 << 16)

    def shows(self, text: str) -> None:
        self.until(lambda: text.encode() in self.output)

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def ended(self) -> bool:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    def events(self) -> list[dict[str, Any]]:
        lines = [
            line for path in self.folder.glob("runs/*/events.jsonl") for line in path.open("rb")
        ]
        with contextlib.suppress(ValueError):  # the last line may be half written
            return [json.loads(line) for line in lines]
        return []

    def reach(self, phase: str) -> None:
        """Wait until the run is in this phase."""
        if phase == "preparing":
            self.shows("preparing")
        elif phase == "training":
            self.until(lambda: self.has("step"))
        elif phase == "paused":
            self.reach("training")
            self.press("p")
            self.until(lambda: self.has("phase", phase))
        else:
            self.until(lambda: self.has("phase", phase))

    def has(self, event: str, name: str | None = None) -> bool:
        """Whether the journal has such an event; the app must be there still."""
        assert not self.ended(), self.output[-2000:]
        return any(e["event"] == event and name in (None, e.get("name")) for e in self.events())

    def came_back(self) -> None:
        """Check that the terminal is as it was before."""
        self.until(lambda: select.select([self.master], [], [], 0.1)[0] == [])
        assert termios.tcgetattr(self.slave) == self.modes
        for mode in MODES:
            on, off = (
                self.output.rfind(b"\x1b[?%sh" % mode.encode()),
                self.output.rfind(b"\x1b[?%sl" % mode.encode()),
            )
            assert on < off, mode
        assert self.output.rfind(b"\x1b[?25l") < self.output.rfind(b"\x1b[?25h")

    def leave(self) -> None:
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        for descriptor in (self.master, self.slave):
            with contextlib.suppress(OSError):
                os.close(descriptor)


@pytest.fixture
def sit(tmp_path: Path) -> Iterator[Callable[..., Seat]]:
    """Opens seats, and clears them away."""
    seats: list[Seat] = []

    def open_seat(
        values: dict[str, str] | None = None, *flags: str, code: str = "", **environ: str
    ) -> Seat:
        settings = [f"--{key}={value}" for key, value in (values or {}).items()]
        start = ["--start"] if values else []
        app = [str(APP), "tiny", *settings, *start, *flags]
        seats.append(Seat(tmp_path, ["-c", code] if code else app, **environ))
        return seats[-1]

    yield open_seat
    for seat in seats:
        seat.leave()


Sit = Callable[..., Seat]


def quit_by_key(seat: Seat) -> int:
    seat.press("q")
    seat.shows("Leave?")
    seat.press("s")
    return 0


def quit_by_ctrl_c(seat: Seat) -> int:
    seat.press("\x03")
    seat.shows("Leave?")
    seat.press("\x03")
    return 0


def by_signal(number: int) -> Callable[[Seat], int]:
    def end(seat: Seat) -> int:
        os.kill(seat.pid, number)
        return 128 + number

    end.__name__ = signal.Signals(number).name
    return end


WAYS = [quit_by_key, quit_by_ctrl_c, *map(by_signal, terminal.SIGNALS)]


def end_in_phase(sit: Sit, phase: str, way: Callable[[Seat], int]) -> Seat:
    # Given a run in some phase
    seat = sit(RUNS[phase])
    seat.reach(phase)

    # When it is ended in some way
    code = way(seat)
    seat.until(seat.ended)

    # Then the exit code says so, the terminal is as before, and the journal is closed
    assert seat.code == code, seat.output[-1000:]
    seat.came_back()
    events = seat.events()
    if phase != "preparing" or events:
        assert events[-1]["event"] == "finished"
        assert events[-1]["reason"] == "stopped"
    assert b"Stopped at step" in seat.output
    return seat


def test_a_signal_in_training_saves_the_run_and_the_terminal(sit: Sit) -> None:
    seat = end_in_phase(sit, "training", by_signal(signal.SIGTERM))

    # And the shell shows what can be done with the run
    (run,) = (seat.folder / "runs").iterdir()
    assert list((run / "checkpoints").iterdir())
    shown = seat.output.decode().splitlines()[-4:]
    assert shown[0].endswith(f"runs/{run.name}/")
    assert [line.strip() for line in shown[1:]] == [
        f"python app.py sample {run.name}",
        f"python app.py eval {run.name}",
        "python app.py",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("phase", RUNS)
def test_every_way_out_of_every_phase(sit: Sit, phase: str, way: Callable[[Seat], int]) -> None:
    end_in_phase(sit, phase, way)


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


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_run_that_cannot_stop_is_left(sit: Sit) -> None:
    # Given a run that compiles, which cannot be interrupted
    seat = sit({**QUICK, "compile": "True"})
    seat.until(lambda: seat.has("phase", "compiling"))

    # When it is stopped
    code = quit_by_key(seat)
    seat.until(seat.ended)

    # Then the app has left all the same, and says so
    assert seat.code == code
    seat.came_back()
    assert b"Left before it had stopped" in seat.output


@pytest.mark.slow
def test_a_terminal_that_is_not_read_does_not_keep_the_app(sit: Sit) -> None:
    # Given a run whose terminal stops reading until nothing more can be drawn
    seat = sit(QUICK)
    seat.reach("training")
    started = len(seat.events())
    seat.until(lambda: len(seat.events()) > started + 500, reading=False)

    # When it is asked to end, and still nobody reads
    os.kill(seat.pid, signal.SIGTERM)
    seat.until(seat.ended, reading=False)

    # Then it has stopped and saved
    assert seat.code == 128 + signal.SIGTERM
    assert seat.events()[-1]["reason"] == "stopped"
    seat.until(lambda: termios.tcgetattr(seat.slave) == seat.modes)
    seat.came_back()


@pytest.mark.slow
def test_a_terminal_that_goes_away_ends_the_run(sit: Sit) -> None:
    seat = sit(QUICK)
    seat.reach("training")

    os.close(seat.slave)
    os.close(seat.master)
    seat.until(seat.ended, reading=False)

    assert seat.events()[-1]["reason"] == "stopped"


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
    seat = sit(code=NATIVE, PYTHONPATH=str(APP.parent))
    seat.until(seat.ended)
    seat.shows("after")

    assert b"drawn" in seat.output
    assert not any(word in seat.output for word in (b"native", b"child", b"python"))
    assert (seat.folder / "first.log").read_text() == "native one\nnative three\n"
    assert (seat.folder / "run" / "run.log").read_text() == "native two\nof a child\npython\n"
    assert termios.tcgetattr(seat.slave) == seat.modes


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
