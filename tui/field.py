"""One setting in the form: its mark and name, what is typed, and what is to be said beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.cells import set_cell_size
from textual import events, on
from textual.app import ComposeResult, RenderResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input

from tui.marks import MARKS
from tui.wrap import cut

if TYPE_CHECKING:
    from gpt.settings import Setting

UNTYPABLE = r"[^\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]*"
"""Text without what could steer a terminal; it can come by pasting."""


STYLES = {
    "name": "",
    "changed": "$accent",
    "beside": "dim",
    "warning": "$text-warning",
    "error": "$text-error",
}


class Entry(Input):
    """A value that is typed."""

    def __init__(self, text: str) -> None:
        super().__init__(text, compact=True, restrict=UNTYPABLE, highlighter=MARKS)

    def show(self, text: str) -> None:
        """Put this in the field; it is no edit."""
        if text != self.value:
            with self.prevent(Input.Changed):
                self.value = text
            if self.has_focus:
                self.action_select_all()

    @property
    def text(self) -> str:
        """What stands in the field."""
        return self.value


class Choice(Widget, can_focus=True):
    """One of a few values: left, right and space go through them, and so does a click."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space,right,enter", "turn(1)", "next choice"),
        Binding("left", "turn(-1)", "choice before", show=False),
    ]

    class Turned(Message):
        """A person chose another value."""

    def __init__(self, choices: tuple[str, ...], text: str) -> None:
        super().__init__()
        self.choices = choices
        self.text = text

    def show(self, text: str) -> None:
        """Put this in the field; it is no edit."""
        if text != self.text:
            self.text = text
            self.refresh()

    def render(self) -> RenderResult:
        """The value, between arrows while it can be turned."""
        room = self.size.width - 2
        value = set_cell_size(cut(self.text, room), room)
        return Content(f"◂{value}▸" if self.has_focus else f" {value} ")

    def action_turn(self, by: int) -> None:
        """Take the next value, or the one before."""
        known = self.text in self.choices
        index = self.choices.index(self.text) if known else -by if by > 0 else 0
        self.show(self.choices[(index + by) % len(self.choices)])
        self.post_message(self.Turned())

    def on_click(self, event: events.Click) -> None:
        """The left arrow goes back; anywhere else goes on."""
        event.stop()
        if len(self.choices) > 1:
            self.action_turn(-1 if event.x == 0 else 1)


class Field(Widget):
    """A row of the form.

    The name and the words beside are drawn by the row itself, the value by one child: a form of
    forty settings is to paint at once.
    """

    class Edited(Message):
        """A person changed the value."""

        def __init__(self, field: Field) -> None:
            super().__init__()
            self.field = field

    class Reset(Message):
        """A person asked for the preset's value."""

        def __init__(self, field: Field) -> None:
            super().__init__()
            self.field = field

    def __init__(self, setting: Setting, text: str) -> None:
        super().__init__(id=f"field-{setting.name}", classes=f"-{setting.kind}")
        self.setting = setting
        self.changed = False
        self.error = self.warning = ""
        if setting.choices:
            self.control: Entry | Choice = Choice(setting.choices, text)
        else:
            self.control = Entry(text)

    @property
    def text(self) -> str:
        """What stands in the field."""
        return self.control.text

    def compose(self) -> ComposeResult:
        """The value."""
        yield self.control

    def show(self, text: str) -> None:
        """Put this in the field; it is no edit."""
        self.control.show(text)

    def judge(self, changed: bool, error: str, warning: str) -> None:
        """Say beside the field that it differs from the preset, or what is wrong with it.

        Args:
            error: what is allowed instead, in a few words.
            warning: what is probably not meant.
        """
        if (changed, error, warning) != (self.changed, self.error, self.warning):
            self.changed, self.error, self.warning = changed, error, warning
            self.refresh()

    def render(self) -> RenderResult:
        """`* n_head        [   4   ]  heads`: all but the brackets."""
        start = self.control.styles.margin.left
        end = start + self.control.size.width + self.control.gutter.width
        mark, role = self._mark()
        return Content.assemble(
            (f"{mark} ", self._style(role)),
            (cut(self.setting.name, start - 3).ljust(start - 2), self._style("name")),
            " " * (end - start + 1),
            self._beside(self.size.width - end - 1),
        )

    def _mark(self) -> tuple[str, str]:
        if self.error:
            return "✗", "error"
        if self.warning:
            return "!", "warning"
        return ("*", "changed") if self.changed else (" ", "name")

    def _beside(self, room: int) -> tuple[str, str]:
        if room < 3:
            return "", ""
        if self.error or self.warning:
            role = "error" if self.error else "warning"
            return cut(self.error or self.warning, room), self._style(role)
        return cut(self.setting.unit, room), self._style("beside")

    def _style(self, role: str) -> str:
        return STYLES[role] if role != "name" or not self.has_focus_within else "bold"

    @on(Input.Changed)
    @on(Choice.Turned)
    def _edited(self, event: Message) -> None:
        event.stop()
        self.post_message(self.Edited(self))

    def on_click(self, event: events.Click) -> None:
        """The mark takes the change back; the rest of the row leads to its value."""
        event.stop()
        if event.x == 0 and self.changed:
            self.post_message(self.Reset(self))
        self.control.focus()

    def on_descendant_focus(self) -> None:
        """The name stands out."""
        self.refresh()

    def on_descendant_blur(self) -> None:
        """The name steps back."""
        self.refresh()
