"""The corpora in the cache: each a folder, whole whenever it is there.

A corpus is the folder corpora/HASH-KIND with train.bin, val.bin, tokenizer.json and corpus.json.
It is written under another name and renamed when it is whole, so what is there is right, whatever
was interrupted. Needs no torch.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gpt import cache, tokenizer, unfinished
from gpt.errors import Refused
from gpt.events import Notice, Progress
from gpt.folders import cache_folder
from gpt.text import visible
from gpt.textfiles import CorpusError
from gpt.tokenfiles import dtype_of
from gpt.tokenizer import Kind, Tokenizer

FORMAT = 1

Check = Callable[[], None]
Sizes = tuple[int, int, float]
"""Tokens to train on, tokens for validation, and characters per token of the latter."""
Events = Generator[Progress | Notice, None, "Corpus"]
Write = Callable[[Path], Generator[Progress | Notice, None, Sizes]]


@dataclass(frozen=True, slots=True)
class Corpus:
    """The token files of one text, whole and on disk.

    `sha256` is that of the text as UTF-8 with `\\n` as line end, or, of a folder that nanoGPT
    prepared, that of its token files and vocabulary. `vocab_size` is the model's.
    """

    dataset: str
    folder: Path
    sha256: str
    kind: Kind
    vocab_size: int
    train_tokens: int
    val_tokens: int
    characters_per_token: float = 1.0
    """Of the validation split: what a loss in bits a character takes."""

    @property
    def train_path(self) -> Path:
        """The token ids that are trained on."""
        return self.folder / unfinished.TRAIN

    @property
    def val_path(self) -> Path:
        """The token ids that are kept for validation."""
        return self.folder / unfinished.VAL

    @property
    def tokenizer_path(self) -> Path:
        """What turns ids into text; a run keeps a copy of this file."""
        return self.folder / "tokenizer.json"

    @property
    def dtype(self) -> Literal["uint16", "uint32"]:
        """The number format of the token files, little-endian."""
        return dtype_of(self.vocab_size)

    @property
    def largest_block_size(self) -> int:
        """The longest window that both splits can fill, its targets one token further."""
        return min(self.train_tokens, self.val_tokens) - 1

    def tokenizer(self) -> Tokenizer:
        """What turns ids into text.

        Raises:
            TokenizerError: the file is damaged.
        """
        return tokenizer.read(self.tokenizer_path)

    def check_block_size(self, block_size: int) -> None:
        """See that windows of this many tokens can be drawn from both splits.

        Raises:
            CorpusError: one of them is too short.
        """
        if block_size > self.largest_block_size:
            name = "training" if self.train_tokens < self.val_tokens else "validation"
            raise CorpusError(
                f"block_size = {block_size} is too long for {visible(self.dataset)}, whose {name} "
                f"split has {self.largest_block_size + 1:,} tokens. Allowed: up to "
                f"{self.largest_block_size}, or a longer text."
            )


def folder_of(sha256: str, kind: Kind) -> Path:
    """Where the corpus of a text lies, or would lie."""
    return cache_folder() / "corpora" / f"{sha256[:16]}-{kind}"


def load(dataset: str, folder: Path) -> Corpus | None:
    """The corpus in a folder; None when it is not there or not whole."""
    record = cache.read_json(folder / "corpus.json")
    if record is None or record.pop("format", None) != FORMAT:
        return None
    try:
        corpus = Corpus(dataset, folder, **record)
        width = 2 if corpus.dtype == "uint16" else 4
        sizes = {
            corpus.train_path: corpus.train_tokens * width,
            corpus.val_path: corpus.val_tokens * width,
        }
        whole = all(path.stat().st_size == size for path, size in sizes.items())
        return corpus if whole and corpus.tokenizer_path.is_file() else None
    except (OSError, TypeError):
        return None


def kept(
    dataset: str,
    sha256: str,
    used: Tokenizer,
    write: Write,
    check: Check,
) -> Events:
    """The corpus in the cache, written there unless it is there already.

    Args:
        write: writes its token files to a folder.

    Raises:
        CorpusError: another program interfered. What `write` raises passes through.
        OSError: the cache cannot be written.
    """
    cache.clear_abandoned()
    folder = folder_of(sha256, used.kind)
    lock = yield from cache.acquire(folder, check)
    try:
        corpus = load(dataset, folder)
        if corpus is None:
            yield from _build(folder, sha256, used, write)
            corpus = load(dataset, folder)
    finally:
        lock.release()
    if corpus is None:
        raise CorpusError(f"{visible(str(folder))} was changed by another program; try again.")
    return corpus


def _build(
    folder: Path, sha256: str, used: Tokenizer, write: Write
) -> Generator[Progress | Notice, None, None]:
    """Write the corpus folder. The lock is held: a part that is there was left unfinished."""
    part = folder.with_name(f"{folder.name}.part")
    if not unfinished.exists(part):
        shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True, exist_ok=True)
    try:
        train, val, characters_per_token = yield from write(part)
        tokenizer.write(used, part / "tokenizer.json")
        record = {
            "format": FORMAT,
            "sha256": sha256,
            "kind": used.kind,
            "vocab_size": used.model_vocab_size,
            "train_tokens": train,
            "val_tokens": val,
            "characters_per_token": characters_per_token,
        }
        cache.write_json(record, part / "corpus.json")
        shutil.rmtree(folder, ignore_errors=True)
        part.replace(folder)
    except (Refused, OSError):
        shutil.rmtree(part, ignore_errors=True)
        raise
    finally:
        # Stopped, it stays if there is something in it to go on with.
        if not unfinished.exists(part):
            shutil.rmtree(part, ignore_errors=True)
