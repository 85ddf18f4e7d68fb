"""Models trained without a run folder, to see what a change of settings does to the loss."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gpt.data import Batches, Split, Splits
from gpt.evaluate import window_losses
from gpt.learner import Learner
from gpt.schedule import Progress, lr_at, sizes_at
from gpt.settings import make_config
from gpt.world import World
from tests.conftest import prepared

SEEDS = 1, 2, 3
WORKERS = 2
HELD_BACK = 0.1
"""The share of the training split, its end, on which settings are chosen."""

Settings = dict[str, Any]


class Trained:
    """A model that makes steps, as the training loop makes them.

    Args:
        held_back: whether it is measured on a part of the training split, left out of training,
            instead of on the validation split.
    """

    def __init__(self, settings: Settings, held_back: bool = False) -> None:
        self.config = make_config(settings)
        self.world = World.of(self.config)
        self.world.set_up()
        corpus = prepared(self.config.dataset)
        self.learner = Learner(self.config, corpus.vocab_size, self.world)
        splits = Splits(corpus)
        self.train, self.val = halves(splits.train) if held_back else (splits.train, splits.val)
        self.batches = Batches(self.train, self.config, self.world.device)
        self.step = 0

    def go_on(self, steps: int) -> float:
        """So many more steps, and the seconds they took."""
        start = time.perf_counter()
        for step in range(self.step, self.step + steps):
            # What an update draws is for the step after it.
            self.batches.resize(*sizes_at(self.config, Progress(step + 1)))
            lr = lr_at(self.config, Progress(step))
            self.learner.update(self.batches, lr, True, _nothing)
        self.step += steps
        return time.perf_counter() - start

    def loss(self) -> float:
        """The exact loss over what it is measured on."""
        model = self.learner.model.eval()
        found = window_losses(model, self.val, self.config.block_size, self.world)
        total, count = map(sum, zip(*((loss * n, n) for loss, n in found), strict=True))
        return total / count


def halves(split: Split) -> tuple[Split, Split]:
    """What is trained on, and what is held back."""
    (tokens, _), *_ = split.windows(len(split) - 1, 1)
    cut = round((1 - HELD_BACK) * tokens.numel())
    return Split.of(tokens.flatten()[:cut]), Split.of(tokens.flatten()[cut:])


def losses(trials: Iterable[Settings], scratch: Path, held_back: bool = False) -> dict[str, float]:
    """The loss after all steps of each, by its `key`.

    Args:
        scratch: a file that keeps what is done, so that it is not repeated.
    """
    known = _done(scratch)
    missing = {key(it): (it, held_back) for it in trials if key(it) not in known}
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool, scratch.open("a") as file:
        for settings, found in pool.imap_unordered(_loss, missing.values()):
            known[key(settings)] = found
            print(json.dumps([key(settings), found]), file=file, flush=True)
    return known


def _done(scratch: Path) -> dict[str, float]:
    """What the file holds. A last line that was being written when all was killed is taken off."""
    if not scratch.exists():
        return {}
    raw = scratch.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if whole != raw:
        scratch.write_bytes(whole)
    return dict(map(json.loads, whole.splitlines()))


def seeded(settings: Settings) -> list[Settings]:
    """The same on each seed."""
    return [{**settings, "seed": seed} for seed in SEEDS]


def key(settings: Settings) -> str:
    """Settings as text."""
    return json.dumps(settings, sort_keys=True)


def _loss(trial: tuple[Settings, bool]) -> tuple[Settings, float]:
    settings, held_back = trial
    trained = Trained({**settings, "threads": 1}, held_back)
    trained.go_on(trained.config.max_iters)
    return settings, trained.loss()


def _nothing() -> None:
    """Nobody asks this training to stop."""
