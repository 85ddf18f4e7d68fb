"""Blocks that are computed by one kernel, where that serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gpt import kernels
from gpt.native import block as native
from gpt.native.functions import LANES
from gpt.native.token import Token

if TYPE_CHECKING:
    from gpt.kvcache import Past
    from gpt.model import Block

WIDEST = 512
"""Up to so many channels the kernel is quicker than torch; beyond it is as quick, and needs room
for each thread's gradients."""


def serves(block: Block, x: Tensor) -> bool:
    """Whether the kernel can compute this block of x, (batch, time, channels), and is quicker."""
    return x.size(-1) <= WIDEST and _fits(block, x)


def run(block: Block, x: Tensor, first: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """As the block itself, for which `serves` holds."""
    turns = _turns(block, x.size(1), x.size(2))
    fixed = native.Fixed(*turns, *(_masks(block, x) if block.training else ()))
    mixed = first if block.attn.first_share is not None else None
    return native.block(_design(block), fixed, x, mixed, _weights(block, mixed))


def serves_token(block: Block, x: Tensor) -> bool:
    """Whether the kernel can compute this block of x if it is one token more of each sequence."""
    return x.size(1) == 1 and not torch.is_grad_enabled() and _fits(block, x)


def run_token(
    block: Block, x: Tensor, first: Tensor | None, past: Past
) -> tuple[Tensor, Tensor | None]:
    """As the block itself, of a token that continues the past, for which `serves_token` holds."""
    mixed = first if block.attn.first_share is not None else None
    if past.kernel is None:
        past.kernel = _kernel(block, x, mixed, past)
    result = past.kernel(x, mixed, past.length)
    past.length += 1
    return result


def _kernel(block: Block, x: Tensor, first: Tensor | None, past: Past) -> Token:
    if past.shifted is None and block.shifted:
        past.shifted = x.new_zeros(x.size(0), block.shifted), x.new_zeros(x.size(0), block.shifted)
    fixed = native.Fixed(*_turns(block, past.keys.size(2), x.size(2)))
    places = past.keys, past.values, past.shifted
    return Token(_design(block), fixed, _weights(block, first), x, *places)


def _fits(block: Block, x: Tensor) -> bool:
    return (
        kernels.fits(x, x.size(-1) // block.attn.n_head)
        and block.shifted % LANES == 0
        and block.attn.vte is None
        and not torch.is_autocast_enabled("cpu")
    )


def _design(block: Block) -> native.Design:
    attn, mlp = block.attn, block.mlp
    layer_norm = hasattr(block.ln_1, "weight")
    return native.Design(
        heads=attn.n_head,
        shifted=block.shifted,
        activation=native.ACTIVATIONS.index(mlp.activation),
        layer_norm=layer_norm,
        gives_values=block.gives_values,
        norm_eps=kernels.LAYER_NORM_EPS if layer_norm else kernels.EPS,
        head_eps=kernels.EPS,
        head_rms=attn.qk_rms,
    )


def _weights(block: Block, first: Tensor | None) -> list[Tensor | None]:
    """In the order of `native.WEIGHTS`; the share only where there are values to mix in."""
    attn, mlp = block.attn, block.mlp
    modules = (block.ln_1, attn.c_attn, attn.c_proj, block.ln_2, mlp.c_fc, mlp.c_proj)
    weights = [getattr(module, name, None) for module in modules for name in ("weight", "bias")]
    return [*weights, None if first is None else attn.first_share]


def _turns(block: Block, time: int, channels: int) -> tuple[Tensor | None, Tensor | None]:
    """Cosines and sines of so many places, where the block turns its queries and keys."""
    attn = block.attn
    return kernels.turns(0, time, channels // attn.n_head) if attn.rotary else (None, None)


def _masks(block: Block, x: Tensor) -> list[Tensor | None]:
    """What dropout leaves, drawn as torch draws it and in the order of the parts."""
    batch, time, _ = x.shape
    weights = batch, block.attn.n_head, time, time
    shares = (
        (weights, block.attn.dropout),
        (x.shape, block.attn.resid_dropout.p),
        (x.shape, block.mlp.dropout.p),
    )
    return [kernels.dropout_mask(shape, share) if share else None for shape, share in shares]
