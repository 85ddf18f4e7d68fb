"""The optimizers and their parameter groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gpt.config import Config
from gpt.model import Attention
from gpt.muon import Muon

EPS = 1e-8


class AdamW:
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101), each group in one fused kernel.

    The numbers are those of `torch.optim.AdamW(fused=True)`. Making one of those imports torch's
    compiler, for which a person would wait a second.

    Attributes:
        param_groups: `params`, `lr`, `betas` and `weight_decay` of each group, as in torch.
        state: for each parameter after the first update `step`, `exp_avg` and `exp_avg_sq`.
    """

    def __init__(
        self, groups: Sequence[tuple[list[nn.Parameter], float]], betas: tuple[float, float]
    ) -> None:
        self.param_groups: list[dict[str, Any]] = [
            {"params": params, "lr": 0.0, "betas": betas, "weight_decay": weight_decay}
            for params, weight_decay in groups
        ]
        self.state: defaultdict[nn.Parameter, dict[str, Tensor]] = defaultdict(dict)

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            states = [self._state_of(p) for p in params]
            steps = [state["step"] for state in states]
            torch._foreach_add_(steps, 1.0)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
            torch._fused_adamw_(  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
                params,
                [p.grad for p in params],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                steps,
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=group["weight_decay"],
                eps=EPS,
                amsgrad=False,
                maximize=False,
            )

    def zero_grad(self) -> None:
        """Let go of all gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def _state_of(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), device=parameter.device)
            state["exp_avg"] = torch.zeros_like(parameter, requires_grad=False)
            state["exp_avg_sq"] = torch.zeros_like(parameter, requires_grad=False)
        return state


class Optimizer:
    """AdamW and, where it is wanted, Muon, as one.

    Attributes:
        param_groups: all groups of both; `scale` is a group's share of `learning_rate`.
    """

    def __init__(self, model: nn.Module, config: Config) -> None:
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        matrices = (
            [p for name, p in named if _is_matrix(name)] if config.optimizer == "muon" else []
        )
        taken = set(matrices)
        rest = [(name, p) for name, p in named if p not in taken]
        embeddings = [p for name, p in rest if _is_embedding(name)]
        set_apart = set(embeddings)
        others = [p for _, p in rest if p not in set_apart]
        groups = [
            ([p for p in others if p.dim() >= 2], config.weight_decay),
            ([p for p in others if p.dim() < 2], 0.0),
            (embeddings, config.weight_decay),
        ]
        betas = config.beta1, config.beta2
        self._parts: list[AdamW | Muon] = [AdamW(groups, betas)]
        if matrices:
            fused = {p: 3 for name, p in named if name.endswith("c_attn.weight")}
            momentum = config.muon_momentum
            self._parts.append(Muon(matrices, fused, momentum, config.weight_decay))
        self.param_groups = [group for part in self._parts for group in part.param_groups]
        self.adjust(config)

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        for part in self._parts:
            part.step()

    def zero_grad(self) -> None:
        """Let go of all gradients."""
        for part in self._parts:
            part.zero_grad()

    def set_lr(self, lr: float) -> None:
        """Give every group the learning rate that goes with AdamW's `lr`."""
        for group in self.param_groups:
            group["lr"] = lr * group["scale"]

    def adjust(self, config: Config) -> None:
        """Let settings that were changed take effect, but for the learning rate."""
        for part in self._parts:
            for group in part.param_groups:
                if isinstance(part, Muon):
                    group["scale"] = config.muon_lr / config.learning_rate
                    group["momentum"] = config.muon_momentum
                    group["weight_decay"] = config.weight_decay
                else:
                    group["betas"] = config.beta1, config.beta2
                    group["scale"] = 1.0
        adamw, *_ = self._parts
        matrices, _, embeddings = adamw.param_groups
        matrices["weight_decay"] = config.weight_decay
        embeddings["weight_decay"] = config.weight_decay * config.embedding_decay_scale
        embeddings["scale"] = config.embedding_lr_scale

    def state_of(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        """A parameter's moments by name; empty before the first update."""
        for part in self._parts:
            if parameter in part.state:
                return part.state[parameter]
        return {}

    def restore(self, parameter: nn.Parameter, moment: str, value: Tensor) -> None:
        """Give a parameter one of its moments."""
        for part in self._parts:
            if any(parameter is p for group in part.param_groups for p in group["params"]):
                part.state[parameter][moment] = value


def _is_matrix(name: str) -> bool:
    """Whether a parameter is a matrix inside a block, which Muon is for."""
    return ".h." in name and name.endswith(("c_attn.weight", "c_fc.weight", "c_proj.weight"))


def _is_embedding(name: str) -> bool:
    return name.endswith(("wte.weight", "wpe.weight", "vte.weight")) or ".ngrams." in name


def set_hyperparameters(model: nn.Module, optimizer: Optimizer, config: Config) -> None:
    """Let settings that were changed during a run take effect, but for the learning rate."""
    optimizer.adjust(config)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = config.dropout
        elif isinstance(module, Attention):
            module.dropout = config.dropout if config.drop_attention else 0.0
