"""The course of a run: how far it is, and the learning rate and sizes that follow from it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gpt.config import Config
from gpt.recipe import parts


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands: the steps that are done, and the seconds it has worked."""

    step: int
    seconds: float = 0.0

    def share(self, config: Config) -> float:
        """How much of the run is behind it, from 0 to 1: of its time if it has a budget."""
        if config.time_budget:
            return min(1.0, self.seconds / config.time_budget)
        return min(1.0, self.step / config.max_iters) if config.max_iters else 1.0


def lr_at(config: Config, progress: Progress) -> float:
    """AdamW's learning rate of a step: linear warm-up, then down to `min_lr` as scheduled."""
    step = progress.step
    if not config.decay_lr:
        return config.learning_rate
    if step < config.warmup_iters:
        return config.learning_rate * (step + 1) / (config.warmup_iters + 1)
    if config.time_budget:
        done = progress.share(config)
    elif step > config.lr_decay_iters:
        return config.min_lr
    else:
        length = config.lr_decay_iters - config.warmup_iters
        done = (step - config.warmup_iters) / length if length else 0.0
    return config.min_lr + _height(config, done) * (config.learning_rate - config.min_lr)


def _height(config: Config, done: float) -> float:
    """From 1 down to 0 while `done` goes from 0 to 1."""
    match config.schedule:
        case "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * done))
        case "linear":
            return 1.0 - done
        case "wsd":
            return min(1.0, (1.0 - done) / config.decay_fraction)


def sizes_at(config: Config, progress: Progress) -> tuple[int, int]:
    """The `batch_size` and `block_size` to train with."""
    return _sizes_after(config, progress.share(config))


def all_sizes(config: Config) -> list[tuple[int, int]]:
    """Every pair of sizes that a run trains with, in its order."""
    schedules = config.batch_schedule, config.block_schedule
    changes = {until for schedule in schedules for until, _ in parts(schedule)}
    return list(dict.fromkeys(_sizes_after(config, done) for done in (0.0, *sorted(changes))))


def _sizes_after(config: Config, done: float) -> tuple[int, int]:
    batch_size = _scheduled(config.batch_schedule, done) or config.batch_size
    return batch_size, _scheduled(config.block_schedule, done) or config.block_size


def _scheduled(schedule: str, done: float) -> int | None:
    """What a schedule such as "0.3:8, 0.6:16" says; None after its last part."""
    return next((size for until, size in parts(schedule) if done < until), None)
