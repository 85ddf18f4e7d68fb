"""Folders that nanoGPT prepared: `train.bin` and `val.bin`, and `meta.pkl` for characters.

Token files are uint16, little-endian. Without a `meta.pkl` the ids are GPT-2's. The vocabulary
comes from a pickle, which is read without running what is in it. Needs no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gpt import pickles, textfiles
from gpt.events import Progress
from gpt.sources import Pace, megabytes
from gpt.text import visible
from gpt.textfiles import PIECE_BYTES, CorpusError, TextFiles
from gpt.tokenizer import CharTokenizer, Tokenizer, TokenizerError
from gpt.unfinished import TRAIN, VAL

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

META = "meta.pkl"
MAX_VOCABULARY = 1 << 16
"""What uint16 can number."""

Check = Callable[[], None]


def holds(path: Path) -> bool:
    """Whether this is a folder that nanoGPT prepared, whatever else lies in it."""
    return (path / TRAIN).is_file() and (path / VAL).is_file()


def find(path: Path) -> TextFiles:
    """The files of a prepared folder; the fingerprint changes when one of them does.

    Raises:
        CorpusError: one cannot be looked at.
    """
    names = (TRAIN, VAL, META) if (path / META).exists() else (TRAIN, VAL)
    try:
        return textfiles.describe(path, [path / name for name in names])
    except OSError as error:
        raise CorpusError(f"{visible(str(path))} cannot be read: {error.strerror}.") from None


def vocabulary(path: Path) -> CharTokenizer | None:
    """The characters that a `meta.pkl` numbers; None where there is no such file.

    Raises:
        CorpusError: it is no vocabulary of characters.
    """
    if not path.exists():
        return None
    try:
        characters = _characters(pickles.read(path))
        return CharTokenizer(characters)
    except pickles.PickleError as error:
        raise CorpusError(str(error)) from None
    except (TokenizerError, CorpusError) as error:
        raise CorpusError(f"{visible(str(path))} cannot be used: {error}") from None


def identify(folder: TextFiles, tokens: Tokenizer, check: Check) -> Generator[Progress, None, str]:
    """The SHA-256 of both token files and the vocabulary.

    Raises:
        CorpusError: a file cannot be read.
    """
    digest = hashlib.sha256(json.dumps(tokens.to_json()).encode())
    pace = Pace()
    done = 0
    for name in (TRAIN, VAL):
        path = folder.root / name
        digest.update(f"\0{name}\0".encode())
        for piece in _pieces(path):
            check()
            digest.update(piece)
            done += len(piece)
            if pace.due():
                yield megabytes(done / 2, folder.size)
    return digest.hexdigest()


def copy(
    folder: TextFiles, target: Path, tokens: Tokenizer, check: Check
) -> Generator[Progress, None, tuple[int, int, float]]:
    """Copy both token files to another folder, seeing that the vocabulary has every id.

    Returns:
        the tokens of train and val, and the characters per token of val.

    Raises:
        CorpusError: one is empty, of odd length, has an id that is no token, or changed meanwhile.
        OSError: the target cannot be written.
    """
    train = yield from _copy(folder.root / TRAIN, target / TRAIN, tokens, check)
    val = yield from _copy(folder.root / VAL, target / VAL, tokens, check)
    if find(folder.root).fingerprint != folder.fingerprint:
        raise CorpusError(f"{folder.name} changed while it was read; try again.")
    return int(train.sum()), int(val.sum()), _characters_per_token(val, tokens)


def _copy(
    path: Path, target: Path, tokens: Tokenizer, check: Check
) -> Generator[Progress, None, npt.NDArray[np.int64]]:
    """Copy a token file; how often each id occurs in it, (vocab_size,)."""
    import numpy as np

    size = _checked_size(path)
    counts = np.zeros(tokens.vocab_size, np.int64)
    pace, done = Pace(), 0
    with target.open("wb") as file:
        for piece in _pieces(path):
            check()
            ids = np.frombuffer(piece, "<u2")
            if (largest := int(ids.max())) >= tokens.vocab_size:
                place = done // 2 + int(ids.argmax())
                raise CorpusError(
                    f"{visible(str(path))} has the id {largest:,} at token {place:,}, and its "
                    f"vocabulary ends at {tokens.vocab_size - 1:,}. {_whose(tokens)}"
                )
            counts += np.bincount(ids, minlength=tokens.vocab_size)
            file.write(piece)
            done += len(piece)
            if pace.due():
                yield megabytes((size + done) / 2, size)
        file.flush()
        os.fsync(file.fileno())
    return counts


def _checked_size(path: Path) -> int:
    """The bytes of a token file that can be one."""
    name = visible(str(path))
    try:
        size = path.stat().st_size
    except OSError as error:
        raise CorpusError(f"{name} cannot be read: {error.strerror}.") from None
    if size % 2:
        raise CorpusError(
            f"{name} has {size:,} bytes, an odd number. nanoGPT writes two for each token, so the "
            "file is cut short or not one of nanoGPT's."
        )
    if size < 4:
        raise CorpusError(f"{name} has {size // 2} tokens. Allowed: 2 or more.")
    return size


def _characters_per_token(counts: npt.NDArray[np.int64], tokens: Tokenizer) -> float:
    if isinstance(tokens, CharTokenizer):
        return 1.0
    # A character begins at each byte that does not continue one.
    starts = [
        sum(byte & 0xC0 != 0x80 for byte in tokens.token_bytes(token))
        for token in range(tokens.vocab_size)
    ]
    return int(counts @ starts) / int(counts.sum())


def _characters(meta: object) -> str:
    """The characters in the order of their ids.

    Raises:
        CorpusError: what nanoGPT writes there is missing, or contradicts itself.
    """
    if not isinstance(meta, dict):
        raise CorpusError("it is no dictionary with stoi and itos.")
    record = cast(dict[Any, Any], meta)
    stoi, itos = _table(record, "stoi"), _table(record, "itos")
    if itos is None and stoi is not None:
        itos = {number: character for character, number in stoi.items()}
    if not itos:
        raise CorpusError("it has no itos, the text of each id.")
    if len(itos) > MAX_VOCABULARY:
        raise CorpusError(f"it has {len(itos):,} tokens. Allowed: up to {MAX_VOCABULARY:,}.")
    if any(type(number) is not int for number in itos) or set(itos) != set(range(len(itos))):
        raise CorpusError(f"its itos does not number {len(itos):,} tokens from 0 on.")
    if any(not isinstance(text, str) or len(text) != 1 for text in itos.values()):
        raise CorpusError("its tokens are not single characters. Allowed: one character an id.")
    if stoi is not None and stoi != {character: number for number, character in itos.items()}:
        raise CorpusError("its stoi and itos contradict each other.")
    size = record.get("vocab_size", len(itos))
    if type(size) is not int or size != len(itos):
        raise CorpusError(f"its vocab_size is not {len(itos):,}, which is what itos has.")
    return "".join(itos[number] for number in range(len(itos)))


def _table(record: dict[Any, Any], name: str) -> dict[Any, Any] | None:
    table = record.get(name)
    if table is not None and not isinstance(table, dict):
        raise CorpusError(f"its {name} is no dictionary.")
    return cast("dict[Any, Any] | None", table)


def _pieces(path: Path) -> Generator[bytes, None, None]:
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece
    except OSError as error:
        raise CorpusError(f"{visible(str(path))} cannot be read: {error.strerror}.") from None


def _whose(tokens: Tokenizer) -> str:
    if isinstance(tokens, CharTokenizer):
        return f"{META} beside it is of another text."
    return f"There is no {META} beside it, so the ids are taken for GPT-2's."
