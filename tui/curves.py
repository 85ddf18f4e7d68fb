"""What the chart shows: a record's curves, fitted to a number of columns and rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gpt.record import Record
from gpt.reference import Reference
from tui import axes, numbers, plot, series
from tui.layout import SMOOTHING, Layout
from tui.lines import Row, Run
from tui.plot import Axis, Series
from tui.series import Points

TITLES = {
    "loss": "loss",
    "lr": "learning rate",
    "grad_norm": "gradient norm",
    "tokens_per_s": "tokens a second",
}
STEEP = 0.1
"""The share of a whole run that may run off the chart when it is steep."""
REFERENCE_SPAN = 0.02
"""How much the reference is smoothed, as a share of its length: it is a background."""
TINY = 1e-15
"""What a logarithmic axis takes for nothing."""
LABEL = 7
"""Columns for the numbers of the y axis, always the same, so that nothing jumps."""
MARKERS = {"raw": "braille", "smooth": "braille", "val": "♦", "reference": "⠒"}
ASCII_MARKERS = {"raw": ".", "smooth": "*", "val": "o", "reference": "-"}
LEGEND = {"raw": "⠢⠔", "smooth": "⠤⠤", "val": "♦", "reference": "⠒⠒"}
ASCII_LEGEND = {"raw": "..", "smooth": "**", "val": "o", "reference": "--"}


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawn chart, and which column of it stands for which x."""

    rows: list[Row]
    low: float
    high: float
    left: int
    columns: int

    def column(self, x: float) -> int | None:
        """The column of the widget that shows `x`, where one does."""
        if not self.low <= x <= self.high or self.columns < 2:
            return None
        place = (self.columns - 1) * (x - self.low) / (self.high - self.low)
        return self.left + math.floor(0.5 + place)

    def x(self, column: int) -> float:
        """The x that a column of the widget stands for."""
        share = (column - self.left) / max(1, self.columns - 1)
        return self.low + (self.high - self.low) * min(1.0, max(0.0, share))


class Curves:
    """The curves of a record on the axes that a layout asks for.

    Args:
        reference: the curve behind them, as `background` makes it.
    """

    def __init__(self, record: Record, reference: Points | None, layout: Layout) -> None:
        self.record = record
        self.layout = layout
        # Copies: the record grows between drawing a curve and reading a value from it.
        self.steps: Sequence[float] = record.curve["step"][:]
        self.along: Sequence[float] = record.curve[layout.axis][:]
        self.raw: Sequence[float] = record.curve[layout.metric][:]
        # Where a long run was thinned, the least and the greatest of each bin: spikes stay.
        self.dots: Points = record.curve.spread(layout.axis, layout.metric)
        self.span = span_of(record, layout)
        self.smooth = series.smooth(self.steps, self.raw, self.span)
        self.marks: Points = ([], [])
        self.reference: Points = ([], [])
        if layout.metric == "loss":
            known = [(event.step or 0, event.val) for event in record.evals]
            self.marks = _unzip((self.x_of(s), y) for s, y in known if y is not None)
            if reference is not None:
                steps, losses = reference
                if layout.axis == "step":
                    self.reference = steps, losses
                elif len(self.steps):  # before, nothing tells when a step will be
                    self.reference = [self.x_of(s) for s in steps], losses

    def x_of(self, step: float) -> float:
        """Where a step lies on the x axis; one that has not come yet as if the pace stayed."""
        if self.layout.axis == "step" or not len(self.steps):
            return float(step)
        last = self.steps[-1]
        if step > last > 0:
            return self.along[-1] * step / last
        return series.at(self.steps, self.along, step)

    def span_of_x(self) -> tuple[float, float, float]:
        """The visible range, and how far in it the run has come."""
        if not len(self.steps):
            # Of a run without a pace, only the steps to come are known.
            steps = self.record.max_iters if self.layout.axis == "step" else 0
            end = float(steps or max(self.reference[0], default=1.0))
            return 0.0, end, end
        last = max([self.along[-1], *self.marks[0][-1:]])
        first = 0.0 if self.along[0] < 0.1 * last else self.along[0]
        if last <= first:
            return first, first + 1.0, first + 1.0
        if self.layout.window:
            return last - (last - first) / 2**self.layout.window, last, last
        if self.record.finished is not None or not self.record.max_iters:
            return first, last, last
        return first, max(last, min(axes.ahead(last), self.x_of(self.record.max_iters))), last

    def picture(self, columns: int, rows: int, *, ascii: bool = False) -> Picture:
        """All of it in a chart of so many columns and rows."""
        low, high, last = self.span_of_x()
        inside = max(1, columns - LABEL - 1)
        looks = ASCII_MARKERS if ascii else MARKERS
        shown: list[Series] = []
        for role, points in self._by_role().items():
            joined = role in ("smooth", "reference")
            visible = series.within(*points, low, high, joined=joined)
            xs, ys = self._scaled(*series.thin(*visible, inside))
            shown.append(Series(role, xs, ys, looks[role], joined and len(xs) > 1))
        fitted = [(one.xs, _without_odd(one.ys) if one.role == "raw" else one.ys) for one in shown]
        steep = low if self.layout.window else low + STEEP * (last - low)
        bottom, top = series.fit(fitted, low, high, steep)
        x = Axis(low, high, self._x_ticks(low, high, max(2, inside // 10)))
        y = Axis(bottom, top, self._y_ticks(bottom, top, max(2, (rows - 2) // 3)))
        drawn = plot.draw(shown, x, y, columns, rows, ascii=ascii)
        return Picture(list(drawn), low, high, LABEL + 1, inside)

    def legend(self, step: int | None, room: int, *, ascii: bool = False) -> list[Run]:
        """What each marker means and its value at `step`, or now, in at most `room` columns."""
        at = self.record.step if step is None else step
        marks = ASCII_LEGEND if ascii else LEGEND
        values = {
            "smooth": self.train_at(at),
            "val": next((e.val for e in reversed(self.record.evals) if (e.step or 0) <= at), None),
            "reference": series.at(*self.reference, self.x_of(at)),
        }
        names = {"smooth": "train", "val": "val", "reference": "reference"}
        if self.layout.metric != "loss":
            values, names = {"smooth": values["smooth"]}, {"smooth": ""}
        runs: list[Run] = []
        for role, value in values.items():
            text = self._format(value)
            if text == numbers.UNKNOWN:
                continue
            more: list[Run] = [(role, f"  {marks[role]} "), ("muted", f"{names[role]} ".lstrip())]
            more.append(("plain", text))
            if sum(len(text) for _, text in (*runs, *more)) <= room:
                runs += more
        return runs

    def train_at(self, step: float) -> float:
        """The smoothed value at a step."""
        return series.at(self.steps, self.smooth, step)

    def _by_role(self) -> dict[str, Points]:
        """From the back to the front."""
        drawn_already = self.smooth == list(self.raw) and len(self.dots[0]) == len(self.raw)
        raw: Points = ([], []) if drawn_already else self.dots
        return {
            "reference": self.reference,
            "raw": raw,
            "smooth": (self.along, self.smooth),
            "val": self.marks,
        }

    def _scaled(self, xs: list[float], ys: list[float]) -> tuple[list[float], list[float]]:
        if not self.layout.log:
            return xs, ys
        return _unzip((x, math.log10(y)) for x, y in zip(xs, ys, strict=True) if y > TINY)

    def _x_ticks(self, low: float, high: float, most: int) -> list[axes.Tick]:
        return (axes.time_ticks if self.layout.axis == "seconds" else axes.ticks)(low, high, most)

    def _y_ticks(self, low: float, high: float, most: int) -> list[axes.Tick]:
        found = axes.log_ticks(10**low, 10**high, most) if self.layout.log else []
        found = found or axes.ticks(low, high, most)
        return [(value, f"{text:>{LABEL - 1}} ") for value, text in found]

    def _format(self, value: float | None) -> str:
        match self.layout.metric:
            case "lr":
                return numbers.rate(value)
            case "tokens_per_s":
                return numbers.fixed(value, 0)
            case _:
                return numbers.fixed(value, 4)


def background(reference: Reference) -> Points:
    """The steps and smoothed losses of a reference: the same for every drawing."""
    steps, losses = reference.steps, reference.loss
    if not steps:
        steps, losses = reference.eval_steps, reference.val_loss
    span = REFERENCE_SPAN * max(steps, default=0)
    return [float(step) for step in steps], series.smooth(steps, losses, span)


def span_of(record: Record, layout: Layout) -> float:
    """The memory of the moving average in steps: a share of the run, at most a tenth of what is
    done, so that the first minute is not hidden. A learning rate needs none."""
    if layout.metric == "lr":
        return 0.0
    share = SMOOTHING[layout.smoothing]
    return min(share * max(record.max_iters, record.step), 0.1 * record.step)


def _unzip(points: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    xs: list[float] = []
    ys: list[float] = []
    for x, y in points:
        xs.append(x)
        ys.append(y)
    return xs, ys


def _without_odd(ys: Sequence[float]) -> list[float]:
    """The values with the odd ones out held back, so that one spike does not set the range."""
    low, high = series.trim(ys)
    return [min(high, max(low, y)) for y in ys]
