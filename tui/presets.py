"""The list of presets: name, how long it takes here, and what it is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from gpt.text import visible
from tui.card import cards
from tui.desk import Pane
from tui.shelf import Entry, Shelf
from tui.still import Still


class PresetsPane(Pane):
    """The left side of the setup screen: the list, and the presets that cannot be read."""

    def compose(self) -> ComposeResult:
        """A heading, the list, a line for each file that is broken."""
        yield Still("presets", classes="setup-heading")
        yield PresetList(id="presets-list")
        yield Still(id="presets-problems")

    def rest(self) -> None:
        """Focus the list."""
        self.screen.set_focus(self.list)

    @property
    def list(self) -> PresetList:
        """The list."""
        return self.query_one(PresetList)

    def show(self, shelf: Shelf, times: Mapping[Entry, str]) -> None:
        """Draw the shelf; `times` says how long a run of each entry takes."""
        self.list.show(shelf.entries, times)
        problems = "\n".join(f"! {visible(text, keep='')}" for text in shelf.problems)
        self.query_one("#presets-problems", Still).put(problems)


class PresetList(OptionList):
    """One option for each entry of the shelf, in its order."""

    class LaidOut(Message):
        """The list knows its width and has drawn its entries."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id, compact=True, markup=False)
        self.entries: Sequence[Entry] = ()
        self.times: Mapping[Entry, str] = {}
        self._drawn: list[Content] = []

    def show(self, entries: Sequence[Entry], times: Mapping[Entry, str]) -> None:
        """Draw the entries; `times` says how long a run of each takes."""
        self.entries, self.times = entries, times
        self._draw()

    def choose(self, entry: Entry) -> None:
        """Move the highlight there."""
        self.highlighted = self.entries.index(entry)

    def on_resize(self, event: events.Resize) -> None:
        """Descriptions are wrapped to the width; the chosen entry stays in sight."""
        self._draw()
        self.scroll_home(animate=False, immediate=True)
        self.scroll_to_highlight()
        self.post_message(self.LaidOut())

    def watch_highlighted(self, highlighted: int | None) -> None:
        """The chosen entry has a mark, so that it is seen without colours too."""
        super().watch_highlighted(highlighted)
        if highlighted is not None:
            self._draw()

    def _draw(self) -> None:
        # By the size without a scrollbar, so that one that is there now does not keep itself.
        size = self.content_region.size
        _, found = cards(self.entries, self.highlighted, size, self.times)
        drawn = [Content("\n").join(Content.assemble(*parts) for parts in rows) for rows in found]
        before, self._drawn = self._drawn, drawn
        if len(drawn) != self.option_count:
            chosen = self.highlighted
            with self.prevent(OptionList.OptionHighlighted):
                options = (item for prompt in drawn for item in (None, Option(prompt)))
                self.set_options(options)
                self.highlighted = chosen
        else:
            for index, prompt in enumerate(drawn):
                if prompt != before[index]:
                    self.replace_option_prompt_at_index(index, prompt)
