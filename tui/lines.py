"""Rows of text, drawn line by line, of which only those that changed are repainted.

A row is data: runs of text, each with a role. What a role looks like is said in `nanodeck.tcss`,
once for the whole screen: to each widget its own would make every change of focus much dearer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.app import App
from textual.dom import DOMNode
from textual.geometry import Region, Size
from textual.selection import Selection
from textual.strip import Strip
from textual.widget import Widget

from tui.pace import Room

Run = tuple[str, str]
"""A role and the text that has it."""
Row = Sequence[Run]

ROLES = (
    "plain", "muted", "faint", "strong", "accent", "good", "warning", "error",
    "axis", "raw", "smooth", "val", "reference", "cursor",
)  # fmt: skip


COLOUR, CHARACTER = 40, 2
"""Bytes to change the colour and back, and for a character, of which braille has three."""


class Lines(Widget):
    """Rows of text in a widget. The screen that it is on knows the roles."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.rows: list[Row] = []
        self._painted: list[Row] = []
        self._styles: dict[str, Style] = {}
        self._in_border = False
        self._drawing = False
        self.room: Room | None = None
        self.unpainted = False
        """Whether there are rows to repaint for which there was no room."""
        self._next = 0
        """The row to begin with, so that on a slow line each has its turn."""

    def put(self, rows: list[Row]) -> None:
        """Show these rows."""
        self.rows = rows
        self.repaint()

    def visible_rows(self) -> list[Row]:
        """The rows that belong on screen now."""
        return self.rows[: self.size.height]

    def repaint(self) -> None:
        """Repaint the parts of rows that are on screen as they should not be."""
        old, new = self._painted, self.visible_rows()
        self._painted = list(new)
        regions: list[Region] = []
        left: list[int] = []
        count = max(len(old), len(new))
        for y in [*range(self._next, count), *range(min(self._next, count))]:
            before, after = (rows[y] if y < len(rows) else () for rows in (old, new))
            if before == after:
                continue
            start, end = changed(before, after, self.size.width)
            if y >= len(new) or self.room is None or self.room.take(weight(after, start, end)):
                regions.append(Region(start, y, end - start, 1))
            else:
                self._painted[y] = before
                left.append(y)
        self.unpainted, self._next = bool(left), left[0] if left else 0
        if regions:
            self.refresh(*regions)

    def put_in_border(self, title: str | Text | None = None, subtitle: str | Text = "") -> None:
        """Put words in the border, and repaint no more than that: Textual (8.2) alone would
        repaint, and send to the terminal, all of the widget. Without a title the old one stays."""
        self._in_border = True
        if title is not None:
            self.border_title = title  # pyright: ignore[reportAttributeAccessIssue]
        self.border_subtitle = subtitle  # pyright: ignore[reportAttributeAccessIssue]
        self._in_border = False

    def refresh(
        self,
        *regions: Region,
        repaint: bool = True,
        layout: bool = False,
        recompose: bool = False,
    ) -> Self:
        """Repaint these regions; without any, all of it, or its border where that is meant."""
        if self._in_border and not regions:
            width, height = self.outer_size
            border = Region(0, 0, width, 1), Region(0, height - 1, width, 1)
            regions = tuple(region.translate(-self.content_offset) for region in border)
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def render_lines(self, crop: Region) -> list[Strip]:
        """Rows as they are drawn. Where a character stands only the mouse asks, row by row: to
        put that into all that is drawn would take as long as all the rest."""
        self._drawing = True
        try:
            return super().render_lines(crop)
        finally:
            self._drawing = False

    def render_line(self, y: int) -> Strip:
        row: Row = self._painted[y] if y < len(self._painted) else ()
        strip = Strip([Segment(text, self.style_of(role)) for role, text in row])
        strip = self._selected(strip, y)
        return strip if self._drawing else strip.apply_offsets(0, y)

    def style_of(self, role: str) -> Style:
        """How text with this role looks."""
        style = self._styles.get(role)
        if style is None:
            style = self._styles[role] = self.screen.get_component_rich_style(f"run--{role}")
        return style

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles.clear()

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


def weight(row: Row, start: int, end: int) -> int:
    """About how many bytes the terminal gets for these columns of a row: its colours are most."""
    total = column = 0
    for _, text in row:
        shown = min(column + len(text), end) - max(column, start)
        total += COLOUR + CHARACTER * shown if shown > 0 else 0
        column += len(text)
    return total


def changed(old: Row, new: Row, width: int) -> tuple[int, int]:
    """The columns, from one up to another, outside which two rows of this width are the same."""
    texts = ["".join(text for _, text in row) for row in (old, new)]
    if any(not text.isascii() and cell_len(text) != len(text) for text in texts):
        return 0, width
    start = _same(old, new)
    if len(texts[0]) != len(texts[1]):
        return min(start, width), width
    backwards = [[(role, text[::-1]) for role, text in reversed(row)] for row in (old, new)]
    end = len(texts[0]) - _same(*backwards)
    return (start, end) if start < end <= width else (0, width)


def _same(old: Row, new: Row) -> int:
    """How many columns at the start look the same."""
    columns = 0
    for (old_role, old_text), (role, text) in zip(old, new, strict=False):
        if old_role != role:
            break
        pairs = enumerate(zip(old_text, text, strict=False))
        shorter = min(len(old_text), len(text))
        common = next((place for place, (one, other) in pairs if one != other), shorter)
        columns += common
        if common < max(len(old_text), len(text)):
            break
    return columns
