"""An App with one training run, which it does not leave without asking and saving."""

from __future__ import annotations

from textual import on
from textual.actions import SkipAction
from textual.widgets import Input, TextArea

from tui import messages
from tui.dialogs import QuitDialog, StopAndSave
from tui.manners import MannerlyApp
from tui.session import Session
from tui.terminal import STOP_SECONDS


class LeavingApp(MannerlyApp):
    """What leads out of the app, by key, by dialog or by signal.

    Attributes:
        session: the run of this process, under way or over.
        signalled: the signal that asked the process to end, if one did.
    """

    session: Session | None = None
    signalled: int | None = None
    _deadline: float | None = None
    _leaves = False

    @property
    def training(self) -> bool:
        """Whether a run is under way."""
        return self.session is not None and not self.session.over

    @on(messages.Leave)
    async def action_quit(self) -> None:
        """Leave; a run under way is asked about first."""
        if not self.session or self.session.over:
            self.leave()
        elif not isinstance(self.screen, QuitDialog):
            self.push_screen(QuitDialog(self.session.view))

    async def action_interrupt(self) -> None:
        """Ctrl+c: copies a selection; asks; the second stops and saves; the third leaves."""
        if self._deadline is not None:
            self.signalled = 2
            self._deadline = self.clock()
            self.exit_if_due()
        elif isinstance(self.screen, QuitDialog):
            self.leave()
        elif self._has_selection():
            raise SkipAction  # the field or the screen copies it
        else:
            await self.action_quit()

    @on(StopAndSave)
    def leave(self) -> None:
        """Stop the run under way and save it, saying so; then, or without one, exit."""
        if self._deadline is None:
            self._deadline = self.clock() + STOP_SECONDS
        if self.session and not self.session.over:
            self.session.stop()
            if isinstance(self.screen, QuitDialog):
                self.screen.show_stopping()
            else:
                self.push_screen(QuitDialog(self.session.view, stopping=True))
        self.exit_if_due()

    def obey(self, number: int) -> None:
        """A signal asks the process to end. Called in a thread of its own."""
        self.signalled = number
        if self.session:
            self.session.stop()
        self.post_message(StopAndSave())

    def exit_if_due(self) -> None:
        """When leaving: exit once the run is over, or at the deadline. Part of the tick."""
        if self._deadline is not None and (not self.training or self.clock() >= self._deadline):
            self._leaves = True
            self.exit(return_code=128 + self.signalled if self.signalled else 0)

    def end_session(self) -> None:
        """After the screen has gone, for whatever reason: the run stops and is saved."""
        if self.session:
            self.session.stop()
            deadline = self._deadline or self.clock() + STOP_SECONDS
            self.session.wait(max(0.0, deadline - self.clock()))

    @property
    def fault(self) -> str | None:
        """What made the App itself fail, in words; None when it was left on request.

        What goes wrong while its screens close, when everything is saved, is for the log only.
        """
        if self._leaves:
            return None
        if self._exception is not None:
            return f"{type(self._exception).__name__}: {self._exception}"
        return "the terminal went away"

    @property
    def exit_code(self) -> int:
        """0: left on request; 1: the App failed; 128 + n: ended by signal n."""
        if self.signalled:
            return 128 + self.signalled
        return 1 if self.fault else 0

    def _has_selection(self) -> bool:
        focused = self.focused
        if isinstance(focused, Input | TextArea) and focused.selected_text:
            return True
        return bool(self.screen.get_selected_text())
