"""The dialog that saves what the form says as a preset."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from gpt import presets
from gpt.presets import Preset, PresetError
from gpt.text import visible
from tui.field import UNTYPABLE
from tui.marks import MARKS

if TYPE_CHECKING:
    from gpt.config import Config


class SaveDialog(ModalScreen[str | None]):
    """Asks for a name and a line about it; gives the name once it is saved.

    An own preset of that name is replaced only when asked a second time.

    Args:
        config: what to save.
        preset: the one that it came from.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "back", key_display="esc"),
        Binding("ctrl+s", "save", "save"),
    ]

    def __init__(self, config: Config, preset: Preset) -> None:
        super().__init__()
        self.config = config
        self.preset = preset
        self._to_replace = ""

    def compose(self) -> ComposeResult:
        """Two fields, what is wrong, two buttons."""
        own, name = not self.preset.shipped, self.preset.name
        name, description = (name, self.preset.description) if own else (f"my_{name}", "")
        with Vertical(id="save", classes="dialog"):
            yield Static("Save as a preset", classes="dialog-heading", markup=False)
            yield Static("name", classes="save-label", markup=False)
            yield Input(name, id="save-name", compact=True, restrict=UNTYPABLE, highlighter=MARKS)
            yield Static("a line about it", classes="save-label", markup=False)
            yield Input(
                description,
                placeholder="what it is for",
                id="save-description",
                compact=True,
                restrict=UNTYPABLE,
                highlighter=MARKS,
            )
            yield Static("", id="save-problem", markup=False)
            with Horizontal(classes="dialog-buttons"):
                yield Button("Save", id="save-yes", variant="primary")
                yield Button("Back", id="save-no")

    @on(Input.Submitted, "#save-name")
    def _next(self) -> None:
        self.query_one("#save-description").focus()

    @on(Input.Changed, "#save-name")
    def _renamed(self) -> None:
        self._to_replace = ""
        self._say("")

    @on(Input.Submitted, "#save-description")
    @on(Button.Pressed, "#save-yes")
    def action_save(self) -> None:
        """Write the file, unless it would replace another unasked."""
        name = self.query_one("#save-name", Input).value.strip()
        description = self.query_one("#save-description", Input).value.strip()
        exists = presets.is_own(name)
        if exists and self._to_replace != name:
            self._to_replace = name
            self._say(f"There is a preset {name} of yours. Save again to replace it.")
            return
        try:
            presets.save(name, self.config, description, replace=exists)
        except PresetError as error:
            self._say(str(error))
        else:
            self.dismiss(name)

    @on(Button.Pressed, "#save-no")
    def _leave(self) -> None:
        self.dismiss(None)

    def _say(self, words: str) -> None:
        self.query_one("#save-problem", Static).update(visible(words))
        self.query_one("#save-yes", Button).label = "Replace" if self._to_replace else "Save"
