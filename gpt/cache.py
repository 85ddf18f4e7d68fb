"""The folder where fetched files and corpora are kept, shared by all processes of one person.

    corpora/    token files, a folder for each text, named by its hash
    files/      what was fetched
    index/      which corpus the text at a path became, so that it is not read again, and what a
                first reading found of one that is being prepared

Beside each is the lock of whoever writes it. What is being written ends in `.part`. All of it can
be deleted and comes back.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gpt.events import Notice
from gpt.folders import cache_folder
from gpt.text import visible
from gpt.textfiles import CorpusError

if TYPE_CHECKING:
    from filelock import FileLock

ABANDONED_AFTER = 7 * 24 * 3600.0
"""Seconds."""


def index_entry(path: Path) -> Path:
    """The file that says which corpus the text at `path` became."""
    name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()
    return cache_folder() / "index" / f"{name[:16]}.json"


def scan_entry(path: Path) -> Path:
    """The file that keeps what a first reading of the text at `path` found."""
    return index_entry(path).with_suffix(".scan.json")


def clear_abandoned() -> None:
    """Remove corpora that were begun and not gone on with for a week.

    Raises:
        OSError: the folder cannot be read.
    """
    from filelock import FileLock, Timeout

    for part in (cache_folder() / "corpora").glob("*.part"):
        with contextlib.suppress(FileNotFoundError, Timeout):
            if time.time() - part.stat().st_mtime > ABANDONED_AFTER:
                with FileLock(part.with_suffix(".lock"), timeout=0):
                    shutil.rmtree(part, ignore_errors=True)


def acquire(path: Path, check: Callable[[], None]) -> Generator[Notice, None, FileLock]:
    """The lock of what is at `path`, waited for while another process has it.

    Raises:
        OSError: the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    # Not bound to a thread: a generator can be closed by another than the one that ran it.
    lock = FileLock(path.with_name(f"{path.name}.lock"), thread_local=False)
    waiting = False
    while True:
        check()
        try:
            lock.acquire(timeout=0.1)
            return lock
        except Timeout:
            if not waiting:
                yield Notice(level="info", text="another process prepares this text; waiting")
            waiting = True


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in a file; None when there is none."""
    try:
        record: object = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return cast(dict[str, Any], record) if isinstance(record, dict) else None


def write_json(record: Mapping[str, Any], path: Path) -> None:
    """Put an object in a file, at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text(json.dumps(record) + "\n", "ascii")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def faults_in_words() -> Generator[None]:
    """A fault of the disk as a `CorpusError`. Those of a person's own files are one already."""
    try:
        yield
    except OSError as error:
        where = visible(str(error.filename or cache_folder()))
        raise CorpusError(
            f"the cache cannot be used: {where}: {error.strerror or error}. The environment "
            "variable NANODECK_CACHE_DIR names another folder for it."
        ) from None
