"""Series as rows of characters. The only file that knows plotext."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

plotext: Any = import_module("plotext")  # it has no types

Run = tuple[str, str]
"""A role, which stands for a colour, and the text that has it."""

LEAST = (16, 4)
"""Columns and rows below which there is nothing to read."""
ASCII = str.maketrans("─│┌┐└┘├┤┬┴┼", "-|+++++++++")


@dataclass(frozen=True, slots=True)
class Series:
    """Points with a role, a marker ("braille" or a character), joined by a line or not."""

    role: str
    xs: Sequence[float]
    ys: Sequence[float]
    marker: str
    joined: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """What is visible in one direction; the labels of `ticks` have one width."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]


def draw(
    series: Sequence[Series], x: Axis, y: Axis, columns: int, rows: int, *, ascii: bool = False
) -> list[list[Run]]:
    """A chart of exactly `rows` rows of `columns` columns; later series lie over earlier ones.

    plotext keeps one figure for the whole process, so all of it is set anew each time. Each
    role is drawn in a colour number of its own, which is then read back: the colours that a
    person sees are the theme's.
    """
    if columns < LEAST[0] or rows < LEAST[1]:
        return [[("axis", " " * columns)] for _ in range(rows)]
    plotext.clear_figure()
    plotext.limit_size(False, False)
    plotext.plotsize(columns, rows)
    plotext.theme("clear")
    roles = {one.role: number for number, one in enumerate(series, start=1)}
    height = y.high - y.low
    for one in series:
        if len(one.xs):
            put = plotext.plot if one.joined else plotext.scatter
            # It draws a line dot by dot, also where nobody sees it: to where it is out of sight.
            ys = [min(y.high + height, max(y.low - height, value)) for value in one.ys]
            put(list(one.xs), ys, marker=one.marker, color=roles[one.role])
    plotext.xlim(x.low, x.high)
    plotext.ylim(y.low, y.high)
    plotext.xticks([value for value, _ in x.ticks], [text for _, text in x.ticks])
    plotext.yticks([value for value, _ in y.ticks], [text for _, text in y.ticks])
    plotext.xaxes(True, False)
    plotext.yaxes(True, False)
    names = {f"38;5;{number}": role for role, number in roles.items()}
    return [_runs(row, names, ascii) for row in plotext.build().split("\n")[:rows]]


def _runs(row: str, names: dict[str, str], ascii: bool) -> list[Run]:
    """One row's escape sequences as roles: ten times quicker than `Text.from_ansi`."""
    runs: list[Run] = []
    first, *coloured = row.split("\x1b[")
    for code, text in [("0", first), *(piece.split("m", 1) for piece in coloured)]:
        if text:
            runs.append((names.get(code, "axis"), text.translate(ASCII) if ascii else text))
    return runs
