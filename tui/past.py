"""Past runs as views: read from their folders."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from textual.message import Message

from gpt import presets
from gpt.errors import Refused
from gpt.runs import Run, RunError
from tui.view import View

STAMP = re.compile(r"^\d{8}-\d{6}-")


class Reading(Message, bubble=False):
    """How much of a run's journal is read, from 0 to 1."""

    def __init__(self, path: Path, share: float) -> None:
        super().__init__()
        self.path = path
        self.share = share


def open_view(path: Path, told: Callable[[float], None] | None = None) -> View:
    """The run in this folder. Its whole journal is read when there is no summary of it.

    Args:
        told: called now and then with how much of the journal is read, from 0 to 1.

    Raises:
        RunError: it is not a run, or too broken to be read.
    """
    run = Run(path)
    config = run.config()
    try:
        record = run.record(told)
    except (OSError, TypeError, ValueError, AttributeError, OverflowError) as error:
        # Well-formed lines with nonsense in them, or a file that cannot be opened.
        raise RunError(f"{run.journal} cannot be read: {error}.") from None
    return View(run.name, run, record, config, None, reference(short_name(run.name)))


def short_name(name: str) -> str:
    """A run's name without the time that its folder begins with."""
    return STAMP.sub("", name)


def reference(preset: str) -> Path | None:
    """The curve that runs of this preset are drawn over, if there is such a preset."""
    try:
        return presets.find(preset).reference
    except Refused:
        return None
