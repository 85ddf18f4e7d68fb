"""Corpora: a named text, a person's own or one that nanoGPT prepared, as token files in a cache.

A corpus is the folder corpora/HASH-KIND in the cache, with train.bin, val.bin, tokenizer.json
and corpus.json. It is written under another name and renamed when it is whole, so what is there
is right, whatever was interrupted. Needs no torch.
"""

from __future__ import annotations

import contextlib
import difflib
import shutil
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gpt import cache, prepared, tokenfiles, tokenizer
from gpt.events import Notice, Progress
from gpt.folders import cache_folder
from gpt.named import GPT2_MERGES, NAMED
from gpt.sources import File, SourceError, fetch
from gpt.text import visible
from gpt.textfiles import CorpusError, TextFiles, find
from gpt.tokenizer import CharTokenizer, GPT2Tokenizer, Kind, Tokenizer

FORMAT = 1

Check = Callable[[], None]
Sizes = tuple[int, int, float]
"""Tokens to train on, tokens for validation, and characters per token of the latter."""
Events = Generator[Progress | Notice, None, "Corpus"]


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
        return self.folder / tokenfiles.TRAIN

    @property
    def val_path(self) -> Path:
        """The token ids that are kept for validation."""
        return self.folder / tokenfiles.VAL

    @property
    def tokenizer_path(self) -> Path:
        """What turns ids into text; a run keeps a copy of this file."""
        return self.folder / "tokenizer.json"

    @property
    def dtype(self) -> Literal["uint16", "uint32"]:
        """The number format of the token files, little-endian."""
        return tokenfiles.dtype_of(self.vocab_size)

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


def known() -> tuple[str, ...]:
    """The names of the named corpora."""
    return tuple(NAMED)


def peek(dataset: str) -> Corpus | None:
    """The corpus if it is ready in the cache, found without reading a text or the network."""
    if dataset in NAMED:
        file, kind = NAMED[dataset]
        return _load(dataset, _folder(file.sha256, kind))
    try:
        path = _path(dataset)
        entry = cache.read_json(cache.index_entry(path))
        if entry is None or entry.get("fingerprint") != _files(path).fingerprint:
            return None
    except (CorpusError, OSError):
        return None
    return _load(dataset, cache_folder() / "corpora" / str(entry.get("corpus")))


def prepare(dataset: str, check: Check = lambda: None) -> Events:
    """Fetch and tokenise a corpus, unless that was done before; the events tell how far it is.

    Args:
        dataset: a name from `known`, or the path of a text file, of a folder of text files, or of
            a folder that nanoGPT prepared.
        check: called often; what it raises ends the work and leaves nothing half-done.

    Raises:
        CorpusError: there is no such text, it cannot be fetched or learnt from, or the cache
            cannot be written.
    """
    if (ready := peek(dataset)) is not None:
        return ready
    with cache.faults_in_words():
        if dataset in NAMED:
            file, kind = NAMED[dataset]
            text = find((yield from _fetch(dataset, file, check)), check)
            pairs = (yield from gpt2_tokenizer(check)) if kind == "gpt2" else None
            return (yield from _tokenise(dataset, text, pairs, check))
        text = _files(_path(dataset), check)
        if prepared.holds(text.root):
            corpus = yield from _adopt(dataset, text, check)
        else:
            if text.passed_over:
                yield _passed_over(text)
            corpus = yield from _tokenise(dataset, text, None, check)
        record = {"fingerprint": text.fingerprint, "corpus": corpus.folder.name}
        cache.write_json(record, cache.index_entry(text.root))
        return corpus


def gpt2_tokenizer(
    check: Check = lambda: None,
) -> Generator[Progress | Notice, None, GPT2Tokenizer]:
    """GPT-2's tokenizer, whose byte pairs are fetched the first time.

    Raises:
        CorpusError: they cannot be fetched, or the cache cannot be written.
    """
    with cache.faults_in_words():
        path = yield from _fetch("GPT-2's tokenizer", GPT2_MERGES, check)
        return GPT2Tokenizer(path.read_text("utf-8"))


def _fetch(what: str, file: File, check: Check) -> Generator[Progress | Notice, None, Path]:
    path = cache_folder() / "files" / file.name
    lock = yield from cache.acquire(path, check)
    try:
        yield from fetch(file, path, check)
    except SourceError as error:
        raise CorpusError(
            f"{what} could not be fetched. {error} To train on a text at hand, give its path: "
            "--dataset=path/to/text.txt"
        ) from None
    finally:
        lock.release()
    return path


def _tokenise(dataset: str, text: TextFiles, pairs: GPT2Tokenizer | None, check: Check) -> Events:
    """The corpus of a text, with GPT-2's tokens or one for each character."""
    found = yield from tokenfiles.scan(text, check)
    tokenfiles.check_learnable(text, found)

    def write(part: Path) -> Generator[Progress, None, Sizes]:
        if pairs:
            train, val = tokenfiles.write_pairs(text, found, pairs, part, check)
        else:
            train, val = yield from tokenfiles.write_characters(text, found, chars, part, check)
        return train, val, (found.length - found.train_length) / val

    chars = CharTokenizer(found.characters)
    return (yield from _kept(dataset, found.sha256, pairs or chars, write, check))


def _adopt(dataset: str, files: TextFiles, check: Check) -> Events:
    """The corpus of a folder that nanoGPT prepared, whose token files are copied."""
    chars = prepared.vocabulary(files.root / prepared.META)
    used = chars or (yield from gpt2_tokenizer(check))
    whose = f"the {chars.vocab_size:,} characters of {prepared.META}" if chars else "GPT-2's tokens"
    taken = f"{files.name}: taking the token files that nanoGPT prepared, ids being {whose}"
    yield Notice(level="info", text=taken)
    sha256 = yield from prepared.identify(files, used, check)

    def write(part: Path) -> Generator[Progress, None, Sizes]:
        return (yield from prepared.copy(files, part, used, check))

    return (yield from _kept(dataset, sha256, used, write, check))


def _kept(
    dataset: str,
    sha256: str,
    used: Tokenizer,
    write: Callable[[Path], Generator[Progress, None, Sizes]],
    check: Check,
) -> Events:
    """The corpus in the cache, written there unless it is there already."""
    folder = _folder(sha256, used.kind)
    lock = yield from cache.acquire(folder, check)
    try:
        corpus = _load(dataset, folder)
        if corpus is None:
            yield from _build(folder, sha256, used, write)
            corpus = _load(dataset, folder)
    finally:
        lock.release()
    if corpus is None:
        raise CorpusError(f"{visible(str(folder))} was changed by another program; try again.")
    return corpus


def _build(
    folder: Path,
    sha256: str,
    used: Tokenizer,
    write: Callable[[Path], Generator[Progress, None, Sizes]],
) -> Generator[Progress, None, None]:
    """Write the corpus folder. The lock is held: a part that is there was left by a crash."""
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
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
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _load(dataset: str, folder: Path) -> Corpus | None:
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


def _folder(sha256: str, kind: Kind) -> Path:
    return cache_folder() / "corpora" / f"{sha256[:16]}-{kind}"


def _files(path: Path, check: Check = lambda: None) -> TextFiles:
    """What is read at a path: a text, or the token files of a folder that nanoGPT prepared."""
    return prepared.find(path) if prepared.holds(path) else find(path, check)


def _path(dataset: str) -> Path:
    """The file or folder that a dataset names."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        path = Path(dataset).expanduser()
        if dataset and path.exists():
            return path
    close = difflib.get_close_matches(dataset[:200], known(), n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise CorpusError(
        f"there is no corpus or file {visible(dataset[:200])!r}.{hint} Allowed: "
        f"{', '.join(known())}, or the path of a text file, of a folder of text "
        "files or of one that nanoGPT prepared."
    )


def _passed_over(text: TextFiles) -> Notice:
    endings = sorted({visible(path.suffix or path.name) for path in text.passed_over})
    count = len(text.passed_over)
    return Notice(
        level="info",
        text=f"{text.name}: reading {len(text.files):,} text files, passing over {count:,} "
        f"others ({', '.join(endings[:8])}{', …' if endings[8:] else ''})",
    )
