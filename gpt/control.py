"""The way back into a running training: what a person or a signal asks of it."""

from __future__ import annotations

import threading
from collections import deque
from typing import Literal

Request = Literal["evaluate", "sample", "save"]


class Stopped(Exception):  # noqa: N818 - a request, not an error
    """Raised inside a run, at a point where it polls, when it was asked to stop."""


class Control:
    """Requests to a run, safe to make from any thread and from a signal handler.

    Training polls it at each micro-step, each evaluation batch and each sampled token. Nothing
    here takes a lock that the training thread holds for long, so asking never waits.
    """

    def __init__(self) -> None:
        self.stopping = False
        self.paused = False
        self._skip = False
        self._requests: deque[Request] = deque()
        self._changed = threading.Event()

    def stop(self) -> None:
        """End the run at the next step boundary, saving it."""
        self.stopping = True
        self._changed.set()

    def pause(self) -> None:
        """Hold before the next step; `go_on` continues."""
        self.paused = True

    def go_on(self) -> None:
        """Continue after `pause`."""
        self.paused = False
        self._changed.set()

    def ask(self, request: Request) -> None:
        """Evaluate, sample or save once, at the next step boundary, also while paused."""
        if request not in self._requests:
            self._requests.append(request)
        self._changed.set()

    def skip(self) -> None:
        """End the evaluation or the sample that is under way now."""
        self._skip = True

    def check(self) -> None:
        """Raise `Stopped` when asked to stop."""
        if self.stopping:
            raise Stopped

    def take_request(self) -> Request | None:
        """The oldest open request, which is then no longer open."""
        return self._requests.popleft() if self._requests else None

    def take_skip(self) -> bool:
        """Whether to skip what is under way; asking clears it."""
        skip, self._skip = self._skip, False
        return skip

    def wait(self, seconds: float) -> None:
        """While paused: return when something was asked, or after `seconds`."""
        self._changed.wait(seconds)
        self._changed.clear()
