"""Past runs: a line for each, and finding the one that a person means."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from gpt.names import is_possible
from gpt.runs import ROOT, Run, RunError
from gpt.summary import headline, headline_of
from gpt.text import visible


@dataclass(frozen=True, slots=True)
class Summary:
    """A run in a line. `state` is training, paused, interrupted, or the reason it ended with."""

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


def summarize(run: Run) -> Summary:
    """The run in a line, from `summary.json` where it covers the journal, else from that."""
    values = headline(run) or headline_of(run.record())
    at_work = "paused" if values["phase"] == "paused" else "training"
    state = values["reason"] or (at_work if run.is_live() else "interrupted")
    shown = {field.name: values[field.name] for field in fields(Summary)[3:]}
    return Summary(run.name, str(run.path), state, **shown)


def as_dict(summary: Summary) -> dict[str, Any]:
    """The summary as JSON data."""
    return asdict(summary)


def folders(root: Path = ROOT) -> list[Path]:
    """The folders under `root` with a run in them, or that cannot be looked into.

    Raises:
        RunError: `root` itself cannot be read.
    """
    try:
        return [path for path in root.iterdir() if _may_hold_a_run(path)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        words = f"{root} cannot be read: {error.strerror or error}."
        raise RunError(visible(words)) from None


def _may_hold_a_run(path: Path) -> bool:
    try:
        return any((path / name).exists() for name in ("config.toml", "events.jsonl"))
    except OSError:
        return True


def find_all(root: Path = ROOT) -> list[Summary]:
    """Every run under `root`, newest first, with state "unreadable" what cannot be read.

    Raises:
        RunError: `root` itself cannot be read.
    """
    summaries = [_summarize_somehow(Run(path)) for path in folders(root)]
    return sorted(summaries, key=lambda summary: -(summary.started or 0.0))


def _summarize_somehow(run: Run) -> Summary:
    try:
        return summarize(run)
    except Exception as error:  # a folder can be broken in any way; the others still show
        return Summary(
            name=run.name,
            path=str(run.path),
            state="unreadable",
            started=None,
            seconds=0.0,
            step=0,
            max_iters=0,
            params=0,
            loss=None,
            val_loss=None,
            best_val=None,
            best_step=None,
            error=f"{type(error).__name__}: {error}",
        )


def find(reference: str, root: Path = ROOT) -> Run:
    """The run that a folder, a name, a unique prefix or "last" means.

    Raises:
        RunError: none, or more than one.
    """
    path = Path(reference)
    if is_possible(path / "config.toml") and (path / "config.toml").is_file():
        return Run(path)
    names = sorted(path.name for path in folders(root))
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
