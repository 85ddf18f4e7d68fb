"""The first reading of a text: its hash, its characters and its length.

All its characters must be known before the first can be numbered, and where training ends and
validation begins follows from its length.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass

from gpt import cache
from gpt.events import Progress
from gpt.sources import Pace, megabytes
from gpt.textfiles import CorpusError, TextFiles
from gpt.utf8 import POINTS

SHORTEST = 11
"""Characters; fewer do not give each split the two tokens that one prediction takes."""
WORTH_KEEPING = 64 << 20
"""Bytes; what a longer text was found to be is kept until its corpus is done."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a text is."""

    sha256: str
    """Of the text as UTF-8 with `\\n` as line end."""
    characters: str
    """Each one once, sorted."""
    length: int
    """In characters."""

    @property
    def train_length(self) -> int:
        """How many characters are trained on, rounded as nanoGPT rounds."""
        return int(self.length * 0.9)


def scan(
    text: TextFiles, share: float, check: Callable[[], None]
) -> Generator[Progress, None, Scan]:
    """Read the text once, unless that was done before and it has not changed since.

    Args:
        share: the part of all progress that this reading makes, 0 to 1.

    Raises:
        CorpusError: as for `TextFiles.pieces`, and where there is nothing to learn.
    """
    if text.size < WORTH_KEEPING:
        return _checked(text, (yield from _read(text, share, check)))
    entry = cache.scan_entry(text.root)
    match cache.read_json(entry):
        case {
            "fingerprint": text.fingerprint,
            "sha256": str(sha256),
            "characters": str(characters),
            "length": int(length),
        }:
            return Scan(sha256, characters, length)
        case _:
            found = _checked(text, (yield from _read(text, share, check)))
            cache.write_json({"fingerprint": text.fingerprint, **asdict(found)}, entry)
            return found


def _read(
    text: TextFiles, share: float, check: Callable[[], None]
) -> Generator[Progress, None, Scan]:
    import numpy as np

    digest = hashlib.sha256()
    seen = np.zeros(POINTS, np.bool_)
    length = 0
    pace = Pace()
    for piece in text.pieces():
        check()
        digest.update(piece.passage.utf8)
        piece.passage.mark(seen)
        length += piece.passage.length
        if pace.due():
            yield megabytes(piece.done * share, text.size)
    characters = "".join(map(chr, np.flatnonzero(seen).tolist()))
    return Scan(digest.hexdigest(), characters, length)


def _checked(text: TextFiles, found: Scan) -> Scan:
    """See that there is something to learn."""
    if not found.length:
        raise CorpusError(f"{text.name} is empty.")
    if len(found.characters) == 1:
        raise CorpusError(
            f"{text.name} has nothing to learn: it is {found.length:,} times the character "
            f"{found.characters!r}."
        )
    if found.length < SHORTEST:
        raise CorpusError(
            f"{text.name} is too short to split into training and validation: it has "
            f"{found.length} characters. Allowed: {SHORTEST} or more."
        )
    return found
