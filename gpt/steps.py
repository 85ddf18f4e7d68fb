"""Training steps, timed: by turns left alone and taken apart.

The parts of a step are timed from outside: for one step, a learner's methods are replaced by ones
that look at the clock before and after, and every other step is left alone and timed whole. What
a part does not cover shows as the rest.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any

import torch

from gpt.config import Config
from gpt.data import Batches
from gpt.events import Event, Progress
from gpt.learner import Learner
from gpt.world import World

PARTS = ("batch", "forward", "backward", "clip", "optimizer")
WARM_UP_SECONDS = 1.0
WARM_UP_STEPS = 2
SECONDS = 10.0
LEAST_ROUNDS = 3
MOST_ROUNDS = 500
GPU_BLOCK = 10
"""Steps that are timed as one where the device computes behind Python's back."""


class Steps:
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
            with taken_apart(self.learner, self.batches, self.world) as parts:
                self.timed.append(self._seconds(1))
            for name in PARTS:
                self.parts[name].append(parts[name])

    def typical(self) -> tuple[float, dict[str, float]]:
        """Seconds of a step that was taken apart, and of its parts: `typical` of all of them."""
        return typical(self.timed, self.parts)

    def _seconds(self, steps: int) -> float:
        self.world.synchronize()
        begun = time.perf_counter()
        for _ in range(steps):
            self._update()
        self.world.synchronize()
        return time.perf_counter() - begun

    def _update(self) -> None:
        self.learner.update(self.batches, self.lr, False, self.check)


def typical(
    timed: Sequence[float], parts: Mapping[str, Sequence[float]]
) -> tuple[float, dict[str, float]]:
    """The means of the middle half of the steps, ranked by their length, and of their parts.

    Thus the parts are of the same steps as the whole and never longer than it together; medians,
    one of each, would be on a busy machine, where every part is long in other steps.
    """
    ranked = sorted(range(len(timed)), key=lambda step: timed[step])
    middle = ranked[len(ranked) // 4 : len(ranked) - len(ranked) // 4]

    def mean(seconds: Sequence[float]) -> float:
        return statistics.fmean(seconds[step] for step in middle)

    return mean(timed), {name: mean(seconds) for name, seconds in parts.items()}


@contextlib.contextmanager
def taken_apart(
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
