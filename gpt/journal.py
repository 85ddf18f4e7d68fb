"""The journal of a run: its events on disk, a JSON object a line.

A line is whole or passed over, and one that was cut short never spoils the next. A disk that
refuses a line does not end a training: the lines it lost are counted and told later.
"""

from __future__ import annotations

import contextlib
import os
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from gpt.events import Event, Notice, Saved, to_json
from gpt.reader import follow as follow
from gpt.summary import Keeper

if TYPE_CHECKING:
    from gpt.runs import Run


class Journal:
    """Appends the events of a run to its journal, each on its way to the disk at once.

    Attributes:
        lost: lines that the disk refused and that the journal does not tell of yet.
    """

    def __init__(self, run: Run) -> None:
        self.lost = 0
        self._path = run.journal
        self._file: FileIO | None = None
        self._torn = False
        self._summary = Keeper(run)

    def append(self, event: Event) -> None:
        """Write one event. Where the disk refuses it there is a gap, and no error."""
        if self.lost:
            self._tell()
        if self.lost or not self._write(event):
            self.lost += 1
        elif isinstance(event, Saved):
            # What the chart shows up to a checkpoint is as safe as the checkpoint.
            self._flush()
            self._summary.keep_if_due()

    def close(self) -> None:
        """Make sure that all of it is on disk, and close it."""
        if self.lost:
            self._tell()
        if self._file is not None:
            self._flush()
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
            self._summary.keep()

    def _tell(self) -> None:
        """Record the gap, if the disk takes it now."""
        lines = "1 line" if self.lost == 1 else f"{self.lost:,} lines"
        text = f"the journal has a gap here: the disk refused {lines}"
        if self._write(Notice(level="warning", text=text)):
            self.lost = 0

    def _write(self, event: Event) -> bool:
        """Whether the line is in the file, whole but for its end at most."""
        line = to_json(event).encode("ascii") + b"\n"
        try:
            if self._file is None:
                self._torn = _is_torn(self._path)
                self._file = self._path.open("ab", buffering=0)
            if self._torn:
                line = b"\n" + line
            written = self._file.write(line) or 0
            # A disk that has room for a part only says why when asked for the rest.
            while 0 < written < len(line):
                self._torn = True
                line = line[written:]
                written = self._file.write(line) or 0
        except OSError:
            return line == b"\n"
        self._torn = written < len(line)
        self._summary.grew(written)
        return not self._torn

    def _flush(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.fsync(self._file.fileno())


def _is_torn(path: Path) -> bool:
    """Whether a file's last line has no end, because a process died writing it."""
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return False
            file.seek(-1, os.SEEK_END)
            return file.read() != b"\n"
    except FileNotFoundError:
        return False
