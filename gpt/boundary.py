"""Where a run can be saved and taken up again: between two steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Boundary:
    """The random state before a step's update, before or after its evaluation.

    Parameters and optimizer do not change until the update, so that stopping anywhere in a
    step goes back here. `batch` is the pair of (batch, time) tensors already drawn.
    """

    step: int
    evaluated: bool
    generators: dict[str, Tensor]
    batch: tuple[Tensor, Tensor]

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps of it."""
        x, y = self.batch
        return {"batch.x": x, "batch.y": y, **self.generators}


def read_generators(device: torch.device) -> dict[str, Tensor]:
    """The states of the default generators that training draws from."""
    states = {"generator.cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["generator.cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states["generator.mps"] = torch.mps.get_rng_state()
    return states


def set_generators(states: dict[str, Tensor], device: torch.device) -> None:
    """Put the default generators back into these states."""
    torch.set_rng_state(states["generator.cpu"])
    if "generator.cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["generator.cuda"], device)
    if "generator.mps" in states and device.type == "mps":
        torch.mps.set_rng_state(states["generator.mps"])


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state, as `optimizer.<moment>.<parameter>`."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        for moment, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{moment}.{name}"] = torch.as_tensor(value)
    return tensors
