"""The presets as they stand in the list: name, how long it takes here, and what it is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len

from gpt.text import visible
from tui.measures import SCROLLBAR
from tui.shelf import Entry
from tui.wrap import cut_within, wrap

Part = tuple[str, str]
"""A text and how it looks: bold, dim, $accent or nothing."""
Card = list[list[Part]]
"""The rows of one entry."""

MARGIN = 3
"""Columns that no words are in: two for the mark, one at the right."""
NARROWEST = 8


def cards(
    entries: Sequence[Entry],
    chosen: int | None,
    size: tuple[int, int],
    times: Mapping[Entry, str],
) -> tuple[int, list[Card]]:
    """All entries, with a row between each two.

    Args:
        entries: in their order.
        chosen: the number of the one with the mark.
        size: the columns and rows of the list.
        times: how long a run of each entry takes, where that is known.

    Returns:
        the columns they take, which are fewer where a scrollbar is needed, and a card for each.
    """
    columns, rows = size

    def drawn(width: int) -> list[Card]:
        return [
            card(entry, number == chosen, width, times.get(entry, ""))
            for number, entry in enumerate(entries)
        ]

    found = drawn(columns)
    if sum(map(len, found)) + len(found) - 1 <= rows:
        return columns, found
    return columns - SCROLLBAR, drawn(columns - SCROLLBAR)


def card(entry: Entry, chosen: bool, width: int, time: str) -> Card:
    """One entry in a list that is `width` columns wide; `time` is empty where it is not known."""
    width = max(NARROWEST, width - MARGIN)
    mark = " *" if entry.draft.edits else ""
    name = cut_within(visible(entry.name, keep=""), width - len(mark))
    gap = width - cell_len(name) - len(mark) - len(time)
    about = "its file is gone" if entry.lost else entry.preset.description
    lines = [line for line in wrap(visible(about, keep=""), width) if line]
    if time and gap < 1:
        lines.insert(0, time)
    head: list[Part] = [
        # The mark shows without colours too which one is chosen.
        ("▸ " if chosen else "  ", ""),
        (name, "bold"),
        (mark, "$accent"),
        (" " * gap + time if gap > 0 else "", ""),
    ]
    return [head, *([(f"  {line}", "dim")] for line in lines)]
