"""What each setting does to the reference run: writes presets/effects.csv.

`python -m tests.effects [--steps=N] [SETTING ...]`, or `make effects`. Each change is trained on
three seeds beside the unchanged preset, for all its steps or for so many; only the settings that
are named, or all. What is done is kept in a scratch file, so that it can be interrupted and goes
on. At the end the time of a step is measured in turns with the unchanged one; nothing else should
run then. It takes hours; rows of other settings stay as they are.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import statistics
import time
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from typing import Any

from gpt import presets
from gpt.data import Batches, Splits
from gpt.effects import PATH, Effect, read
from gpt.evaluate import window_losses
from gpt.folders import cache_folder
from gpt.learner import Learner
from gpt.schedule import Progress, lr_at, sizes_at
from gpt.settings import make_config, to_text
from gpt.world import World
from tests.conftest import prepared

SEEDS = 1, 2, 3
WORKERS = 2
TURNS = 5
MUON = {"optimizer": "muon"}
ROTARY = {"positions": "rotary"}


@dataclass(frozen=True, slots=True)
class Change:
    """A setting, another value for it, and what else is set before and after."""

    setting: str
    value: Any
    also: dict[str, Any] = field(default_factory=dict[str, Any])

    def before(self, steps: int) -> dict[str, Any]:
        return base(self.also, steps)

    def after(self, steps: int) -> dict[str, Any]:
        return {**base(self.also, steps), self.setting: self.value}


CHANGES = [
    Change("batch_size", 24),
    Change("block_size", 128),
    Change("gradient_accumulation_steps", 2),
    Change("windows", "even"),
    Change("batch_schedule", "0.5:6"),
    Change("block_schedule", "0.5:32", ROTARY),
    Change("n_layer", 2),
    Change("n_layer", 6),
    Change("n_head", 8),
    Change("n_embd", 192),
    Change("dropout", 0.2),
    Change("bias", True),
    Change("positions", "rotary"),
    Change("positions", "none"),
    Change("norm", "rmsnorm"),
    Change("qk_norm", True),
    Change("activation", "relu2"),
    Change("zero_init", True),
    Change("token_shift", 0.5),
    Change("value_residual", True),
    Change("value_embedding", True),
    Change("ngram_buckets", 8192),
    Change("logit_softcap", 15.0),
    Change("tie_head", False),
    Change("optimizer", "muon"),
    Change("muon_lr", 0.05, MUON),
    Change("learning_rate", 3e-4),
    Change("learning_rate", 3e-3),
    Change("embedding_lr_scale", 5.0),
    Change("weight_decay", 0.0),
    Change("weight_decay", 1.0),
    Change("beta1", 0.8),
    Change("grad_clip", 0.0),
    Change("decay_lr", False),
    Change("schedule", "linear"),
    Change("schedule", "wsd"),
    Change("warmup_iters", 0),
    Change("min_lr", 0.0),
]


def base(also: dict[str, Any], steps: int) -> dict[str, Any]:
    """The reference preset with so many steps, its warm-up as large a part of them as before."""
    values = next(p.values for p in presets.find_all()[0] if p.name == "shakespeare_char_cpu")
    warmup = values["warmup_iters"] * steps // values["max_iters"]
    shorter = {"max_iters": steps, "lr_decay_iters": steps, "warmup_iters": warmup}
    return {**values, **shorter, "device": "cpu", **also}


def loss(settings: dict[str, Any]) -> float:
    """The exact validation loss of a model after all its steps."""
    trained = Trained({**settings, "threads": 1})
    trained.go_on(trained.config.max_iters)
    return trained.val()


def losses(changes: list[Change], steps: int) -> dict[str, float]:
    """That of every run that is needed, by its settings; those known already are not repeated."""
    wanted = {
        key(settings): settings
        for change in changes
        for pair in (change.before(steps), change.after(steps))
        for settings in seeded(pair)
    }
    scratch = cache_folder() / "effects.jsonl"
    lines = scratch.read_text("utf-8").splitlines() if scratch.exists() else []
    known: dict[str, float] = dict(map(json.loads, lines))
    missing = [settings for settings in wanted if settings not in known]
    with multiprocessing.get_context("spawn").Pool(WORKERS) as pool, scratch.open("a") as file:
        for settings, found in pool.imap_unordered(partial(_labelled, wanted), missing):
            known[settings] = found
            print(json.dumps([settings, found]), file=file, flush=True)
    return known


def _labelled(wanted: dict[str, dict[str, Any]], name: str) -> tuple[str, float]:
    return name, loss(wanted[name])


def seeded(settings: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**settings, "seed": seed} for seed in SEEDS]


def key(settings: dict[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True)


class Trained:
    """A model that makes steps, as the training loop makes them."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.config = make_config(settings)
        self.world = World.of(self.config)
        self.world.set_up()
        corpus = prepared(self.config.dataset)
        self.learner = Learner(self.config, corpus.vocab_size, self.world)
        self.splits = Splits(corpus)
        self.batches = Batches(self.splits.train, self.config, self.world.device)
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

    def val(self) -> float:
        """The exact loss over the validation split."""
        model = self.learner.model.eval()
        found = window_losses(model, self.splits.val, self.config.block_size, self.world)
        total, count = map(sum, zip(*((loss * n, n) for loss, n in found), strict=True))
        return total / count


def ratio(before: dict[str, Any], after: dict[str, Any]) -> float:
    """How many times as long a step takes, the median of some turns."""
    models = Trained(after), Trained(before)
    for model in models:
        model.go_on(3)
    turns = [[model.go_on(8) for model in models] for _ in range(TURNS)]
    return statistics.median(changed / unchanged for changed, unchanged in turns)


def _nothing() -> None:
    """Nobody asks this training to stop."""


def measure(change: Change, steps: int, known: dict[str, float]) -> Effect:
    """One setting's effect, given the losses of all runs."""
    before, after = change.before(steps), change.after(steps)
    vals = [[known[key(settings)] for settings in seeded(pair)] for pair in (before, after)]
    changes = [changed - unchanged for unchanged, changed in zip(*vals, strict=True)]
    val = statistics.mean(changes)
    return Effect(
        setting=change.setting,
        before=to_text(getattr(make_config(before), change.setting)),
        after=to_text(change.value),
        also=", ".join(f"{name} {value}" for name, value in change.also.items()),
        val=round(val, 4),
        spread=round(max(abs(it - val) for it in changes), 4),
        time=round(ratio(before, after), 2),
        seeds=len(SEEDS),
        steps=steps,
    )


def main(steps: int, names: list[str]) -> None:
    changes = [change for change in CHANGES if not names or change.setting in names]
    known = losses(changes, steps)
    found = [measure(change, steps, known) for change in changes]
    again = {effect.setting for effect in found}
    kept = [
        effect for effect in (read(PATH) if PATH.exists() else []) if effect.setting not in again
    ]
    with PATH.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [column.name for column in fields(Effect)])
        writer.writeheader()
        writer.writerows(asdict(effect) for effect in (*kept, *found))
    for effect in found:
        print(f"{effect.setting}: {effect}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What each setting does to the reference run.")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("settings", nargs="*")
    given = parser.parse_args()
    main(given.steps, given.settings)
