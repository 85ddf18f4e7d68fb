"""Cutting a text for GPT-2's tokenizer, so that the parts have the ids of the whole.

GPT-2 first splits a text into words, numbers, runs of signs and runs of blanks, by a pattern that
looks ahead but never back, and then encodes each by itself. In that pattern a blank can begin a
word or a run of signs and never stands within one, so a word that a blank follows ends there in
any text, and what is before does not depend on what comes after.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable

from gpt.textfiles import Piece, Place
from gpt.utf8 import Passage

SHORTEST = 1 << 18
"""Characters; a chunk has more, or small files would cost more to hand over than to encode."""
_BLANKS = frozenset(
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""Unicode's `White_Space`, which is what the pattern's `\\s` means; `str.isspace` knows more."""


def boundary(text: str) -> int:
    """The last index before which a text can be cut: a blank that follows no blank; 0 for none."""
    end = max(text.rfind(blank) for blank in " \n\t\u3000")
    while end > 0 and text[end - 1] in _BLANKS:
        end -= 1
    return max(end, 0)


def chunks(pieces: Iterable[Piece], start: Place) -> Generator[Piece, None, None]:
    """The same text, cut only where a chunk ends in any text.

    A text without blanks is a single chunk, however long.

    Args:
        pieces: those of a text from `start` on.
        start: the start of the text, or where a chunk ended.
    """
    rest, rest_begin, done = "", start, 0
    begin = start
    for piece in pieces:
        text = rest + piece.text
        done = piece.done
        if len(text) > SHORTEST and (end := boundary(text)):
            origin, skip = (begin, end - len(rest)) if end >= len(rest) else (rest_begin, end)
            rest_begin = Place(origin.file, origin.offset, origin.skip + skip)
            yield Piece(Passage.of_text(text[:end]), rest_begin, done)
            text = text[end:]
        rest, begin = text, piece.end
    if rest:
        yield Piece(Passage.of_text(rest), begin, done)
