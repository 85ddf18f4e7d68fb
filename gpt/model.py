"""The GPT: nanoGPT's architecture, parameter names and order of random draws."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it

from gpt.config import Config

INIT_STD = 0.02


@dataclass(slots=True)
class KeyValues:
    """Keys and values of one layer for the tokens seen so far, when generating.

    Both are (batch, n_head, block_size, channels / n_head); the first `length` places are used.
    """

    keys: Tensor
    values: Tensor
    length: int = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add those of new tokens; all of them so far, (batch, n_head, length, …)."""
        end = self.length + keys.size(2)
        self.keys[:, :, self.length : end] = keys
        self.values[:, :, self.length : end] = values
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]


class LayerNorm(nn.Module):
    """Layer normalisation whose bias can be left out."""

    def __init__(self, channels: int, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, 1e-5)


class Attention(nn.Module):
    """Causal self-attention with one fused query-key-value projection."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.resid_dropout = nn.Dropout(config.dropout)
        self.n_head = config.n_head
        self.dropout = config.dropout

    def forward(self, x: Tensor, past: KeyValues | None = None) -> Tensor:
        """(batch, time, channels) to the same; with `past`, x continues what is in it.

        A continuation is either the whole prompt into an empty `past` or a single token.
        """
        batch, time, channels = x.shape
        heads = (batch, time, self.n_head, channels // self.n_head)
        q, k, v = (part.view(heads).transpose(1, 2) for part in self.c_attn(x).chunk(3, dim=2))
        if past is not None:
            k, v = past.append(k, v)
        y = F.scaled_dot_product_attention(
            q, k, v, dropout_p=self.dropout if self.training else 0.0, is_causal=time == k.size(2)
        )
        y = y.transpose(1, 2).reshape(batch, time, channels)
        return self.resid_dropout(self.c_proj(y))


class MLP(nn.Module):
    """Two linear layers around a GELU, four times as wide in between."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd, bias=config.bias)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, bias=config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.c_proj(F.gelu(self.c_fc(x))))


class Block(nn.Module):
    """Attention, then the MLP, each normalised before and added to the stream."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.ln_1 = LayerNorm(config.n_embd, config.bias)
        self.attn = Attention(config)
        self.ln_2 = LayerNorm(config.n_embd, config.bias)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, past: KeyValues | None = None) -> Tensor:
        x = x + self.attn(self.ln_1(x), past)
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """Everything below the head; apart only so that parameter names match nanoGPT's."""

    def __init__(self, config: Config, vocab_size: int) -> None:
        super().__init__()
        self.wte = nn.Embedding(vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.block_size, config.n_embd)
        self.drop = nn.Dropout(config.dropout)
        self.h = nn.ModuleList([Block(config) for _ in range(config.n_layer)])
        self.ln_f = LayerNorm(config.n_embd, config.bias)

    def forward(self, idx: Tensor, past: list[KeyValues] | None = None) -> Tensor:
        """Token ids (batch, time) to (batch, time, channels)."""
        start = past[0].length if past else 0
        positions = torch.arange(start, start + idx.size(1), device=idx.device)
        x = self.drop(self.wte(idx) + self.wpe(positions))
        for layer, block in enumerate(self.h):
            x = block(x, past[layer] if past else None)
        return self.ln_f(x)


class GPT(nn.Module):
    """A decoder-only transformer over `vocab_size` tokens, its head tied to its embedding.

    Building it draws from torch's default generator exactly as nanoGPT does: every layer's
    default initialisation, then N(0, 0.02) for each linear and embedding weight in module order,
    then N(0, 0.02 / sqrt(2 n_layer)) for each residual projection (GPT-2's scaling).
    """

    def __init__(self, config: Config, vocab_size: int) -> None:
        super().__init__()
        self.block_size = config.block_size
        self.vocab_size = vocab_size
        self.transformer = Transformer(config, vocab_size)
        self.lm_head = nn.Linear(config.n_embd, vocab_size, bias=False)
        self.transformer.wte.weight = self.lm_head.weight
        self.apply(_initialise)
        for name, parameter in self.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.normal_(parameter, 0.0, INIT_STD / math.sqrt(2 * config.n_layer))

    def forward(self, idx: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (batch, time, vocab_size) and the mean cross-entropy, from (batch, time) ids."""
        logits = self.lm_head(self.transformer(idx))
        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def predict(self, idx: Tensor, past: list[KeyValues] | None = None) -> Tensor:
        """Logits (batch, vocab_size) of the token after the last of (batch, time) ids."""
        return self.lm_head(self.transformer(idx, past)[:, -1])

    def empty_past(self, batch: int) -> list[KeyValues]:
        """A key-value cache for each layer, with nothing in it."""
        weight = self.lm_head.weight
        attentions = [module for module in self.modules() if isinstance(module, Attention)]
        shape = [
            (batch, attn.n_head, self.block_size, weight.size(1) // attn.n_head)
            for attn in attentions
        ]
        return [
            KeyValues(
                torch.empty(s, dtype=weight.dtype, device=weight.device),
                torch.empty(s, dtype=weight.dtype, device=weight.device),
            )
            for s in shape
        ]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, 0.0, INIT_STD)
    if isinstance(module, nn.Linear) and module.bias is not None:  # pyright: ignore[reportUnnecessaryComparison]
        nn.init.zeros_(module.bias)
