"""Waiting for room on a disk that is full, without losing sight of the person."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from gpt import disk
from gpt.control import Control
from gpt.disk import Shortage

POLL = 0.5
"""Seconds between two looks at the disk."""
RETRY = 300.0
"""Seconds after which to try whatever the disk says: it does not tell of quotas and inodes."""


def wait(shortage: Shortage, control: Control, clock: Callable[[], float] = monotonic) -> None:
    """Hold the run until there is room, a person presses go on, or it is time to try anyway.

    `control` is paused meanwhile, and afterwards as it was, unless the person pressed go on.

    Raises:
        Stopped: the person stops the run.
    """
    paused_before = control.paused
    control.pause()
    until = clock() + RETRY
    while control.paused and clock() < until and not _has_come(shortage):
        control.check()
        control.wait(POLL)
    control.check()
    if control.paused and not paused_before:
        control.go_on()


def _has_come(shortage: Shortage) -> bool:
    """Whether there is enough room now, and more than there was."""
    now = disk.free(shortage.folder)
    # Where the figure was enough already, and yet it was not, only much more is news.
    wanted = shortage.needed if shortage.free < shortage.needed else 2 * shortage.free
    return now >= wanted
