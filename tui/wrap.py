"""Text made to fit a number of columns."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len, chop_cells


def cut(text: str, width: int) -> str:
    """Text in at most `width` columns; three dots stand for what is left out."""
    if cell_len(text) <= width:
        return text
    return chop_cells(text, max(1, width - 3))[0] + "..." if width > 3 else text[:width]


def wrap(text: str, width: int) -> Iterator[str]:
    """The lines of a text in at most `width` columns, broken at a space where there is one,
    else after a slash, else anywhere."""
    width = max(1, width)
    for line in text.split("\n"):
        rest = line
        while len(rest) > width or cell_len(rest) > width:
            head = chop_cells(rest[:width], width)[0] or rest[0]
            space = len(head) if rest[len(head) : len(head) + 1] == " " else head.rfind(" ")
            end = space if space > 0 else head.rfind("/") + 1 or len(head)
            yield rest[:end]
            rest = rest[end + (space > 0) :]
        yield rest
