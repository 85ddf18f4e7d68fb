"""The real program in a pseudo-terminal, and a person in front of it."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import struct
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

fcntl = pytest.importorskip("fcntl", reason="a pseudo-terminal needs a Unix")
pty = pytest.importorskip("pty")
termios = pytest.importorskip("termios")

ROOT = Path(__file__).parent.parent
APP = ROOT / "app.py"
WAIT = 120.0
MODES = ("1049", "1000", "1003", "1006", "2004")
LONG = {"max_iters": "1000000", "threads": "1", "device": "cpu"}
QUICK = {**LONG, "eval_iters": "2", "max_new_tokens": "5"}


PLAYED = """
import os, sys, time, warnings
from functools import partial
from pathlib import Path
from gpt.config import Config
from gpt.events import Finished, Notice, Phase, Started, Step
from tui import app, main

BEGUN = Started(max_iters=9, params=1, tokens_per_iter=1, device="cpu", dtype="float32", threads=1)

def train(config, run, control):
    run.create(config)
    yield Phase(name="training")
{body}

app.Nanodeck = partial(app.Nanodeck, train=train)
raise SystemExit(main.main(main.Options(preset="tiny", start=True)))
"""


FAULTY = """
import runpy, signal, sys, threading
from tui import app

def fail():
    raise ZeroDivisionError("a fault [bold]inside[/]")

begin = app.Nanodeck.__init__

def begin_faulty(self, *given, **named):
    begin(self, *given, **named)
    later = threading.Thread(target=self.call_later, args=(fail,))
    signal.signal(signal.SIGUSR1, lambda *_: later.start())

app.Nanodeck.__init__ = begin_faulty
sys.argv[0] = {app!r}
runpy.run_path({app!r}, run_name="__main__")
""".format(app=str(APP))
"""The app itself, in which SIGUSR1 makes an exception in the user interface."""


def played(body: str) -> str:
    """A program: the app, in which pressing Train runs this body of a generator instead."""
    return PLAYED.format(body=textwrap.indent(textwrap.dedent(body).strip(), "    "))


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
        # The terminal's size is its own.
        own = {k: value for k, value in os.environ.items() if k not in ("COLUMNS", "LINES")}
        self.pid = os.fork()
        if self.pid == 0:
            with contextlib.suppress(BaseException):
                os.chdir(folder)
                os.close(self.master)
                os.login_tty(self.slave)
                os.execvpe(arguments[0], arguments, {**own, **state, **environ})
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

    def shows(self, text: str, after: int = 0) -> None:
        self.until(lambda: text.encode() in self.output[after:])

    def quiet(self, seconds: float) -> bool:
        """Whether nothing is drawn for so long."""
        return select.select([self.master], [], [], seconds)[0] == []

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def insist(self, key: str, text: str) -> None:
        """Press a key, once a second, until something shows."""
        while text.encode() not in self.output:
            self.press(key)
            until = time.monotonic() + 1
            self.until(lambda: text.encode() in self.output or time.monotonic() > until)  # noqa: B023

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def ended(self) -> bool:
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    def end(self, reading: bool = True) -> int:
        """Wait for the end; the exit code."""
        self.until(self.ended, reading)
        assert self.code is not None
        return self.code

    def events(self) -> list[dict[str, Any]]:
        lines = [
            line for path in self.folder.glob("runs/*/events.jsonl") for line in path.open("rb")
        ]
        with contextlib.suppress(ValueError):  # the last line may be half written
            return [json.loads(line) for line in lines]
        return []

    def has(self, event: str, name: str | None = None) -> bool:
        """Whether the journal has such an event; the app must be there still."""
        assert not self.ended(), self.output[-2000:]
        return any(e["event"] == event and name in (None, e.get("name")) for e in self.events())

    def trains(self) -> None:
        """Wait until steps are made, more than there are now."""
        before = len(self.events())
        self.until(lambda: self.has("step") and len(self.events()) > before)

    def log(self) -> str:
        """What went past the screen, in the run's log and in the app's."""
        paths = [*self.folder.glob("runs/*/run.log"), self.folder / "state" / "nanodeck.log"]
        return "".join(path.read_text() for path in paths if path.exists())

    def came_back(self) -> None:
        """Check that the terminal is as it was before."""
        self.until(lambda: self.quiet(0.1))
        assert termios.tcgetattr(self.slave) == self.modes
        for mode in MODES:
            on, off = (self.output.rfind(f"\x1b[?{mode}{way}".encode()) for way in "hl")
            assert on <= off, mode
        assert self.output.rfind(b"\x1b[?25l") <= self.output.rfind(b"\x1b[?25h")

    def leave(self) -> None:
        if not self.ended():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        for descriptor in (self.master, self.slave):
            with contextlib.suppress(OSError):
                os.close(descriptor)


Sit = Callable[..., Seat]


@pytest.fixture
def sit(tmp_path: Path) -> Iterator[Sit]:
    """Opens seats, and clears them away.

    `sit(values, *flags)` opens the app on the preset tiny, and trains if there are values;
    `sit(code=...)` runs this program instead, with the same arguments, `sit(command=...)` this
    command.
    """
    seats: list[Seat] = []

    def open_seat(
        values: dict[str, str] | None = None,
        *flags: str,
        code: str = "",
        command: list[str] | None = None,
        **environ: str,
    ) -> Seat:
        settings = [f"--{key}={value}" for key, value in (values or {}).items()]
        start = ["--start"] if values else []
        arguments = [sys.executable, str(APP), "tiny", *settings, *start, *flags]
        if code:
            arguments = [sys.executable, "-c", code, *arguments[2:]]
            environ["PYTHONPATH"] = str(ROOT)
        folder = tmp_path / str(len(seats))
        folder.mkdir()
        seats.append(Seat(folder, command or arguments, **environ))
        return seats[-1]

    yield open_seat
    for seat in seats:
        seat.leave()
