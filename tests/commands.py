"""The headless commands, each in a process of its own, forked where torch is imported already.

A new interpreter would import it for two seconds, each time.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from pathlib import Path

import pytest

LONGEST = 120
"""Seconds that a command may take."""
HOME = Path(__file__).parent.parent


def app(*words: str) -> subprocess.CompletedProcess[str]:
    """Run `python app.py` with these words in this folder and environment."""
    with tempfile.TemporaryDirectory() as folder:
        said, errors = (Path(folder, name) for name in ("said", "errors"))
        process = _context().Process(
            target=_run, args=(words, str(Path.cwd()), dict(os.environ), said, errors)
        )
        process.start()
        process.join(LONGEST)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(words, LONGEST)
        texts = said.read_text("utf-8"), errors.read_text("utf-8")
        return subprocess.CompletedProcess(words, process.exitcode, *texts)


@cache
def _context() -> BaseContext:
    """Where processes are forked; where that is not possible they begin from nothing."""
    if sys.platform == "win32":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["gpt.cli", "gpt.train", "gpt.sample"])
    with pytest.MonkeyPatch.context() as patch:  # Python 3.11 does not tell the server its path
        patch.setenv("PYTHONPATH", str(HOME))
        forkserver.ensure_running()
    return context


def _run(
    words: tuple[str, ...], folder: str, environment: dict[str, str], said: Path, errors: Path
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.__stdin__ = sys.stdin  # the one there was is closed
    for number, path in ((1, said), (2, errors)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    import app

    raise SystemExit(app.main(list(words)))
