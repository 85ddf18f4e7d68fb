"""`summary.json`: the record of a run as far as its journal was read, so that it opens at once.

It is a cache and never the truth: what is damaged, of another format or of another journal is
passed over, and the journal read from its beginning. It is JSON in three lines, each but the
first known by its hash, so that a table of runs need not read the third.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import json
import sys
import time
from array import array
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from gpt import disk, reader
from gpt.curve import Curve
from gpt.events import Event, from_values
from gpt.record import LOG_LINES, SAMPLES, Record, Written

if TYPE_CHECKING:
    from pathlib import Path

    from gpt.runs import Run

FORMAT = 3
"""To be counted up with whatever changes what is kept of a run or how it is folded."""
TAIL = 4096
"""Bytes before the place up to which it was read, by which a journal is known again."""
STRIDE = 1 << 20
"""Bytes of a journal that are folded at once while it is written."""
SECONDS = 60.0
"""Between two summaries at checkpoints, which are as large as a run is long, up to some MB."""
LARGEST = 1 << 26
"""Bytes; what is larger is not one of ours, and is not read into memory."""
UNREADABLE = (
    OSError, TypeError, ValueError, AttributeError, LookupError, OverflowError, RecursionError
)  # fmt: skip
"""What well-formed nonsense in a file can raise."""


class Folding:
    """A record, and how many bytes of its run's journal are folded into it."""

    def __init__(self, run: Run, record: Record, offset: int) -> None:
        self.run = run
        self.record = record
        self.offset = offset

    @classmethod
    def of(cls, run: Run) -> Folding:
        """What `summary.json` remembers, where it is whole and of this journal; else nothing."""
        with contextlib.suppress(*UNREADABLE), _path(run).open("rb") as file:
            headline = _read_headline(run, file)
            line = file.read(LARGEST)
            if _hash(line) == headline["record"]:
                return cls(run, decode(json.loads(b"{" + line)["record"]), headline["offset"])
        return cls(run, Record(), 0)

    def catch_up(self, told: Callable[[float], None] | None = None) -> bool:
        """Fold the lines that the journal has more; whether there were any.

        Args:
            told: called now and then with how much of it is read, from 0 to 1.

        Raises:
            OSError: the journal cannot be read.
            TypeError, ValueError, OverflowError: a line has nonsense in it.
        """
        if not self.run.journal.is_file():
            return False
        start, size = self.offset, self.run.journal.stat().st_size
        for lines in reader.whole_lines(self.run.journal, start):
            reader.fold(self.record, lines)
            self.offset += sum(map(len, lines))
            if told is not None:
                told(min(1.0, (self.offset - start) / max(1, size - start)))
        return self.offset > start

    def write(self) -> None:
        """Keep it in `summary.json`, where the folder can be written."""
        with contextlib.suppress(*UNREADABLE):
            record = f'"record": {json.dumps(encode(self.record))}}}\n'
            headline = headline_of(self.record) | {
                "offset": self.offset,
                "tail": _tail(self.run, self.offset),
                "record": _hash(record.encode("ascii")),
            }
            second = f'"headline": {json.dumps(headline)},\n'
            first = f'{{"format": {FORMAT}, "check": "{_hash(second.encode("ascii"))}",\n'
            disk.write(_path(self.run), first + second + record)

    def whole(self) -> Record:
        """The record with the journal's last line, if that lacks nothing but its end.

        That line may go on, so that nothing can be folded after it.
        """
        with contextlib.suppress(OSError), self.run.journal.open("rb") as file:
            file.seek(self.offset)
            event = reader.parse(file.readline(reader.LONGEST))
            if event is not None:
                self.record.fold(event)
        return self.record


class Keeper:
    """Keeps the summary of a run while its journal is written.

    It reads from the disk, so that what it folds is what anybody else would. It does so a little
    at a time, which costs a step some microseconds; a journal that it cannot read has no summary.
    """

    def __init__(self, run: Run, clock: Callable[[], float] = time.monotonic) -> None:
        self._run = run
        self._clock = clock
        self._kept_at = clock()
        self._folding: Folding | None = None
        self._behind = 0
        self._given_up = False

    def grew(self, size: int) -> None:
        """So many bytes were written."""
        self._behind += size
        if self._behind >= STRIDE:
            self._behind = 0
            self._catch_up()

    def keep_if_due(self) -> None:
        """Write the summary, if the one on the disk is older than `SECONDS`."""
        if self._clock() - self._kept_at >= SECONDS:
            self.keep()

    def keep(self) -> None:
        """Write the summary as of now."""
        folding = self._catch_up()
        if folding is not None:
            folding.write()
        self._kept_at = self._clock()

    def _catch_up(self) -> Folding | None:
        if self._given_up:
            return None
        try:
            self._folding = self._folding or Folding.of(self._run)
            self._folding.catch_up()
        except UNREADABLE:
            self._folding, self._given_up = None, True
        return self._folding


def headline_of(record: Record) -> dict[str, Any]:
    """What a table of runs says of one."""
    finished, best = record.finished, record.best
    losses = record.curve["loss"]
    return {
        "reason": finished.reason if finished else None,
        "phase": record.phase,
        "started": record.first_time,
        "seconds": record.seconds,
        "step": record.step,
        "max_iters": record.max_iters,
        "params": record.started.params if record.started else 0,
        "loss": next((loss for loss in reversed(losses) if loss == loss), None),
        "val_loss": record.evals[-1].val if record.evals else None,
        "best_val": best.val if best else None,
        "best_step": best.step if best else None,
        "error": finished.error if finished else None,
    }


def headline(run: Run) -> dict[str, Any] | None:
    """The same from `summary.json`, where that covers the journal to its end."""
    with contextlib.suppress(*UNREADABLE), _path(run).open("rb") as file:
        found = _read_headline(run, file)
        if found["offset"] == run.journal.stat().st_size:
            return found
    return None


def _read_headline(run: Run, file: BinaryIO) -> dict[str, Any]:
    """The first two lines.

    Raises:
        ValueError: they are damaged, or of another format or journal.
    """
    first = json.loads(file.readline(1000).rstrip(b",\n") + b"}")
    second = file.readline(reader.LONGEST)
    if first["format"] != FORMAT or first["check"] != _hash(second):
        raise ValueError("it is of another format, or damaged")
    found = cast(dict[str, Any], json.loads(b"{" + second.rstrip(b",\n") + b"}")["headline"])
    if found["tail"] != _tail(run, found["offset"]):
        raise ValueError("it is of another journal")
    return found


def _path(run: Run) -> Path:
    return run.path / "summary.json"


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _tail(run: Run, offset: int) -> str:
    """What is known of the journal's bytes just before `offset`.

    Raises:
        ValueError: it has not so many.
        OSError: it cannot be read.
    """
    size = min(TAIL, offset)
    with run.journal.open("rb") as file:
        file.seek(offset - size)
        content = file.read(size)
    if len(content) < size:
        raise ValueError("the journal is shorter")
    return _hash(content)


def encode(record: Record) -> dict[str, Any]:
    """The record as JSON data, from which `decode` makes one that is equal in every bit."""
    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    for name in ("started", "progress", "finished"):
        values[name] = _encode_event(values[name])
    for name in ("evals", "saved", "notices", "adjusted"):
        values[name] = [_encode_event(event) for event in values[name]]
    values["curve"] = _encode_curve(record.curve)
    values["samples"] = [dataclasses.asdict(sample) for sample in record.samples]
    values["log"] = list(record.log)
    return values


def decode(values: dict[str, Any]) -> Record:
    """The record of which `encode` made these values, which are used up."""
    for name in ("started", "progress", "finished"):
        values[name] = _decode_event(values[name])
    for name in ("evals", "saved", "notices", "adjusted"):
        values[name] = [_decode_event(event) for event in values[name]]
    values["curve"] = _decode_curve(values["curve"])
    values["samples"] = deque((Written(**sample) for sample in values["samples"]), SAMPLES)
    values["log"] = deque(((step, text) for step, text in values["log"]), LOG_LINES)
    return Record(**values)


def _encode_event(event: Event | None) -> dict[str, Any] | None:
    # Not by `to_json`, which has no word for infinity.
    if event is None:
        return None
    return {"event": type(event).__name__.lower()} | dataclasses.asdict(event)


def _decode_event(values: dict[str, Any] | None) -> Event | None:
    return None if values is None else from_values(values)


def _encode_curve(curve: Curve) -> dict[str, dict[str, str]]:
    """The numbers as they are in memory: as text they would take a second to read."""
    return {
        name: {key: base64.b64encode(_little(column)).decode() for key, column in part.items()}
        for name, part in curve.parts().items()
    }


def _decode_curve(values: dict[str, dict[str, str]]) -> Curve:
    curve = Curve()
    for name, part in curve.parts().items():
        for key, column in part.items():
            column.frombytes(base64.b64decode(values[name][key]))
            part[key] = _little(column)
    return curve


def _little(column: array[float]) -> array[float]:
    """The same numbers with their bytes in the order of the file, or back."""
    if sys.byteorder == "little":
        return column
    swapped = column[:]
    swapped.byteswap()
    return swapped
