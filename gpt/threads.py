"""Work on the pieces of something long in several threads, its results in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from typing import TypeVar

PATIENCE = 0.05
"""Seconds between two looks at whether to stop."""

A = TypeVar("A")
B = TypeVar("B")


def cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(
    work: Callable[[A], B], items: Iterable[A], workers: int, check: Callable[[], None]
) -> Generator[B, None, None]:
    """The results of `work` in the order of the items, several of them worked on at once.

    Pays where `work` lets go of the interpreter, as hashing, numpy and tiktoken do. At most two
    items a thread are held. Closed early, or when `check` raises, it does not wait for what is
    under way: that ends by itself and its result is dropped.
    """
    pool = ThreadPoolExecutor(workers)
    waiting: deque[Future[B]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= 2 * workers:
                yield result(waiting.popleft(), check)
        while waiting:
            yield result(waiting.popleft(), check)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def result(future: Future[B], check: Callable[[], None]) -> B:
    """What a thread finds, waited for; `check` is called often meanwhile."""
    while True:
        check()
        try:
            return future.result(PATIENCE)
        except NotYet:
            if future.done():  # just now, or the work itself ran out of time
                return future.result()
