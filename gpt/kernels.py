"""Pieces of the model for which torch has no quick kernel on a CPU, each with its own gradient."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor

EPS = 1e-6
SHORT = 160
"""Up to so many tokens plain matrix products beat torch's fused attention on a CPU: it makes
blocks of its own to save memory that a short context does not need."""


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        scale = x.square().mean(-1, keepdim=True).add_(EPS).rsqrt_()
        y = x * scale
        ctx.save_for_backward(y, scale)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (grad,) = grads
        y, scale = ctx.saved_tensors
        along = (grad * y).mean(-1, keepdim=True)
        return torch.addcmul(grad, y, along, value=-1).mul_(scale)


class _Shifted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, channels: int, before: Tensor | None) -> Tensor:
        ctx.channels = channels
        y = x.clone()
        y[:, 1:, :channels] = x[:, :-1, :channels]
        if before is None:
            y[:, 0, :channels] = 0
        else:
            y[:, 0, :channels] = before
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grad,) = grads
        back = grad.clone()
        back[:, :-1, : ctx.channels] = grad[:, 1:, : ctx.channels]
        back[:, -1, : ctx.channels] = 0
        return back, None, None


class _SquaredReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = x.clamp_min(0)
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (grad,) = grads
        (positive,) = ctx.saved_tensors
        return torch.mul(grad, positive).mul_(2)


class _ShortAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scale = q.size(-1) ** -0.5
        scores = torch.baddbmm(_future(q.size(1), q.dtype), q, k.mT, alpha=scale)
        weights = scores.softmax(-1)
        ctx.save_for_backward(q, k, v, weights)
        return weights @ v

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        (grad,) = grads
        q, k, v, weights = ctx.saved_tensors
        scale = q.size(-1) ** -0.5
        scores = torch._softmax_backward_data(  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
            grad @ v.mT, weights, -1, weights.dtype
        )
        return (
            (scores @ k).mul_(scale),
            (scores.mT @ q).mul_(scale),
            weights.mT @ grad,
        )


def rms_norm(x: Tensor) -> Tensor:
    """x over its root mean square along the last dimension (arXiv:1910.07467), without weights."""
    if x.device.type != "cpu":
        return torch.nn.functional.rms_norm(x, x.shape[-1:], eps=EPS)
    return cast(Tensor, _Normalised.apply(x))  # pyright: ignore[reportUnknownMemberType]


def squared_relu(x: Tensor) -> Tensor:
    """The square of x where x is positive, else zero (arXiv:2109.08668)."""
    return cast(Tensor, _SquaredReLU.apply(x))  # pyright: ignore[reportUnknownMemberType]


def shift(x: Tensor, channels: int, before: Tensor | None = None) -> Tensor:
    """x (batch, time, channels) with its first `channels` channels from the token before.

    Args:
        before: those of the token before the first, (batch, channels); zero where None.
    """
    return cast(Tensor, _Shifted.apply(x, channels, before))  # pyright: ignore[reportUnknownMemberType]


def short_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention over (rows, time, channels) by plain products; the same out."""
    return cast(Tensor, _ShortAttention.apply(q, k, v))  # pyright: ignore[reportUnknownMemberType]


@lru_cache(maxsize=4)
def angles(start: int, end: int, channels: int, device: torch.device) -> Tensor:
    """How far each pair of channels is turned at the places from `start` up to `end`.

    Unit complex numbers (end - start, 1, channels / 2); frequencies from 1 to 1/1000 a token
    (RoPE, arXiv:2104.09864).
    """
    frequencies = 1000.0 ** -torch.linspace(0, 1, channels // 2, device=device)
    turns = torch.outer(torch.arange(start, end, device=device), frequencies)
    return torch.polar(torch.ones_like(turns), turns)[:, None]


def rotate(x: Tensor, start: int) -> Tensor:
    """Turn queries or keys, (batch, time, heads, channels), by where they stand."""
    turned = angles(start, start + x.size(1), x.size(-1), x.device)
    pairs = x.float().view(*x.shape[:-1], -1, 2)
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        return torch.view_as_real(torch.view_as_complex(pairs) * turned).flatten(-2).to(x.dtype)
    # The compiler knows no complex numbers.
    even, odd, cos, sin = pairs[..., 0], pairs[..., 1], turned.real, turned.imag
    turned_pairs = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return turned_pairs.flatten(-2).to(x.dtype)


@lru_cache(maxsize=4)
def _future(time: int, dtype: torch.dtype) -> Tensor:
    """What is added to the scores of tokens that are still to come, (time, time)."""
    return torch.full((time, time), -1e30, dtype=dtype).triu(1)
