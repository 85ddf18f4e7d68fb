"""How many threads are quickest at small work that is done over and over, as writing a text is.

In each token of a single text the threads of the kernels in C wait for the slowest of them many
times, and keep their cores busy while they wait. When other work holds a core, every one of these
waits is for it, and a token takes five to fifteen times as long as on one thread.
"""

from __future__ import annotations

import contextlib
import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from gpt.native.library import library

TRIES = 3
"""Turns of all threads and then of one, in a trial."""
CLEAR = 1.5
"""A turn alone that took so many times as long as all threads ends a trial: it may be long."""
SLOW, WINDOW = 3.0, 8
"""So many turns of all threads that took so many times as long as their quickest are worth one."""
ALONE = 128
"""Turns of one thread until all are tried again."""


@dataclass(slots=True)
class _Trial:
    """Seconds of turns of all threads and then of one. Their sums are compared: in a single turn
    all threads may have had every core by luck."""

    together: list[float] = field(default_factory=list[float])
    alone: list[float] = field(default_factory=list[float])

    @property
    def is_alone(self) -> bool:
        """Whether the next turn is that of one thread."""
        return len(self.together) == TRIES

    def add(self, seconds: float) -> None:
        (self.alone if self.is_alone else self.together).append(seconds)

    @property
    def verdict(self) -> bool | None:
        """Whether one thread is quicker; None while that cannot be said."""
        if self.alone and self.alone[-1] > CLEAR * statistics.fmean(self.together):
            return False
        return sum(self.alone) < sum(self.together) if len(self.alone) == TRIES else None


class Crew:
    """Tries all threads and one, and stays with what was quicker while that is so.

    Args:
        threads: all of them.
    """

    def __init__(self, threads: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._threads = threads
        self._clock = clock
        self._is_first = True
        self._trial: _Trial | None = _Trial()
        self._left_alone = 0
        self._best = math.inf
        self._recent: deque[float] = deque(maxlen=WINDOW)

    @contextlib.contextmanager
    def turn(self) -> Generator[None]:
        """Do one piece of the work inside; there are as many threads as before afterwards."""
        alone = self._trial.is_alone if self._trial else self._left_alone > 0
        begun = self._clock()
        try:
            if alone:
                library().use_threads(1)
            yield
        finally:
            if alone:
                library().use_threads(self._threads)
        self._learn(self._clock() - begun)

    def _learn(self, seconds: float) -> None:
        if self._is_first:  # in which much happens for the first time
            self._is_first = False
        elif self._trial is not None:
            self._judge(self._trial, seconds)
        elif self._left_alone:
            self._left_alone -= 1
            self._trial = None if self._left_alone else _Trial()
        else:
            self._best = min(self._best, seconds)
            self._recent.append(seconds)
            slow = statistics.fmean(self._recent) > SLOW * self._best
            self._trial = _Trial() if slow and len(self._recent) == WINDOW else None

    def _judge(self, trial: _Trial, seconds: float) -> None:
        trial.add(seconds)
        if trial.verdict is not None:
            self._trial, self._left_alone = None, ALONE if trial.verdict else 0
            self._best = min(self._best, *trial.together)
            self._recent.clear()
