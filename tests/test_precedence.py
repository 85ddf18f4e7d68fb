"""Training before drawing, a person before training."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import pytest

from tui.manners import MannerlyApp
from tui.precedence import MOMENT, TO_ALL, TO_PERSON, TO_TRAINING, WRITING, Precedence


@pytest.fixture(autouse=True)
def _own_interval() -> Iterator[None]:
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


def test_a_key_comes_first_for_a_moment() -> None:
    now = 0.0
    precedence = Precedence(lambda: now)
    precedence.settle(training=True)
    assert sys.getswitchinterval() == pytest.approx(TO_TRAINING)

    precedence.to_person()
    now = MOMENT / 2
    precedence.settle(training=True)
    assert sys.getswitchinterval() == pytest.approx(TO_PERSON)

    now = MOMENT
    precedence.settle(training=True)
    assert sys.getswitchinterval() == pytest.approx(TO_TRAINING)


def test_what_a_key_drew_goes_out_before_more_is_drawn() -> None:
    now, slept = 0.0, list[float]()
    precedence = Precedence(lambda: now)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", slept.append)

        precedence.settle(training=True)
        precedence.let_write()
        assert not slept

        precedence.to_person()
        precedence.let_write()
        assert slept == [WRITING]

        now = MOMENT
        precedence.let_write()
        assert slept == [WRITING]


def test_where_nothing_trains_nobody_comes_first() -> None:
    slept = list[float]()
    precedence = Precedence(lambda: 0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", slept.append)

        precedence.settle(training=False)
        precedence.to_person()
        precedence.let_write()

        assert sys.getswitchinterval() == pytest.approx(TO_ALL)
        assert not slept


async def test_the_app_notices_keys() -> None:
    app = MannerlyApp()
    async with app.run_test() as pilot:
        app.precedence.settle(training=True)
        await pilot.press("x")
        assert sys.getswitchinterval() == pytest.approx(TO_PERSON)
