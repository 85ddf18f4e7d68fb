"""The help screen: the keys that work here, read from the bindings themselves, and the words."""

from __future__ import annotations

from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.keys import format_key
from textual.screen import Screen

from tui.still import Still

WORDS = {
    "loss": "How surprised the model is by the next token, on average, in nats. Guessing among "
    "65 characters gives 4.17; 2.5 knows letter pairs, 2.0 the shapes of words, 1.5 words.",
    "train, val": "The loss on text the model learns from, and on text kept from it. When val "
    "rises while train falls, the model learns by heart.",
    "perplexity": "e to the power of the loss: among how many tokens the model seems to choose.",
    "bits a character": "The loss in bits: the size of the text if the model compressed it.",
    "step": "One update of the parameters, from batch_size × block_size tokens.",
    "learning rate": "How far one update goes. It warms up, then falls along a cosine.",
    "gradient norm": "How steep the loss is. Jumps announce trouble; grad_clip shortens them.",
    "peak share": "The part of this machine's measured arithmetic speed that training uses.",
    "checkpoint": "The model on disk: best is the lowest val loss, last the most recent.",
    "temperature, top-k": "How daring the model writes, and among how many tokens it draws.",
}

NAMED = ("up", "down", "left", "right", "enter", "space", "tab", "backspace")
"""Keys that go by their name, not by a sign."""


class HelpScreen(Screen[None]):
    """Keys and words, in place of the screen that they belong to.

    Not over it: to dim a screen that goes on changing is most of what opening this would cost.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1", "dismiss", "back"),
        Binding("down,j", "scroll(1)", show=False),
        Binding("up,k", "scroll(-1)", show=False),
    ]

    def __init__(self, app: App[None], screen: Screen[object]) -> None:
        super().__init__()
        self.keys = keys(app, screen)

    def compose(self) -> ComposeResult:
        """One scrollable text."""
        with VerticalScroll(id="help") as scroll:
            scroll.border_title = "help"
            scroll.border_subtitle = "esc  back"
            yield Still(self._text(), id="help-text")

    def action_scroll(self, lines: int) -> None:
        """Move the text by so many lines."""
        self.query_one("#help").scroll_relative(y=lines, animate=False)

    def _text(self) -> Content:
        width = max(len(shown) for entries in self.keys.values() for shown, _ in entries)
        parts: list[str | tuple[str, str]] = []
        for heading, entries in self.keys.items():
            if entries:
                parts.append((f"{heading}\n", "bold"))
                for shown, description in entries:
                    parts += [(f"  {shown:<{width}}  ", "bold"), f"{description}\n"]
                parts.append("\n")
        parts.append("Esc leaves a field; letters act outside fields. ")
        parts.append("The mouse works everywhere.\n\n")
        parts.append(("Words\n", "bold"))
        for word, meaning in WORDS.items():
            parts += [(f"  {word}: ", "bold"), f"{meaning}\n"]
        return Content.assemble(*parts)


def keys(app: App[None], screen: Screen[object]) -> dict[str, list[tuple[str, str]]]:
    """The keys that work on this screen now, each with what it does.

    Several keys for one thing are joined. Those of the screen come first, then those of the
    widget that has the focus; in both, what the footer shows comes first.
    """
    found: dict[str, dict[str, list[str]]] = {"Keys": {}, "Where the focus is": {}}
    bindings = screen.active_bindings.values()
    for active in sorted(bindings, key=lambda active: not active.binding.show):
        binding = active.binding
        if binding.description and not binding.system:
            general = active.node in (screen, app)
            entries = found["Keys" if general else "Where the focus is"]
            entries.setdefault(binding.description.lower(), []).append(spelt(binding))
    return {
        heading: [(" ".join(sorted(names, key=len)), what) for what, names in entries.items()]
        for heading, entries in found.items()
    }


def spelt(binding: Binding) -> str:
    """The key in letters: q, ctrl+q, esc, up."""
    modifiers, key = binding.parse_key()
    name = "esc" if key == "escape" else key if key in NAMED else format_key(key)
    return "+".join([*modifiers, name])
