"""The run screen: one run, live, watched or past, drawn from its record."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import ActiveBinding
from textual.containers import Container

from gpt.folders import state_folder
from gpt.stopwatch import awake
from gpt.summary import UNREADABLE
from gpt.text import visible
from tui import clipboard, keys
from tui.asking import Asking
from tui.chart import Chart
from tui.evals import Evals
from tui.figures import Figures
from tui.footer import Footer
from tui.heading import SMALL, Heading
from tui.layout import Layout
from tui.lines import ROLES, app_of
from tui.onward import reference_of
from tui.pace import CHART_EVERY, FIGURES_EVERY, LOG_EVERY, TICK, Pace, Room, behind
from tui.panes import Log, Pane, ScrollPane
from tui.samples import Samples, Tail
from tui.summary import Summary
from tui.view import View
from tui.watch import Watch, in_words

COLUMNS = [(0, "-tiny"), (SMALL[0], "-narrow"), (100, "-normal"), (160, "-wide")]
AGAIN = 5.0
"""Seconds until a journal is looked at again that could not be read."""
ROWS = [(0, "-flat"), (SMALL[1], "-low"), (20, "-high")]


class RunScreen(Asking):
    """Everything about one run. It draws what has changed, when that is due, while on top."""

    CSS_PATH = "nanodeck.tcss"
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"run--{role}" for role in ROLES}
    HORIZONTAL_BREAKPOINTS = COLUMNS
    VERTICAL_BREAKPOINTS = ROWS
    BINDINGS = keys.BINDINGS

    def __init__(self, view: View, clock: Callable[[], float] = awake) -> None:
        super().__init__()
        self.view = view
        self._watch: Watch | None = None
        self._is_warned = False
        self.clock = clock
        self.look = Layout.load()
        self.cursor: int | None = None
        self._drawn = self._charted = -1
        self._settled: int | None = None
        self._yielded = False
        """Whether the chart let the figures go first."""
        self._figures = Pace(FIGURES_EVERY)
        self._log = Pace(LOG_EVERY)
        self._curves = Pace(CHART_EVERY)
        self._phase = ""
        self._offered: tuple[bool, ...] = ()
        self._noticed = len(view.record.notices)
        self.heading = Heading(id="heading")
        curve, self._problem = reference_of(view)
        self.chart = Chart(1, self.look, curve)
        self.evals = Evals(3)
        self.samples = Samples(4, typed=view.control is not None, clock=clock)
        self.panes: tuple[Pane, ...] = (
            self.chart,
            Figures(2),
            self.evals,
            self.samples,
            Log(5),
        )
        self._room = Room()
        for pane in self.panes:
            pane.room = self._room
        self.tail = Tail(id="tail")
        self.summary = Summary(id="summary")

    def compose(self) -> ComposeResult:
        yield self.heading
        with Container(id="panes"):
            yield from self.panes
        yield self.tail
        yield self.summary
        yield Footer(gap=1)

    def on_mount(self) -> None:
        # Of a run in another process the App does not know.
        self._beat = self.set_interval(TICK, self._look, pause=True)
        if self._problem:
            self._warn(self._problem)
        self._choose(self.look.pane)

    def on_screen_resume(self) -> None:
        self.view.elsewhere = self.view.control is None and self.view.run.is_live()
        if self.view.elsewhere:
            self._begin_to_watch()
        self.refresh_view()

    def on_screen_suspend(self) -> None:
        self._beat.pause()

    # --- a run of another process

    @work(thread=True, exclusive=True, group="watch", exit_on_error=False)
    def _begin_to_watch(self) -> None:
        try:
            act = partial(self._watch_on, Watch(self.view.run))
        except UNREADABLE as error:
            act = partial(self._watch_later, in_words(error))
        app_of(self).call_from_thread(act)

    def _watch_later(self, why: str) -> None:
        if self._watch is not None:
            self._beat.resume()  # which says why
            return
        if not self._is_warned:
            self._warn(why)
        self._is_warned = True
        self.set_timer(AGAIN, self._begin_to_watch)

    def _watch_on(self, watch: Watch) -> None:
        self._watch = watch
        self.view.record = watch.record
        self._noticed = len(watch.record.notices)
        self._drawn = self._charted = -1
        if app_of(self).screen is self:
            self._beat.resume()

    def _look(self) -> None:
        """See what the other process has done since."""
        self.view.elsewhere = self._watch is not None and self._watch.look(self._warn)
        self.refresh_view()

    def _warn(self, words: str) -> None:
        self.notify(visible(words), severity="warning", markup=False)

    def on_resize(self) -> None:
        self._turn()
        self.call_after_refresh(self._draw_heading)

    # --- drawing

    def refresh_view(self) -> None:
        """Draw what is due. The App calls this on its tick."""
        if not self.is_mounted or app_of(self).screen is not self:
            return
        revision, moving = self.view.record.revision, self.view.moving
        with self._room.of(app_of(self) if moving else None):
            if self.samples.write_out() if self._room.limited else self.samples.type():
                self._draw_tail()
            if not moving and self._settled == revision:
                return
            self._settled = None if moving else revision
            self._turn()
            self._draw_due(self.clock(), not behind(app_of(self)))
        self._tell()
        if not moving:
            self._beat.pause()

    def _draw_due(self, now: float, free: bool) -> None:
        """Draw what has waited long enough, and of what there was no room for as much as there is;
        `free` says that the terminal has taken all there was."""
        revision, ended = self.view.record.revision, not self.view.moving
        if figures := ended or self._figures.due(now, free):
            with self._figures.drawing():
                self._draw_heading()
                if self._drawn != revision and self.cursor is None:
                    scroll = ended or self._log.due(now, free)
                    self._draw_panes(self.panes[1:] if scroll else self.panes[1:-1])
        left = [pane for pane in self.panes if pane.unpainted and pane.display]
        # Not at one tick with the figures if the next one will do, since a key waits for both.
        yields = figures and not self._yielded and self._charted >= 0 and self._curves.ripe(now)
        due = ended or (not left and not yields and self._curves.due(now, free))
        self._yielded = yields
        if self._charted != revision and due:
            with self._curves.drawing():
                self._draw_chart()
        for pane in left if ended or free else ():
            pane.repaint()

    def _turn(self) -> None:
        """See whether the run does something else now, and say so at once."""
        view, control = self.view, self.view.control
        offered = (
            view.moving,
            control is not None and control.paused,
            control is not None and control.stopping,
            bool(view.record.saved),
            self.size.width >= keys.WIDE,
        )
        if view.record.phase != self._phase or offered != self._offered:
            self._learn_scale()
            self._draw_heading()
        # The footer is built anew for this, which takes longer than drawing the chart.
        if offered != self._offered:
            self.refresh_bindings()
        self._phase, self._offered = view.record.phase, offered

    def _learn_scale(self) -> None:
        """Once the corpus is ready, how many characters a token stands for."""
        if self.evals.characters_per_token is None:
            from gpt import corpus

            if ready := corpus.peek(self.view.config.dataset):
                self.chart.characters_per_token = ready.characters_per_token
                self.evals.characters_per_token = ready.characters_per_token

    def _draw_heading(self) -> None:
        small = self.size.width < SMALL[0] or self.size.height < SMALL[1]
        self.heading.show(self.view, now=time.time(), cursor=self.cursor, small=small)
        if not self.view.moving:
            self.add_class("-ended")
            self.summary.show(self.view.record, self.view.run.path)

    def _draw_panes(self, panes: Sequence[Pane]) -> None:
        """These panes as the run is now or was at the cursor."""
        self._drawn = self.view.record.revision
        self.samples.past = self.cursor is not None
        record = self.view.record if self.cursor is None else self.view.record.at(self.cursor)
        for pane in panes:
            pane.show(record)
        self._draw_tail()

    def _draw_chart(self) -> None:
        self._charted = self.view.record.revision
        self.chart.show(self.view.record)

    def _draw_tail(self) -> None:
        self.tail.show(self.samples.newest())

    def _tell(self) -> None:
        """Warnings of a run under way, once each."""
        notices = self.view.record.notices
        for notice in notices[self._noticed :] if self.view.moving else []:
            if notice.level != "info":
                self.notify(visible(notice.text), severity=notice.level, markup=False)
        self._noticed = len(notices)

    # --- moving about

    @on(Chart.Moved)
    def _move(self, moved: Chart.Moved) -> None:
        self.cursor = moved.step
        self.chart.show_cursor(moved.step)
        self._draw_heading()
        self._draw_panes(self.panes[1:])

    def action_live(self) -> None:
        """Back to the newest step, and to the end of the pane in focus."""
        if isinstance(self.focused, ScrollPane):
            self.focused.follow()
        if self.cursor is not None:
            self._move(Chart.Moved(None))

    def action_pane(self, number: int) -> None:
        """Focus a pane; zoom it, or show all again, when it has the focus already."""
        if self.focused is self.panes[number - 1]:
            self.look.zoomed = not self.look.zoomed
        self._choose(number)
        self.look.save()

    def action_restore(self) -> None:
        """Show all panes."""
        self.look.zoomed = False
        self._choose(self.look.pane)
        self.look.save()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        if isinstance(event.widget, Pane) and event.widget.number != self.look.pane:
            self._choose(event.widget.number)

    def _choose(self, number: int) -> None:
        self.look.pane = number
        for pane in self.panes:
            pane.set_class(pane.number == number, "-chosen")
        self.set_class(self.look.zoomed, "-zoomed")
        self.set_class(number == self.samples.number, "-writing")
        self.call_after_refresh(self.panes[number - 1].focus)

    def action_look(self, name: str, change: int = 1) -> None:
        """Another metric, axis, scale, window or smoothing of the chart."""
        self.look.turn(name, change)
        self._draw_chart()
        self.look.save()

    # --- going on from here

    @work(exclusive=True)
    async def action_copy(self) -> None:
        """Copy the pane in focus: clipboard program, OSC 52, and a file."""
        pane = self.panes[self.look.pane - 1]
        text = pane.plain_text()
        folders = self.view.run.path, state_folder()
        name = f"copied-{pane.id}.txt"
        self.notify(await clipboard.offer(app_of(self), text, name, folders), markup=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what can act now is offered."""
        return keys.can_act(action, self.view)

    @property
    def active_bindings(self) -> dict[str, ActiveBinding]:
        """What the footer shows from."""
        return keys.fitted(super().active_bindings, self.size.width)
