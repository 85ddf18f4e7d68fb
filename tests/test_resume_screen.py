"""Going on with a run from the screen: from its own view, and from the table of runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

import gpt
from gpt.control import Control
from gpt.corpus import Corpus
from gpt.events import Adjusted, Finished, Saved, Step
from gpt.record import Record
from gpt.runs import Run
from gpt.settings import make_config
from tui import keys
from tui.app import Nanodeck, Options
from tui.history import HistoryScreen
from tui.messages import OpenRun
from tui.past import extension
from tui.run import RunScreen
from tui.setup import SetupScreen
from tui.view import View

SMALL: dict[str, Any] = {
    "dataset": "shakespeare_char", "device": "cpu", "batch_size": 4, "block_size": 16,
    "gradient_accumulation_steps": 1, "n_layer": 1, "n_head": 2, "n_embd": 16, "max_iters": 30,
    "lr_decay_iters": 30, "warmup_iters": 2, "eval_interval": 10, "eval_iters": 2,
    "max_new_tokens": 8, "sample_interval": 10, "checkpoint_minutes": 0.0, "threads": 1,
}  # fmt: skip


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shakespeare: Corpus) -> Run:
    """A run that was stopped at step 15 of 30."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(SetupScreen, "resume_measuring", lambda self: None)
    monkeypatch.setattr(SetupScreen, "_furnish", lambda self: None)
    for name in ("STATE", "CONFIG"):
        monkeypatch.setenv(f"NANODECK_{name}_DIR", str(tmp_path / name.lower()))
    run, control = Run(Path("runs/20261122-143015-small")), Control()
    for event in gpt.train(make_config(SMALL), run, control):
        if isinstance(event, Step) and event.step == 15:
            control.stop()
    return run


async def until(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    for _ in range(3000):
        pilot.app.tick()
        await pilot.pause(0.01)
        if condition():
            return
    raise AssertionError("it did not happen")


def ended(app: Nanodeck) -> bool:
    return app.session is not None and app.session.over


async def test_p_goes_on_with_the_run_on_screen(stopped: Run) -> None:
    # given: its past view
    app = Nanodeck(Options(preset="tiny"))
    async with app.run_test(size=(120, 40)) as pilot:
        app.post_message(OpenRun(stopped.path))
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        assert keys.can_act("go_on", app.screen.view)

        # when
        await pilot.press("p")
        await until(pilot, lambda: ended(app))

        # then: all of it is on one screen, and that screen has replaced the other
        screen = app.screen
        assert isinstance(screen, RunScreen)
        assert list(screen.view.record.curve["step"]) == list(range(30))
        assert screen.view.record.seams == [16]
        assert not keys.can_act("go_on", screen.view)
        assert sum(isinstance(other, RunScreen) for other in app.screen_stack) == 1


@pytest.mark.slow
async def test_a_run_that_is_done_is_trained_for_as_long_again(stopped: Run) -> None:
    # given: it has come to its end, and is on screen
    list(gpt.resume(stopped))
    app = Nanodeck(Options(preset="tiny"))
    async with app.run_test(size=(120, 40)) as pilot:
        app.post_message(OpenRun(stopped.path))
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        assert not keys.can_act("go_on", app.screen.view)

        # when, twice
        for steps in (60, 120):
            assert keys.can_act("longer", app.screen.view)
            await pilot.press("L")
            await until(
                pilot, lambda steps=steps: ended(app) and app.session.view.record.step == steps
            )

        # then it is the same model that went on, to the end of what it was given
        record = app.screen.view.record
        assert record.seams == [16, 30, 60]
        assert list(record.curve["step"]) == list(range(120))
        assert record.max_iters == 120
        assert record.finished.reason == "done"


def test_as_long_again_is_of_what_ends_a_run() -> None:
    def extended(config: dict[str, Any], **changed: Any) -> dict[str, Any]:
        record = Record()
        for knob, value in changed.items():
            record.fold(Adjusted(step=5, knob=knob, value=value))
        record.fold(Saved(step=9, path="checkpoints/step-000009", kind="last"))
        record.fold(Finished(step=9, reason="done"))
        return extension(View("small", Run(Path("small")), record, make_config(config)))

    assert extended({"max_iters": 30, "lr_decay_iters": 20}) == {
        "max_iters": 60,
        "lr_decay_iters": 40,
    }
    assert extended({"max_iters": 30}, max_iters=60)["max_iters"] == 120
    assert extended({"time_budget": 90.0}) == {"time_budget": 180.0}


async def test_p_goes_on_with_the_run_under_the_cursor(stopped: Run) -> None:
    # given
    app = Nanodeck(Options(preset="tiny"))
    async with app.run_test(size=(120, 40)) as pilot:
        app.push_screen(history := HistoryScreen(Path("runs")))
        await until(pilot, lambda: history._shown)

        # when
        await pilot.press("p")
        await until(pilot, lambda: ended(app))

        # then
        assert isinstance(app.screen, RunScreen)
        assert stopped.record().seams == [16]


async def test_a_run_that_cannot_go_on_says_why_where_it_was_asked(stopped: Run) -> None:
    # given: its newest checkpoint is gone, and so is every other
    for path in stopped.checkpoints.rglob("*"):
        if path.is_file():
            path.write_bytes(b"torn")
    app = Nanodeck(Options(preset="tiny"))
    async with app.run_test(size=(120, 40)) as pilot:
        app.push_screen(history := HistoryScreen(Path("runs")))
        await until(pilot, lambda: history._shown)

        # when
        await pilot.press("p")
        await until(pilot, lambda: app._notifications)

        # then
        assert any("no whole checkpoint" in note.message for note in app._notifications)
        await until(pilot, lambda: app.screen is history)
