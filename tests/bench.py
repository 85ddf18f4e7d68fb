"""What the screen costs: start-up, keys, and training speed beside the same run without it.

Prints figures and asserts nothing. Run it with nothing else running: `make bench`, or
`python -m tests.bench startup` (or first, keys, output, slow, speed) for one of them. POSIX only:
the app gets a pseudo-terminal of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Generator
from pathlib import Path

from gpt.events import Step
from gpt.runs import Run, follow

APP = Path(__file__).parent.parent / "app.py"
PRESET = "shakespeare_char_cpu"
SIZE = (40, 120)
STEPS = 200
PAIRS = 9
STARTS = 10
KEYS = 100
OUTPUT_SECONDS = 30
SLOW = 5_000
"""Bytes a second."""
SLOW_KEYS = 8
QUESTION = b"\x1b[6n"
"""Where is the cursor?"""
SLICE = 0.02
"""Seconds in which a slow terminal takes its share at once."""


class Seat:
    """The app in a pseudo-terminal whose output is always read."""

    def __init__(self, folder: Path, *words: str, size: tuple[int, int] = SIZE) -> None:
        self.folder = folder
        self.output = bytearray()
        self.pace: float | None = None
        """Bytes a second that it takes, where that is limited."""
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        self.started = time.perf_counter()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.master)
            os.login_tty(slave)
            os.chdir(folder)
            environment = {
                **os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor",
                "NANODECK_STATE_DIR": str(folder / "state"),
            }  # fmt: skip
            environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a person's shell has none
            os.execve(sys.executable, [sys.executable, str(APP), *words], environment)
        os.close(slave)

    def until(self, text: str, start: int = 0, seconds: float = 300.0) -> float:
        """Read until the text is drawn; when that was."""
        deadline = time.perf_counter() + seconds
        while text.encode() not in self.output[start:]:
            if time.perf_counter() > deadline:
                raise TimeoutError(f"{text!r} was not drawn")
            self.read(0.001)
        return time.perf_counter()

    def until_training(self, seconds: float = 300.0) -> None:
        """Read until the first step is in the journal: of a word that changes on the screen only
        the letters that differ are drawn."""
        deadline = time.perf_counter() + seconds
        while first_time(self.folder / "runs") is None:
            if time.perf_counter() > deadline:
                raise TimeoutError("no step was made")
            self.read(0.02)

    def steps(self) -> int:
        """How many steps the journal has."""
        journals = (self.folder / "runs").glob("*/events.jsonl")
        return sum(journal.read_bytes().count(b'"event": "step"') for journal in journals)

    def read(self, seconds: float) -> None:
        if select.select([self.master], [], [], seconds)[0]:
            with contextlib.suppress(OSError):
                count = 1 << 16 if self.pace is None else max(1, round(self.pace * SLICE))
                before = len(self.output)
                self.output += os.read(self.master, count)
                # As terminals do, once they have read so far.
                for _ in range(self.output.count(QUESTION, max(0, before - len(QUESTION) + 1))):
                    os.write(self.master, b"\x1b[1;1R")
                if self.pace is not None:
                    time.sleep(SLICE)

    def wait(self, seconds: float) -> None:
        """Go on reading for so long."""
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            self.read(0.05)

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def leave(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.master)


def startup() -> None:
    """Process start to the preset list on screen, and to what the first key draws."""
    listed: list[float] = []
    answered: list[float] = []
    for _ in range(STARTS):
        with tempfile.TemporaryDirectory() as folder:
            seat = Seat(Path(folder))
            listed.append(seat.until("shakespeare_char_cpu") - seat.started)
            # Pressed at once: it waits until there is something that answers it.
            seat.press("?")
            answered.append(seat.until("esc  back") - seat.started)
            seat.leave()
    for what, seconds in (("the preset list", listed), ("the first key's answer", answered)):
        print(
            f"start to {what}: median {statistics.median(seconds):.2f} s of {STARTS} "
            f"(least {min(seconds):.2f}, most {max(seconds):.2f})"
        )


def keys() -> None:
    """From a key to what it draws, while training uses every core."""
    with tempfile.TemporaryDirectory() as folder:
        seat = Seat(Path(folder), PRESET, "--start", "--max_iters=100000")
        seat.until_training()
        seat.wait(10)
        delays: list[float] = []
        for number in range(KEYS):
            # Help draws words that nothing else draws; esc takes it away again.
            start, pressed = len(seat.output), time.perf_counter()
            seat.press("?")
            delays.append(1e3 * (seat.until("esc  back", start) - pressed))
            seat.press("\x1b")
            deadline = time.perf_counter() + 0.7 + 0.01 * (number % 30)
            while time.perf_counter() < deadline:
                seat.read(0.05)
        seat.leave()
    delays.sort()
    print(
        f"keys while training: median {statistics.median(delays):.0f} ms, 99th percentile "
        f"{delays[int(0.99 * len(delays)) - 1]:.0f} ms, most {delays[-1]:.0f} ms of {KEYS}"
    )


def speed() -> None:
    """Steps a second with the screen beside without it, alternating."""
    ratios: list[float] = []
    for number in range(PAIRS):
        order = (headless, with_screen) if number % 2 else (with_screen, headless)
        rates = {measure.__name__: measure() for measure in order}
        ratios.append(rates["with_screen"] / rates["headless"])
        print(
            f"  pair {number + 1}: with the screen {rates['with_screen']:.2f} steps/s, without "
            f"{rates['headless']:.2f}, ratio {ratios[-1]:.3f}",
            flush=True,
        )
    print(f"training with the screen: median {100 * statistics.median(ratios):.1f} % of {PAIRS}")


def headless() -> float:
    with tempfile.TemporaryDirectory() as folder:
        words = ["train", PRESET, f"--max_iters={STEPS}", "--log_interval=1", "--out_dir=run"]
        command = [sys.executable, str(APP), *words]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return rate(Path(folder) / "run")


def with_screen() -> float:
    with tempfile.TemporaryDirectory() as folder:
        seat = Seat(Path(folder), PRESET, "--start", f"--max_iters={STEPS}", "--log_interval=1")
        runs = Path(folder) / "runs"
        while not any(ended(run) for run in runs.glob("*")):
            seat.read(0.5)
        result = rate(next(runs.iterdir()))
        seat.leave()
        return result


def ended(run: Path) -> bool:
    """Whether the journal has its last line."""
    journal = run / "events.jsonl"
    if not journal.exists():
        return False
    with journal.open("rb") as file:
        file.seek(max(0, journal.stat().st_size - 400))
        return b'"finished"' in file.read()


def rate(run: Path) -> float:
    """Steps a second of working time, evaluations and samples included."""
    steps = [event for event in follow(Run(run)) if isinstance(event, Step)]
    return (len(steps) - 1) / (steps[-1].seconds - steps[0].seconds)


def first_step() -> None:
    """Train pressed to the first step in the journal, on a prepared corpus.

    Before that, what torch's import takes in a process of its own.
    """
    imports: list[float] = []
    for _ in range(STARTS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        imports.append(time.perf_counter() - began)
    print(f"torch imported, in a process of its own: median {statistics.median(imports):.2f} s")
    for pause, when in ((0.0, "as soon as the form is complete"), (3.0, "three seconds later")):
        waits: list[float] = []
        for _ in range(STARTS):
            with tempfile.TemporaryDirectory() as folder:
                seat = Seat(Path(folder), PRESET)
                seat.until("about")  # what the run will take: the form is complete
                seat.wait(pause)
                pressed = time.time()
                seat.press("t")
                while (first := first_time(Path(folder) / "runs")) is None:
                    seat.read(0.02)
                waits.append(first - pressed)
                seat.leave()
        median = statistics.median(waits)
        print(f"Train, pressed {when}, to the first step: median {median:.2f} s of {STARTS}")


def first_time(runs: Path) -> float | None:
    """When the first step was written, if it has been."""
    journals = (run / "events.jsonl" for run in runs.glob("*"))
    written = (journal for journal in journals if journal.exists())
    logged = any(b'"event": "step"' in journal.read_bytes() for journal in written)
    return time.time() if logged else None


def output() -> None:
    """Bytes a second to the terminal while training, on two sizes of it."""
    for rows, columns in ((24, 80), (40, 120)):
        with training(rows, columns) as seat:
            start = len(seat.output)
            seat.wait(OUTPUT_SECONDS)
            rate = (len(seat.output) - start) / OUTPUT_SECONDS
        print(f"to a terminal of {columns}x{rows}: {rate / 1e3:.2f} KB/s")


def slow_terminal() -> None:
    """From a key to the first of what it draws, on a terminal read at `SLOW` bytes a second, and
    steps a second before and then."""
    delays: list[float] = []
    with training(*SIZE) as seat:
        before = seat.steps()
        seat.wait(OUTPUT_SECONDS)
        between = seat.steps()
        seat.pace = SLOW
        seat.wait(OUTPUT_SECONDS)
        quick, slow = between - before, seat.steps() - between
        for number in range(SLOW_KEYS):
            start, pressed = len(seat.output), time.perf_counter()
            seat.press("S")
            delays.append(1e3 * (seat.until("again stops", start) - pressed))
            seat.wait(4 + 0.13 * number)
    delays.sort()
    print(
        f"keys at {SLOW / 1e3:.0f} KB/s: median {statistics.median(delays):.0f} ms, "
        f"most {delays[-1]:.0f} ms of {SLOW_KEYS}; training at {100 * slow / quick:.0f} % of "
        "what it was before"
    )


@contextlib.contextmanager
def training(rows: int, columns: int) -> Generator[Seat]:
    """A run that has trained for ten seconds, on a terminal of this size."""
    with tempfile.TemporaryDirectory() as folder:
        words = PRESET, "--start", "--max_iters=100000", "--log_interval=1"
        seat = Seat(Path(folder), *words, size=(rows, columns))
        try:
            seat.until_training()
            seat.wait(10)
            yield seat
        finally:
            seat.leave()


PARTS = {
    "startup": startup,
    "first": first_step,
    "keys": keys,
    "output": output,
    "slow": slow_terminal,
    "speed": speed,
}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
