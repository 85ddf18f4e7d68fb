"""Blocks that are computed by one kernel, where that serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gpt import kernels
from gpt.native import block as native
from gpt.native.functions import LANES

if TYPE_CHECKING:
    from gpt.model import Block

WIDEST = 512
"""Up to so many channels the kernel is quicker than torch; beyond it is as quick, and needs room
for each thread's gradients."""


def serves(block: Block, x: Tensor) -> bool:
    """Whether the kernel can compute this block of x, (batch, time, channels), and is quicker."""
    attn = block.attn
    return (
        kernels.is_native(x, x.size(-1) // attn.n_head)
        and x.size(-1) <= WIDEST
        and block.shifted % LANES == 0
        and attn.vte is None
        and not torch.is_autocast_enabled("cpu")
        and native.is_even(x.size(0))
    )


def run(block: Block, x: Tensor, first: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """As the block itself, for which `serves` holds."""
    attn, mlp = block.attn, block.mlp
    mixes = attn.first_share is not None and first is not None
    layer_norm = hasattr(block.ln_1, "weight")
    design = native.Design(
        heads=attn.n_head,
        shifted=block.shifted,
        activation=native.ACTIVATIONS.index(mlp.activation),
        layer_norm=layer_norm,
        head_norm=attn.qk_norm,
        gives_values=block.gives_values,
        norm_eps=kernels.LAYER_NORM_EPS if layer_norm else kernels.EPS,
        head_eps=kernels.EPS,
    )
    turns = kernels.turns(0, x.size(1), x.size(2) // attn.n_head) if attn.rotary else (None, None)
    fixed = native.Fixed(*turns, *(_masks(block, x) if block.training else ()))
    modules = (block.ln_1, attn.c_attn, attn.c_proj, block.ln_2, mlp.c_fc, mlp.c_proj)
    weights = [getattr(module, name, None) for module in modules for name in ("weight", "bias")]
    share = attn.first_share if mixes else None
    return native.block(design, fixed, x, first if mixes else None, [*weights, share])


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
