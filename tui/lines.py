"""Rows of text, drawn line by line, of which only those that changed are repainted.

A row is data: runs of text, each with a role. What a role looks like is said in `nanodeck.tcss`,
once for the whole screen: to each widget its own would make every change of focus much dearer.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.dom import DOMNode
from textual.geometry import Region, Size
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget

Run = tuple[str, str]
"""A role and the text that has it."""
Row = Sequence[Run]

ROLES = (
    "plain", "muted", "faint", "strong", "accent", "good", "warning", "error",
    "axis", "raw", "smooth", "val", "reference", "cursor",
)  # fmt: skip


class Lines(Widget):
    """Rows of text in a widget. The screen that it is on knows the roles."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.rows: list[Row] = []
        self._painted: list[Row] = []

    def put(self, rows: list[Row]) -> None:
        """Show these rows."""
        self.rows = rows
        self.repaint()

    def visible_rows(self) -> list[Row]:
        """The rows that belong on screen now."""
        return self.rows[: self.size.height]

    def repaint(self) -> None:
        """Repaint from the first to the last row that is on screen as it should not be."""
        old, new = self._painted, self.visible_rows()
        changed = [
            y
            for y in range(max(len(old), len(new)))
            if y >= len(old) or y >= len(new) or old[y] != new[y]
        ]
        self._painted = new
        if changed:
            height = changed[-1] + 1 - changed[0]
            self.refresh(Region(0, changed[0], self.size.width, height))

    def render_line(self, y: int) -> Strip:
        row: Row = self._painted[y] if y < len(self._painted) else ()
        strip = Strip(Segment(text, self.style_of(role)) for role, text in row)
        return self._selected(strip, y).apply_offsets(0, y)

    def style_of(self, role: str) -> Style:
        """How text with this role looks."""
        return self.screen.get_component_rich_style(f"run--{role}")

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self.rows)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        return selection.extract(plain(self._painted)), "\n"

    def _selected(self, strip: Strip, y: int) -> Strip:
        span = self.text_selection.get_span(y) if self.text_selection else None
        if span is None:
            return strip
        start, end = span[0], strip.cell_length if span[1] < 0 else span[1]
        style = self.screen.get_component_rich_style("screen--selection")
        chosen = Strip(Segment.apply_style(strip.crop(start, end), post_style=style))
        return Strip.join([strip.crop(0, start), chosen, strip.crop(end)])

    @property
    def ascii(self) -> bool:
        """Whether only ASCII may be drawn."""
        return bool(getattr(app_of(self), "ascii", False))

    def on_resize(self) -> None:
        self.redraw()

    def redraw(self) -> None:
        """Fit what is shown to the widget's new size."""
        self.repaint()


def app_of(node: DOMNode) -> App[object]:
    """The app that a widget or screen belongs to. Textual leaves its type argument open."""
    return node.app  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def plain(rows: Sequence[Row]) -> str:
    """Rows as text, without the blanks at their ends."""
    return "\n".join("".join(text for _, text in row).rstrip() for row in rows)
