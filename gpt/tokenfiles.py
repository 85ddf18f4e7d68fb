"""Token files: a text as raw little-endian numbers, as nanoGPT writes them.

The first 90 % of the characters are `train.bin`, the rest `val.bin`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gpt import threads
from gpt.chunks import chunks
from gpt.events import Notice, Progress
from gpt.scan import Scan
from gpt.sources import Pace, megabytes
from gpt.textfiles import CorpusError, Piece, TextFiles
from gpt.tokenizer import CharTokenizer, GPT2Tokenizer, Tokenizer
from gpt.unfinished import Mark, Unfinished

if TYPE_CHECKING:
    from gpt.unfinished import Ids


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of the text with its ids, of which one or the other array is often empty."""

    piece: Piece
    train: Ids
    val: Ids


def dtype_of(vocab_size: int) -> Literal["uint16", "uint32"]:
    """The number format that a vocabulary needs."""
    return "uint16" if vocab_size <= 1 << 16 else "uint32"


def write(
    text: TextFiles,
    found: Scan,
    tokenizer: Tokenizer,
    folder: Path,
    share: float,
    check: Callable[[], None],
) -> Generator[Progress | Notice, None, tuple[int, int]]:
    """Write both files; the counts of train and val tokens.

    Goes on where an earlier attempt for the same text ended. The text is split before it is
    encoded, as nanoGPT does.

    Args:
        share: the part of all progress that is made already, 0 to 1.

    Raises:
        CorpusError: the text is not what was scanned.
        TokenizerError: it cannot be split into tokens.
        OSError: the folder cannot be written.
    """
    width = 2 if dtype_of(tokenizer.model_vocab_size) == "uint16" else 4
    pace = Pace()
    with contextlib.closing(Unfinished(folder, text.fingerprint, width)) as files:
        if files.mark.characters:
            yield _goes_on(text, found, files.mark)
        with contextlib.closing(_encoded(text, found, tokenizer, files.mark, check)) as parts:
            for part in parts:
                check()
                files.append(part.train, part.val, part.piece.end, part.piece.passage.length)
                if pace.due():
                    yield megabytes(text.size * share + part.piece.done * (1 - share), text.size)
        if files.mark.characters != found.length or text.changed():
            raise CorpusError(f"{text.name} changed while it was read; try again.")
        files.finish(check)
        return files.mark.train, files.mark.val


def _encoded(
    text: TextFiles, found: Scan, tokenizer: Tokenizer, mark: Mark, check: Callable[[], None]
) -> Generator[_Part, None, None]:
    """The text from a mark on, with its ids."""
    left = found.train_length - mark.characters
    if isinstance(tokenizer, CharTokenizer):
        return _characters(text.pieces(mark.place), left, tokenizer)
    pieces = chunks(text.pieces(mark.place), mark.place)
    return _byte_pairs(pieces, left, tokenizer, check)


def _characters(
    pieces: Iterable[Piece], left: int, tokenizer: CharTokenizer
) -> Generator[_Part, None, None]:
    """The ids of pieces, of whose characters `left` are trained on."""
    for piece in pieces:
        ids = tokenizer.encode_passage(piece.passage)
        yield _Part(piece, ids[: max(0, left)], ids[max(0, left) :])
        left -= len(ids)


def _byte_pairs(
    pieces: Iterable[Piece], left: int, tokenizer: GPT2Tokenizer, check: Callable[[], None]
) -> Generator[_Part, None, None]:
    """The same in byte pairs, on which all processors work."""

    def encoded(job: tuple[Piece, int]) -> _Part:
        piece, count = job
        halves = piece.text[:count], piece.text[count:]
        return _Part(piece, *(tokenizer.encode_array(half).astype("<u2") for half in halves))

    def jobs() -> Generator[tuple[Piece, int], None, None]:
        behind = 0
        for piece in pieces:
            yield piece, max(0, left - behind)
            behind += piece.passage.length

    tokenizer.encode_array("")  # what the threads share is made once
    return threads.in_order(encoded, jobs(), threads.cores(), check)


def _goes_on(text: TextFiles, found: Scan, mark: Mark) -> Notice:
    share = f"{mark.characters / found.length:.0%}"
    words = f"{text.name}: preparing it was interrupted; going on at {share} of the text"
    return Notice(level="info", text=words)
