"""The person's terminal: lent to the screen, and given back as it was, whatever happens.

Textual puts the terminal back when Python gets to unwind. This module sees to the rest:
native output, which would smear the screen; and a hard exit, a native crash or a kill, after
which only another process can still do it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from gpt.signals import ENDING

# Mouse tracking and its formats, focus reports, bracketed paste and resize reports off; line
# wrap and cursor on; plain text. Harmless when they are so already.
RESET = (
    "".join(f"\x1b[?{mode}l" for mode in (1000, 1003, 1015, 1006, 1016, 1004, 2004, 2048))
    + "\x1b[?7h\x1b[?25h\x1b[0m"
)
LEAVE_SCREEN = "\x1b[<u\x1b[?1049l"
"""Only for a screen that was not left: pops the keyboard mode and the alternate screen."""
PUSH_TITLE, POP_TITLE = "\x1b[22;2t", "\x1b[23;2t"


def unusable(environ: Mapping[str, str] = os.environ) -> str | None:
    """Why the screen cannot be shown here and what to run instead; None when it can."""
    instead = "Without one, run: python app.py train PRESET (for example tiny)"
    if environ.get("TEXTUAL_DRIVER"):
        return None
    if environ.get("TERM") == "dumb":
        return f"Nanodeck's screen needs a terminal that can draw, and this one is dumb. {instead}"
    if not all(stream and stream.isatty() for stream in (sys.__stdin__, sys.__stdout__)):
        return f"Nanodeck's screen needs a terminal. {instead}"
    return None


def speaks_utf8(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the locale says that the terminal shows UTF-8."""
    if sys.platform == "win32":
        return True
    names = ["LC_ALL", "LC_CTYPE", "LANG"]
    if coerced_to_utf8() and environ.get("LC_CTYPE") == "C.UTF-8":
        names.remove("LC_CTYPE")
    locale = next((environ[name] for name in names if environ.get(name)), "C")
    return "utf8" in locale.lower().replace("-", "")


def coerced_to_utf8() -> bool:
    """Whether Python put C.UTF-8 in place of a locale of C, or of one that is not installed.

    That is Python's own doing and says nothing about the terminal.
    """
    return bool(sys.flags.utf8_mode)


class Terminal:
    """A context in which Textual has the terminal to itself.

    `sys.__stdout__` and `sys.__stderr__`, through which Textual draws, become private
    duplicates of the terminal; file descriptors 1 and 2 lead to a log.

    Args:
        log: the file that takes native output while no run is under way.

    Attributes:
        target: the file that takes it now; None when that could not be opened.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self.target: Path | None = None
        self._wanted: Path | None = None
        self._lent = True

    def __enter__(self) -> Self:
        _trim(self.log)
        if sys.platform != "win32":
            self._enter_posix()
        else:
            self.redirect_native_output()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if sys.platform != "win32":
            self._exit_posix()

    def redirect_native_output(self, path: Path | None = None) -> None:
        """Send what is written to descriptors 1 and 2 to this file from now on, or to `log`.

        On Windows native output stays where it is, and only what is noted goes there.
        """
        path = path or self.log
        if path == self._wanted:
            return
        self.target = self._wanted = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        except OSError:
            self.target = None
            log = os.open(os.devnull, os.O_WRONLY)
        if sys.platform == "win32":  # there, Textual asks the system for descriptor 1
            os.close(log)
            return
        _flush()
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)

    def note(self, text: str) -> None:
        """Add a text to the file that takes native output, as far as the disk takes it."""
        if self.target is None:
            return
        with (
            contextlib.suppress(OSError),
            self.target.open("a", encoding="utf-8", errors="replace") as file,
        ):
            file.write(text)

    def abandon(self, code: int, words: Sequence[str] = ()) -> None:
        """End the process now, from any thread, with the terminal as it was and these last words.

        What has to be written the guard writes afterwards, so that nothing here waits for a
        terminal that is not read.
        """
        if sys.platform != "win32" and self._guard:
            if self._lent:
                self._restore_modes()
            self._guard.leave_words(words)
        os._exit(code)

    @contextlib.contextmanager
    def given_back(self) -> Generator[None]:
        """While inside, the terminal is the shell's, once Textual has left it."""
        self._lent = False
        if sys.platform != "win32":
            self._write(POP_TITLE)
            if self._guard:
                self._guard.rest()
        yield
        self._lent = True
        if sys.platform != "win32":
            if self._guard:
                self._guard.wake()
            self._write(PUSH_TITLE)

    if sys.platform != "win32":

        def _enter_posix(self) -> None:
            import termios

            self._is_terminal = os.isatty(0) and os.isatty(1)
            self._modes = termios.tcgetattr(0) if self._is_terminal else None
            self._descriptors = os.dup(1), os.dup(2)
            self._streams = sys.__stdout__, sys.__stderr__
            self._guard = _Guard(self._end_in_guard) if self._is_terminal else None
            private = _open_private(self._descriptors[0])
            sys.__stdout__ = sys.__stderr__ = private  # type: ignore[misc]  # Final in typeshed
            self.redirect_native_output()
            faulthandler.enable(2)  # a crash in native code is told in the log
            self._write(PUSH_TITLE)

        def _exit_posix(self) -> None:
            _flush()
            faulthandler.disable()
            self._write(RESET + POP_TITLE)
            self._restore_modes()
            for descriptor, number in zip(self._descriptors, (1, 2), strict=True):
                os.dup2(descriptor, number)
                os.close(descriptor)
            sys.__stdout__, sys.__stderr__ = self._streams  # type: ignore[misc]
            if self._guard:
                self._guard.dismiss()

        def _write(self, text: str) -> None:
            if self._is_terminal:
                with contextlib.suppress(OSError):
                    os.write(self._descriptors[0], text.encode())

        def _restore_modes(self) -> None:
            """Echo and line editing back on. Never waits for a terminal that is not read."""
            import termios

            if self._modes is None:
                return
            # A change from the background would stop the process.
            with contextlib.suppress(ValueError):
                signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            with contextlib.suppress(termios.error):
                termios.tcsetattr(0, termios.TCSANOW, self._modes)

        def _end_in_guard(self, lent: bool, words: bytes) -> None:
            """Restore the terminal where it was still `lent`, then write the last words."""
            import termios

            if lent:
                with contextlib.suppress(termios.error):
                    # What a terminal that stopped reading has not taken is a torn frame by now.
                    termios.tcflush(0, termios.TCOFLUSH)
                self._restore_modes()
                self._write(LEAVE_SCREEN + RESET + POP_TITLE)
            self._write(words.decode(errors="replace"))


if sys.platform != "win32":

    class _Guard:
        """A child process that acts when this process ends without dismissing it.

        It costs a fork of a process that has loaded little yet, and waits in `read`. What it is
        told are lines: REST, WAKE, or words to write at the end.

        Args:
            act: restores the terminal, then writes these words.
        """

        REST, WAKE = b"\0rest\n", b"\0wake\n"

        def __init__(self, act: Callable[[bool, bytes], None]) -> None:
            watched, self._alive = os.pipe()
            self._pid = os.fork()
            if self._pid == 0:
                self._wait(watched, act)
            os.close(watched)

        def leave_words(self, words: Sequence[str]) -> None:
            """Have these lines written once the process has ended."""
            self._tell("".join(f"{line}\n" for line in words).encode(errors="replace"))

        def rest(self) -> None:
            """Leave the terminal alone from now on: it is not this process's."""
            self._tell(self.REST)

        def wake(self) -> None:
            """Look after the terminal again."""
            self._tell(self.WAKE)

        def dismiss(self) -> None:
            """End the guard; it has nothing to do any more."""
            self.rest()
            os.close(self._alive)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, 0)

        def _tell(self, line: bytes) -> None:
            with contextlib.suppress(OSError):
                os.write(self._alive, line)

        def _wait(self, watched: int, act: Callable[[bool, bytes], None]) -> None:
            try:
                os.close(self._alive)
                # In a session of its own no key and no hang-up reaches it, and it may change
                # the terminal while the shell is in the foreground again.
                os.setsid()
                for number in ENDING:
                    signal.signal(number, signal.SIG_IGN)
                told = b""
                while more := os.read(watched, 1 << 16):
                    told += more
                lines = told.splitlines(keepends=True)
                orders = [line for line in lines if line in (self.REST, self.WAKE)]
                words = b"".join(line for line in lines if line not in (self.REST, self.WAKE))
                act(orders[-1:] != [self.REST], words)
            finally:
                os._exit(0)


def _open_private(descriptor: int) -> TextIO:
    encoding = "utf-8" if speaks_utf8() else "ascii"
    return open(os.dup(descriptor), "w", encoding=encoding, errors="replace", newline="")  # noqa: PTH123


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


def _trim(log: Path, limit: int = 1 << 20) -> None:
    """Start the log anew when it has grown large."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > limit:
            log.unlink()
