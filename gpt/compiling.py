"""torch.compile for the model."""

from __future__ import annotations

import torch
from torch import Tensor

from gpt.evaluate import Forward, batch_loss
from gpt.model import GPT
from gpt.world import World


def compiled(model: GPT, batch: tuple[Tensor, Tensor], world: World) -> Forward:
    """The model's forward pass, compiled now rather than in the first step, both ways.

    Leaves gradients behind, and default generators that have moved on.

    Raises:
        Exception: whatever the compiler raises, which is many things.
    """
    forward: Forward = torch.compile(model)  # pyright: ignore[reportUnknownMemberType]
    model.eval()
    batch_loss(forward, *batch, world)
    model.train()
    with world.autocast():
        _, loss = forward(*batch)
    loss.backward()  # pyright: ignore[reportUnknownMemberType]
    return forward
