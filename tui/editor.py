"""The middle of the setup screen: the form with its filter above and its explanation below."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input

from gpt.text import visible
from tui.draft import Verdict
from tui.explanation import Explanation
from tui.field import UNTYPABLE
from tui.form import Form
from tui.shelf import Entry
from tui.still import Still


class Editor(Vertical):
    """Edits the draft of one entry."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._entry: Entry | None = None
        self._place: Form.Attended | None = None

    def compose(self) -> ComposeResult:
        """A heading, the filter while it is used, the form, the explanation."""
        yield Still("settings", id="settings-heading", classes="setup-heading")
        yield Input(placeholder="part of a name", id="filter", compact=True, restrict=UNTYPABLE)
        yield Form(id="form")
        yield Explanation(id="explanation")

    def on_mount(self) -> None:
        """The filter is asked for with a key."""
        self._filter.display = False

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
        self.query_one("#settings-heading", Still).put(heading)
        explanation = self.query_one(Explanation)
        match self._place:
            case Form.Attended(name=str() as name):
                explanation.show_setting(name, entry.draft, form.verdict)
            case Form.Attended(group=str() as group):
                explanation.show_group(group, form.names_in(group))
            case _:
                explanation.show_preset(entry)

    # --- the filter

    def open_filter(self) -> None:
        """Let the person narrow the form down to some settings."""
        self._filter.display = True
        self.call_after_refresh(self._filter.focus)

    def leave(self) -> bool:
        """One step out: of the filter, or of a field. Whether there was such a step."""
        focused = self.screen.focused
        if self._filter.display and (focused is self._filter or focused is self.form):
            self._filter.value = ""
            self._filter.display = False
        elif focused is None or focused is self.form or self.form not in focused.ancestors:
            return False
        self.form.focus()
        return True

    @on(Input.Changed, "#filter")
    async def _filtered(self, event: Input.Changed) -> None:
        event.stop()
        await self.form.filter(event.value.strip())

    @on(Input.Submitted, "#filter")
    def _go_to_first(self, event: Input.Submitted) -> None:
        event.stop()
        self.form.enter_first()
