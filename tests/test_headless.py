"""Training without a screen: a signal stops it and saves it, whatever it is doing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpt import checkpoint
from gpt.runs import Run
from gpt.signals import ENDING
from tests.seat import APP, LONG, QUICK, Seat, Sit, sit
from tests.soak import share

__all__ = ["sit"]

LARGE = {**QUICK, "n_layer": "3", "n_embd": "512", "batch_size": "1", "eval_interval": "3"}
RUNS = {
    "training": QUICK,
    "evaluating": {**LONG, "eval_iters": "1000000"},
    "sampling": {**LONG, "eval_iters": "2", "max_new_tokens": "1000000"},
    "saving": {**LARGE, "always_save_checkpoint": "True"},
    "compiling": {**QUICK, "compile": "True"},
}


def command(values: dict[str, str]) -> list[str]:
    settings = [f"--{key}={value}" for key, value in values.items()]
    return [sys.executable, str(APP), "train", "tiny", *settings]


def reach(sit: Sit, phase: str) -> Seat:
    seat = sit(command=command(RUNS[phase]))
    if phase == "training":
        seat.trains()
    else:
        seat.until(lambda: seat.has("phase", phase))
    return seat


def saved(seat: Seat) -> None:
    """Check that the journal is closed, and that its last step is on disk."""
    events = seat.events()
    assert events[-1]["event"] == "finished"
    assert events[-1]["reason"] == "stopped"
    kept = [event["step"] for event in events if event["event"] == "saved"]
    assert kept[-1] == events[-1]["step"]
    whole(seat)


def whole(seat: Seat) -> None:
    """Check that every checkpoint that has a name can be read."""
    (folder,) = seat.folder.glob("runs/*")
    for path in (folder / "checkpoints").glob("step-*"):
        checkpoint.verify(path)


@pytest.mark.slow
@pytest.mark.parametrize("number", ENDING, ids=lambda number: signal.Signals(number).name)
@pytest.mark.parametrize("phase", [phase for phase in RUNS if phase != "compiling"])
def test_a_signal_stops_and_saves(sit: Sit, phase: str, number: int) -> None:
    for _ in range(share(20, 1)):
        seat = reach(sit, phase)

        seat.signal(number)

        assert seat.end() == 128 + number
        seat.came_back()
        saved(seat)
        shutil.rmtree(seat.folder / "runs")


@pytest.mark.slow
def test_the_second_ctrl_c_leaves_at_once_and_what_is_saved_is_whole(sit: Sit) -> None:
    # Given a run that saves without pause
    seat = reach(sit, "saving")

    # When it is interrupted, and once more while it stops
    seat.press("\x03")
    seat.shows("stopping and saving")
    seat.press("\x03")

    # Then it ends, and all checkpoints are whole
    assert seat.end() == 130
    whole(seat)


@pytest.mark.slow
def test_a_terminal_that_goes_away_twice_saves_the_run(sit: Sit) -> None:
    # Given a run in a terminal
    seat = reach(sit, "training")

    # When the terminal goes away, of which both system and shell tell
    seat.signal(signal.SIGHUP)
    os.close(seat.master)
    os.close(seat.slave)

    # Then it is saved, though nothing can be printed any more
    assert seat.end(reading=False) == 128 + signal.SIGHUP
    saved(seat)


@pytest.mark.slow
def test_under_nohup_a_terminal_that_goes_away_changes_nothing(sit: Sit) -> None:
    # Given a run that is to outlive its terminal, on which it prints
    ignoring = "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    start = [sys.executable, "-c", f"{ignoring}; os.execv(sys.argv[1], sys.argv[1:])"]
    seat = sit(command=[*start, *command(QUICK)])
    seat.trains()

    # When the terminal goes away
    os.close(seat.master)
    os.close(seat.slave)
    made = len(seat.events())

    # Then it trains on, until it is told to stop
    seat.until(lambda: len(seat.events()) > made + 100, reading=False)
    seat.signal(signal.SIGTERM)
    assert seat.end(reading=False) == 143
    saved(seat)


@pytest.mark.slow
def test_a_reader_that_leaves_stops_and_saves_the_run(tmp_path: Path) -> None:
    with subprocess.Popen(
        command(QUICK), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, text=True
    ) as run:
        assert run.stdout is not None
        assert run.stderr is not None
        run.stdout.readline()
        run.stdout.close()
        errors = run.stderr.read()

    assert run.returncode == 1
    assert "Traceback" not in errors
    (folder,) = tmp_path.glob("runs/*")
    finished = Run(folder).record().finished
    assert finished is not None
    assert finished.reason == "stopped"
    assert Run(folder).record().saved


STUCK = """
from ctypes import CDLL, create_string_buffer
from pathlib import Path
from gpt import headless
from gpt.control import Control
from gpt.events import Phase
from gpt.runs import Run

def events():
    lock, wait = create_string_buffer(64), CDLL(None).pthread_mutex_lock
    print("begun", flush=True)
    wait(lock)
    wait(lock)  # which waits for itself, whatever signal comes
    yield Phase(name="training")

raise SystemExit(headless.report(events(), Run(Path("none")), Control(), as_json=False))
"""


@pytest.mark.slow
@pytest.mark.parametrize("again", [False, True])
def test_a_kernel_that_does_not_return_is_left(sit: Sit, again: bool) -> None:
    # Given a run in a native call that does not return
    seat = sit(code=STUCK)
    seat.shows("begun")

    # When it is interrupted
    seat.press("\x03")
    seat.shows("stopping and saving")
    begun = time.monotonic()
    if again:
        seat.press("\x03")

    # Then it ends, at the deadline or at the second time, and says what that means
    assert seat.end() == 130
    seat.shows("left before the run had stopped")
    assert (time.monotonic() - begun < 4) == again
