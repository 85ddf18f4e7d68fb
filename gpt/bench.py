"""Where the time of training goes on this machine, and how much of the machine it uses.

The parts of a step are timed from outside: for one step, a learner's methods are replaced by ones
that look at the clock before and after, and every other step is left alone and timed whole. What
a part does not cover shows as the rest.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import torch

from gpt import corpus, estimate, evaluate
from gpt.config import Config
from gpt.control import Control
from gpt.data import Batches, Splits
from gpt.errors import OUT_OF_MEMORY, Refused
from gpt.events import Event, Notice, Phase, Progress, Step
from gpt.learner import Learner
from gpt.peak import peak_flops
from gpt.runs import Journal, Run
from gpt.world import World

PARTS = ("batch", "forward", "backward", "clip", "optimizer")
WARM_UP_SECONDS = 1.0
WARM_UP_STEPS = 2
SECONDS = 10.0
LEAST_ROUNDS = 3
MOST_ROUNDS = 500
EVAL_SECONDS = 1.0
LINES = 200
"""Lines of a journal that are timed."""
GPU_BLOCK = 10
"""Steps that are timed as one where the device computes behind Python's back."""


class BenchError(Refused):
    """A measurement that this machine cannot do, told for the person who asked for it."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What training costs here. Medians, in milliseconds; memory in bytes.

    Attributes:
        parts_ms: of one step with all its micro-batches, by the names in `PARTS`.
        timed_ms: the step whose parts were timed; more than `step_ms` by what that costs.
        step_ms: the step left alone.
        eval_ms: one evaluation of both splits, from as many batches as take a second.
        log_ms: one step's line in the journal.
        tokens_per_s: of steps alone; `tokens_per_s_overall` with evaluations and logging.
        flops_per_s: the model's floating-point operations in training, as
            `estimate.flops_per_token` counts them; `mfu` is their share of `peak_flops`.
        memory: the most that was in use: the process's on a CPU, the device's on a GPU.
    """

    device: str
    dtype: str
    threads: int
    compiled: bool
    params: int
    tokens_per_iter: int
    steps: int
    warm_up_steps: int
    parts_ms: dict[str, float]
    timed_ms: float
    step_ms: float
    eval_ms: float
    eval_interval: int
    log_ms: float
    log_interval: int
    tokens_per_s: float
    tokens_per_s_overall: float
    flops_per_s: float
    peak_flops: float | None
    memory: int

    @property
    def rest_ms(self) -> float:
        """The part of a step that no part covers."""
        return self.timed_ms - sum(self.parts_ms.values())

    @property
    def mfu(self) -> float | None:
        """The share of this machine's measured matrix-product peak."""
        return self.flops_per_s / self.peak_flops if self.peak_flops else None


def as_dict(figures: Figures) -> dict[str, Any]:
    """The figures as one JSON object."""
    return {**asdict(figures), "rest_ms": figures.rest_ms, "mfu": figures.mfu}


def bench(
    config: Config, check: Callable[[], None] = lambda: None
) -> Generator[Event, None, Figures]:
    """Train for some seconds with nothing written, and measure it; say how far it is.

    Args:
        check: called often; what it raises ends the measurement.

    Raises:
        ConfigError, CorpusError: a setting or a text that cannot be used here.
        BenchError: there is not enough memory.
    """
    yield Phase(name="preparing")
    world = World.of(config)
    text = yield from corpus.prepare(config.dataset, check)
    text.check_block_size(config.block_size)
    needed, free = estimate.memory(config, text.vocab_size), world.free_memory()
    if needed > free:
        raise BenchError(f"{_short(config)}: about {_gb(needed)} are needed, {_gb(free)} are free.")
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
    compiled = world.compile and (yield from _compile(learner, batches))
    yield Phase(name="training")
    steps = _Steps(learner, batches, config, world, check)
    steps.warm_up()
    yield from steps.measure()
    step_ms = 1e3 * statistics.median(steps.whole)
    memory = peak_memory(world)
    yield Phase(name="evaluating")
    eval_ms = 1e3 * _evaluation_seconds(learner, splits, config, world)
    log_ms = 1e3 * _logging_seconds(config, world)
    tokens = config.tokens_per_iter
    overall_ms = step_ms + eval_ms / config.eval_interval + log_ms / config.log_interval
    return Figures(
        device=str(world.device),
        dtype=world.dtype_name,
        threads=world.threads,
        compiled=compiled,
        params=estimate.params(config, vocab_size, positions=False),
        tokens_per_iter=tokens,
        steps=len(steps.whole) * steps.block,
        warm_up_steps=steps.warmed_up,
        parts_ms={name: 1e3 * statistics.median(steps.parts[name]) for name in PARTS},
        timed_ms=1e3 * statistics.median(steps.timed),
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


def _compile(learner: Learner, batches: Batches) -> Generator[Event, None, bool]:
    """Compile as a run does; whether it worked."""
    yield Phase(name="compiling")
    try:
        learner.compile(batches.current)
    except Exception as error:  # whatever the compiler raises, training goes on without
        reason = str(error).strip().split("\n")[0]
        yield Notice(level="warning", text=f"compile is off: it failed with {reason}")
        return False
    return True


class _Steps:
    """Real steps: by turns left alone and taken apart.

    Attributes:
        whole: seconds of one step left alone, the mean of each `block` of them.
        timed: seconds of each step that was taken apart, and `parts` those of its parts.
    """

    def __init__(
        self,
        learner: Learner,
        batches: Batches,
        config: Config,
        world: World,
        check: Callable[[], None],
    ) -> None:
        self.learner, self.batches, self.world = learner, batches, world
        self.check = check
        # Low enough that no recipe diverges before its warm-up.
        self.lr = config.learning_rate / 10
        self.block = 1 if world.device.type == "cpu" else GPU_BLOCK
        self.warmed_up = 0
        self.whole: list[float] = []
        self.timed: list[float] = []
        self.parts: dict[str, list[float]] = {name: [] for name in PARTS}

    def warm_up(self) -> None:
        """Let kernels, buffers and moments be set up, which no figure should have in it."""
        end = time.perf_counter() + WARM_UP_SECONDS
        while self.warmed_up < WARM_UP_STEPS or time.perf_counter() < end:
            self._update()
            self.warmed_up += 1

    def measure(self) -> Iterator[Event]:
        """Fill the lists, in some seconds or in a few rounds where those take longer."""
        begun = time.perf_counter()
        while (passed := time.perf_counter() - begun) < SECONDS or len(self.timed) < LEAST_ROUNDS:
            if len(self.timed) >= MOST_ROUNDS:
                return
            yield Progress(phase="training", done=passed, total=SECONDS, unit="s")
            self.whole.append(self._seconds(self.block) / self.block)
            with _taken_apart(self.learner, self.batches, self.world) as parts:
                self.timed.append(self._seconds(1))
            for name in PARTS:
                self.parts[name].append(parts[name])

    def _seconds(self, steps: int) -> float:
        self.world.synchronize()
        begun = time.perf_counter()
        for _ in range(steps):
            self._update()
        self.world.synchronize()
        return time.perf_counter() - begun

    def _update(self) -> None:
        self.learner.update(self.batches, self.lr, False, self.check)


@contextlib.contextmanager
def _taken_apart(
    learner: Learner, batches: Batches, world: World
) -> Generator[defaultdict[str, float]]:
    """While inside, the seconds of each part of an update are added up.

    Where one part is inside another, its seconds count as its own alone. What a learner does not
    have, or does otherwise, is not counted.
    """
    parts = defaultdict[str, float](float)
    inner = [0.0]

    def timed(name: str, act: Callable[..., object]) -> Callable[..., object]:
        def stand_in(*args: Any, **kwargs: Any) -> object:
            inner.append(0.0)
            world.synchronize()
            begun = time.perf_counter()
            try:
                return act(*args, **kwargs)
            finally:
                world.synchronize()
                seconds = time.perf_counter() - begun
                parts[name] += seconds - inner.pop()
                inner[-1] += seconds

        return stand_in

    with contextlib.ExitStack() as stack:
        for owner, method, name in (
            (batches, "advance", "batch"),
            (learner, "forward", "forward"),
            (torch.autograd, "backward", "backward"),
            (learner, "_clip", "clip"),
            (learner.optimizer, "step", "optimizer"),
            (learner.optimizer, "zero_grad", "optimizer"),
        ):
            if act := getattr(owner, method, None):
                stack.enter_context(_replaced(owner, method, timed(name, act)))
        yield parts


@contextlib.contextmanager
def _replaced(owner: object, name: str, value: object) -> Generator[None]:
    """While inside, `owner` has another attribute of its own under this name."""
    own = name in vars(owner)
    before = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


def _evaluation_seconds(learner: Learner, splits: Splits, config: Config, world: World) -> float:
    """One evaluation of both splits, scaled up from as many batches as the time allows."""
    batches = config.eval_iters
    if not batches:  # an exact one, which reads as much of both splits as the validation has
        batches = max(1, len(splits.val) // (config.batch_size * config.block_size))

    def seconds(count: int) -> float:
        part = config.model_copy(update={"eval_iters": count})
        world.synchronize()
        begun = time.perf_counter()
        for _ in evaluate.estimated(learner.forward, splits, part, world, Control()):
            pass
        world.synchronize()
        return time.perf_counter() - begun

    learner.model.eval()
    seconds(1)
    count = max(1, min(batches, int(EVAL_SECONDS / seconds(1))))
    found = statistics.median(seconds(count) for _ in range(3)) * batches / count
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
        # Not getrusage: a process begins with the peak of the one that started it.
        status = Path("/proc/self/status").read_text("ascii")
        return 1024 * int(status.partition("VmHWM:")[2].split(maxsplit=1)[0])
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


def _gb(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
