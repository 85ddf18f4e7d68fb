"""Threads that let go of their cores while they wait for each other, as long as other work wants
those.

OpenMP's threads keep their cores busy for some milliseconds when they wait for the slowest of
them, since it takes time to wake one. When other work holds a core, the slowest is the one that
waits for that core, and the others take it from it: a step then takes ten times as long. GNU's
OpenMP, which torch has on Linux, lets go after a three-thousandth of that time while it has more
threads than there are processors (the manual of libgomp, GOMP_SPINCOUNT). So there need only be
some more threads, which sleep. Nothing else changes: not which threads compute, nor one bit.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from functools import cached_property
from types import TracebackType
from typing import Self

import torch

from gpt.native.library import thread_pools
from gpt.threads import cores

MOST = 16
"""Threads that are worth having only to sleep."""
SHARE = 1 << 16
"""Bytes of a tensor that torch gives to more than one thread."""


class Patience:
    """While it is wanted, threads that wait do so asleep. It costs a sixth of a run that has the
    machine for itself, so it is for one that has not; leaving the context ends it.

    Args:
        threads: that compute.
    """

    def __init__(self, threads: int) -> None:
        # OpenMP counts all threads but those that a group of them is made for, and the first.
        self._group = cores() + 2 - threads if threads > 1 else 0
        self._enough: threading.Event | None = None

    @cached_property
    def helps(self) -> bool:
        """Whether it changes anything on this system."""
        return 1 < self._group <= MOST and _openmp() is not None

    @property
    def wanted(self) -> bool:
        """Whether threads wait asleep now, where this system lets them."""
        return self._enough is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.want(False)

    def want(self, wanted: bool) -> None:
        """Have threads wait asleep from now on, or not any more."""
        if wanted and self._enough is None:
            self._enough = threading.Event()
            if self.helps:
                words = self._group, self._enough
                with contextlib.suppress(RuntimeError):  # the system has no more threads to give
                    threading.Thread(target=_sleep, args=words, name=NAME, daemon=True).start()
        elif not wanted and self._enough is not None:
            self._enough.set()
            self._enough = None


NAME = "patience"
"""Of the thread that has the sleepers."""


def _sleep(group: int, until: threading.Event) -> None:
    """Have so many threads made for this one, which then do nothing."""
    openmp = _openmp()
    if openmp is None:
        return
    torch.get_num_threads()  # else torch would set the number when it first computes here
    openmp.omp_set_num_threads(group)  # of this thread alone
    with contextlib.suppress(RuntimeError, MemoryError):
        torch.zeros(group * SHARE, dtype=torch.uint8).add_(1)
    until.wait()


def _openmp() -> ctypes.CDLL | None:
    """GNU's OpenMP, if that is what this process computes with."""
    with contextlib.suppress(OSError):
        for path in thread_pools():
            if path.name.startswith("libgomp"):
                return ctypes.CDLL(str(path))
    return None
