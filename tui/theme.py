"""Themes: Nanodeck's own, the one for a terminal of few colours, and which of them to take."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Mapping

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter
from textual.theme import BUILTIN_THEMES, Theme

from tui import palette
from tui.ascii import plain

NANODECK = Theme(
    name=palette.NANODECK,
    primary=palette.PRIMARY,
    secondary="#8b97a8",
    accent="#e8b04b",
    success="#7fb685",
    warning="#d98f4e",
    error="#d9646b",
    foreground=palette.FOREGROUND,
    background=palette.BACKGROUND,
    surface="#181d25",
    panel="#212834",
    variables={
        "border": palette.PRIMARY,
        "border-blurred": "#333d4c",
        "button-color-foreground": palette.BACKGROUND,
        "button-focus-text-style": "bold",
        "block-cursor-background": palette.CURSOR_BACKGROUND,
        "block-cursor-foreground": palette.CURSOR_FOREGROUND,
        "block-cursor-text-style": "bold",
        "block-cursor-blurred-background": "#212834",
        "block-hover-background": "#1d2430",
        "footer-background": palette.BACKGROUND,
        "footer-item-background": palette.BACKGROUND,
        "footer-description-background": palette.BACKGROUND,
        "footer-description-foreground": "#98a3b3",
        "footer-key-background": palette.BACKGROUND,
        "footer-key-foreground": "#e8b04b",
        "input-selection-background": "#6f8fb3 40%",
        "scrollbar": "#333d4c",
        "scrollbar-hover": "#46546a",
        "scrollbar-active": palette.PRIMARY,
        "scrollbar-background": palette.BACKGROUND,
        "scrollbar-background-hover": palette.BACKGROUND,
        "scrollbar-background-active": palette.BACKGROUND,
        "scrollbar-corner-color": palette.BACKGROUND,
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


def choose(environ: Mapping[str, str], available: Container[str]) -> str:
    """The theme to start with: what the terminal needs, else what is remembered, else ours."""
    if palette.has_few_colors(environ):
        return ANSI.name
    remembered = palette.recall() or ""
    return remembered if remembered in available else NANODECK.name


class AsciiFilter(LineFilter):
    """Everything drawn, with ASCII characters alone; widths stay."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same segments, each text made ASCII."""
        return [
            segment if segment.text.isascii() else Segment(plain(segment.text), *segment[1:])
            for segment in segments
        ]
