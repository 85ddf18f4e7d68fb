"""The losses over both splits: nanoGPT's estimate on random batches, or exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from time import monotonic

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from gpt.config import Config
from gpt.control import Control
from gpt.data import Batch, Split, Splits
from gpt.estimate import flops_per_token
from gpt.events import Progress
from gpt.world import World

PROGRESS_SECONDS = 0.25
EXACT_TOKENS = 16384
"""Tokens in one batch of an exact evaluation."""
GROUP_TOKENS = 4096
"""On a CPU, small batches are computed together up to so many tokens, and each kernel has enough to
do. On a GPU the model may be compiled for batches as they are."""
GROUP_FLOPS = 8e9
"""Floating-point operations of such a group, some hundredths of a second: a person may want to
stop."""
GROUP_LOGITS = 1 << 20
"""Numbers in its logits, 4 MiB."""

Forward = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, slots=True)
class Losses:
    """Mean losses in nats a token, with their standard errors where they are estimates."""

    train: float
    val: float
    train_se: float | None = None
    val_se: float | None = None


def estimated(
    forward: Forward,
    splits: Splits,
    config: Config,
    world: World,
    control: Control,
    together: int = 1,
) -> Generator[Progress, None, Losses | None]:
    """The mean losses of `eval_iters` random batches from each split, as nanoGPT estimates them.

    When a person skips it, the rest of the batches is drawn all the same, so that training goes
    on with the same random numbers; the result is then None.

    Args:
        together: so many batches are computed as one, as `group_size` says.
    """
    results: list[tuple[float, float | None]] = []
    progress = Pace(2 * config.eval_iters, "batches")
    skipped = False
    for split in (splits.train, splits.val):
        losses: list[Tensor] = []
        for start in range(0, config.eval_iters, together):
            batches: list[Batch] = []
            for _ in range(min(together, config.eval_iters - start)):
                control.check()
                batches.append(split.draw(config.batch_size, config.block_size, world.device))
            skipped = skipped or control.take_skip()
            if not skipped:
                losses += batch_losses(forward, batches, world)
                yield from progress.add(len(batches))
        if losses:
            results.append(_mean(losses))
    if skipped:
        return None
    (train, train_se), (val, val_se) = results
    return Losses(train, val, train_se, val_se)


def group_size(config: Config, vocab_size: int, world: World) -> int:
    """How many batches of an estimate are computed as one."""
    if world.device.type != "cpu":
        return 1
    forward = flops_per_token(config, vocab_size) / 3  # the backward pass takes the other two
    most = min(GROUP_TOKENS, GROUP_FLOPS / forward, GROUP_LOGITS / vocab_size)
    return max(1, int(most) // (config.batch_size * config.block_size))


def window_size(block_size: int) -> tuple[int, int]:
    """The (batch, time) of an exact evaluation's batches."""
    return max(1, EXACT_TOKENS // block_size), block_size


def exact(
    forward: Forward, splits: Splits, config: Config, world: World, control: Control
) -> Generator[Progress, None, Losses | None]:
    """The losses over the whole validation split and over as many tokens of the training split."""
    tokens = min(len(splits.train), len(splits.val))
    progress = Pace(tokens + len(splits.val) - 2, "tokens")
    means: list[float] = []
    for split in (splits.train, splits.val):
        total, count = 0.0, 0
        for loss, targets in window_losses(forward, split, config.block_size, world, tokens):
            control.check()
            if control.take_skip():
                return None
            total, count = total + loss * targets, count + targets
            yield from progress.add(targets)
        means.append(total / count)
    return Losses(*means)


def window_losses(
    forward: Forward, split: Split, block_size: int, world: World, tokens: int | None = None
) -> Generator[tuple[float, int], None, None]:
    """Mean loss and number of targets of consecutive windows, many at a time.

    The windows cover every target of the split's first `tokens` tokens once; the last one is as
    short as what is left.
    """
    windows, _ = window_size(block_size)
    for x, y in split.windows(block_size, windows, tokens):
        loss = batch_loss(forward, x.to(world.device), y.to(world.device), world)
        yield float(loss), y.numel()


@torch.no_grad()
def batch_loss(forward: Forward, x: Tensor, y: Tensor, world: World) -> Tensor:
    """The mean loss of one batch, (batch, time) ids and targets, still on the device."""
    with world.autocast():
        return forward(x, y)[1]


@torch.no_grad()
def batch_losses(forward: Forward, batches: Sequence[Batch], world: World) -> list[Tensor]:
    """The mean loss of each of several batches, computed as one."""
    if len(batches) == 1:
        return [batch_loss(forward, *batches[0], world)]
    x, y = map(torch.cat, zip(*batches, strict=True))
    with world.autocast():
        logits = forward(x, y)[0].chunk(len(batches))
        return [
            F.cross_entropy(rows.flatten(0, 1), targets.flatten())
            for rows, (_, targets) in zip(logits, batches, strict=True)
        ]


class Pace:
    """Progress events, a few each second."""

    def __init__(self, total: int, unit: str) -> None:
        self._total = total
        self._unit = unit
        self._done = 0
        self._due = monotonic() + PROGRESS_SECONDS

    def add(self, count: int) -> Generator[Progress, None, None]:
        """So many more are done."""
        self._done += count
        if monotonic() >= self._due:
            self._due = monotonic() + PROGRESS_SECONDS
            yield Progress(phase="evaluating", done=self._done, total=self._total, unit=self._unit)


def _mean(losses: list[Tensor]) -> tuple[float, float | None]:
    values = torch.stack(losses).float().cpu()
    error = float(values.std()) / math.sqrt(len(losses)) if len(losses) > 1 else None
    return float(values.mean()), error
