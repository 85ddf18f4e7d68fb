"""Parts of a screen that keep still: they cost nothing while what they show stays the same."""

from __future__ import annotations

from textual.content import Content
from textual.screen import Screen
from textual.widgets import Footer, Static


class Still(Static):
    """Text, never markup. The screen is laid out anew only when its height changes."""

    def __init__(
        self, text: str = "", *, id: str | None = None, classes: str | None = None
    ) -> None:
        super().__init__(text, id=id, classes=classes, markup=False)

    def put(self, content: Content | str) -> None:
        """Show this instead."""
        content = Content(content) if isinstance(content, str) else content
        if content == self.content:
            return
        height = self.styles.height
        grows = height is None or height.is_auto
        now = self.content_size
        # A widget that is not laid out yet has no width, in which no text can be measured.
        moves = not now.width or now.height != content.get_height({}, now.width)
        self.update(content, layout=grows and moves)


class Keys(Footer):
    """The keys that work here; made anew only when they are others than before."""

    def __init__(self, compact: bool = False) -> None:
        super().__init__(compact=compact, show_command_palette=False)
        self._keys: list[tuple[str, str, bool]] = []

    def bindings_changed(self, screen: Screen[object]) -> None:
        """The focus moved, or something can act now that could not."""
        keys = [
            (active.binding.key, active.binding.description, active.enabled)
            for active in screen.active_bindings.values()
            if active.binding.show
        ]
        if keys != self._keys:
            self._keys = keys
            super().bindings_changed(screen)  # pyright: ignore[reportUnknownMemberType]
