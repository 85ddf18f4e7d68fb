"""How the setup screen is divided, known before Textual is. The rest is in `nanodeck.tcss`."""

from __future__ import annotations

PANES = ("presets", "settings", "forecast")
NARROW = 100
"""Columns below which there is one pane at a time."""
ROOMY, SPLENDID = 120, 150
PRESETS = {NARROW: 26, ROOMY: 32, SPLENDID: 40}
"""The width of the presets' pane, from so many columns on; the style file has it too."""
COLUMNS = [(0, "-narrow"), (NARROW, "-wide"), (ROOMY, "-roomy"), (SPLENDID, "-splendid")]
LOW = 13
ROWS = [(0, "-flat"), (LOW, "-low"), (20, "-middle"), (34, "-high")]
SCROLLBAR = 2
"""The width of the list's scrollbar, where there is one."""


def classes(size: tuple[int, int]) -> list[str]:
    """The style classes of a screen of this size, in columns and rows."""
    found = zip(size, (COLUMNS, ROWS), strict=True)
    return [[name for least, name in points if extent >= least][-1] for extent, points in found]
