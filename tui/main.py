"""The way in and out: the first picture, the App once it is imported, and the last words."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

from gpt.folders import state_folder
from gpt.signals import ENDING, obeyed
from gpt.text import visible
from tui.opening import Opening
from tui.terminal import Terminal

if TYPE_CHECKING:
    from tui.app import Nanodeck


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line asks of the screen; `values` are raw `--key=value` texts."""

    preset: str | None = None
    values: Mapping[str, str] = field(default_factory=dict[str, str])
    start: bool = False
    ascii: bool = False
    mouse: bool = True


def main(options: Options) -> int:
    """Show the screen until the person leaves, say goodbye, and give the exit code.

    See `Nanodeck.exit_code`.
    """
    log = state_folder() / "nanodeck.log"
    with _Unwinding() as signals, Terminal(log) as terminal, Opening() as opening:
        if not options.start:  # else the run's screen comes first
            opening.draw(options.preset, options.ascii)
        app = _make_app(options, terminal, opening)
        signals.act()
        with obeyed(app):
            app.run(mouse=options.mouse)
            app.end_session()
    say_goodbye(app, terminal.target)
    if any(not thread.daemon for thread in threading.enumerate()[1:]):
        # A run that does not stop, or an import under way, would hold the process here.
        sys.stdout.flush()
        os._exit(app.exit_code)
    return app.exit_code


def _make_app(options: Options, terminal: Terminal, opening: Opening) -> Nanodeck:
    from tui.app import Nanodeck

    app = Nanodeck(options, terminal)
    if sys.platform != "win32" and not os.environ.get("TEXTUAL_DRIVER"):
        from tui.driver import taking_over

        app.driver_class = taking_over(opening)
    return app


class _Unwinding:
    """While inside, a signal that ends the process does so by way of every `with` around it.

    It does so at once, by an exception. One that comes in the midst of an import can be swallowed
    by what is imported; `act` sees to it afterwards.
    """

    def __init__(self) -> None:
        self._number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        heeded = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._unwind) for number in heeded}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def act(self) -> None:
        """End now if a signal asked for it.

        Raises:
            SystemExit: with the signal's exit code.
        """
        if self._number is not None:
            raise SystemExit(128 + self._number)

    def _unwind(self, number: int, _frame: FrameType | None) -> None:
        self._number = number
        self.act()


def say_goodbye(app: Nanodeck, log: Path | None) -> None:
    """Leave in the shell how the run ended, what to do with it, and what went wrong, if so."""
    from tui.farewell import farewell

    session = app.session
    if app.fault and not app.signalled:
        details = f" The details are in {log}." if log else ""
        print(visible(f"Nanodeck failed: {app.fault}.{details}"), file=sys.stderr)
    if session and session.refused is None:
        # Served to a browser, standard output is not for people.
        file = sys.stderr if os.environ.get("TEXTUAL_DRIVER") else sys.stdout
        print(*farewell(session.view), sep="\n", file=file)
