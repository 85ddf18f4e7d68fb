"""Textual's driver, which goes on from the first picture and knows a slow terminal. POSIX only."""

from __future__ import annotations

import time

from textual import events
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message

from tui.manners import MannerlyApp
from tui.opening import Opening
from tui.picture import ENTER_SCREEN
from tui.roundtrip import RoundTrip

LAST_ANSWER, LAST_SLOW_ANSWER = 0.5, 3.0
"""Seconds to wait for an answer at the end: one that comes later is typed into the shell."""
WORTH_ASKING = 200
"""Characters; what is shorter, such as a cursor that blinks, says nothing about the line."""


def taking_over(opening: Opening) -> type[Driver]:
    """The driver that goes on where this opening ends."""

    class TakingOver(LinuxDriver):
        line = RoundTrip()
        asks = False

        def start_application_mode(self) -> None:
            """Start; what is left behind later is the terminal as it was before the picture."""
            super().start_application_mode()
            if opening.modes is not None:
                self.attrs_before = opening.modes
            self.line.forget()
            self.asks = True

        def disable_input(self) -> None:
            """Stop reading, once the terminal has answered."""
            if self.asks:
                self.asks = False
                slow = self.line.share is not None
                deadline = time.monotonic() + (LAST_SLOW_ANSWER if slow else LAST_ANSWER)
                while self.line.open and time.monotonic() < deadline:
                    time.sleep(0.01)
            super().disable_input()

        @property
        def waiting(self) -> bool:
            """Whether something that was drawn has yet to be taken by the terminal."""
            writer = self._writer_thread
            queued = writer is not None and not writer._queue.empty()  # pyright: ignore[reportPrivateUsage]
            return queued or self.line.waiting

        def write(self, data: str) -> None:
            """Write; but some terminals clear the alternate screen when it is entered again."""
            if data == ENTER_SCREEN and opening.stands:
                opening.stands = False
                return
            worth = self.asks and len(data) > WORTH_ASKING
            super().write(self.line.follow(data) if worth else data)
            if worth and isinstance(self._app, MannerlyApp):
                self._app.precedence.let_write()

        def process_message(self, message: Message) -> None:
            """Pass on what was typed, but keep the terminal's answers."""
            if isinstance(message, events.CursorPosition):
                self.line.answer()
            else:
                super().process_message(message)

    return TakingOver
