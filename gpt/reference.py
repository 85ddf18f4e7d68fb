"""The reference curve of a preset: what a known run of it reached, as a CSV file.

The columns are `kind,step,train_loss,val_loss`. A row of kind `iter` is one logged training
step, a row of kind `eval` one evaluation of both splits. Losses are in nats a token.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from gpt.text import visible

MAX_BYTES = 16 << 20
LARGEST_STEP = 10**12
LARGEST_LOSS = 1e9
COLUMNS = ("kind", "step", "train_loss", "val_loss")


class CurveError(ValueError):
    """A reference curve that cannot be read, told for the person who put it there."""


@dataclass(slots=True)
class Reference:
    """Losses of a known run, each list with its steps, in ascending order."""

    steps: list[int] = field(default_factory=list[int])
    loss: list[float] = field(default_factory=list[float])
    eval_steps: list[int] = field(default_factory=list[int])
    val_loss: list[float] = field(default_factory=list[float])


def read(path: Path) -> Reference:
    """The reference curve in a CSV file. Rows of another kind are passed over.

    Raises:
        CurveError: the file cannot be read, lacks a column, or has a row that is no point.
    """
    name = visible(str(path))
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise CurveError(f"{name} is larger than {MAX_BYTES >> 20} MiB; that is no curve.")
        rows = sorted(_rows(raw.decode("utf-8")))
    except OSError as error:
        raise CurveError(f"{name} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise CurveError(f"{name} is not text: byte {error.start} is not UTF-8.") from None
    except _Row as error:
        raise CurveError(f"{name}: {error}") from None
    reference = Reference()
    for step, kind, loss in rows:
        if kind == "iter":
            reference.steps.append(step)
            reference.loss.append(loss)
        else:
            reference.eval_steps.append(step)
            reference.val_loss.append(loss)
    return reference


class _Row(Exception):  # noqa: N818 - carries words, and never leaves this module
    pass


def _rows(text: str) -> Iterator[tuple[int, str, float]]:
    reader = csv.DictReader(text.splitlines())
    try:
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise _Row(f"there is no column {missing[0]}. It needs {', '.join(COLUMNS)}.")
        for row in reader:
            column = {"iter": "train_loss", "eval": "val_loss"}.get(row["kind"])
            if column is not None:
                yield _step(row["step"], reader.line_num), row["kind"], _loss(row, column, reader)
    except csv.Error as error:
        raise _Row(f"line {reader.line_num} is not CSV: {error}.") from None


def _step(text: str | None, line: int) -> int:
    try:
        step = int(text or "")
    except ValueError:
        step = -1
    if not 0 <= step <= LARGEST_STEP:
        shown = repr((text or "")[:40])
        raise _Row(f"line {line}: step {shown} cannot be used. Allowed: a whole number from 0.")
    return step


def _loss(row: dict[str, str], column: str, reader: csv.DictReader[str]) -> float:
    text = row[column]
    try:
        loss = float(text or "")
    except ValueError:
        loss = math.nan
    if not abs(loss) <= LARGEST_LOSS:
        shown = repr((text or "")[:40])
        raise _Row(f"line {reader.line_num}: {column} {shown} cannot be used. Allowed: a loss.")
    return loss
