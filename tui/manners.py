"""An app's manners towards the terminal: colours, ASCII, title, and what is printed meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from textual import events
from textual.app import App
from textual.filter import LineFilter
from textual.theme import Theme

from gpt.stopwatch import awake
from tui.palette import has_few_colors, remember
from tui.precedence import Precedence
from tui.terminal import Terminal, speaks_utf8
from tui.theme import ANSI, NANODECK, AsciiFilter, choose

TITLE_SECONDS = 2.0


class MannerlyApp(App[None]):
    """An App that suits the terminal it is in.

    Args:
        terminal: the terminal that it has to itself; None in tests.
        ascii: draw with ASCII alone, also where the locale speaks UTF-8.
        clock: seconds, without those in which the process was stopped.

    Attributes:
        window_title: the terminal's title as it was last set.
        precedence: whether training or what a key draws comes first.
    """

    def __init__(
        self,
        terminal: Terminal | None = None,
        *,
        ascii: bool = False,
        clock: Callable[[], float] = awake,
    ) -> None:
        # Textual decides now, before the theme is known, how it leaves colours out.
        super().__init__(ansi_color=has_few_colors(os.environ) or None)
        self.terminal = terminal
        self.ascii = ascii or not speaks_utf8()
        self.clock = clock
        self.window_title = ""
        self.precedence = Precedence()
        self._titled_at = -TITLE_SECONDS
        self._ascii_filter = AsciiFilter()
        self.register_theme(NANODECK)
        self.register_theme(ANSI)
        self.theme = self._known_theme = choose(os.environ, self.available_themes)

    def on_mount(self) -> None:
        """Listen for what concerns the terminal."""
        self.theme_changed_signal.subscribe(self, self._remember_theme)
        self.begin_capture_print(self)

    async def on_event(self, event: events.Event) -> None:
        """What a person does comes before training."""
        if isinstance(event, events.InputEvent):
            self.precedence.to_person()
        await super().on_event(event)

    def on_print(self, event: events.Print) -> None:
        """What Python prints goes where native output goes, not on the screen."""
        if self.terminal:
            self.terminal.note(event.text)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """With `ascii`, all that is drawn becomes ASCII at the very end."""
        filters = super().get_line_filters()
        return [*filters, self._ascii_filter] if self.ascii else filters

    def set_window_title(self, text: str) -> None:
        """Set the terminal's title, when it differs, and seldom; the terminal restores it."""
        now = self.clock()
        if text == self.window_title or now - self._titled_at < TITLE_SECONDS:
            return
        self.window_title, self._titled_at = text, now
        # The Linux console has no title.
        if self._driver and self.terminal and os.environ.get("TERM") != "linux":
            self._driver.write(f"\x1b]2;{text}\x07")

    def _remember_theme(self, theme: Theme) -> None:
        if theme.name != self._known_theme:
            self._known_theme = theme.name
            remember(theme.name)
