"""Writing on as many threads as are quickest at the moment."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import torch

from gpt import crew, kernels, sample
from gpt.crew import ALONE, TRIES, WINDOW, Crew
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

    def turns(self, crew: Crew, count: int) -> list[int]:
        """Of each, how many threads had it."""
        used: list[int] = []
        for _ in range(count):
            with crew.turn():
                used.append(torch.get_num_threads())
                self.now += self.seconds[used[-1]]
            assert torch.get_num_threads() == 2
        return used


TRIAL = 2 * TRIES


def test_a_single_thread_works_while_two_wait_for_other_work() -> None:
    # Given a machine on which other work holds a core
    clock = Clock(together=0.1, alone=0.01)
    group = Crew(2, clock)

    # When both ways are tried, after a first turn
    assert clock.turns(group, 1 + TRIAL) == [2] + [2] * TRIES + [1] * TRIES

    # Then one thread goes on alone until the next trial
    assert clock.turns(group, ALONE) == [1] * ALONE

    # And when the other work is over by then, both do, as long as they are not slow
    clock.seconds[2] = 0.005
    assert clock.turns(group, TRIAL)[:TRIES] == [2] * TRIES
    assert set(clock.turns(group, 1000)) == {2}

    # When other work comes again, then both ways are tried again
    clock.seconds[2] = 0.1
    used = clock.turns(group, WINDOW + TRIAL + 1)
    assert (used[0], used[-1]) == (2, 1)


def test_one_thread_is_not_tried_for_long_where_many_are_quick() -> None:
    # Given a machine on which one thread takes ten times as long
    clock = Clock(together=0.01, alone=0.1)
    group = Crew(2, clock)

    # Then it has a single turn in a thousand
    assert clock.turns(group, 1000).count(1) == 1


def test_one_turn_that_was_lucky_decides_nothing() -> None:
    # Given two threads that mostly wait, but not in one of the tries, and a slow first turn
    clock = Clock(together=1.0, alone=0.04)
    group = Crew(2, clock)
    clock.turns(group, 1)
    clock.seconds[2] = 0.03
    clock.turns(group, 1)
    clock.seconds[2] = 0.2
    clock.turns(group, TRIAL - 1)

    # Then one thread goes on
    assert clock.turns(group, 1) == [1]


def test_work_that_fails_leaves_the_threads_as_they_were() -> None:
    clock = Clock(together=0.1, alone=0.01)
    group = Crew(2, clock)
    clock.turns(group, TRIAL)

    def fail() -> None:
        with group.turn():
            assert torch.get_num_threads() == 1
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert torch.get_num_threads() == 2


@built
@pytest.mark.parametrize(
    "values",
    [
        {"n_embd": 288, "n_head": 2},
        {"n_embd": 512, "n_head": 1, "positions": "rotary", "qk_norm": True},
        {
            "n_embd": 64,
            "n_head": 1,
            "token_shift": 0.5,
            "value_residual": True,
            "ngram_buckets": 64,
        },
    ],
)
def test_the_text_does_not_depend_on_who_writes_it(
    values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a model whose products threads share, and a seed
    config = make_config({"n_layer": 2, "block_size": 16, **values})
    world = World.of(config.model_copy(update={"device": "cpu"}))
    kernels.use_native(True)
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

    # When now one thread writes it and now two, whichever is quicker
    monkeypatch.setattr(crew, "CLEAR", 100.0)
    monkeypatch.setattr(crew, "ALONE", 2)
    by_turns = text()
    assert set(used) == {1, 2}

    # Then it is the text that one writes
    torch.set_num_threads(1)
    assert by_turns == text()


def test_without_kernels_in_c_all_threads_write() -> None:
    # Given torch's kernels, whose bits may depend on how many threads there are
    config = make_config({"n_layer": 1, "n_head": 2, "n_embd": 32, "block_size": 16})
    world = World.of(config.model_copy(update={"device": "cpu"}))
    model = sample.GPT(config, 65).eval()
    prompt = torch.zeros(1, 1, dtype=torch.long)
    used: set[int] = set()
    for _ in sample.generate(model, prompt, 60, 0.8, 0, torch.Generator(), world):
        used.add(torch.get_num_threads())
    assert used == {2}
