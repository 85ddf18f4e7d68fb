"""Colours: Nanodeck's own theme, the one that is fit for the terminal, and the one remembered."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Container, Mapping
from functools import lru_cache
from pathlib import Path

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter
from textual.theme import BUILTIN_THEMES, Theme

from gpt.folders import state_folder

NANODECK = Theme(
    name="nanodeck",
    primary="#6f8fb3",
    secondary="#8b97a8",
    accent="#e8b04b",
    success="#7fb685",
    warning="#d98f4e",
    error="#d9646b",
    foreground="#d4dae2",
    background="#12161c",
    surface="#181d25",
    panel="#212834",
    variables={
        "border": "#6f8fb3",
        "border-blurred": "#333d4c",
        "button-color-foreground": "#12161c",
        "button-focus-text-style": "bold",
        "block-cursor-background": "#2c3a4f",
        "block-cursor-foreground": "#f2f5f9",
        "block-cursor-text-style": "bold",
        "block-cursor-blurred-background": "#212834",
        "block-hover-background": "#1d2430",
        "footer-background": "#12161c",
        "footer-item-background": "#12161c",
        "footer-description-background": "#12161c",
        "footer-description-foreground": "#98a3b3",
        "footer-key-background": "#12161c",
        "footer-key-foreground": "#e8b04b",
        "input-selection-background": "#6f8fb3 40%",
        "scrollbar": "#333d4c",
        "scrollbar-hover": "#46546a",
        "scrollbar-active": "#6f8fb3",
        "scrollbar-background": "#12161c",
        "scrollbar-background-hover": "#12161c",
        "scrollbar-background-active": "#12161c",
        "scrollbar-corner-color": "#12161c",
    },
)


_ANSI_DARK = BUILTIN_THEMES["ansi-dark"]
ANSI = dataclasses.replace(
    _ANSI_DARK,
    name="nanodeck-ansi",
    variables={
        **_ANSI_DARK.variables,
        "block-cursor-foreground": "ansi_default",
        "block-cursor-background": "ansi_default",
        "block-cursor-text-style": "reverse",
        "button-focus-text-style": "bold reverse",
        "border": "ansi_blue",
    },
)
"""The terminal's own sixteen colours and background, or none; what is chosen is in reverse."""


def has_few_colors(environ: Mapping[str, str]) -> bool:
    """Whether the terminal shows sixteen colours at most, or none are wanted."""
    if environ.get("NO_COLOR"):
        return True
    if environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return False
    term = environ.get("TERM", "").lower()
    return bool(term) and not any(mark in term for mark in ("256color", "direct", "kitty"))


def choose(environ: Mapping[str, str], available: Container[str]) -> str:
    """The theme to start with: what the terminal needs, else what is remembered, else ours."""
    if has_few_colors(environ):
        return ANSI.name
    remembered = recall() or ""
    return remembered if remembered in available else NANODECK.name


def recall() -> str | None:
    """The theme that a person chose, if any."""
    try:
        return _file().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None


def remember(name: str) -> None:
    """Keep the theme for the next start, where the state folder can be written."""
    with contextlib.suppress(OSError):
        _file().parent.mkdir(parents=True, exist_ok=True)
        _file().write_text(name + "\n", "utf-8")


def _file() -> Path:
    return state_folder() / "theme"


class AsciiFilter(LineFilter):
    """Everything drawn, with ASCII characters alone; widths stay."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same segments, each text made ASCII."""
        return [
            segment if segment.text.isascii() else Segment(plain(segment.text), *segment[1:])
            for segment in segments
        ]


@lru_cache(4096)
def plain(text: str) -> str:
    """The text in ASCII, in as many columns; `?` for what has no likeness."""
    return "".join(
        char if char.isascii() else _STAND_INS.get(char) or _nearest(char) for char in text
    )


def _nearest(char: str) -> str:
    code = ord(char)
    if 0x2500 <= code < 0x2580:
        return "+"
    if 0x2580 <= code < 0x25A0:
        return "#"
    if 0x2800 <= code < 0x2900:
        return " " if code == 0x2800 else ":"
    if 0x2400 <= code < 0x2420:
        return "^"
    return "?" * cell_len(char)


_STAND_INS = {
    stand_in: ascii
    for ascii, stand_ins in {
        "-": "─━┄┅┈┉╌╍═╴╶╸╺╼╾–—−‐‑·",
        "|": "│┃┆┇┊┋╎╏║╵╷╹╻╽╿▏▎▍▌▐▕",
        "_": "▁▂▃",
        " ": "░\u00a0",
        ".": "…•",
        "*": "★☆◆◇●○◉✓✔",
        ">": "▶▸►→›»❯",
        "<": "◀◂◄←‹«❮",
        "^": "▲△▴↑",
        "v": "▼▽▾↓",
        "x": "✗✘×",
        "'": "‘’",
        '"': "“”",
        "~": "≈",
    }.items()
    for stand_in in stand_ins
}
