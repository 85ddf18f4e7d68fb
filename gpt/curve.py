"""The logged steps of a run in bounded memory, as long as the run may be."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate, groupby, pairwise
from operator import itemgetter
from typing import Any

from gpt.events import Step

CURVE_POINTS = 16384
NAN = float("nan")


class Curve:
    """The logged steps, a column a figure.

    When it is full, steps are put in bins, all of one width, and each bin becomes one point: its
    last step, and the least and the greatest that it saw of the figures that jump about. So the
    whole run is there alike, no spike is lost, what came since is whole, and every value is one
    that was logged. Unknown figures are nan.

    Args:
        capacity: points that are kept at most, 4 or more.

    Attributes:
        columns: the figures of each point.
        low, high: the least and the greatest value since the point before, of `JUMPY` figures.
    """

    COLUMNS = ("step", "time", "loss", "lr", "grad_norm", "ms", "tokens_per_s", "mfu",
               "tokens", "seconds", "memory")  # fmt: skip
    JUMPY = ("loss", "grad_norm", "tokens_per_s")

    def __init__(self, capacity: int = CURVE_POINTS) -> None:
        self.capacity = capacity
        self.columns = {name: array("d") for name in self.COLUMNS}
        self.low = {name: array("d") for name in self.JUMPY}
        self.high = {name: array("d") for name in self.JUMPY}

    def __len__(self) -> int:
        return len(self.columns["step"])

    def __getitem__(self, name: str) -> array[float]:
        return self.columns[name]

    def parts(self) -> dict[str, dict[str, array[float]]]:
        """All there is to it."""
        return {"columns": self.columns, "low": self.low, "high": self.high}

    def append(self, event: Step) -> None:
        """Add one point, thinning all of them when there is no room."""
        for name, column in self.columns.items():
            value = getattr(event, name)
            column.append(NAN if value is None else value)
        self._widen(1)
        if len(self) > self.capacity:
            self._thin()

    def extend(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add many points at once, each with all figures of a `Step` by name."""
        start = 0
        while start < len(rows):
            some = rows[start : start + self.capacity + 1 - len(self)]
            for name, column in self.columns.items():
                values = list(map(itemgetter(name), some))
                if None in values:
                    values = [NAN if value is None else value for value in values]
                column.extend(values)
            self._widen(len(some))
            if len(self) > self.capacity:
                self._thin()
            start += len(some)

    def until(self, step: int) -> Curve:
        """The points up to and including `step`.

        A point that stands for a bin goes with the bin's last step.
        """
        end = bisect_right(self.columns["step"], step)
        past = Curve(self.capacity)
        past.columns = {name: column[:end] for name, column in self.columns.items()}
        past.low = {name: column[:end] for name, column in self.low.items()}
        past.high = {name: column[:end] for name, column in self.high.items()}
        return past

    def spread(self, axis: str, name: str) -> tuple[array[float], array[float]]:
        """The points along `axis` with all that a figure's bins saw: the least, the greatest."""
        along = self.columns[axis]
        low, high = self.low.get(name), self.high.get(name)
        if low is None or high is None or low == high:
            return along[:], self.columns[name][:]
        xs, ys = along + along, low + high
        xs[::2], xs[1::2], ys[::2], ys[1::2] = along, along, low, high
        return xs, ys

    def _widen(self, count: int) -> None:
        """The newest points are bins of one step."""
        for name in self.JUMPY:
            newest = self.columns[name][-count:]
            self.low[name].extend(newest)
            self.high[name].extend(newest)

    def _thin(self) -> None:
        """Make room: a point for each of at most half as many bins.

        Bins are a power of two wide and begin at its multiples, so that the bins of the next time
        are made of whole ones of this time.
        """
        bins = in_bins(self.columns["step"], self.capacity // 2)
        for name in self.JUMPY:
            self.low[name] = _each(self.low[name], bins, min)
            self.high[name] = _each(self.high[name], bins, max)
        for name, column in self.columns.items():
            self.columns[name] = array("d", [column[end - 1] for _, end in bins])


def in_bins(steps: Sequence[float], count: int) -> list[tuple[int, int]]:
    """Where the bins begin and end that the steps of a run fall into: `count` at most, and two.

    Steps in no order, which are of no run, go in pairs.
    """
    reach = (max(steps) - min(steps)) / count
    width = 2.0 ** math.ceil(math.log2(reach)) if 1 < reach < math.inf else 1.0
    sizes = [len(list(same)) for _, same in groupby(steps, lambda step: step // width)]
    if len(sizes) > count + 2:
        sizes = [2] * (len(steps) // 2) + [1] * (len(steps) % 2)
    return list(pairwise(accumulate(sizes, initial=0)))


def _each(
    column: array[float], bins: Iterable[tuple[int, int]], extreme: Callable[[list[float]], float]
) -> array[float]:
    """The least, or the greatest, known value of each bin."""
    values = array("d")
    for start, end in bins:
        if end - start == 1:
            values.append(column[start])
        else:
            known = [value for value in column[start:end] if value == value]
            values.append(extreme(known) if known else NAN)
    return values
