"""What each setting does to the reference run: writes presets/effects.csv.

`python -m tests.effects [--steps=N] [--times] [SETTING ...]`, or `make effects`. Each change is
trained on three seeds beside the unchanged preset, for all its steps or for so many; only the
settings that are named, or all. What is done is kept in a scratch file, so that it can be
interrupted and goes on. At the end the time of a step is measured in turns with the unchanged one;
nothing else should run then. It takes hours, or minutes with --times, which leaves the losses as
they are; rows of other settings stay as they are.
"""

from __future__ import annotations

import argparse
import csv
import statistics
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from gpt import presets
from gpt.effects import PATH, Effect, read
from gpt.folders import cache_folder
from gpt.settings import make_config, to_text
from tests.trials import SEEDS, Trained, key, losses, seeded

TURNS = 5
MUON = {"optimizer": "muon"}
ROTARY = {"positions": "rotary"}
TABLES = {"ngram_buckets": 8192}


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
    Change("qk_scale", 1.5, {"qk_norm": True}),
    Change("activation", "relu2"),
    Change("zero_init", True),
    Change("token_shift", 0.5),
    Change("value_residual", True),
    Change("value_embedding", True),
    Change("ngram_buckets", 8192),
    Change("ngram_order", 4, TABLES),
    Change("logit_softcap", 15.0),
    Change("tie_head", False),
    Change("optimizer", "muon"),
    Change("muon_lr", 0.05, MUON),
    Change("learning_rate", 3e-4),
    Change("learning_rate", 3e-3),
    Change("embedding_lr_scale", 5.0),
    Change("embedding_decay_scale", 10.0, TABLES),
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


def ratio(before: dict[str, Any], after: dict[str, Any]) -> float:
    """How many times as long a step takes, the median of some turns."""
    models = Trained(after), Trained(before)
    for model in models:
        model.go_on(3)
    turns = [[model.go_on(8) for model in models] for _ in range(TURNS)]
    return statistics.median(changed / unchanged for changed, unchanged in turns)


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


def timed(change: Change, effects: list[Effect]) -> Effect:
    """The known effect of a change, with the time of a step measured again."""
    value = to_text(change.value)
    known = next((it for it in effects if (it.setting, it.after) == (change.setting, value)), None)
    if known is None:
        raise SystemExit(f"{change.setting} = {value} has no effect yet: leave out --times")
    time = ratio(change.before(known.steps), change.after(known.steps))
    return replace(known, time=round(time, 2))


def main(steps: int, names: list[str], times: bool) -> None:
    changes = [change for change in CHANGES if not names or change.setting in names]
    before = read(PATH) if PATH.exists() else []
    if times:
        found = [timed(change, before) for change in changes]
    else:
        pairs = [pair for it in changes for pair in (it.before(steps), it.after(steps))]
        trials = [trial for pair in pairs for trial in seeded(pair)]
        known = losses(trials, cache_folder() / "effects.jsonl")
        found = [measure(change, steps, known) for change in changes]
    again = {effect.setting for effect in found}
    kept = [effect for effect in before if effect.setting not in again]
    with PATH.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [column.name for column in fields(Effect)])
        writer.writeheader()
        writer.writerows(asdict(effect) for effect in (*kept, *found))
    for effect in found:
        print(f"{effect.setting}: {effect}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What each setting does to the reference run.")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--times", action="store_true")
    parser.add_argument("settings", nargs="*")
    given = parser.parse_args()
    main(given.steps, given.settings, given.times)
