"""Pieces of the model for which torch has no quick kernel on a CPU, each with its own gradient.

Where `use_native` says so they are our own in C (`gpt/native`), else they are made of torch's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from gpt.native import functions as native

EPS = 1e-6
LAYER_NORM_EPS = 1e-5
SHORT = 160
"""Up to so many tokens plain matrix products beat torch's fused attention on a CPU: it makes
blocks of its own to save memory that a short context does not need."""
FEW = 16_384
"""Numbers for which, outside of training, calling a kernel in C costs more than it saves."""


_use_native = False


def use_native(wanted: bool) -> None:
    """Whether this process computes with the kernels in C where it can; they must be there."""
    global _use_native
    _use_native = wanted


def is_native(x: Tensor, channels: int) -> bool:
    """Whether the kernels in C serve for x; `channels` are what they see as one row."""
    return (x.numel() > FEW or torch.is_grad_enabled()) and fits(x, channels)


def fits(x: Tensor, channels: int) -> bool:
    """Whether the kernels in C can compute with x, be it quicker or not."""
    return (
        _use_native
        and not torch.compiler.is_compiling()
        and x.device.type == "cpu"
        and x.dtype is torch.float32
        and channels % native.LANES == 0
    )


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
        return F.rms_norm(x, x.shape[-1:], eps=EPS)
    if x.dim() == 3 and is_native(x, x.size(-1)):
        return native.rms_rotate(x[:, :, None], None, None, EPS, rms=1.0)[:, :, 0]
    return cast(Tensor, _Normalised.apply(x))  # pyright: ignore[reportUnknownMemberType]


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Layer normalisation of the last dimension (arXiv:1607.06450); the bias may be left out."""
    if is_native(x, x.size(-1)):
        return native.layer_norm(x, weight, bias, LAYER_NORM_EPS)
    return F.layer_norm(x, weight.shape, weight, bias, LAYER_NORM_EPS)


def gelu(x: Tensor) -> Tensor:
    """x times the standard normal distribution up to x (arXiv:1606.08415)."""
    return native.gelu(x) if is_native(x, x.numel()) else F.gelu(x)


def squared_relu(x: Tensor) -> Tensor:
    """The square of x where x is positive, else zero (arXiv:2109.08668)."""
    if is_native(x, x.numel()):
        return native.squared_relu(x)
    return cast(Tensor, _SquaredReLU.apply(x))  # pyright: ignore[reportUnknownMemberType]


def shift(x: Tensor, channels: int, before: Tensor | None = None) -> Tensor:
    """x (batch, time, channels) with its first `channels` channels from the token before.

    Args:
        before: those of the token before the first, (batch, channels); zero where None.
    """
    return cast(Tensor, _Shifted.apply(x, channels, before))  # pyright: ignore[reportUnknownMemberType]


def attention(qk: Tensor, v: Tensor, dropout: float) -> Tensor:
    """Causal attention.

    Args:
        qk: queries and keys, (batch, time, 2 heads, channels), queries first.
        v: (batch, time, heads, channels), the shape of the result as well.
        dropout: share of the weights that is left out.
    """
    batch, time, heads, channels = v.shape
    # The compiler cannot see how many threads there are, and with `is_native` never asks.
    if not dropout and is_native(qk, channels) and batch * heads >= torch.get_num_threads():
        return native.attention(qk, v)
    q, k = qk.transpose(1, 2).chunk(2, dim=1)
    v = v.transpose(1, 2)
    if time <= SHORT and not dropout and q.device.type == "cpu" and q.dtype.itemsize >= 4:
        rows = (z.flatten(0, 1) for z in (q, k, v))
        return cast(Tensor, _ShortAttention.apply(*rows)).view(v.shape).transpose(1, 2)  # pyright: ignore[reportUnknownMemberType]
    y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
    return y.transpose(1, 2)


def dropout(x: Tensor, share: float) -> Tensor:
    """x with this share of its numbers left out, and the others that much larger."""
    # Torch draws in the order of memory.
    if share and x.is_contiguous() and is_native(x, x.size(-1)):
        return x * dropout_mask(x.shape, share)
    return F.dropout(x, share)


def dropout_mask(shape: Sequence[int], share: float) -> Tensor:
    """What dropout of this share, below 1, multiplies with: drawn from torch's default generator
    as torch draws it for a tensor that is contiguous."""
    draw = native.draw_mask if native.draws_as_torch() else native.torch_mask
    return draw(shape, share, torch.default_generator)


def prepare_heads(qk: Tensor, start: int, rms: float, rotary: bool) -> Tensor:
    """Queries and keys, (batch, time, heads, channels), normalised and turned by where they stand.

    Args:
        start: the place of the first.
        rms: the root mean square that each gets; 0 leaves them as they are.
    """
    if (rms or rotary) and is_native(qk, qk.size(-1)):
        cosines, sines = turns(start, qk.size(1), qk.size(-1)) if rotary else (None, None)
        return native.rms_rotate(qk, cosines, sines, EPS, rms)
    if rms:
        qk = rms_norm(qk) if rms == 1 else rms_norm(qk) * rms
    return rotate(qk, start) if rotary else qk


def orthogonal(matrices: Tensor, steps: int, coefficients: tuple[float, float, float]) -> Tensor:
    """Matrices (number, rows, columns), rows at most columns, over their norms and then through so
    many steps of the iteration that takes x to (a + b x x' + c (x x')²) x."""
    number, rows, columns = matrices.shape
    busy = number >= torch.get_num_threads()
    if busy and rows % native.LANES == 0 and is_native(matrices, columns):
        return native.orthogonal(matrices, steps, coefficients)
    a, b, c = coefficients
    x = matrices / matrices.square().sum(dim=(1, 2), keepdim=True).sqrt().add(1e-7)
    for _ in range(steps):
        gram = torch.bmm(x, x.transpose(1, 2))
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


@lru_cache(maxsize=4)
def angles(start: int, end: int, channels: int, device: torch.device) -> Tensor:
    """How far each pair of channels is turned at the places from `start` up to `end`.

    Radians, (end - start, 1, channels / 2); frequencies from 1 to 1/1000 a token (RoPE,
    arXiv:2104.09864).
    """
    frequencies = 1000.0 ** -torch.linspace(0, 1, channels // 2, device=device)
    return torch.outer(torch.arange(start, end, device=device), frequencies)[:, None]


@lru_cache(maxsize=4)
def _unit_numbers(start: int, end: int, channels: int) -> Tensor:
    """The complex numbers by which `angles` turn, on the CPU."""
    turned = angles(start, end, channels, torch.device("cpu"))
    return torch.polar(torch.ones_like(turned), turned)


@lru_cache(maxsize=4)
def turns(start: int, time: int, channels: int) -> tuple[Tensor, Tensor]:
    """The cosines and sines of `angles`, as the kernel in C wants them: (time, channels)."""
    turns = _unit_numbers(start, start + time, channels)[:, 0]
    cosines = turns.real.repeat_interleave(2, dim=1)
    sines = torch.stack((-turns.imag, turns.imag), dim=-1).flatten(1)
    return cosines, sines


def rotate(x: Tensor, start: int) -> Tensor:
    """Turn queries or keys, (batch, time, heads, channels), by where they stand."""
    end, channels = start + x.size(1), x.size(-1)
    pairs = x.float().view(*x.shape[:-1], -1, 2)
    if x.device.type == "cpu" and not torch.compiler.is_compiling():
        turned = torch.view_as_complex(pairs) * _unit_numbers(start, end, channels)
        return torch.view_as_real(turned).flatten(-2).to(x.dtype)
    # The compiler knows no complex numbers.
    radians = angles(start, end, channels, x.device)
    even, odd, cos, sin = pairs[..., 0], pairs[..., 1], radians.cos(), radians.sin()
    turned_pairs = torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1)
    return turned_pairs.flatten(-2).to(x.dtype)


@lru_cache(maxsize=4)
def _future(time: int, dtype: torch.dtype) -> Tensor:
    """What is added to the scores of tokens that are still to come, (time, time)."""
    return torch.full((time, time), -1e30, dtype=dtype).triu(1)
