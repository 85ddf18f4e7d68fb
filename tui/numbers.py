"""Numbers as a person reads them, with widths that do not change from one to the next."""

from __future__ import annotations

import math

UNKNOWN = "-"


def fixed(value: float | None, decimals: int) -> str:
    """With so many decimals; a dash when it is not known."""
    return UNKNOWN if value is None or not math.isfinite(value) else f"{value:,.{decimals}f}"


def rate(value: float | None) -> str:
    """A learning rate: 5.1e-04."""
    return UNKNOWN if value is None or not math.isfinite(value) else f"{value:.1e}"


def percent(share: float | None, decimals: int = 0) -> str:
    """A share as a percentage, without the sign."""
    return fixed(None if share is None else 100 * share, decimals)


def size(amount: float | None) -> tuple[str, str]:
    """Bytes as a number and its unit."""
    if amount is None or not math.isfinite(amount) or amount <= 0:
        return UNKNOWN, ""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if amount >= 0.9995 * unit:
            return f"{amount / unit:.{2 if unit == 1e9 else 0}f}", name
    return f"{amount / 1e3:.0f}", "kB"


def count(amount: float) -> str:
    """A large count, shortened: 960 k, 1.54 M."""
    for unit, name in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if amount >= unit:
            return f"{amount / unit:.2f} {name}"
    return f"{amount / 1e3:.0f} k" if amount >= 1e4 else f"{amount:,.0f}"


def clock(seconds: float) -> str:
    """A duration: 0:33, 1:02:03, 2 d 3:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours < 1:
        return f"{minutes}:{rest:02}"
    if hours < 24:
        return f"{hours}:{minutes:02}:{rest:02}"
    rest_of_day = f" {hours % 24}:{minutes:02}" if hours % 24 or minutes else ""
    return f"{hours // 24} d{rest_of_day}"


def perplexity(loss: float | None) -> float | None:
    """exp(loss), or None where it is not known or too large to mean anything."""
    return None if loss is None or not loss < 30 else math.exp(loss)


def bits(loss: float | None) -> float | None:
    """A loss in bits instead of nats."""
    return None if loss is None else loss / math.log(2)
