"""torch.compile for the model."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from gpt.config import Config
from gpt.evaluate import Forward, batch_loss, window_size
from gpt.folders import cache_folder
from gpt.model import GPT, RunBlock, run_block
from gpt.schedule import all_sizes
from gpt.world import World


def compiled(model: GPT, config: Config, world: World) -> Forward:
    """The model's forward pass, compiled now rather than in the first step, both ways.

    On a CPU, where compiling takes longest, it is the block alone, which all layers share, and
    training alone. Elsewhere it is all of the model, for the sizes of batches that the run trains
    and evaluates with, but for the shorter ones in which an exact evaluation ends. What the
    compiler made is kept for other runs.

    Leaves gradients behind, and default generators that have moved on.

    Raises:
        Exception: whatever the compiler raises, which is many things.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "compiled"))
    # It keeps a few versions of each function, of which an earlier run may have used up all.
    torch.compiler.reset()
    forward: Forward = model
    sizes = all_sizes(config)
    evaluated: list[tuple[int, int]] = []
    if world.device.type == "cpu":
        run = torch.compile(run_block, dynamic=False)  # pyright: ignore[reportUnknownMemberType]
        model.transformer.run = cast(RunBlock, run)
    else:
        if not config.eval_iters:
            evaluated.append(window_size(config.block_size))
        forward = _for_sizes(model, [*sizes, *evaluated])
    _allow_versions(2 * (len(sizes) + len(evaluated)))
    with warnings.catch_warnings():
        # It tells that it looks through a cached function, as it should.
        warnings.filterwarnings("ignore", message=".*lru_cache")
        for size in sizes:
            _run_both_ways(model, forward, size, world)
        for size in evaluated:
            _evaluate(model, forward, size, world)
    return forward


def _allow_versions(count: int) -> None:
    """Have so many versions of a function kept: of each size there are two, and one may be left
    out otherwise, which would be the last and longest used."""
    from torch._dynamo import config

    config.recompile_limit = max(config.recompile_limit, count)


def _for_sizes(model: GPT, sizes: Sequence[tuple[int, int]]) -> Forward:
    """The whole model, compiled for batches of these sizes, and as it is for others."""
    quick = torch.compile(model, dynamic=False)  # pyright: ignore[reportUnknownMemberType]
    known = set(sizes)

    def forward(idx: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return (quick if tuple(idx.shape) in known else model)(idx, targets)

    return forward


def _evaluate(model: GPT, forward: Forward, size: tuple[int, int], world: World) -> None:
    tokens = torch.zeros(size, dtype=torch.long, device=world.device)
    model.eval()
    batch_loss(forward, tokens, tokens, world)


def _run_both_ways(model: GPT, forward: Forward, size: tuple[int, int], world: World) -> None:
    _evaluate(model, forward, size, world)
    tokens = torch.zeros(size, dtype=torch.long, device=world.device)
    model.train()
    with world.autocast():
        _, loss = forward(tokens, tokens)
    loss.backward()  # pyright: ignore[reportUnknownMemberType]
