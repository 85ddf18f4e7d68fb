"""Screens that are laid out no more often than their size asks for."""

from __future__ import annotations

from textual.geometry import Size
from textual.screen import Screen, ScreenResultType


class SteadyScreen(Screen[ScreenResultType]):
    """A screen that is not laid out, and drawn, again because it was told its size.

    Textual (8.2) does so after it has laid a screen out that comes to the front, which is what
    tells it: a third of what opening one costs.
    """

    def _screen_resized(self, size: Size) -> None:
        if size != self._size:
            super()._screen_resized(size)
