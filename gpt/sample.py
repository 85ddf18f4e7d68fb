"""Text from a model, streamed, with a key-value cache and random numbers of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from time import monotonic
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the field's name for it
from torch.overrides import TorchFunctionMode

from gpt import checkpoint, fused, tokenizer
from gpt.config import Config
from gpt.control import Control
from gpt.crew import Crew
from gpt.estimate import EARLY_SAMPLES
from gpt.events import Sample
from gpt.kvcache import Past
from gpt.model import GPT, Block
from gpt.runs import Run
from gpt.tokenizer import Tokenizer, TokenizerError
from gpt.world import World

SAMPLE_SECONDS = 0.1
"""How often a sample's text is handed on while it is written."""


@torch.no_grad()
def generate(
    model: GPT,
    prompt: Tensor,
    max_new_tokens: int,
    temperature: float,
    top_k: int,
    generator: torch.Generator,
    world: World,
) -> Iterator[Tensor]:
    """Draw tokens one after the other: each item is the next ids, (batch,), after (batch, time).

    The context is the last `block_size` tokens. While all of them fit, the keys and values of
    earlier tokens are kept; past that every position shifts with each token, so that there is
    nothing to keep and the context is computed anew. A `temperature` of 0 takes the likeliest
    token; `top_k` of 0 draws from all. The model must be in evaluation mode.
    """
    context = prompt[:, -model.block_size :]
    past: list[Past] | None = model.empty_past(prompt.size(0))
    fresh, before = context, None
    crew = _crew(model, prompt.size(0), world)
    for _ in range(max_new_tokens):
        with crew.turn() if crew else nullcontext():
            logits = _predict(model, fresh, past, before, world)
        token = draw(logits.float(), temperature, top_k, generator)
        yield token
        context = torch.cat((context, token[:, None]), dim=1)
        if context.size(1) > model.block_size:
            context = context[:, 1:]
            if past is not None:  # a turn is another work from here on
                past, crew = None, _crew(model, prompt.size(0), world)
        if past is None:
            fresh, before = context, None
        else:
            fresh = token[:, None]
            before = F.pad(context, (model.reach, 0))[:, -model.reach - 1 : -1]


def _crew(model: GPT, batch: int, world: World) -> Crew | None:
    """Who computes a token of a single text, where its blocks are kernels in C, which have the same
    bits on any number of threads. Several texts are shared out once a block, and hardly wait."""
    threads = torch.get_num_threads()
    if threads == 1 or batch > 1:
        return None
    block = cast(Block, model.transformer.h[0])
    stream = model.lm_head.weight.new_empty(1, 1, model.lm_head.in_features)
    with world.autocast():
        return Crew(threads) if fused.serves(block, stream) else None


def draw(logits: Tensor, temperature: float, top_k: int, generator: torch.Generator) -> Tensor:
    """One id for each row of logits (batch, vocab_size)."""
    if temperature == 0.0:
        return logits.argmax(dim=-1)
    logits = logits / temperature
    if 0 < top_k < logits.size(-1):
        least = logits.topk(top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -torch.inf)
    return torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)[:, 0]


def stream(
    model: GPT,
    tokens: Tokenizer,
    prompt: str,
    max_new_tokens: int,
    temperature: float,
    top_k: int,
    seed: int,
    world: World,
    check: Callable[[], None] = lambda: None,
) -> Iterator[str]:
    """What the model writes after `prompt`, in pieces of about one token, the prompt left out.

    Raises:
        TokenizerError: the prompt has characters that the vocabulary lacks.
    """
    generator = torch.Generator(world.device).manual_seed(seed)
    start = torch.tensor([encode_prompt(tokens, prompt)], device=world.device)
    decoder = tokens.decoder()
    for ids in generate(model, start, max_new_tokens, temperature, top_k, generator, world):
        check()
        if piece := decoder.feed(int(ids)):
            yield piece
    if piece := decoder.flush():
        yield piece


def due(config: Config, step: int, last: bool) -> bool:
    """Whether the model writes a sample before this step's update, or at the `last` one instead."""
    if config.sample_interval < 0 or config.eval_only:
        return False
    if config.sample_interval > 0:
        return step % config.sample_interval == 0
    return last or config.evaluates(step) or step in EARLY_SAMPLES


def events(
    model: GPT, tokens: Tokenizer, config: Config, step: int, world: World, control: Control
) -> Iterator[Sample]:
    """A sample during training, as `config` asks for it, handed on a few times a second.

    Skipping ends it early. Before the first step it is noise, of which a context is enough: it is
    written quickly, and nobody waits for the first step.
    """
    prompt, seed = config.start, config.seed + step
    length = config.max_new_tokens if step else min(config.max_new_tokens, config.block_size)
    text, hand_on = "", monotonic() + SAMPLE_SECONDS
    for piece in stream(
        model,
        tokens,
        prompt,
        length,
        config.temperature,
        config.top_k,
        seed,
        world,
        control.check,
    ):
        text += piece
        if control.take_skip():
            break
        if monotonic() >= hand_on:
            yield Sample(step=step, prompt=prompt, seed=seed, text=text)
            text, hand_on = "", monotonic() + SAMPLE_SECONDS
    yield Sample(step=step, prompt=prompt, seed=seed, text=text, done=True)


def encode_prompt(tokens: Tokenizer, prompt: str) -> list[int]:
    """The ids of a prompt; an empty one begins as nanoGPT's does, with a line break.

    A text in which there is none begins with the first token of its vocabulary instead.

    Raises:
        TokenizerError: the prompt has characters that the vocabulary lacks.
    """
    try:
        return tokens.encode(prompt or "\n")
    except TokenizerError:
        if prompt not in ("", "\n"):
            raise
        return [0]


@dataclasses.dataclass(slots=True)
class Sampler:
    """A trained model with its own tokenizer, ready to write."""

    model: GPT
    tokenizer: Tokenizer
    world: World
    step: int
    dataset_sha256: str
    """Of the text that the model was trained on."""
    notice: str | None = None

    @classmethod
    def open(
        cls, run: Run, name: str | None = None, device: str = "auto", threads: int = 0
    ) -> Sampler:
        """Load a run's model: of the named checkpoint, else `best`, else `last`.

        A process that does nothing else sets its `world` up, which makes torch follow it.

        Draws nothing from torch's default generator, so that a training under way in the same
        process is not disturbed.

        Raises:
            CheckpointError, RunError, TokenizerError, ConfigError: what is wrong, in words.
        """
        path, notice = checkpoint.find(run, name)
        loaded = checkpoint.load(path)
        config = run.config()
        here = {"device": device, "compile": False, "threads": threads}
        world = World.of(config.model_copy(update=here))
        model = build(config, int(loaded.state["vocab_size"]), loaded.model)
        return cls(
            model=model.to(world.device).eval(),
            tokenizer=tokenizer.read(run.tokenizer),
            world=world,
            step=int(loaded.state["step"]),
            dataset_sha256=str(loaded.state["dataset_sha256"]),
            notice=notice,
        )

    def stream(
        self,
        prompt: str,
        max_new_tokens: int,
        temperature: float,
        top_k: int,
        seed: int,
        check: Callable[[], None] = lambda: None,
    ) -> Iterator[str]:
        """See `stream` of this module."""
        return stream(
            self.model,
            self.tokenizer,
            prompt,
            max_new_tokens,
            temperature,
            top_k,
            seed,
            self.world,
            check,
        )

    def write(
        self,
        prompt: str,
        num_samples: int,
        max_new_tokens: int,
        temperature: float,
        top_k: int,
        seed: int,
    ) -> list[str]:
        """Several samples at once, drawn as one batch, each with the prompt in front.

        Raises:
            TokenizerError: the prompt has characters that the vocabulary lacks.
        """
        generator = torch.Generator(self.world.device).manual_seed(seed)
        ids = encode_prompt(self.tokenizer, prompt)
        start = torch.tensor([ids], device=self.world.device).repeat(num_samples, 1)
        columns = generate(
            self.model, start, max_new_tokens, temperature, top_k, generator, self.world
        )
        written = torch.stack([*start.T, *columns], dim=1)
        return [self.tokenizer.decode([int(id_) for id_ in row]) for row in written]


def build(config: Config, vocab_size: int, parameters: dict[str, Tensor]) -> GPT:
    """A model with these parameters, without drawing random ones first.

    Raises:
        CheckpointError: they are not of a model of this shape.
    """
    with torch.device("meta"), _Undrawn():
        model = GPT(config, vocab_size)
    if config.tie_head:
        embedding = parameters.get("transformer.wte.weight", torch.empty(0))
        parameters = {"lm_head.weight": embedding, **parameters}
    try:
        model.load_state_dict(parameters, assign=True)
    except RuntimeError as error:
        raise checkpoint.CheckpointError(f"this is another model's checkpoint: {error}") from None
    if config.tie_head:
        model.lm_head.weight = model.transformer.wte.weight
    return model


class _Undrawn(TorchFunctionMode):
    """Passes over initial values. Without memory there are none, and drawing them nevertheless
    makes torch import its compiler, for two seconds."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        values: dict[str, Any] = kwargs or {}
        if func in (nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_):
            return values["tensor"] if "tensor" in values else args[0]
        return func(*args, **values)


def _predict(
    model: GPT, idx: Tensor, past: list[Past] | None, before: Tensor | None, world: World
) -> Tensor:
    with world.autocast():
        return model.predict(idx, past, before)
