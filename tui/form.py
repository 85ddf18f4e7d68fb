"""The form: every setting as a row, in groups, of which the important ones are unfolded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from textual import events, on
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widgets import Collapsible, Input
from textual.widgets.collapsible import CollapsibleTitle

from tui.draft import Draft, Verdict, brief
from tui.field import Field

if TYPE_CHECKING:
    from gpt.settings import Setting


TITLE_WIDTH = 22


class Group(Collapsible):
    """The settings of one group that are not among the main ones; its rows come when unfolded."""

    def __init__(self, group: str, settings: list[Setting]) -> None:
        super().__init__(title=group, collapsed_symbol="▸", expanded_symbol="▾")
        self.group = group
        self.settings = settings

    @property
    def names(self) -> set[str]:
        """The names of its settings."""
        return {setting.name for setting in self.settings}

    def entitle(self, draft: Draft, verdict: Verdict) -> None:
        """Say in the title what is changed or wrong inside, which may be folded away."""
        wrong = self.names & verdict.errors.keys()
        doubtful = self.names & verdict.warnings.keys()
        changed = self.names & draft.edits.keys()
        notes = [
            f"✗ {', '.join(sorted(wrong))}" if wrong else "",
            f"! {', '.join(sorted(doubtful))}" if doubtful else "",
            f"* {len(changed)} changed" if changed else "",
        ]
        inside = ", ".join(setting.name for setting in self.settings) if self.collapsed else ""
        said = "  ".join(filter(None, notes)) or f"[dim]{inside}[/]"
        title = f"{self.group:<{TITLE_WIDTH}} {said}"
        if title != self.title:
            self.title = title


class Form(VerticalScroll, can_focus=False, inherit_bindings=False):
    """Edits one `Draft`. Fields and titles take the focus, the form itself does not: a change of
    a container's focus styles everything in it anew."""

    class Changed(Message):
        """The draft is another one now."""

    class Attended(Message):
        """The person is at a setting, or at the title of a group."""

        def __init__(self, name: str | None, group: str | None = None) -> None:
            super().__init__()
            self.name = name
            self.group = group

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.draft = Draft({})
        self.verdict = Verdict(None)
        self.fields: dict[str, Field] = {}
        self.filtering = False
        self._current: Field | CollapsibleTitle | None = None
        self._unfolded: dict[Group, bool] = {}
        self._furnishing = asyncio.Lock()

    async def fill(self, draft: Draft) -> None:
        """Make the rows of the main settings and the titles of the groups.

        Where all of them fit on the screen, nothing is folded.
        """
        self.draft = draft
        from gpt.declaration import GROUPS
        from gpt.settings import settings

        known = settings().values()
        await self.mount(*self._rows(setting for setting in known if setting.main))
        groups = {
            group: [setting for setting in known if setting.group == group and not setting.main]
            for group in GROUPS
        }
        await self.mount(*(Group(group, rest) for group, rest in groups.items() if rest))
        self.judge(self.verdict)
        if self.size.height > len(settings()) + len(GROUPS):
            for group in self.query(Group):
                await self._unfold(group)

    def show(self, draft: Draft, verdict: Verdict) -> None:
        """Put another draft into the fields."""
        self.draft = draft
        for name, field in self.fields.items():
            field.show(draft.text(name))
        self.judge(verdict)

    def judge(self, verdict: Verdict) -> None:
        """Mark what is changed and say what is wrong, beside each field."""
        self.verdict = verdict
        for name in self.fields:
            self._judge(name)
        for group in self.query(Group):
            group.entitle(self.draft, verdict)

    def collect(self) -> None:
        """Take in what was typed just now, before its message has come round."""
        for name, field in self.fields.items():
            self.draft.edit(name, field.text)

    async def go_to(self, name: str) -> None:
        """Focus a field, unfolding its group."""
        for group in self.query(Group):
            if name in group.names:
                await self._unfold(group)
        self.screen.set_focus(self.fields[name].control)

    # --- moving about

    def move(self, by: int) -> None:
        """Focus the next field or title, or the one before."""
        places = [w for w in self.screen.focus_chain if self in w.ancestors]
        if not places:
            return
        focused = self.screen.focused
        if focused in places:
            index = places.index(focused) + by
            self.screen.set_focus(places[min(max(index, 0), len(places) - 1)])
        else:
            self.enter()

    def enter(self) -> None:
        """Go into the field where the person was, else into the first."""
        current = self._current
        target = current.control if isinstance(current, Field) else current
        if target is None or target not in self.screen.focus_chain:
            target = next((w for w in self.screen.focus_chain if self in w.ancestors), None)
        if target is not None:
            self.screen.set_focus(target)

    def enter_first(self) -> None:
        """Go into the first field that is shown, if any."""
        shown = self.screen.focus_chain
        for field in self.query(Field):
            if field.control in shown:
                self.screen.set_focus(field.control)
                return

    def names_in(self, group: str) -> list[str]:
        """The settings that the group of this name folds away, in their order."""
        return [s.name for g in self.query(Group) if g.group == group for s in g.settings]

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.move(1)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Tell where the person is."""
        widget = event.widget
        if isinstance(widget, CollapsibleTitle) and isinstance(widget.parent, Group):
            self._current = widget
            self.post_message(self.Attended(None, widget.parent.group))
        elif isinstance(widget.parent, Field):
            self._current = widget.parent
            self.post_message(self.Attended(widget.parent.setting.name))

    # --- changing

    @on(Field.Edited)
    def _edited(self, event: Field.Edited) -> None:
        event.stop()
        name, text = event.field.setting.name, event.field.text
        if text != self.draft.text(name):
            self.draft.edit(name, text)
            self.post_message(self.Changed())

    @on(Field.Reset)
    def _reset(self, event: Field.Reset) -> None:
        event.stop()
        self._take_back(event.field)

    @property
    def current_is_changed(self) -> bool:
        """Whether the field where the person is differs from the preset."""
        current = self._current
        return isinstance(current, Field) and current.setting.name in self.draft.edits

    def reset_current(self) -> None:
        """The field with the focus gets the preset's value back."""
        if isinstance(self._current, Field):
            self._take_back(self._current)

    def reset_all(self) -> None:
        """All fields get the preset's values back; once more brings the edits back."""
        self.draft.reset_all()
        self.show(self.draft, self.verdict)
        self.post_message(self.Changed())

    def _take_back(self, field: Field) -> None:
        self.draft.reset(field.setting.name)
        field.show(self.draft.text(field.setting.name))
        self.post_message(self.Changed())

    # --- folding and filtering

    @on(Collapsible.Toggled)
    async def _toggled(self, event: Collapsible.Toggled) -> None:
        if isinstance(event.collapsible, Group):
            event.collapsible.entitle(self.draft, self.verdict)
            await self._furnish(event.collapsible)

    async def filter(self, words: str) -> None:
        """Show only the settings whose name or explanation has all the words; none shows all."""
        groups = list(self.query(Group))
        if words and not self.filtering:
            self._unfolded = {group: not group.collapsed for group in groups}
            for group in groups:
                await self._furnish(group)
        self.filtering = bool(words)
        found = matching([field.setting for field in self.fields.values()], words)
        for name, field in self.fields.items():
            field.display = name in found
        for group in groups:
            group.display = not words or not group.names.isdisjoint(found)
            group.collapsed = not (group.display if words else self._unfolded.get(group))

    async def _unfold(self, group: Group) -> None:
        group.collapsed = False
        await self._furnish(group)

    async def _furnish(self, group: Group) -> None:
        async with self._furnishing:
            missing = [setting for setting in group.settings if setting.name not in self.fields]
            if missing:
                await group.query_one(Collapsible.Contents).mount(*self._rows(missing))
                for setting in missing:
                    self._judge(setting.name)

    def _rows(self, settings: Iterable[Setting]) -> list[Field]:
        rows = [Field(setting, self.draft.text(setting.name)) for setting in settings]
        self.fields.update({row.setting.name: row for row in rows})
        return rows

    def _judge(self, name: str) -> None:
        error = self.verdict.errors.get(name, "")
        self.fields[name].judge(
            changed=name in self.draft.edits,
            error=brief(error),
            warning=self.verdict.warnings.get(name, ""),
        )


def matching(settings: Iterable[Setting], words: str) -> set[str]:
    """The settings that have all these words in name or group, else in their explanation."""
    wanted = words.lower().split()
    by_name = {s.name for s in settings if all(w in f"{s.name} {s.group}" for w in wanted)}
    return by_name or {s.name for s in settings if all(w in s.help.lower() for w in wanted)}
