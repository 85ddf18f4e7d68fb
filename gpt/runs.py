"""Run folders: where they are, what is in them, and the journal.

Needs no torch, so that looking at runs is instant.
"""

from __future__ import annotations

import contextlib
import os
import tomllib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gpt.errors import Refused
from gpt.events import Event, from_json, to_json
from gpt.record import Record

if TYPE_CHECKING:
    from filelock import FileLock

    from gpt.config import Config

ROOT = Path("runs")


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
            if run.journal.exists() or run.config_path.exists():
                raise RunError(
                    f"{out_dir} already holds a run. To go on with it: python app.py resume "
                    f"{out_dir}. For a new one choose another --out_dir."
                )
            if out_dir.exists() and not out_dir.is_dir():
                raise RunError(f"{out_dir} is a file; --out_dir names a folder.")
            return run
        stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
        run = cls(root / f"{stamp}-{name}")
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
        from filelock import FileLock

        try:
            self._make_folder()
            self._lock = FileLock(self.path / "lock", blocking=False)
            self._lock.acquire()
            self.config_path.write_text(tomli_w.dumps(config.model_dump()), "utf-8")
        except OSError as error:
            raise RunError(f"{self.path} cannot be written: {error.strerror or error}.") from None

    def hold(self) -> None:
        """Take the lock of a run that exists, to go on with it.

        Raises:
            RunError: another process trains it, or it cannot be written.
        """
        from filelock import FileLock, Timeout

        try:
            self._lock = FileLock(self.path / "lock", blocking=False)
            self._lock.acquire()
        except Timeout:
            raise RunError(f"{self.name} is being trained by another process.") from None
        except OSError as error:
            raise RunError(f"{self.path} cannot be written: {error.strerror or error}.") from None

    def release(self) -> None:
        """Give up the lock."""
        if self._lock is not None:
            self._lock.release()

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
            with FileLock(path, blocking=False):
                return False
        except Timeout:
            return True
        except OSError:
            return False

    def record(self) -> Record:
        """The run as its journal tells it."""
        record = Record()
        for event in follow(self):
            record.fold(event)
        return record

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


class Journal:
    """The events of a run on disk, each line flushed as it is written."""

    def __init__(self, run: Run) -> None:
        self._file = run.journal.open("a", encoding="ascii", newline="\n")

    def append(self, event: Event) -> None:
        """Write one event."""
        self._file.write(to_json(event) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Make sure that all of it is on disk, and close it."""
        with contextlib.suppress(OSError):
            os.fsync(self._file.fileno())
        self._file.close()


def follow(run: Run) -> Iterator[Event]:
    """The events in a run's journal. A line cut short by a crash is passed over."""
    if not run.journal.is_file():
        return
    with run.journal.open("rb") as file:
        for raw in file:
            try:
                event = from_json(raw.decode("utf-8"))
            except (ValueError, TypeError, RecursionError):
                continue
            if event is not None:
                yield event
