"""The run under way, in one line: for the status line of other screens and the window's title."""

from __future__ import annotations

from typing import ClassVar, Protocol, runtime_checkable

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets import Static

from gpt.stopwatch import awake
from gpt.text import visible
from tui.numbers import clock
from tui.pace import FIGURES_EVERY, Pace
from tui.view import View


def percent(view: View) -> int:
    """How far the run is, in whole percent."""
    record = view.record
    return min(100, 100 * record.step // record.max_iters) if record.max_iters else 0


def last_loss(view: View) -> float | None:
    """The loss of the last logged step, if it is a number."""
    losses = view.record.curve["loss"]
    return losses[-1] if len(losses) and losses[-1] == losses[-1] else None


def status(view: View) -> str:
    """Name, phase, progress, loss and time left, as far as they are known."""
    record = view.record
    finished = record.finished
    parts = [view.name, finished.reason if finished else record.phase or "starting"]
    if record.max_iters:
        parts.append(f"step {record.step:,} of {record.max_iters:,}")
        parts.append(f"{percent(view)} %")
    if (loss := last_loss(view)) is not None:
        parts.append(f"loss {loss:.3f}")
    if finished is None and (left := record.seconds_left) is not None:
        parts.append(f"{clock(left)} left")
    return visible(" · ".join(parts), keep="")


def title(view: View | None) -> str:
    """The terminal's title: percent and loss first, since the end of it may be cut off."""
    if view is None:
        return "Nanodeck"
    finished, loss = view.record.finished, last_loss(view)
    parts = [finished.reason if finished else f"{percent(view)} %"]
    if loss is not None:
        parts.append(f"loss {loss:.3f}")
    return visible(" · ".join([*parts, view.name, "Nanodeck"]), keep="")


@runtime_checkable
class Redrawn(Protocol):
    """A screen that draws a run, and is told when there may be something new to draw."""

    view: View

    def refresh_view(self) -> None:
        """Draw what is due."""


class StatusLine(Static, can_focus=True):
    """One line with the run under way; `enter` or a click shows the run. Hidden without one.

    The App calls `show` on its tick.
    """

    DEFAULT_CSS = """
    StatusLine {
        dock: bottom;
        display: none;
        height: 1;
        margin-bottom: 1;  /* the footer's line: docked widgets lie over one another */
        padding: 0 1;
        color: $foreground;
        background: $panel;
        text-wrap: nowrap;
        text-overflow: ellipsis;
    }
    StatusLine.-shown { display: block; }
    StatusLine:focus { text-style: reverse; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "app.show_run", "show the run")]

    def __init__(self) -> None:
        super().__init__("", markup=False)
        self._text = ""
        self._pace = Pace(FIGURES_EVERY)

    def show(self, view: View | None) -> None:
        """Draw this run, if that is due and there is something new; None hides the line."""
        if view is not None and not self._pace.due(awake(), free=True):
            return
        text = status(view) if view else ""
        if text != self._text:
            self._text = text
            self.set_class(bool(text), "-shown")
            # The key is drawn as the footer draws its keys.
            self.update(Content.assemble(("v", "bold $accent"), f"  {text}"), layout=False)

    async def on_click(self, event: events.Click) -> None:
        """Show the run."""
        event.stop()
        await self.run_action("app.show_run")
