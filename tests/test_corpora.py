"""The corpora in the cache: whole whenever they are there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from pathlib import Path

import pytest
from conftest import PLAY, finish, half_done, prepared, text_of

from gpt import corpora, corpus, scan
from gpt.control import Stopped
from gpt.corpora import Corpus, Sizes
from gpt.events import Progress
from gpt.textfiles import CorpusError
from gpt.tokenizer import CharTokenizer


def test_token_files_that_are_not_what_was_written_are_no_corpus(cache_dir: Path) -> None:
    # Given a program that shortens a token file as soon as it is written
    def write(folder: Path) -> Generator[Progress, None, Sizes]:
        (folder / "train.bin").write_bytes(b"\0\0" * 8)
        (folder / "val.bin").write_bytes(b"\0\0" * 3)
        yield Progress(phase="preparing", done=1, total=1, unit="MB")
        return 9, 3, 1.0

    # When the corpus is made, then it is refused
    with pytest.raises(CorpusError, match="was changed by another program; try again"):
        finish(corpora.kept("a text", "0" * 64, CharTokenizer("ab"), write, lambda: None))


def test_what_cannot_be_written_leaves_nothing(cache_dir: Path) -> None:
    def write(folder: Path) -> Generator[Progress, None, Sizes]:
        (folder / "train.bin").write_bytes(b"\0\0")
        (folder / "unfinished.json").write_text("{}")
        yield Progress(phase="preparing", done=1, total=1, unit="MB")
        raise CorpusError("it changed")

    with pytest.raises(CorpusError, match="it changed"):
        finish(corpora.kept("a text", "0" * 64, CharTokenizer("ab"), write, lambda: None))

    assert half_done(cache_dir) == []


def test_what_a_first_reading_found_is_of_no_use_once_the_text_has_changed(
    cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a text that was read once before its preparation was stopped
    monkeypatch.setattr(scan, "WORTH_KEEPING", 0)
    path = tmp_path / "play.txt"
    path.write_text(PLAY)

    def check() -> None:
        if list(cache_dir.rglob("*.scan.json")):
            raise Stopped

    with pytest.raises(Stopped):
        finish(corpus.prepare(str(path), check))

    # When it is another text of the same characters and length
    path.write_text(PLAY[::-1])

    # Then that is the one that is prepared, and under its own name
    found = prepared(path)
    assert text_of(found) == PLAY[::-1]
    assert found.sha256 == hashlib.sha256(PLAY[::-1].encode()).hexdigest()


@pytest.fixture
def whole(cache_dir: Path, tmp_path: Path) -> Corpus:
    (tmp_path / "play.txt").write_text(PLAY)
    return prepared(tmp_path / "play.txt")


@pytest.mark.parametrize(
    "values",
    [
        {"format": corpora.FORMAT + 1},
        {"train_tokens": 7},
        {"val_tokens": 7},
        {"train_tokens": "many"},
        {"vocab_size": 1 << 17},
        {"vocab_size": None},
        {"colour": "blue"},
    ],
)
def test_a_corpus_that_is_not_what_its_record_says_is_none(
    whole: Corpus, values: dict[str, object]
) -> None:
    record = whole.folder / "corpus.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), **values}))

    assert corpora.load("play", whole.folder) is None
