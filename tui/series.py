"""Curves as they are prepared for drawing: smoothed, thinned, and the range that shows them."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence

Points = tuple[Sequence[float], Sequence[float]]
"""x in ascending order, and y."""

ROOM = 0.4
"""How much height a steep beginning may add to what the rest needs."""


def smooth(xs: Sequence[float], ys: Sequence[float], span: float) -> list[float]:
    """The exponential moving average of `ys` with a memory of `span`, in units of `xs`.

    A point weighs 1 - exp(-gap / span), where gap is its distance from the one before, so that
    a curve with fewer points is smoothed alike. Weights are divided by their sum, which takes
    away the pull of the beginning. A nan stays nan and weighs nothing. A `span` of 0 does not
    smooth.
    """
    if span <= 0 or len(xs) < 2:
        return list(ys)
    smoothed: list[float] = []
    total = weight = 0.0
    before = 2 * xs[0] - xs[1]
    gap = keep = math.nan
    for x, y in zip(xs, ys, strict=True):
        if y != y:
            smoothed.append(y)
            continue
        if x - before != gap:
            gap = x - before
            keep = math.exp(-gap / span)
        total = keep * total + (1 - keep) * y
        weight = keep * weight + (1 - keep)
        before = x
        smoothed.append(total / weight if weight else y)
    return smoothed


def thin(xs: Sequence[float], ys: Sequence[float], columns: int) -> tuple[list[float], list[float]]:
    """At most two points for each of `columns` bins: its lowest and its highest, in order.

    So nothing that stands out is lost. Points that are nan go. The very last point stays, since
    it is what one looks for first.
    """
    if math.isnan(sum(ys)):
        known = [(x, y) for x, y in zip(xs, ys, strict=True) if y == y]
        xs, ys = [x for x, _ in known], [y for _, y in known]
    if len(xs) <= 2 * columns:
        return list(xs), list(ys)
    width = (xs[-1] - xs[0]) / columns
    kept: list[int] = []
    start = 0
    for column in range(columns):
        last = column == columns - 1
        end = len(xs) if last else bisect_left(xs, xs[0] + (column + 1) * width, start)
        if end > start:
            part = ys[start:end]
            kept.extend(sorted({start + part.index(min(part)), start + part.index(max(part))}))
        start = end
    if kept[-1] != len(xs) - 1:
        kept.append(len(xs) - 1)
    return [xs[i] for i in kept], [ys[i] for i in kept]


def within(
    xs: Sequence[float], ys: Sequence[float], low: float, high: float, *, joined: bool
) -> tuple[list[float], list[float]]:
    """The points with low <= x <= high; of a joined curve also where it enters and leaves."""
    start, end = bisect_left(xs, low), bisect_right(xs, high)
    inside = list(xs[start:end]), list(ys[start:end])
    if joined and start > 0:
        inside[0].insert(0, low)
        inside[1].insert(0, at(xs, ys, low))
    if joined and end < len(xs):
        inside[0].append(high)
        inside[1].append(at(xs, ys, high))
    return inside


def fit(curves: Iterable[Points], start: float, end: float, steep: float) -> tuple[float, float]:
    """The y range that shows these curves between x = `start` and x = `end`.

    What lies before x = `steep` counts only so far, and runs off the chart: the steep beginning
    of a run would flatten what one wants to read.
    """
    early: list[float] = []
    late: list[float] = []
    for xs, ys in curves:
        for x, y in zip(xs, ys, strict=True):
            if start <= x <= end and math.isfinite(y):
                (early if x < steep else late).append(y)
    rest = late if len(late) > 2 else late + early
    if not rest:
        return 0.0, 1.0
    low, high = min(rest), max(rest)
    room = ROOM * (high - low)
    low, high = (
        min(low, max(low - room, min(early, default=low))),
        max(high, min(high + room, max(early, default=high))),
    )
    margin = 0.04 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def trim(ys: Sequence[float], share: float = 0.02) -> tuple[float, float]:
    """The values below and above which `share` of `ys` lie: a range without its odd ones out."""
    known = sorted(y for y in ys if math.isfinite(y))
    if not known:
        return math.nan, math.nan
    odd = int(share * len(known))
    return known[odd], known[-1 - odd]


def at(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    """y at `x` on the line through the points; before the first and after the last, theirs."""
    if not len(xs):
        return math.nan
    right = bisect_left(xs, x)
    if right == 0 or right == len(xs):
        return ys[0] if right == 0 else ys[-1]
    x0, x1, y0, y1 = xs[right - 1], xs[right], ys[right - 1], ys[right]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0) if x1 > x0 else y1
