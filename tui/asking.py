"""What a person may ask of the run on screen while it trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from tui.heading import skippable
from tui.lines import app_of
from tui.messages import Resume
from tui.onward import Onward

TWICE = 2.0
"""Seconds within which the second S follows the first."""


class Asking(Onward):
    """A screen that shows one run, and takes what is asked of it."""

    clock: Callable[[], float]
    _stop_at = float("-inf")
    """When S was pressed last."""

    def refresh_view(self) -> None:
        """Draw what is due."""
        raise NotImplementedError

    def action_pause(self) -> None:
        """Hold the run before its next step."""
        if self.view.control is not None:
            self.view.control.pause()
            self.refresh_view()

    def action_go_on(self) -> None:
        """Continue after a pause, or a run that had stopped."""
        if not self.view.live:
            self.post_message(Resume(self.view.run.path))
        elif self.view.control is not None:
            self.view.control.go_on()
            self.refresh_view()

    def action_stop(self) -> None:
        """Stop and save, when asked twice."""
        now = self.clock()
        if self.view.control is not None and now - self._stop_at <= TWICE:
            self.view.control.stop()
            self.refresh_view()
        else:
            self._stop_at = now
            self.notify("S again stops and saves", severity="warning", timeout=TWICE)

    def action_ask(self, request: Literal["evaluate", "sample", "save"]) -> None:
        """Evaluate, sample or save after this step."""
        if self.view.control is not None:
            self.view.control.ask(request)
            words = {"evaluate": "an evaluation", "sample": "a sample", "save": "a checkpoint"}
            when = "now" if self.view.record.phase == "paused" else "after this step"
            self.notify(f"{words[request]} comes {when}", timeout=TWICE)

    def action_back(self) -> None:
        """Skip what can be skipped; else to the screen below, while training goes on."""
        if self.view.control is not None and skippable(self.view):
            self.view.control.skip()
        else:
            app_of(self).pop_screen()
