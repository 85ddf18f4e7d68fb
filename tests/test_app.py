"""The App: its screens over one run, the way out, and its manners towards the terminal."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App
from textual.geometry import Size
from textual.pilot import Pilot
from textual.widgets import Input, Static

from gpt.config import Config
from gpt.control import Control
from gpt.errors import Refused
from gpt.events import Eval, Event, Finished, Phase, Saved, Started, Step
from gpt.record import Record
from gpt.runs import Journal, Run
from tests.conftest import Clock
from tui import app as app_module
from tui import ascii, messages, reopening, theme
from tui.app import Nanodeck, Options
from tui.dialogs import QuitDialog
from tui.farewell import farewell
from tui.help import HelpScreen, HelpText, written
from tui.history import HistoryScreen
from tui.lines import plain
from tui.palette import recall, remember
from tui.playground import PlaygroundScreen
from tui.run import RunScreen
from tui.session import Trainer
from tui.setup import SetupScreen
from tui.status import StatusLine, status, title
from tui.terminal import Terminal
from tui.view import View

WAIT = 60.0
STARTED = Started(
    step=0, max_iters=200, params=10, tokens_per_iter=4, device="cpu", dtype="float32", threads=1
)


def step(number: int) -> Step:
    return Step(
        step=number, loss=2.5, lr=1e-3, grad_norm=1.0, ms=1.0, tokens_per_s=4.0,
        mfu=None, tokens=4 * number, seconds=float(number), memory=1,
    )  # fmt: skip


class Script:
    """A run that says what it is told to say, then waits to be told more, or to be stopped."""

    def __init__(self, *events: Event, deaf: bool = False) -> None:
        self.events = events
        self.deaf = deaf
        self.more = threading.Event()
        self.ending: Event | Exception = Finished(reason="done")

    def __call__(
        self, config: Config, run: Run | None, control: Control | None, **_: Any
    ) -> Iterator[Event]:
        assert control is not None
        yield from self.events
        while not self.more.is_set() and (self.deaf or not control.stopping):
            self.more.wait(0.01)
        if isinstance(self.ending, Exception):
            raise self.ending
        yield Finished(reason="stopped") if control.stopping else self.ending

    def end(self, ending: Event | Exception) -> None:
        self.ending = ending
        self.more.set()


@pytest.fixture
def script() -> Iterator[Script]:
    one = Script(Phase(name="training"), STARTED, step(0), step(50))
    yield one
    one.more.set()


@pytest.fixture
def make(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock, script: Script
) -> Callable[..., Nanodeck]:
    """Makes Apps in an empty folder, which measure nothing beside."""
    monkeypatch.chdir(tmp_path)
    for name in ("STATE", "CONFIG"):
        monkeypatch.setenv(f"NANODECK_{name}_DIR", str(tmp_path / name.lower()))
    for name in ("NO_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setattr(SetupScreen, "resume_measuring", lambda self: None)
    furnish = SetupScreen._furnish

    def make_app(train: Trainer = script, form: bool = False, **options: Any) -> Nanodeck:
        # The form takes half a second to fill, and most of these tests have no use for it.
        monkeypatch.setattr(SetupScreen, "_furnish", furnish if form else lambda self: None)
        return Nanodeck(Options(preset="tiny", **options), clock=clock, train=train)

    return make_app


Make = Callable[..., Nanodeck]


async def until(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    """Wait, ticking as the timer would."""
    for _ in range(1000):
        pilot.app.tick()
        await pilot.pause()
        if condition():
            return
        await pilot.pause(0.01)
    raise AssertionError("it did not happen")


async def begin(pilot: Pilot[None], app: Nanodeck) -> None:
    """Start the run, and wait until its first events are here."""
    app.post_message(messages.Train(Config(), "tiny"))
    await until(pilot, lambda: app.session and app.session.view.record.started)


def shown(app: Nanodeck) -> list[type]:
    return [type(screen) for screen in app.screen_stack]


def palette(app: Nanodeck) -> list[str]:
    return [command.title for command in app.get_system_commands(app.screen)]


def status_line(app: Nanodeck) -> str:
    """The line about the run on the screen on top, if there is one."""
    lines = [line for line in app.screen.query(StatusLine) if line.display]
    return str(lines[0].content) if lines else ""


def notes(app: Nanodeck) -> str:
    return "\n".join(note.message for note in app._notifications)


# --- starting


def test_the_first_paint_needs_neither_torch_nor_pydantic(tmp_path: Path) -> None:
    code = (
        "import os, sys\n"
        "from tui.app import Nanodeck, Options\n"
        "def painted(app):\n"
        "    print(*sys.modules, file=sys.__stdout__, flush=True)\n"
        "    os._exit(0)\n"
        "Nanodeck.post_display_hook = painted\n"
        "Nanodeck(Options()).run(headless=True)\n"
    )
    environ = {"NANODECK_STATE_DIR": str(tmp_path), "PATH": "", "TERM": "xterm"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environ, timeout=WAIT
    )
    loaded = set(result.stdout.split())
    assert "tui.setup" in loaded, result.stderr
    assert not loaded & {"torch", "numpy", "pydantic", "plotext", "tui.run", "tui.history"}


async def test_start_trains_what_the_options_say(make: Make) -> None:
    app = make(form=True, start=True, values={"max_iters": "30"})
    async with app.run_test() as pilot:
        await until(pilot, lambda: app.session)
        assert app.session.view.config.max_iters == 30
        assert shown(app) == [SetupScreen, RunScreen]


# --- one run and the screens over it


async def test_training_goes_on_while_other_screens_show_its_line(make: Make) -> None:
    app = make(form=True)
    async with app.run_test() as pilot:
        assert palette(app) == ["Train", "Bench", "Runs", "Theme", "Help", "Quit"]
        await begin(pilot, app)
        assert shown(app) == [SetupScreen, RunScreen]
        assert palette(app) == ["Setup", "Run", "Runs", "Theme", "Help", "Quit"]

        await pilot.press("escape")
        await until(pilot, lambda: status_line(app))
        assert shown(app) == [SetupScreen]
        assert "tiny · training · step 50 of 200 · 25 % · loss 2.500" in status_line(app)

        await pilot.press("r")
        await until(pilot, lambda: shown(app) == [SetupScreen, HistoryScreen])
        await until(pilot, lambda: status_line(app))

        # v leads back to the run, and is offered only elsewhere
        assert app.check_action("show_run", ())
        await pilot.press("v")
        await until(pilot, lambda: shown(app)[-1] is RunScreen)
        assert not app.check_action("show_run", ())


async def test_the_status_line_takes_enter_and_clicks(make: Make) -> None:
    app = make(form=True)
    async with app.run_test() as pilot:
        await begin(pilot, app)
        for way in ("enter", "click"):
            await pilot.press("escape")
            await until(pilot, lambda: status_line(app))
            if way == "enter":
                app.screen.query_one(StatusLine).focus()
                await pilot.press("enter")
            else:
                await pilot.click(StatusLine)
            await until(pilot, lambda: shown(app) == [SetupScreen, RunScreen])
            assert app.session is not None
            assert app.screen.view.run == app.session.view.run


async def test_one_run_trains_at_a_time(make: Make) -> None:
    app = make()
    async with app.run_test(notifications=True) as pilot:
        await begin(pilot, app)
        first = app.session

        app.post_message(messages.Train(Config(), "other"))
        await until(pilot, lambda: "one run trains at a time" in notes(app))

        assert app.session is first
        assert "tiny is under way" in notes(app)


async def test_after_one_run_another_can_begin(make: Make, script: Script) -> None:
    app = make()
    async with app.run_test() as pilot:
        await begin(pilot, app)
        first = app.session
        script.end(Finished(reason="done"))
        await until(pilot, lambda: not app.training)

        await begin(pilot, app)
        assert app.session is not first
        assert shown(app)[-1] is RunScreen
        assert app.screen.view is app.session.view

        # And the form can be opened on a run's settings
        app.post_message(messages.Edit({"max_iters": 7}, "tiny"))
        await until(pilot, lambda: shown(app) == [SetupScreen])


async def test_what_is_refused_leads_back_to_the_form_with_the_reason(
    make: Make, script: Script
) -> None:
    script.events = (Phase(name="preparing"),)
    app = make()
    async with app.run_test(notifications=True) as pilot:
        app.post_message(messages.Train(Config(), "tiny"))
        await until(pilot, lambda: app.session)
        await pilot.press("colon")

        script.end(Refused("[red]there is no text\x1b[2J at nowhere.txt"))
        await until(pilot, lambda: app.session is None)

        assert shown(app) == [SetupScreen]
        assert "[red]there is no text␛[2J at nowhere.txt" in notes(app)
        assert app.is_running


async def test_what_is_refused_is_said_beside_its_text(
    make: Make, script: Script, tmp_path: Path
) -> None:
    # Given a form with a text that only reading shows to be none
    (tmp_path / "bad.txt").write_bytes(b"")
    script.events = (Phase(name="preparing"),)
    app = make(form=True, values={"dataset": "bad.txt"})
    async with app.run_test(notifications=True) as pilot:
        await until(pilot, lambda: app._setup.furnished)
        assert "dataset" not in app._setup.verdict.warnings

        # When its run is refused
        app._setup.press_train()
        await until(pilot, lambda: app.session)
        script.end(Refused("bad.txt is empty."))
        await until(pilot, lambda: shown(app) == [SetupScreen])

        # Then the form says so, and it can be tried again
        await until(pilot, lambda: "dataset" in app._setup.verdict.warnings)
        assert app._setup.verdict.warnings["dataset"] == "was refused before: bad.txt is empty."
        assert app._setup.verdict.config is not None


async def test_what_is_refused_leaves_no_line_on_other_screens(make: Make, script: Script) -> None:
    # Given a run that is preparing, with the table in front
    script.events = (Phase(name="preparing"),)
    app = make()
    async with app.run_test(notifications=True) as pilot:
        await pilot.press("r")
        await until(pilot, lambda: shown(app) == [SetupScreen, HistoryScreen])
        app.post_message(messages.Train(Config(), "tiny"))
        await until(pilot, lambda: RunScreen in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: status_line(app))

        # When it is refused
        script.end(Refused("there is no text"))
        await until(pilot, lambda: app.session is None)

        # Then the table says no more of it
        assert shown(app) == [SetupScreen, HistoryScreen]
        assert not status_line(app)


async def test_what_is_printed_goes_to_the_log_as_far_as_the_disk_takes_it(
    make: Make, tmp_path: Path
) -> None:
    app = make()
    app.terminal = Terminal(tmp_path / "log")
    async with app.run_test() as pilot:
        app.terminal.target = tmp_path / "log"
        print("one warning")
        await until(pilot, lambda: "one warning" in (tmp_path / "log").read_text())

        # given a full disk
        app.terminal.target = Path("/dev/full")
        print("another")
        await pilot.pause()
        assert app.is_running


async def test_the_form_measures_again_when_a_run_has_ended_behind_it(
    make: Make, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a run under way, with the form in front
    app = make(form=True)
    async with app.run_test() as pilot:
        await until(pilot, lambda: app._setup.furnished)
        await begin(pilot, app)
        await pilot.press("escape")
        await until(pilot, lambda: shown(app) == [SetupScreen])
        measured: list[bool] = []
        monkeypatch.setattr(
            SetupScreen, "resume_measuring", lambda _: measured.append(app.training)
        )

        # When it ends
        script.end(Finished(reason="done"))
        await until(pilot, lambda: not app.training)

        # Then the machine is free to be measured
        await until(pilot, lambda: measured)
        assert measured == [False]


# --- past runs


def past_run(name: str, *events: Event) -> Path:
    run = Run.new(name)
    run.create(Config())
    journal = Journal(run)
    for event in (STARTED, *events):
        journal.append(event)
    journal.close()
    run.release()
    return run.path


async def test_a_past_run_opens_once_in_the_run_screen(make: Make) -> None:
    app = make()
    path = past_run("shakespeare_char_cpu", step(0), Finished(reason="done"))
    async with app.run_test() as pilot:
        app.post_message(messages.OpenRun(path))
        app.post_message(messages.OpenRun(path))
        await until(pilot, lambda: RunScreen in shown(app))
        await app.workers.wait_for_complete()
        await pilot.pause()

        assert shown(app) == [SetupScreen, RunScreen]
        view = app.screen.view
        assert view.record.finished.reason == "done"
        assert view.control is None
        assert view.reference is not None


async def test_a_run_is_not_opened_over_a_screen_that_did_not_ask(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a run that takes long to read, asked for in the table
    path = past_run("long", step(0), Finished(reason="done"))
    read = threading.Event()
    open_view = reopening.open_view

    def slowly(*given: Any) -> View:
        assert read.wait(WAIT)
        return open_view(*given)

    monkeypatch.setattr(reopening, "open_view", slowly)
    app = make()
    async with app.run_test() as pilot:
        await pilot.press("r")
        await until(pilot, lambda: shown(app) == [SetupScreen, HistoryScreen])
        app.post_message(messages.OpenRun(path))
        await pilot.pause()

        # When it is read after the table was left
        await pilot.press("escape")
        await until(pilot, lambda: shown(app) == [SetupScreen])
        read.set()
        await app.workers.wait_for_complete()
        await pilot.pause()

        # Then it stays away
        assert shown(app) == [SetupScreen]

        # And in the table again it can be opened
        await pilot.press("r")
        await until(pilot, lambda: shown(app) == [SetupScreen, HistoryScreen])
        app.post_message(messages.OpenRun(path))
        await until(pilot, lambda: shown(app) == [SetupScreen, HistoryScreen, RunScreen])


async def test_a_run_that_goes_on_is_on_no_other_screen_as_past(
    make: Make, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a past run on screen, and the table over it
    monkeypatch.setattr(app_module, "gpt_resume", script)
    path = past_run("small", step(0), Finished(reason="stopped"))
    app = make()
    async with app.run_test() as pilot:
        app.post_message(messages.OpenRun(path))
        await until(pilot, lambda: shown(app) == [SetupScreen, RunScreen])
        await pilot.press("r")
        await until(pilot, lambda: shown(app) == [SetupScreen, RunScreen, HistoryScreen])

        # When it goes on from there
        app.post_message(messages.Resume(path))
        await until(pilot, lambda: app.training)

        # Then only the screen of the run under way is left of it
        await until(pilot, lambda: shown(app) == [SetupScreen, RunScreen])
        assert app.screen.view is app.session.view


async def test_a_broken_run_is_told_of(make: Make, tmp_path: Path) -> None:
    app = make()
    path = past_run("odd")
    (path / "config.toml").write_text("n_layer = [", "utf-8")
    async with app.run_test(notifications=True) as pilot:
        for broken in (path, tmp_path / "nowhere"):
            app.post_message(messages.OpenRun(broken))
            await until(pilot, lambda broken=broken: broken.name in notes(app))
        assert shown(app) == [SetupScreen]


async def test_prompt_opens_the_playground(make: Make, tmp_path: Path) -> None:
    app = make()
    async with app.run_test() as pilot:
        app.post_message(messages.Prompt(tmp_path / "nowhere"))
        await until(pilot, lambda: PlaygroundScreen in shown(app))
        assert shown(app) == [SetupScreen, PlaygroundScreen]


# --- leaving


async def test_without_a_run_q_leaves_at_once(make: Make) -> None:
    app = make()
    async with app.run_test() as pilot:
        await pilot.press("q")
        await pilot.pause()
        assert not app.is_running
    assert app.exit_code == 0
    assert app.fault is None


async def test_leaving_a_run_is_asked_about_once(make: Make) -> None:
    app = make()
    async with app.run_test() as pilot:
        await begin(pilot, app)
        for key in ("q", "ctrl+q", "ctrl+c"):
            await pilot.press(key)
            await pilot.pause()
            assert shown(app)[-1] is QuitDialog

            # Back is back, and the run goes on
            await pilot.press("escape")
            await pilot.pause()
            assert shown(app) == [SetupScreen, RunScreen]
            assert not app.session.control.stopping

        await pilot.press("q", "s")
        await until(pilot, lambda: not app.is_running)
    assert app.exit_code == 0
    assert app.session.view.record.finished.reason == "stopped"


async def test_ctrl_c_thrice_leaves_a_run_that_does_not_stop(make: Make, script: Script) -> None:
    script.deaf = True
    app = make()
    async with app.run_test() as pilot:
        await begin(pilot, app)
        await pilot.press("ctrl+c", "ctrl+c")
        await pilot.pause()
        assert app.is_running
        assert "Stopping and saving" in str(app.screen.query_one("#quit-question", Static).content)

        await pilot.press("ctrl+c")
        await pilot.pause()
        assert not app.is_running
    app.end_session()
    assert app.exit_code == 130
    assert not app.session.over


async def test_a_run_that_does_not_stop_is_left_after_five_seconds(
    make: Make, script: Script, clock: Clock
) -> None:
    script.deaf = True
    app = make()
    async with app.run_test() as pilot:
        await begin(pilot, app)
        await pilot.press("q", "s")
        clock.now += 4.9
        app.tick()
        await pilot.pause()
        assert app.is_running

        clock.now += 0.2
        await until(pilot, lambda: not app.is_running)
    app.end_session()
    assert not app.session.over
    assert farewell(app.session.view)[0].startswith("tiny: Left before it had stopped at step 50")


async def test_a_run_that_ends_while_the_dialog_asks_is_not_asked_about(
    make: Make, script: Script
) -> None:
    app = make()
    async with app.run_test() as pilot:
        await begin(pilot, app)
        app.push_screen(QuitDialog(app.session.view))
        app.tick()  # before the dialog is there
        await pilot.pause()
        script.end(Finished(reason="done"))
        question = app.screen.query_one("#quit-question", Static)
        await until(pilot, lambda: "has ended" in str(question.content))

        await pilot.press("s")
        await until(pilot, lambda: not app.is_running)
    assert app.exit_code == 0


async def test_ctrl_c_copies_a_selection_instead(make: Make) -> None:
    app = make()
    past_run("tiny")
    async with app.run_test() as pilot:
        await pilot.press("r")
        await until(pilot, lambda: shown(app)[-1] is HistoryScreen and app.screen._shown)
        await pilot.press("slash", *"tiny", "shift+home", "ctrl+c")
        await pilot.pause()
        assert app.clipboard == "tiny"
        assert app.is_running

        # Without a selection it leaves
        app.screen.query_one(Input).cursor_position = 0
        await pilot.press("ctrl+c")
        await pilot.pause()
        assert not app.is_running


async def test_a_fault_of_the_app_ends_the_run_and_is_told_in_words(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(app: Nanodeck) -> None:
        raise KeyError("help")

    monkeypatch.setattr(Nanodeck, "action_help", fail)
    app = make()

    async def ask_for_help() -> None:
        async with app.run_test() as pilot:
            await begin(pilot, app)
            await pilot.press("f1")

    with pytest.raises(KeyError):
        await ask_for_help()
    app.end_session()
    assert app.exit_code == 1
    assert app.fault == "KeyError: 'help'"
    assert app.session.view.record.finished.reason == "stopped"


# --- manners


async def test_the_title_changes_seldom_and_the_bell_rings_once(
    make: Make, script: Script, clock: Clock
) -> None:
    app = make()
    rung: list[bool] = []
    app.bell = lambda: rung.append(True)
    async with app.run_test() as pilot:
        app.tick()
        assert app.window_title == "Nanodeck"
        await begin(pilot, app)
        assert app.window_title == "Nanodeck"

        clock.now += 2.0
        app.tick()
        assert app.window_title == "25 % · loss 2.500 · tiny · Nanodeck"
        assert rung == []

        script.end(Finished(reason="diverged"))
        await until(pilot, lambda: app.session.over)
        app.tick()
        app.tick()
    assert rung == [True]


async def test_memory_that_ran_out_leads_back_to_the_form(make: Make, script: Script) -> None:
    # given
    app = make()
    async with app.run_test(size=(120, 40)) as pilot:
        await begin(pilot, app)
        await until(pilot, lambda: isinstance(app.screen, RunScreen))

        # when
        words = "there is not enough memory for batch_size = 512"
        script.end(Finished(reason="failed", error=words))

        # then
        await until(pilot, lambda: isinstance(app.screen, SetupScreen))
        await until(pilot, lambda: notes(app))
        assert [note.message for note in app._notifications] == [words]


def view_of(name: str, *events: Event, path: Path = Path("runs/nowhere")) -> View:
    record = Record()
    for event in events:
        record.fold(event)
    return View(name, Run(path), record, Config())


def test_lines_about_a_run_say_what_is_known() -> None:
    name = "[red]\x1b]2;x\x07\n"
    clean = "[red]␛]2;x␇␊"
    assert status(view_of(name, Phase(name="preparing"))) == f"{clean} · preparing"
    nan = Step(**{**vars_of(step(3)), "loss": None})
    assert status(view_of("a", STARTED, nan)) == "a · starting · step 3 of 200 · 1 %"
    done = view_of("a", STARTED, step(200), Finished(reason="done"))
    assert status(done) == "a · done · step 200 of 200 · 100 % · loss 2.500"
    assert title(done) == "done · loss 2.500 · a · Nanodeck"
    assert title(view_of(name)) == f"0 % · {clean} · Nanodeck"


def vars_of(event: Step) -> dict[str, Any]:
    return {name: getattr(event, name) for name in event.__dataclass_fields__}


def test_the_farewell_names_what_can_be_done(tmp_path: Path) -> None:
    folder = tmp_path / "my runs" / "it's"
    folder.mkdir(parents=True)
    best = Eval(step=100, train=1.9, val=1.5, best=True)
    diverged = Finished(reason="diverged", error="the loss is nan")
    view = view_of("a", STARTED, step(0), best, step(120), diverged, path=folder)

    assert farewell(view) == [
        "a: Diverged at step 120 of 200, best val loss 1.5000 at step 100.",
        "the loss is nan",
        f"{folder}/",
        "  python app.py",
    ]

    view.record.fold(Saved(path="checkpoints/step-000100", kind="best", step=100))
    quoted = f"'{tmp_path}/my runs/it'\"'\"'s'"
    assert f"  python app.py sample {quoted}" in farewell(view)


async def test_help_tells_the_keys_of_this_screen(make: Make) -> None:
    app = make()
    async with app.run_test() as pilot:
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, HelpScreen)
        text = plain(app.screen.query_one(HelpText).rows)
        assert re.search(r"^  t f5 +train$", text, re.MULTILINE)
        assert re.search(r"^  q ctrl\+c ctrl\+q +quit$", text, re.MULTILINE)
        assert "perplexity" in text

        await pilot.press("escape")
        await pilot.pause()
        assert shown(app) == [SetupScreen]


async def test_help_is_drawn_whole_at_once_and_scrolls(make: Make) -> None:
    app = make()
    async with app.run_test(size=(80, 24)) as pilot:
        # given what is drawn each time
        drawn: list[list[str]] = []
        refresh = HelpScreen._compositor_refresh

        def note(screen: HelpScreen) -> None:
            refresh(screen)
            drawn.append([strip.text for strip in screen._compositor.render_strips(app.size)])

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(HelpScreen, "_compositor_refresh", note)

            # when it opens
            await pilot.press("question_mark")
            await pilot.pause()

        # then the first picture has all of it that fits, and the screen is laid out once
        first, last = "\n".join(drawn[0]), "\n".join(drawn[-1])
        assert "Keys" in first
        assert "esc  back" in first
        assert "Words" not in first
        assert re.search(r"\d+ more below  esc  back", last)
        assert app.screen.region.size == (80, 24)

        # when it is scrolled, by its keys and by the wheel
        text = app.screen.query_one(HelpText)
        await pilot.press("end")
        assert plain(text.visible_rows()).endswith("among how\n  many tokens it draws.")
        assert text.border_subtitle == "esc  back"
        await pilot.press("k")
        assert text.border_subtitle == "1 more below  esc  back"
        await pilot.press("pageup")
        assert text.border_subtitle == f"{text.size.height} more below  esc  back"
        await pilot.press("home")
        assert plain(text.visible_rows()).startswith("Keys")
        assert help_drawn(app) == as_drawn(text)


@pytest.mark.parametrize("size", [(76, 24), (60, 20), (90, 24), (140, 100)])
async def test_help_that_is_scrolled_fits_another_size(make: Make, size: tuple[int, int]) -> None:
    app = make()
    async with app.run_test(size=(80, 24)) as pilot:
        # given
        await pilot.press("question_mark")
        await pilot.press("pagedown")
        text = app.screen.query_one(HelpText)
        top = text.rows.index(text.visible_rows()[0])
        assert top > 0

        # when
        await pilot.resize_terminal(*size)
        await pilot.pause()

        # then what is drawn are the rows from there on, as far as there are some
        assert (
            text.visible_rows()
            == text.rows[min(top, len(text.rows) - text.size.height) :][: text.size.height]
        )
        assert help_drawn(app) == as_drawn(text)
        assert all(sum(len(part) for _, part in row) <= text.size.width for row in text.rows)

        # and so they are at its beginning
        await pilot.press("home")
        await pilot.pause()
        assert text.visible_rows() == text.rows[: text.size.height]
        assert help_drawn(app) == as_drawn(text)


def help_drawn(app: App[None]) -> list[str]:
    """What stands inside the border."""
    strips = app.screen._compositor.render_strips(app.size)
    inside = app.screen.query_one(HelpText).content_region
    return [
        strips[y].text[inside.x : inside.right].rstrip() for y in range(inside.y, inside.bottom)
    ]


def as_drawn(text: HelpText) -> list[str]:
    return plain(text.visible_rows()).split("\n")


def test_help_has_no_row_that_is_too_wide() -> None:
    entries = {"Keys": [("q ctrl+c ctrl+q", "what the model writes; again: zoom"), ("x", "axis")]}
    for width in range(30, 90):
        rows = written(entries, width)
        assert all(sum(len(part) for _, part in row) <= width for row in rows)
        words = " ".join(plain(rows).split())
        assert "what the model writes; again: zoom" in words


async def test_a_screen_is_not_laid_out_again_when_it_is_told_its_size(make: Make) -> None:
    app = make()
    async with app.run_test(size=(80, 24)) as pilot:
        sizes: list[tuple[int, int] | None] = []
        lay_out = HelpScreen._refresh_layout

        def note(screen: HelpScreen, size: Size | None = None, scroll: bool = False) -> None:
            sizes.append(size)
            lay_out(screen, size, scroll)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(HelpScreen, "_refresh_layout", note)
            await pilot.press("question_mark")
            await pilot.pause()
            await pilot.resize_terminal(100, 30)
            await pilot.pause()

        assert [size for size in sizes if size] == [(80, 24), (100, 30)]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TERM": "xterm-256color"}, "nanodeck"),
        ({"TERM": "xterm-kitty"}, "nanodeck"),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, "nanodeck"),
        ({"TERM": "screen-256color"}, "nanodeck"),
        ({}, "nanodeck"),
        ({"TERM": "xterm"}, "nanodeck-ansi"),
        ({"TERM": "screen"}, "nanodeck-ansi"),
        ({"TERM": "linux"}, "nanodeck-ansi"),
        ({"TERM": "xterm-16color"}, "nanodeck-ansi"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, "nanodeck-ansi"),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, "nanodeck"),
    ],
)
def test_the_theme_suits_the_terminal(make: Make, environ: dict[str, str], expected: str) -> None:
    assert theme.choose(environ, make().available_themes) == expected


async def test_the_theme_that_a_person_chose_comes_back(make: Make) -> None:
    app = make()
    async with app.run_test() as pilot:
        assert app.theme == "nanodeck"
        assert recall() is None
        for name in ("nord", "nanodeck", "gruvbox"):
            app.theme = name
            await pilot.pause()
            assert recall() == name
    assert make().theme == "gruvbox"

    remember("gone")
    assert make().theme == "nanodeck"


@given(st.text())
def test_ascii_keeps_the_width(text: str) -> None:
    plain = ascii.plain(text)
    assert plain.isascii()
    if text.isprintable():
        assert len(plain) == cell_len(text)


async def test_the_question_can_be_drawn_while_its_lines_are_not_there(make: Make) -> None:
    # Given the question, in the moment in which it is taken apart
    app = make()
    async with app.run_test() as pilot:
        await begin(pilot, app)
        await pilot.press("q")
        dialog = app.screen
        assert isinstance(dialog, QuitDialog)
        await dialog.query("#quit").remove()

        # When the App's tick comes, then nothing fails
        dialog.refresh_view()


async def test_a_tick_after_the_screens_are_gone_finds_nothing_to_draw(make: Make) -> None:
    # Given an app with a run, in the moment in which it closes
    app = make()
    async with app.run_test() as pilot:
        await begin(pilot, app)
    assert not app.screen_stack

    # When the tick comes, then nothing fails
    app.tick()


async def test_with_ascii_nothing_else_is_drawn(make: Make) -> None:
    app = make(ascii=True)
    async with app.run_test() as pilot:
        await begin(pilot, app)
        await pilot.press("q")
        await pilot.pause()
        lines = app.screen._compositor.render_strips()
        text = "\n".join(line.text for line in lines)
        assert "Leave?" in text
        assert text.isascii()


@pytest.mark.parametrize("locale", ["C", "en_US.ISO-8859-1"])
def test_a_locale_without_utf8_means_ascii(
    locale: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not make().ascii
    monkeypatch.setenv("LC_ALL", locale)
    assert make().ascii
