"""Past runs as views: read from their folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from textual.message import Message

from gpt import presets
from gpt.errors import Refused
from gpt.names import short_name
from gpt.runs import Run, RunError
from tui.keys import can_extend
from tui.view import View

SECONDS = 1.0
"""The last line of a journal is written at most so long after its event."""


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
    name = short_name(run.name)
    return View(name, run, record, config, None, reference(name))


def extension(view: View) -> dict[str, int | float]:
    """The settings with which a run that is done goes on for as long again; none for others."""
    record = view.record
    if not can_extend(record):
        return {}
    changed = {event.knob: event.value for event in record.adjusted}
    config = view.config.model_copy(update=changed)
    if config.time_budget:
        return {"time_budget": 2 * config.time_budget}
    return {"max_iters": 2 * config.max_iters, "lr_decay_iters": 2 * config.lr_decay_iters}


def went_on(view: View) -> bool:
    """Whether another process has gone on with a run since it ended here."""
    ended = view.record.finished.time if view.record.finished else 0.0
    try:
        return view.run.journal.stat().st_mtime > ended + SECONDS
    except OSError:
        return False


def reference(preset: str) -> Path | None:
    """The curve that runs of this preset are drawn over, if there is such a preset."""
    try:
        return presets.find(preset).reference
    except Refused:
        return None
