"""Noticing that other work holds the cores, so that training's threads wait for each other.

After each matrix product the threads of torch wait for the slowest of them, and keep their cores
busy while they wait. When other work holds one of the cores, each product waits for that one: a
step then takes ten to a hundred times as long, where fewer threads would keep most of the speed.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Self

import psutil

from gpt.events import Notice
from gpt.patience import Patience

SLOW = 2.0
"""A step so many times as long as usual is slow."""
DRIFT = 0.02
"""How much of a step that took longer than usual, but is not slow, becomes usual."""
WINDOW_SECONDS = 3.0
"""Time in steps over which the machine's load is measured."""
GAP_SECONDS = 5.0
"""At least so long between two measurements."""
CALM_SECONDS = 60.0
"""Time in steps without other work after which it is worth another notice."""
PATIENT_SECONDS = 60.0
"""Time in steps until it is looked at again whether other work is still there."""
LEAST_OTHERS = 0.25
"""Cores; other work that uses less of them is not what slows a run down."""
MOST_IDLE = 0.15
"""Share of the cores; when more of them is idle, nothing is short of a core."""
STARVED = 0.85
"""Of the processor time that the threads could use; who gets more is not kept waiting."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Seconds since some moment: on the clock, without work summed over the cores that this
    process may use, and of computing by this process and those it started."""

    clock: float
    idle: float
    own: float


@dataclass(frozen=True, slots=True)
class Load:
    """Who uses how many of the `cores`, on average over some time."""

    cores: int
    own: float
    others: float

    @classmethod
    def between(cls, first: Reading, last: Reading, cores: int) -> Load:
        """The load from one reading to a later one."""
        wall = max(1e-9, last.clock - first.clock)
        own = (last.own - first.own) / wall
        return cls(cores, own, max(0.0, cores - (last.idle - first.idle) / wall - own))

    @property
    def room(self) -> int:
        """Threads that have a core each beside the other work; at least one."""
        return max(1, math.floor(self.cores - self.others))

    def holds(self, threads: int) -> bool:
        """Whether other work keeps so many threads of this process waiting for cores."""
        return (
            self.room < threads
            and self.others >= LEAST_OTHERS
            and self.own < STARVED * threads
            and self.cores - self.own - self.others <= MOST_IDLE * self.cores
        )


@dataclass(slots=True)
class _Window:
    """Steps that are looked at together, and the machine before them."""

    before: Reading
    opening: bool = False
    steps: int = 0
    slow: int = 0
    seconds: float = 0.0
    tokens: int = 0

    def add(self, seconds: float, tokens: int, slow: bool) -> None:
        self.steps += 1
        self.slow += slow
        self.seconds += seconds
        self.tokens += tokens

    @property
    def each(self) -> float:
        """Seconds a token."""
        return self.seconds / self.tokens

    @property
    def mostly_slow(self) -> bool:
        """More than half of the steps, so that a single long one decides nothing."""
        return 2 * self.slow > self.steps


class Contention:
    """Watches how long training steps take, and looks at the machine only where they are slow.

    It looks once more, at the first steps, since a run may begin on a busy machine. What is
    between steps, as an evaluation, a sample or a pause, is not looked at. While threads are kept
    waiting they do so with `Patience`, which gives back most of the speed; once a minute it is
    looked at whether that is still so, and leaving the context ends it. It is told once, and again
    only after a minute without.

    Args:
        threads: that compute. With one of them there is nothing to notice.
        cores: that this process may use; found out when None.
        read: reads the machine's counters.
    """

    def __init__(
        self,
        threads: int,
        cores: int | None = None,
        read: Callable[[], Reading] | None = None,
    ) -> None:
        self._threads = threads
        self._cores = cores or len(_own_cores())
        self._read = read or read_machine
        # Seconds a token: the best seen, forgotten slowly.
        self._usual = math.inf
        self._window: _Window | None = None
        self._rest = 0.0
        self._held = False
        """Whether other work keeps threads waiting, when it was last looked at."""
        self._probing = False
        self._since = math.inf
        """Seconds in steps since it was last looked at while threads were kept waiting."""
        self._patience = Patience(threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._patience.want(False)

    @property
    def patient(self) -> bool:
        """Whether threads wait asleep now, where this system lets them."""
        return self._patience.wanted

    def after_step(self, step: int, seconds: float, tokens: int) -> Notice | None:
        """What a person should know after a step that took so long over so many tokens."""
        if self._threads == 1:
            return None
        each = seconds / tokens
        first = self._usual == math.inf
        slow = each > SLOW * self._usual
        if 0.0 < each < self._usual:
            self._usual = each
        elif not slow:
            self._usual += DRIFT * (each - self._usual)
        self._rest -= seconds
        self._since += seconds
        if self._window is not None:
            self._window.add(seconds, tokens, slow)
            return self._judge(step, self._window)
        if self._held or first or (slow and self._rest <= 0.0):
            self._window = _Window(before=self._read(), opening=first)
        return None

    def _judge(self, step: int, window: _Window) -> Notice | None:
        """What the steps of a window show, once there are enough of them."""
        patient = self._held and not self._probing
        if window.seconds < (PATIENT_SECONDS if patient else WINDOW_SECONDS):
            return None
        self._window, self._rest = None, GAP_SECONDS
        if patient:
            # Patient threads leave room, which anything takes: only without it does it show
            # whether they are kept waiting.
            self._probing = True
            self._patience.want(False)
            return None
        if not (self._probing or window.opening or window.mostly_slow):
            return None
        now = self._read()
        if now.clock - window.before.clock > 2 * window.seconds + 1:
            return None  # it was mostly something else than steps
        load = Load.between(window.before, now, self._cores)
        held = load.holds(self._threads)
        if not held and window.mostly_slow:
            self._usual = window.each  # whatever it is, it is usual from now on
        known = self._held or self._since < CALM_SECONDS
        if self._held or held:
            self._since = 0.0
        self._held, self._probing = held, False
        self._patience.want(held)
        if known or not held:
            return None
        slower = "" if window.opening else _slower(window.each, self._usual)
        advice = _advice(load, self._threads, self._patience.helps)
        return Notice(level="warning", step=step, text=slower + advice)


def read_machine() -> Reading:
    """The counters of this machine and of this process."""
    cores = _own_cores()
    try:
        idle = sum(
            times.idle + getattr(times, "iowait", 0.0)
            for core, times in enumerate(psutil.cpu_times(percpu=True))
            if core in cores
        )
    except (OSError, psutil.Error):  # some containers hide it: as if nothing else were running
        idle = len(cores) * monotonic()
    own = sum(os.times()[:4])  # with children that have ended
    with contextlib.suppress(psutil.Error):
        # Such as the one that measures for the form.
        own += sum(sum(child.cpu_times()[:2]) for child in psutil.Process().children())
    return Reading(monotonic(), idle, own)


def held_since(first: Reading, threads: int) -> bool:
    """Whether other work has kept so many threads of this process waiting for cores since then."""
    return Load.between(first, read_machine(), len(_own_cores())).holds(threads)


def _own_cores() -> set[int]:
    """The cores that this process may use, by number."""
    if sys.platform == "linux":
        return os.sched_getaffinity(0)
    return set(range(psutil.cpu_count() or 1))


def _slower(each: float, usual: float) -> str:
    """How slow steps are, from seconds a token now and before."""
    return (
        f"training is {each / usual:,.0f} times slower than it was: {1 / each:,.0f} tokens a "
        f"second instead of {1 / usual:,.0f}. "
    )


def _advice(load: Load, threads: int, patient: bool) -> str:
    plural = "" if load.room == 1 else "s"
    eased = ", from now on asleep, which costs less" if patient else ""
    return (
        f"Other work uses {load.others:.1f} of the {load.cores} cores, so the {threads} threads of "
        f"this run keep waiting for each other{eased}. {load.room} thread{plural} would not wait: "
        f"in a new run set threads = {load.room}; this one, once stopped, goes on so by the "
        f"command resume with --threads={load.room}, from the same numbers but not bit for bit."
    )
