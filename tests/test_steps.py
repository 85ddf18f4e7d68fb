"""A training step taken apart."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gpt import presets, steps
from gpt.data import Batches, Split
from gpt.learner import Learner
from gpt.settings import make_config
from gpt.world import World

SMALL: dict[str, Any] = {
    "batch_size": 4, "block_size": 32, "n_layer": 2, "n_head": 2, "n_embd": 32,
    "gradient_accumulation_steps": 2, "device": "cpu", "threads": 1,
}  # fmt: skip


def test_what_takes_time_shows_in_its_part_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a learner whose parts take known times on a clock of their own, its clip within its
    # optimizer's step, and something besides
    now = 0.0
    clock = SimpleNamespace(perf_counter=lambda: now)
    monkeypatch.setattr(steps, "time", clock)
    config = make_config({**presets.find("tiny").values, **SMALL})
    world = World.of(config)
    learner = Learner(config, 65, world)
    batches = Batches(Split.of(torch.arange(1000) % 65), config, world.device)
    forward, clip, step = learner.forward, learner._clip, learner.optimizer.step

    def pass_time(seconds: float) -> None:
        nonlocal now
        now += seconds

    def slow_forward(*ids: torch.Tensor) -> Any:
        pass_time(5)
        return forward(*ids)

    def slow_clip(*how: Any) -> Any:
        pass_time(3)
        return clip(*how)

    def slow_step() -> None:
        pass_time(7)
        learner._clip(True, True)
        step()

    monkeypatch.setattr(learner, "forward", slow_forward)
    monkeypatch.setattr(learner, "_clip", slow_clip)
    monkeypatch.setattr(learner.optimizer, "step", slow_step)

    # When a step is taken apart
    with steps.taken_apart(learner, batches, world) as parts:
        learner.update(batches, 1e-3, True, lambda: pass_time(11))

    # Then each has its own, forward twice, and the polling is nobody's
    assert parts == {"forward": 10, "clip": 6, "optimizer": 7, "batch": 0, "backward": 0}
    assert now == 10 + 6 + 7 + 2 * 11

    # And the learner is as it was
    assert learner.forward is slow_forward
    assert learner.optimizer.step is slow_step
    assert "advance" not in vars(batches)
    assert "zero_grad" not in vars(learner.optimizer)
    assert torch.autograd.backward.__module__ == "torch.autograd"
