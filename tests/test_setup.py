"""The setup screen, pressed key by key, at several sizes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.content import Content
from textual.pilot import Pilot
from textual.widgets import Button, Input, Static

from gpt import presets
from gpt.config import Config
from gpt.estimate import Timing
from gpt.settings import settings
from tui.desk import Desk
from tui.explanation import Explanation
from tui.field import Choice, Field
from tui.form import Form, Group
from tui.messages import OpenRuns, Train
from tui.presets import PresetList
from tui.save import SaveDialog
from tui.setup import SetupScreen
from tui.start import Start

WIDE, NARROW, SPLENDID, MINUTE = (120, 40), (80, 24), (200, 90), (20, 5)
NEVER_ANSWERS = (sys.executable, "-c", "import time; time.sleep(600)")


class Deck(App[None]):
    """The screen alone, and what it asked of the App."""

    CSS_PATH = "../tui/nanodeck.tcss"

    def __init__(self, setup: SetupScreen) -> None:
        super().__init__()
        self.setup = setup
        self.trained: list[tuple[Config, str]] = []
        self.runs_asked = 0

    def get_default_screen(self) -> SetupScreen:
        return self.setup

    def on_train(self, message: Train) -> None:
        self.trained.append((message.config, message.name))

    def on_open_runs(self, message: OpenRuns) -> None:
        self.runs_asked += 1


Opened = Callable[..., AbstractAsyncContextManager[Pilot[None]]]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Opens the screen in an empty folder, on a machine without a GPU and with 8 GB."""
    for kind in ("CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"NANODECK_{kind}_DIR", str(tmp_path / kind.lower()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tui.prospect.has_gpu", lambda: False)
    monkeypatch.setattr("gpt.estimate.available_memory", lambda: 8_000_000_000)
    monkeypatch.setattr("tui.prospect.SETTLE_SECONDS", 0.0)

    @asynccontextmanager
    async def open_at(
        size: tuple[int, int] = WIDE, program: tuple[str, ...] = (), **arguments: Any
    ) -> AsyncGenerator[Pilot[None]]:
        deck = Deck(SetupScreen(program=program, **arguments))
        async with deck.run_test(size=size) as pilot:
            await deck.setup.ready.wait()
            await settle(pilot)
            yield pilot

    return open_at


async def settle(pilot: Pilot[None]) -> None:
    """Until nothing is under way any more, but for measuring."""
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


async def press(pilot: Pilot[None], *keys: str) -> None:
    await pilot.press(*keys)
    await settle(pilot)


def setup_of(pilot: Pilot[None]) -> SetupScreen:
    deck = pilot.app
    assert isinstance(deck, Deck)
    return deck.setup


def text_of(pilot: Pilot[None], selector: str) -> str:
    content = setup_of(pilot).query_one(selector, Static).content
    return content.plain if isinstance(content, Content) else str(content)


def field(pilot: Pilot[None], name: str) -> Field:
    return setup_of(pilot).query_one(f"#field-{name}", Field)


def row_of(pilot: Pilot[None], name: str) -> str:
    drawn = field(pilot, name).render()
    assert isinstance(drawn, Content)
    return drawn.plain


def train_button(pilot: Pilot[None]) -> Button:
    return setup_of(pilot).query_one("#train", Button)


def footer_of(pilot: Pilot[None]) -> set[str]:
    active = pilot.app.screen.active_bindings.values()
    return {found.binding.description for found in active if found.binding.show}


async def type_over(pilot: Pilot[None], name: str, text: str) -> None:
    await setup_of(pilot).query_one(Form).go_to(name)
    await pilot.pause()
    await pilot.press(*text)
    await pilot.pause()


def show_timing(pilot: Pilot[None], step_seconds: float, *, busy: bool = False) -> None:
    """Give the measurement by hand."""
    setup = setup_of(pilot)
    assert setup.verdict.config is not None
    asked = setup.prospect.request(setup.verdict.config)
    setup.prospect.preflight.show(asked, Timing(step_seconds, 0.0, 0.0, 0.5, "cpu", busy=busy))


def deck_of(pilot: Pilot[None]) -> Deck:
    assert isinstance(pilot.app, Deck)
    return pilot.app


def preset_line(pilot: Pilot[None], index: int) -> str:
    prompt = setup_of(pilot).query_one(PresetList).get_option_at_index(index).prompt
    assert isinstance(prompt, Content)
    return prompt.plain


def problem_of(pilot: Pilot[None]) -> str:
    return str(pilot.app.screen.query_one("#save-problem", Static).content)


def panes_shown(pilot: Pilot[None]) -> list[str]:
    panes = ("presets", "settings", "forecast")
    return [name for name in panes if setup_of(pilot).query_one(f"#pane-{name}").display]


# --- opening


async def test_it_opens_on_the_preset_for_a_cpu_with_the_focus_on_the_list(opened: Opened) -> None:
    async with opened() as pilot:
        assert isinstance(pilot.app.focused, PresetList)
        assert setup_of(pilot).entry.name == "shakespeare_char_cpu"
        assert field(pilot, "n_layer").text == "4"
        assert "The reference" in text_of(pilot, "#explanation")
        assert {"train", "filter", "save preset", "runs"} <= footer_of(pilot)


async def test_values_of_the_command_line_are_edits(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a machine with a GPU, and a preset that is not there
    monkeypatch.setattr("tui.prospect.has_gpu", lambda: True)
    values = {"n_layer": "3", "start": "a\nb", "n_heads": "2"}

    async with opened(preset="[gone]", values=values) as pilot:
        # then it opens on the larger model, says so, and says what is misspelt
        assert setup_of(pilot).entry.name == "shakespeare_char"
        assert setup_of(pilot).entry.draft.edits == {"n_layer": "3", "start": "a\\nb"}
        assert row_of(pilot, "n_layer").startswith("* n_layer")
        notices = [notification.message for notification in pilot.app._notifications]
        assert any("there is no preset '[gone]'" in message for message in notices)
        assert any("Did you mean n_head?" in message for message in notices)


async def test_presets_that_are_broken_or_hostile_are_told_in_words(
    opened: Opened, tmp_path: Path
) -> None:
    folder = tmp_path / "config" / "presets"
    folder.mkdir(parents=True)
    (folder / "broken.toml").write_text("= [/red]")
    (folder / "odd.toml").write_text('description = "\\u001b[31m[/] \\u202e"\nn_layer = 2.5\n')

    async with opened(preset="odd") as pilot:
        assert "broken.toml is not TOML" in text_of(pilot, "#presets-problems")
        assert train_button(pilot).disabled
        assert "n_layer = 2.5 cannot be used" in text_of(pilot, "#start-words")
        assert "\x1b" not in pilot.app.export_screenshot()

        # and one that vanishes meanwhile is a notice
        (folder / "odd.toml").unlink()
        setup_of(pilot).on_screen_resume()
        await settle(pilot)
        notices = [notification.message for notification in pilot.app._notifications]
        assert any("odd is gone" in message for message in notices)


# --- the form


async def test_every_setting_has_a_row_the_main_ones_first_and_an_explanation(
    opened: Opened,
) -> None:
    async with opened() as pilot:
        form = setup_of(pilot).query_one(Form)
        main = [setting.name for setting in settings().values() if setting.main]
        assert [row.setting.name for row in form.query(Field)] == main
        assert len(main) == 8

        for group in form.query(Group):
            group.collapsed = False
        while len(form.query(Field)) < len(Config.model_fields):  # a missing one never comes
            await settle(pilot)
        assert {row.setting.name for row in form.query(Field)} == set(Config.model_fields)

        await press(pilot, "enter", "down")
        setting, explained = settings()["batch_size"], text_of(pilot, "#explanation")
        for part in (setting.help, setting.unit, setting.allowed, "default 12", "this preset 12"):
            assert part in explained


async def test_a_bad_value_is_told_beside_it_and_disables_train(opened: Opened) -> None:
    async with opened() as pilot:
        await type_over(pilot, "batch_size", "0")
        assert row_of(pilot, "batch_size").startswith("✗ batch_size")
        assert row_of(pilot, "batch_size").rstrip().endswith("1 to 65536")
        assert "batch_size = 0 cannot be used" in text_of(pilot, "#explanation")
        assert "batch_size = 0 cannot be used" in text_of(pilot, "#start-words")
        assert train_button(pilot).disabled

        # training goes to the field instead
        await press(pilot, "escape", "escape", "t")
        assert deck_of(pilot).trained == []
        assert pilot.app.focused is field(pilot, "batch_size").control

        await press(pilot, "8")
        assert row_of(pilot, "batch_size").startswith("* batch_size")
        assert not train_button(pilot).disabled

        await type_over(pilot, "dataset", "nothing.txt")
        assert row_of(pilot, "dataset").startswith("✗")
        assert "There is no text" in text_of(pilot, "#start-words")
        await press(pilot, "ctrl+r")

        # what is only doubtful is said too, on the title of its folded group
        await type_over(pilot, "max_iters", "1000")
        group = next(g for g in setup_of(pilot).query(Group) if g.group == "schedule")
        assert "! lr_decay_iters" in group.title
        assert not train_button(pilot).disabled


@pytest.mark.slow
async def test_edits_are_reset_brought_back_and_kept_with_their_preset(opened: Opened) -> None:
    async with opened() as pilot:
        await type_over(pilot, "n_layer", "6")
        await type_over(pilot, "n_embd", "256")
        assert "2 changed" in text_of(pilot, "#settings-heading")
        await press(pilot, "ctrl+r")
        assert (field(pilot, "n_embd").text, field(pilot, "n_layer").text) == ("128", "6")

        await press(pilot, "escape", "R")
        assert field(pilot, "n_layer").text == "4"
        assert "changed" not in text_of(pilot, "#settings-heading")
        await press(pilot, "R")
        assert field(pilot, "n_layer").text == "6"

        await press(pilot, "escape", "down")
        fast = setup_of(pilot).entry.name, field(pilot, "n_layer").text
        assert fast == ("shakespeare_char_fast", "1")
        assert "shakespeare_char_cpu *" in preset_line(pilot, 3)
        await press(pilot, "up")
        assert field(pilot, "n_layer").text == "6"

        # a click on the mark resets as well
        await pilot.click("#field-n_layer", offset=(0, 0))
        await settle(pilot)
        assert field(pilot, "n_layer").text == "4"


@pytest.mark.slow
async def test_the_filter_shows_what_is_asked_for_and_goes_away(opened: Opened) -> None:
    async with opened() as pilot:
        await press(pilot, "slash")
        await press(pilot, *"min_lr")
        shown = [row.setting.name for row in setup_of(pilot).query(Field) if row.is_on_screen]
        assert shown == ["min_lr"]

        await press(pilot, "enter")
        assert pilot.app.focused is field(pilot, "min_lr").control

        await press(pilot, "escape")
        await press(pilot, "escape")
        assert field(pilot, "batch_size").is_on_screen
        assert all(group.collapsed for group in setup_of(pilot).query(Group))


# --- keys


@pytest.mark.slow
async def test_letters_act_outside_fields_only_and_the_footer_knows(opened: Opened) -> None:
    async with opened() as pilot:
        await press(pilot, "r")
        assert deck_of(pilot).runs_asked == 1

        await type_over(pilot, "dataset", "rt")
        assert field(pilot, "dataset").text == "rt"
        assert deck_of(pilot).runs_asked == 1
        assert deck_of(pilot).trained == []
        assert not {"runs", "filter"} & footer_of(pilot)

        await press(pilot, "ctrl+r", "escape", "r")
        assert deck_of(pilot).runs_asked == 2
        assert "runs" in footer_of(pilot)

        # arrows go from field to field, enter goes back in
        await press(pilot, "enter", "down", "down", "up", "escape")
        assert pilot.app.focused is setup_of(pilot).query_one("#settings-heading")
        await press(pilot, "enter")
        assert pilot.app.focused is field(pilot, "batch_size").control

        # what is pasted cannot steer the terminal
        entry = pilot.app.focused
        assert isinstance(entry, Input)
        entry.insert_text_at_cursor("a\x1b]0;title\x07")
        assert "\x1b" not in entry.value


async def test_train_takes_what_was_typed_last(opened: Opened) -> None:
    async with opened() as pilot:
        await setup_of(pilot).query_one(Form).go_to("bias")
        await press(pilot, "space")
        assert isinstance(pilot.app.focused, Choice)
        await type_over(pilot, "start", "ROMEO:\\n")
        await setup_of(pilot).query_one(Form).go_to("max_iters")
        await pilot.pause()
        await press(pilot, *"77", "f5")

        [(config, name)] = deck_of(pilot).trained
        assert (config.bias, config.start, config.max_iters) == (True, "ROMEO:\n", 77)
        assert name == "shakespeare_char_cpu"
        assert not setup_of(pilot).prospect.preflight.running

        # and back from the run, it is trained with one thing changed
        values = config.model_dump(exclude_defaults=True)
        setup_of(pilot).edit(values, "20261122-143015-shakespeare_char_cpu")
        await settle(pilot)
        assert setup_of(pilot).entry.draft.edits["max_iters"] == "77"
        assert pilot.app.focused is field(pilot, "dataset").control


# --- what the run will be


async def test_the_measurement_never_makes_typing_wait(opened: Opened) -> None:
    # given a measuring program that never answers
    async with opened(program=NEVER_ANSWERS) as pilot:
        await type_over(pilot, "max_iters", "123456")

        assert field(pilot, "max_iters").text == "123456"
        assert "94.81 M tokens" in text_of(pilot, "#forecast-figures")
        assert "measuring ..." in text_of(pilot, "#forecast-figures")
        assert setup_of(pilot).prospect.preflight.running
        assert not train_button(pilot).disabled


async def test_what_the_run_will_be_follows_the_form(opened: Opened) -> None:
    async with opened() as pilot:
        assert "0.80 M" in text_of(pilot, "#forecast-figures")
        show_timing(pilot, 0.045)
        await pilot.pause()
        assert text_of(pilot, "#start-words") == "New here? t trains; 90 seconds on this machine."
        assert str(train_button(pilot).label) == "Train"
        assert "90 s" in preset_line(pilot, 3)

        await type_over(pilot, "n_layer", "8")
        assert "1.58 M" in text_of(pilot, "#forecast-figures")
        assert "--n_layer=8" in text_of(pilot, "#forecast-command")
        show_timing(pilot, 3.6)
        await pilot.pause()
        assert str(train_button(pilot).label) == "Train, about 2.0 h"

        # who has trained once is no newcomer
        await press(pilot, "f5")
        show_timing(pilot, 0.045)
        assert text_of(pilot, "#start-words") == "about 90 s on this machine"
    assert not Start(id="start").newcomer


async def test_a_pane_that_is_left_at_once_is_not_come_back_to(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened() as pilot:
        # given
        desk, gone = setup_of(pilot).query_one(Desk), list[str]()
        go = Desk.go

        def note(desk: Desk, pane: str) -> None:
            gone.append(pane)
            if len(gone) < 50:
                go(desk, pane)

        monkeypatch.setattr(Desk, "go", note)

        # when: what the first change leads to comes after the second
        desk.show("settings")
        desk.show("presets")
        await asyncio.sleep(0.5)

        # then
        assert desk.pane == "presets"
        assert gone == []


async def test_what_was_measured_on_a_busy_machine_says_so(opened: Opened) -> None:
    async with opened() as pilot:
        assert "other work" not in text_of(pilot, "#forecast-figures")

        show_timing(pilot, 0.045, busy=True)
        await pilot.pause()
        words = text_of(pilot, "#start-words")
        assert words == "New here? t trains; 90 seconds on this busy machine."
        assert "other work  slows this down now" in text_of(pilot, "#forecast-figures")

        show_timing(pilot, 3.6, busy=True)
        await pilot.pause()
        assert str(train_button(pilot).label) == "Train, about 2.0 h"
        assert text_of(pilot, "#start-words").startswith("New here? t trains; 2.0 h")

        await press(pilot, "f5")
        show_timing(pilot, 3.6, busy=True)
        assert text_of(pilot, "#start-words") == "this machine is busy"


# --- saving


async def test_a_preset_is_saved_refused_and_replaced(opened: Opened, tmp_path: Path) -> None:
    async with opened() as pilot:
        await type_over(pilot, "n_layer", "6")
        await pilot.press("ctrl+s")
        await pilot.pause()
        assert isinstance(pilot.app.screen, SaveDialog)
        await pilot.press(*"../m", "enter", "enter")
        assert "cannot name a preset" in problem_of(pilot)

        await pilot.press("shift+tab", "home", "delete", "delete", "delete")
        await pilot.press("enter", *"Deeper.", "enter")
        await settle(pilot)
        saved = presets.find("m")
        assert (saved.description, saved.values["n_layer"]) == ("Deeper.", 6)
        assert saved.path.parent == tmp_path / "config" / "presets"
        assert (setup_of(pilot).entry.name, setup_of(pilot).entry.draft.edits) == ("m", {})
        assert setup_of(pilot).shelf.find("shakespeare_char_cpu").draft.edits == {}

        # its own name is suggested now, and replacing it asks once
        await type_over(pilot, "n_embd", "64")
        await pilot.press("escape", "w")
        await pilot.pause()
        await pilot.press("enter", "enter")
        assert "Save again to replace it" in problem_of(pilot)
        assert presets.find("m").values["n_embd"] == 128
        await pilot.press("enter")
        await settle(pilot)
        assert presets.find("m").values["n_embd"] == 64


# --- sizes


async def test_eighty_columns_show_one_pane_at_a_time(opened: Opened) -> None:
    async with opened(NARROW) as pilot:
        assert panes_shown(pilot) == ["presets"]
        await press(pilot, "enter")
        assert panes_shown(pilot) == ["settings"]
        assert pilot.app.focused is field(pilot, "dataset").control
        assert train_button(pilot).is_on_screen
        await press(pilot, "escape", "3")
        assert panes_shown(pilot) == ["forecast"]
        await press(pilot, "escape")
        assert panes_shown(pilot) == ["presets"]

        # the mouse does it too
        await pilot.click("#settings")
        await settle(pilot)
        assert panes_shown(pilot) == ["settings"]
        await pilot.click("#train")
        await settle(pilot)
        assert len(deck_of(pilot).trained) == 1


@pytest.mark.slow
async def test_a_change_of_size_keeps_focus_and_text(opened: Opened) -> None:
    async with opened(SPLENDID) as pilot:
        # where there is room nothing is folded
        assert len(setup_of(pilot).query(Field)) == len(Config.model_fields)
        await type_over(pilot, "n_embd", "25")
        for size in (NARROW, MINUTE, (1, 1), (100, 24), WIDE):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert pilot.app.focused is field(pilot, "n_embd").control
        assert panes_shown(pilot) == ["presets", "settings", "forecast"]
        await press(pilot, "6")
        assert field(pilot, "n_embd").text == "256"


@pytest.mark.slow
async def test_a_minute_terminal_can_be_used(opened: Opened) -> None:
    async with opened(MINUTE) as pilot:
        await press(pilot, "enter", "down", "7", "escape", "slash")
        await press(pilot, "l", "escape", "1", "3", "2", "R")

        assert setup_of(pilot).entry.draft.edits == {}


@pytest.mark.parametrize(
    "size",
    [
        NARROW,
        WIDE,
        *(pytest.param(size, marks=pytest.mark.slow) for size in ((100, 30), (140, 45), SPLENDID)),
    ],
)
async def test_the_help_of_every_setting_can_be_read_to_its_end(
    opened: Opened, size: tuple[int, int]
) -> None:
    # Given the form of a preset, on a screen of any usual size
    async with opened(size, preset="shakespeare_char_90s") as pilot:
        await press(pilot, "enter")
        setup = setup_of(pilot)
        explanation = setup.query_one(Explanation)
        width, height = explanation.content_size
        assert width > 0
        assert height > 0

        # When each setting is explained
        for name in settings():
            explanation.show_setting(name, setup.entry.draft, setup.verdict)

            # Then there is room for all of it
            text = explanation.content
            assert isinstance(text, Content)
            assert text.get_height({}, width) <= height, name
