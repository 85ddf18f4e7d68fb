"""The titled, focusable parts of the run screen."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from gpt.record import LOG_LINES, Record
from gpt.text import visible
from tui.lines import Lines, Row, plain
from tui.wrap import wrap

WHEEL = 3


class Pane(Lines, can_focus=True):
    """A part of the run screen: a number, a title in the border, and what a record says."""

    TITLE = ""

    def __init__(self, number: int) -> None:
        super().__init__(id=type(self).__name__.lower(), classes="pane")
        self.number = number
        self.record: Record | None = None
        self.entitle(self.TITLE)

    def entitle(self, title: str) -> None:
        """Put the pane's number and a title in its border."""
        self.border_title = f"[$foreground 60%]{self.number}[/] [b]{title}[/b]"

    def show(self, record: Record) -> None:
        """Take the record as it now is; it is drawn only where the pane can be seen."""
        self.record = record
        if self.display and self.size.width:
            self.draw()

    def draw(self) -> None:
        """Show `record`."""
        if self.record is not None:
            self.put(self.rows_of(self.record, self.size.width))

    def rows_of(self, record: Record, width: int) -> list[Row]:
        """What the pane says, in rows of at most `width` columns."""
        raise NotImplementedError

    def plain_text(self) -> str:
        """All of it as text, for the clipboard."""
        return plain(self.rows)

    def redraw(self) -> None:
        self.draw()


class ScrollPane(Pane):
    """A pane that follows the end of its rows unless scrolled away from it.

    It keeps its own scroll position and has no scrollbar: a layout of the screen for each new
    row would cost more than the row.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "scroll_rows(-1)", "scroll up", show=False),
        Binding("down", "scroll_rows(1)", "scroll down", show=False),
        Binding("pageup", "scroll_rows(-10)", "page up", show=False),
        Binding("pagedown", "scroll_rows(10)", "page down", show=False),
        Binding("home", "scroll_rows(-1000000)", "first line", show=False),
    ]
    HEADS = 0
    """Rows at the top that stay when the others scroll."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.following = True
        self._top = 0
        self._width = 0

    def put(self, rows: list[Row]) -> None:
        if not self.following and self.size.width != self._width and self.rows:
            self._top = round(self._top * len(rows) / len(self.rows))
        self._width = self.size.width
        super().put(rows)

    def follow(self) -> None:
        """Go to the end of the rows, and stay there."""
        self.following = True
        self.repaint()

    def visible_rows(self) -> list[Row]:
        height = max(0, self.size.height - self.HEADS)
        last = self._last()
        self._top = last if self.following else min(self._top, last)
        start = self.HEADS + self._top
        self._hint(last - self._top)
        return [*self.rows[: self.HEADS], *self.rows[start : start + height]]

    def action_scroll_rows(self, count: int) -> None:
        """Move by `count` rows; from the last one on, following begins again."""
        last = self._last()
        self._top = max(0, min(last, self._top + count))
        self.following = self._top == last
        self.repaint()

    def _last(self) -> int:
        return max(0, len(self.rows) - self.size.height)

    def _hint(self, below: int) -> None:
        hint = f"{below} more below, End follows" if below else ""
        if hint != (self.border_subtitle or ""):
            self.put_in_border(subtitle=hint)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self.action_scroll_rows(WHEEL)
        event.stop()

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self.action_scroll_rows(-WHEEL)
        event.stop()


class Log(ScrollPane):
    """What happened, in nanoGPT's own lines; those of steps are cut, the others wrapped."""

    TITLE = "log"

    def rows_of(self, record: Record, width: int) -> list[Row]:
        return [row for _, line in record.log for row in log_rows(line, width)]

    def plain_text(self) -> str:
        return "\n".join(visible(line) for _, line in self.record.log) if self.record else ""


@lru_cache(2 * LOG_LINES)
def log_rows(line: str, width: int) -> tuple[Row, ...]:
    """A line of the log in at most `width` columns."""
    text = visible(line)
    if text.startswith("iter ") and "\n" not in text:
        return ([("muted", text if len(text) <= width else text.rpartition(",")[0][:width])],)
    kind = text.partition(":")[0]
    role = kind if kind in ("warning", "error") else "plain"
    first, *more = wrap(text, width - 2)
    return ([(role, first)], *([(role, f"  {part}")] for part in more))
