"""An App with one training run, which it does not leave without asking and saving."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import Any

from textual import on
from textual._styles_cache import StylesCache  # pyright: ignore[reportPrivateUsage]
from textual.actions import SkipAction
from textual.await_complete import AwaitComplete
from textual.message import Message
from textual.widgets import Input, TextArea

from gpt.signals import SAVE_SECONDS, STOP_SECONDS, stop_others, stop_process
from gpt.stopwatch import awake
from gpt.text import visible
from tui.dialogs import QuitDialog, StopAndSave
from tui.farewell import farewell
from tui.manners import MannerlyApp
from tui.session import Session

EXIT_SECONDS = 2.0
"""How long closing the screens may take after a signal, once the run is over or given up."""
BACKGROUND_SECONDS = 0.2


class Suspend(Message):
    """Give the terminal to the shell: the process is asked to stop."""


class Continued(Message):
    """The process was stopped without a word, and goes on."""


class LeavingApp(MannerlyApp):
    """What leads out of the app, by key, by dialog or by signal, for good or for a while.

    Attributes:
        session: the run of this process, under way or over.
        signalled: the signal that asked the process to end, if one did.
    """

    session: Session | None = None
    signalled: int | None = None
    _asked_at: float | None = None
    _idle_since: float | None = None
    _leaves = False
    _suspended = False

    @property
    def training(self) -> bool:
        """Whether a run is under way."""
        return self.session is not None and not self.session.over

    # --- screens

    def pop_screen(self) -> AwaitComplete:
        """Leave the screen on top, and let go of the lines that were drawn of it.

        Textual (8.2) holds on to those of the last 1,024 widgets, gone or not, and each search
        for garbage goes through all of them while keys and training wait.
        """
        lines: Any = StylesCache.get_inner_outer
        lines.cache_clear()
        return super().pop_screen()

    def _tell(self, words: str, seconds: float = 10) -> None:
        self.notify(visible(words), severity="warning", timeout=seconds, markup=False)

    # --- leaving

    async def action_quit(self) -> None:
        """Leave; a run under way is asked about first."""
        if not self.session or self.session.over:
            self.leave()
        elif not isinstance(self.screen, QuitDialog):
            self.push_screen(QuitDialog(self.session.view))

    async def action_interrupt(self) -> None:
        """Ctrl+c: copies a selection; asks; the second stops and saves; the third leaves."""
        if self._asked_at is not None:
            self.signalled = signal.SIGINT
            self._go()
        elif isinstance(self.screen, QuitDialog):
            self.leave()
        elif self._has_selection():
            raise SkipAction  # the field or the screen copies it
        else:
            await self.action_quit()

    @on(StopAndSave)
    def leave(self) -> None:
        """Stop the run under way and save it, saying so; then, or without one, exit."""
        if self._asked_at is None:
            self._asked_at = self.clock()
        if self.session and not self.session.over:
            self.session.stop()
            if isinstance(self.screen, QuitDialog):
                self.screen.show_stopping()
            else:
                self.push_screen(QuitDialog(self.session.view, stopping=True))
        self.exit_if_due()

    def exit_if_due(self) -> None:
        """When leaving: exit once the run is over, or when it takes too long. Part of the tick."""
        if self._asked_at is not None and (not self.training or self.seconds_left <= 0):
            self._go()

    @property
    def seconds_left(self) -> float:
        """How long the run may still take to stop."""
        asked_at = self.clock() if self._asked_at is None else self._asked_at
        saving = self.session is not None and self.session.saving
        return asked_at + (SAVE_SECONDS if saving else STOP_SECONDS) - self.clock()

    def _go(self) -> None:
        self._leaves = True
        self.workers.cancel_all()  # what is still being built would miss what closes
        self.exit(return_code=128 + self.signalled if self.signalled else 0)

    def end_session(self) -> None:
        """After the screen has gone, for whatever reason: the run stops and is saved."""
        if self.session is None:
            return
        self.session.stop()
        if self._asked_at is None:
            self._asked_at = self.clock()
        at_once = self.signalled and self._leaves
        while not at_once and self.seconds_left > 0 and not self.session.wait(0.1):
            pass
        self.session.wait(0)

    # --- signals, each in a thread of its own

    def obey(self, number: int) -> None:
        """A signal asks the process to end."""
        self.signalled = number
        self._asked_at = self.clock()
        if self.session:
            self.session.stop()
        self.post_message(StopAndSave())

    def overdue(self) -> bool:
        """Whether the App should have left by now, as when its terminal is not read."""
        now = self.clock()
        if self._idle_since is None and not (self.session and self.session.running):
            self._idle_since = now
        if self._idle_since is not None:
            return now >= self._idle_since + EXIT_SECONDS
        return self.seconds_left + EXIT_SECONDS <= 0

    def abandon(self, number: int) -> None:
        """End the process now, with the last words on the run."""
        words: list[str] = []
        if self.session and self.session.refused is None:
            self.session.wait(0)
            words = farewell(self.session.view)
        if self.terminal:
            self.terminal.abandon(128 + number, words)

    # --- leaving for a while

    def heed_stops(self) -> None:
        """Let ctrl+z and what is like it give the terminal back. In the event loop's thread.

        Textual's own handlers would start drawing twice after a SIGSTOP.
        """
        if sys.platform == "win32" or self.terminal is None:
            return
        loop = asyncio.get_running_loop()

        def stop(*_: object) -> None:
            loop.call_soon_threadsafe(self.post_message, Suspend())

        def go_on(*_: object) -> None:
            awake.go_on()
            if not self._suspended:
                loop.call_soon_threadsafe(self.post_message, Continued())

        signal.signal(signal.SIGTSTP, stop)
        signal.signal(signal.SIGCONT, go_on)

    @on(Suspend)
    def action_suspend_process(self) -> None:
        """Stop this process and training with it, the terminal being the shell's meanwhile.

        Continued in the background, training goes on and the screen waits to be in front.
        """
        if self.terminal is None or self._driver is None or not self._driver.can_suspend:
            return
        self._suspended = True
        with self.suspend(), self.terminal.given_back():
            stop_others()
            stop_process()
            while not _in_front() and not self.signalled:
                time.sleep(BACKGROUND_SECONDS)
            if self.signalled:
                self.end_session()
                self.abandon(self.signalled)
        self._suspended = False

    @on(Continued)
    def _draw_anew(self) -> None:
        """The shell had the terminal meanwhile: take it again, from its modes on."""
        if self._driver is not None and self._driver.can_suspend:
            with self.suspend():
                pass

    # --- how it ended

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


def _in_front() -> bool:
    """Whether this process may use the terminal; also when there is none to ask."""
    if sys.platform == "win32":
        return True
    try:
        return os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return True
