"""An hour's worth of events goes through the live screen, and memory stays where it was."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gpt.config import Config
from gpt.control import Control
from gpt.events import Event, Finished, Phase, Started, Step
from gpt.runs import Run
from tests.soak import share
from tui import messages
from tui.app import Nanodeck, Options
from tui.run import RunScreen
from tui.setup import SetupScreen

EVENTS = share(360_000, 180_000)
"""In either case a tenth fills the curve, whose memory is bounded."""
AHEAD = 2_000
"""Events that may be on the queue: as many as the screen takes."""


class Hour:
    """A run that is as fast as the screen takes its events."""

    def __init__(self) -> None:
        self.room = threading.Semaphore(AHEAD)

    def __call__(self, config: Config, run: Run | None, control: Control | None) -> Iterator[Event]:
        assert control is not None
        yield Phase(name="training")
        yield Started(
            max_iters=EVENTS, params=10, tokens_per_iter=4, device="cpu", dtype="float32", threads=1
        )
        for number in range(EVENTS):
            while not self.room.acquire(timeout=0.1):
                if control.stopping:
                    return
            yield Step(
                step=number, loss=4 / (1 + number) ** 0.1, lr=1e-3, grad_norm=1.0, ms=10.0,
                tokens_per_s=400.0, mfu=None, tokens=4 * number, seconds=number / 100, memory=1,
            )  # fmt: skip
        yield Finished(reason="done", step=EVENTS)


@pytest.mark.slow
async def test_an_hours_worth_of_events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given the real App on a run that makes events as fast as they are taken
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NANODECK_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr(SetupScreen, "resume_measuring", lambda self: None)
    hour, process = Hour(), psutil.Process()
    app = Nanodeck(Options(preset="tiny"), train=hour)
    after_a_tenth = taken = 0
    async with app.run_test(size=(120, 40)) as pilot:
        await app._setup.ready.wait()
        app.post_message(messages.Train(Config(), "tiny"))
        await pilot.pause()
        while app.session is None or not app.session.over:
            # When all of them have gone through its tick and its redraws
            app.tick()
            await pilot.pause()
            if app.session is not None:
                now = app.session.view.record.step
                if now > taken:
                    hour.room.release(now - taken)
                taken = now
            if not after_a_tenth and taken >= EVENTS / 10:
                await pilot.press(*"lxm" * 4)  # every way to draw it was used once
                await pilot.pause()
                gc.collect()
                after_a_tenth = process.memory_info().rss
        assert isinstance(app.screen, RunScreen)
        assert taken == EVENTS

        # Then memory has hardly grown since the first tenth
        gc.collect()
        growth = process.memory_info().rss / after_a_tenth - 1
        latencies: list[float] = []
        for key in "lxm" * 5:
            begun = time.perf_counter()
            await pilot.press(key)
            await pilot.pause()
            latencies.append(time.perf_counter() - begun)
        print(
            f"{EVENTS:,} events: memory {100 * growth:+.1f} %; a key takes "
            f"{1e3 * sorted(latencies)[len(latencies) // 2]:.0f} ms, "
            f"at most {1e3 * max(latencies):.0f} ms"
        )
        assert growth < 0.05
