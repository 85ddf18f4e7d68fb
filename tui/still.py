"""Text that keeps still: it costs nothing while what it shows stays the same."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static


class Still(Static):
    """Text, never markup. The screen is laid out anew only when its height changes."""

    def __init__(
        self, text: Content | str = "", *, id: str | None = None, classes: str | None = None
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
