"""What all screens have in common."""

from __future__ import annotations

from textual.geometry import Size
from textual.screen import Screen, ScreenResultType


class SteadyScreen(Screen[ScreenResultType]):
    """A screen that is laid out, and drawn, once for a size.

    Textual (8.2) lays a screen out when it comes to the front, which tells it its size, and then
    again because it was told: half of what opening one costs.
    """

    def _screen_resized(self, size: Size) -> None:
        if size != self._size:
            super()._screen_resized(size)
