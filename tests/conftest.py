"""What several test files share."""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from gpt import corpus
from gpt.corpus import Corpus
from gpt.tokenizer import GPT2Tokenizer

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
"""Two workers' threads share the cores: they would spin against each other. Read by torch."""

settings.register_profile("nanodeck", deadline=None)
settings.load_profile("nanodeck")

MANY = 20_000
"""Objects made before Python looks for garbage, on which it would spend a tenth of all tests."""

PLAY = "".join(f"{number}. To be, or not to be: that is the question.\n" for number in range(200))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(MANY)


def finish(generator: Generator[Any, None, Any]) -> tuple[list[Any], Any]:
    """Run a generator to its end: its events, and what it returns."""
    events: list[Any] = []
    while True:
        try:
            events.append(next(generator))
        except StopIteration as end:
            return events, end.value


def prepared(dataset: str | Path) -> Corpus:
    return finish(corpus.prepare(str(dataset)))[1]


def text_of(found: Corpus) -> str:
    """Both splits, read back from the token files."""
    width = {"uint16": "<u2", "uint32": "<u4"}[found.dtype]
    tokens = [np.fromfile(path, width) for path in (found.train_path, found.val_path)]
    assert [len(part) for part in tokens] == [found.train_tokens, found.val_tokens]
    return found.tokenizer().decode(np.concatenate(tokens).tolist())


def half_done(cache_dir: Path) -> list[Path]:
    """What should not be there after an error: what is neither a lock nor a compiled kernel."""
    files = (path for path in cache_dir.rglob("*") if path.is_file())
    return [path for path in files if path.suffix != ".lock" and path.parent.name != "native"]


@pytest.fixture(scope="session")
def shakespeare() -> Corpus:
    """The real corpus `shakespeare_char`, in the user's own cache: fetched once a machine."""
    return finish(corpus.prepare("shakespeare_char"))[1]


@pytest.fixture(scope="session")
def gpt2() -> GPT2Tokenizer:
    """The real tokenizer of GPT-2, fetched likewise."""
    return finish(corpus.gpt2_tokenizer())[1]


@pytest.fixture
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache that is this test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("NANODECK_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def plain_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same colours and no animations on every machine, in an empty folder."""
    for kind in ("CONFIG", "STATE"):
        monkeypatch.setenv(f"NANODECK_{kind}_DIR", str(tmp_path / kind))
    for name in ("NO_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    monkeypatch.chdir(tmp_path)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()
