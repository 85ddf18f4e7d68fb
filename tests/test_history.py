"""The table of past runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from textual.app import App
from textual.message import Message
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, Static

from gpt import presets
from gpt.config import Config
from gpt.events import Eval, Event, Finished, Started, Step
from gpt.history import find_all
from gpt.runs import Journal, Run
from tui import rows as rows_module
from tui.history import HistoryScreen
from tui.messages import OpenRun, Prompt
from tui.past import Reading, open_view
from tui.rows import COLUMNS, Row, read_row, read_rows

BEGIN = 1_800_000_000.0


def make_run(root: Path, name: str, time: float, *events: Event) -> Path:
    """A run folder as training leaves it."""
    run = Run(root / name)
    run.create(Config())
    journal = Journal(run)
    started = Started(
        time=time, step=0, max_iters=100, params=10_500, tokens_per_iter=4,
        device="cpu", dtype="float32", threads=1,
    )  # fmt: skip
    for event in (started, *events):
        journal.append(event)
    journal.close()
    run.release()
    return run.path


def step(number: int, loss: float) -> Step:
    return Step(
        time=BEGIN + number, step=number, loss=loss, lr=1e-3, grad_norm=1.0, ms=1.0,
        tokens_per_s=4.0, mfu=None, tokens=4 * number, seconds=float(number), memory=1,
    )  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three runs of different ends, and a folder that is none."""
    root = tmp_path / "runs"
    make_run(
        root, "20270115-080000-tiny", BEGIN,
        step(0, 4.2), Eval(step=0, train=4.1, val=4.15, best=True),
        step(90, 1.5), Eval(step=90, train=1.4, val=1.625, best=True),
        Finished(step=100, reason="done"),
    )  # fmt: skip
    make_run(root, "20270116-080000-wild", BEGIN + 86400, Finished(reason="diverged", error="nan"))
    make_run(root, "20270117-080000-cut", BEGIN + 2 * 86400, step(7, 3.0))
    (root / "notes").mkdir()
    return root


class Host(App[None]):
    """The history screen in an app that writes down what is asked of it."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.screen_shown = HistoryScreen(root)
        self.asked: list[Message] = []

    def on_mount(self) -> None:
        self.push_screen(self.screen_shown)

    def on_open_run(self, message: OpenRun) -> None:
        self.asked.append(message)

    def on_prompt(self, message: Prompt) -> None:
        self.asked.append(message)

    @property
    def table(self) -> list[list[str]]:
        table = self.screen_shown.query_one(DataTable)
        return [
            [cell.plain.strip() for cell in table.get_row_at(index)]
            for index in range(table.row_count)
        ]

    def words(self, selector: str) -> str:
        return str(self.screen_shown.query_one(selector, Static).content)


async def settle(pilot: Pilot[None]) -> None:
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


def test_rows_tell_each_run_newest_first(root: Path) -> None:
    (rows,) = read_rows(root)

    assert [row.path.name[16:] for row in rows] == ["cut", "wild", "tiny"]
    assert [row.state for row in rows] == ["interrupted", "diverged", "done"]
    cells = rows[2].cells()
    assert list(cells) == list(COLUMNS)
    assert cells["steps"] == "100/100"
    assert cells["best val"] == "1.6250"
    assert cells["loss"] == "1.5000"
    assert cells["time"] == "1:30"
    assert cells["params"] == "10 k"


@pytest.mark.parametrize(
    "line",
    [
        b'{"event": "started", "time": 1, "step": 0}\n',
        b'{"event": "step", "time": "x", "step": [], "loss": "y", "lr": 0, "grad_norm": 0, '
        b'"ms": 0, "tokens_per_s": 0, "mfu": 0, "tokens": 0, "seconds": 0, "memory": 0}\n',
        b'{"event": "finished", "time": 1, "reason": ["a"], "step": "b"}\n',
        b'{"event": "eval", "time": 1e999, "train": {}, "val": {}}\n',
        b"\xff\xfe\x00",
        b"[" * 100_000,
    ],
)
def test_no_journal_is_too_broken_for_a_row(line: bytes, root: Path) -> None:
    path = make_run(root, "20270118-080000-odd", BEGIN)
    with (path / "events.jsonl").open("ab") as journal:
        journal.write(line)

    row = read_row(path)

    assert row.state
    assert set(row.cells()) == set(COLUMNS)
    (rows,) = read_rows(root)
    assert len(rows) == 4


def test_nonsense_in_a_journal_costs_only_that_line(root: Path) -> None:
    (root / "20270118-080000-odd" / "events.jsonl").mkdir(parents=True)
    (root / "20270118-080000-odd" / "config.toml").write_text("x", "utf-8")
    (root / "20270119-080000-bad").mkdir()
    (root / "20270119-080000-bad" / "events.jsonl").write_bytes(
        b'{"event": "eval", "time": 1, "step": "zero", "train": 1, "val": 2}\n'
    )

    (rows,) = read_rows(root)
    states = {row.path.name: row.state for row in rows}

    assert states["20270119-080000-bad"] == "interrupted"
    assert states["20270115-080000-tiny"] == "done"


async def test_enter_opens_the_run_and_p_prompts_it(root: Path) -> None:
    app = Host(root)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        assert [row[0] for row in app.table] == ["cut", "wild", "tiny"]

        await pilot.press("down", "enter", "down", "P")
        await pilot.pause()

    assert [type(message) for message in app.asked] == [OpenRun, Prompt]
    assert [message.path.name[16:] for message in app.asked] == ["wild", "tiny"]


async def test_the_filter_narrows_by_name_and_state(root: Path) -> None:
    app = Host(root)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)

        await pilot.press("slash", *"DONE")
        await pilot.pause()
        assert [row[0] for row in app.table] == ["tiny"]
        assert "1 of 3" in app.words("#history-title")

        await pilot.press("x")
        await pilot.pause()
        assert app.table == []
        assert "No run matches" in app.words("#history-empty")

        await pilot.press("escape")
        await pilot.pause()
        assert len(app.table) == 3
        assert not app.screen_shown.query_one(Input).display
        assert app.screen is app.screen_shown

        await pilot.press("escape")
        await pilot.pause()
        assert app.screen is not app.screen_shown


async def test_the_error_of_a_run_is_told_below(root: Path) -> None:
    app = Host(root)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("down")
        await pilot.pause()

        assert app.words("#history-detail").endswith("wild  nan")


async def test_names_are_never_markup_nor_control_characters(root: Path) -> None:
    make_run(root, "20270118-080000-[red]\x1b]0;x\x07[b]", BEGIN + 3 * 86400)
    app = Host(root)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)

        assert app.table[0][0] == "[red]␛]0;x␇[b]"
        assert "[red]␛]0;x␇[b]" in app.words("#history-detail")


async def test_without_runs_it_says_what_to_do(tmp_path: Path) -> None:
    app = Host(tmp_path / "nothing")
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)

        assert "t trains the first one" in app.words("#history-empty")
        await pilot.press("enter", "P")
        await pilot.pause()
    assert app.asked == []


async def test_what_a_run_trains_on_and_what_is_its_own_is_told_below(root: Path) -> None:
    values = {**presets.find("tiny").values, "n_layer": 5, "dataset": "play.txt"}
    (root / "20270117-080000-tiny").mkdir()
    (root / "20270117-080000-tiny" / "config.toml").write_text(tomli_w.dumps(values), "utf-8")
    app = Host(root)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("down", "down", "down")
        await pilot.pause()
        assert "20270117-080000-tiny  play.txt, n_layer 5" in app.words("#history-detail")


async def test_keys_that_have_no_run_to_act_on_are_not_offered(root: Path, tmp_path: Path) -> None:
    def offered(app: Host) -> set[str]:
        active = app.screen.active_bindings.values()
        return {each.binding.description for each in active if each.binding.show and each.enabled}

    run_keys = {"open", "prompt it", "go on", "filter"}
    for folder, keys in ((root, run_keys), (tmp_path / "empty", set[str]())):
        app = Host(folder)
        async with app.run_test(size=(120, 40)) as pilot:
            await settle(pilot)
            assert offered(app) & run_keys == keys
            assert "back" in offered(app)


def test_a_folder_that_cannot_be_looked_into_hides_no_other_run(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: to the superuser no folder is closed, so that one says what it would say to others
    closed = root / "20270118-080000-closed"
    closed.mkdir()
    exists = Path.exists

    def refused(path: Path, **given: Any) -> bool:
        if path.parent == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return exists(path, **given)

    monkeypatch.setattr(Path, "exists", refused)

    # then the table has all of them, and so has the list for the shell
    (rows,) = read_rows(root)
    assert len(rows) == 4
    assert len(find_all(root)) == 4


async def test_a_folder_of_runs_that_cannot_be_read_is_told(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refused)
    app = Host(root)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        words = str(app.screen.query_one("#history-empty", Static).content)
        assert f"{root} cannot be read: Permission denied." in words


async def test_on_a_small_screen_the_columns_that_matter_stay(root: Path) -> None:
    app = Host(root)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        table = app.screen_shown.query_one(DataTable)
        assert table.virtual_size.width <= 80

        await pilot.resize_terminal(120, 40)
        await pilot.pause()
        assert len(app.table[0]) == len(COLUMNS)


async def test_coming_back_shows_what_is_new(root: Path) -> None:
    app = Host(root)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("down", "down")

        # When another run has come while a screen was above this one
        from textual.screen import Screen

        await app.push_screen(Screen[None]())
        make_run(root, "20270118-080000-new", BEGIN + 3 * 86400)
        await app.pop_screen()
        await settle(pilot)

        # Then it is there, and the cursor has stayed on its run
        assert [row[0] for row in app.table] == ["new", "cut", "wild", "tiny"]
        assert app.screen_shown.query_one(DataTable).cursor_row == 3


def test_a_long_journal_without_a_summary_holds_up_no_other_row(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given
    monkeypatch.setattr(rows_module, "LONG", 200)
    (root / "20270115-080000-tiny" / "summary.json").unlink()

    # When
    first, second = read_rows(root)

    # Then its row is there, and told later
    def tiny(rows: list[Row]) -> Row:
        return next(row for row in rows if row.path.name.endswith("tiny"))

    assert (tiny(first).state, tiny(second).state) == ("reading", "done")
    assert tiny(second).cells()["best val"] == "1.6250"
    assert sorted(row.state for row in first) == ["diverged", "interrupted", "reading"]
    # And from then on it is known at once
    (rows,) = read_rows(root)
    assert tiny(rows).state == "done"


async def test_how_far_a_run_is_read_is_told_below(root: Path) -> None:
    app = Host(root)
    path = root / "20270115-080000-tiny"
    (path / "summary.json").unlink()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        app.screen_shown.post_message(Reading(path, 0.43))
        await pilot.pause()
        assert app.words("#history-detail") == "Reading 20270115-080000-tiny, 43%"
        app.screen_shown.post_message(Reading(path, 1.0))
        await pilot.pause()
        assert "Reading" not in app.words("#history-detail")


def test_opening_a_run_tells_how_far_it_is_read(root: Path) -> None:
    path = root / "20270115-080000-tiny"
    (path / "summary.json").unlink()
    shares: list[float] = []
    assert open_view(path, shares.append).record.step == 100
    assert shares[-1] == 1.0
