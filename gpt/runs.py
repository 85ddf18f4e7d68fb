"""Run folders: where they are, what is in them, and the journal.

Needs no torch, so that looking at runs is instant.
"""

from __future__ import annotations

import contextlib
import json
import os
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gpt.events import Event, from_json, to_json
from gpt.record import Record

if TYPE_CHECKING:
    from filelock import FileLock

    from gpt.config import Config

ROOT = Path("runs")


class RunError(ValueError):
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
                raise RunError(f"{out_dir} already holds a run; choose another --out_dir.")
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


@dataclass(frozen=True, slots=True)
class Summary:
    """A run in a line. `state` is training, interrupted, or the reason it finished with.

    `offset` is how many bytes of the journal it covers.
    """

    name: str
    path: str
    state: str
    started: float | None
    seconds: float
    step: int
    max_iters: int
    params: int
    loss: float | None
    val_loss: float | None
    best_val: float | None
    best_step: int | None
    error: str | None
    offset: int


def summarize(run: Run) -> Summary:
    """The run's summary, from `summary.json` where it covers the journal, else from that.

    A finished run's summary is written back, where the folder can be written.
    """
    size = run.journal.stat().st_size if run.journal.is_file() else 0
    cached = _read_summary(run)
    if cached is not None and cached.offset == size:
        return cached
    record = run.record()
    losses = [loss for loss in record.curve["loss"] if loss == loss]
    best = record.best
    if record.finished:
        state = record.finished.reason
    else:
        state = "training" if run.is_live() else "interrupted"
    summary = Summary(
        name=run.name,
        path=str(run.path),
        state=state,
        started=record.first_time,
        seconds=record.seconds,
        step=record.step,
        max_iters=record.max_iters,
        params=record.started.params if record.started else 0,
        loss=losses[-1] if losses else None,
        val_loss=record.evals[-1].val if record.evals else None,
        best_val=best.val if best else None,
        best_step=best.step if best else None,
        error=record.finished.error if record.finished else None,
        offset=size,
    )
    if record.finished:
        _write_summary(run, summary)
    return summary


def find_all(root: Path = ROOT) -> list[Summary]:
    """Every run under `root`, newest first."""
    if not root.is_dir():
        return []
    runs = [Run(path) for path in root.iterdir() if (path / "config.toml").is_file()]
    return sorted((summarize(run) for run in runs), key=lambda s: -(s.started or 0.0))


def find(reference: str, root: Path = ROOT) -> Run:
    """The run that a folder, a name, a unique prefix or "last" means.

    Raises:
        RunError: none, or more than one.
    """
    path = Path(reference)
    if (path / "config.toml").is_file():
        return Run(path)
    names = sorted(
        path.name for path in (root.iterdir() if root.is_dir() else ())
        if (path / "config.toml").is_file()
    )  # fmt: skip
    if reference == "last" and names:
        return Run(root / find_all(root)[0].name)
    if reference in names:
        return Run(root / reference)
    matches = [name for name in names if reference and name.startswith(reference)]
    if len(matches) == 1:
        return Run(root / matches[0])
    if matches:
        raise RunError(f"{reference!r} could be any of {', '.join(matches[:5])}.")
    where = "there are no runs here yet" if not names else f"the newest is {names[-1]}"
    raise RunError(f"there is no run {reference!r} in {root}{os.sep}; {where}.")


def _read_summary(run: Run) -> Summary | None:
    try:
        values = json.loads((run.path / "summary.json").read_text("utf-8"))
        return Summary(**{**values, "name": run.name, "path": str(run.path)})
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def _write_summary(run: Run, summary: Summary) -> None:
    values = {k: v for k, v in asdict(summary).items() if k not in ("name", "path")}
    temporary = run.path / f".summary.json.{os.getpid()}"
    with contextlib.suppress(OSError):
        temporary.write_text(json.dumps(values), "utf-8")
        temporary.replace(run.path / "summary.json")
