"""How far behind the terminal is: after what is drawn it is asked a question, and answers when it
has read so far. What the system takes for it, up to a few seconds' worth on a slow line, is seen by
nothing else. tmux and screen answer for themselves, whatever is behind them."""

from __future__ import annotations

import time
from collections.abc import Callable

QUESTION = "\x1b[6n"
"""Where is the cursor? Every terminal knows it, and Textual reads the answer."""
PATIENCE = 10.0
"""Seconds after which an answer is taken for lost."""
FARTHEST = 1.0
"""Seconds there and back at most, however little is sent; what takes longer is a slow line."""
SLOW = 0.3
"""Seconds of waiting that a person notices."""
BLINK = 0.2
"""Seconds for which a key may wait behind what is drawn."""
LEAST, PLENTY = 200, 10_000
"""Bytes at once: fewer would draw nothing, and from here on a limit makes no difference."""


class RoundTrip:
    """Questions and answers, one at a time. A terminal that never answers counts as quick.

    Attributes:
        share: how many bytes may be drawn at once; None where it does not matter.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.share: int | None = None
        self._clock = clock
        self._asked: float | None = None
        self._size = 0
        """Bytes before the question."""
        self._way = FARTHEST
        """Seconds there and back: the quickest answer so far."""
        self._answers = False

    @property
    def open(self) -> bool:
        """Whether an answer is to be expected."""
        return self._answers and self._since() is not None

    @property
    def waiting(self) -> bool:
        """Whether the terminal is behind, so that nothing more should be drawn."""
        seconds = self._since()
        late = seconds is not None and (self.share is not None or seconds > self._way + SLOW)
        return self._answers and late

    def follow(self, data: str) -> str:
        """What to write: the data, and a question behind it if none is open."""
        if self._since() is not None:
            return data
        self._size, self._asked = len(data.encode()), self._clock()
        return data + QUESTION

    def answer(self) -> None:
        """The terminal has read so far. The share follows what its line was seen to take."""
        asked, self._asked = self._asked, None
        if asked is None:
            return
        seconds = self._clock() - asked
        self._answers, self._way = True, min(self._way, seconds)
        waited = seconds - self._way
        if waited > SLOW:
            self.share = max(LEAST, round(self._size / waited * BLINK))
        elif self.share is not None and waited < BLINK and 2 * self._size > self.share:
            more = 3 * self.share // 2
            self.share = more if more < PLENTY else None

    def forget(self) -> None:
        """No answer is to be expected any more."""
        self._asked = None

    def _since(self) -> float | None:
        """Seconds since the open question; None if none is open, or its answer is lost."""
        asked = self._asked
        seconds = None if asked is None else self._clock() - asked
        return None if seconds is None or seconds >= PATIENCE else seconds
