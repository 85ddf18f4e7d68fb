"""Work in several threads: results in order, faults passed on, and an end at any time."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest

from gpt import threads
from gpt.control import Stopped


def nothing() -> None:
    pass


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    first_may_end = threading.Event()

    def work(item: int) -> int:
        if item == 0 and workers > 1:
            assert first_may_end.wait(60)
        if item == 1:
            first_may_end.set()
        return item * item

    results = list(threads.in_order(work, range(20), workers, nothing))

    assert results == [item * item for item in range(20)]


def test_only_a_few_items_are_held() -> None:
    taken: list[int] = []

    def items():
        for item in range(100):
            taken.append(item)
            yield item

    with closing(threads.in_order(lambda item: item, items(), 2, nothing)) as results:
        assert next(results) == 0
        assert len(taken) == 4
        assert next(results) == 1
        assert len(taken) == 5


@pytest.mark.parametrize("fault", [ValueError, TimeoutError])
def test_a_fault_in_a_thread_is_raised_where_its_result_is_due(fault: type[Exception]) -> None:
    def work(item: int) -> int:
        if item == 2:
            raise fault
        return item

    results = threads.in_order(work, range(5), 2, nothing)

    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(fault):
        next(results)


def test_stopping_does_not_wait_for_what_is_under_way() -> None:
    # Given one thread with an item that does not end, and another waiting for it
    busy, may_end = threading.Event(), threading.Event()
    working: list[threading.Thread] = []
    outlasted: list[bool] = []

    def work(item: int) -> int:
        working.append(threading.current_thread())
        busy.set()
        outlasted.append(may_end.wait(60))
        return item

    def check() -> None:
        if busy.is_set():
            raise Stopped

    # When it is stopped
    with pytest.raises(Stopped):
        list(threads.in_order(work, range(5), 1, check))

    # Then it ends by itself, and the other is never begun
    may_end.set()
    working[0].join(60)
    assert outlasted == [True]
