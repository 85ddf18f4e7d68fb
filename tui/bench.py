"""The bench: what training the form's settings costs on this machine, measured and drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from gpt import console
from gpt.errors import Refused
from gpt.events import Event, Notice, Phase, Progress
from gpt.figures import Figures
from gpt.folders import state_folder
from gpt.stopwatch import awake
from gpt.text import visible
from tui import clipboard, cost, numbers
from tui.bar import bar_of
from tui.footer import Footer
from tui.lines import app_of
from tui.measuring import Measuring
from tui.screen import SteadyScreen
from tui.status import StatusLine
from tui.still import Still

if TYPE_CHECKING:
    from gpt.config import Config

BEAT_SECONDS = 1.0
"""How often it is drawn while measuring: what drawing costs is taken from what is measured."""
COLUMNS = [(0, "-narrow"), (120, "-wide")]
BAR = 24
LOADING = "loading"
"""What the program does before it tells of its first phase."""
AIM = "real training steps for about ten seconds, with nothing written"
TITLES = {
    "#bench-parts": "where the time of a step goes",
    "#bench-rates": "how fast that is",
    "#bench-limits": "what limits this run",
}


class Fitted(Widget):
    """Text made for the width that it has."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._make: Callable[[int], Content] = lambda _: Content()

    def fit(self, make: Callable[[int], Content]) -> None:
        """Show what `make` makes of a width in columns."""
        self._make = make
        self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """The rows of it in so many columns."""
        return self._make(width).get_height({}, width)

    def render(self) -> Content:
        """The text."""
        return self._make(self.content_size.width)


class Course:
    """The phases of a measurement so far, when each began, and how far the last one is."""

    def __init__(self, now: float) -> None:
        self.begun: list[tuple[str, float]] = [(LOADING, now)]
        self.progress: Progress | None = None

    def take(self, event: Event, now: float) -> None:
        """Take an event in."""
        if isinstance(event, Phase):
            self.begun.append((event.name, now))
            self.progress = None
        elif isinstance(event, Progress):
            self.progress = event

    def rows(self, now: float, bar: str) -> Content:
        """A row for each phase with how long it lasts, the last one with how far it is.

        Args:
            bar: the characters that a bar and what is left of its room are drawn with.
        """
        ends = [begun for _, begun in self.begun[1:]]
        rows = [
            Content(f"  {phase:12}{numbers.clock(end - begun):>6}").stylize("dim")
            for (phase, begun), end in zip(self.begun, ends, strict=False)
        ]
        phase, begun = self.begun[-1]
        rows.append(Content.assemble(
            ("> ", "$accent"), (f"{phase:12}", "bold"), f"{numbers.clock(now - begun):>6}  ",
            *self._how_far(bar),
        ))  # fmt: skip
        return Content("\n").join(rows)

    def _how_far(self, bar: str) -> list[cost.Piece]:
        told = self.progress
        if told is None:
            return []
        done, unit = numbers.count(told.done), visible(told.unit, keep="")
        if not told.total:
            return [(f"{done} {unit}", "")]
        full, rest = cost.split_bar(told.done / told.total, BAR, bar)
        return [
            (full, "$accent"),
            (rest, "dim"),
            (f"  {done} of {numbers.count(told.total)} {unit}", ""),
        ]


class BenchScreen(SteadyScreen[None]):
    """Measures as soon as it is there; leaving it ends the measurement.

    Args:
        name: of the preset whose settings, edited or not, these are.
        clock: seconds, without those in which the process was stopped.

    Attributes:
        under_way: whether it measures now.
        figures: what was measured.
    """

    CSS_PATH = "bench.tcss"
    HORIZONTAL_BREAKPOINTS = COLUMNS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "again", "again"),
        Binding("y", "copy", "copy"),
        Binding("escape", "back", "back", key_display="esc"),
    ]

    def __init__(
        self,
        config: Config,
        name: str,
        clock: Callable[[], float] = awake,
    ) -> None:
        super().__init__()
        self.config, self.preset = config, visible(name, keep="")
        self.clock = clock
        self.under_way = False
        self.figures: Figures | None = None
        self._measuring: Measuring | None = None
        self._course = Course(clock())
        self._notes: list[tuple[str, bool]] = []

    def compose(self) -> ComposeResult:
        """What is measured; how far that is; what came of it."""
        yield Still(id="bench-title")
        with VerticalScroll(id="bench"):
            yield Still(id="bench-subject")
            yield Still(id="bench-notes")
            yield Still(id="bench-course")
            with Container(id="bench-figures"):
                yield Fitted(id="bench-parts")
                yield Fitted(id="bench-rates")
            yield Fitted(id="bench-limits")
        yield StatusLine()
        yield Footer()

    def on_mount(self) -> None:
        """Begin."""
        self.query_one("#bench").focus()
        self._put("title", f"Bench  {self.preset}")
        for name, title in TITLES.items():
            self.query_one(name).border_title = title
        self.set_interval(BEAT_SECONDS, self._draw_course)
        self._measure()

    async def on_unmount(self) -> None:
        """The measurement ends with the screen, on which nothing can be drawn any more."""
        self.workers.cancel_node(self)  # pyright: ignore[reportUnknownMemberType]
        if self._measuring:
            await self._measuring.close()

    # --- measuring

    @work(exclusive=True)
    async def _measure(self) -> None:
        measuring = self._measuring = Measuring(self.config)
        self._begin()
        try:
            async for told in measuring.told():
                if isinstance(told, Figures):
                    self._show(told)
                elif isinstance(told, Notice):
                    self._note(told.text, passing=told.level == "info")
                else:
                    self._follow(told)
        except Refused as error:
            self._note(str(error))
        if measuring.stopped:
            self._note("Stopped, since a run began.")
        self.under_way = False
        self._turn()

    def stop(self) -> None:
        """Leave the machine to a run that begins."""
        if self.under_way and self._measuring:
            self._measuring.stop()

    def _begin(self) -> None:
        self.under_way, self.figures = True, None
        self._course = Course(self.clock())
        self._put("subject", AIM)
        self._notes.clear()
        self._draw_notes()
        self._draw_course()
        self._turn()

    def _follow(self, event: Event) -> None:
        self._course.take(event, self.clock())
        if isinstance(event, Phase):
            self._draw_course()

    # --- drawing

    def _turn(self) -> None:
        """Show what belongs on screen now, and offer the keys that can act."""
        self.set_class(self.under_way, "-measuring")
        self.set_class(self.figures is not None, "-measured")
        self.refresh_bindings()

    def _draw_course(self) -> None:
        if self.under_way:
            self._put("course", self._course.rows(self.clock(), self._bar))

    def _show(self, figures: Figures) -> None:
        self.figures, bar = figures, self._bar
        self._notes = [(words, passing) for words, passing in self._notes if not passing]
        self._draw_notes()
        self._put("subject", cost.description(figures))
        self.query_one("#bench-parts", Fitted).fit(lambda width: cost.parts(figures, width, bar))
        self.query_one("#bench-rates", Fitted).fit(lambda width: cost.rates(figures, width, bar))
        self.query_one("#bench-limits", Fitted).fit(lambda width: cost.limits(figures, width))

    def _note(self, words: str, passing: bool = False) -> None:
        """Say one thing more that the person should know; a passing one until there are figures."""
        self._notes.append((visible(words), passing))
        self._draw_notes()

    def _draw_notes(self) -> None:
        self._put("notes", "\n".join(words for words, _ in self._notes))
        self.set_class(bool(self._notes), "-noted")

    def _put(self, name: str, content: Content | str) -> None:
        self.query_one(f"#bench-{name}", Still).put(content)

    @property
    def _bar(self) -> str:
        return bar_of(getattr(app_of(self), "ascii", False))

    # --- keys

    def action_again(self) -> None:
        """Measure once more."""
        self._measure()

    @work(exclusive=True, group="copy")
    async def action_copy(self) -> None:
        """The table that the command prints: clipboard program, OSC 52, and a file."""
        if self.figures:
            text = "\n".join(console.table(self.preset, self.figures))
            told = await clipboard.offer(app_of(self), text, "copied-bench.txt", [state_folder()])
            self.notify(told, markup=False)

    def action_back(self) -> None:
        """To the form, ending what is under way."""
        self.dismiss()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what can act now is offered."""
        match action:
            case "again":
                return not self.under_way
            case "copy":
                return self.figures is not None
            case _:
                return True
