"""Past runs: a line for each, and finding the one that a person means."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gpt.names import is_possible
from gpt.runs import ROOT, Run, RunError


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


def as_dict(summary: Summary) -> dict[str, Any]:
    """The summary as JSON data."""
    return {key: value for key, value in asdict(summary).items() if key != "offset"}


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
    if is_possible(path / "config.toml") and (path / "config.toml").is_file():
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
        raise RunError(f"{reference[:80]!r} could be any of {', '.join(matches[:5])}.")
    where = "there are no runs here yet" if not names else f"the newest is {names[-1]}"
    raise RunError(f"there is no run {reference[:80]!r} in {root}{os.sep}; {where}.")


def _read_summary(run: Run) -> Summary | None:
    try:
        values: dict[str, Any] = json.loads((run.path / "summary.json").read_text("utf-8"))
        values.update(name=run.name, path=str(run.path))
        return Summary(**values)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def _write_summary(run: Run, summary: Summary) -> None:
    values = {k: v for k, v in asdict(summary).items() if k not in ("name", "path")}
    temporary = run.path / f".summary.json.{os.getpid()}"
    with contextlib.suppress(OSError):
        temporary.write_text(json.dumps(values), "utf-8")
        temporary.replace(run.path / "summary.json")
