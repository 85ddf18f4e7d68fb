"""Training before drawing, a person before training."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tui.manners import MannerlyApp
from tui.precedence import MOMENT, TO_PERSON, TO_TRAINING, Precedence


@pytest.fixture(autouse=True)
def _own_interval() -> Iterator[None]:
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


def test_a_key_comes_first_for_a_moment() -> None:
    now = 0.0
    precedence = Precedence(lambda: now)
    precedence.settle()
    assert sys.getswitchinterval() == pytest.approx(TO_TRAINING)

    precedence.to_person()
    now = MOMENT / 2
    precedence.settle()
    assert sys.getswitchinterval() == pytest.approx(TO_PERSON)

    now = MOMENT
    precedence.settle()
    assert sys.getswitchinterval() == pytest.approx(TO_TRAINING)


async def test_the_app_notices_keys() -> None:
    app = MannerlyApp()
    async with app.run_test() as pilot:
        app.precedence.settle()
        await pilot.press("x")
        assert sys.getswitchinterval() == pytest.approx(TO_PERSON)
