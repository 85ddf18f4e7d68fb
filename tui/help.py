"""The help screen: the keys that work here, read from the bindings themselves, and the words."""

from __future__ import annotations

from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.keys import format_key
from textual.screen import Screen
from textual.strip import Strip

from tui.lines import ROLES, Lines, Row
from tui.panes import WHEEL
from tui.screen import SteadyScreen
from tui.wrap import wrap

WORDS = {
    "loss": "How surprised the model is by the next token, on average, in nats. Guessing among "
    "65 characters gives 4.17; 2.5 knows letter pairs, 2.0 the shapes of words, 1.5 words.",
    "train, val": "The loss on text the model learns from, and on text kept from it. When val "
    "rises while train falls, the model learns by heart.",
    "perplexity": "e to the power of the loss: among how many tokens the model seems to choose.",
    "bits a character": "The loss in bits: the size of the text if the model compressed it.",
    "*, +-": "The best of the evaluations that belong to the run; one asked for with e does not "
    "count. +- is the standard error of an estimate: another draw may differ by so much.",
    "step": "One update of the parameters, from batch_size × block_size tokens.",
    "learning rate": "How far one update goes. It warms up, then falls along a cosine.",
    "gradient norm": "How steep the loss is. Jumps announce trouble; grad_clip shortens them.",
    "peak share": "The part of this machine's measured arithmetic speed that training uses.",
    "checkpoint": "The model on disk: best is the lowest val loss, last the most recent.",
    "temperature, top-k": "How daring the model writes, and among how many tokens it draws.",
}

LETTERS = "Esc leaves a field; letters act outside fields. The mouse works everywhere."

BACK = "esc  back"
Entries = dict[str, list[tuple[str, str]]]
"""By heading, keys and what they do."""

NAMED = ("up", "down", "left", "right", "enter", "space", "tab", "backspace")
"""Keys that go by their name, not by a sign."""


class HelpText(Lines, can_focus=True):
    """Keys and words, of which only the rows in sight are drawn."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "scroll(1)", show=False),
        Binding("up,k", "scroll(-1)", show=False),
        Binding("pagedown,space", "page(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("home", "scroll(-1000000)", show=False),
        Binding("end", "scroll(1000000)", show=False),
    ]

    def __init__(self, entries: Entries) -> None:
        super().__init__(id="help")
        self.entries = entries
        self.border_title, self.border_subtitle = "help", BACK
        self._width = self._top = 0

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._fitted(width))

    def visible_rows(self) -> list[Row]:
        width, height = self.size
        return self._fitted(width)[self._top : self._top + height]

    def render_lines(self, crop: Region) -> list[Strip]:
        # The first picture comes before the widget is told its size by an event.
        self._painted = self.visible_rows()
        return super().render_lines(crop)

    def _fitted(self, width: int) -> list[Row]:
        if width != self._width:
            self._width, self.rows = width, written(self.entries, width)
        return self.rows

    def redraw(self) -> None:
        self.visible_rows()
        self.action_scroll(0)

    def action_scroll(self, count: int) -> None:
        """Move the text by so many rows."""
        last = max(0, len(self.rows) - self.size.height)
        top = max(0, min(last, self._top + count))
        if top != self._top:
            self._top = top
            self.refresh()
        below = f"{last - top} more below  " if top < last else ""
        if self.border_subtitle != f"{below}{BACK}":
            self.put_in_border(subtitle=f"{below}{BACK}")

    def action_page(self, by: int) -> None:
        """Move by what is in sight, but for a row."""
        self.action_scroll(by * max(1, self.size.height - 1))

    def on_mouse_scroll_down(self) -> None:
        self.action_scroll(WHEEL)

    def on_mouse_scroll_up(self) -> None:
        self.action_scroll(-WHEEL)


class HelpScreen(SteadyScreen[None]):
    """Keys and words, in place of the screen that they belong to.

    Not over it: to dim a screen that goes on changing is most of what opening this would cost.
    """

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"run--{role}" for role in ROLES}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1", "dismiss", "back"),
    ]

    def __init__(self, app: App[None], screen: Screen[object]) -> None:
        super().__init__()
        self.keys = keys(app, screen)

    def compose(self) -> ComposeResult:
        """One scrollable text."""
        yield HelpText(self.keys)


def written(entries: Entries, width: int) -> list[Row]:
    """The keys under their headings, then the words, in rows of at most `width` columns."""
    found: list[Row] = []
    column = max((len(shown) for listed in entries.values() for shown, _ in listed), default=0)
    for heading, listed in entries.items():
        if listed:
            found.append([("strong", heading)])
            for shown, description in listed:
                found += _entry(f"  {shown:<{column}}  ", description, width)
            found.append([])
    found += [[("plain", line)] for line in wrap(f"{LETTERS}\n\n", width)]
    found.append([("strong", "Words")])
    for word, meaning in WORDS.items():
        first, *more = wrap(f"{word}: {meaning}", width - 2)
        head = len(word) + 1
        found.append([("strong", f"  {first[:head]}"), ("plain", first[head:])])
        found += [[("plain", f"  {line}")] for line in more]
    return found


def _entry(head: str, description: str, width: int) -> list[Row]:
    first, *more = wrap(description, width - len(head))
    below: list[Row] = [[("plain", " " * len(head) + line)] for line in more]
    return [[("strong", head), ("plain", first)], *below]


def keys(app: App[None], screen: Screen[object]) -> Entries:
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
