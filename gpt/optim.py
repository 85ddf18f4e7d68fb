"""The optimizer's parameter groups and the learning-rate schedule."""

from __future__ import annotations

import math

import torch
from torch import nn

from gpt.config import Config
from gpt.model import Attention


def make_optimizer(model: nn.Module, config: Config, device: torch.device) -> torch.optim.Optimizer:
    """AdamW over the model: tensors of two and more dimensions decay, the others do not."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        fused=device.type in ("cuda", "cpu"),
    )


def set_hyperparameters(model: nn.Module, optimizer: torch.optim.Optimizer, config: Config) -> None:
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
