"""How a person likes the run screen, remembered between starts."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from gpt.folders import state_folder

METRICS = ("loss", "lr", "grad_norm", "tokens_per_s")
AXES = ("step", "seconds", "tokens")
SMOOTHING = (0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
"""Spans of the moving average, as shares of the run."""
USUAL_SMOOTHING = 3
WINDOWS = 6
"""How often the visible part can be halved, plus one."""


@dataclass(slots=True)
class Layout:
    """What the chart shows and how, and which pane fills the screen."""

    metric: str = METRICS[0]
    axis: str = AXES[0]
    log: bool = False
    smoothing: int = USUAL_SMOOTHING
    """An index into `SMOOTHING`."""
    window: int = 0
    """How often the visible part of the run is halved, the end staying."""
    pane: int = 1
    zoomed: bool = False

    def turn(self, name: str, change: int = 1) -> None:
        """Take the next choice of `metric`, `axis` or `log`, which go round, or change
        `window` or `smoothing` as far as they go."""
        choices = _ALLOWED[name]
        place = choices.index(getattr(self, name)) + change
        round_ = name in ("metric", "axis", "log")
        place = place % len(choices) if round_ else min(len(choices) - 1, max(0, place))
        setattr(self, name, choices[place])

    def save(self) -> None:
        """Write it to the user's state folder; where that cannot be, it is forgotten."""
        path = state_file()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            temporary.write_text(json.dumps(dataclasses.asdict(self)), "utf-8")
            temporary.replace(path)
        except OSError:
            return

    @classmethod
    def load(cls) -> Layout:
        """The remembered layout. A value that is missing or impossible is the default's."""
        layout = cls()
        try:
            found: object = json.loads(state_file().read_bytes())
        except (OSError, ValueError, RecursionError):
            return layout
        values = cast(dict[str, Any], found) if isinstance(found, dict) else {}
        for name, allowed in _ALLOWED.items():
            value = values.get(name)
            if any(value == choice and type(value) is type(choice) for choice in allowed):
                setattr(layout, name, value)
        return layout


_ALLOWED: dict[str, tuple[object, ...]] = {
    "metric": METRICS,
    "axis": AXES,
    "log": (False, True),
    "smoothing": tuple(range(len(SMOOTHING))),
    "window": tuple(range(WINDOWS)),
    "pane": (1, 2, 3, 4, 5),
    "zoomed": (False, True),
}


def state_file() -> Path:
    """Where it is kept."""
    return state_folder() / "run-screen.json"
