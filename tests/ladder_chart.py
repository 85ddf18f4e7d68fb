"""A chart of losses over seconds as SVG: a labelled line for each run, rungs as thin lines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

SIZE = 860, 520
LEFT, RIGHT, TOP, BOTTOM = 60, 180, 20, 50
"""Margins; the labels of runs that end last are in the right one."""
HIGHEST = 2.4
"""Losses above are left out, unless a run never gets below."""
COLOURS = "#555555", "#0072b2", "#c84b00", "#007d5c", "#a8558c", "#8a6100"
"""nanoGPT's is grey. The hues of Okabe and Ito (2008), which most eyes tell apart, made dark."""
FONT = 13
LETTER = 8.2
"""About the width of a bold letter."""
LEADING = 16

Line = Sequence[tuple[float, float]]
"""Seconds and losses."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Where seconds and losses are on the picture."""

    seconds: tuple[float, float]
    losses: tuple[float, float]

    @classmethod
    def of(cls, lines: Mapping[str, Line], rungs: Sequence[float]) -> Scale:
        """One that shows the rungs and every run from where it falls below `HIGHEST`."""
        ends = [min(loss for _, loss in line) for line in lines.values()]
        highest = max(HIGHEST, *(end + 0.1 for end in ends))
        shown = [s for line in lines.values() for s, loss in line if loss <= highest]
        return cls((min(shown) / 1.1, max(shown) * 1.1), (min(*rungs, *ends) - 0.06, highest))

    def x(self, seconds: float) -> float:
        low, high = map(math.log, self.seconds)
        return LEFT + (math.log(seconds) - low) / (high - low) * (SIZE[0] - LEFT - RIGHT)

    def y(self, loss: float) -> float:
        low, high = self.losses
        return TOP + (high - loss) / (high - low) * (SIZE[1] - TOP - BOTTOM)


def drawn(lines: Mapping[str, Line], rungs: Sequence[float]) -> str:
    """The chart as the text of an SVG file.

    Args:
        lines: each run's seconds, above 0, and losses, in order.
        rungs: losses that are marked.
    """
    scale = Scale.of(lines, rungs)
    width, height = SIZE
    box = f"0 0 {width} {height}"
    svg = Element("svg", xmlns="http://www.w3.org/2000/svg", viewBox=box, role="img")
    svg.set("font-family", "DejaVu Sans, Helvetica, Arial, sans-serif")
    svg.set("font-size", str(FONT))
    SubElement(svg, "title").text = "Validation loss over seconds of training"
    add(svg, "rect", width=width, height=height, fill="white")
    add_axes(svg, scale, rungs)
    clip = add(svg, "clipPath", id="plot")
    add(clip, "rect", x=LEFT, y=TOP, width=width - LEFT, height=height - TOP - BOTTOM)
    for colour, line in zip(cycle(COLOURS), lines.values(), strict=False):
        points = " ".join(f"{scale.x(s):.1f},{scale.y(loss):.1f}" for s, loss in line)
        add(
            svg, "polyline", points=points, fill="none", stroke=colour, stroke_width=2,
            stroke_linejoin="round", clip_path="url(#plot)",
        )  # fmt: skip
    ends = {run: (scale.x(line[-1][0]), scale.y(line[-1][1])) for run, line in lines.items()}
    places = apart(ends)
    for colour, (run, (x, y)) in zip(cycle(COLOURS), ends.items(), strict=False):
        add(svg, "circle", cx=x, cy=y, r=3.5, fill=colour)
        add_text(svg, run, *places[run], fill=colour, font_weight="bold")
    ElementTree.indent(svg)
    return ElementTree.tostring(svg, encoding="unicode") + "\n"


def add_axes(svg: Element, scale: Scale, rungs: Sequence[float]) -> None:
    """The rungs, and what the axes say."""
    right, bottom = SIZE[0] - RIGHT, SIZE[1] - BOTTOM
    for rung in rungs:
        y = scale.y(rung)
        add(svg, "line", x1=LEFT, x2=right, y1=y, y2=y, stroke="#bbbbbb", stroke_width=0.7)
        add_text(svg, f"{rung:.2f}", LEFT - 8, y + 4, text_anchor="end", font_size=FONT - 2)
    for loss in ticks(max(rungs), scale.losses[1]):
        add_text(
            svg, f"{loss:.1f}", LEFT - 8, scale.y(loss) + 4, text_anchor="end",
            font_size=FONT - 2, fill="#777777",
        )  # fmt: skip
    add(svg, "line", x1=LEFT, x2=right, y1=bottom, y2=bottom, stroke="#555555")
    low, high = scale.seconds
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for seconds in (digit * 10.0**power for digit in (1, 2, 5)):
            if low <= seconds <= high:
                x = scale.x(seconds)
                add(svg, "line", x1=x, x2=x, y1=bottom, y2=bottom + 5, stroke="#555555")
                add_text(svg, f"{seconds:g}", x, bottom + 20, text_anchor="middle")
    middle = (LEFT + right) / 2
    add_text(svg, "seconds of training", middle, SIZE[1] - 8, text_anchor="middle")
    turned = f"rotate(-90 14 {SIZE[1] / 2:g})"
    add_text(svg, "exact validation loss", 14, SIZE[1] / 2, text_anchor="middle", transform=turned)


def ticks(low: float, high: float) -> list[float]:
    """Fifths above the rungs; fewer of them where the range is large."""
    first, last = math.floor(5 * low) + 1, math.floor(5 * high)
    return [fifths / 5 for fifths in range(first, last + 1, max(1, (last - first) // 5))]


def apart(ends: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
    """Where the label of each line starts: right of its end, higher where another one is.

    One that is too long for that is below the end.
    """
    places: dict[str, tuple[float, float]] = {}
    for run, (x, y) in sorted(ends.items(), key=lambda item: -item[1][1]):
        left, base = x + 8, y + 4
        most = SIZE[0] - LETTER * len(run)
        if left > most:
            left, base = max(0.0, most), base + LEADING
        for other, (start, line) in places.items():
            beside = left < start + LETTER * len(other) and start < left + LETTER * len(run)
            if beside and base > line - LEADING:
                base = line - LEADING
        places[run] = left, base
    return places


def add_text(parent: Element, text: str, x: float, y: float, **attributes: object) -> None:
    """Text that stays legible where a line crosses it."""
    halo = {"stroke": "white", "stroke_width": 4, "stroke_linejoin": "round"}
    attributes = {"fill": "#333333", **halo, "paint_order": "stroke", **attributes}
    add(parent, "text", x=x, y=y, **attributes).text = text


def add(parent: Element, tag: str, **attributes: object) -> Element:
    """An element whose attributes have hyphens for underlines and few decimals."""
    texts = {
        name.replace("_", "-"): f"{value:.1f}" if isinstance(value, float) else str(value)
        for name, value in attributes.items()
    }
    return SubElement(parent, tag, texts)
