"""Threads that let go of their cores while they wait for each other, as long as other work wants
those.

OpenMP's threads keep their cores busy for some milliseconds when they wait for the slowest of
them, since it costs time to wake one. When other work holds a core, the slowest is the one that
waits for that core, and the others take it from it: a step then takes ten times as long. GNU's
OpenMP, which torch has on Linux, lets go after a three-hundredth of that time while it has more
threads than there are processors (the manual of libgomp, GOMP_SPINCOUNT). So there need only be
some more threads, which sleep. Nothing else changes: not which threads compute, nor one bit.
"""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import Self

import torch

from gpt.threads import cores

SHARED = 1 << 20
"""Numbers in a tensor that torch has all its threads add up."""


class Patience:
    """While it is wanted, threads that wait do so asleep. It costs a sixth of a run that has the
    machine for itself, so it is for one that has not; leaving the context ends it.

    Args:
        threads: that compute.
    """

    HELPS = sys.platform == "linux"

    def __init__(self, threads: int) -> None:
        self._threads = threads
        # OpenMP counts a group's threads without the one that they are made for.
        several = self.HELPS and threads > 1
        self._groups = 1 + (cores() - threads) // (threads - 1) if several else 0
        self._enough: threading.Event | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.want(False)

    @property
    def wanted(self) -> bool:
        """Whether threads wait asleep now, where this system lets them."""
        return self._enough is not None

    def want(self, wanted: bool) -> None:
        """Have threads wait asleep from now on, or not any more."""
        if wanted and self._enough is None:
            self._enough = threading.Event()
            for _ in range(self._groups):
                threading.Thread(
                    target=_sleep, args=(self._threads, self._enough), name="patience", daemon=True
                ).start()
        elif not wanted and self._enough is not None:
            self._enough.set()
            self._enough = None


def _sleep(threads: int, until: threading.Event) -> None:
    """Have a group of threads made for this thread, which then does nothing."""
    torch.set_num_threads(threads)  # not what another thread of this process may just have set
    torch.ones(SHARED).add_(1)
    until.wait()
