"""The first picture: the presets, as plain escape codes that need no Textual to be drawn.

It has the setup screen's words in the setup screen's places, so that nothing moves when Textual
draws over it. `tests/test_opening.py` compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.cells import cell_len

from gpt.hardware import has_gpu
from gpt.presets import PresetError
from gpt.text import visible
from tui import palette
from tui.ascii import plain
from tui.card import Part, cards
from tui.measures import LOW, NARROW, PANES, PRESETS
from tui.shelf import Entry, Shelf
from tui.wrap import wrap

Row = Sequence[Part]
Ink = Mapping[str, str | None]
"""How each style looks, as parameters of SGR (ECMA-48, 8.3.117); None: not at all."""

ENTER_SCREEN, HIDE_CURSOR = "\x1b[?1049h", "\x1b[?25l"
LEAST_COLUMNS, LEAST_ROWS = 40, LOW
"""Textual alone draws on less."""
PROBLEM_ROWS = 6
"""What presets that cannot be read may take below the list, at most."""
FOOTER_ROWS, START_ROWS = 1, 1
"""What comes below later; the button only where there is one pane at a time."""
_ON = palette.BACKGROUND
_CURSOR, _ON_CURSOR = palette.CURSOR_FOREGROUND, palette.CURSOR_BACKGROUND
LOOKS = {
    "": (palette.FOREGROUND, 1.0, _ON),
    "bold": (palette.FOREGROUND, 1.0, _ON),
    "dim": (palette.FOREGROUND, 0.66, _ON),
    "rule": (_ON, 1.0, _ON),
    "chosen": (_CURSOR, 1.0, _ON_CURSOR),
    "chosen bold": (_CURSOR, 1.0, _ON_CURSOR),
    "chosen dim": (_CURSOR, 0.66, _ON_CURSOR),
    "title": (palette.PRIMARY, 1.0, _ON),
    "heading": (palette.PRIMARY, 1.0, _ON),
    "tab": (palette.FOREGROUND, 0.5, _ON),
    "tab here": (palette.FOREGROUND, 1.0, _ON),
    "bar": (palette.FOREGROUND, 0.1, _ON),
    "bar here": (_ON_CURSOR, 1.0, _ON),
}
"""In our theme: a colour, how much of it is left over the background, and the background."""
BOLD = ("bold", "chosen bold", "title")
FAINT = ("dim", "chosen dim", "tab")
"""Where there is no colour to say so."""


def picture(
    preset: str | None, size: tuple[int, int], environ: Mapping[str, str], ascii: bool
) -> str | None:
    """What to write to a terminal of this size (columns, rows); None when nothing is to be drawn.

    Args:
        preset: the name or path to open on; the one for this kind of machine when None.
        environ: says which colours the terminal has.
        ascii: draw with ASCII alone.
    """
    if size[0] < LEAST_COLUMNS or size[1] < LEAST_ROWS:
        return None
    shelf = Shelf()
    shelf.reload()
    try:
        chosen = shelf.find(preset) if preset is not None else shelf.first(has_gpu())
    except PresetError:
        return None
    return paint(rows(shelf, chosen, size), size, ink(environ, palette.recall()), ascii)


# --- what stands where


def rows(shelf: Shelf, chosen: Entry, size: tuple[int, int]) -> list[Row]:
    """The screen from its first row on, as far as something is drawn."""
    columns, lines = size
    if columns < NARROW:
        left, width, head = 1, columns - 2, _tabs(columns)
        lines -= START_ROWS
    else:
        left, width = 2, PRESETS[max(least for least in PRESETS if least <= columns)] - 3
        head = [[("  nanodeck", "title")], [], [("  presets", "heading")], []]
    problems = [line for text in shelf.problems for line in wrap(f"! {visible(text)}", width)]
    height = lines - FOOTER_ROWS - len(head) - 1 - min(max(1, len(problems)), PROBLEM_ROWS)
    margin: Part = (" " * left, "")
    listed = _window(shelf.entries, shelf.entries.index(chosen), (width, height))
    return [*head, *([margin, *row] for row in listed)]


def _tabs(columns: int) -> list[Row]:
    here, *others = (f" {number} {pane} " for number, pane in enumerate(PANES, 1))
    bar = "━" * (len(here) - 2)
    rest = "━" * (columns - len(bar) - 2)
    return [
        [(here, "tab here"), *((other, "tab") for other in others)],
        [("╸", "bar"), (bar, "bar here"), (f"╺{rest}", "bar")],
    ]


def _window(entries: Sequence[Entry], chosen: int, size: tuple[int, int]) -> list[Row]:
    """The part of the list that is in sight: scrolled as little as shows the chosen entry."""
    width, found = cards(entries, chosen, size, {})
    rows: list[Row] = []
    top = 0
    for number, each in enumerate(found):
        begin = len(rows)
        mark = "chosen " if number == chosen else ""
        for parts in each:
            row = [*parts, _blank(parts, width)]
            rows.append([(text, (mark + style).rstrip()) for text, style in row])
        if number + 1 < len(found):
            rows.append([("─" * width, "rule")])
        if number == chosen:
            top = min(begin, max(0, len(rows) - size[1]))
    return rows[top : top + size[1]]


def _blank(row: Row, width: int) -> Part:
    """What the row lacks of this width."""
    return " " * (width - sum(cell_len(text) for text, _ in row)), ""


# --- how it looks


def paint(rows: Sequence[Row], size: tuple[int, int], ink: Ink, ascii: bool) -> str:
    """The codes that draw these rows, and nothing else, on the alternate screen."""
    columns, lines = size
    found = [ENTER_SCREEN, HIDE_CURSOR]
    for y in range(lines):
        row = rows[y] if y < len(rows) else ()
        found.append(f"\x1b[{y + 1};1H")
        for text, style in (*row, _blank(row, columns)):
            code = ink[style] if text else None
            words = plain(text) if ascii else text
            found.append(" " * cell_len(text) if code is None else f"\x1b[0;{code}m{words}")
    return "".join(found) + "\x1b[0m"


def ink(environ: Mapping[str, str], theme: str | None) -> Ink:
    """Our own colours, if Textual will show them; else none, and bold and dim alone.

    Args:
        environ: says which colours the terminal has.
        theme: the one that a person chose, if any.
    """
    few = palette.has_few_colors(environ)
    bits = palette.depth(environ)
    if few or bits is None or (theme or palette.NANODECK) != palette.NANODECK:
        looks: dict[str, str | None] = dict.fromkeys(LOOKS, "")
        looks |= dict.fromkeys(BOLD, "1") | dict.fromkeys(FAINT, "2")
        # Our theme and the one of few colours differ in whether this line is seen.
        return looks if few else looks | {"rule": None}
    return {
        style: ";".join((
            "1" if style in BOLD else "",
            palette.sgr(38, palette.blend(background, color, share), bits),
            palette.sgr(48, background, bits),
        ))
        for style, (color, share, background) in LOOKS.items()
    }  # fmt: skip
