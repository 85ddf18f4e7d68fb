"""Run folders: where they are, what is in them, and who trains in them.

Needs no torch, so that looking at runs is instant.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tomllib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gpt import disk
from gpt.errors import Refused
from gpt.journal import Journal as Journal
from gpt.journal import follow as follow
from gpt.names import folder_name, is_possible
from gpt.record import Record
from gpt.summary import Folding
from gpt.text import visible

if TYPE_CHECKING:
    from filelock import FileLock

    from gpt.config import Config

ROOT = Path("runs")
LOOKING = 0.5
"""Seconds to try for a lock: who only looks whether it is held has it for a moment."""


class RunError(Refused):
    """A run that cannot be found, read or made, told for the person who named it."""


class Run:
    """One run folder. Its `path` is certain once it exists: `create` may add a suffix."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._exact = True
        self._lock: FileLock | None = None

    @classmethod
    def new(cls, name: str, out_dir: Path | None = None, root: Path = ROOT) -> Run:
        """A run that does not exist yet, in a folder of its own under `root` or at `out_dir`.

        Raises:
            RunError: `out_dir` already holds a run, or is no folder.
        """
        if out_dir is not None:
            run = cls(out_dir)
            if is_possible(out_dir) and out_dir.exists() and not out_dir.is_dir():
                raise RunError(f"{visible(str(out_dir))} is a file; --out_dir names a folder.")
            if not is_possible(run.journal):
                raise RunError(f"{str(out_dir)[:80]!r} cannot name a folder here.")
            if run.journal.exists() or run.config_path.exists():
                raise RunError(
                    f"{out_dir} already holds a run. To go on with it: python app.py resume "
                    f"{out_dir}. For a new one choose another --out_dir."
                )
            return run
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        run = cls(root / f"{stamp}-{folder_name(name)}")
        run._exact = False
        return run

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def config_path(self) -> Path:
        """The complete resolved configuration."""
        return self.path / "config.toml"

    @property
    def journal(self) -> Path:
        """All events, a JSON object a line."""
        return self.path / "events.jsonl"

    @property
    def log(self) -> Path:
        """Warnings, native output and tracebacks."""
        return self.path / "run.log"

    @property
    def tokenizer(self) -> Path:
        """What turns this run's ids into text."""
        return self.path / "tokenizer.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoint folders."""
        return self.path / "checkpoints"

    def create(self, config: Config) -> None:
        """Make the folder, take its lock and write the configuration.

        Raises:
            RunError: the folder cannot be written.
        """
        import tomli_w

        try:
            self._make_folder()
            self.hold()
            if self.config_path.exists() or self.journal.exists():
                raise RunError(f"{visible(str(self.path))} already holds a run.")
            disk.write(self.config_path, tomli_w.dumps(config.model_dump()))
            disk.flush(self.path.parent)
        except OSError as error:
            self.release()
            raise self._not_written(error) from None
        except RunError:
            self.release()
            raise

    def hold(self) -> None:
        """Take the lock of a run that exists, to train in it. The lock of a dead process is free.

        Raises:
            RunError: another process trains it, or it cannot be written.
        """
        from filelock import FileLock, Timeout

        # Not bound to a thread: a generator can be closed by another than the one that ran it.
        lock = FileLock(self.path / "lock", timeout=LOOKING, thread_local=False)
        try:
            lock.acquire(poll_interval=LOOKING / 50)
        except Timeout:
            raise RunError(
                f"{visible(self.name)} is being trained by {self._holder()}. Stop that first."
            ) from None
        except OSError as error:
            raise self._not_written(error) from None
        self._lock = lock
        who = {"pid": os.getpid(), "host": socket.gethostname()}
        with contextlib.suppress(OSError):
            disk.write(self._holder_path, json.dumps(who) + "\n")

    def release(self) -> None:
        """Give up the lock, if it is held."""
        if self._lock is not None:
            with contextlib.suppress(OSError):
                self._holder_path.unlink(missing_ok=True)
            self._lock.release()
            self._lock = None

    def config(self) -> Config:
        """The configuration that the run was started with.

        Raises:
            RunError: it is missing or not readable.
        """
        from gpt.settings import ConfigError, make_config

        try:
            return make_config(tomllib.loads(self.config_path.read_text("utf-8")), self.name)
        except (OSError, ValueError) as error:
            words = str(error) if isinstance(error, ConfigError) else f"{self.config_path}: {error}"
            raise RunError(words) from None

    def is_live(self) -> bool:
        """Whether a process trains this run now."""
        from filelock import FileLock, Timeout

        path = self.path / "lock"
        if not path.exists():
            return False
        try:
            with FileLock(path, timeout=0, thread_local=False):
                return False
        except Timeout:
            return True
        except OSError:
            return False

    def record(self, told: Callable[[float], None] | None = None) -> Record:
        """The run as its journal tells it, which is read on from where `summary.json` stands.

        That is brought up to date, but for a run that another process trains: it does so itself.

        Args:
            told: called now and then with how much of the journal is read, from 0 to 1.

        Raises:
            OSError, TypeError, ValueError, OverflowError: the journal cannot be read.
        """
        folding = Folding.of(self)
        if folding.catch_up(told) and (self._lock is not None or not self.is_live()):
            folding.write()
        return folding.whole()

    @property
    def _holder_path(self) -> Path:
        """Who has the lock. Not in the lock itself, which other systems let nobody else read."""
        return self.path / "lock.json"

    def _holder(self) -> str:
        try:
            who = json.loads(self._holder_path.read_text("utf-8")[:1000])
            pid, host = int(who["pid"]), str(who["host"])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return "another process"
        if host != socket.gethostname():
            return f"process {pid} on {visible(host)}"
        return "this very program" if pid == os.getpid() else f"process {pid} on this machine"

    def _not_written(self, error: OSError) -> RunError:
        words = f"{self.path} cannot be written: {error.strerror or error}."
        return RunError(visible(words))

    def _make_folder(self) -> None:
        if self._exact:
            self.path.mkdir(parents=True, exist_ok=True)
            return
        first = self.path
        for number in range(2, 1000):
            try:
                self.path.mkdir(parents=True)
                return
            except FileExistsError:
                self.path = first.with_name(f"{first.name}-{number}")
        raise FileExistsError(f"{first} and 998 like it exist")
