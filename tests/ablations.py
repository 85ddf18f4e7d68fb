"""What each part of a preset's recipe is worth, as a table in Markdown.

`python -m tests.ablations PRESET [--steps=N]`: the preset with one setting changed at a time, on
three seeds, all measured on the part of the training split that is held back. A preset with a time
budget needs a number of steps.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

from gpt import presets
from gpt.folders import cache_folder
from gpt.settings import make_config, to_text
from tests.trials import SEEDS, Settings, key, losses, seeded

CHANGES: list[Settings] = [
    {"token_shift": 0.0},
    {"ngram_buckets": 0},
    {"ngram_order": 3},
    {"ngram_order": 4},
    {"ngram_order": 5},
    {"positions": "learned"},
    {"positions": "rotary"},
    {"positions": "none"},
    {"norm": "layernorm"},
    {"qk_norm": True},
    {"qk_norm": False},
    {"activation": "gelu"},
    {"zero_init": False},
    {"tie_head": True},
    {"value_residual": True},
    {"value_residual": False},
    {"value_embedding": True},
    {"logit_softcap": 15.0},
    {"optimizer": "adamw"},
    {"embedding_lr_scale": 1.0},
    {"embedding_decay_scale": 1.0},
    {"qk_scale": 1.0},
    {"windows": "random"},
    {"windows": "even"},
    {"batch_schedule": "", "block_schedule": ""},
    {"schedule": "cosine"},
    {"schedule": "wsd"},
    {"dropout": 0.1, "drop_attention": False},
]


def base(name: str, steps: int | None) -> Settings:
    """The preset's settings, its schedule over so many steps."""
    shorter = {"max_iters": steps, "lr_decay_iters": steps, "time_budget": 0.0} if steps else {}
    return make_config({**presets.find(name).values, "device": "cpu", **shorter}).model_dump()


def main(name: str, steps: int | None) -> None:
    plain = base(name, steps)
    changed = {said(it): {**plain, **it} for it in CHANGES if plain != {**plain, **it}}
    trials = [trial for it in (plain, *changed.values()) for trial in seeded(it)]
    known = losses(trials, cache_folder() / "ablations.jsonl", held_back=True)
    before = [known[key(it)] for it in seeded(plain)]
    print(f"| {name}, {plain['max_iters']} steps | held-back loss, the mean of {len(SEEDS)} | |")
    print(f"|---|---|---|\n| as it is | {statistics.mean(before):.4f} | |")
    rows = [(words, differences(settings, before, known)) for words, settings in changed.items()]
    for words, found in sorted(rows, key=lambda row: -statistics.mean(row[1])):
        print(
            f"| {words} | {statistics.mean(found):+.4f} | {min(found):+.4f} to {max(found):+.4f} |"
        )


def said(change: Settings) -> str:
    return ", ".join(f"`{name} = {said_value(value)}`" for name, value in change.items())


def said_value(value: Any) -> str:
    return to_text(value) or '""'


def differences(settings: Settings, before: list[float], known: dict[str, float]) -> list[float]:
    """By how much the loss changed, for each seed."""
    return [known[key(it)] - b for it, b in zip(seeded(settings), before, strict=True)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What each part of a preset's recipe is worth.")
    parser.add_argument("preset")
    parser.add_argument("--steps", type=int)
    given = parser.parse_args()
    main(given.preset, given.steps)
