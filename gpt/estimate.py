"""What a configuration will need, computed without building it: parameters, work and memory.

The counts are of nanoGPT's model. Needs no torch, so that a form can ask at every key.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

from gpt.config import Config
from gpt.schedule import all_sizes

BYTES = 4
"""Of one number: parameters, gradients, moments and, on a CPU, activations are float32."""
BASE_MEMORY = 330 << 20
"""Bytes that Python with torch takes before any model: measured, torch 2.13 on a CPU."""
GPT2_VOCAB_SIZE = 50304
"""The model's for GPT-2's 50,257 tokens, rounded up as in nanoGPT."""
CHARACTERS = 65
"""Different characters in a plain English text, for one not read yet: tiny Shakespeare's."""

EARLY_SAMPLES = (0, 50, 100)
"""Steps with a sample of their own, so that noise turning into words is seen."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What a run of some configuration takes on this machine, in seconds.

    `step_seconds` is one training step with all its micro-batches, `eval_seconds` one evaluation
    of both splits, `sample_seconds` one sample. `first_loss_seconds` is from the start, with the
    text and torch at hand, to the first point of the loss curve: an evaluation, a sample and a
    step. `compiles` is whether the run compiles first, which is measured in none of these; `busy`
    whether other work held the cores meanwhile, so that all of these are too long.
    """

    step_seconds: float
    eval_seconds: float
    sample_seconds: float
    first_loss_seconds: float
    device: str
    compiles: bool = False
    busy: bool = False


def params(config: Config, vocab_size: int, *, positions: bool = True) -> int:
    """Numbers that training learns; a head tied to the token embedding counts once.

    nanoGPT prints the count without position embeddings: `positions=False`.
    """
    learned = positions and config.positions == "learned"
    places = config.block_size * config.n_embd if learned else 0
    return _computing(config, vocab_size) + _looked_up(config, vocab_size) + places


def _computing(config: Config, vocab_size: int) -> int:
    """Numbers that each token is multiplied with: those of the blocks and of the head."""
    channels = config.n_embd
    block, final_norm = 12 * channels**2, 0
    if config.norm == "layernorm":
        block, final_norm = block + 2 * channels, channels
    if config.bias:
        block += 9 * channels
        if config.norm == "layernorm":
            block, final_norm = block + 2 * channels, 2 * channels
    shares = config.n_layer - 1 if config.value_residual else 0
    return vocab_size * channels + config.n_layer * block + final_norm + shares


def _looked_up(config: Config, vocab_size: int) -> int:
    """Numbers of which a token only takes its row, without those that the head is tied to."""
    rows = (config.ngram_order - 1) * config.ngram_buckets
    rows += vocab_size * (not config.tie_head)
    rows += vocab_size * config.n_layer * config.value_embedding
    return rows * config.n_embd


def flops_per_token(config: Config, vocab_size: int, block_size: int | None = None) -> float:
    """Floating-point operations that training spends on one token, backward pass included.

    6N + 12·L·H·Q·T from appendix B of the PaLM paper (arXiv:2204.02311), as nanoGPT has it: N
    without embeddings that are only looked up, L layers, H heads of Q channels, T tokens of
    context: `block_size`, or the configuration's.
    """
    attention = 12 * config.n_layer * config.n_embd * (block_size or config.block_size)
    return float(6 * _computing(config, vocab_size) + attention)


def memory(config: Config, vocab_size: int) -> int:
    """Bytes that the training process needs at its peak, on a CPU.

    Parameters, their gradients and AdamW's two moments, the activations of the largest
    micro-batch that the backward pass needs, and torch itself. Measured peaks are within 15 %.
    """
    learned = 4 * params(config, vocab_size)
    tokens = max(batch_size * block_size for batch_size, block_size in all_sizes(config))
    # Kept for the backward pass in a block, in tensors of (batch, time, channels): both norms'
    # inputs and outputs 4, query, key and value 3, attention 1, the MLP's two sides of GELU 8.
    # Going backward, the MLP's gradients need 8 more, in one block at a time.
    activations = (16 * config.n_layer + 8) * tokens * config.n_embd
    if config.dropout > 0:
        activations += 2 * config.n_layer * tokens * config.n_embd
    if config.dropout > 0 and config.drop_attention:
        # Attention with dropout has no fused kernel on a CPU: the (batch, head, time, time)
        # weights are kept before and after it, with the mask and what the kernel needs besides.
        weights = config.n_head * config.block_size
        activations += 4 * (config.n_layer + 1) * tokens * weights
    logits = 3 * tokens * vocab_size
    return BASE_MEMORY + BYTES * (learned + activations + logits)


def least_memory(config: Config, vocab_size: int, device: str) -> int:
    """Bytes without which training cannot be, on a device of this type.

    On a GPU what activations take depends on kernels that are known there alone, so that it is
    what is learned: parameters, gradients and two moments.
    """
    if device == "cpu":
        return memory(config, vocab_size)
    return 4 * BYTES * params(config, vocab_size)


def steps(config: Config, timing: Timing | None) -> int | None:
    """Training steps in the run; None when that depends on how long one takes."""
    if config.eval_only:
        return 0
    if not config.time_budget:
        return config.max_iters
    return round(config.time_budget / timing.step_seconds) if timing else None


def evaluations(config: Config) -> int:
    """How often the run evaluates: every `eval_interval` steps, at step 0 and at the end."""
    if config.eval_only or not config.eval_interval:
        return 1
    whole, rest = divmod(config.max_iters, config.eval_interval)
    return 1 + whole + (rest > 0)


def samples(config: Config) -> int:
    """How often the run lets the model write."""
    if config.eval_only or config.sample_interval < 0:
        return 0
    if config.sample_interval > 0:
        return 1 + config.max_iters // config.sample_interval
    early = [
        step for step in EARLY_SAMPLES if not config.evaluates(step) and step < config.max_iters
    ]
    return evaluations(config) + len(early)


def first_loss_seconds(config: Config, timing: Timing) -> float:
    """From the start to the first point of the loss curve."""
    skipped = 0 if config.evaluates(0) else timing.eval_seconds
    return timing.first_loss_seconds - skipped


def total_seconds(config: Config, timing: Timing) -> float:
    """From the start to the end of the run: its steps, evaluations and samples."""
    if config.time_budget and not config.eval_only:
        return config.time_budget + timing.eval_seconds
    return (
        (0 if config.eval_only else config.max_iters) * timing.step_seconds
        + evaluations(config) * timing.eval_seconds
        + samples(config) * timing.sample_seconds
    )


def available_memory() -> int:
    """Bytes that a new process can use here: the machine's, or the container's when fewer."""
    free = psutil.virtual_memory().available
    limit = cgroup_free()
    return free if limit is None else min(free, limit)


def cgroup_free(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes left under the container's limit, or None without one."""
    for limit_name, used_name in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            limit = int((root / limit_name).read_text("ascii"))
            used = int((root / used_name).read_text("ascii"))
        except (OSError, ValueError):  # no such control group, or "max": no limit
            continue
        return max(0, limit - used + _reclaimable(root / used_name))
    return None


def _reclaimable(used: Path) -> int:
    """Bytes of file cache that count as used and are given back when memory runs short."""
    try:
        lines = used.with_name("memory.stat").read_text("ascii").splitlines()
    except OSError:
        return 0
    figures = dict(line.split(maxsplit=1) for line in lines)
    return int(figures.get("inactive_file", 0))
