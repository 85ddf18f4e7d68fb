"""Past runs in a table."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import DataTable, Input, Static

from gpt.runs import RunError
from gpt.text import visible
from tui.footer import Footer
from tui.marks import MARKS
from tui.messages import OpenRun, Prompt, Resume
from tui.past import Reading
from tui.rows import COLUMNS, Row, read_rows, settings_of
from tui.screen import SteadyScreen
from tui.status import StatusLine

NARROW_COLUMNS = ("name", "when", "state", "steps", "best val", "time")
NARROW = 100
NAME_WIDTH, NARROW_NAME_WIDTH = 36, 22


class HistoryScreen(SteadyScreen[None]):
    """The runs under `root`, newest first: enter opens one, P prompts it, p goes on with it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("P", "prompt", "prompt it"),
        Binding("p", "resume", "go on"),
        Binding("L", "longer", "train longer"),
        Binding("slash", "filter", "filter"),
        Binding("f5", "reload", "read again", show=False),
        Binding("escape", "back", "back"),
    ]

    AUTO_FOCUS = ""

    class Loaded(Message):
        """The folders are read, or why they cannot be."""

        def __init__(self, rows: list[Row], problem: str = "") -> None:
            super().__init__()
            self.rows = rows
            self.problem = problem

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        self._rows: list[Row] | None = None
        self._shown: list[Row] = []
        self._problem = ""
        self._loads = 0

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
        self._loads += 1
        load = partial(self._load, self._loads)
        self.run_worker(load, thread=True, exit_on_error=False, exclusive=True)

    def _load(self, number: int) -> None:
        try:
            for rows in read_rows(self.root):
                if number != self._loads or not self.is_attached:
                    return
                self.post_message(self.Loaded(rows))
        except RunError as error:
            self.post_message(self.Loaded([], str(error)))

    @on(Loaded)
    def _loaded(self, message: Loaded) -> None:
        self._rows, self._problem = message.rows, message.problem
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
        if self._problem:
            empty.update(visible(f"{self._problem}\n\nf5 reads it again."))
        elif not self._rows:
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
        self.refresh_bindings()
        text = ""
        if row:
            error = row.error or (row.summary and row.summary.error) or ""
            text = "  ".join(filter(None, [str(row.path), error or settings_of(row.path)]))
        self.query_one("#history-detail", Static).update(visible(text, keep=""))

    @on(Reading)
    def _reading(self, message: Reading) -> None:
        """A run is being opened that has no summary."""
        words = f"Reading {message.path.name}, {message.share:.0%}"
        self.query_one("#history-detail", Static).update(visible(words, keep=""))
        if message.share == 1:
            self._describe()

    def _current(self) -> Row | None:
        index = self.query_one(RunTable).cursor_row
        return self._shown[index] if 0 <= index < len(self._shown) else None

    def _state(self) -> str:
        row = self._current()
        return row.state if row else ""

    @on(DataTable.RowSelected)
    def _open(self) -> None:
        row = self._current()
        if row:
            self.post_message(OpenRun(row.path))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what can act now is offered."""
        match action:
            case "prompt":
                return bool(self._shown)
            case "resume":
                return bool(self._shown) and self._state() in ("stopped", "interrupted", "failed")
            case "longer":
                return bool(self._shown) and self._state() == "done"
            case "filter":
                return bool(self._rows)
            case _:
                return True

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

    def action_longer(self) -> None:
        """Train the run under the cursor, which is done, for as long again."""
        self.action_resume()

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
