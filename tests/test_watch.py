"""Watching a run that another process trains."""

from __future__ import annotations

import asyncio
import errno
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from gpt import reader
from gpt.runs import Run
from tui.app import Nanodeck, Options
from tui.lines import plain
from tui.messages import OpenRun
from tui.run import RunScreen
from tui.setup import SetupScreen
from tui.watch import Watch

ROOT = Path(__file__).parent.parent
TRAINER = """
import signal, sys, time
from pathlib import Path
from gpt.events import Finished, Phase, Saved, Started, Step
from gpt.runs import Journal, Run
from gpt.settings import make_config

def stop(*_):
    journal.append(Saved(step=1, path="checkpoints/step-000001", kind="last"))
    journal.append(Finished(step=1, reason="stopped"))
    journal.close()
    sys.exit()

run = Run(Path("runs/other"))
run.create(make_config({"max_iters": 100_000}))
journal = Journal(run)
signal.signal(signal.SIGTERM, stop)
journal.append(Started(step=0, max_iters=100_000, params=1, tokens_per_iter=1, device="cpu",
                       dtype="float32", threads=1))
journal.append(Phase(name="training"))
for step in range(100_000):
    journal.append(Step(step=step, loss=2.5, lr=1e-3, grad_norm=1.0, ms=20.0, tokens_per_s=50.0,
                        mfu=None, tokens=step, seconds=step / 50, memory=1))
    time.sleep(0.02)
"""
"""Another process that holds a run's lock and writes its journal, as one that trains."""


@pytest.fixture
def trainer(
    tmp_path: Path, plain_terminal: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[subprocess.Popen[bytes]]:
    monkeypatch.setattr(SetupScreen, "_furnish", lambda self: None)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    process = subprocess.Popen([sys.executable, "-c", TRAINER], cwd=tmp_path)
    yield process
    process.kill()
    process.wait()


async def until(pilot: Pilot[None], condition: Callable[[], object]) -> None:
    for _ in range(3000):
        await pilot.pause(0.01)
        if condition():
            return
    raise AssertionError("it did not happen")


async def opened(pilot: Pilot[None], app: Nanodeck) -> RunScreen:
    """The screen of the run, once that has begun."""
    run = Run(Path("runs/other"))
    await until(pilot, lambda: run.is_live() and run.record().step > 0)
    app.post_message(OpenRun(run.path))
    await until(pilot, lambda: isinstance(app.screen, RunScreen))
    screen = app.screen
    assert isinstance(screen, RunScreen)
    await until(pilot, lambda: "training in another process" in heading(screen))
    return screen


def heading(screen: RunScreen) -> str:
    return plain(screen.heading.rows)


def step_shown(screen: RunScreen) -> int:
    found = re.search(r"step +([\d,]+) of", heading(screen))
    assert found is not None
    return int(found[1].replace(",", ""))


def offered(screen: RunScreen) -> set[str]:
    return {active.binding.description for active in screen.active_bindings.values()}


async def test_a_run_of_another_process_is_followed_to_its_end(
    trainer: subprocess.Popen[bytes],
) -> None:
    app = Nanodeck(Options(preset="tiny"))
    async with app.run_test(size=(120, 40)) as pilot:
        # given
        screen = await opened(pilot, app)
        assert "go on" not in offered(screen)

        # when it trains on, then the screen shows that
        step = step_shown(screen)
        await until(pilot, lambda: step_shown(screen) > step + 50)

        # and after a look at another screen as well
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is not screen)
        screen = await opened(pilot, app)
        step = step_shown(screen)
        await until(pilot, lambda: step_shown(screen) > step + 50)

        # when it stops, then so does the screen, from which the run can go on
        trainer.send_signal(signal.SIGTERM)
        await until(pilot, lambda: "stopped" in heading(screen))
        assert not screen.view.moving
        await until(pilot, lambda: "go on" in offered(screen))


async def test_a_journal_that_cannot_be_read_for_a_while_is_told_and_read_again(
    trainer: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = Nanodeck(Options(preset="tiny"))
    async with app.run_test(size=(120, 40)) as pilot:
        # given a disk that fails
        screen = await opened(pilot, app)

        def failing(path: Path, start: int) -> Iterator[list[bytes]]:
            raise OSError(errno.EIO, "Input/output error")

        with monkeypatch.context() as fault:
            fault.setattr(reader, "whole_lines", failing)

            # then it is told once, and the run is not taken for one that has ended
            await until(pilot, lambda: app._notifications)
            await pilot.pause(0.5)
            told = [notice.message for notice in app._notifications]
            assert len(told) == 1
            assert "Input/output error" in told[0]
            assert "training in another process" in heading(screen)

        # when the disk works again, then the screen goes on
        step = step_shown(screen)
        await until(pilot, lambda: step_shown(screen) > step + 50)


@pytest.mark.slow
async def test_a_journal_that_cannot_be_read_at_first_is_watched_later(
    trainer: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.run.AGAIN", 0.1)
    app = Nanodeck(Options(preset="tiny"))
    async with app.run_test(size=(120, 40)) as pilot:
        # given a screen whose run could be read, and then no longer
        with monkeypatch.context() as fault:
            fault.setattr("tui.run.Watch", refuse)
            screen = await opened(pilot, app)
            await until(pilot, lambda: app._notifications)
            await pilot.pause(0.5)
            assert len(app._notifications) == 1
            step = step_shown(screen)

        # when it can be read, then it is watched
        await until(pilot, lambda: step_shown(screen) > step + 50)

        # and a look at another screen that comes back while it cannot does not end that
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is not screen)
        monkeypatch.setattr("tui.run.Watch", refuse)
        app.push_screen(screen)
        step = step_shown(screen)
        await until(pilot, lambda: step_shown(screen) > step + 50)


def refuse(run: Run) -> None:
    raise OSError(errno.EIO, "Input/output error")


async def test_a_damaged_journal_is_told_and_left(
    trainer: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a run that is watched
    run = Run(Path("runs/other"))
    while not (run.is_live() and run.record().step > 0):
        await asyncio.sleep(0.01)
    watch, told, reads = Watch(run), list[str](), 0

    def damaged(path: Path, start: int) -> Iterator[list[bytes]]:
        nonlocal reads
        reads += 1
        raise ValueError("nonsense")

    # when its journal is damaged, then that is said once, it is read no more, and it still trains
    monkeypatch.setattr(reader, "whole_lines", damaged)
    for _ in range(3):
        assert watch.look(told.append)
    assert (len(told), reads) == (1, 1)
    assert "damaged" in told[0]


@pytest.mark.slow
async def test_a_run_whose_process_died_is_interrupted(trainer: subprocess.Popen[bytes]) -> None:
    app = Nanodeck(Options(preset="tiny"))
    async with app.run_test(size=(120, 40)) as pilot:
        # given
        screen = await opened(pilot, app)

        # when
        trainer.kill()
        trainer.wait()

        # then
        await until(pilot, lambda: "interrupted" in heading(screen))
        assert not screen.view.moving
