"""A whole transformer block as one kernel, with its gradient."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from gpt.native.library import library

ACTIVATIONS = ("gelu", "relu", "relu2", "silu")
"""As settings name them, in the order of block.c."""
WEIGHTS = 13
"""norm, projection to queries, keys and values, projection back, norm, up, down, each a weight and
a bias, and the share of the first block's values."""
TOGETHER = 1.2
"""The most that a thread may have to do of a batch in parts, as a multiple of its share. A part has
whole sequences, so that three of them are bad for two threads."""


@dataclass(frozen=True, slots=True)
class Design:
    """How a block is made, but for its weights.

    Attributes:
        shifted: so many channels of what goes into attention and MLP are the last token's.
        activation: its place in `ACTIVATIONS`.
        layer_norm: whether means are taken off before a norm; else it is RMS norm.
        head_rms: the root mean square that queries and keys get; 0 leaves them as they are.
        gives_values: whether the block's own values are wanted.
    """

    heads: int
    shifted: int
    activation: int
    layer_norm: bool
    gives_values: bool
    norm_eps: float
    head_eps: float
    head_rms: float


class Fixed(NamedTuple):
    """What goes into a block and has no gradient; None where there is none.

    Attributes:
        cosines, sines: as for `rms_rotate`.
        attention_mask: what dropout multiplies attention's weights with, (batch, heads, time,
            time).
        attended_mask, mlp_mask: the same for what attention and MLP add to the stream, of its
            shape.
    """

    cosines: Tensor | None = None
    sines: Tensor | None = None
    attention_mask: Tensor | None = None
    attended_mask: Tensor | None = None
    mlp_mask: Tensor | None = None


class Arguments(ctypes.Structure):
    """`Block` in block.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in (
            "batch", "time", "channels", "heads", "shifted", "activation", "layer_norm",
            "keep", "parts",
        )),
        ("norm_eps", ctypes.c_float),
        ("head_eps", ctypes.c_float),
        ("head_rms", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in (
            "x", "first", "cosines", "sines", "attention_mask", "attended_mask", "mlp_mask",
        )),
        ("weights", ctypes.c_void_p * WEIGHTS),
        ("kept", ctypes.c_void_p),
    ]  # fmt: skip


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        design: Design,
        fixed: Fixed,
        keep: bool,
        x: Tensor,
        first: Tensor | None,
        *weights: Tensor | None,
    ) -> tuple[Tensor, Tensor | None]:
        block = arguments(design, fixed, x, first, weights, _parts(x.size(0)), keep)
        kept = torch.empty(library().block_kept(ctypes.byref(block)))
        block.kept = kept.data_ptr()
        out = torch.empty_like(x)
        values = torch.empty_like(x) if design.gives_values else None
        run("block_forward", block, out, values)
        ctx.design, ctx.fixed = design, fixed
        ctx.save_for_backward(kept, x, first, *weights)
        ctx.set_materialize_grads(False)
        return out, values

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        kept, x, first, *weights = ctx.saved_tensors
        dout, dvalues = (None if grad is None else grad.contiguous() for grad in grads)
        parts = _parts(x.size(0))
        block = arguments(ctx.design, ctx.fixed, x, first, weights, parts, keep=True)
        block.kept = kept.data_ptr()
        dx, dfirst = torch.empty_like(x), None if first is None else torch.empty_like(first)
        dweights = [None if weight is None else torch.empty_like(weight) for weight in weights]
        places = (ctypes.c_void_p * WEIGHTS)(*map(address, dweights))
        dout = torch.zeros_like(x) if dout is None else dout
        run("block_backward", block, dx, dfirst, places, dout, dvalues)
        return None, None, None, dx, dfirst, *dweights


def block(
    design: Design,
    fixed: Fixed,
    x: Tensor,
    first: Tensor | None,
    weights: Sequence[Tensor | None],
) -> tuple[Tensor, Tensor | None]:
    """The stream after the block, (batch, time, channels), and its values where they are wanted.

    Args:
        fixed: what else goes in.
        x: the stream before, float32; channels of a head and shifted ones come in multiples of
            `LANES`.
        first: the first block's values, of the shape of x, if any are mixed in.
        weights: as `WEIGHTS` says; None is what the block has not.

    Raises:
        MemoryError: there is not enough of it.
    """
    keep = torch.is_grad_enabled()  # never so inside of a function's forward pass
    return cast(
        tuple[Tensor, Tensor | None],
        _Block.apply(design, fixed, keep, x.contiguous(), first, *weights),  # pyright: ignore[reportUnknownMemberType]
    )


def arguments(
    design: Design,
    fixed: Fixed,
    x: Tensor,
    first: Tensor | None,
    weights: Sequence[Tensor | None],
    parts: int,
    keep: bool = False,
) -> Arguments:
    """What the functions in C are called with. The tensors must outlive it.

    Args:
        parts: so many threads work side by side.
        keep: whether there will be a backward pass.
    """
    addresses = (ctypes.c_void_p * WEIGHTS)(*map(address, weights))
    return Arguments(
        *x.shape, design.heads, design.shifted, design.activation, design.layer_norm,
        keep, parts, design.norm_eps, design.head_eps, design.head_rms,
        *map(address, (x, first, *fixed)), addresses,
    )  # fmt: skip


def _parts(batch: int) -> int:
    """As many as there are threads, if they then have about as many sequences each; else one."""
    threads = torch.get_num_threads()
    even = threads <= batch and -(-batch // threads) * threads <= TOGETHER * batch
    return threads if even else 1


def address(tensor: Tensor | None) -> int | None:
    """Where a tensor's numbers are."""
    return None if tensor is None else tensor.data_ptr()


def run(
    name: str, block: Arguments, *others: Tensor | ctypes.Array[Any] | ctypes.Structure | None
) -> None:
    """Call a function in C.

    Raises:
        MemoryError: there is not enough of it.
    """
    places = [address(x) if isinstance(x, Tensor) else x and ctypes.byref(x) for x in others]
    if getattr(library(), name)(ctypes.byref(block), *places):
        raise MemoryError(f"not enough memory for {name}")
