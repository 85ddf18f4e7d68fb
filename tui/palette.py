"""The colours that are ours, whether the terminal can show them, and whether they are wanted."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from gpt.folders import state_folder

NANODECK = "nanodeck"
"""The name of our theme, which has the colours below."""
PRIMARY = "#6f8fb3"
FOREGROUND = "#d4dae2"
BACKGROUND = "#12161c"
CURSOR_FOREGROUND = "#f2f5f9"
CURSOR_BACKGROUND = "#2c3a4f"


def has_few_colors(environ: Mapping[str, str]) -> bool:
    """Whether the terminal shows sixteen colours at most, or none are wanted."""
    if environ.get("NO_COLOR"):
        return True
    if environ.get("COLORTERM", "").lower() in ("truecolor", "24bit"):
        return False
    term = environ.get("TERM", "").lower()
    return bool(term) and not any(mark in term for mark in ("256color", "direct", "kitty"))


def depth(environ: Mapping[str, str]) -> Literal[8, 24] | None:
    """The bits of a colour in what Textual writes to this terminal; None for sixteen colours.

    The rule is that of Rich, which writes for Textual.
    """
    if environ.get("COLORTERM", "").strip().lower() in ("truecolor", "24bit"):
        return 24
    kind = environ.get("TERM", "").strip().lower().rpartition("-")[2]
    return 8 if kind in ("256color", "kitty") else None


def blend(background: str, color: str, share: float) -> str:
    """The colour with `share` of it left and the background shining through, as `#rrggbb`."""
    pairs = zip(_rgb(background), _rgb(color), strict=True)
    return "#" + "".join(f"{int(a + (b - a) * share):02x}" for a, b in pairs)


def sgr(layer: Literal[38, 48], color: str, bits: Literal[8, 24]) -> str:
    """The parameters of SGR for a colour of the text (38) or of the background (48)."""
    if bits == 24:
        return f"{layer};2;{';'.join(map(str, _rgb(color)))}"
    from rich.color import Color, ColorSystem

    return f"{layer};5;{Color.parse(color).downgrade(ColorSystem.EIGHT_BIT).number}"


def _rgb(color: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(color[1:]))


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
