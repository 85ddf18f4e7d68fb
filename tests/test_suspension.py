"""Ctrl+z gives the terminal to the shell and fg brings the screen back; no timing counts it."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import threading
from itertools import pairwise

import pytest

from gpt.stopwatch import Awake, Stopwatch
from tests.seat import APP, QUICK, Seat, Sit, sit, termios

__all__ = ["sit"]


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_clock_stands_still_while_the_process_is_stopped() -> None:
    clock = Clock()
    awake = Awake(clock)
    before = awake()

    awake.stop()
    clock.now += 3600
    assert awake() == before  # another thread, before the main one has come to go_on
    awake.go_on()
    awake.go_on()  # by the handler of SIGCONT
    clock.now += 2

    assert awake() == before + 2


def test_a_stop_without_a_word_is_left_out_when_the_process_goes_on() -> None:
    clock = Clock()
    awake = Awake(clock)
    before = awake()

    clock.now += 3600
    awake.go_on()

    assert awake() == before


def test_a_step_that_spans_a_stop_is_as_long_as_it_worked() -> None:
    # Given a run that has worked for ten seconds
    clock = Clock()
    awake = Awake(clock)
    watch = Stopwatch(clock=awake)
    clock.now += 10

    # When the process is stopped for an hour in the middle of a step
    watch.start_step()
    clock.now += 0.5
    awake.stop()
    clock.now += 3600
    awake.go_on()
    clock.now += 0.25
    watch.end_step()

    # Then neither the step, nor the run, nor the age of the checkpoint knows of the hour
    assert watch.lap() == 750
    assert watch.worked() == watch.since_save() == 10.75


def test_the_clock_never_goes_back_while_threads_read_it() -> None:
    awake = Awake()
    ended = threading.Event()
    back: list[float] = []

    def read() -> None:
        last = awake()
        while not ended.is_set():
            last, before = awake(), last
            if last < before:
                back.append(before - last)

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20_000):
        awake.stop()
        awake.go_on()
    ended.set()
    reader.join()

    assert back == []


def shell(sit: Sit, *flags: str) -> Seat:
    """An interactive shell in which the app was started and trains."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    seat = sit(command=["bash", "--norc", "--noprofile", "-i"], PS1="ready> ", HISTFILE="")
    seat.shows("ready>")
    settings = [f"--{key}={value}" for key, value in QUICK.items()]
    command = [sys.executable, str(APP), *flags, "tiny", *settings]
    seat.press(shlex.join(command) + "\r")
    seat.trains()
    return seat


def say(seat: Seat, line: str, answer: str) -> None:
    """Type a command in the shell, and wait for its answer."""
    shown = len(seat.output)
    seat.press(line + "\r")
    seat.shows(answer, after=shown)


def modes(seat: Seat) -> list[object]:
    """The modes that a command finds, the terminal being its own."""
    found = len(seat.output)
    say(seat, "stty -a; echo do''ne", "done")
    return seat.output[found:].split(b"speed", 1)[1].split(b"done")[0].split()


def gap(seat: Seat) -> float:
    """The longest time between two steps that is counted, in seconds, in all after the first."""
    seconds = [event["seconds"] for event in seat.events() if event["event"] == "step"]
    return max(after - before for before, after in pairwise(seconds[1:]))


@pytest.mark.slow
@pytest.mark.parametrize("starting", ["--start", "train"])
def test_ctrl_z_and_fg(sit: Sit, starting: str) -> None:
    screen = starting == "--start"
    seat = shell(sit, starting)

    # When it is suspended
    shown = len(seat.output)
    seat.press("\x1a")
    seat.shows("Stopped", after=shown)

    # Then the terminal is the shell's, and training stands still for as long as that lasts
    found = modes(seat)
    assert b"-echo" not in found
    assert b"-icanon" not in found
    if screen:
        assert b"\x1b[?1049l" in seat.output[shown:]
        assert b"\x1b[?1049h" not in seat.output[shown:]
    made = len(seat.events())
    say(seat, "sleep 6; echo wo''ken", "woken")
    assert len(seat.events()) == made

    # When it comes back
    shown = len(seat.output)
    seat.press("fg\r")
    if screen:
        seat.shows("\x1b[?1049h", after=shown)
    seat.trains()

    # Then training goes on, and no time counts the gap
    seat.trains()
    assert gap(seat) < 4

    # And leaving is as ever
    shown = len(seat.output)
    if screen:
        seat.press("q")
        seat.shows("Leave?", after=shown)
        seat.press("s")
    else:
        seat.press("\x03")
    seat.shows("ready>", after=shown)
    say(seat, "echo code-$?", "code-0" if screen else "code-130")
    assert seat.events()[-1]["reason"] == "stopped"
    assert modes(seat) == found


@pytest.mark.slow
def test_in_the_background_training_goes_on_without_the_screen(sit: Sit) -> None:
    # Given the app, suspended
    seat = shell(sit, "--start")
    shown = len(seat.output)
    seat.press("\x1a")
    seat.shows("Stopped", after=shown)

    # When the shell continues it in the background
    shown = len(seat.output)
    say(seat, "bg", "&")
    seat.trains()
    say(seat, "echo qui''et", "quiet")

    # Then it trains and draws nothing
    assert b"\x1b[?1049h" not in seat.output[shown:]

    # And a signal ends it there, saved, leaving the shell's terminal alone
    say(seat, "kill %1; wait; echo en''ded", "ended")
    assert seat.events()[-1]["reason"] == "stopped"
    assert b"\x1b[?1049" not in seat.output[shown:]
    assert b"Stopped at step" in seat.output[shown:]


@pytest.mark.slow
def test_a_shell_that_ends_takes_the_suspended_app_along_saved(sit: Sit) -> None:
    seat = shell(sit, "--start")
    shown = len(seat.output)
    seat.press("\x1a")
    seat.shows("Stopped", after=shown)

    seat.press("exit\r")
    seat.shows("stopped jobs", after=shown)
    seat.press("exit\r")
    seat.end()

    seat.until(lambda: seat.events()[-1]["event"] == "finished")
    assert seat.events()[-1]["reason"] == "stopped"


@pytest.mark.slow
def test_without_a_shell_ctrl_z_only_draws_anew(sit: Sit) -> None:
    # Given the app where nobody could bring it back
    seat = sit(QUICK)
    seat.trains()

    # When ctrl+z is pressed
    shown = len(seat.output)
    seat.press("\x1a")

    # Then it is there still, and trains
    seat.shows("\x1b[?1049l", after=shown)
    seat.shows("\x1b[?1049h", after=shown)
    seat.trains()
    seat.signal(signal.SIGTERM)
    assert seat.end() == 143
    seat.came_back()


@pytest.mark.slow
def test_after_sigstop_and_sigcont_the_screen_is_drawn_anew(sit: Sit) -> None:
    # Given the app, stopped from outside for a while, the terminal changed meanwhile
    seat = sit(QUICK)
    seat.trains()
    seat.signal(signal.SIGSTOP)
    os.waitpid(seat.pid, os.WUNTRACED)
    raw = termios.tcgetattr(seat.slave)
    termios.tcsetattr(seat.slave, termios.TCSANOW, seat.modes)
    seat.until(lambda: seat.quiet(6))

    # When it goes on
    shown = len(seat.output)
    seat.signal(signal.SIGCONT)

    # Then the screen is drawn anew in its own modes, no time counts the gap, and keys act once
    seat.shows("\x1b[?1049h", after=shown)
    seat.until(lambda: termios.tcgetattr(seat.slave) == raw)
    seat.trains()
    assert gap(seat) < 4
    shown = len(seat.output)
    seat.press("q")
    seat.shows("Leave?", after=shown)
    seat.press("s")
    assert seat.end() == 0
    seat.came_back()
