"""Token files: a text as raw little-endian numbers, as nanoGPT writes them.

The first 90 % of the characters are `train.bin`, the rest `val.bin`. A text is gone over twice,
because its characters must all be known before the first can be numbered.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from gpt.events import Progress
from gpt.sources import Pace, megabytes
from gpt.textfiles import CorpusError, TextFiles
from gpt.tokenizer import CharTokenizer, GPT2Tokenizer, code_points

TRAIN, VAL = "train.bin", "val.bin"
SHORTEST = 11
"""Characters; fewer do not give each split the two tokens that one prediction takes."""


@dataclass(frozen=True, slots=True)
class Scan:
    """What a first reading of a text tells: its hash, its characters, its length in them."""

    sha256: str
    characters: str
    """Each one once, sorted."""
    length: int

    @property
    def train_length(self) -> int:
        """How many characters are trained on, rounded as nanoGPT rounds."""
        return int(self.length * 0.9)


def dtype_of(vocab_size: int) -> Literal["uint16", "uint32"]:
    """The number format that a vocabulary needs."""
    return "uint16" if vocab_size <= 1 << 16 else "uint32"


def scan(text: TextFiles, check: Callable[[], None]) -> Generator[Progress, None, Scan]:
    """Read the text once.

    Raises:
        CorpusError: as for `TextFiles.pieces`.
    """
    import numpy as np

    digest = hashlib.sha256()
    seen = np.zeros(0x110000, np.bool_)
    length = 0
    pace = Pace()
    for piece, done in text.pieces():
        check()
        digest.update(piece.encode())
        seen[code_points(piece)] = True
        length += len(piece)
        if pace.due():
            yield megabytes(done / 2, text.size)
    characters = "".join(map(chr, np.flatnonzero(seen).tolist()))
    return Scan(digest.hexdigest(), characters, length)


def check_learnable(text: TextFiles, found: Scan) -> None:
    """See that there is something to learn.

    Raises:
        CorpusError: the text is empty, too short, or one character over and over.
    """
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


def write_characters(
    text: TextFiles, found: Scan, tokenizer: CharTokenizer, folder: Path, check: Callable[[], None]
) -> Generator[Progress, None, tuple[int, int]]:
    """Write both files with a token for each character; the counts of train and val tokens.

    Raises:
        CorpusError: the text is not what was scanned.
        OSError: the folder cannot be written.
    """
    table = tokenizer.table(f"<{'u2' if dtype_of(tokenizer.vocab_size) == 'uint16' else 'u4'}")
    left, length = found.train_length, 0
    pace = Pace()
    with (folder / TRAIN).open("wb") as train, (folder / VAL).open("wb") as val:
        for piece, done in text.pieces():
            check()
            ids = table[code_points(piece)]
            train.write(ids[:left].data)
            val.write(ids[left:].data)
            left = max(0, left - len(ids))
            length += len(ids)
            if pace.due():
                yield megabytes((text.size + done) / 2, text.size)
        settle(train, val)
    if length != found.length or text.changed():
        raise CorpusError(f"{text.name} changed while it was read; try again.")
    return found.train_length, length - found.train_length


def write_pairs(
    text: TextFiles, found: Scan, tokenizer: GPT2Tokenizer, folder: Path, check: Callable[[], None]
) -> tuple[int, int]:
    """Write both files with GPT-2's tokens; the counts of train and val tokens.

    The text is split before it is encoded, as nanoGPT does, and is held in memory.

    Raises:
        OSError: the folder cannot be written.
    """
    whole = "".join(piece for piece, _ in text.pieces())
    parts = {TRAIN: whole[: found.train_length], VAL: whole[found.train_length :]}
    counts: list[int] = []
    for name, part in parts.items():
        check()
        ids = tokenizer.encode_array(part)
        counts.append(len(ids))
        with (folder / name).open("wb") as file:
            file.write(ids.astype("<u2").data)
            settle(file)
    return counts[0], counts[1]


def settle(*files: BinaryIO) -> None:
    """Put the content on disk before a rename makes it count."""
    for file in files:
        file.flush()
        os.fsync(file.fileno())
