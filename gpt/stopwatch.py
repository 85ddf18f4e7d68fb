"""The times of a run: a step's, the work's, and since the last checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic


class Stopwatch:
    """Counts working time without pauses, and the time in training steps alone.

    The clock is monotonic, which stands still while the machine sleeps.
    """

    def __init__(self, worked: float = 0.0, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._start = clock() - worked
        self._held_since: float | None = None
        self._saved = clock()
        self._step_start = 0.0
        self._step_seconds = 0.0
        self._steps = 0

    def start_step(self) -> None:
        """A training step begins."""
        self._step_start = self._clock()

    def end_step(self) -> None:
        """A training step is done."""
        self._step_seconds += self._clock() - self._step_start
        self._steps += 1

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
