"""One token more of each sequence through a transformer block, as one kernel."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from gpt.native.block import Design, Fixed, address, arguments, run

SHARED = 1 << 16
"""A batch times the square of the channels from which threads have enough to do for each other."""


class _Past(ctypes.Structure):
    """`Past` in token.c."""

    _fields_ = [
        ("keys", ctypes.c_void_p),
        ("values", ctypes.c_void_p),
        ("length", ctypes.c_int64),
        ("room", ctypes.c_int64),
        ("to_attention", ctypes.c_void_p),
        ("to_mlp", ctypes.c_void_p),
    ]


class Token:
    """The kernel of one block with all that stays the same from token to token.

    Args:
        fixed: the cosines and sines of all places.
        x: such a stream as it will be called with, (batch, 1, channels).
        keys, values: (batch, heads, room, channels of a head), where there is room.
        shifted: the first channels of what attention and MLP were given last, (batch, channels),
            if any are shifted. These and keys and values are written to.
    """

    def __init__(
        self,
        design: Design,
        fixed: Fixed,
        weights: Sequence[Tensor | None],
        x: Tensor,
        keys: Tensor,
        values: Tensor,
        shifted: tuple[Tensor, Tensor] | None,
    ) -> None:
        batch, _, channels = x.shape
        self._shared = batch * channels**2 > SHARED
        self._shape, self._room = x.shape, keys.size(2)
        self._gives_values = design.gives_values
        self._block = arguments(design, fixed, x, None, weights, parts=1)
        places = map(address, shifted or (None, None))
        self._past = _Past(address(keys), address(values), 0, keys.size(2), *places)
        self._needed = fixed, weights, keys, values, shifted

    def __call__(
        self, x: Tensor, first: Tensor | None, length: int
    ) -> tuple[Tensor, Tensor | None]:
        """The stream after the block, of the shape of x, and its values where they are wanted.

        Args:
            first: the first block's values, of the shape of x, if any are mixed in.
            length: so many tokens came before.

        Raises:
            ValueError: x has another shape than was said, or there is no room for its keys.
            MemoryError: there is not enough of it.
        """
        if x.shape != self._shape or length >= self._room:
            raise ValueError(f"{x.shape} at {length} does not fit {self._shape} by {self._room}")
        x = x.contiguous()
        self._block.x, self._block.first = address(x), address(first)
        self._block.parts = torch.get_num_threads() if self._shared else 1
        self._past.length = length
        out = torch.empty_like(x)
        values = torch.empty_like(x) if self._gives_values else None
        run("token_forward", self._block, self._past, out, values)
        return out, values
