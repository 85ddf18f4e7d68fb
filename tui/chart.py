"""The chart of a run, with a cursor that reads values and moves the screen through time."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from gpt.record import Record
from tui.caption import caption
from tui.curves import TITLES, Curves, Picture, background
from tui.layout import USUAL_SMOOTHING, Layout
from tui.lines import Row, Run
from tui.panes import Pane

if TYPE_CHECKING:
    from gpt.reference import Reference

WINDOW_NAMES = ("", "last half", "last quarter", "last 8th", "last 16th", "last 32nd")
AXIS_NAMES = {"step": "", "seconds": "by time", "tokens": "by tokens"}


class Chart(Pane):
    """Curves over the run."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "read earlier values", show=False),
        Binding("right", "move(1)", "read later values", show=False),
        Binding("shift+left", "move(-10)", "ten columns back", show=False),
        Binding("shift+right", "move(10)", "ten columns on", show=False),
        Binding("up", "move_eval(1)", "next evaluation", show=False),
        Binding("down", "move_eval(-1)", "previous evaluation", show=False),
        Binding("home", "first", "first step in view", show=False),
    ]

    class Moved(Message):
        """The cursor is to be at this step; None: it is to follow the run."""

        def __init__(self, step: int | None) -> None:
            super().__init__()
            self.step = step

    def __init__(self, number: int, layout: Layout, reference: Reference | None) -> None:
        self.look = layout
        self.reference = None if reference is None else background(reference)
        self.characters_per_token: float | None = None
        self.cursor: int | None = None
        self.curves: Curves | None = None
        self.picture: Picture | None = None
        self.borders = ("", "")
        """The words above and below the chart."""
        super().__init__(number)

    def draw(self) -> None:
        if self.record is None or not self.size.width:
            return
        self.curves = Curves(self.record, self.reference, self.look)
        if len(self.curves.steps) or self.curves.reference[0]:
            self.picture = self.curves.picture(*self.size, ascii=self.ascii)
            self.put(list(self.picture.rows))
        else:
            self.picture = None
            self.put([[("faint", " The curve begins with the first step.")]])
        self._say()

    def show_cursor(self, step: int | None) -> None:
        """Put the cursor at a step, or take it away."""
        self.cursor = step
        self.repaint()
        self._say()

    def visible_rows(self) -> list[Row]:
        rows = super().visible_rows()
        if self.curves is None or self.picture is None:
            return rows
        dotted, whole = (":", "|") if self.ascii else ("┊", "│")
        seams = [(step, "faint", dotted) for step in self.curves.record.seams]
        cursor = [] if self.cursor is None else [(self.cursor, "accent", whole)]
        for step, role, rule in (*seams, *cursor):
            column = self.picture.column(self.curves.x_of(step))
            if column is not None:
                rows = [*(marked(row, column, role, rule) for row in rows[:-2]), *rows[-2:]]
        return rows

    def plain_text(self) -> str:
        return "\n".join([self.borders[0], super().plain_text(), self.borders[1]])

    def action_move(self, columns: int) -> None:
        """Move the cursor by so many columns, but by one logged step at least."""
        if self.curves is None or self.picture is None or not len(self.curves.steps):
            return
        steps, along = self.curves.steps, self.curves.along
        last = len(steps) - 1
        here = last if self.cursor is None else bisect_left(steps, self.cursor)
        first = bisect_left(along, self.picture.low)
        visible = bisect_right(along, self.picture.high) - first
        stride = max(1, round(visible / self.picture.columns))
        there = max(first, here + columns * stride)
        self.post_message(self.Moved(int(steps[there]) if there < last else None))

    def action_move_eval(self, count: int) -> None:
        """Move the cursor to the next (1) or the previous (-1) evaluation."""
        if self.record is None or not self.record.evals:
            return
        steps = [event.step or 0 for event in self.record.evals]
        here = self.record.step if self.cursor is None else self.cursor
        place = bisect_right(steps, here) if count > 0 else bisect_left(steps, here) - 1
        if place < len(steps):
            self.post_message(self.Moved(steps[max(0, place)]))
        else:
            self.post_message(self.Moved(None))

    def action_first(self) -> None:
        """Move the cursor to the first step in view."""
        self.action_move(-(10**9))

    def on_click(self, event: events.Click) -> None:
        place = event.get_content_offset(self)
        if place is None or self.curves is None or self.picture is None:
            return
        along = self.curves.along
        if len(along):
            index = min(len(along) - 1, bisect_left(along, self.picture.x(place.x)))
            self.post_message(self.Moved(int(self.curves.steps[index])))

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self.borders = ("", "")
        if self.is_mounted:
            self.call_later(self._say)

    def _say(self) -> None:
        """Put the legend above the chart, and what the loss looks like below it."""
        if self.curves is None or self.record is None:
            return
        above: list[Run] = [("muted", f"{self.number} "), ("strong", self._title())]
        room = self.size.width - sum(len(text) for _, text in above) - 4
        above += self.curves.legend(self.cursor, room, ascii=self.ascii)
        below = self._caption(self.curves)
        if (borders := ("".join(text for _, text in above), below)) == self.borders:
            return
        self.borders = borders
        title = Text.assemble(*((text, self.style_of(role)) for role, text in above))
        self.put_in_border(title, Text(below))

    def _title(self) -> str:
        look = self.look
        words = [AXIS_NAMES[look.axis], "log" if look.log else "", WINDOW_NAMES[look.window]]
        if look.smoothing != USUAL_SMOOTHING and self.curves is not None:
            span = self.curves.span
            words.append(f"smoothed over {span:,.0f} steps" if span else "not smoothed")
        return ", ".join([TITLES[look.metric], *(word for word in words if word)])

    def _caption(self, curves: Curves) -> str:
        record = self.record
        if record is None or curves.layout.metric != "loss":
            return ""
        if not len(curves.steps):
            return "faint: the preset's reference run" if curves.reference[0] else ""
        at = record.step if self.cursor is None else self.cursor
        if note := overfitting(record, at):
            return note
        if self.characters_per_token is None:
            return ""
        characters = self.characters_per_token == 1.0
        return caption(curves.train_at(at), characters=characters, room=self.size.width - 4)


def overfitting(record: Record, step: int) -> str:
    """A remark when two evaluations in a row are worse than the best before them."""
    past = [event for event in record.evals if (event.step or 0) <= step]
    known = [event for event in past if event.val is not None]
    best = min(known, key=lambda event: event.val or 0.0, default=None)
    if best is None or len(known) - 1 - known.index(best) < 2:
        return ""
    return f"no better validation since step {best.step:,}: it may be learning by heart"


def marked(row: Row, column: int, mark: str, rule: str) -> Row:
    """The row with one column ruled: for the cursor, whose role is accent, on what is there, and
    for a place where a run went on on blanks alone."""
    runs: list[Run] = []
    start = 0
    for role, text in row:
        place = column - start
        if 0 <= place < len(text):
            blank, cursor = text[place] == " ", mark == "accent"
            ruled = blank or (cursor and role == "raw")
            here = (mark, rule) if ruled else ("cursor" if cursor else role, text[place])
            runs += [(role, text[:place]), here, (role, text[place + 1 :])]
        else:
            runs.append((role, text))
        start += len(text)
    return [run for run in runs if run[1]]
