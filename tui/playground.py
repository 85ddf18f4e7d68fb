"""Prompting a trained model, and reading as it writes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widgets import Input, Static

from gpt.errors import Refused
from gpt.folders import state_folder
from gpt.names import short_name
from gpt.runs import Run
from gpt.text import visible
from tui import clipboard
from tui.draft import unescape
from tui.footer import Footer
from tui.lines import app_of
from tui.marks import MARKS
from tui.screen import SteadyScreen
from tui.status import StatusLine
from tui.writer import Recipe, Writing, open_model

if TYPE_CHECKING:
    from gpt.sample import Sampler

SECONDS = 0.1
"""How often new text is drawn."""
TEXTS = 50
"""So many texts stay to be read; the oldest goes first."""
TEMPERATURES = tuple(step / 10 for step in range(21))
TOP_KS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, math.inf)
LENGTHS = (50, 100, 200, 500, 1000, 2000, 5000)


def neighbour(values: Sequence[float], value: float, step: int) -> float:
    """The next value up or down; `value` itself need not be one of them."""
    if step > 0:
        return min((v for v in values if v > value), default=value)
    return max((v for v in values if v < value), default=value)


class Beginning(Input):
    """The field for a prompt, which says what enter does."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "write", key_display="enter")
    ]


class Written(Static):
    """A prompt and what the model makes of it."""

    def __init__(self, prompt: str) -> None:
        super().__init__("", markup=False)
        self.prompt = prompt
        self.text = ""

    def on_mount(self) -> None:
        """Draw the prompt."""
        self.add("")

    def add(self, text: str, note: str = "") -> None:
        """Draw more text, and a note under it."""
        self.text += text
        shown = Text(visible(self.prompt), style="bold").append(visible(self.text), "not bold")
        if note:
            shown.append(f"\n{visible(note)}", "not bold italic dim")
        self.update(shown)


class PlaygroundScreen(SteadyScreen[None]):
    """Prompt the model of the run in this folder."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i,enter", "prompt", "prompt", key_display="enter"),
        Binding("a", "again", "again"),
        Binding("left_square_bracket", "temperature(-1)", "less daring", show=False),
        Binding("right_square_bracket", "temperature(1)", "more daring", show=False),
        Binding("left_curly_bracket", "top_k(-1)", "draw from fewer tokens", show=False),
        Binding("right_curly_bracket", "top_k(1)", "draw from more tokens", show=False),
        Binding("minus", "length(-1)", "shorter", show=False),
        Binding("plus,equals_sign", "length(1)", "longer", show=False),
        Binding("y", "copy", "copy"),
        Binding("escape", "back", "back"),
    ]

    class Ready(Message):
        """The model is loaded, or why it cannot be."""

        def __init__(self, model: Sampler | None, recipe: Recipe | None, words: str = "") -> None:
            super().__init__()
            self.model = model
            self.recipe = recipe
            self.words = words

    def __init__(self, run_path: Path) -> None:
        super().__init__()
        self.run = Run(run_path)
        self.model: Sampler | None = None
        self.recipe: Recipe | None = None
        self.writing: Writing | None = None
        self._prompt: str | None = None

    def compose(self) -> ComposeResult:
        """What was written, how it is drawn, and the field."""
        yield Static("", id="playground-title", markup=False)
        yield VerticalScroll(id="playground-texts")
        yield Static("", id="playground-recipe", markup=False)
        yield Beginning(
            placeholder="a beginning for the model to go on from; \\n is a line break",
            id="playground-prompt",
            highlighter=MARKS,
        )
        yield Static("", id="playground-problem", markup=False)
        yield StatusLine()
        yield Footer()

    def on_mount(self) -> None:
        """Load the model in a thread."""
        self._title("loading the model ...")
        self.query_one("#playground-texts", VerticalScroll).anchor()
        self.query_one(Input).focus()
        self.set_interval(SECONDS, self._draw)
        self.run_worker(self._load, thread=True, exit_on_error=False)

    def on_unmount(self) -> None:
        """Nobody reads it any more."""
        if self.writing:
            self.writing.stop()

    def _load(self) -> None:
        try:
            config = self.run.config()
            model = open_model(self.run)
        except Refused as error:
            self.post_message(self.Ready(None, None, str(error)))
            return
        except (ImportError, MemoryError, OSError, RuntimeError) as error:
            # Torch is missing, or a GPU is full of what trains on it.
            words = f"The model cannot be loaded: {error or type(error).__name__}."
            self.post_message(self.Ready(None, None, words))
            return
        recipe = Recipe(config.temperature, config.top_k, config.max_new_tokens, config.seed)
        self.post_message(self.Ready(model, recipe))

    @on(Ready)
    def _ready(self, message: Ready) -> None:
        self.model, self.recipe = message.model, message.recipe
        if message.model is None:
            self._title("")
            self._problem(message.words)
        else:
            self._title(f"the model of step {message.model.step:,}")
            self._problem(message.model.notice or "")
        self._show_recipe()
        self.refresh_bindings()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        self._write(unescape(event.value))

    def _write(self, prompt: str) -> None:
        """Begin a text, unless one is under way."""
        if self.model is None or self.recipe is None or self.writing:
            return
        self._problem("")
        self._prompt = prompt
        self.refresh_bindings()
        texts = self.query_one("#playground-texts", VerticalScroll)
        texts.mount(Written(prompt))
        for old in list(texts.children)[:-TEXTS]:
            old.remove()
        texts.anchor()
        texts.focus()
        self.writing = Writing(self.model, prompt, self.recipe)

    def _draw(self) -> None:
        """Show what the thread has written since the last time."""
        if self.writing is None:
            return
        written = self.query(Written).last()
        text, ended = self.writing.take()
        if ended is None:
            if text:
                written.add(text)
            return
        self.writing = None
        refused = ended.reason not in ("", "stopped")
        if refused and not (written.text or text):
            written.remove()
            self._problem(ended.reason)
            self.query_one(Input).focus()
        else:
            written.add(text, f"({ended.reason})" if ended.reason else "")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what can act now is offered."""
        match action:
            case "again" | "copy":
                return self._prompt is not None
            case "prompt":
                return self.model is not None
            case _:
                return True

    def action_prompt(self) -> None:
        """Type a prompt."""
        self.query_one(Input).focus()

    def action_again(self) -> None:
        """The same prompt with the next seed."""
        if self._prompt is not None and self.recipe and not self.writing:
            self._change(seed=self.recipe.seed + 1)
            self._write(self._prompt)

    def action_temperature(self, step: int) -> None:
        """A more or a less daring text, from the next one on."""
        if self.recipe:
            self._change(temperature=neighbour(TEMPERATURES, self.recipe.temperature, step))

    def action_top_k(self, step: int) -> None:
        """Draw from more or from fewer tokens; above the most: from all, which a recipe calls 0."""
        if self.recipe:
            top_k = neighbour(TOP_KS, self.recipe.top_k or math.inf, step)
            self._change(top_k=0 if math.isinf(top_k) else int(top_k))

    def action_length(self, step: int) -> None:
        """A longer or a shorter text, from the next one on."""
        if self.recipe:
            length = int(neighbour(LENGTHS, self.recipe.max_new_tokens, step))
            self._change(max_new_tokens=length)

    @work(exclusive=True, group="copy")
    async def action_copy(self) -> None:
        """The last text, its prompt in front: clipboard program, OSC 52, and a file."""
        if not self.query(Written):
            return
        last = self.query(Written).last()
        text = last.prompt + last.text
        folders = self.run.path, state_folder()
        told = await clipboard.offer(app_of(self), text, "copied-text.txt", folders)
        self.notify(told, markup=False)

    def action_back(self) -> None:
        """Stop the text under way; else leave the field; else leave the screen."""
        if self.writing:
            self.writing.stop()
        elif isinstance(self.focused, Input):
            self.query_one("#playground-texts").focus()
        else:
            self.dismiss()

    def _change(self, **changes: float) -> None:
        if self.recipe:
            self.recipe = dataclasses.replace(self.recipe, **changes)  # pyright: ignore[reportArgumentType]
            self._show_recipe()

    def _show_recipe(self) -> None:
        recipe = self.recipe
        line = ""
        if recipe:
            top_k = str(recipe.top_k) if recipe.top_k else "all"
            line = (
                f"[ temperature {recipe.temperature:g} ]   {{ top-k {top_k} }}   "
                f"- length {recipe.max_new_tokens:,} +   seed {recipe.seed}"
            )
        self.query_one("#playground-recipe", Static).update(line)

    def _title(self, words: str) -> None:
        name = short_name(self.run.name)
        self.query_one("#playground-title", Static).update(
            visible(f"Prompt  {name}  {words}", keep="")
        )

    def _problem(self, words: str) -> None:
        line = self.query_one("#playground-problem", Static)
        line.display = bool(words)
        line.update(visible(words))
