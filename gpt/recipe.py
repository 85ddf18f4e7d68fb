"""The settings that nanoGPT does not have: later findings, each off by default.

Each names its source. They are settings of the same model and the same loop; `gpt/config.py`
puts nanoGPT's own beside them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from gpt.declaration import setting


def parts(schedule: str) -> list[tuple[float, int]]:
    """A schedule such as "0.3:8, 0.6:16" as pairs: until which share of the run, which size."""
    pairs = (part.partition(":") for part in schedule.split(",") if part.strip())
    return [(float(until), int(size)) for until, _, size in pairs]


class Recipe(BaseModel):
    """What can be done otherwise than nanoGPT does it."""

    # --- data
    windows: Literal["random", "even"] = setting(
        "random",
        "data",
        "Where in the text each sequence begins: random as nanoGPT, which leaves out 37 % of the "
        "text while it reads as much as all of it; even goes on by its golden ratio (Knuth, The "
        "Art of Computer Programming 3, 6.4), and reads all of it about equally often. Better "
        "for a short text.",
    )
    batch_schedule: str = setting(
        "",
        "data",
        "Other batch sizes early in the run, as 0.3:8, 0.6:16: 8 sequences until 30 % of it, 16 "
        "until 60 %, then batch_size. Early steps need no precise gradient (McCandlish and "
        "others, arXiv:1812.06162). Empty keeps batch_size throughout.",
        pattern=r"^\s*(0?\.\d+\s*:\s*[1-9]\d{0,6}\s*(,\s*0?\.\d+\s*:\s*[1-9]\d{0,6}\s*)*)?$",
    )
    block_schedule: str = setting(
        "",
        "data",
        "Shorter contexts early in the run, as 0.5:64: 64 tokens until half of it, then "
        "block_size. Near words are learned first, and short sequences cost less (Li and others, "
        "arXiv:2108.06084). Needs positions other than learned to be of use. Empty keeps "
        "block_size throughout.",
        pattern=r"^\s*(0?\.\d+\s*:\s*[1-9]\d{0,6}\s*(,\s*0?\.\d+\s*:\s*[1-9]\d{0,6}\s*)*)?$",
    )

    # --- model
    positions: Literal["learned", "rotary", "none"] = setting(
        "learned",
        "model",
        "What tells tokens their places: learned adds a vector for each place; rotary turns "
        "queries and keys by an angle that grows with it, so that distance counts (RoPE, Su and "
        "others, arXiv:2104.09864); none leaves it to the causal mask.",
    )
    norm: Literal["layernorm", "rmsnorm"] = setting(
        "layernorm",
        "model",
        "How activations are brought to one scale: layernorm with learned weights, as GPT-2; "
        "rmsnorm only divides by their root mean square, without weights, and does so to the "
        "embeddings as well (Zhang and Sennrich, arXiv:1910.07467).",
    )
    qk_norm: bool = setting(
        False,
        "model",
        "Normalise each query and key, so that attention cannot grow too sharp and higher "
        "learning rates stay stable (Henry and others, arXiv:2010.04245).",
    )
    qk_scale: float = setting(
        1.0,
        "model",
        "With qk_norm, what attention's scores are multiplied by. Normalised, none is beyond the "
        "square root of a head's channels, so that attention cannot settle on one token; 1.5 to 2 "
        "lets it (Henry and others learn the factor). Nothing without qk_norm.",
        ge=1e-3,
        le=1e3,
    )
    activation: Literal["gelu", "relu2", "relu", "silu"] = setting(
        "gelu",
        "model",
        "The bend between the MLP's two layers: gelu as GPT-2; relu2, the square of ReLU, is "
        "cheaper (Primer, So and others, arXiv:2109.08668); relu; silu.",
    )
    drop_attention: bool = setting(
        True,
        "model",
        "Whether dropout leaves out attention weights too, as nanoGPT does. Off, a step with "
        "dropout is quicker on a CPU, the more so the longer the context.",
    )
    zero_init: bool = setting(
        False,
        "model",
        "Begin with every block adding nothing: residual projections, and a head of its own, "
        "start at zero, other matrices at a scale that follows their width. Learning starts at "
        "once (Fixup, Zhang and others, arXiv:1901.09321; muP, Yang and others, arXiv:2203.03466).",
    )
    token_shift: float = setting(
        0.0,
        "model",
        "Share of the channels in which each attention and each MLP sees the token before instead "
        "of its own, for free (RWKV, Peng and others, arXiv:2305.13048). 0.5 suits characters.",
        ge=0.0,
        lt=1.0,
    )
    value_residual: bool = setting(
        False,
        "model",
        "Each block mixes the first block's values into its own, in a learned proportion (Zhou "
        "and others, arXiv:2410.17897).",
    )
    value_embedding: bool = setting(
        False,
        "model",
        "A learned vector for each token is added to the values of every block (Koszarsky in "
        "modded-nanoGPT, 2024).",
    )
    ngram_buckets: int = setting(
        0,
        "model",
        "Rows of each hashed table of pairs and triples of tokens (more with ngram_order), added "
        "to the embedding (Bojanowski, arXiv:1607.04606; Clark, arXiv:2103.06874, with others). "
        "8192 suits characters; 0 has none.",
        unit="rows",
        ge=0,
        le=2**24,
    )
    ngram_order: int = setting(
        3,
        "model",
        "Up to so many tokens have tables of ngram_buckets rows: 3 has pairs and triples, 4 one "
        "for the last four as well, 5 one more. Each costs memory and a little time. Nothing "
        "without ngram_buckets.",
        unit="tokens",
        ge=2,
        le=5,
    )
    logit_softcap: float = setting(
        0.0,
        "model",
        "Bends logits so that they stay within this of zero (Gemma 2, arXiv:2408.00118). 15 to "
        "30 is usual; 0 leaves them alone.",
        ge=0.0,
        le=1e4,
    )
    tie_head: bool = setting(
        True,
        "model",
        "Whether the head that scores the next token is the token embedding itself, as in GPT-2. "
        "A head of its own learns faster when tokens are few.",
    )

    # --- optimizer
    optimizer: Literal["adamw", "muon"] = setting(
        "adamw",
        "optimizer",
        "adamw for everything, as nanoGPT; muon updates the matrices inside the blocks by "
        "orthogonalised momentum, which takes fewer steps (Jordan and others, 2024, "
        "kellerjordan.github.io/posts/muon), and adamw the rest.",
    )
    muon_lr: float = setting(
        0.02,
        "optimizer",
        "The largest step size of muon; it rises and falls with learning_rate, which stays "
        "AdamW's. 0.01 to 0.1.",
        gt=0.0,
        le=10.0,
    )
    muon_momentum: float = setting(
        0.95,
        "optimizer",
        "Memory of muon's mean gradient. 0.95 suits long runs, 0.9 short ones.",
        ge=0.0,
        lt=1.0,
    )
    embedding_lr_scale: float = setting(
        1.0,
        "optimizer",
        "The learning rate of all embeddings as a multiple of learning_rate. A row is only "
        "learned from where its token stands, so 3 to 10 helps short runs.",
        gt=0.0,
        le=1e4,
    )
    embedding_decay_scale: float = setting(
        1.0,
        "optimizer",
        "The weight decay of all embeddings as a multiple of weight_decay, without which there is "
        "none. Large tables of n-grams learn a short text by heart; 3 to 10 has them forget what "
        "is not read again. With tie_head the head is an embedding too.",
        ge=0.0,
        le=1e4,
    )

    # --- schedule
    schedule: Literal["cosine", "linear", "wsd"] = setting(
        "cosine",
        "schedule",
        "How the learning rate falls after warm-up: cosine as nanoGPT; linear (Defazio and "
        "others, arXiv:2310.07831); wsd, constant and then linear over the last decay_fraction "
        "(Hu and others, arXiv:2404.06395).",
    )
    decay_fraction: float = setting(
        0.3,
        "schedule",
        "With the schedule wsd, the share of the run at its end in which the rate falls.",
        gt=0.0,
        le=1.0,
    )
    time_budget: float = setting(
        0.0,
        "schedule",
        "Train for so long instead of max_iters steps: the schedule follows the time worked, "
        "pauses left out, and the run ends on time. How many steps that makes depends on the "
        "machine, so two such runs are never quite the same. 0 has no budget.",
        unit="seconds",
        ge=0.0,
        le=1e9,
    )
