"""Prompting a trained model: the real one, small, trained here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Input, Static

from gpt.runs import Run
from gpt.settings import make_config
from gpt.train import train
from tui import playground
from tui.playground import TOP_KS, PlaygroundScreen, Written, neighbour

SETTINGS = {
    "dataset": "shakespeare_char",
    "batch_size": 4,
    "block_size": 16,
    "gradient_accumulation_steps": 1,
    "n_layer": 1,
    "n_head": 2,
    "n_embd": 16,
    "max_iters": 4,
    "eval_interval": 4,
    "eval_iters": 1,
    "sample_interval": -1,
    "max_new_tokens": 20,
    "temperature": 0.8,
    "top_k": 200,
    "device": "cpu",
    "threads": 1,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of four steps."""
    run = Run.new("small", root=tmp_path_factory.mktemp("runs"))
    for _ in train(make_config(SETTINGS), run):
        pass
    return run.path


class Host(App[None]):
    """The playground in an app of its own."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.playground = PlaygroundScreen(path)

    def on_mount(self) -> None:
        self.push_screen(self.playground)

    @property
    def written(self) -> list[Written]:
        return list(self.playground.query(Written))

    def words(self, selector: str) -> str:
        return str(self.playground.query_one(selector, Static).content)


async def until(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    for _ in range(1000):
        if condition():
            return
        await pilot.pause(0.02)
    raise AssertionError("it did not happen")


async def loaded(pilot: Pilot[None]) -> None:
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


async def write(pilot: Pilot[None], app: Host, prompt: str) -> None:
    """Type a prompt and wait for the text to be whole."""
    app.playground.query_one(Input).value = prompt
    app.playground.query_one(Input).focus()
    await pilot.press("enter")
    await until(pilot, lambda: app.playground.writing is None)


async def test_a_prompt_is_continued(trained: Path) -> None:
    app = Host(trained)
    async with app.run_test(size=(80, 24)) as pilot:
        await loaded(pilot)
        assert "the model of step 4" in app.words("#playground-title")

        await write(pilot, app, "ROMEO:\\n")

        (text,) = app.written
        assert text.prompt == "ROMEO:\n"
        assert len(text.text) == 20


async def test_the_same_seed_writes_the_same_and_again_another(trained: Path) -> None:
    app = Host(trained)
    async with app.run_test(size=(80, 24)) as pilot:
        await loaded(pilot)
        await write(pilot, app, "A")
        await write(pilot, app, "A")
        await pilot.press("a")
        await until(pilot, lambda: app.playground.writing is None)

        first, second, third = [text.text for text in app.written]
        assert first == second
        assert first != third
        assert app.written[2].prompt == "A"


async def test_a_character_that_the_model_never_saw_is_told_beside_the_field(
    trained: Path,
) -> None:
    app = Host(trained)
    async with app.run_test(size=(80, 24)) as pilot:
        await loaded(pilot)

        await write(pilot, app, "naïve [red]")

        assert app.written == []
        assert "ï" in app.words("#playground-problem")
        assert app.focused is app.playground.query_one(Input)

        # When it is mended, the problem goes
        await write(pilot, app, "naive")
        assert app.words("#playground-problem") == ""


async def begin_a_long_text(pilot: Pilot[None], app: Host) -> None:
    """Begin a text that would take minutes, and wait for its first words."""
    app.playground._change(max_new_tokens=10**6)
    app.playground.query_one(Input).value = "A"
    app.playground.query_one(Input).focus()
    await pilot.press("enter")
    await until(pilot, lambda: app.playground.writing and app.written[-1].text)


@pytest.mark.slow
async def test_esc_stops_then_leaves_and_leaving_stops(trained: Path) -> None:
    app = Host(trained)
    async with app.run_test(size=(80, 24)) as pilot:
        await loaded(pilot)
        await begin_a_long_text(pilot, app)

        # When esc is pressed, then the text ends, and says so, and the screen stays
        await pilot.press("escape")
        await until(pilot, lambda: app.playground.writing is None)
        assert "(stopped)" in str(app.written[0].content)
        assert app.screen is app.playground

        # When the screen is left in another way, then the text under way ends
        await begin_a_long_text(pilot, app)
        writing = app.playground.writing
        assert writing is not None
        await app.pop_screen()
        assert writing.wait(20.0)


async def test_without_a_text_under_way_esc_leaves(trained: Path) -> None:
    app = Host(trained)
    async with app.run_test(size=(80, 24)) as pilot:
        await loaded(pilot)
        await pilot.press("escape")
        assert app.screen is app.playground
        assert not isinstance(app.focused, Input)
        await pilot.press("escape")
        await pilot.pause()
        assert app.screen is not app.playground


async def test_keys_outside_the_field_change_how_it_is_drawn(trained: Path) -> None:
    app = Host(trained)
    async with app.run_test(size=(80, 24)) as pilot:
        await loaded(pilot)

        # In the field, the keys are letters
        await pilot.press("left_square_bracket")
        assert "temperature 0.8" in app.words("#playground-recipe")
        assert app.playground.query_one(Input).value == "["

        await pilot.press("escape", "left_square_bracket", "left_curly_bracket", "plus")
        assert "temperature 0.7" in app.words("#playground-recipe")
        assert "top-k 100" in app.words("#playground-recipe")
        assert "length 50" in app.words("#playground-recipe")

        # At a temperature of 0 the seed does not matter
        await pilot.press(*["left_square_bracket"] * 20)
        assert "temperature 0 ]" in app.words("#playground-recipe")
        await write(pilot, app, "A")
        await pilot.press("a")
        await until(pilot, lambda: app.playground.writing is None)
        assert app.written[0].text == app.written[1].text


async def test_a_run_without_a_checkpoint_is_told(tmp_path: Path) -> None:
    app = Host(tmp_path / "nothing")
    async with app.run_test(size=(80, 24)) as pilot:
        await loaded(pilot)
        assert "nothing" in app.words("#playground-problem")

        await pilot.press("A", "enter")
        await pilot.pause()
        assert app.written == []


async def test_a_model_that_cannot_be_loaded_is_told(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(run: Run) -> Any:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(playground, "open_model", full)
    app = Host(trained)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.words("#playground-problem"))
        assert "cannot be loaded: CUDA out of memory" in app.words("#playground-problem")
        assert "loading" not in app.words("#playground-title")


@pytest.mark.slow
async def test_top_k_ends_at_one_token_and_at_all(trained: Path) -> None:
    app = Host(trained)
    async with app.run_test(size=(120, 30)) as pilot:
        await loaded(pilot)
        await pilot.press("escape")

        async def press(key: str, times: int) -> str:
            await pilot.press(*[key] * times)
            await pilot.pause()
            return app.words("#playground-recipe")

        assert "top-k all" in await press("right_curly_bracket", len(TOP_KS))
        assert "top-k 1000" in await press("left_curly_bracket", 1)
        assert "top-k 1 " in await press("left_curly_bracket", len(TOP_KS))
        assert "top-k 2 " in await press("right_curly_bracket", 1)


@given(st.floats(0, 2000), st.sampled_from((-1, 1)))
def test_a_step_goes_to_the_next_value_or_stays_at_the_end(value: float, step: int) -> None:
    found = neighbour(TOP_KS, value, step)
    between = [v for v in TOP_KS if min(value, found) < v < max(value, found)]
    assert between == []
    assert found in TOP_KS or found == value
    assert (found - value) * step >= 0
