"""What a model keeps of the tokens before, so that each new one costs only its own work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it


@dataclass(slots=True)
class Past:
    """What one block keeps of the tokens seen so far, when generating.

    `keys` and `values` are (batch, n_head, block_size, channels / n_head), their first `length`
    places used; `shifted` are the last token's inputs to attention and MLP, (batch, channels).
    """

    keys: Tensor
    values: Tensor
    length: int = 0
    shifted: tuple[Tensor, Tensor] | None = None
    kernel: Callable[[Tensor, Tensor | None, int], tuple[Tensor, Tensor | None]] | None = None
    """What computes the block of single tokens, where that is one kernel; made for the first."""

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add those of new tokens; all of them so far, (batch, n_head, length, …)."""
        end = self.length + keys.size(2)
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def attend(self, qk: Tensor, v: Tensor) -> Tensor:
        """As `kernels.attention`, to all tokens so far, these among them."""
        q, k = qk.transpose(1, 2).chunk(2, dim=1)
        keys, values = self.append(k, v.transpose(1, 2))
        causal = q.size(2) == keys.size(2)
        return F.scaled_dot_product_attention(q, keys, values, is_causal=causal).transpose(1, 2)
