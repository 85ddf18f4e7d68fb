"""The head of the run screen: what runs where, what it is doing, and how far it is."""

from __future__ import annotations

import math

from rich.cells import cell_len

from gpt.record import Record
from gpt.text import visible
from tui import numbers
from tui.bar import bar_of, split_bar
from tui.lines import Lines, Row, Run
from tui.view import View
from tui.wrap import cut

SKIPPABLE = ("evaluating", "sampling")
ROLES = {
    "done": "good",
    "stopped": "warning",
    "stopping": "warning",
    "paused": "warning",
    "pausing": "warning",
    "interrupted": "warning",
    "diverged": "error",
    "failed": "error",
}
SMALL = (40, 10)
"""Columns or rows of the screen below which there is only the heading."""


class Heading(Lines):
    """Two rows; on a very small terminal, all that is shown."""

    def show(self, view: View, *, now: float, cursor: int | None, small: bool) -> None:
        """Show the run as it is at the wall-clock time `now`."""
        width = self.size.width
        phase = phase_of(view, now)
        if small:
            self.put(small_rows(view, phase, width))
            return
        self.put(heading_rows(view, phase, cursor, width, bar_of(self.ascii)))


def phase_of(view: View, now: float) -> tuple[str, str]:
    """What the run is doing: one word, and how far it is with it."""
    record = view.record
    if record.finished is not None:
        return record.finished.reason, ""
    if view.live:
        return word_of(view), progress_of(record, now)
    return (record.phase, "in another process") if view.elsewhere else ("interrupted", "")


def word_of(view: View) -> str:
    """One word for what a live run is doing."""
    control = view.control
    if control is not None and control.stopping:
        return "stopping"
    if control is not None and control.paused and view.record.phase == "training":
        return "pausing"
    return view.record.phase or "starting"


def progress_of(record: Record, now: float) -> str:
    """How far the phase is, where it says so, else for how long it lasts once that is a while."""
    progress = record.progress
    unit = visible(progress.unit, keep="") if progress is not None else ""
    if progress is not None and progress.total:
        done, total = numbers.count(progress.done), numbers.count(progress.total)
        return f"{done} of {total} {unit}"
    if progress is not None and progress.done:
        return f"{numbers.count(progress.done)} {unit}"
    lasts = now - record.phase_since
    if record.phase in ("", "training") or not record.phase_since or lasts < 2:
        return ""
    return numbers.clock(lasts)


def skippable(view: View) -> bool:
    """Whether what is under way now is an evaluation or a sample."""
    return view.live and view.record.phase in SKIPPABLE


def heading_rows(
    view: View, phase: tuple[str, str], cursor: int | None, width: int, bar: str
) -> list[Row]:
    """What runs and what it does; the bar, of two characters, and how far it is."""
    return [_first(view, phase, cursor, width), _second(view, width, bar)]


def _first(view: View, phase: tuple[str, str], cursor: int | None, width: int) -> Row:
    record = view.record
    word, detail = phase
    right: list[Run] = [(ROLES.get(word, "accent"), word)]
    if detail:
        right.append(("muted", f" {detail}"))
    if record.started is not None:
        total = f"{record.max_iters:,}" if record.max_iters else "?"
        right.append(("muted", "  step "))
        right.append(("strong", f"{record.step:>{len(total)},}"))
        right.append(("muted", f" of {total} "))
    hint = ", esc skips"
    if skippable(view) and _columns(right) + cell_len(view.name) + len(hint) + 4 <= width:
        right.insert(2 if detail else 1, ("muted", hint))
    if cursor is not None:
        reading: list[Run] = [("accent", f"reading step {cursor:,}"), ("muted", ", End goes back ")]
        right = [*right[:1], ("plain", "   "), *reading] if width >= 100 else reading
    room = width - _columns(right) - 4
    name = cut(visible(view.name, keep=""), room)
    left: list[Run] = [("strong", f" {name}")]
    if record.started is not None:
        started = record.started
        plural = "" if started.threads == 1 else "s"
        threads = f"{started.threads} thread{plural}, " if started.device == "cpu" else ""
        device = f"  {visible(started.device, keep='')}, {threads}{visible(started.dtype, keep='')}"
        if cell_len(name) + len(device) <= room:
            left.append(("muted", device))
    gap = width - _columns([*left, *right])
    return [*left, ("plain", " " * max(1, gap)), *right]


def _columns(row: Row) -> int:
    return sum(cell_len(text) for _, text in row)


def _second(view: View, width: int, bar: str) -> Row:
    share = share_of(view.record)
    text = f" {math.floor(100 * share + 1e-9):>3} %  {time_of(view):>11} "
    full, left = split_bar(share, max(4, width - len(text) - 1), bar)
    return [("plain", " "), ("accent", full), ("faint", left), ("muted", text)]


def share_of(record: Record) -> float:
    """How much of the run is done; before it has begun, how much of its preparation."""
    if record.max_iters:
        return min(1.0, record.step / record.max_iters)
    progress = record.progress
    return min(1.0, progress.done / progress.total) if progress and progress.total else 0.0


def time_of(view: View) -> str:
    """The time left of a run under way, the time taken by one that is over."""
    record = view.record
    if not view.moving:
        return f"in {numbers.clock(record.seconds)}" if record.seconds else ""
    left = record.seconds_left
    return "" if left is None else f"{numbers.clock(left)} left"


def small_rows(view: View, phase: tuple[str, str], width: int) -> list[Row]:
    """What matters most, for a few short rows."""
    record = view.record
    loss = next((y for y in reversed(record.curve["loss"]) if y == y), None)
    step = f"step {record.step}/{record.max_iters}" if record.started else ""
    losses = f"loss {numbers.fixed(loss, 2)}"
    word, detail = phase
    rows: list[Row] = [[("strong", f"{step} {losses}".strip())]]
    if len(step) + 1 + len(losses) > width:
        rows = [[("strong", step)], [("strong", losses)]]
    best = record.best
    rows.append([(ROLES.get(word, "accent"), word), ("muted", f" {detail or time_of(view)}")])
    if best is not None:
        rows.append([("val", f"best val {numbers.fixed(best.val, 2)}")])
    rows.append([("muted", visible(view.name, keep=""))])
    return rows
