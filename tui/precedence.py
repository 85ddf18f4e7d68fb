"""Who has the interpreter first: training, but the person for a moment after each key.

Training and the interface are threads of one interpreter. Training needs it briefly at each of some
hundred operations a step, and a thread that draws gives it up only after Python's switch interval.
With Python's own 5 ms a drawing of 50 ms lets ten operations through, and training lost a tenth of
its speed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from gpt.stopwatch import awake

TO_TRAINING = 0.0005
"""Seconds after which drawing gives way while nobody types."""
TO_PERSON = 0.02
"""The same while somebody does, so that what a key draws is drawn at once: for so long training
can begin nothing that would take a core from it."""
TO_ALL = 0.005
"""Where nothing trains: Python's own."""
MOMENT = 0.5
"""Seconds after a key."""
WRITING = 0.001
"""Seconds in which the thread that writes to the terminal gets the interpreter."""


class Precedence:
    """Python's switch interval, as suits the moment.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = awake) -> None:
        self._clock = clock
        self._until = 0.0
        self._training = False

    def to_person(self) -> None:
        """A key was pressed."""
        self._until = self._clock() + MOMENT
        self._set()

    def let_write(self) -> None:
        """Something was drawn: before more is, what a key asked for goes out to the terminal."""
        if self._training and self._clock() < self._until:
            time.sleep(WRITING)

    def settle(self, training: bool) -> None:
        """Back to training, if there is any, unless a key was pressed just now. Called often."""
        self._training = training
        self._set()

    def _set(self) -> None:
        urgent = self._clock() < self._until
        busy = TO_PERSON if urgent else TO_TRAINING
        sys.setswitchinterval(busy if self._training else TO_ALL)
