"""The main screens as pictures, at 80x24 and 140x45.

`python -m pytest tests/test_snapshots.py --snapshot-update` accepts what they look like now; look
at every picture before that.
"""

import csv
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from gpt import presets
from gpt.corpus import Corpus
from gpt.estimate import Timing
from gpt.events import Eval, Event, Finished, Phase, Sample, Saved, Started, Step
from gpt.record import Record
from gpt.runs import Run
from gpt.settings import make_config
from tui.app import Nanodeck, Options
from tui.run import RunScreen
from tui.setup import SetupScreen
from tui.view import View

SIZES = [(80, 24), (140, 45)]
TIMING = Timing(0.045, 1.2, 0.5, 1.8, "cpu")
Compare = Callable[..., bool]


@pytest.fixture(autouse=True)
def _a_machine_that_never_changes(
    plain_terminal: None, monkeypatch: pytest.MonkeyPatch, shakespeare: Corpus
) -> None:
    monkeypatch.setattr("gpt.estimate.available_memory", lambda: 16 << 30)
    monkeypatch.setattr("tui.preflight.Preflight.outcome", lambda *_: TIMING)
    monkeypatch.setattr("tui.preflight.PROGRAM", ())


def reference_run(until: int) -> Iterator[Event]:
    """The golden run of the reference preset, its other figures made up."""
    yield Started(
        time=0.0, step=0, max_iters=2000, params=804_096, tokens_per_iter=768, device="cpu",
        dtype="float32", threads=2,
    )  # fmt: skip
    with (presets.SHIPPED / "shakespeare_char_cpu.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if int(row["step"]) <= until]
    rows.sort(key=lambda row: (int(row["step"]), row["kind"] == "iter"))
    best = math.inf
    for row in rows:
        step = int(row["step"])
        if row["kind"] == "eval":
            val = float(row["val_loss"])
            improved, best = val < best, min(val, best)
            yield Eval(
                time=step * 0.05, step=step, train=float(row["train_loss"]), val=val, best=improved
            )
            if improved and step:
                path = f"checkpoints/step-{step:06d}"
                yield Saved(time=step * 0.05, step=step, path=path, kind="best")
            text = f"First Citizen:\nWe are the sample of step {step}, hear us speak.\n"
            yield Sample(time=step * 0.05, step=step, prompt="\n", seed=step, text=text, done=True)
        elif step < 2000:
            yield Step(
                time=step * 0.05, step=step, loss=float(row["train_loss"]), lr=1e-3,
                grad_norm=0.8, ms=45.0, tokens_per_s=17_066.0, mfu=0.52, tokens=(step + 1) * 768,
                seconds=step * 0.05, memory=612_000_000,
            )  # fmt: skip
    yield Phase(time=until * 0.05, step=until, name="training")


def run_screen(until: int, *, finished: bool) -> tuple[Nanodeck, Callable[[Pilot[Any]], Any]]:
    record = Record()
    for event in reference_run(until):
        record.fold(event)
    if finished:
        record.fold(Finished(time=until * 0.05, step=until, reason="done"))
    preset = presets.find("shakespeare_char_cpu")
    run = Run(Path("runs/20261122-143015-shakespeare_char_cpu"))
    config = make_config(preset.values)
    view = View("shakespeare_char_cpu", run, record, config, reference=preset.reference)
    app = Nanodeck(Options())

    async def show(pilot: Pilot[Any]) -> None:
        app.push_screen(RunScreen(view))
        await pilot.pause()

    return app, show


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_setup_screen(snap_compare: Compare, size: tuple[int, int]) -> None:
    async def settle(pilot: Pilot[Any]) -> None:
        screen = pilot.app.screen
        assert isinstance(screen, SetupScreen)
        await screen.ready.wait()
        # Then it looks up whether the text is prepared, in a thread.
        while "over the text" not in str(screen.query_one("#forecast-figures", Static).content):
            await pilot.pause(0.05)

    app = Nanodeck(Options(preset="shakespeare_char_cpu"))
    assert snap_compare(app, terminal_size=size, run_before=settle)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_run_half_way(snap_compare: Compare, size: tuple[int, int]) -> None:
    app, show = run_screen(1250, finished=False)
    assert snap_compare(app, terminal_size=size, run_before=show)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_run_at_its_end(snap_compare: Compare, size: tuple[int, int]) -> None:
    app, show = run_screen(2000, finished=True)
    assert snap_compare(app, terminal_size=size, run_before=show)
