"""The times of a run: a step's, the work's, and since the last checkpoint."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

CLOCK = time.perf_counter if sys.platform == "win32" else time.monotonic
"""The monotonic one of Windows moves in leaps of 16 ms before Python 3.13."""


class Awake:
    """A clock that stands still while this process is stopped and while the machine sleeps.

    Seconds, never going back. For sleep it relies on the system's clock, which counts it on
    Windows alone. A stop that is not announced, as by SIGSTOP, is known when `go_on` is called;
    then all is left out that has passed since the clock was last read.
    """

    def __init__(self, clock: Callable[[], float] = CLOCK) -> None:
        self._clock = clock
        self._last = clock()
        self._lost = 0.0
        self._stopped_at: float | None = None
        # (lost, stopped_at) in one object, so that threads read both of the same moment; None
        # while they are being set.
        self._state: tuple[float, float | None] | None = 0.0, None

    def __call__(self) -> float:
        """Seconds since some moment."""
        while True:
            if (state := self._state) is None:
                continue
            lost, stopped_at = state
            now = self._last = self._clock() if stopped_at is None else stopped_at
            if self._state is state:  # otherwise the process was stopped between these lines
                return now - lost

    def stop(self) -> None:
        """The process is about to be stopped."""
        self._state = None
        self._stopped_at = self._clock()
        self._state = self._lost, self._stopped_at

    def go_on(self) -> None:
        """It was continued."""
        self._state = None
        now = self._clock()
        self._lost += now - (self._last if self._stopped_at is None else self._stopped_at)
        self._last, self._stopped_at = now, None
        self._state = self._lost, None


awake = Awake()
"""The clock of everything in this process that is timed."""


class Stopwatch:
    """Counts working time without pauses, and the time in training steps alone."""

    def __init__(self, worked: float = 0.0, clock: Callable[[], float] = awake) -> None:
        self._clock = clock
        self._start = clock() - worked
        self._held_since: float | None = None
        self._saved = clock()
        self._step_start = 0.0
        self._step_seconds = 0.0
        self._last_step = 0.0
        self._steps = 0

    def start_step(self) -> None:
        """A training step begins."""
        self._step_start = self._clock()

    def end_step(self) -> None:
        """A training step is done."""
        self._last_step = self._clock() - self._step_start
        self._step_seconds += self._last_step
        self._steps += 1

    def last_step(self) -> float:
        """What the last training step took, in seconds; 0 before the first."""
        return self._last_step

    def lap(self) -> float:
        """The mean of the steps since the last lap, in milliseconds."""
        mean = self._step_seconds / max(1, self._steps)
        self._step_seconds, self._steps = 0.0, 0
        return 1e3 * mean

    def hold(self) -> None:
        """A pause begins."""
        self._held_since = self._clock()

    def go_on(self) -> None:
        """The pause is over; it counts nowhere."""
        if self._held_since is not None:
            pause = self._clock() - self._held_since
            self._start += pause
            self._saved += pause
            self._held_since = None

    def worked(self) -> float:
        """Working time so far, in seconds."""
        now = self._clock() if self._held_since is None else self._held_since
        return now - self._start

    def saved(self) -> None:
        """A checkpoint was written."""
        self._saved = self._clock()

    def since_save(self) -> float:
        """Seconds since the last checkpoint, or since the start."""
        return self._clock() - self._saved
