"""A bar of characters: so much of it full, the rest empty."""

from __future__ import annotations


def bar_of(ascii: bool) -> str:
    """The character of the full part and that of the rest."""
    return "=-" if ascii else "━─"


def split_bar(share: float, room: int, bar: str) -> tuple[str, str]:
    """A bar that takes this share of so many columns, and what is left of them."""
    room = max(0, room)
    full = round(min(1.0, max(0.0, share)) * room)
    return bar[0] * full, bar[1] * (room - full)
