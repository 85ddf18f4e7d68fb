"""ASCII that looks like what it stands for, where the terminal shows no more than that."""

from __future__ import annotations

from functools import lru_cache

from rich.cells import cell_len


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
        "~": "≈±",
    }.items()
    for stand_in in stand_ins
}
