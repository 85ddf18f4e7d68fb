"""How fast this machine trains a configuration: a program that measures about a second each.

    python -m gpt.measure

It reads one request a line, as JSON: `config` (settings that differ from the defaults),
`vocab_size`, and `val_tokens` where known. It answers each with a line: the fields of
`gpt.estimate.Timing`, or `error` in words. It is a process of its own so that torch is loaded
beside the screen and no random number of a training under way is drawn; it ends with its input.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import psutil
import torch

from gpt import estimate, evaluate, sample
from gpt.config import Config
from gpt.contention import held_since, read_machine
from gpt.estimate import Timing
from gpt.model import GPT
from gpt.optim import Optimizer
from gpt.settings import ConfigError, make_config
from gpt.world import World

STEP_SECONDS = 0.5
EVAL_SECONDS = 0.15
TOKEN_SECONDS = 0.1
PART_FLOPS = {"cpu": 15e9, "mps": 500e9, "cuda": 5e12}
"""Work in one measured step, which takes these devices a fraction of a second."""
LOWER_PRIORITY = 10


class TooLargeError(ValueError):
    """A model that this machine's memory cannot hold."""


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a training step that is measured, and how many of it make one micro-batch."""

    config: Config
    per_micro_batch: float

    @classmethod
    def of(cls, config: Config, vocab_size: int, flops: float) -> Part:
        """As many sequences as `flops` allow; when one is too long already, a piece of it."""
        per_token = estimate.flops_per_token(config, vocab_size)
        tokens = max(16, int(flops / per_token))
        batch_size = min(config.batch_size, max(1, tokens // config.block_size))
        block_size = min(config.block_size, tokens)
        part = config.model_copy(update={"batch_size": batch_size, "block_size": block_size})
        whole = per_token * config.batch_size * config.block_size
        measured = estimate.flops_per_token(part, vocab_size) * batch_size * block_size
        return cls(part, whole / measured)


def measure(config: Config, vocab_size: int, val_tokens: int = 0) -> Timing:
    """Time a few real steps on made-up tokens, and say what the whole takes.

    What is longer than the time allowed is measured on fewer tokens and scaled up in proportion
    to its floating-point operations. `val_tokens` is the length of the validation split, which an
    exact evaluation reads.

    Raises:
        ConfigError: the device does not exist here.
        TooLargeError: the memory does not suffice.
    """
    world = World.of(config)
    world.set_up()
    needed = estimate.least_memory(config, vocab_size, world.device.type)
    free = world.free_memory()
    if needed > free:
        raise TooLargeError(f"needs about {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free")
    part = Part.of(config, vocab_size, PART_FLOPS[world.device.type])
    bench = Bench(part.config, vocab_size, world)
    micro, update = bench.step_seconds()
    together = evaluate.group_size(config, vocab_size, world) if config.eval_iters else 1
    batch = bench.batch_seconds(together) * part.per_micro_batch
    cached, cropped = bench.token_seconds()
    cropped *= max(1.0, config.block_size / part.config.block_size)
    step = micro * part.per_micro_batch * config.gradient_accumulation_steps + update
    evaluation = batch * _eval_batches(config, val_tokens)
    written = min(config.max_new_tokens, config.block_size)
    first_sample = cached * written
    sample = first_sample + cropped * (config.max_new_tokens - written)
    return Timing(
        step_seconds=step,
        eval_seconds=evaluation,
        sample_seconds=sample,
        first_loss_seconds=step + evaluation + first_sample * (config.sample_interval >= 0),
        device=str(world.device),
        compiles=world.compile,
    )


class Bench:
    """A model with made-up tokens, to be timed. Uncompiled, since compiling takes longer."""

    def __init__(self, config: Config, vocab_size: int, world: World) -> None:
        self.config, self.world = config, world
        self.model = _model(config, vocab_size, world.device)
        self.optimizer = Optimizer(self.model, config)
        self.generator = torch.Generator(world.device).manual_seed(config.seed)
        shape = (config.batch_size, config.block_size)
        self.tokens = torch.randint(
            vocab_size, shape, generator=self.generator, device=world.device
        )

    def step_seconds(self) -> tuple[float, float]:
        """Forward and backward of one micro-batch, and one update of the parameters."""
        micro: list[float] = []
        update: list[float] = []
        self.model.train()
        end = time.perf_counter() + STEP_SECONDS
        while len(micro) < 2 or time.perf_counter() < end:
            micro.append(self._timed(self._micro_batch))
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            update.append(self._timed(self.optimizer.step))
            self.optimizer.zero_grad()
        # The first one also sets up kernels, buffers and moments.
        return _typical(micro[1:]), _typical(update[1:])

    def batch_seconds(self, together: int) -> float:
        """One batch of an evaluation that computes so many as one."""
        self.model.eval()
        tokens = self.tokens.repeat(together, 1)
        with torch.no_grad():
            return self._repeated(lambda: self._loss(tokens), EVAL_SECONDS) / together

    def token_seconds(self) -> tuple[float, float]:
        """One token of a sample: while the context grows, and once it is full and is cropped."""
        self.model.eval()
        config, found = self.config, list[float]()
        for length in (1, config.block_size):
            prompt = self.tokens[:1, :length]
            tokens = sample.generate(
                self.model,
                prompt,
                1 << 30,
                config.temperature,
                config.top_k,
                self.generator,
                self.world,
            )
            next(tokens)
            found.append(self._repeated(lambda tokens=tokens: next(tokens), TOKEN_SECONDS / 2))
        return found[0], found[1]

    def _micro_batch(self) -> None:
        torch.autograd.backward(self._loss(self.tokens))

    def _loss(self, tokens: torch.Tensor) -> torch.Tensor:
        with self.world.autocast():
            return self.model(tokens, tokens)[1]

    def _repeated(self, act: Callable[[], object], budget: float) -> float:
        act()
        times: list[float] = []
        end = time.perf_counter() + budget
        while not times or (time.perf_counter() < end and len(times) < self.config.block_size):
            times.append(self._timed(act))
        return _typical(times)

    def _timed(self, act: Callable[[], object]) -> float:
        self.world.synchronize()
        start = time.perf_counter()
        act()
        self.world.synchronize()
        return time.perf_counter() - start


def _typical(times: list[float]) -> float:
    """The lower quartile: whatever else the machine does can only make a time longer."""
    return sorted(times)[len(times) // 4]


def _model(config: Config, vocab_size: int, device: torch.device) -> GPT:
    """The model with any small parameters: drawing proper ones takes long for a large model."""
    with torch.device("meta"):
        model = GPT(config, vocab_size)
    model.to_empty(device=device)
    if config.tie_head:
        model.transformer.wte.weight = model.lm_head.weight
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, 0.02)
    return model


def _eval_batches(config: Config, val_tokens: int) -> float:
    """Batches in one evaluation of both splits; an exact one reads each as long as val is."""
    if config.eval_iters:
        return 2 * config.eval_iters
    return 2 * val_tokens / (config.batch_size * config.block_size)


def answer(line: str) -> dict[str, Any]:
    """The answer to one request."""
    try:
        request = json.loads(line)
        config, before = make_config(request["config"]), read_machine()
        timing = measure(config, int(request["vocab_size"]), int(request.get("val_tokens", 0)))
        busy = held_since(before, torch.get_num_threads())
        return {**asdict(timing), "busy": busy, "error": None}
    except (ConfigError, TooLargeError) as error:
        return {"error": str(error)}
    except Exception as error:  # whatever torch raises, the next request is answered as well
        return {"error": f"{type(error).__name__}: {error}".split("\n")[0]}


def _yield_to_others() -> None:
    """Measure below the screen's priority, so that typing never waits for it."""
    with contextlib.suppress(OSError, psutil.Error):
        if sys.platform == "win32":
            psutil.Process().nice(psutil.BELOW_NORMAL_PRIORITY_CLASS)
        else:
            os.nice(LOWER_PRIORITY)


def main() -> int:
    """Answer until the input ends."""
    _yield_to_others()
    with contextlib.suppress(KeyboardInterrupt):
        for line in sys.stdin:
            print(json.dumps(answer(line)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
