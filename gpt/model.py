"""The GPT: nanoGPT's architecture, parameter names and order of random draws.

The settings of `gpt/recipe.py` change single parts of it; with their defaults it is nanoGPT's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from gpt import fused, kernels
from gpt.config import Config
from gpt.kvcache import Past
from gpt.ngrams import NGrams

INIT_STD = 0.02
ACTIVATIONS = {
    "gelu": kernels.gelu,
    "relu": F.relu,
    "relu2": kernels.squared_relu,
    "silu": F.silu,
}


class LayerNorm(nn.Module):
    """Layer normalisation whose bias can be left out."""

    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return kernels.layer_norm(x, self.weight, self.bias)


class RMSNorm(nn.Module):
    """Division by the root mean square, without weights."""

    def forward(self, x: Tensor) -> Tensor:
        return kernels.rms_norm(x)


class Dropout(nn.Dropout):
    """Torch's, with a quicker way to the same numbers on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        return kernels.dropout(input, self.p) if self.training else input


class Attention(nn.Module):
    """Causal self-attention with one fused query-key-value projection."""

    def __init__(self, config: Config, vocab_size: int, first: bool) -> None:
        super().__init__()
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.resid_dropout = Dropout(config.dropout)
        self.n_head = config.n_head
        self.dropout = config.dropout if config.drop_attention else 0.0
        # Scores are products of two of these.
        self.qk_rms = math.sqrt(config.qk_scale) if config.qk_norm else 0.0
        self.rotary = config.positions == "rotary"
        mixes = config.value_residual and not first
        self.first_share = nn.Parameter(torch.tensor(0.5)) if mixes else None
        self.vte = nn.Embedding(vocab_size, config.n_embd) if config.value_embedding else None

    def forward(
        self, x: Tensor, idx: Tensor, first: Tensor | None, past: Past | None
    ) -> tuple[Tensor, Tensor]:
        """(batch, time, channels) to the same, and its values before they are attended to.

        Args:
            idx: the token ids, (batch, time), for value embeddings.
            first: the first block's values, (batch, time, channels).
            past: x continues what is in it: the whole prompt if it is empty, or a single token.
        """
        batch, time, channels = x.shape
        qk, v = self.c_attn(x).split((2 * channels, channels), dim=2)
        if self.vte is not None:
            v = v + self.vte(idx)
        if self.first_share is not None and first is not None:
            v = torch.lerp(v, first, self.first_share.to(v.dtype))
        qk = qk.view(batch, time, 2 * self.n_head, -1)
        qk = kernels.prepare_heads(qk, past.length if past else 0, self.qk_rms, self.rotary)
        heads = v.view(batch, time, self.n_head, -1)
        if past is None:
            y = kernels.attention(qk, heads, self.dropout if self.training else 0.0)
        else:
            y = past.attend(qk, heads)
        return self.resid_dropout(self.c_proj(y.reshape(batch, time, channels))), v


class MLP(nn.Module):
    """Two linear layers around an activation, four times as wide in between."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = Dropout(config.dropout)
        self.activation = config.activation

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.c_proj(ACTIVATIONS[self.activation](self.c_fc(x))))


class Block(nn.Module):
    """Attention, then the MLP, each normalised before and added to the stream."""

    def __init__(self, config: Config, vocab_size: int, first: bool) -> None:
        super().__init__()
        self.ln_1 = make_norm(config)
        self.attn = Attention(config, vocab_size, first)
        self.ln_2 = make_norm(config)
        self.mlp = MLP(config)
        self.shifted = int(config.token_shift * config.n_embd)
        self.gives_values = first and config.value_residual

    def forward(
        self, x: Tensor, idx: Tensor, first: Tensor | None, past: Past | None
    ) -> tuple[Tensor, Tensor | None]:
        """As `Attention`: the stream after this block, and its values if others want them."""
        if past is None and fused.serves(self, x):
            return fused.run(self, x, first)
        if past is not None and (past.kernel or fused.serves_token(self, x)):
            return fused.run_token(self, x, first, past)
        before = past.shifted if past and past.shifted else (None, None)
        to_attn = self.ln_1(x)
        y, values = self.attn(self._shift(to_attn, before[0]), idx, first, past)
        x = x + y
        to_mlp = self.ln_2(x)
        if past is not None and self.shifted:
            last = (inputs[:, -1, : self.shifted].contiguous() for inputs in (to_attn, to_mlp))
            past.shifted = next(last), next(last)
        return x + self.mlp(self._shift(to_mlp, before[1])), values

    def _shift(self, x: Tensor, before: Tensor | None) -> Tensor:
        return kernels.shift(x, self.shifted, before) if self.shifted else x


RunBlock = Callable[[Block, Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor | None]]


def run_block(
    block: Block, x: Tensor, idx: Tensor, first: Tensor | None
) -> tuple[Tensor, Tensor | None]:
    """A block in training, apart from the module so that it can be compiled once for all."""
    return block(x, idx, first, None)


class Transformer(nn.Module):
    """Everything below the head; apart only so that parameter names match nanoGPT's."""

    def __init__(self, config: Config, vocab_size: int) -> None:
        super().__init__()
        learned = config.positions == "learned"
        self.wte = nn.Embedding(vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.block_size, config.n_embd) if learned else None
        self.ngrams = NGrams(config, vocab_size) if config.ngram_buckets else None
        self.norm = RMSNorm() if config.norm == "rmsnorm" else nn.Identity()
        self.drop = Dropout(config.dropout)
        blocks = [Block(config, vocab_size, layer == 0) for layer in range(config.n_layer)]
        self.h = nn.ModuleList(blocks)
        self.ln_f = make_norm(config)
        self.run: RunBlock = run_block

    def forward(
        self, idx: Tensor, past: list[Past] | None = None, before: Tensor | None = None
    ) -> Tensor:
        """Token ids (batch, time) to (batch, time, channels)."""
        x = self.wte(idx)
        if self.wpe is not None:
            start = past[0].length if past else 0
            x = x + self.wpe(torch.arange(start, start + idx.size(1), device=idx.device))
        if self.ngrams is not None:
            x = x + self.ngrams(idx, before)
        x = self.drop(self.norm(x))
        first: Tensor | None = None
        for layer, block in enumerate(cast(Iterable[Block], self.h)):
            if self.training:
                x, values = self.run(block, x, idx, first)
            else:
                x, values = block(x, idx, first, past[layer] if past else None)
            first = values if first is None else first
        return self.ln_f(x)


class GPT(nn.Module):
    """A decoder-only transformer over `vocab_size` tokens.

    Building it draws from torch's default generator exactly as nanoGPT does: every layer's
    default initialisation, then N(0, 0.02) for each linear and embedding weight in module order,
    then N(0, 0.02 / sqrt(2 n_layer)) for each residual projection (GPT-2's scaling).

    Attributes:
        reach: so many tokens before it an embedding depends on.
    """

    def __init__(self, config: Config, vocab_size: int) -> None:
        super().__init__()
        self.block_size = config.block_size
        self.vocab_size = vocab_size
        self.reach = config.ngram_order - 1 if config.ngram_buckets else 0
        self.logit_softcap = config.logit_softcap
        self.transformer = Transformer(config, vocab_size)
        self.lm_head = nn.Linear(config.n_embd, vocab_size, bias=False)
        if config.tie_head:
            self.transformer.wte.weight = self.lm_head.weight
        self.apply(_initialise)
        for name, parameter in self.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.normal_(parameter, 0.0, INIT_STD / math.sqrt(2 * config.n_layer))
        if config.zero_init:
            _start_from_zero(self, config)

    def forward(self, idx: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (batch, time, vocab_size) and the mean cross-entropy, from (batch, time) ids."""
        logits = self._score(self.transformer(idx))
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def predict(
        self, idx: Tensor, past: list[Past] | None = None, before: Tensor | None = None
    ) -> Tensor:
        """Logits (batch, vocab_size) of the token after the last of (batch, time) ids.

        Args:
            past: what is known of earlier tokens, of which idx is the next.
            before: the last `reach` of those, (batch, reach).
        """
        return self._score(self.transformer(idx, past, before)[:, -1])

    def _score(self, x: Tensor) -> Tensor:
        logits = self.lm_head(x)
        if self.logit_softcap:
            logits = self.logit_softcap * torch.tanh(logits / self.logit_softcap)
        return logits

    def empty_past(self, batch: int) -> list[Past]:
        """A key-value cache for each block, with nothing in it."""
        weight = self.lm_head.weight
        attentions = [module for module in self.modules() if isinstance(module, Attention)]
        shapes = [
            (batch, attn.n_head, self.block_size, weight.size(1) // attn.n_head)
            for attn in attentions
        ]
        return [Past(weight.new_empty(shape), weight.new_empty(shape)) for shape in shapes]


def make_norm(config: Config) -> nn.Module:
    """A normalisation of the stream as the configuration wants it."""
    return RMSNorm() if config.norm == "rmsnorm" else LayerNorm(config.n_embd, config.bias)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, 0.0, INIT_STD)
    if isinstance(module, nn.Linear) and module.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
        nn.init.zeros_(module.bias)


def _start_from_zero(model: GPT, config: Config) -> None:
    """Blocks that add nothing yet, and matrices whose scale follows their width."""
    for name, parameter in model.named_parameters():
        if name.endswith(("c_attn.weight", "c_fc.weight")):
            nn.init.normal_(parameter, 0.0, 0.5 / math.sqrt(config.n_embd))
        elif name.endswith(("c_proj.weight", "vte.weight")) or ".ngrams." in name:
            nn.init.zeros_(parameter)
    if not config.tie_head:
        nn.init.zeros_(model.lm_head.weight)
        nn.init.normal_(model.transformer.wte.weight)
