"""Our kernels as functions of tensors, each with its gradient.

They take contiguous float32 tensors on the CPU, whose channels come in multiples of `LANES`;
`gpt.kernels` sees to that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor

from gpt.native.library import library

LANES = 8
TRIED = 1000
"""Numbers by which torch's way to draw is compared with ours."""
NORM_PARTS = 16
"""Parts of a batch that are summed on their own, so that sums do not depend on the threads."""


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qk: Tensor, v: Tensor) -> Tensor:
        out = torch.empty(v.shape)
        lse = torch.empty(v.size(0), v.size(2), v.size(1))
        _run("attention_forward", out, lse, *_seen(qk), *_seen(v), None, *v.shape)
        ctx.save_for_backward(qk, v, out, lse)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        qk, v, out, lse = ctx.saved_tensors
        dqk, dv, above = torch.empty(qk.shape), torch.empty(v.shape), grads[0].contiguous()
        results = *_seen(dqk), *_seen(dv)
        _run("attention_backward", *results, above, out, lse, *_seen(qk), *_seen(v), None, *v.shape)
        return dqk, dv


class _Activation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, name: str, x: Tensor) -> Tensor:
        y = torch.empty_like(x)
        _run(f"{name}_forward", y, x, x.numel())
        ctx.name = name
        ctx.save_for_backward(x)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor]:
        (x,) = ctx.saved_tensors
        dx = torch.empty_like(x)
        _run(f"{ctx.name}_backward", dx, grads[0].contiguous(), x, x.numel())
        return None, dx


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
        channels = x.size(-1)
        rows = x.numel() // channels
        y, mean, scale = torch.empty_like(x), torch.empty(rows), torch.empty(rows)
        _run("layer_norm_forward", y, mean, scale, x, weight, bias, rows, channels, eps)
        ctx.save_for_backward(x, weight, mean, scale)
        ctx.biased = bias is not None
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        x, weight, mean, scale = ctx.saved_tensors
        channels = x.size(-1)
        dx, above = torch.empty_like(x), grads[0].contiguous()
        parts = torch.empty(2 if ctx.biased else 1, NORM_PARTS, channels)
        db = parts[1] if ctx.biased else None
        sizes = x.numel() // channels, channels, NORM_PARTS
        _run("layer_norm_backward", dx, parts[0], db, above, None, x, weight, mean, scale, *sizes)
        return dx, parts[0].sum(0), None if db is None else db.sum(0), None


class _RMSRotate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, cosines: Tensor | None, sines: Tensor | None, eps: float, rms: float
    ) -> Tensor:
        batch, time, groups, channels = x.shape
        y, scale = torch.empty(x.shape), torch.empty(batch, time, groups)
        sizes = batch * time, time, groups, channels
        _run("rms_rotate_forward", *_seen(y), scale, *_seen(x), cosines, sines, *sizes, eps, rms)
        ctx.save_for_backward(y, scale, cosines, sines)
        ctx.rms = rms
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        y, scale, cosines, sines = ctx.saved_tensors
        batch, time, groups, channels = y.shape
        dx, above = torch.empty_like(y), grads[0].contiguous()
        sizes = batch * time, time, groups, channels, ctx.rms
        gradients = *_seen(dx), *_seen(above)
        _run("rms_rotate_backward", *gradients, *_seen(y), scale, cosines, sines, *sizes)
        return dx, None, None, None, None


def attention(qk: Tensor, v: Tensor) -> Tensor:
    """Causal attention.

    Args:
        qk: queries and keys, (batch, time, 2 heads, channels), queries first.
        v: (batch, time, heads, channels), the shape of the result as well.
    """
    return cast(Tensor, _Attention.apply(_in_rows(qk), _in_rows(v)))  # pyright: ignore[reportUnknownMemberType]


def gelu(x: Tensor) -> Tensor:
    """x times the standard normal distribution up to x."""
    return cast(Tensor, _Activation.apply("gelu", x.contiguous()))  # pyright: ignore[reportUnknownMemberType]


def squared_relu(x: Tensor) -> Tensor:
    """The square of x where x is positive, else zero."""
    return cast(Tensor, _Activation.apply("squared_relu", x.contiguous()))  # pyright: ignore[reportUnknownMemberType]


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """Layer normalisation of the last dimension."""
    return cast(Tensor, _LayerNorm.apply(x.contiguous(), weight, bias, eps))  # pyright: ignore[reportUnknownMemberType]


def rms_rotate(
    x: Tensor, cosines: Tensor | None, sines: Tensor | None, eps: float, rms: float
) -> Tensor:
    """x, (batch, time, groups, channels), its channels brought to this root mean square, then each
    pair of them turned.

    Args:
        cosines: of the angle at each place, (time, channels), for both of a pair; None turns
            nothing.
        sines: the same, negated for the first of a pair.
        rms: 0 leaves them as they are.
    """
    return cast(Tensor, _RMSRotate.apply(_in_rows(x), cosines, sines, eps, rms))  # pyright: ignore[reportUnknownMemberType]


def orthogonal(matrices: Tensor, steps: int, coefficients: tuple[float, float, float]) -> Tensor:
    """Matrices (number, rows, columns), each made nearly orthogonal by a quintic Newton-Schulz
    iteration; rows are at most columns, and both multiples of `LANES`."""
    out = torch.empty(matrices.shape)
    _run("orthogonalise_all", out, matrices.contiguous(), *matrices.shape, steps, *coefficients)
    return out


def draw_mask(shape: Sequence[int], share: float, generator: torch.Generator) -> Tensor:
    """What dropout of this share multiplies with, as `torch_mask` draws it where
    `draws_as_torch` holds. No other thread may draw from the generator meanwhile."""
    out, state = torch.empty(shape), generator.get_state()
    kept = float(torch.ones(()).div_(1 - share))
    _run("mask_draw", out, out.numel(), math.ceil((1 - share) * 2**53), kept, state)
    generator.set_state(state)
    return out


def torch_mask(shape: Sequence[int], share: float, generator: torch.Generator) -> Tensor:
    """The same by torch's functions, in the order of `torch.nn.functional.dropout`."""
    return torch.empty(shape).bernoulli_(1 - share, generator=generator).div_(1 - share)


@lru_cache(maxsize=1)
def draws_as_torch() -> bool:
    """Whether torch draws masks as we do. On Intel's processors MKL does it, in another way."""
    ours, theirs = (torch.Generator().manual_seed(1) for _ in range(2))
    masks = draw_mask((TRIED,), 0.5, ours), torch_mask((TRIED,), 0.5, theirs)
    return torch.equal(*masks) and torch.equal(ours.get_state(), theirs.get_state())


def _in_rows(x: Tensor) -> Tensor:
    """x (batch, time, groups, channels) such that all tokens are equally far apart in memory and
    each is whole; copied if it is not so."""
    batch, time, groups, channels = x.shape
    whole = (channels == 1 or x.stride(3) == 1) and (groups == 1 or x.stride(2) == channels)
    even = time == 1 or batch == 1 or x.stride(0) == time * x.stride(1)
    return x if whole and even else x.contiguous()


def _seen(x: Tensor) -> tuple[Tensor, int]:
    """x and how many floats a token is after the one before."""
    return x, x.stride(0) // x.size(1) if x.size(0) > 1 else x.stride(1)


def _run(name: str, *args: Tensor | float | None) -> None:
    """Call a function of the library.

    Raises:
        MemoryError: there is not enough of it.
    """
    values = [arg.data_ptr() if isinstance(arg, Tensor) else arg for arg in args]
    if getattr(library(), name)(*values):
        raise MemoryError(f"not enough memory for {name}")
