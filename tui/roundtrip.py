"""How far behind the terminal is: after what is drawn it is asked a question, and answers when it
has read so far. What the system takes for it, up to a few seconds' worth on a slow line, is seen by
nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable

QUESTION = "\x1b[6n"
"""Where is the cursor? Every terminal knows it, and Textual reads the answer."""
PATIENCE = 10.0
"""Seconds after which an answer is taken for lost."""
SLOW = 0.3
"""Seconds of waiting that a person notices."""
FAST = 50_000
"""Bytes a second from which a line counts as quick."""
BLINK = 0.2
"""Seconds for which a key may wait behind what is drawn."""


class RoundTrip:
    """Questions and answers, one at a time. A terminal that never answers counts as quick.

    Attributes:
        rate: bytes a second, where the line is slow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate: float | None = None
        self._clock = clock
        self._asked: float | None = None
        self._size = self._behind = 0
        """Bytes before the question, and after it."""
        self._answers = False

    @property
    def waiting(self) -> bool:
        """Whether the terminal has yet to read something before the question."""
        return self._answers and self._open()

    @property
    def share(self) -> int | None:
        """How many bytes may be drawn at once; None where it does not matter."""
        return None if self.rate is None else max(1, round(self.rate * BLINK))

    def follow(self, data: str) -> str:
        """What to write: the data, and a question behind it if none is open."""
        self._behind += len(data.encode())
        if self._open():
            return data
        self._size, self._behind, self._asked = self._behind, 0, self._clock()
        return data + QUESTION

    def answer(self) -> None:
        """The terminal has read so far."""
        if self._asked is None:
            return
        seconds = max(self._clock() - self._asked, 1e-6)
        rate = self._size / seconds
        if self.rate is not None or seconds > SLOW:
            self.rate = rate if rate < FAST else None
        self._answers, self._asked = True, None

    def _open(self) -> bool:
        return self._asked is not None and self._clock() - self._asked < PATIENCE
