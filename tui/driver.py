"""Textual's driver, which goes on from the first picture and knows a slow terminal. POSIX only."""

from __future__ import annotations

from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver

from tui.opening import Opening
from tui.picture import ENTER_SCREEN


def taking_over(opening: Opening) -> type[Driver]:
    """The driver that goes on where this opening ends."""

    class TakingOver(LinuxDriver):
        def start_application_mode(self) -> None:
            """Start; what is left behind later is the terminal as it was before the picture."""
            super().start_application_mode()
            if opening.modes is not None:
                self.attrs_before = opening.modes

        @property
        def waiting(self) -> bool:
            """Whether something that was drawn has yet to be taken by the terminal."""
            writer = self._writer_thread
            return writer is not None and not writer._queue.empty()  # pyright: ignore[reportPrivateUsage]

        def write(self, data: str) -> None:
            """Write; but some terminals clear the alternate screen when it is entered again."""
            if data == ENTER_SCREEN and opening.stands:
                opening.stands = False
                return
            super().write(data)

    return TakingOver
