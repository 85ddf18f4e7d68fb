"""A run of ours and the exact losses on its way, which neither its clock nor its numbers notice."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gpt.control import Control
from gpt.corpus import Corpus
from gpt.data import Splits
from gpt.evaluate import Forward, window_losses
from gpt.events import Eval, Notice, Phase, Step
from gpt.loop import Loop
from gpt.model import GPT
from gpt.settings import make_config
from gpt.standing import Ready
from gpt.stopwatch import awake
from gpt.world import World
from tests.conftest import prepared

SPACING = 1.1
"""The seconds of an evaluation are so many times those of the one before: a rung is told at most
10 % too late."""
MOST_HELD = 64
"""Models are evaluated so many at a time: a step after an evaluation is slower, by a tenth of a
run that is evaluated at each of its steps."""

Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Point:
    """The exact validation loss of a run after so many steps and seconds of training."""

    run: str
    step: int
    seconds: float
    val: float


@dataclass(frozen=True, slots=True)
class Held:
    """What a model was after so many steps and seconds, not evaluated yet."""

    step: int
    seconds: float
    parameters: list[Tensor]


@dataclass(frozen=True, slots=True)
class Climb:
    """A run of ours: its points, and the training loss of each step."""

    points: list[Point]
    losses: list[float]


def climb(run: str, settings: Settings) -> Climb:
    """Train, and evaluate what the model was on the way while the run's clock stands still."""
    loop = begun(settings)
    found, held = Climb([], []), list[Held]()
    evaluating = began = seconds = due = 0.0
    for event in loop.events():
        match event:
            case Phase(name="evaluating"):
                began = loop.watch.worked()
            case Eval():
                evaluating += loop.watch.worked() - began
            case Step(loss=loss):
                awake.stop()
                found.losses.append(math.nan if loss is None else loss)
                seconds = event.seconds - evaluating
                if seconds >= due:
                    held.append(Held(loop.step + 1, seconds, parameters(loop)))
                    due = SPACING * seconds
                if len(held) == MOST_HELD:
                    found.points.extend(measured(run, loop, held))
                    held.clear()
                awake.go_on()
            case Notice(text=text):
                print(f"{run}: {text}", file=sys.stderr, flush=True)
            case _:
                pass
    held.append(Held(loop.step, seconds, parameters(loop)))
    points = {point.step: point for point in (*found.points, *measured(run, loop, held))}
    return Climb(list(points.values()), found.losses)


def begun(settings: Settings) -> Loop:
    """The training loop of these settings, before its first step."""
    config = make_config(settings)
    world, corpus = World.of(config), prepared(config.dataset)
    world.set_up()
    ready = Ready(world, corpus, corpus.tokenizer(), Splits(corpus), None)
    return Loop(config, ready, None, Control())


def parameters(loop: Loop) -> list[Tensor]:
    """A copy of the model's."""
    return [parameter.detach().clone() for parameter in loop.learner.model.parameters()]


def measured(run: str, loop: Loop, held: Sequence[Held]) -> list[Point]:
    """The exact losses of what a run's model was; the last of them is what it is."""
    model = loop.learner.model.eval()
    points: list[Point] = []
    for it in held:
        put(model, it.parameters)
        val = exact(loop.learner.forward, loop.ready.corpus, loop.config.block_size, loop.world)
        points.append(Point(run, it.step, it.seconds, val))
    model.train()
    return points


@torch.no_grad()
def put(model: GPT, values: Sequence[Tensor]) -> None:
    """Let a model have these parameters."""
    for parameter, value in zip(model.parameters(), values, strict=True):
        parameter.copy_(value)


def exact(forward: Forward, corpus: Corpus, block_size: int, world: World) -> float:
    """The loss over the whole validation split."""
    found = window_losses(forward, Splits(corpus).val, block_size, world)
    total, count = map(sum, zip(*((loss * n, n) for loss, n in found), strict=True))
    return total / count
