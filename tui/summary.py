"""The end of a run in a few lines: what came of it, and what one can do next."""

from __future__ import annotations

from pathlib import Path

from gpt.record import Record
from gpt.text import visible
from tui import numbers
from tui.keys import can_extend, can_resume
from tui.lines import Lines, Row
from tui.wrap import wrap

NEXT: Row = [
    ("accent", "enter"), ("muted", " prompt it   "),
    ("accent", "L"), ("muted", " train longer   "),
    ("accent", "C"), ("muted", " change one thing   "),
    ("accent", "r"), ("muted", " see the runs"),
]  # fmt: skip
AGAIN: Row = NEXT[4:]
"""Without a checkpoint."""
OVER: Row = [*NEXT[:2], *NEXT[4:]]
"""Where there is nothing to go on with."""
UNFINISHED: Row = [("accent", "p"), ("muted", " go on   "), *OVER]
HEADS = {
    "done": ("good", "done"),
    "stopped": ("warning", "stopped and saved"),
    "diverged": ("error", "the loss is no longer a number"),
    "failed": ("error", "it failed"),
}


class Summary(Lines):
    """Shown below the panes once the run has ended."""

    def show(self, record: Record, path: Path) -> None:
        """Say how the run in the folder `path` ended."""
        reason = record.finished.reason if record.finished else ""
        role, title = HEADS.get(reason, ("warning", "interrupted"))
        self.border_title = title
        self.set_classes(f"-{role}")
        # The screen's width less border and padding: its own is not known before it is shown.
        rows = summary_rows(record, path, self.screen.size.width - 4)
        if rows != self.rows:
            self.styles.height = len(rows) + 2
            self.put(rows)


def summary_rows(record: Record, path: Path, width: int) -> list[Row]:
    """Best loss, when and how long; what went wrong; where the checkpoint is; what next."""
    rows: list[Row] = []
    if record.finished and record.finished.error:
        rows += [[("error", part)] for part in wrap(visible(record.finished.error), width)][:4]
    rows.append(_result(record))
    rows += [[("muted", part)] for part in wrap(_where(record, path), width)]
    if record.finished and record.finished.reason == "failed":
        rows.append([("muted", "details in run.log in the run's folder")])
    if can_resume(record):
        rows.append(UNFINISHED)
    elif can_extend(record):
        rows.append(NEXT)
    else:
        rows.append(OVER if record.saved else AGAIN)
    return rows


def _where(record: Record, path: Path) -> str:
    """The best checkpoint, else the last, else the folder."""
    if not record.saved:
        return f"run folder  {visible(str(path))}"
    best = [event for event in record.saved if event.kind == "best"]
    kind, event = ("best", best[-1]) if best else ("last", record.saved[-1])
    return f"{kind} checkpoint  {visible(str(path / event.path))}"


def _result(record: Record) -> Row:
    took = numbers.clock(record.seconds)
    best = record.best
    if best is None:
        return [("muted", f"no evaluation yet, {record.step:,} steps in {took}")]
    return [
        ("muted", "best val loss "),
        ("strong", numbers.fixed(best.val, 4)),
        ("muted", f" at step {best.step or 0:,} of {record.step:,}   "),
        ("muted", f"{took}   "),
        ("muted", f"perplexity {numbers.fixed(numbers.perplexity(best.val), 2)}"),
    ]
