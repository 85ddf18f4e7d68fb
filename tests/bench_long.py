"""A run of a million steps beside one of a thousand: opening, memory and keys.

`python -m tests.bench_long` makes the journals of both in a temporary folder (0.3 GB) and opens
them with the real program in a pseudo-terminal. Prints figures and asserts nothing. Run it with
nothing else running; a minute or two. POSIX only.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from gpt.config import Config
from gpt.events import Eval, Event, Finished, Phase, Sample, Saved, Started, Step, to_json
from gpt.runs import Run
from tests.bench import APP, PRESET, Seat

LENGTHS = (1_000, 1_000_000)
OPENINGS = 4
KEYS = 20
QUIET = 0.25
"""Seconds without output after which all of an answer is there."""
EVAL_EVERY, SAMPLE_EVERY = 250, 1000
BEGAN = 1.79e9
FIGURE = "1.6054"
"""The last validation loss, which only the run's own screen shows."""


def events(steps: int) -> Iterator[Event]:
    """All events of a run in which every step was logged."""
    yield Started(
        time=BEGAN, max_iters=steps, params=804_096, tokens_per_iter=768, device="cpu",
        dtype="float32", threads=2,
    )  # fmt: skip
    yield Phase(time=BEGAN, step=0, name="training")
    best = math.inf
    for step in range(steps):
        now, loss = BEGAN + step / 25, 1.5 + 2.7 / (1 + step / 50) ** 0.5 + 0.1 * math.sin(step**2)
        if step % EVAL_EVERY == 0:
            val = loss + 0.2
            yield Eval(
                time=now, step=step, train=loss, val=val, train_se=0.01, val_se=0.01,
                best=val < best,
            )  # fmt: skip
            best = min(best, val)
            yield Saved(time=now, step=step, path=f"checkpoints/step-{step:07}", kind="best")
        if step % SAMPLE_EVERY == 0:
            for part in range(50):
                text = f"To be, or not to be {part}\n"
                yield Sample(
                    time=now, step=step, prompt="\n", seed=step, text=text, done=part == 49
                )  # fmt: skip
        yield Step(
            time=now, step=step, loss=loss, lr=1e-3, grad_norm=0.4 + 0.1 * math.cos(step), ms=40.0,
            tokens_per_s=19_200.0, mfu=0.7, tokens=768 * (step + 1), seconds=step / 25,
            memory=330_000_000,
        )  # fmt: skip
    end = BEGAN + steps / 25
    yield Eval(time=end, step=steps, train=1.4, val=1.6054, best=False)
    yield Finished(time=end, step=steps, reason="done")


def fabricate(folder: Path, steps: int) -> Run:
    """A run of so many steps, with no summary yet."""
    run = Run(folder / f"{steps}" / "runs" / f"{steps}-steps")
    run.create(Config(max_iters=steps))
    run.release()
    with run.journal.open("w", encoding="ascii") as file:
        file.writelines(to_json(event) + "\n" for event in events(steps))
    return run


def from_the_journal(run: Run) -> None:
    """The first opening of all, which reads the whole journal."""
    start = time.perf_counter()
    run.record()
    print(
        f"  its journal, {run.journal.stat().st_size / 1e6:,.1f} MB, read the first time: "
        f"{time.perf_counter() - start:.2f} s; its summary.json is "
        f"{(run.path / 'summary.json').stat().st_size / 1e6:.2f} MB"
    )


def opened(run: Run, pause: float = 0.0) -> tuple[Seat, float, float]:
    """The app with the run on screen; seconds from its start to that, and from the last key.

    Args:
        pause: seconds before the first key, in which the app gets ready for what may come.
    """
    seat = Seat(run.path.parent.parent)
    seat.until(PRESET)
    seat.wait(pause)
    seat.press("r")
    seat.until(f"{run.name} ")
    seat.until("done")
    chosen = time.perf_counter()
    seat.press("\r")
    there = seat.until(FIGURE)
    return seat, there - seat.started, there - chosen


def opening(run: Run) -> None:
    """Process start to the run's figures on screen, and the memory of that process."""
    whole: list[float] = []
    from_key: list[float] = []
    later: list[float] = []
    memory: list[int] = []
    for _ in range(OPENINGS):
        seat, since_start, since_key = opened(run)
        whole.append(since_start)
        from_key.append(since_key)
        seat.wait(3)
        memory.append(psutil.Process(seat.pid).memory_info().rss)
        seat.leave()
        seat, _, since_key = opened(run, pause=5)
        later.append(since_key)
        seat.leave()
    print(
        f"  process start, r, enter, its figures on screen: {words_of(whole)}; from enter on "
        f"{words_of(from_key)}, and {words_of(later)} in an app that was opened seconds before; "
        f"{statistics.median(memory) / 1e6:.0f} MB of memory"
    )


def words_of(seconds: list[float]) -> str:
    """The median and the most."""
    return f"{statistics.median(seconds):.2f} s (most {max(seconds):.2f})"


def in_a_line(run: Run) -> None:
    """By the command that needs no screen."""
    start = time.perf_counter()
    words = [sys.executable, str(APP), "runs", "--json"]
    folder = run.path.parent.parent
    done = subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    print(f"  app.py runs: {time.perf_counter() - start:.2f} s, step {found['step']:,}")


def keys(run: Run) -> None:
    """From a key to the last of what it draws, in each pane."""
    seat, _, _ = opened(run)
    seat.wait(3)
    for pane, focus, pressed in PANES:
        seat.press(focus)
        seat.wait(1)
        answers = (answer(seat, pressed[number % 2]) for number in range(KEYS))
        delays = sorted(delay for delay in answers if not math.isnan(delay))
        print(
            f"  {pane}: a key is answered in {1e3 * statistics.median(delays or [math.nan]):.0f} "
            f"ms, most {1e3 * max(delays, default=math.nan):.0f} ms of {len(delays)}"
        )
    print(f"  after them {psutil.Process(seat.pid).memory_info().rss / 1e6:.0f} MB of memory")
    seat.leave()


UP, LEFT, PAGE_UP, HOME, END = "\x1b[A", "\x1b[D", "\x1b[5~", "\x1b[H", "\x1b[F"
PANES = (
    ("chart, cursor", "1", (LEFT, LEFT)),
    ("evaluations, row by row", "3", (UP, UP)),
    ("evaluations, to either end", "3", (HOME, END)),
    ("samples, page by page", "4", (PAGE_UP, PAGE_UP)),
    ("log, page by page", "5", (PAGE_UP, PAGE_UP)),
    ("log, to either end", "5", (HOME, END)),
)


def answer(seat: Seat, key: str) -> float:
    """Seconds to the last of what a key draws; nan where it draws nothing."""
    start, size = time.perf_counter(), len(seat.output)
    last = math.nan
    seat.press(key)
    while time.perf_counter() - start < 2 and (
        math.isnan(last) or time.perf_counter() - start - last < QUIET
    ):
        seat.read(0.005)
        if len(seat.output) > size:
            size, last = len(seat.output), time.perf_counter() - start
    return last


def main() -> None:
    """See the module."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for steps in LENGTHS:
            print(f"{steps:,} steps", flush=True)
            run = fabricate(folder, steps)
            from_the_journal(run)
            in_a_line(run)
            opening(run)
            keys(run)


if __name__ == "__main__":
    main()
