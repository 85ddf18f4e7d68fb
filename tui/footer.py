"""The keys that work here, in one line at the foot of a screen; a click presses one."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

from rich.cells import cell_len
from rich.segment import Segment
from textual import events
from textual.screen import Screen
from textual.signal import Signal
from textual.strip import Strip
from textual.widget import Widget

from tui.lines import app_of

LAST = 2
"""So many of the last keys, help and quit, stay when there is no room for all."""


class Key(NamedTuple):
    """A key as it is shown, what it does, and how Textual calls it."""

    shown: str
    description: str
    name: str

    @property
    def width(self) -> int:
        """In columns, with the blank between it and its description."""
        return cell_len(self.shown) + 1 + cell_len(self.description)


class Footer(Widget):
    """One widget for all keys, drawn anew only when they are others than before.

    Textual's own footer makes a widget for each key whenever the focus moves, which costs more
    than drawing the chart, and never lets go of them (textual 8.2: `data_bind` keeps each).

    Args:
        gap: columns between two keys.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {"footer--key", "footer--description"}
    DEFAULT_CSS = """
    Footer {
        dock: bottom;
        height: 1;
        padding: 0 1;
        background: $footer-background;
        .footer--key { color: $footer-key-foreground; text-style: bold; }
        .footer--description { color: $footer-description-foreground; }
    }
    """
    ALLOW_SELECT = False

    def __init__(self, gap: int = 2) -> None:
        super().__init__()
        self.gap = gap
        self.keys: list[Key] = []

    def on_mount(self) -> None:
        """Hear of every change of focus, and of what can act."""
        changed: Signal[Any] = self.screen.bindings_updated_signal  # pyright: ignore
        changed.subscribe(self, self._learn)
        self._learn(self.screen)

    def _learn(self, screen: Screen[object]) -> None:
        found: dict[str, Key] = {}
        for active in screen.active_bindings.values():
            binding = active.binding
            if binding.show and active.enabled:
                shown = app_of(self).get_key_display(binding)
                found.setdefault(binding.action, Key(shown, binding.description, binding.key))
        keys = list(found.values())
        if keys != self.keys:
            self.keys = keys
            self.refresh()

    def fitting(self) -> list[Key]:
        """Those that there is room for."""
        keys = self.keys.copy()
        while len(keys) > LAST and self._width(keys) > self.content_size.width:
            del keys[-1 - LAST]
        return keys

    def _width(self, keys: list[Key]) -> int:
        return sum(key.width + self.gap for key in keys) - self.gap

    def render_line(self, y: int) -> Strip:
        """The line."""
        name = self.get_component_rich_style("footer--key")
        description = self.get_component_rich_style("footer--description")
        segments: list[Segment] = []
        for key in self.fitting() if y == 0 else []:
            segments.append(Segment(key.shown, name))
            segments.append(Segment(f" {key.description}{' ' * self.gap}", description))
        return Strip(segments)

    def on_click(self, event: events.Click) -> None:
        """Press the key that was clicked."""
        offset = event.get_content_offset(self)
        left = 0
        for key in self.fitting():
            if offset is not None and left <= offset.x < left + key.width:
                event.stop()
                app_of(self).simulate_key(key.name)
            left += key.width + self.gap
