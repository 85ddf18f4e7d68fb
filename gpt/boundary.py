"""Where a run can be saved and taken up again: between two steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gpt.checkpoint import Checkpoint, CheckpointError
from gpt.optim import Optimizer


@dataclass(frozen=True, slots=True)
class Boundary:
    """The random state before a step's update, before or after its evaluation.

    Parameters and optimizer do not change until the update, so that stopping anywhere in a
    step goes back here. `batch` is the pair of (batch, time) tensors already drawn, and `place`
    where in the text the next one begins, from 0 to 1.
    """

    step: int
    evaluated: bool
    generators: dict[str, Tensor]
    batch: tuple[Tensor, Tensor]
    place: float = 0.0

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps of it."""
        x, y = self.batch
        place = torch.tensor(self.place, dtype=torch.float64)
        return {"batch.x": x, "batch.y": y, "batch.place": place, **self.generators}

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Boundary:
        """The boundary that a checkpoint was made at, its tensors on the CPU."""
        tensors, state = checkpoint.tensors, checkpoint.state
        generators = {name: t for name, t in tensors.items() if name.startswith("generator.")}
        batch = tensors["batch.x"], tensors["batch.y"]
        # Checkpoints of earlier versions have no place; their windows are random.
        place = float(tensors.get("batch.place", torch.zeros(())))
        return cls(state["step"], state["evaluated"], generators, batch, place)


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


def optimizer_tensors(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimizer's state, as `optimizer.<moment>.<parameter>`."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        for moment, value in optimizer.state_of(parameter).items():
            tensors[f"optimizer.{moment}.{name}"] = value
    return tensors


@torch.no_grad()
def restore_parameters(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Give the model the parameters of a checkpoint.

    Raises:
        CheckpointError: they are those of another model.
    """
    parameters = dict(model.named_parameters())
    shapes = {name: tensor.shape for name, tensor in parameters.items()}
    if shapes != {name: tensor.shape for name, tensor in checkpoint.model.items()}:
        raise CheckpointError(f"{checkpoint.path} holds another model than the run's config.toml.")
    for name, parameter in parameters.items():
        parameter.copy_(checkpoint.model[name])


def restore_optimizer(model: nn.Module, optimizer: Optimizer, checkpoint: Checkpoint) -> None:
    """Give the optimizer the moments of a checkpoint, as `optimizer_tensors` names them."""
    parameters = dict(model.named_parameters())
    for key, tensor in checkpoint.tensors.items():
        kind, _, rest = key.partition(".")
        if kind == "optimizer":
            moment, _, name = rest.partition(".")
            parameter = parameters[name]
            optimizer.restore(parameter, moment, tensor.to(parameter.device, copy=True))
