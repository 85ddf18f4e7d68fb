"""The screen from process start until Textual has it.

Importing Textual takes longer than anything else at the start. Until it is there, the presets are
on the screen already, keys are kept for it, and whatever goes wrong puts the terminal back.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from types import TracebackType
from typing import Any, Self

from tui.picture import picture
from tui.terminal import LEAVE_SCREEN, speaks_utf8


class Opening:
    """A context in which the first picture stands until Textual takes over, or it is left.

    Attributes:
        stands: whether the picture is on the screen, and the alternate screen ours to leave.
        modes: the terminal's modes before; None where they were not changed.
    """

    def __init__(self) -> None:
        self.stands = False
        self.modes: list[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def draw(self, preset: str | None, ascii: bool) -> None:
        """Draw the presets, where the screen will begin with them on this very terminal.

        Args:
            preset: the name or path to open on; the one for this kind of machine when None.
            ascii: draw with ASCII alone.
        """
        screen = sys.__stdout__
        if sys.platform == "win32" or os.environ.get("TEXTUAL_DRIVER"):
            return
        if screen is None or not screen.isatty() or not os.isatty(0):
            return
        size = shutil.get_terminal_size()
        drawn = picture(preset, size, os.environ, ascii or not speaks_utf8())
        if drawn is None:
            return
        self._quieten()
        self.stands = True
        with contextlib.suppress(OSError):
            screen.write(drawn)
            screen.flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.stands and sys.__stdout__ is not None:
            self.stands = False
            with contextlib.suppress(OSError):
                sys.__stdout__.write(LEAVE_SCREEN)
                sys.__stdout__.flush()

    def _quieten(self) -> None:
        """Keys are not echoed, nor held back until a line is whole; Ctrl-C still interrupts.

        The modes are those that Textual sets, so that a key means the same before and after.
        `Terminal` puts them back.
        """
        if sys.platform == "win32":
            return
        import termios

        with contextlib.suppress(termios.error):
            modes = termios.tcgetattr(0)
            self.modes = termios.tcgetattr(0)
            modes[0] &= ~(
                termios.IXON | termios.IXOFF | termios.ICRNL | termios.INLCR | termios.IGNCR
            )
            modes[3] &= ~(termios.ECHO | termios.ICANON | termios.IEXTEN)
            modes[6][termios.VMIN] = 1
            # Ctrl-Z would leave the picture to the shell. As keys, Textual gets these.
            off = bytes([os.fpathconf(0, "PC_VDISABLE") & 0xFF])
            modes[6][termios.VSUSP] = modes[6][termios.VQUIT] = off
            termios.tcsetattr(0, termios.TCSANOW, modes)
