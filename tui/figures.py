"""The figures of a run as they are now, each with its course so far."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from gpt.record import Curve, Record
from tui import numbers
from tui.lines import Row
from tui.panes import Pane
from tui.series import trim

LABEL, VALUE, UNIT = 13, 9, 9


class Figures(Pane):
    """What the last logged step says."""

    TITLE = "now"

    def rows_of(self, record: Record, width: int) -> list[Row]:
        spark = min(24, width - LABEL - VALUE - UNIT - 1)
        return [
            _row(label, value, unit, _spark(record.curve, name, 0 if self.ascii else spark))
            for label, value, unit, name in figures(record)
        ]


def figures(record: Record) -> list[tuple[str, str, str, str]]:
    """Label, value, unit and the curve's column, each as shown."""
    last = {name: column[-1] for name, column in record.curve.columns.items() if len(column)}
    known = last.get
    memory, unit = numbers.size(known("memory"))
    return [
        ("loss", numbers.fixed(known("loss"), 4), trend(record.curve), "loss"),
        ("lr", numbers.rate(known("lr")), "", "lr"),
        ("grad norm", numbers.fixed(known("grad_norm"), 2), "", "grad_norm"),
        ("step time", numbers.fixed(known("ms"), 1), "ms", "ms"),
        ("tokens/s", numbers.fixed(known("tokens_per_s"), 0), "", "tokens_per_s"),
        ("peak share", numbers.percent(known("mfu")), "%", "mfu"),
        ("memory", memory, unit, "memory"),
        ("tokens seen", numbers.count(known("tokens", 0.0)), "", ""),
        ("time worked", numbers.clock(known("seconds", 0.0)), "", ""),
    ]


def trend(curve: Curve) -> str:
    """How the mean loss of the last tenth of the run differs from that of the tenth before."""
    steps, loss = curve["step"], curve["loss"]
    if len(steps) < 20:
        return ""
    tenth = (steps[-1] - steps[0]) / 10
    middle, start = (bisect_left(steps, steps[-1] - n * tenth) for n in (1, 2))
    before, after = loss[start:middle], loss[middle:]
    if not before or not sum(before):
        return ""
    change = 100 * (sum(after) / len(after)) / (sum(before) / len(before)) - 100
    return f"{change:+.1f} %" if abs(change) < 1000 else ""


def _row(label: str, value: str, unit: str, spark: str) -> Row:
    role = "strong" if label == "loss" else "plain"
    shown = unit if value != numbers.UNKNOWN else ""
    return [
        ("muted", f"{label:<{LABEL}}"),
        (role, f"{value:>{VALUE}}"),
        ("muted", f" {shown:<{UNIT}}"),
        ("raw", spark),
    ]


def _spark(curve: Curve, name: str, columns: int) -> str:
    """The whole course of a figure, from every so many points: it is a hint, not a reading."""
    if columns < 4 or not name or len(curve) < 4:
        return ""
    stride = max(1, len(curve) // (16 * columns))
    return sparkline(curve["step"][::stride], curve[name][::stride], columns)


def sparkline(xs: Sequence[float], ys: Sequence[float], columns: int) -> str:
    """A line of `columns` braille characters through the points, four dots high."""
    low, high = trim(ys)
    if not xs or xs[-1] <= xs[0] or not math.isfinite(low):
        return ""
    cells = [0] * columns
    start = 0
    level = 0.5
    for half in range(2 * columns):
        edge = xs[0] + (xs[-1] - xs[0]) * (half + 1) / (2 * columns)
        end = max(start, bisect_right(xs, edge))
        known = [y for y in ys[start:end] if math.isfinite(y)]
        if known and high > low:
            level = (sum(known) / len(known) - low) / (high - low)
        cells[half // 2] |= _DOTS[half % 2][min(3, max(0, round(3 * level)))]
        start = end
    return "".join(chr(0x2800 + cell) for cell in cells)


_DOTS = ((0x40, 0x04, 0x02, 0x01), (0x80, 0x20, 0x10, 0x08))
"""Braille dots of the left and the right half, from the bottom up."""
