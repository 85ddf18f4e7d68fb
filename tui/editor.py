"""The middle of the setup screen: the form with its filter above and its explanation below."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Input

from gpt.text import visible
from tui.desk import Pane
from tui.draft import Verdict
from tui.explanation import Explanation
from tui.field import UNTYPABLE
from tui.form import Form
from tui.marks import MARKS
from tui.shelf import Entry
from tui.still import Still


class Heading(Still, can_focus=True):
    """What is edited. With the focus here, on no field, letters act."""


class Editor(Pane):
    """Edits the draft of one entry."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "enter", "edit"),
        Binding("down", "move(1)", "next field", show=False),
        Binding("up", "move(-1)", "field before", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
    ]

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._entry: Entry | None = None
        self._place: Form.Attended | None = None

    def compose(self) -> ComposeResult:
        """A heading, the filter once a key asks for it, the form, the explanation."""
        yield Heading("settings", id="settings-heading", classes="setup-heading")
        field = Input(
            placeholder="part of a name",
            id="filter",
            compact=True,
            restrict=UNTYPABLE,
            highlighter=MARKS,
        )
        field.display = False
        yield field
        yield Form(id="form")
        yield Explanation(id="explanation")

    @property
    def form(self) -> Form:
        """The form."""
        return self.query_one(Form)

    @property
    def _filter(self) -> Input:
        return self.query_one("#filter", Input)

    def show(self, entry: Entry, verdict: Verdict) -> None:
        """Put an entry's draft into the form."""
        self._entry = entry
        self.form.show(entry.draft, verdict)
        self._say()

    def judge(self, verdict: Verdict) -> None:
        """Say what is changed and wrong in the draft that is shown."""
        self.form.judge(verdict)
        self._say()

    def explain_entry(self) -> None:
        """The person is at the list of presets: explain the one that is shown."""
        self._place = None
        self._say()

    @on(Form.Attended)
    def _attended(self, event: Form.Attended) -> None:
        event.stop()
        self._place = event
        self._say()

    def _say(self) -> None:
        entry, form = self._entry, self.form
        if entry is None:
            return
        count = len(entry.draft.edits)
        heading = Content.assemble(
            "settings  ",
            (visible(entry.name, keep=""), "$foreground"),
            (f"  * {count} changed" if count else "", "$accent"),
        )
        self.query_one(Heading).put(heading)
        explanation = self.query_one(Explanation)
        match self._place:
            case Form.Attended(name=str() as name):
                explanation.show_setting(name, entry.draft, form.verdict)
            case Form.Attended(group=str() as group):
                explanation.show_group(group, form.names_in(group))
            case _:
                explanation.show_preset(entry)

    # --- moving about

    def rest(self) -> None:
        """Focus no field."""
        self.screen.set_focus(self.query_one(Heading))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """In a field, enter is the field's own."""
        return self.query_one(Heading).has_focus if action == "enter" else True

    def action_enter(self) -> None:
        """Go into the field where the person was last."""
        self.form.enter()

    def action_move(self, by: int) -> None:
        """Go to the next field, or to the one before."""
        self.form.move(by)

    def action_page(self, by: int) -> None:
        """Scroll by what is on screen."""
        self.form.scroll_relative(y=by * self.form.size.height, animate=False)

    async def go_to(self, name: str) -> None:
        """Go into the field of this name, whatever the form was narrowed down to."""
        if self._filter.display:
            self._close_filter()
            await self.form.filter("")
        await self.form.go_to(name)

    # --- the filter

    def open_filter(self) -> None:
        """Let the person narrow the form down to some settings."""
        self._filter.display = True
        self.screen.set_focus(self._filter)

    def leave(self) -> bool:
        """One step out: of the filter, or of a field. Whether there was such a step."""
        focused, heading = self.screen.focused, self.query_one(Heading)
        if self._filter.display and focused in (self._filter, heading):
            self._close_filter()
        elif focused is None or focused is heading or self not in focused.ancestors:
            return False
        self.rest()
        return True

    def _close_filter(self) -> None:
        self._filter.value = ""
        self._filter.display = False

    @on(Input.Changed, "#filter")
    async def _filtered(self, event: Input.Changed) -> None:
        event.stop()
        await self.form.filter(event.value.strip())

    @on(Input.Submitted, "#filter")
    def _go_to_first(self, event: Input.Submitted) -> None:
        event.stop()
        self.form.enter_first()
