"""Every way out of every phase, in the real program: all is saved, the terminal as it was."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from functools import partial

import pytest

from gpt.signals import ENDING
from tests.seat import APP, FAULTY, LONG, QUICK, Seat, Sit, played, sit, termios
from tests.soak import share

__all__ = ["sit"]

# A checkpoint of this takes a while to write; sampling it takes no time.
PLAIN = {**QUICK, "eval_interval": "1000000", "sample_interval": "-1"}
LARGE = {**PLAIN, "n_layer": "3", "n_embd": "512", "batch_size": "1"}
RUNS = {
    "preparing": QUICK,
    "training": QUICK,
    "paused": QUICK,
    "evaluating": {**LONG, "eval_iters": "1000000"},
    "sampling": {**LONG, "eval_iters": "2", "max_new_tokens": "1000000"},
    "saving": LARGE,
    "compiling": {**QUICK, "compile": "True"},
    "history": PLAIN,
    "settings": PLAIN,
}
SHORT = {**PLAIN, "max_iters": "3", "eval_iters": "2", "max_new_tokens": "1000000"}
PLACES = "form", "playground", "writing"


def reach(sit: Sit, phase: str) -> Seat:
    """The app in this phase of a run, or in this place without one."""
    if phase == "form":
        seat = sit()
        seat.shows("?2004h")
        seat.until(lambda: seat.quiet(1))
        return seat
    if phase in ("playground", "writing"):
        seat = sit(SHORT)
        seat.until(lambda: seat.has("finished"))
        seat.shows("prompt")
        seat.press("P")
        seat.shows("the model of step")
        if phase == "writing":
            shown = len(seat.output)
            seat.press("A\r")
            seat.until(lambda: len(seat.output) > shown + 3000)
        return seat
    seat = sit(RUNS[phase])
    if phase == "preparing":
        seat.shows("preparing")
    elif phase in ("history", "settings"):
        seat.trains()
        seat.insist(*("r", "best val") if phase == "history" else ("\x1b", "tiny · "))
    elif phase == "paused":
        seat.trains()
        seat.press("p")
        seat.until(lambda: seat.has("phase", "paused"))
    elif phase == "saving":
        seat.trains()
        seat.press("c")
        seat.until(lambda: seat.has("phase", "saving"))
    else:
        seat.until(lambda: seat.has("phase", phase))
    return seat


def by_key(seat: Seat) -> int:
    shown = len(seat.output)
    seat.press("\x11")  # ctrl+q, which acts in fields as well
    seat.until(lambda: b"Leave?" in seat.output[shown:] or seat.ended())
    if seat.code is None:
        seat.press("s")
    return 0


def by_ctrl_c(seat: Seat) -> int:
    shown = len(seat.output)
    seat.press("\x03")
    seat.until(lambda: b"Leave?" in seat.output[shown:] or seat.ended())
    if seat.code is None:
        seat.press("\x03")
    return 0


def by_signal(number: int) -> Callable[[Seat], int]:
    def end(seat: Seat) -> int:
        seat.signal(number)
        return 128 + number

    end.__name__ = signal.Signals(number).name
    return end


def by_fault(seat: Seat) -> int:
    seat.signal(signal.SIGUSR1)
    return 1


WAYS = [by_key, by_ctrl_c, *map(by_signal, ENDING), by_fault]


def leave_from(sit: Sit, phase: str, way: Callable[[Seat], int]) -> Seat:
    # Given the app in some phase
    seat = reach(partial(sit, code=FAULTY) if way is by_fault else sit, phase)

    # When it is ended in some way
    code = way(seat)

    # Then the exit code says so, and the terminal is as before
    assert seat.end() == code, seat.output[-1000:]
    seat.came_back()
    assert (b"Nanodeck failed: ZeroDivisionError" in seat.output) == (way is by_fault)
    assert b"Traceback" not in seat.output
    if phase in PLACES:
        return seat

    # And the run is stopped, its journal closed, its last step saved
    events = seat.events()
    if phase == "compiling" and b"Left before it had stopped" in seat.output:
        return seat  # which cannot be interrupted
    assert b"Stopped at step" in seat.output
    if events:
        assert events[-1]["event"] == "finished"
        assert events[-1]["reason"] == "stopped"
        kept = [event["step"] for event in events if event["event"] == "saved"]
        assert kept[-1] == events[-1]["step"]
    else:
        assert phase == "preparing"
    return seat


@pytest.mark.slow
def test_a_signal_in_training_saves_the_run_and_the_terminal(sit: Sit) -> None:
    seat = leave_from(sit, "training", by_signal(signal.SIGTERM))

    # And the shell shows what can be done with the run
    (run,) = (seat.folder / "runs").iterdir()
    assert list((run / "checkpoints").iterdir())
    shown = seat.output.decode().splitlines()
    shown = shown[shown.index(next(line for line in shown if line.endswith(f"runs/{run.name}/"))) :]
    commands = [line.strip() for line in shown[1:]]
    assert f"python app.py resume {run.name}" in commands
    assert f"python app.py sample {run.name}" in commands


SWALLOWED = """
import contextlib, os, runpy, signal, sys
from tui import main

make_app = main._make_app

def importing(*given):
    with contextlib.suppress(BaseException):
        signal.raise_signal(signal.SIGTERM)
    return make_app(*given)

main._make_app = importing
sys.argv[0] = {app!r}
runpy.run_path({app!r}, run_name="__main__")
""".format(app=str(APP))


def test_a_signal_whose_exception_an_import_swallowed_is_obeyed(sit: Sit) -> None:
    seat = sit(QUICK, code=SWALLOWED)

    assert seat.end() == 128 + signal.SIGTERM
    seat.came_back()
    assert not seat.events()


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("phase", [*RUNS, *PLACES])
def test_every_way_out_of_every_phase(sit: Sit, phase: str, way: Callable[[Seat], int]) -> None:
    for _ in range(share(20, 1)):
        leave_from(sit, phase, way)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(share(10, 1)))
def test_leaving_at_random_moments(sit: Sit, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(share(10, 4)):
        # Given the app, from before its first picture until well into training
        seat = sit(QUICK)
        seat.shows("\x1b[")
        until = time.monotonic() + chance.uniform(0, 6)
        seat.until(lambda until=until: time.monotonic() >= until)

        # When it is left
        begun = time.monotonic()
        seat.signal(chance.choice(ENDING))
        seat.end()

        # Then it is gone within the time that it promises
        print(f"{time.monotonic() - begun:.2f} s")
        assert time.monotonic() - begun <= 5.0
        seat.came_back()
        events = seat.events()
        assert not events or events[-1]["event"] == "finished"


STUCK = played("""
    from ctypes import CDLL
    yield BEGUN
    CDLL(None).sleep(1000)
""")


@pytest.mark.slow
@pytest.mark.parametrize("way", [by_key, by_signal(signal.SIGTERM)], ids=lambda way: way.__name__)
def test_a_run_that_cannot_stop_is_left(sit: Sit, way: Callable[[Seat], int]) -> None:
    # Given a run in a native call that does not return
    seat = sit(code=STUCK)
    seat.shows("of 9")

    # When the app is left
    code = way(seat)

    # Then it goes at its deadline, and says so
    assert seat.end() == code
    seat.came_back()
    assert b"Left before it had stopped" in seat.output


@pytest.mark.slow
def test_the_third_ctrl_c_leaves_at_once(sit: Sit) -> None:
    seat = sit(code=STUCK)
    seat.shows("of 9")
    by_ctrl_c(seat)
    seat.shows("Stopping and saving")

    begun = time.monotonic()
    seat.press("\x03")

    assert seat.end() == 130
    assert time.monotonic() - begun < 4  # not the deadline's 5
    seat.came_back()
    assert b"Left before it had stopped" in seat.output


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["preparing", "training", "paused"])
def test_a_terminal_that_is_not_read_does_not_keep_the_app(sit: Sit, phase: str) -> None:
    # Given a run whose terminal stops reading until nothing more can be drawn
    seat = reach(sit, "training" if phase == "paused" else phase)
    if phase == "paused":
        seat.press("p")
    started = len(seat.events())
    until = time.monotonic() + 30
    seat.until(
        lambda: len(seat.events()) > started + 3000 or time.monotonic() > until, reading=False
    )

    # When it is asked to end, and still nobody reads
    begun = time.monotonic()
    seat.signal(signal.SIGTERM)

    # Then it has stopped and saved, and the terminal is back as soon as it is read
    assert seat.end(reading=False) == 128 + signal.SIGTERM
    assert time.monotonic() - begun <= 5.0
    assert seat.events()[-1]["reason"] == "stopped"
    seat.until(lambda: termios.tcgetattr(seat.slave) == seat.modes)
    seat.came_back()
    seat.shows("Stopped at step")


@pytest.mark.slow
def test_a_terminal_that_goes_away_ends_the_run(sit: Sit) -> None:
    seat = sit(QUICK)
    seat.trains()

    os.close(seat.slave)
    os.close(seat.master)
    seat.end(reading=False)

    assert seat.events()[-2]["event"] == "saved"
    assert seat.events()[-1]["reason"] == "stopped"
