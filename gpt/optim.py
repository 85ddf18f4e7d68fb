"""The optimizer, its parameter groups, and the learning-rate schedule."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gpt.config import Config
from gpt.model import Attention

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


def make_optimizer(model: nn.Module, config: Config) -> AdamW:
    """AdamW over the model: tensors of two and more dimensions decay, the others do not."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        ([p for p in parameters if p.dim() >= 2], config.weight_decay),
        ([p for p in parameters if p.dim() < 2], 0.0),
    ]
    return AdamW(groups, (config.beta1, config.beta2))


def set_hyperparameters(model: nn.Module, optimizer: AdamW, config: Config) -> None:
    """Let settings that were changed during a run take effect, but for the learning rate."""
    decaying, _ = optimizer.param_groups
    decaying["weight_decay"] = config.weight_decay
    for group in optimizer.param_groups:
        group["betas"] = config.beta1, config.beta2
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = config.dropout
        elif isinstance(module, Attention):
            module.dropout = config.dropout


def lr_at(config: Config, step: int) -> float:
    """The learning rate of a step: linear warm-up, then a cosine down to `min_lr`."""
    if not config.decay_lr:
        return config.learning_rate
    if step < config.warmup_iters:
        return config.learning_rate * (step + 1) / (config.warmup_iters + 1)
    if step > config.lr_decay_iters:
        return config.min_lr
    length = config.lr_decay_iters - config.warmup_iters
    if length == 0:
        return config.learning_rate
    done = (step - config.warmup_iters) / length
    return config.min_lr + 0.5 * (1.0 + math.cos(math.pi * done)) * (
        config.learning_rate - config.min_lr
    )
