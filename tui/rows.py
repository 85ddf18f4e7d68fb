"""Past runs as rows of a table: read from their folders, whatever state these are in."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gpt import presets
from gpt.errors import Refused
from gpt.history import Summary, folders, summarize
from gpt.names import short_name
from gpt.runs import Run
from gpt.settings import make_config, to_text
from gpt.summary import headline
from tui.numbers import clock, count, fixed

COLUMNS = ("name", "when", "state", "steps", "best val", "loss", "time", "params")
LONG = 4 << 20
"""Bytes of a journal that take a moment to read."""


@dataclass(frozen=True, slots=True)
class Row:
    """A run in the table; without a `summary` it is still being read, or `error` says why not."""

    path: Path
    time: float
    summary: Summary | None
    error: str = ""

    @property
    def state(self) -> str:
        """How the run ended, or that it has not, or that it cannot be read."""
        if self.summary:
            return self.summary.state
        return "unreadable" if self.error else "reading"

    def cells(self) -> dict[str, str]:
        """What each column shows, as plain text."""
        run = self.summary
        cells: dict[str, str] = dict.fromkeys(COLUMNS, "")
        when = time.strftime("%b %d %H:%M", time.localtime(self.time))
        cells.update({"name": short_name(self.path.name), "when": when, "state": self.state})
        if run:
            cells["steps"] = f"{run.step:,}/{run.max_iters:,}" if run.max_iters else f"{run.step:,}"
            cells["best val"] = fixed(run.best_val, 4)
            cells["loss"] = fixed(run.loss, 4)
            cells["time"] = clock(run.seconds)
            cells["params"] = count(run.params) if run.params else "-"
        return cells


def settings_of(path: Path) -> str:
    """What a run trains on and what makes it another than its preset, as `n_layer 6, seed 1`."""
    try:
        config = Run(path).config()
    except Refused:
        return ""
    try:
        usual = make_config(presets.find(short_name(path.name)).values).model_dump()
    except Refused:  # it was started from a file, or its preset is gone
        return config.dataset
    own = config.model_dump()
    changed = [name for name in own if own[name] != usual[name] and name != "dataset"]
    return ", ".join([config.dataset, *(f"{name} {to_text(own[name])}" for name in changed)])


def read_rows(root: Path) -> Iterator[list[Row]]:
    """A row for each run folder under `root`, the newest first.

    First without what only a long journal tells, then again each time one of those is read.

    Raises:
        RunError: `root` cannot be read.
    """
    paths = folders(root)
    long = [path for path in paths if _is_long(path)]
    rows = {path: Row(path, _changed(path), None) for path in long}
    rows |= {path: read_row(path) for path in paths if path not in rows}
    yield _newest_first(rows)
    for path in long:
        rows[path] = read_row(path)
        yield _newest_first(rows)


def _newest_first(rows: dict[Path, Row]) -> list[Row]:
    return sorted(rows.values(), key=lambda row: -row.time)


def _is_long(path: Path) -> bool:
    """Whether it takes a while to read the run, since it has no summary."""
    run = Run(path)
    try:
        return run.journal.stat().st_size > LONG and headline(run) is None
    except OSError:
        return False


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def read_row(path: Path) -> Row:
    """The row of one run folder, whatever state it is in."""
    changed = _changed(path)
    try:
        summary = summarize(Run(path))
        started = float(summary.started or changed)
        row = Row(path, started if math.isfinite(started) else changed, summary)
        row.cells()
    except Exception as error:  # a folder can be broken in any way; the others still show
        return Row(path, changed, None, f"{type(error).__name__}: {error}")
    return row
