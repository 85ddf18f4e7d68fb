"""Without a screen: what is printed, and a run that prints what happens and obeys signals."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gpt import console, history
from gpt.events import Event, Finished, Phase, Progress, to_json
from gpt.runs import Run
from gpt.signals import SAVE_SECONDS, STOP_SECONDS, obeyed, suspendable
from gpt.stopwatch import awake
from gpt.text import visible

if TYPE_CHECKING:
    from gpt.control import Control


def say(text: str) -> None:
    """Print a line, harmless to a terminal.

    Raises:
        BrokenPipeError: nobody reads it any more.
    """
    try:
        print(visible(text) if sys.stdout.isatty() else text, flush=True)
    except BrokenPipeError:
        mute(1)
        raise
    except OSError:  # a terminal that is gone, a disk that is full: the run goes on without
        mute(1)


def complain(text: str) -> None:
    """Print a line for the person to standard error, if that can still be read."""
    try:
        print(f"nanodeck: {visible(text)}", file=sys.stderr, flush=True)
    except OSError:
        mute(2)


def show(event: Event, as_json: bool = False) -> None:
    """Print an event: as nanoGPT's line, or as the journal's.

    Raises:
        BrokenPipeError: nobody reads it any more.
    """
    if isinstance(event, Progress):
        show_progress(event)
    if as_json:
        say(to_json(event))
    elif text := console.line(event):
        say(text)


def show_progress(event: Progress) -> None:
    """On a terminal, a line that is written over."""
    if not sys.stderr.isatty():
        return
    done = f"{event.done:,.0f}"
    if event.total:
        done = f"{100 * event.done / event.total:.0f} % of {event.total:,.0f}"
    line = f"\r\x1b[K{event.phase}: {done} {event.unit}\r"
    with contextlib.suppress(OSError):
        print(line, end="", file=sys.stderr, flush=True)


def end_progress() -> None:
    """Leave nothing of the line that was written over."""
    if sys.stderr.isatty():
        with contextlib.suppress(OSError):
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def mute(descriptor: int) -> None:
    """Let what is still written to this descriptor vanish, at the latest when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


class Stopping:
    """How a run without a screen obeys signals: it stops and is saved.

    Attributes:
        signalled: the signal that asked for it, if one did.
        saving: whether a checkpoint is being written.
    """

    def __init__(self, control: Control) -> None:
        self.signalled: int | None = None
        self.saving = False
        self._control = control
        self._asked_at = 0.0

    def obey(self, number: int) -> None:
        """Ask the run to stop."""
        self.signalled, self._asked_at = number, awake()
        self._control.stop()
        _call_out("stopping and saving; ctrl+c leaves at once")

    def overdue(self) -> bool:
        """Whether the run does not stop, as in a kernel that does not return."""
        return awake() - self._asked_at >= (SAVE_SECONDS if self.saving else STOP_SECONDS)

    def abandon(self, number: int) -> None:
        """End the process; what was saved before is whole."""
        _call_out("left before the run had stopped; what it did since its last checkpoint is lost")
        os._exit(128 + number)


def report(events: Iterable[Event], run: Run, control: Control, as_json: bool) -> int:
    """Print what happens in a run, and at its end where it is; the exit code.

    Raises:
        BrokenPipeError: nobody read it any more, so that the run was stopped and saved.
    """
    reason = "failed"
    stopping = Stopping(control)
    unread: BrokenPipeError | None = None
    with obeyed(stopping), suspendable():
        for event in events:
            if isinstance(event, Phase):
                stopping.saving = event.name == "saving"
            elif isinstance(event, Finished):
                reason = event.reason
            try:
                show(event, as_json)
            except BrokenPipeError as error:
                unread = error
                control.stop()
    if unread:
        raise unread
    _conclude(run, reason)
    if stopping.signalled:
        return 128 + stopping.signalled
    return 0 if reason in ("done", "stopped") else 1


def _conclude(run: Run, reason: str) -> None:
    if run.journal.is_file():
        summary = history.summarize(run)
        best = f", best val loss {summary.best_val:.4f}" if summary.best_val is not None else ""
        complain(f"{reason}{best}; the run is in {run.path}")
        if reason == "stopped":
            complain(f"to go on: python app.py resume {run.name}")


def _call_out(words: str) -> None:
    """Say something from another thread, past whatever the main thread is printing."""
    with contextlib.suppress(OSError):
        os.write(2, f"nanodeck: {words}\n".encode())
