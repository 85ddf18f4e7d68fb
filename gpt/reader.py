"""Reading a journal: its events, and many of its lines at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from gpt.curve import Curve
from gpt.events import LATEST, Event, from_json, is_figure

if TYPE_CHECKING:
    from gpt.record import Record
    from gpt.runs import Run

LONGEST = 1 << 24
"""Bytes; a longer line is not one of ours, and is passed over without holding it in memory."""
BLOCK = 1 << 21
"""Bytes that are read at once: enough for most of a block's lines of the log to be spared."""
_STEP, _END = b'{"event": "step", ', b"}\n"
_FIGURES = frozenset(Curve.COLUMNS)
_MISSING = ("loss", "grad_norm", "mfu")
"""Figures that a step may lack."""
_PRESENT = tuple(name for name in Curve.COLUMNS if name not in _MISSING)


def follow(run: Run) -> Iterator[Event]:
    """The events in a run's journal. A line cut short by a crash is passed over.

    Raises:
        OSError: the journal is there and cannot be read.
    """
    if not run.journal.is_file():
        return
    with run.journal.open("rb") as file:
        for raw in iter(partial(file.readline, LONGEST), b""):
            event = parse(raw)
            if event is not None:
                yield event


def parse(raw: bytes) -> Event | None:
    """The event of a journal line, or None when it is not one."""
    try:
        return from_json(raw.decode("utf-8"))
    except (ValueError, TypeError, RecursionError):
        return None


def whole_lines(path: Path, start: int) -> Iterator[list[bytes]]:
    """The lines from byte `start` on, which begins one, a block at a time.

    The last one is left out as long as it has no end: it may still be written.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        file.seek(start)
        while lines := _block(file):
            unfinished = not lines[-1].endswith(b"\n") and len(lines[-1]) < LONGEST
            if unfinished:
                lines.pop()
            if lines:
                yield lines
            if unfinished:  # what is written to it meanwhile is no line of its own
                return


def _block(file: BinaryIO) -> list[bytes]:
    lines: list[bytes] = []
    size = 0
    while size < BLOCK and (line := file.readline(LONGEST)):
        lines.append(line)
        size += len(line)
    return lines


def fold(record: Record, lines: list[bytes]) -> None:
    """Take whole lines into a record, to the same effect as their events one by one."""
    for is_step, group in groupby(lines, _is_step):
        some = list(group)
        rows = _steps(some) if is_step else None
        if rows is not None:
            record.fold_steps(rows)
            continue
        for raw in some:
            event = parse(raw)
            if event is not None:
                record.fold(event)


def _is_step(line: bytes) -> bool:
    """Whether it looks like a `step`, which has no list in it."""
    return line.startswith(_STEP) and line.endswith(_END) and b"[" not in line


def _steps(lines: list[bytes]) -> list[dict[str, Any]] | None:
    """What many `step` lines say, read in one go, or None when one of them is odd.

    Nothing that is wrong with a line can be made good by those around it, since each begins as an
    object with a key and ends as one, and none opens a list that could hold the next. But one
    line may hold two objects.
    """
    try:
        values: object = json.loads((b"[" + b",".join(lines) + b"]").decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    rows = cast(list[dict[str, Any]], values)
    if len(rows) != len(lines):
        return None
    usual = all(
        row["event"] == "step"
        and row.keys() >= _FIGURES
        and type(row["step"]) is type(row["tokens"]) is type(row["memory"]) is int
        and all(row[name] is None or is_figure(row[name]) for name in _MISSING)
        and all(is_figure(row[name]) for name in _PRESENT)
        and 0 <= row["time"] < LATEST
        for row in rows
    )
    return rows if usual else None
