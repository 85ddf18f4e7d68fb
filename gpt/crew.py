"""How many threads are quickest at small work that is done over and over, as writing a text is.

In each token of a single text the threads of torch and of the kernels in C wait for the slowest of
them many times, and keep their cores busy while they wait. When other work holds a core, every one
of these waits is for it, and a token takes five to fifteen times as long as on one thread, which
otherwise takes little longer than all of them.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator

import torch

TRIES = 4
"""Of all threads and of one, by turns. Their sums are compared, since the quickest of all threads'
may have had both cores by luck, and without the first, in which much happens for the first time."""
TOGETHER, ALONE = 32, 128
"""Turns until the next trial. It costs most where all threads wait for other work."""


class Crew:
    """Tries all threads and one, and stays with what was quicker until the next trial.

    Args:
        threads: all of them.
    """

    def __init__(self, threads: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._threads = threads
        self._clock = clock
        self._alone = False
        self._left = 0
        self._tried: list[float] = []

    @contextlib.contextmanager
    def turn(self) -> Generator[None]:
        """Do one piece of the work inside; torch has as many threads as before afterwards."""
        trial = self._left == 0
        alone = len(self._tried) % 2 == 1 if trial else self._alone
        if alone:
            torch.set_num_threads(1)
        begun = self._clock()
        try:
            yield
        finally:
            seconds = self._clock() - begun
            if alone:
                torch.set_num_threads(self._threads)
        if not trial:
            self._left -= 1
            return
        self._tried.append(seconds)
        if len(self._tried) == 2 * TRIES:
            self._alone = sum(self._tried[3::2]) < sum(self._tried[2::2])
            self._left = ALONE if self._alone else TOGETHER
            self._tried.clear()
