"""Text made to fit a number of columns."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len, chop_cells, set_cell_size


def cut(text: str, width: int) -> str:
    """Text in at most `width` columns; three dots stand for what is left out."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 3) + "..." if width > 3 else set_cell_size(text, width)


def cut_within(text: str, width: int) -> str:
    """As `cut`, but what is left out is in the midst: names often differ at their ends alone."""
    room = width - 3
    if cell_len(text) <= width or room < 2:
        return cut(text, width)
    head = set_cell_size(text, room // 2)
    tail = set_cell_size(text[::-1], room - room // 2)[::-1]
    return f"{head}...{tail}"


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
