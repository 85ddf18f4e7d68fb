"""Past runs in a table."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widgets import DataTable, Input, Static

from gpt.history import Summary, summarize
from gpt.runs import Run
from gpt.text import visible
from tui.footer import Footer
from tui.marks import MARKS
from tui.messages import OpenRun, Prompt, Resume
from tui.numbers import clock, count, fixed
from tui.past import short_name
from tui.status import StatusLine

COLUMNS = ("name", "when", "state", "steps", "best val", "loss", "time", "params")
NARROW_COLUMNS = ("name", "when", "state", "steps", "best val", "time")
NARROW = 100
NAME_WIDTH, NARROW_NAME_WIDTH = 36, 22


@dataclass(frozen=True, slots=True)
class Row:
    """A run in the table; `summary` is None when its folder cannot be read, `error` says why."""

    path: Path
    time: float
    summary: Summary | None
    error: str = ""

    @property
    def state(self) -> str:
        """How the run ended, or that it has not, or that it cannot be read."""
        return self.summary.state if self.summary else "unreadable"

    def cells(self) -> dict[str, str]:
        """What each column shows, as plain text."""
        run = self.summary
        cells: dict[str, str] = dict.fromkeys(COLUMNS, "")
        when = time.strftime("%b %d %H:%M", time.localtime(self.time))
        cells.update({"name": short_name(self.path.name), "when": when, "state": self.state})
        if run:
            cells["steps"] = f"{run.step:,}/{run.max_iters:,}" if run.max_iters else "-"
            cells["best val"] = fixed(run.best_val, 4)
            cells["loss"] = fixed(run.loss, 4)
            cells["time"] = clock(run.seconds)
            cells["params"] = count(run.params) if run.params else "-"
        return cells


def read_rows(root: Path) -> list[Row]:
    """A row for each run folder under `root`, the newest first."""
    if not root.is_dir():
        return []
    rows = [
        read_row(path)
        for path in root.iterdir()
        if any((path / name).exists() for name in ("config.toml", "events.jsonl"))
    ]
    return sorted(rows, key=lambda row: -row.time)


def read_row(path: Path) -> Row:
    """The row of one run folder, whatever state it is in."""
    try:
        changed = path.stat().st_mtime
    except OSError:
        changed = 0.0
    try:
        summary = summarize(Run(path))
        started = float(summary.started or changed)
        row = Row(path, started if math.isfinite(started) else changed, summary)
        row.cells()
    except Exception as error:  # a folder can be broken in any way; the others still show
        return Row(path, changed, None, f"{type(error).__name__}: {error}")
    return row


class HistoryScreen(Screen[None]):
    """The runs under `root`, newest first: enter opens one, P prompts it, p goes on with it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("P", "prompt", "prompt it"),
        Binding("p", "resume", "go on"),
        Binding("slash", "filter", "filter"),
        Binding("f5", "reload", "read again", show=False),
        Binding("escape", "back", "back"),
    ]

    AUTO_FOCUS = ""

    class Loaded(Message):
        """The folders are read."""

        def __init__(self, rows: list[Row]) -> None:
            super().__init__()
            self.rows = rows

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        self._rows: list[Row] | None = None
        self._shown: list[Row] = []

    def compose(self) -> ComposeResult:
        """The filter, the table, a line on the run under the cursor."""
        yield Static("Runs", id="history-title", markup=False)
        yield Input(placeholder="part of a name or a state", id="history-filter", highlighter=MARKS)
        yield RunTable(id="history-table", cursor_type="row", zebra_stripes=False)
        yield Static("Reading the runs ...", id="history-empty", markup=False)
        yield Static("", id="history-detail", markup=False)
        yield StatusLine()
        yield Footer()

    def on_mount(self) -> None:
        """Hide the filter until it is asked for."""
        self.query_one("#history-filter").display = False
        self.query_one(RunTable).display = False

    def on_screen_resume(self) -> None:
        """Read the folders, also when coming back from a run."""
        self.action_reload()

    def on_resize(self, event: events.Resize) -> None:
        """Fewer columns where there is little room."""
        if self._rows is not None and bool(event.size.width < NARROW) != self._narrow:
            self._fill()

    def action_reload(self) -> None:
        """Read the folders in a thread."""
        self.run_worker(self._load, thread=True, exit_on_error=False, exclusive=True)

    def _load(self) -> None:
        self.post_message(self.Loaded(read_rows(self.root)))

    @on(Loaded)
    def _loaded(self, message: Loaded) -> None:
        self._rows = message.rows
        self._fill()

    def _fill(self) -> None:
        """Draw the rows that pass the filter, the cursor staying on its run."""
        table = self.query_one(RunTable)
        before = self._current()
        wanted = self.query_one("#history-filter", Input).value.casefold().split()
        self._shown = [
            row
            for row in self._rows or []
            if all(word in f"{row.path.name} {row.state}".casefold() for word in wanted)
        ]
        self._narrow = self.size.width < NARROW
        columns = NARROW_COLUMNS if self._narrow else COLUMNS
        table.clear(columns=True)
        for name in columns:
            table.add_column(Text(name, justify=_side(name)))
        for row in self._shown:
            table.add_row(*self._cells(row, columns))
        paths = [row.path for row in self._shown]
        if before and before.path in paths:
            table.move_cursor(row=paths.index(before.path))
        self._show_emptiness()
        self._describe()
        if table.display and not isinstance(self.focused, Input):
            table.focus()

    def _cells(self, row: Row, columns: tuple[str, ...]) -> list[Text]:
        cells = row.cells()
        width = NARROW_NAME_WIDTH if self._narrow else NAME_WIDTH
        texts = [
            Text(visible(cells[name], keep=""), justify=_side(name), no_wrap=True)
            for name in columns
        ]
        texts[0].truncate(width, overflow="ellipsis", pad=True)
        return texts

    def _show_emptiness(self) -> None:
        table, empty = self.query_one(RunTable), self.query_one("#history-empty", Static)
        table.display, empty.display = bool(self._shown), not self._shown
        if not self._rows:
            where = visible(str(self.root.absolute()), keep="")
            empty.update(f"No runs in {where} yet.\n\nesc goes back; there t trains the first one.")
        elif not self._shown:
            empty.update("No run matches the filter. esc clears it.")
        shown, total = len(self._shown), len(self._rows or [])
        self.query_one("#history-title", Static).update(
            f"Runs  {total}" if shown == total else f"Runs  {shown} of {total}"
        )

    @on(DataTable.RowHighlighted)
    def _describe(self) -> None:
        row = self._current()
        text = ""
        if row:
            error = row.error or (row.summary and row.summary.error) or ""
            text = f"{row.path}  {error}" if error else str(row.path)
        self.query_one("#history-detail", Static).update(visible(text, keep=""))

    def _current(self) -> Row | None:
        index = self.query_one(RunTable).cursor_row
        return self._shown[index] if 0 <= index < len(self._shown) else None

    @on(DataTable.RowSelected)
    def _open(self) -> None:
        row = self._current()
        if row:
            self.post_message(OpenRun(row.path))

    def action_prompt(self) -> None:
        """Talk to the model of the run under the cursor."""
        row = self._current()
        if row:
            self.post_message(Prompt(row.path))

    def action_resume(self) -> None:
        """Train the run under the cursor further, from its newest checkpoint."""
        row = self._current()
        if row:
            self.post_message(Resume(row.path))

    def action_filter(self) -> None:
        """Show the filter and type into it."""
        field = self.query_one("#history-filter", Input)
        field.display = True
        field.focus()

    @on(Input.Changed)
    def _filter_changed(self) -> None:
        if self._rows is not None:
            self._fill()

    @on(Input.Submitted)
    def _filter_done(self) -> None:
        self.query_one(RunTable).focus()

    def action_back(self) -> None:
        """Out of the filter, clearing it; else to the screen before."""
        field = self.query_one("#history-filter", Input)
        if field.display:
            field.value = ""
            field.display = False
            self.query_one(RunTable).focus()
        else:
            self.dismiss()


def _side(column: str) -> Literal["left", "right"]:
    """Words begin together, numbers end together."""
    return "left" if column in ("name", "when", "state") else "right"


class RunTable(DataTable[Text]):
    """The table; its own keys keep out of the footer except for enter."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "open", key_display="enter")
    ]
