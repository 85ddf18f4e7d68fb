"""How often something is drawn: as seldom as its own cost and the terminal ask for."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

from textual.app import App

from tui.roundtrip import RoundTrip

TICK = 0.5
"""Seconds between two looks at what is due. What is drawn at one tick is sent together, which
costs little more than any one part of it: hence whole seconds below. The chart alone, the dearest,
has a tick to itself."""
FIGURES_EVERY = 1.0
LOG_EVERY = 2.0
CHART_EVERY = 3.0
SHARE = 0.01
"""Of the time, at most so much is spent on drawing one thing."""
SELDOM = 8.0
"""A pace slows down at most this many times."""
RECOVERY = 0.9
"""What remains of a slow terminal's delay after each drawing that it kept up with."""


class Pace:
    """When one thing is next to be drawn.

    Training runs in this process, so that whatever is drawn is taken from it: a thing whose
    drawing costs more than `SHARE` of `every` is drawn less often. A terminal that has not taken
    what was drawn before, as over a slow line, gets nothing more until it has, and less from then
    on.

    Args:
        every: seconds from one drawing to the next, at least.
    """

    def __init__(self, every: float) -> None:
        self.every = every
        self._last = float("-inf")
        self._slower = 1.0
        self._cost = 0.0

    @property
    def seconds(self) -> float:
        """From one drawing to the next, as things are."""
        wanted = max(self.every * self._slower, self._cost / SHARE)
        return min(wanted, SELDOM * self.every)

    def ripe(self, now: float) -> bool:
        """Whether it is time. The tick that is nearest counts, since none comes at the very
        moment."""
        return now - self._last >= self.seconds - TICK / 2

    def due(self, now: float, free: bool) -> bool:
        """Whether to draw now; `free` says that the terminal has taken all there was."""
        if not self.ripe(now):
            return False
        self._last = now
        if not free:
            self._slower = min(SELDOM, 2 * self._slower)
        return free

    @contextmanager
    def drawing(self) -> Generator[None]:
        """Around drawing it, to learn what that costs."""
        self._slower = max(1.0, RECOVERY * self._slower)
        begun = time.thread_time()
        yield
        self._cost = (self._cost + time.thread_time() - begun) / 2


def behind(app: App[object]) -> bool:
    """Whether the terminal is behind with what was drawn."""
    return bool(getattr(app._driver, "waiting", False))  # pyright: ignore[reportPrivateUsage]


class Room:
    """How many bytes may still be drawn at this tick, so that a key does not wait behind them on a
    slow line to the terminal; elsewhere, and at other times, as many as there are."""

    def __init__(self) -> None:
        self.limited = False
        """Whether there is a limit now."""
        self._left = 0

    @contextmanager
    def of(self, app: App[object] | None) -> Generator[None]:
        """Around what is drawn at one tick, by this app; None draws all there is."""
        line: RoundTrip | None = getattr(app and app._driver, "line", None)  # pyright: ignore[reportPrivateUsage]
        share = None if line is None else line.share
        self.limited, self._left = share is not None, share or 0
        try:
            yield
        finally:
            self.limited = False

    def take(self, size: int) -> bool:
        """Whether so many bytes may be drawn, as long as there is any room at all."""
        if not self.limited:
            return True
        if self._left <= 0:
            return False
        self._left -= max(1, size)
        return True
