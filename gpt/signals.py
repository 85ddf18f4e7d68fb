"""Signals: those that ask the process to end, and the one that stops it for a while."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Generator
from types import FrameType
from typing import Protocol

from gpt.stopwatch import awake

ENDING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
STOP_SECONDS = 5.0
"""How long a run may take to stop before the process leaves without it."""
SAVE_SECONDS = 60.0
"""The same while it is being saved: a slow disk is no reason to lose what is nearly written."""
POLL_SECONDS = 0.1


class Obedient(Protocol):
    """What ends when a signal asks for it. All is called in a thread of its own."""

    def obey(self, number: int) -> None:
        """Begin to end, because of this signal."""
        ...

    def overdue(self) -> bool:
        """Whether the end takes too long."""
        ...

    def abandon(self, number: int) -> None:
        """End the process now, which this signal first asked for."""
        ...


@contextlib.contextmanager
def obeyed(by: Obedient) -> Generator[None]:
    """While inside, a signal that ends the process goes to `by`, in a thread.

    The thread learns of it even while the main thread is in a call that does not return. A
    second SIGINT abandons the process, and so does an end that is overdue; the others may come
    twice when a terminal closes. A signal that was ignored, as under nohup, still is.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    watcher = threading.Thread(target=_watch, args=(reader, by), name="signals", daemon=True)
    heeded = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
    # A handler of Python's own waits for the main thread; the wake-up byte is written at once.
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, _noted) for number in heeded}
    watcher.start()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        writer.close()
        watcher.join()
        reader.close()


def _noted(_number: int, _frame: FrameType | None) -> None:
    """The wake-up byte has told already."""


def _watch(reader: socket.socket, by: Obedient) -> None:
    """Read signal numbers until the other end is closed."""
    first: int | None = None
    while True:
        if first is not None and by.overdue():
            by.abandon(first)
        if not select.select([reader], [], [], POLL_SECONDS if first is not None else None)[0]:
            continue
        told = reader.recv(1)
        if not told:
            return
        number = told[0]
        if number not in ENDING:
            continue
        if first is None:
            first = number
            by.obey(number)
        elif number == signal.SIGINT:
            by.abandon(first)


def stop_process() -> None:
    """Stop this process as ctrl+z does, until it is continued; `awake` stands still meanwhile.

    A process that no shell could continue is not stopped, as the system has it.
    """
    if sys.platform == "win32":
        return
    before = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
    awake.stop()
    signal.raise_signal(signal.SIGTSTP)
    awake.go_on()
    signal.signal(signal.SIGTSTP, before)


def stop_others() -> None:
    """Stop what was started together with this process, such as make, as ctrl+z does."""
    if sys.platform == "win32":
        return
    before = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    os.kill(0, signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, before)


@contextlib.contextmanager
def suspendable() -> Generator[None]:
    """While inside, ctrl+z stops the process without being counted in any timing."""
    if sys.platform == "win32" or signal.getsignal(signal.SIGTSTP) is signal.SIG_IGN:
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        stop_process()

    def go_on(_number: int, _frame: FrameType | None) -> None:
        awake.go_on()

    before = signal.signal(signal.SIGTSTP, stop), signal.signal(signal.SIGCONT, go_on)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, before[0])
        signal.signal(signal.SIGCONT, before[1])
