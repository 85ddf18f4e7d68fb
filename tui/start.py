"""The way into training: the one bright button, and what to know before pressing it."""

from __future__ import annotations

import contextlib
from pathlib import Path

from textual.app import ComposeResult
from textual.containers import Container
from textual.widgets import Button

from gpt.folders import state_folder
from gpt.runs import ROOT
from gpt.text import visible
from tui.forecast import Outlook, duration
from tui.still import Still

UNITS = {"s": "second", "min": "minute", "h": "hour"}
"""Of a duration, written out."""
LONG = 30 * 60
"""Seconds; of a run that takes longer the button itself says so."""


class Start(Container):
    """A line and the button."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.newcomer = not ROOT.exists() and not _marker().exists()

    def forget_newcomer(self) -> None:
        """The person has trained something: no hint any more, here or at later starts."""
        self.newcomer = False
        with contextlib.suppress(OSError):
            _marker().parent.mkdir(parents=True, exist_ok=True)
            _marker().touch()

    def compose(self) -> ComposeResult:
        """The line comes first, or to the left where there is little room."""
        yield Still(id="start-words")
        yield Button("Train", id="train", variant="primary", disabled=True)

    def show(self, reason: str | None, outlook: Outlook | None) -> None:
        """Say what stands in the way, else how long the run will take.

        Args:
            reason: why these settings cannot be trained with, if so.
            outlook: what is known about the run.
        """
        seconds = outlook.seconds if outlook else None
        where = "on this busy machine" if outlook and outlook.busy else "on this machine"
        long = seconds is not None and seconds > LONG
        about = duration(seconds) if seconds is not None else ""
        button, words = self.query_one(Button), self.query_one("#start-words", Still)
        button.disabled = reason is not None
        button.label = f"Train, about {about}" if long and not reason else "Train"
        if reason:
            text = f"✗ {visible(reason, keep='')}"
        elif self.newcomer:
            takes = f"; {spoken(about)} {where}" if about else ""
            text = f"New here? t trains{takes}."
        elif seconds is None or long:
            text = "this machine is busy" if outlook and outlook.busy else ""
        else:
            text = f"about {about} {where}"
        words.set_class(bool(reason), "-error")
        words.set_class(self.newcomer and not reason, "-hint")
        words.put(text)


def spoken(about: str) -> str:
    """A duration with its unit written out: 1 second, 12 minutes."""
    number, unit = about.split(" ")
    if unit not in UNITS:
        return about
    return f"{number} {UNITS[unit]}{'' if number == '1' else 's'}"


def _marker() -> Path:
    return state_folder() / "trained"
