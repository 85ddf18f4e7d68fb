"""Three panes, side by side or, where there is little room, one at a time below tabs."""

from __future__ import annotations

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message
from textual.widgets import Tab, Tabs

PANES = ("presets", "settings", "run")


class Desk(Container):
    """Its children are `#pane-presets`, `#pane-settings`, `#pane-run` and what all of them share.

    The class `-presets`, `-settings` or `-run` says which one has the focus, so that a change of
    the terminal's size is a matter of style alone.
    """

    class Turned(Message):
        """A person chose a tab."""

        def __init__(self, pane: str) -> None:
            super().__init__()
            self.pane = pane

    def compose(self) -> ComposeResult:
        """The tabs, which only a small screen shows."""
        yield Tabs(*(Tab(f"{n} {pane}", id=pane) for n, pane in enumerate(PANES, 1)))

    def on_mount(self) -> None:
        """Tabs are for the mouse; keys go to the panes themselves."""
        self.query_one(Tabs).can_focus = False
        self.show("presets")

    def show(self, pane: str) -> None:
        """Make this the pane that a small screen shows."""
        if not self.has_class(f"-{pane}"):
            self.set_classes(f"-{pane}")
            self.query_one(Tabs).active = pane

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The pane with the focus is the one to be shown."""
        for pane in PANES:
            if self.query_one(f"#pane-{pane}") in event.widget.ancestors:
                self.show(pane)

    @on(Tabs.TabActivated)
    def _tab_activated(self, event: Tabs.TabActivated) -> None:
        event.stop()
        pane = event.tab.id
        if pane is not None and not self.has_class(f"-{pane}"):
            self.show(pane)
            self.post_message(self.Turned(pane))
