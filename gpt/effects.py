"""What changing a setting did, measured once on the reference preset."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gpt.presets import SHIPPED

PATH = SHIPPED / "effects.csv"
"""Made by `make effects`."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One setting changed, everything else as in the reference preset, or as `also` says.

    Attributes:
        val: by how much the exact validation loss changed, the mean over the seeds.
        spread: the largest distance of a single seed from that.
        time: how many times as long a step took.
    """

    setting: str
    before: str
    after: str
    also: str
    val: float
    spread: float
    time: float
    seeds: int
    steps: int

    def __str__(self) -> str:
        with_these = f" with {self.also}" if self.also else ""
        return (
            f"{self.before or 'none'} → {self.after}{with_these}: "
            f"val {self.val:+.3f} ± {self.spread:.3f}, time ×{self.time:.2f}".replace("-", "−")
        )


def in_words(setting: str) -> str:
    """What is known of a setting, as a sentence; empty where nothing is."""
    found = known().get(setting)
    if not found:
        return ""
    told = "; ".join(map(str, found))
    return f"Measured: {told} ({found[0].seeds} seeds, {found[0].steps} steps of the reference)."


def read(path: Path) -> list[Effect]:
    """The effects in a file, one a line.

    Raises:
        OSError, ValueError, csv.Error: it cannot be read.
    """
    with path.open(encoding="utf-8", newline="") as file:
        return [_effect(row) for row in csv.DictReader(file)]


def _effect(row: dict[str, str]) -> Effect:
    try:
        return Effect(
            row["setting"], row["before"], row["after"], row["also"],
            float(row["val"]), float(row["spread"]), float(row["time"]),
            int(row["seeds"]), int(row["steps"]),
        )  # fmt: skip
    except (KeyError, TypeError) as error:
        raise ValueError(f"{PATH.name} lacks the column {error}") from None


@cache
def known() -> dict[str, list[Effect]]:
    """The shipped effects by their setting."""
    by_setting: defaultdict[str, list[Effect]] = defaultdict(list)
    try:
        for effect in read(PATH):
            by_setting[effect.setting].append(effect)
    except (OSError, ValueError, csv.Error):  # help without figures is better than none
        return {}
    return by_setting
