"""Where the time of training goes on this machine, and how much of the machine it uses.

    python -m gpt.bench

reads a configuration, a line of JSON with the settings that differ from the defaults. It answers
with lines: the events of its measurement, at the end `figures`, or `error` in words. It is a
process of its own so that its threads, its random numbers and its peak of memory are those of the
measurement alone; it ends with its input.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import torch

from gpt import corpus, disk, estimate, evaluate
from gpt.config import Config
from gpt.control import Control, Stopped
from gpt.data import Batches, Splits
from gpt.errors import OUT_OF_MEMORY, Refused
from gpt.events import Event, Notice, Phase, Step, to_json
from gpt.figures import Figures, as_dict
from gpt.learner import Learner
from gpt.peak import peak_flops
from gpt.runs import Journal, Run
from gpt.settings import make_config
from gpt.steps import Steps
from gpt.world import World

EVAL_SECONDS = 1.0
LINES = 200
"""Lines of a journal that are timed."""
END_SECONDS = 1.0
"""How long the program goes on without its input, where it does not poll, as while it compiles."""


class BenchError(Refused):
    """A measurement that this machine cannot do, told for the person who asked for it."""


def bench(
    config: Config, check: Callable[[], None] = lambda: None
) -> Generator[Event, None, Figures]:
    """Train for some seconds with nothing written, and measure it; say how far it is.

    Batches are as large as the run's are at its end, whatever it begins with.

    Args:
        check: called often; what it raises ends the measurement.

    Raises:
        ConfigError, CorpusError: a setting or a text that cannot be used here.
        BenchError: there is not enough memory.
    """
    yield Phase(name="preparing")
    config = config.model_copy(update={"batch_schedule": "", "block_schedule": ""})
    world = World.of(config)
    text = yield from corpus.prepare(config.dataset, check)
    text.check_block_size(config.block_size)
    needed = estimate.least_memory(config, text.vocab_size, world.device.type)
    free = world.free_memory()
    if needed > free:
        raise BenchError(
            f"{_short(config)}: about {disk.in_words(needed)} are needed, "
            f"{disk.in_words(free)} are free."
        )
    world.set_up()
    for words in world.notices:
        yield Notice(level="warning", text=words)
    try:
        return (yield from _measured(config, text.vocab_size, Splits(text), world, check))
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "alloc" in str(error).lower():
            raise BenchError(f"{_short(config)}.") from None
        raise


def _measured(
    config: Config, vocab_size: int, splits: Splits, world: World, check: Callable[[], None]
) -> Generator[Event, None, Figures]:
    learner = Learner(config, vocab_size, world)
    batches = Batches(splits.train, config, world.device)
    compiled = world.compile and (yield from _compile(learner))
    yield Phase(name="training")
    steps = Steps(learner, batches, config, world, check)
    steps.warm_up()
    yield from steps.measure()
    step_ms = 1e3 * statistics.median(steps.whole)
    timed, parts = steps.typical()
    yield Phase(name="evaluating")
    eval_ms = 1e3 * _evaluation_seconds(learner, splits, config, world, check)
    memory = peak_memory(world)
    log_ms = 1e3 * _logging_seconds(config, world)
    tokens = config.tokens_per_iter
    evaluating_ms = eval_ms / config.eval_interval if config.eval_interval else 0.0
    overall_ms = step_ms + evaluating_ms + log_ms / config.log_interval
    return Figures(
        device=str(world.device),
        dtype=world.dtype_name,
        threads=world.threads,
        compiled=compiled,
        params=estimate.params(config, vocab_size, positions=False),
        tokens_per_iter=tokens,
        steps=len(steps.whole) * steps.block,
        warm_up_steps=steps.warmed_up,
        parts_ms={name: 1e3 * seconds for name, seconds in parts.items()},
        timed_ms=1e3 * timed,
        step_ms=step_ms,
        eval_ms=eval_ms,
        eval_interval=config.eval_interval,
        log_ms=log_ms,
        log_interval=config.log_interval,
        tokens_per_s=1e3 * tokens / step_ms,
        tokens_per_s_overall=1e3 * tokens / overall_ms,
        flops_per_s=1e3 * tokens * estimate.flops_per_token(config, vocab_size) / step_ms,
        peak_flops=peak_flops(world),
        memory=memory,
    )


def _compile(learner: Learner) -> Generator[Event, None, bool]:
    """Compile as a run does; whether it worked."""
    yield Phase(name="compiling")
    try:
        learner.compile()
    except Exception as error:  # whatever the compiler raises, training goes on without
        reason = str(error).strip().split("\n")[0]
        yield Notice(level="warning", text=f"compile is off: it failed with {reason}")
        return False
    return True


def _evaluation_seconds(
    learner: Learner, splits: Splits, config: Config, world: World, check: Callable[[], None]
) -> float:
    """One evaluation of both splits, scaled up from as much of it as the time allows."""
    in_batch = math.prod(evaluate.window_size(config.block_size))
    together = evaluate.group_size(config, learner.model.vocab_size, world)
    # An exact evaluation reads as much of both splits as the validation has.
    whole = config.eval_iters or max(1.0, (len(splits.val) - 1) / in_batch)

    def work(batches: int) -> Iterator[object]:
        """So many batches of each split, as a run evaluates them."""
        if config.eval_iters:
            part = config.model_copy(update={"eval_iters": batches})
            yield from evaluate.estimated(learner.forward, splits, part, world, Control(), together)
            return
        tokens = min(len(splits.val), 1 + batches * in_batch)
        for split in (splits.train, splits.val):
            yield from evaluate.window_losses(
                learner.forward, split, config.block_size, world, tokens
            )

    def seconds(batches: int) -> float:
        check()
        world.synchronize()
        begun = time.perf_counter()
        for _ in work(batches):
            check()
        world.synchronize()
        return time.perf_counter() - begun

    learner.model.eval()
    seconds(1)
    count = max(1, min(int(whole), int(EVAL_SECONDS / seconds(1))))
    found = statistics.median(seconds(count) for _ in range(3)) * whole / count
    learner.model.train()
    return found


def _logging_seconds(config: Config, world: World) -> float:
    """What a run does to log a step: the event, and its line in a journal on disk."""
    times: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Run(Path(folder)))
        for step in range(LINES):
            begun = time.perf_counter()
            journal.append(Step(
                step=step, loss=4.1783, lr=config.learning_rate, grad_norm=2.718281828, ms=40.123,
                tokens_per_s=19141.2345, mfu=0.31234, tokens=step * config.tokens_per_iter,
                seconds=0.04 * step, memory=world.memory(),
            ))  # fmt: skip
            times.append(time.perf_counter() - begun)
        journal.close()
    return statistics.median(times)


def peak_memory(world: World) -> int:
    """The most memory that was in use so far, in bytes: the process's, or the GPU's."""
    if world.device.type == "cuda":
        return torch.cuda.max_memory_allocated(world.device)
    if sys.platform == "linux":
        # Rather than getrusage: there a process begins with the peak of the one that started it.
        _, told, peak = Path("/proc/self/status").read_text("ascii").partition("VmHWM:")
        if told:  # some sandboxes leave it out
            return 1024 * int(peak.split(maxsplit=1)[0])
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _short(config: Config) -> str:
    return (
        f"{OUT_OF_MEMORY} for n_layer = {config.n_layer}, n_embd = {config.n_embd}, block_size = "
        f"{config.block_size} and batch_size = {config.batch_size}"
    )


def answer(values: Mapping[str, Any], check: Callable[[], None]) -> Iterator[str]:
    """What the program answers to a configuration of these settings, in lines of JSON.

    Raises:
        Refused: it cannot be measured.
    """
    events = bench(make_config(values), check)
    try:
        while True:
            yield to_json(next(events))
    except StopIteration as end:
        yield json.dumps({"figures": as_dict(end.value)})


def _end_with_input(control: Control) -> None:
    """Wait for the end of the input, then for that of the program."""
    # Not by way of sys.stdin, whose lock Python needs to end.
    while os.read(0, 1024):
        pass
    control.stop()
    time.sleep(END_SECONDS)
    os._exit(1)


def main() -> int:
    """Measure what the first line of the input says."""
    control = Control()
    request = sys.stdin.readline()
    threading.Thread(target=_end_with_input, args=(control,), daemon=True).start()
    try:
        for line in answer(json.loads(request), control.check):
            print(line, flush=True)
    except (Stopped, KeyboardInterrupt, BrokenPipeError):
        return 1  # nobody waits for the answer
    except Refused as error:
        print(json.dumps({"error": str(error)}), flush=True)
    except Exception as error:  # whatever torch raises is told in words as well
        traceback.print_exc()
        words = f"{type(error).__name__}: {error}".split("\n")[0]
        print(json.dumps({"error": words}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
