"""Axes: where the ticks go and what they say."""

from __future__ import annotations

import math

from tui.numbers import clock

Tick = tuple[float, str]

STEPS = (1, 2, 2.5, 5)
TIMES = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
DAY = 86400
ENDS = (1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)


def ticks(low: float, high: float, most: int) -> list[Tick]:
    """At most `most` round numbers between `low` and `high`, for a `most` of 2 or more."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    steps = [m * scale for scale in (power, 10 * power, 100 * power) for m in STEPS]
    step = next(step for step in steps if len(_multiples(step, low, high)) <= most)
    small = step < 1e-3 and high < 0.1
    return [
        (number * step, label(number * step, step, scientific=small))
        for number in _multiples(step, low, high)
    ]


def log_ticks(low: float, high: float, most: int) -> list[Tick]:
    """At most `most` round numbers between the positive `low` and `high`, at their logarithms."""
    if high / low < 10:
        return [(math.log10(value), text) for value, text in ticks(low, high, most) if value > 0]
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    chosen: list[float] = []
    for mantissas in ((1,), (1, 3), (1, 2, 5)):
        found = [m * 10.0**decade for decade in decades for m in mantissas]
        found = [value for value in found if low <= value <= high]
        if not chosen or len(found) <= most:
            chosen = found
    chosen = chosen[:: math.ceil(len(chosen) / most)]
    return [(math.log10(value), label(value, value, scientific=low < 1e-3)) for value in chosen]


def time_ticks(low: float, high: float, most: int) -> list[Tick]:
    """At most `most` round times between `low` and `high`, in seconds."""
    days = [DAY * m * 10**power for power in range(12) for m in (1, 2, 5)]
    steps = (*TIMES, *days)
    step = next((s for s in steps if len(_multiples(s, low, high)) <= most), steps[-1])
    return [(number * step, clock(number * step)) for number in _multiples(step, low, high)[:most]]


def ahead(end: float) -> float:
    """A round number at or a little after `end`, for an axis that need not move all the time."""
    if end <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(end))
    return next(m * power for m in ENDS if m * power >= end * (1 - 1e-9))


def label(value: float, step: float, *, scientific: bool = False) -> str:
    """A number as short as it can be, where its neighbours are `step` away."""
    size = abs(value)
    if size < step * 1e-6:
        return "0"
    if scientific or size >= 1e15:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    for unit, name in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if size >= unit:
            return f"{value / unit:.{_decimals(step / unit)}f}{name}"
    if size >= 1e4:
        return f"{value / 1e3:.{_decimals(step / 1e3)}f}k"
    return f"{value:,.{_decimals(step)}f}"


def _multiples(step: float, low: float, high: float) -> range:
    """Which multiples of `step` lie between `low` and `high`."""
    return range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)


def _decimals(step: float) -> int:
    return next((n for n in range(4) if abs(step * 10**n - round(step * 10**n)) < 1e-6), 4)
