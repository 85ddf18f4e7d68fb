"""Names of any shape: nothing is written outside the folder that they are for."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from gpt import checkpoint, cli, corpus, history, names, presets
from gpt.arguments import Arguments
from gpt.config import Config
from gpt.errors import Refused
from gpt.runs import Run
from gpt.settings import make_config
from tests.conftest import finish
from tui.past import reference
from tui.shelf import Shelf

SOAK = bool(os.environ.get("NANODECK_SOAK"))
TIMES = 10_000 if SOAK else 80

PARTS = (
    "..",
    ".",
    "",
    " ",
    "/",
    "//",
    "\\",
    "\\\\",
    "\\\\server\\share",
    "C:",
    "C:\\x",
    "c:x",
    ":",
    "::$DATA",
    "\0",
    "\n",
    "\r",
    "\t",
    "\x1b[2J",
    "\x7f",
    "\x85",
    "\u202e",
    "\u2044",
    "\uff0f",
    "\ud800",
    "CON",
    "nul",
    "aux.txt",
    "COM1",
    "lpt9.toml",
    "con ",
    "a.",
    "a..",
    "a ",
    ".hidden",
    "~",
    "~root",
    "$HOME",
    "%TEMP%",
    "*",
    "?",
    "|",
    "<",
    ">",
    '"',
    "'",
    "-",
    "--",
    "-rf",
    "é",
    "e\u0301",
    "𝄞",
    "ﬁ",
    "İ",
    "x",
    "best",
    "last",
    "step-000001",
    "checkpoints",
    "config.toml",
    "runs",
    "tiny",
    "shakespeare_char",
    ".toml",
    ".py",
    ".lock",
    "../../outside/x",
    "..\\..\\outside\\x",
    "....//",
    "x" * 251,
    "x" * 255,
    "x" * 300,
    "é" * 200,
    "/" * 300,
    "x/" * 2_500,
)


def name(chance: Random, outside: Path) -> str:
    """Something that nobody should call a run."""
    if chance.random() < 0.2:
        return f"{outside}{chance.choice(('/', '//', '/./', '/../outside/'))}{chance.choice(PARTS)}"
    if chance.random() < 0.1:
        return "".join(chr(chance.randrange(0x3000)) for _ in range(chance.randrange(1, 40)))
    joined = chance.choice(("", "/", "\\", " ", "."))
    return joined.join(chance.choice(PARTS) for _ in range(chance.choice((1, 1, 2, 3, 4))))


class House:
    """A person's folders, with a stranger's beside them."""

    def __init__(self, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.base, self.outside, self.work = base, base / "outside", base / "home" / "work"
        self.config, self.cache = base / "home" / "config", base / "home" / "cache"
        self.outside.mkdir(parents=True)
        self.work.mkdir(parents=True)
        (self.config / "presets").mkdir(parents=True)
        (self.outside / "x").write_text("mine", "utf-8")
        monkeypatch.setenv("NANODECK_CONFIG_DIR", str(self.config))
        monkeypatch.setenv("NANODECK_CACHE_DIR", str(self.cache))
        monkeypatch.chdir(self.work)
        self.real = Run.new("real")
        self.real.create(CONFIG)
        self.real.release()
        self.real.checkpoints.mkdir()
        self.before = self.snapshot()

    def snapshot(self) -> dict[str, tuple[int, int]]:
        """Every path that is not below a folder which names are for, and its state."""
        allowed = (self.work / "runs", self.config / "presets", self.cache)
        found: dict[str, tuple[int, int]] = {}
        for parent, folders, files in os.walk(self.base):
            folders[:] = [f for f in folders if Path(parent, f) not in allowed]
            for path in (os.path.join(parent, entry) for entry in (*folders, *files)):  # noqa: PTH118
                status = os.lstat(path)
                found[path] = status.st_size if os.path.isfile(path) else 0, status.st_mode  # noqa: PTH113
        return found

    def acts(self, text: str) -> dict[str, Callable[[], object]]:
        """Everything that a name is given to."""
        return {
            "run": lambda: self.train(text),
            "preset": lambda: presets.save(text, CONFIG, "", replace=True),
            "is own": lambda: presets.is_own(text),
            "find preset": lambda: presets.find(text),
            "load": lambda: cli.load(text),
            "RUN": lambda: history.find(text),
            "checkpoint": lambda: checkpoint.find(self.real, text),
            "dataset": lambda: finish(corpus.prepare(text)),
            "peek": lambda: corpus.peek(text),
            "out_dir": lambda: Run.new("x", Path(text)),
            "reference": lambda: reference(text),
            "shelf": lambda: Shelf().lay_over({}, text),
            "flag": lambda: make_config(Arguments.split([f"--dataset={text}"], ()).settings()),
        }

    def train(self, text: str) -> None:
        """What a run does with its name, before it computes."""
        run = Run.new(text)
        run.create(CONFIG)
        run.release()
        assert run.path.parent == Path("runs")
        assert run.path.resolve().parent == self.work / "runs"
        assert len(os.fsencode(run.name)) < 100
        assert run.config() == CONFIG
        for path in run.path.iterdir():
            path.unlink()
        run.path.rmdir()


CONFIG = Config()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the names are a POSIX person's")
def test_no_name_leaves_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path, monkeypatch)
    for number in range(TIMES):
        text = name(random.Random(f"name {number}"), house.outside)
        for act, do in house.acts(text).items():
            try:
                do()
            except Refused as error:
                assert str(error)  # noqa: PT017
            except Exception as error:
                raise AssertionError(f"{number}: {act} of {text[:80]!r}") from error
        assert house.snapshot() == house.before, f"{number}: {text[:80]!r}"


@pytest.mark.parametrize("text", PARTS)
def test_a_folders_name_suits_every_system(text: str) -> None:
    kept = names.folder_name(text)
    assert kept == names.folder_name(kept)
    assert kept
    assert not set(kept) & set('/\\:*?"<>|\0\n ')
    assert not kept.endswith((".", " "))


@pytest.mark.parametrize("text", ["CON", "nul", "aux.txt", "com1", "LPT9.x", "con.a.b"])
def test_the_names_of_devices_are_refused_for_presets(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NANODECK_CONFIG_DIR", str(tmp_path))
    with pytest.raises(presets.PresetError, match="cannot name a preset"):
        presets.save(text, CONFIG, "")
    assert list(tmp_path.iterdir()) == []
