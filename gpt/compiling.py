"""torch.compile for the model."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import cast

import torch

from gpt.evaluate import Forward, batch_loss
from gpt.folders import cache_folder
from gpt.model import GPT, RunBlock, run_block
from gpt.world import World


def compiled(model: GPT, sizes: Sequence[tuple[int, int]], world: World) -> Forward:
    """The model's forward pass, compiled now rather than in the first step, both ways.

    On a CPU, where compiling takes longest, it is the block alone, which all layers share, and
    training alone: evaluations and samples come in too many shapes. What the compiler made is
    kept for other runs.

    Args:
        sizes: every (batch_size, block_size) that will be trained with.

    Leaves gradients behind, and default generators that have moved on.

    Raises:
        Exception: whatever the compiler raises, which is many things.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "compiled"))
    # It keeps a few versions of each function, of which an earlier run may have used up all.
    torch.compiler.reset()
    forward: Forward = model
    if world.device.type == "cpu":
        run = torch.compile(run_block, dynamic=False)  # pyright: ignore[reportUnknownMemberType]
        model.transformer.run = cast(RunBlock, run)
    else:
        forward = torch.compile(model)  # pyright: ignore[reportUnknownMemberType]
    with warnings.catch_warnings():
        # It tells that it looks through a cached function, as it should.
        warnings.filterwarnings("ignore", message=".*lru_cache")
        for size in sizes:
            _run_both_ways(model, forward, size, world)
    return forward


def _run_both_ways(model: GPT, forward: Forward, size: tuple[int, int], world: World) -> None:
    tokens = torch.zeros(size, dtype=torch.long, device=world.device)
    model.eval()
    batch_loss(forward, tokens, tokens, world)
    model.train()
    with world.autocast():
        _, loss = forward(tokens, tokens)
    loss.backward()  # pyright: ignore[reportUnknownMemberType]
