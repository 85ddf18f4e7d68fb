"""Corpora: a named text, a person's own or one that nanoGPT prepared, as token files in a cache.

Preparing one that was interrupted goes on where it was. Needs no torch.
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Generator
from pathlib import Path

from gpt import cache, corpora, prepared, tokenfiles
from gpt.corpora import Check, Corpus, Events, Sizes
from gpt.events import Notice, Progress
from gpt.folders import cache_folder
from gpt.named import GPT2_MERGES, NAMED
from gpt.scan import scan
from gpt.sources import File, SourceError, fetch
from gpt.text import visible
from gpt.textfiles import CorpusError, TextFiles, find
from gpt.tokenizer import CharTokenizer, GPT2Tokenizer

FIRST_READING = {"char": 0.3, "gpt2": 0.03}
"""The part of the work that is done when a text was read once."""


def known() -> tuple[str, ...]:
    """The names of the named corpora."""
    return tuple(NAMED)


def peek(dataset: str) -> Corpus | None:
    """The corpus if it is ready in the cache, found without reading a text or the network."""
    if dataset in NAMED:
        file, kind = NAMED[dataset]
        return corpora.load(dataset, corpora.folder_of(file.sha256, kind))
    try:
        path = _path(dataset)
        entry = cache.read_json(cache.index_entry(path))
        if entry is None or entry.get("fingerprint") != _files(path).fingerprint:
            return None
    except (CorpusError, OSError):
        return None
    return corpora.load(dataset, cache_folder() / "corpora" / str(entry.get("corpus")))


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
    share = FIRST_READING["gpt2" if pairs else "char"]
    found = yield from scan(text, share, check)
    tokens = pairs or CharTokenizer(found.characters)

    def write(part: Path) -> Generator[Progress | Notice, None, Sizes]:
        train, val = yield from tokenfiles.write(text, found, tokens, part, share, check)
        return train, val, (found.length - found.train_length) / val

    corpus = yield from corpora.kept(dataset, found.sha256, tokens, write, check)
    cache.scan_entry(text.root).unlink(missing_ok=True)
    return corpus


def _adopt(dataset: str, files: TextFiles, check: Check) -> Events:
    """The corpus of a folder that nanoGPT prepared, whose token files are copied."""
    chars = prepared.vocabulary(files.root / prepared.META)
    used = chars or (yield from gpt2_tokenizer(check))
    whose = f"the {chars.vocab_size:,} characters of {prepared.META}" if chars else "GPT-2's tokens"
    taken = f"{files.name}: taking the token files that nanoGPT prepared, ids being {whose}"
    yield Notice(level="info", text=taken)
    sha256 = yield from prepared.identify(files, used, check)

    def write(part: Path) -> Generator[Progress | Notice, None, Sizes]:
        return (yield from prepared.copy(files, part, used, check))

    return (yield from corpora.kept(dataset, sha256, used, write, check))


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
