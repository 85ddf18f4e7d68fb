"""The App: its screens, the session and the redraw tick."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from gpt.errors import OUT_OF_MEMORY
from gpt.runs import ROOT, Run, RunError
from gpt.stopwatch import awake
from tui import messages
from tui.imports import import_trainer
from tui.main import Options
from tui.pace import TICK
from tui.past import extension, reference, went_on
from tui.reopening import ReopeningApp
from tui.session import Session, Trainer, gpt_resume, gpt_train
from tui.setup import SetupScreen
from tui.status import Redrawn, StatusLine, title
from tui.terminal import Terminal
from tui.view import View

if TYPE_CHECKING:
    from tui.bench import BenchScreen

IMPORT_SECONDS = 0.2
"""After the first paint, so that importing torch does not hold up the first keys."""


class Nanodeck(ReopeningApp):
    """Screens over one `Session`. Screens ask for things by messages; only the App acts."""

    TITLE = "Nanodeck"
    # The first screen's own style is not loaded by Textual.
    CSS_PATH = "nanodeck.tcss"
    COMMAND_PALETTE_BINDING = "colon"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "show_run", "show the run"),
        Binding("question_mark,f1", "help", "help"),
        Binding("colon,ctrl+p", "command_palette", "commands", show=False),
        Binding("q", "quit", "quit"),
        Binding("ctrl+q", "quit", "quit", show=False, priority=True),
        Binding("ctrl+c", "interrupt", "quit", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", "to the shell", show=False, priority=True),
    ]

    def __init__(
        self,
        options: Options,
        terminal: Terminal | None = None,
        clock: Callable[[], float] = awake,
        train: Trainer = gpt_train,
    ) -> None:
        super().__init__(terminal, ascii=options.ascii, clock=clock)
        self.options = options
        self.train = train
        self._setup = SetupScreen(options.preset, options.values)
        self._bench: BenchScreen | None = None
        self._ending_seen = True

    # --- starting

    def get_default_screen(self) -> Screen[None]:
        """The form is what stands below all other screens."""
        return self._setup

    def on_mount(self) -> None:
        """Start the tick; import torch once there is something to look at."""
        self.set_interval(TICK, self.tick)
        self.heed_stops()
        if self.options.start:
            self.call_after_refresh(self._setup.press_train)
        if self.terminal:
            self.set_timer(IMPORT_SECONDS, import_trainer)

    # --- the tick

    def tick(self) -> None:
        """Take in what the run did, and let the screen on top show it."""
        if not self.screen_stack:  # the app is closing
            return
        session = self.session
        self.precedence.settle(self.training)
        if session is None:
            self.set_window_title(title(None))
            return
        session.drain()
        if session.refused is not None:
            self._refuse(session.refused)
            return
        self._redirect(session)
        if session.over and not self._ending_seen:
            self._end(session)
        screen = self.screen
        if isinstance(screen, Redrawn):
            screen.refresh_view()
        else:
            for line in screen.query(StatusLine):
                line.show(session.view)
        self.set_window_title(title(session.view))
        self.exit_if_due()

    def _end(self, session: Session) -> None:
        """Once, when the run has ended: ring, unless the person ended it."""
        self._ending_seen = True
        finished = session.view.record.finished
        if finished and finished.reason != "stopped":
            self.bell()
        if finished and (finished.error or "").startswith(OUT_OF_MEMORY):
            # The form is where the sizes are that matter; the run stays in the table of runs.
            self._close(session.view)
            self._tell(finished.error or "", seconds=30)
        self._measure_on()

    def _redirect(self, session: Session) -> None:
        run = session.view.run
        if self.terminal and session.view.record.started:
            self.terminal.redirect_native_output(None if session.over else run.log)

    def _refuse(self, words: str) -> None:
        """The run could not begin: back to the screen below, with the reason."""
        if self.session:
            self._close(self.session.view)
            self._setup.refuse(self.session.view.config.dataset, words)
        self.session = None
        for screen in self.screen_stack:
            for line in screen.query(StatusLine):
                line.show(None)
        self._tell(words, seconds=30)
        self._measure_on()
        self.exit_if_due()

    def _measure_on(self) -> None:
        """No run needs the machine any more: the form, if in front, learns its times again."""
        if self.screen is self._setup:
            self._setup.ask()

    # --- what screens ask for

    @on(messages.Train)
    def _train(self, message: messages.Train) -> None:
        if self._busy():
            return
        try:
            run = Run.new(message.name)
        except RunError as error:
            self._tell(str(error))
            self._measure_on()
            return
        curve = reference(message.name)
        self._begin(Session(message.config, message.name, run, self.train, curve))
        self.action_show_run()

    def _begin(self, session: Session) -> None:
        if self._bench:
            self._bench.stop()
        self.clear_notifications()  # what they told was of other runs
        self.session = session
        self._ending_seen = False
        session.start()

    def _busy(self, so: str = "one run trains at a time") -> bool:
        """Whether a run is under way, which is then said, with what follows from it."""
        if self.session is None or not self.training:
            return False
        self._tell(
            f"{self.session.view.name} is under way, and {so}. "
            "v shows it; there S twice stops and saves it."
        )
        return True

    @on(messages.Bench)
    def _measure(self, message: messages.Bench) -> None:
        if self._busy("a measurement needs the machine for itself"):
            return
        from tui.bench import BenchScreen

        self._bench = BenchScreen(message.config, message.name, clock=self.clock)
        self.push_screen(self._bench)

    @on(messages.Edit)
    def _edit(self, message: messages.Edit) -> None:
        self._back_to(self._setup)
        self._setup.edit(message.values, message.name)

    @on(messages.OpenRuns)
    def _open_runs(self) -> None:
        from tui.history import HistoryScreen

        for screen in self.screen_stack:
            if isinstance(screen, HistoryScreen):
                self._back_to(screen)
                return
        self.push_screen(HistoryScreen(ROOT))

    @on(messages.OpenRun)
    def _open_run(self, message: messages.OpenRun) -> None:
        session = self.session
        own = session and message.path.absolute() == session.view.run.path.absolute()
        if session and own and not (session.over and went_on(session.view)):
            self.read_no_more()
            self.action_show_run()
        else:
            self.read(message.path)

    @on(messages.Resume)
    def _resume(self, message: messages.Resume) -> None:
        if not self._busy():
            self.read(message.path, resume=True)

    def opened(self, view: View, resume: bool) -> None:
        """A past run is read: show it, or go on with it."""
        if self.session and view.run.path.absolute() == self.session.view.run.path.absolute():
            self.session.view = view  # it went on elsewhere
        if not resume:
            self._show(view)
        elif not self._busy():
            self._go_on(view)

    def _go_on(self, view: View) -> None:
        """Train a past run further, on its screen."""
        self._close(view)
        more = extension(view)
        config = view.config.model_copy(update=more)
        train = partial(gpt_resume, values=more)
        self._begin(Session(config, view.name, view.run, train, view.reference, view.record))
        self.action_show_run()

    @on(messages.Prompt)
    def _prompt(self, message: messages.Prompt) -> None:
        from tui.playground import PlaygroundScreen

        self.push_screen(PlaygroundScreen(message.path))

    def action_show_run(self) -> None:
        """Bring the run under way, or the last one, to the front."""
        if self.session:
            self._show(self.session.view)

    def action_help(self) -> None:
        """The keys that work here, and the words."""
        from tui.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            self.push_screen(HelpScreen(self, self.screen))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """`v` works, and is advertised, only where there is a run that is not in front."""
        if action == "show_run":
            screen = self.screen
            shown = isinstance(screen, Redrawn) and screen.view
            return self.session is not None and shown is not self.session.view
        return super().check_action(action, parameters)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """What the palette offers."""
        if screen is self._setup:
            yield SystemCommand("Train", "Start what the form says", self._setup.press_train)
            measure = self._setup.press_bench
            yield SystemCommand("Bench", "Where the time of a training step goes here", measure)
        else:
            to_setup = partial(self._back_to, self._setup)
            yield SystemCommand("Setup", "Choose and edit what to train", to_setup)
        if self.session:
            yield SystemCommand("Run", "Show the run, under way or over", self.action_show_run)
        yield SystemCommand("Runs", "The table of past runs", self._open_runs)
        yield SystemCommand("Theme", "Choose other colours", self.action_change_theme)
        yield SystemCommand("Help", "The keys that work here, and the words", self.action_help)
        yield SystemCommand("Quit", "Leave, saving the run under way", self.action_quit)

    def _show(self, view: View) -> None:
        from tui.run import RunScreen

        for screen in self.screen_stack:
            if isinstance(screen, RunScreen) and screen.view is view:
                self._back_to(screen)
                return
        self.push_screen(RunScreen(view))

    def _close(self, view: View) -> None:
        """Leave the screen of a run, where there is one in the stack, for the one below it."""
        below: Screen[Any] = self._setup
        for screen in self.screen_stack:
            if isinstance(screen, Redrawn) and screen.view.run.path == view.run.path:
                self._back_to(below)
                return
            below = screen

    def _back_to(self, screen: Screen[Any]) -> None:
        """Close what is above this screen. Not awaited: the caller may be one of those."""
        with self.batch_update():
            while self.screen is not screen:
                self.pop_screen()
