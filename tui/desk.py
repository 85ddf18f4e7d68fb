"""Three panes, side by side or, where there is little room, one at a time below tabs."""

from __future__ import annotations

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.widget import Widget
from textual.widgets import Tab, Tabs

from tui.lines import app_of
from tui.measures import NARROW, PANES


class Pane(Vertical):
    """One of the three."""

    def rest(self) -> None:
        """Put the focus here, on no field, so that letters act."""
        raise NotImplementedError


class Desk(Container):
    """Its children are the panes `#pane-presets`, `#pane-settings` and `#pane-forecast`, and what
    all of them share. The pane with the focus is the one that a small screen shows.
    """

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.pane = PANES[0]

    def compose(self) -> ComposeResult:
        """The tabs, which only a small screen shows."""
        yield Tabs(*(Tab(f"{n} {pane}", id=pane) for n, pane in enumerate(PANES, 1)))

    async def furnish(self, *parts: Widget) -> None:
        """Put the other panes in, and what all of them share."""
        with app_of(self).batch_update():
            await self.mount(*parts)
            self._arrange()

    def on_mount(self) -> None:
        """Tabs are for the mouse; keys go to the panes themselves."""
        self.query_one(Tabs).can_focus = False
        self._arrange()

    def on_resize(self) -> None:
        """There may be room for three now, or no longer."""
        self._arrange()

    def go(self, pane: str) -> None:
        """Show a pane and put the focus there."""
        self.show(pane)
        self.query_one(f"#pane-{pane}", Pane).rest()

    def show(self, pane: str) -> None:
        """Make this the pane that a small screen shows."""
        if pane != self.pane:
            self.pane = pane
            self.query_one(Tabs).active = pane
            self._arrange()

    def _arrange(self) -> None:
        # Not by a class on the desk: a change of class styles everything below it anew.
        narrow = self.screen.size.width < NARROW
        for pane in PANES:
            self.query(f"#pane-{pane}").set(display=not narrow or pane == self.pane)
        for heading in self.query(".setup-heading"):
            pane = heading.parent
            heading.set_class(pane is not None and pane.id == f"pane-{self.pane}", "-here")

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The pane with the focus is the one to be shown."""
        for widget in event.widget.ancestors:
            if isinstance(widget, Pane) and widget.id is not None:
                self.show(widget.id.removeprefix("pane-"))

    @on(Tabs.TabActivated)
    def _tab_activated(self, event: Tabs.TabActivated) -> None:
        event.stop()
        pane = event.tab.id
        # The news of a tab that is no longer the active one would be followed by that of the next,
        # and so on for ever.
        if pane is not None and pane == event.tabs.active and pane != self.pane:
            self.go(pane)
