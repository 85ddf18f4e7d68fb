"""Writing on as many threads as are quickest at the moment."""

from __future__ import annotations

from collections.abc import Generator

import pytest
import torch

from gpt import crew, kernels, sample
from gpt.crew import ALONE, TOGETHER, TRIES, Crew
from gpt.settings import make_config
from gpt.world import World
from tests.test_native import built


@pytest.fixture(autouse=True)
def two_threads() -> Generator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)
    kernels.use_native(False)


class Clock:
    """A clock, and work that takes so many seconds on two threads and on one."""

    def __init__(self, together: float, alone: float) -> None:
        self.now = 0.0
        self.seconds = {2: together, 1: alone}
        self.used: list[int] = []

    def __call__(self) -> float:
        return self.now

    def turn(self, crew: Crew) -> None:
        with crew.turn():
            self.used.append(torch.get_num_threads())
            self.now += self.seconds[self.used[-1]]
        assert torch.get_num_threads() == 2


def test_a_single_thread_works_while_two_wait_for_other_work() -> None:
    # Given a machine on which other work holds a core
    clock = Clock(together=0.1, alone=0.01)
    group = Crew(2, clock)

    # When both ways are tried
    for _ in range(2 * TRIES):
        clock.turn(group)
    assert clock.used == [2, 1] * TRIES

    # Then one thread goes on alone until the next trial
    for _ in range(ALONE):
        clock.turn(group)
    assert set(clock.used[2 * TRIES :]) == {1}

    # And when the other work is over by then, both do
    clock.seconds[2] = 0.005
    for _ in range(2 * TRIES + TOGETHER):
        clock.turn(group)
    assert set(clock.used[-TOGETHER:]) == {2}


def test_one_try_that_was_lucky_decides_nothing() -> None:
    # Given two threads that mostly wait, but not in one of the tries; and a slow first turn
    clock = Clock(together=0.1, alone=0.04)
    group = Crew(2, clock)
    for turn in range(2 * TRIES):
        clock.seconds[2] = {0: 1.0, 2: 0.001}.get(turn, 0.1)
        clock.turn(group)

    # Then one thread goes on
    clock.turn(group)
    assert clock.used[-1] == 1


def test_work_that_fails_leaves_the_threads_as_they_were() -> None:
    group = Crew(2)
    for _ in range(2):
        with pytest.raises(ValueError, match="no"), group.turn():
            raise ValueError("no")
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("native", [False, pytest.param(True, marks=built)])
def test_the_text_does_not_depend_on_who_writes_it(
    native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a model so wide that threads share its products, and a seed
    config = make_config({"n_layer": 2, "n_head": 2, "n_embd": 288, "block_size": 16})
    world = World.of(config.model_copy(update={"device": "cpu"}))
    kernels.use_native(native)
    torch.manual_seed(1)
    model = sample.GPT(config, 65).eval()
    used: list[int] = []
    predict = model.predict
    monkeypatch.setattr(
        model, "predict", lambda *given: used.append(torch.get_num_threads()) or predict(*given)
    )

    def text() -> list[int]:
        prompt, generator = torch.zeros(1, 1, dtype=torch.long), torch.Generator().manual_seed(1)
        return [int(ids) for ids in sample.generate(model, prompt, 60, 0.8, 0, generator, world)]

    # When one thread and two write it by turns
    monkeypatch.setattr(crew, "TRIES", 100)
    by_turns = text()
    assert set(used) == {1, 2}

    # Then it is the text that one writes
    torch.set_num_threads(1)
    assert by_turns == text()
