"""The one dialog between a run under way and the shell."""

from __future__ import annotations

import contextlib
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.css.query import NoMatches
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from tui.status import status
from tui.view import View


class StopAndSave(Message):
    """Stop the run, save it, and leave."""


class QuitDialog(ModalScreen[None]):
    """Asks what becomes of the run; afterwards shows that it is being stopped."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "stop", "stop and save"),
        Binding("escape,b,q", "back", "back"),
        Binding("left,up", "app.focus_previous", show=False),
        Binding("right,down", "app.focus_next", show=False),
    ]

    def __init__(self, view: View, stopping: bool = False) -> None:
        super().__init__()
        self.view = view
        self.stopping = stopping

    def compose(self) -> ComposeResult:
        """A question and two buttons; while stopping, one line in their place."""
        with Vertical(id="quit", classes="dialog"):
            yield Static("", id="quit-question", classes="dialog-heading", markup=False)
            yield Static("", id="quit-run", markup=False)
            with Horizontal(id="quit-buttons", classes="dialog-buttons"):
                yield Button("Stop and save", id="stop", variant="primary")
                yield Button("Back", id="back")
            yield Static("s  stop and save     esc  back", id="quit-keys", markup=False)

    def on_mount(self) -> None:
        """Draw what is so now."""
        self._draw()

    def show_stopping(self) -> None:
        """From now on say that the run is being stopped."""
        self.stopping = True
        self.refresh_view()

    def refresh_view(self) -> None:
        """Draw the run as it stands; the App calls this on its tick, perhaps before the lines are
        there or when they are gone."""
        if self.is_mounted:
            with contextlib.suppress(NoMatches):
                self._draw()

    def _draw(self) -> None:
        over = self.view.record.finished is not None
        if self.stopping:
            question = "Stopping and saving ..."
            keys = "ctrl+c  leave at once, without saving"
        elif over:
            question, keys = "The run has ended. Leave?", "s  leave     esc  back"
        else:
            question = "A run is under way. Leave?"
            keys = "s  stop and save     esc  back"
        self._write("#quit-question", question)
        self._write("#quit-run", status(self.view))
        self._write("#quit-keys", keys)
        self.query_one("#quit-buttons").display = not self.stopping
        self.query_one("#stop", Button).label = "Leave" if over else "Stop and save"

    def action_stop(self) -> None:
        """Stop, save and leave."""
        if not self.stopping:
            self.post_message(StopAndSave())

    def action_back(self) -> None:
        """Go on with what was."""
        if not self.stopping:
            self.dismiss()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """The buttons do what their keys do."""
        event.stop()
        if event.button.id == "stop":
            self.action_stop()
        else:
            self.action_back()

    def _write(self, selector: str, text: str) -> None:
        line = self.query_one(selector, Static)
        if line.content != text:
            line.update(text)
