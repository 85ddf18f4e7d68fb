"""What the run will be: its size, its time on this machine, and nanoGPT's command for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content

from gpt.folders import cache_folder, state_folder
from gpt.text import visible
from tui import numbers
from tui.desk import Pane
from tui.lines import app_of
from tui.still import Still

if TYPE_CHECKING:
    from gpt.config import Config
    from gpt.corpus import Corpus
    from gpt.estimate import Timing

MEASURING = "measuring ..."
BUSY = "slows this down now"
UNFIT = "These settings cannot be trained with yet."
LABEL_WIDTH = 12


@dataclass(frozen=True, slots=True)
class Outlook:
    """All that is known beforehand about a run.

    `corpus` is None while its text is not prepared; `timing` is a text when there is none, and
    None while it is being measured. `free_memory` is in bytes, None where it is not known.
    """

    config: Config
    vocab_size: int
    corpus: Corpus | None
    free_memory: int | None
    timing: Timing | str | None

    @property
    def seconds(self) -> float | None:
        """From the start to the end of the run."""
        from gpt.estimate import Timing, total_seconds

        if not isinstance(self.timing, Timing):
            return None
        return total_seconds(self.config, self.timing)

    @property
    def busy(self) -> bool:
        """Whether other work held the cores while it was measured, which makes it too long."""
        return getattr(self.timing, "busy", False)

    def rows(self) -> list[tuple[str, str]]:
        """Labels and values, in the order in which they are read."""
        from gpt import estimate

        config = self.config
        count = estimate.params(config, self.vocab_size, positions=False)
        unread, tokens = "" if self.corpus else "about ", self._tokens
        needed = estimate.memory(config, self.vocab_size)
        memory = " ".join(numbers.size(needed))
        if self.free_memory is not None:
            memory += " of " + " ".join(numbers.size(self.free_memory))
        return [
            ("parameters", unread + millions(count)),
            ("a step", f"{config.tokens_per_iter:,} tokens"),
            ("the run", MEASURING if tokens is None else f"{numbers.count(tokens)} tokens"),
            ("passes", self._passes()),
            ("memory", memory),
            *self._times(),
        ]

    @property
    def _tokens(self) -> int | None:
        from gpt.estimate import Timing, steps

        known = steps(self.config, self.timing if isinstance(self.timing, Timing) else None)
        return None if known is None else known * self.config.tokens_per_iter

    def _passes(self) -> str:
        if self.corpus is None:
            return "not read yet"
        if self._tokens is None:
            return MEASURING
        share = self._tokens / self.corpus.train_tokens if self.corpus.train_tokens else 0.0
        return f"{share:,.2g} over the text" if share < 10 else f"{share:,.0f} over the text"

    def _times(self) -> list[tuple[str, str]]:
        from gpt.estimate import Timing, first_loss_seconds

        if isinstance(self.timing, str):
            return [("time", visible(self.timing, keep=""))]
        if not isinstance(self.timing, Timing):
            return [("one step", MEASURING), ("first loss", MEASURING), ("the end", MEASURING)]
        timing, first = self.timing, duration(first_loss_seconds(self.config, self.timing))
        if timing.compiles:
            first += ", after compiling"
        return [
            ("one step", f"{step_time(timing.step_seconds)} on {visible(timing.device)}"),
            ("first loss", f"in {first}"),
            ("the end", f"in {duration(self.seconds or 0.0)}"),
            *([("other work", BUSY)] if self.busy else []),
        ]


def duration(seconds: float) -> str:
    """About how long, in two digits or so: 34 s, 12 min, 1.6 h, 5 days, 40 years."""
    if seconds < 99.5:
        return f"{max(1.0, seconds):.0f} s"
    if seconds < 99.5 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} h"
    days = seconds / 86400
    return f"{days:,.0f} days" if days < 1000 else f"{days / 365.25:,.0f} years"


def step_time(seconds: float) -> str:
    """The time of one step: 0.8 ms, 46 ms, 1.3 s."""
    if seconds < 0.995:
        return f"{seconds * 1e3:.0f} ms" if seconds >= 0.00995 else f"{seconds * 1e3:.1f} ms"
    return f"{seconds:.1f} s" if seconds < 99.5 else duration(seconds)


def millions(count: int) -> str:
    """A count of parameters as nanoGPT prints it: 0.80 M."""
    return f"{count / 1e6:.2f} M" if count < 1e9 else f"{count / 1e9:.2f} G"


class ForecastPane(Pane):
    """The right side of the setup screen."""

    def compose(self) -> ComposeResult:
        """A heading and the forecast."""
        yield Still("forecast", classes="setup-heading")
        yield Forecast()

    def rest(self) -> None:
        """Focus the forecast."""
        self.screen.set_focus(self.query_one(Forecast))


class Forecast(VerticalScroll, can_focus=True):
    """Figures, and nanoGPT's command for the same run."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "copy", "copy the command")]

    def __init__(self) -> None:
        super().__init__()
        self.command = ""

    def compose(self) -> ComposeResult:
        """Figures, then the command."""
        yield Still(id="forecast-figures")
        yield Still(id="forecast-heading")
        yield Still(id="forecast-command")

    def show(self, outlook: Outlook | None) -> None:
        """Draw what is known; None while the settings cannot be trained with."""
        rows, self.command, heading, lacked = [], "", "", ""
        if outlook is not None:
            from gpt.nanogpt import command_line, lacking

            rows = outlook.rows()
            if lacked := ", ".join(lacking(outlook.config)):
                heading = "not in nanoGPT"
            else:
                heading = "the same in nanoGPT"
                self.command = visible(command_line(outlook.config), keep="")
        figures = Content("\n").join(
            Content.assemble((label.ljust(LABEL_WIDTH), "dim"), (value, _style(value)))
            for label, value in rows
        )
        self.query_one("#forecast-figures", Still).put(figures if rows else UNFIT)
        self.query_one("#forecast-command", Still).put(self.command or lacked)
        self.query_one("#forecast-heading", Still).put(heading)

    @work(exclusive=True)
    async def action_copy(self) -> None:
        """Copy nanoGPT's command: clipboard program, OSC 52, and a file."""
        from tui import clipboard

        folders = [cache_folder(), state_folder()]
        told = await clipboard.offer(app_of(self), self.command, "copied-command.txt", folders)
        self.notify(told, markup=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """There is something to copy only when there is a command."""
        return bool(self.command) if action == "copy" else True


def _style(value: str) -> str:
    return "dim" if value == MEASURING else ""
