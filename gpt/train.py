"""Training: `train` and `resume` are iterators over the events of a run."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from functools import partial
from types import ModuleType
from typing import TypeVar

from gpt import corpus, estimate, sample, tokenizer
from gpt.config import Config
from gpt.control import Control, Stopped
from gpt.data import Splits
from gpt.errors import OUT_OF_MEMORY, Refused
from gpt.events import Event, Finished, Phase
from gpt.learner import Diverged
from gpt.loop import Loop
from gpt.peak import peak_flops
from gpt.resumption import Resumption
from gpt.runs import Journal, Run, RunError
from gpt.settings import ConfigError, Problem, Value
from gpt.standing import Ready
from gpt.text import visible
from gpt.tokenizer import TokenizerError
from gpt.world import World

Result = TypeVar("Result")


def train(
    config: Config, run: Run | None = None, control: Control | None = None
) -> Iterator[Event]:
    """Train a GPT, yielding what happens.

    With a `run` each event is in its journal before it is yielded; without one nothing is
    written. `control` is how another thread or a signal asks for something meanwhile. Closing
    the iterator early journals the run as stopped.

    Raises:
        ConfigError, CorpusError, RunError: what is wrong, in words. All come while preparing,
            before the run folder exists. Later faults are yielded, as `Finished("failed")`.
    """
    control = control or Control()
    early: list[Event] = []
    try:
        ready = yield from _recorded(_prepare(config, control), early.append)
    except Stopped:
        yield Finished(reason="stopped")
        return
    make_loop = partial(Loop, config, ready, run, control)
    if run is None:
        yield from _guarded(make_loop, config, None)
        return
    run.create(config)
    try:
        try:
            tokenizer.write(ready.tokens, run.tokenizer)
        except OSError as error:
            words = f"{run.tokenizer} cannot be written: {error.strerror or error}."
            raise RunError(visible(words)) from None
        yield from _journaled(run, early, _guarded(make_loop, config, run))
    finally:
        run.release()


def resume(
    run: Run,
    values: Mapping[str, Value] | None = None,
    control: Control | None = None,
    name: str | None = None,
) -> Iterator[Event]:
    """Go on with a run where it was last saved, bit for bit on a CPU in float32.

    Args:
        run: it must exist. Its journal goes on.
        values: settings to change from here on.
        name: of the checkpoint to go on from; the newest whole one when None.

    Raises:
        ConfigError, CorpusError, RunError, CheckpointError: what is wrong, in words. All come
            while preparing, before anything is written.
    """
    control = control or Control()
    early: list[Event] = []
    run.hold()
    try:
        resumption = Resumption.of(run, values or {}, name)
        config = resumption.config
        try:
            ready = yield from _recorded(_prepare(config, control), early.append)
        except Stopped:
            yield Finished(reason="stopped")
            return
        resumption.check(ready.corpus)
        make_loop = partial(Loop, config, ready, run, control, resumption)
        yield from _journaled(run, early, _guarded(make_loop, config, run))
    finally:
        run.release()


def _journaled(
    run: Run, early: Iterable[Event], events: Generator[Event, None, None]
) -> Iterator[Event]:
    """The events, each in the run's journal before it is yielded, after the `early` ones."""
    journal = Journal(run)
    ended = False

    def record(event: Event) -> None:
        nonlocal ended
        ended = isinstance(event, Finished)
        journal.append(event)

    try:
        for event in early:
            record(event)
        yield from _recorded(events, record)
    except GeneratorExit:
        if not ended:  # else it was closed at its last event
            record(Finished(reason="stopped"))
        raise
    finally:
        journal.close()


def _prepare(config: Config, control: Control) -> Generator[Event, None, Ready]:
    """Check everything that can be wrong, and get the data."""
    yield Phase(name="preparing")
    world = World.of(config)
    text = yield from corpus.prepare(config.dataset, control.check)
    text.check_block_size(config.block_size)
    tokens = text.tokenizer()
    if config.sample_interval >= 0:
        try:
            sample.encode_prompt(tokens, config.start)
        except TokenizerError as error:
            raise ConfigError([Problem("start", f"start: {error}")]) from None
    _check_memory(config, text.vocab_size, world)
    world.set_up()
    control.check()
    return Ready(world, text, tokens, Splits(text), peak_flops(world))


def _check_memory(config: Config, vocab_size: int, world: World) -> None:
    """Refuse a model that this machine cannot hold, before it is built.

    Raises:
        ConfigError: naming what it needs, what there is and the settings that decide.
    """
    needed = estimate.least_memory(config, vocab_size, world.device.type)
    free = world.free_memory()
    if needed > free:
        message = (
            f"n_layer = {config.n_layer}, n_embd = {config.n_embd}, block_size = "
            f"{config.block_size} and batch_size = {config.batch_size} need about "
            f"{needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free. Smaller ones need less."
        )
        raise ConfigError([Problem("n_layer", message)])


def _guarded(
    make_loop: Callable[[], Loop], config: Config, run: Run | None
) -> Generator[Event, None, None]:
    """The run, whose last event says how it ended, whatever happened."""
    try:
        loop = make_loop()
        try:
            yield from loop.events()
        except Stopped:
            yield from loop.stopped()
    except Diverged as error:
        yield Finished(step=error.step, reason="diverged", error=str(error))
    except Exception as error:
        if run is not None:
            with contextlib.suppress(OSError), run.log.open("a", encoding="utf-8") as file:
                traceback.print_exc(file=file)
        words = _in_words(error, config)
        traceback.clear_frames(error.__traceback__)  # what they hold is the memory that is short
        yield Finished(reason="failed", error=words)


def _recorded(
    events: Generator[Event, None, Result], record: Callable[[Event], None]
) -> Generator[Event, None, Result]:
    """The same events, each given to `record` before it is yielded."""
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return end.value
        record(event)
        yield event


def _in_words(error: Exception, config: Config) -> str:
    text = str(error).strip().split("\n")[0]
    if isinstance(error, Refused):
        return text
    if isinstance(error, MemoryError) or ("alloc" in text.lower() and "memory" in text.lower()):
        return (
            f"{OUT_OF_MEMORY} for batch_size = {config.batch_size}, block_size = "
            f"{config.block_size}, n_layer = {config.n_layer} and n_embd = {config.n_embd}. "
            "Smaller ones need less; gradient_accumulation_steps makes up for a smaller batch_size."
        )
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class _Callable(ModuleType):
    """Lets `gpt.train(config)` work although the import system gives that name to this module."""

    def __call__(
        self, config: Config, run: Run | None = None, control: Control | None = None
    ) -> Iterator[Event]:
        return train(config, run, control)


sys.modules[__name__].__class__ = _Callable
