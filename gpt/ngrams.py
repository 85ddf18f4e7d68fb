"""Learned tables for the last few tokens, looked up by their hash."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from gpt.config import Config

NAMES = ("pairs", "triples", "quadruples", "quintuples")
"""The tables, as parameters are named."""


class NGrams(nn.ModuleDict):
    """What the last two tokens, the last three and so on add to the embedding, by their hash."""

    def __init__(self, config: Config, vocab_size: int) -> None:
        names = NAMES[: config.ngram_order - 1]
        super().__init__(
            {name: nn.Embedding(config.ngram_buckets, config.n_embd) for name in names}
        )
        self.vocab_size = vocab_size
        self.buckets = config.ngram_buckets

    def forward(self, idx: Tensor, before: Tensor | None) -> Tensor:
        """Token ids (batch, time) to (batch, time, channels).

        Args:
            before: the tokens before the first, (batch, order - 1); zeros where None.
        """
        reach = len(self)
        known = F.pad(idx, (reach, 0)) if before is None else torch.cat((before, idx), dim=1)
        ngram = known[:, reach - 1 : -1] * self.vocab_size + idx
        found = self["pairs"](ngram % self.buckets)
        for back, name in enumerate(NAMES[1:reach], 2):
            # In a large vocabulary it wraps around; what % leaves is never negative.
            ngram = ngram * 92821 + known[:, reach - back : -back] * 68917
            found = found + self[name](ngram % self.buckets)
        return found
