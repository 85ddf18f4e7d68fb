"""An App that reads past runs from their folders, to be looked at or gone on with."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from textual import on
from textual.message import Message
from textual.screen import Screen

from gpt.runs import RunError
from tui.leaving import LeavingApp
from tui.past import Reading, open_view
from tui.view import View


class Opened(Message):
    """The journal of a past run is read, to be looked at or to be gone on with."""

    def __init__(self, view: View, resume: bool) -> None:
        super().__init__()
        self.view = view
        self.resume = resume


class ReopeningApp(LeavingApp):
    """What leads from a run's folder to its screen, while keys and training go on."""

    _opening: tuple[Path, Screen[Any]] | None = None
    """The run that is being read, and the screen that asked for it."""

    def opened(self, view: View, resume: bool) -> None:
        """A run is read that the screen on top asked for; `resume` is to go on with it."""
        raise NotImplementedError

    def read(self, path: Path, resume: bool = False) -> None:
        """Read the run in this folder for the screen on top."""
        self._opening = path, self.screen
        read = partial(self._read_view, path, resume)
        self.run_worker(read, thread=True, exit_on_error=False)

    def read_no_more(self) -> None:
        """Nobody waits for what is being read."""
        self._opening = None

    def _read_view(self, path: Path, resume: bool) -> None:
        """In a thread, since a long journal takes seconds to read."""
        try:
            view = open_view(path, partial(self._tell_reading, path))
        except RunError as error:
            self._tell(str(error))
            return
        self.post_message(Opened(view, resume))

    def _tell_reading(self, path: Path, share: float) -> None:
        self.post_message(Reading(path, share))

    @on(Reading)
    def _reading(self, message: Reading) -> None:
        """Let the table of runs, if that is on top, say how far it is."""
        self.screen.post_message(message)

    @on(Opened)
    def _opened(self, message: Opened) -> None:
        """Unless another one was asked for, or the screen that asked was left, meanwhile."""
        if (message.view.run.path, self.screen) == self._opening:
            self._opening = None
            self.opened(message.view, message.resume)
