"""The run screen: what it shows of a record, when it draws, and what its keys do."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from conftest import Clock
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App
from textual.message import Message
from textual.pilot import Pilot
from textual.screen import Screen

from gpt import presets
from gpt.control import Control
from gpt.events import (
    Eval,
    Event,
    Finished,
    Notice,
    Phase,
    PhaseName,
    Progress,
    Reason,
    Sample,
    Saved,
    Started,
    Step,
)
from gpt.record import Record, Written
from gpt.runs import Run
from gpt.settings import make_config
from tui.evals import table
from tui.footer import Footer
from tui.heading import heading_rows, phase_of, small_rows
from tui.lines import Lines, plain
from tui.messages import Edit, OpenRuns, Prompt, Resume
from tui.run import RunScreen
from tui.samples import HURRY, PACE, Typist
from tui.summary import summary_rows
from tui.view import View
from tui.wrap import cut, cut_within, wrap

NOW = 2e9
POEM = "ROMEO:\nAnd that the have of the sone thy heart\n"


def step_event(step: int) -> Step:
    return Step(
        step=step, time=1e9 + step, loss=4.0 - step / 100, lr=1e-3, grad_norm=0.8, ms=27.0,
        tokens_per_s=28_400.0, mfu=0.61, tokens=768 * (step + 1), seconds=0.1 * step,
        memory=612_000_000,
    )  # fmt: skip


def training(steps: int = 121, started: bool = True) -> list[Event]:
    """A run of 200 steps that has come so far, with evaluations and samples every 50."""
    events: list[Event] = [Phase(name="preparing", time=1e9)]
    events.append(
        Started(
            step=0, max_iters=200, params=804_096, tokens_per_iter=768, device="cpu",
            dtype="float32", threads=2,
        )
    )  # fmt: skip
    for step in range(steps):
        if step % 50 == 0:
            val = 4.1 - step / 100
            events.append(Eval(step=step, train=val - 0.1, val=val, best=True))
            events.append(Saved(step=step, path=f"checkpoints/step-{step:06}", kind="best"))
            text = f"{POEM}of step {step}"
            events.append(Sample(step=step, prompt="\n", seed=1, text=text, done=True))
        events.append(step_event(step))
    return [*events, Phase(name="training", step=steps - 1)]


DONE: list[Event] = [*training(200), Finished(step=200, reason="done")]


def progress(phase: PhaseName, done: float, total: float | None, unit: str) -> Progress:
    return Progress(phase=phase, done=done, total=total, unit=unit)


def view_of(
    events: Iterable[Event],
    folder: Path = Path(),
    *,
    live: bool = True,
    name: str = "shakespeare_char_cpu",
    reference: Path | None = None,
) -> View:
    record = Record()
    for event in events:
        record.fold(event)
    preset = presets.find("shakespeare_char_cpu")
    return View(
        name=name,
        run=Run(folder),
        record=record,
        config=make_config(dict(preset.values)),
        control=Control() if live else None,
        reference=reference,
    )


class Stage(App[None]):
    """An app with the run screen on it, keeping what the screen asks for."""

    def __init__(self, screen: RunScreen, ascii: bool = False) -> None:
        super().__init__()
        self.run_screen = screen
        self.ascii = ascii
        self.asked: list[Message] = []

    def on_mount(self) -> None:
        self.push_screen(self.run_screen)

    def on_edit(self, message: Edit) -> None:
        self.asked.append(message)

    def on_open_runs(self, message: OpenRuns) -> None:
        self.asked.append(message)

    def on_prompt(self, message: Prompt) -> None:
        self.asked.append(message)

    def on_resume(self, message: Resume) -> None:
        self.asked.append(message)


class Scene:
    """What a test sees: the screen, its app, its clock and the keys."""

    def __init__(self, app: Stage, pilot: Pilot[None], clock: Clock) -> None:
        self.app, self.pilot, self.clock = app, pilot, clock
        self.screen = app.run_screen

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.pilot.pause()

    async def fold(self, *events: Event, seconds: float = 0.0) -> None:
        """Let something happen and some time pass, then let the App's tick come."""
        for event in events:
            self.screen.view.record.fold(event)
        self.clock.now += seconds
        self.screen.refresh_view()
        await self.pilot.pause()

    def text(self, id: str) -> str:
        """What stands in a part of the screen, by its id."""
        return plain(self.screen.query_one(f"#{id}", Lines).visible_rows())

    def chart(self) -> str:
        above, below = self.screen.chart.borders
        return f"{above}\n{self.text('chart')}\n{below}"

    def shown(self) -> set[str | None]:
        """The panes that can be seen."""
        return {pane.id for pane in self.screen.panes if pane.size.height}

    def footer(self) -> list[str]:
        """What the keys in the footer do, in their order."""
        bindings = self.screen.active_bindings.values()
        shown = [each.binding.description for each in bindings if each.binding.show]
        return list(dict.fromkeys(shown))


@asynccontextmanager
async def stage(
    tmp_path: Path,
    events: Iterable[Event],
    *,
    live: bool = True,
    size: tuple[int, int] = (120, 40),
    name: str = "shakespeare_char_cpu",
    reference: Path | None = None,
    ascii: bool = False,
) -> AsyncIterator[Scene]:
    """The run screen over a record of these events."""
    folder = tmp_path / "run"
    folder.mkdir(exist_ok=True)
    view = view_of(events, folder, live=live, name=name, reference=reference)
    clock = Clock()
    app = Stage(RunScreen(view, clock), ascii)
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.pause()
        await pilot.pause()
        yield Scene(app, pilot, clock)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NANODECK_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


# --- what is shown


async def test_a_run_under_way(tmp_path: Path) -> None:
    async with stage(tmp_path, training()) as scene:
        # then
        heading = scene.text("heading")
        assert "shakespeare_char_cpu  cpu, 2 threads, float32" in heading
        assert "training" in heading
        assert "step 120 of 200" in heading
        assert "60 %" in heading
        assert "0:08 left" in heading
        now = scene.text("figures").splitlines()
        assert now[0].startswith("loss            2.8000")
        assert now[1].split()[:2] == ["lr", "1.0e-03"]
        assert now[5].split()[:4] == ["peak", "share", "61", "%"]
        assert now[6].split()[:3] == ["memory", "612", "MB"]
        assert scene.text("evals").splitlines()[-1].split()[:4] == [
            "100", "3.0000", "3.1000*", "22.20",
        ]  # fmt: skip
        assert "of step 100" in scene.text("samples")
        assert scene.text("log").splitlines()[-1].startswith("iter 120: loss 2.8000")
        assert "train 2.8" in scene.chart()
        assert not scene.screen.summary.display


def test_bits_a_character_are_val_over_ln_2() -> None:
    # given
    record = view_of(
        [*training(1), Eval(step=1, train=2.0, val=2.0, val_se=0.01, best=True)]
    ).record

    # when: tokens of one character, of two, of nobody knows how many; and a wide pane
    one, two, some, wide = (
        table(record, *how) for how in ((1.0, 42), (2.0, 42), (None, 42), (1.0, 52))
    )

    # then
    assert plain(one).splitlines()[0].split() == ["step", "train", "val", "perpl.", "bits/char"]
    assert plain(one).splitlines()[2].split() == ["1", "2.0000", "2.0000*", "7.39", "2.885"]
    assert plain(two).split()[-1] == "1.443"
    assert "bits/tok" in plain(some)
    assert plain(wide).split()[-1] == "0.0100"


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([], "starting"),
        ([Phase(name="preparing")], "preparing"),
        (
            [Phase(name="preparing"), progress("preparing", 5e5, 2e6, "bytes")],
            "preparing 500 k of 2.00 M bytes",
        ),
        (
            [Phase(name="compiling"), progress("compiling", 3, None, "graphs")],
            "compiling 3 graphs",
        ),
        ([Phase(name="compiling", time=NOW - 3600)], "compiling 1:00:00"),
        (
            [
                *training(),
                Phase(name="evaluating", step=120),
                progress("evaluating", 12, 40, "batches"),
            ],
            "evaluating 12 of 40 batches, esc skips  step 120 of 200",
        ),
        ([*training(), Phase(name="sampling", time=NOW, step=120)], "sampling, esc skips"),
        ([*training(), Phase(name="saving", time=NOW, step=120)], "saving  step 120 of 200"),
        ([*training(), Phase(name="paused", time=NOW - 60)], "paused 1:00"),
    ],
)  # fmt: skip
def test_every_phase_is_named_with_how_far_it_is(events: list[Event], words: str) -> None:
    # given
    view = view_of(events)

    # when
    phase = phase_of(view, NOW)

    # then
    assert words in plain(heading_rows(view, phase, None, 120, "=-"))


@pytest.mark.parametrize(("width", "height"), [(20, 5), (39, 12), (200, 7)])
def test_a_few_short_rows_hold_what_matters(width: int, height: int) -> None:
    # given
    view = view_of(training())

    # when
    rows = plain(small_rows(view, phase_of(view, NOW), width)).splitlines()

    # then
    assert rows[0].startswith("step 120/200")
    assert "loss 2.80" in rows[0] + rows[1]
    assert max(map(len, rows[:3])) <= width


async def test_before_the_first_step_the_chart_shows_the_reference(tmp_path: Path) -> None:
    curve = presets.SHIPPED / "shakespeare_char_cpu.csv"
    async with stage(tmp_path, [Phase(name="preparing")], reference=curve) as scene:
        assert "⠒" in scene.text("chart")
        assert "reference run" in scene.chart()


async def test_a_broken_reference_is_told_and_left_out(tmp_path: Path) -> None:
    # given
    broken = tmp_path / "curve.csv"
    broken.write_text("[bold]no[/] curve\n")

    # when
    async with stage(tmp_path, [], reference=broken) as scene:
        # then
        assert "The curve begins with the first step" in scene.text("chart")
        assert [n.message for n in scene.app._notifications] == [  # pyright: ignore
            f"{broken}: there is no column kind. It needs kind, step, train_loss, val_loss."
        ]


async def test_what_others_wrote_is_shown_as_it_is_written(tmp_path: Path) -> None:
    # given: markup and control characters wherever a text comes from outside
    evil = "[@click=app.quit]x[/] \x1b]52;c;aGk=\x07 \u202egnp"
    seen = "[@click=app.quit]x[/] ␛]52;c;aGk=␇ <U+202E>gnp"
    events = [
        *training(),
        Sample(step=120, prompt=evil, seed=1, text=evil, done=True),
        Notice(level="warning", text=evil),
        Notice(level="info", text=f"iter {evil}"),
        Finished(step=120, reason="failed", error=evil),
    ]

    # when
    async with stage(tmp_path, events, live=False, name=evil, size=(200, 60)) as scene:
        # then
        assert seen in scene.text("heading")
        assert seen in scene.text("summary")
        assert "".join(scene.text("samples").split()).count("".join(seen.split())) == 2
        assert "".join(scene.text("log").split()).count("".join(seen.split())) == 3
        assert "\x1b" not in scene.app.export_screenshot()


async def test_ascii_everywhere(tmp_path: Path) -> None:
    async with stage(tmp_path, training(), ascii=True) as scene:
        # given
        await scene.press("left")

        # then
        for part in scene.screen.query(Lines):
            assert plain(part.visible_rows()).isascii()
        assert "|" in scene.text("chart")


# --- past runs and the end


async def test_a_past_run_shows_everything_at_once(tmp_path: Path) -> None:
    async with stage(tmp_path, DONE, live=False) as scene:
        assert "done" in scene.text("heading")
        assert "100 %" in scene.text("heading")
        assert scene.text("samples").endswith("of step 150")
        assert scene.text("log").splitlines()[-1] == "done"
        assert scene.footer()[:3] == ["prompt it", "train longer", "change one thing"]
        assert not {"pause", "stop", "evaluate", "sample", "save"} & set(scene.footer())


async def test_the_summary_says_what_came_of_it_and_what_next(tmp_path: Path) -> None:
    async with stage(tmp_path, DONE, live=False) as scene:
        # then
        summary = " ".join(scene.text("summary").split())
        assert "best val loss 2.6000 at step 150 of 200 0:20 perplexity 13.46" in summary
        assert f"best checkpoint {tmp_path}/run/checkpoints/step-000150" in summary
        assert "enter prompt it L train longer C change one thing r see the runs" in summary


@pytest.mark.parametrize("reason", ["stopped", "diverged", "failed"])
def test_another_end_is_named_and_explained(reason: Reason) -> None:
    # given
    view = view_of([*training(), Finished(step=120, reason=reason, error="Halve batch_size.")])

    # when
    summary = plain(summary_rows(view.record, Path("runs/one"), 60))

    # then
    assert phase_of(view, NOW) == (reason, "")
    assert summary.startswith("Halve batch_size.\nbest val loss 3.1000 at step 100 of 120")
    assert "runs/one/checkpoints/step-000100" in summary.replace("\\", "/")
    assert ("run.log" in summary) == (reason == "failed")


async def test_a_run_without_an_end_is_interrupted(tmp_path: Path) -> None:
    async with stage(tmp_path, training(), live=False) as scene:
        assert "interrupted" in scene.text("heading")
        assert scene.screen.summary.border_title == "interrupted"


async def test_the_end_of_a_live_run_comes_on_the_same_screen(tmp_path: Path) -> None:
    async with stage(tmp_path, training()) as scene:
        # given
        assert not scene.screen.summary.display

        # when
        await scene.fold(Finished(step=120, reason="stopped"))

        # then
        assert scene.screen.summary.display
        assert scene.text("summary").splitlines()[0].startswith("best val loss 3.1000")
        assert f"best checkpoint {tmp_path}" in " ".join(scene.text("summary").split())
        assert "prompt it" in scene.footer()


async def test_what_to_do_next_by_key(tmp_path: Path) -> None:
    async with stage(tmp_path, DONE, live=False) as scene:
        # when
        await scene.press("enter", "P", "L", "C", "r")

        # then
        first, second, longer, change, runs = scene.app.asked
        assert isinstance(first, Prompt)
        assert isinstance(second, Prompt)
        assert first.path == tmp_path / "run"
        assert isinstance(longer, Resume)
        assert longer.path == tmp_path / "run"
        assert isinstance(change, Edit)
        assert change.name == "shakespeare_char_cpu"
        assert change.values["n_embd"] == 128
        assert "bias" not in change.values
        assert isinstance(runs, OpenRuns)


async def test_a_run_that_saved_nothing_cannot_be_prompted(tmp_path: Path) -> None:
    events = [Phase(name="preparing"), Finished(reason="stopped")]
    async with stage(tmp_path, events, live=False) as scene:
        # when
        await scene.press("enter")

        # then
        assert scene.app.asked == []
        assert "prompt it" not in scene.text("summary")


# --- asking the run


async def test_pause_and_go_on(tmp_path: Path) -> None:
    async with stage(tmp_path, training()) as scene:
        control = scene.screen.view.control
        assert control is not None

        # when
        await scene.press("p")

        # then
        assert control.paused
        assert "pausing" in scene.text("heading")
        assert "go on" in scene.footer()
        assert "pause" not in scene.footer()

        # when
        await scene.press("space")

        # then
        assert not control.paused
        assert "pause" in scene.footer()


async def test_s_twice_within_two_seconds_stops(tmp_path: Path) -> None:
    async with stage(tmp_path, training()) as scene:
        control = scene.screen.view.control
        assert control is not None

        # when: too slowly
        await scene.press("S")
        scene.clock.now += 3
        await scene.press("S")

        # then
        assert not control.stopping

        # when
        scene.clock.now += 1
        await scene.press("S")

        # then
        assert control.stopping
        assert "stopping" in scene.text("heading")
        assert "stop" not in scene.footer()


async def test_asking_for_an_evaluation_a_sample_and_a_checkpoint(tmp_path: Path) -> None:
    async with stage(tmp_path, training()) as scene:
        control = scene.screen.view.control
        assert control is not None

        # when
        await scene.press("e", "n", "c")

        # then
        assert [control.take_request() for _ in range(4)] == ["evaluate", "sample", "save", None]


async def test_escape_skips_what_can_be_skipped_and_goes_back_otherwise(tmp_path: Path) -> None:
    async with stage(tmp_path, [*training(), Phase(name="evaluating", step=120)]) as scene:
        control = scene.screen.view.control
        assert control is not None

        # when
        await scene.press("escape")

        # then
        assert control.take_skip()
        assert scene.app.screen is scene.screen

        # when
        await scene.fold(Phase(name="training", step=120))
        await scene.press("escape")

        # then
        assert not control.take_skip()
        assert scene.app.screen is not scene.screen


async def test_warnings_of_a_run_under_way_are_told_once(tmp_path: Path) -> None:
    async with stage(tmp_path, training()) as scene:
        # when
        await scene.fold(
            Notice(level="info", text="nothing much"),
            Notice(level="warning", text="the disk is [b]nearly[/b] full"),
        )
        await scene.fold(step_event(121))

        # then
        told = [each.message for each in scene.app._notifications]  # pyright: ignore
        assert told == ["the disk is [b]nearly[/b] full"]


# --- when it draws


async def test_figures_come_each_second_and_the_chart_every_third(tmp_path: Path) -> None:
    async with stage(tmp_path, training()) as scene:
        # given
        chart = scene.chart()

        # when: there is news, but nothing is due
        await scene.fold(*(step_event(step) for step in range(121, 160)), seconds=0.5)

        # then
        assert "loss            2.8000" in scene.text("figures")

        # when
        await scene.fold(seconds=0.6)

        # then
        assert "loss            2.4100" in scene.text("figures")
        assert "step 159 of 200" in scene.text("heading")
        assert scene.chart() == chart

        # when both are due
        await scene.fold(step_event(160), seconds=2)

        # then the chart has the next tick to itself
        assert "step 160 of 200" in scene.text("heading")
        assert scene.chart() == chart
        await scene.fold(seconds=0.5)
        assert scene.chart() != chart


async def test_the_chart_waits_for_the_figures_once_at_most(tmp_path: Path) -> None:
    async with stage(tmp_path, training()) as scene:
        # given a tick so slow that the figures are due at each
        chart = scene.chart()
        await scene.fold(*(step_event(step) for step in range(121, 160)), seconds=3.5)
        assert scene.chart() == chart

        # when
        await scene.fold(seconds=1.5)

        # then
        assert scene.chart() != chart


async def test_a_new_phase_is_named_at_once(tmp_path: Path) -> None:
    async with stage(tmp_path, training()) as scene:
        # when
        await scene.fold(Phase(name="evaluating", step=120))

        # then
        assert "evaluating" in scene.text("heading")


async def test_nothing_is_drawn_under_another_screen(tmp_path: Path) -> None:
    async with stage(tmp_path, training()) as scene:
        # given
        scene.app.push_screen(Screen())
        await scene.pilot.pause()

        # when
        await scene.fold(step_event(150), seconds=10)

        # then
        assert "step 120 of 200" in scene.text("heading")

        # when: it comes back
        scene.app.pop_screen()
        await scene.pilot.pause()
        await scene.pilot.pause()

        # then
        assert "step 150 of 200" in scene.text("heading")


# --- typing


async def test_a_sample_is_typed_at_reading_pace(tmp_path: Path) -> None:
    async with stage(tmp_path, training()) as scene:
        # given: a sample that arrives at once
        letters = "x" * int(PACE)
        scene.screen.samples.type()
        await scene.fold(
            Sample(step=120, prompt="\n", seed=1, text=letters, done=True), seconds=1.1
        )

        # when
        scene.clock.now += 0.5
        scene.screen.samples.type()

        # then
        assert scene.text("samples").count("x") == PACE / 2

        # when
        scene.clock.now += 0.6
        scene.screen.samples.type()

        # then
        assert scene.text("samples").count("x") == PACE


def test_a_typist_hurries_when_a_newer_sample_waits() -> None:
    # given
    typist = Typist()
    samples = [Written(0, "", 0, "x" * 1000, done=True)]
    typist.type(samples, 0.5)
    alone = typist.shown

    # when
    samples.append(Written(50, "", 0, "y" * 1000))
    typist.type(samples, 0.5)

    # then
    assert alone == PACE / 2
    assert typist.shown - alone == PACE / 2 * HURRY


@given(
    st.lists(st.tuples(st.text(max_size=300), st.booleans(), st.none() | st.floats(0, 3))),
)
def test_a_typist_is_never_more_than_one_sample_behind(
    pieces: list[tuple[str, bool, float | None]],
) -> None:
    # given
    typist = Typist()
    samples: list[Written] = []
    for text, done, seconds in pieces:
        if not samples or samples[-1].done:
            samples.append(Written(len(samples), "", 0))
        samples[-1].text += text
        samples[-1].done = done
        if seconds is None:
            continue

        # when
        before = (typist.sample, typist.shown)
        more = typist.type(samples, seconds)

        # then
        assert any(sample is typist.sample for sample in samples[-2:])
        assert typist.sample is not None
        assert 0 <= typist.shown <= len(typist.sample.text)
        assert more == typist.behind(samples)
        if typist.sample is before[0]:
            assert before[1] <= typist.shown <= before[1] + seconds * PACE * HURRY + 1


# --- moving about


async def test_the_cursor_moves_every_pane_through_time(tmp_path: Path) -> None:
    async with stage(tmp_path, training()) as scene:
        # when: to the evaluation before the last
        await scene.press("down", "down")

        # then
        assert "reading step 50, End goes back" in scene.text("heading")
        assert "loss            3.5000" in scene.text("figures")
        assert scene.text("evals").split()[-5] == "50"
        assert scene.text("samples").endswith("of step 50")
        assert scene.text("log").splitlines()[-1].startswith("iter 50:")
        assert "val 3.6000" in scene.chart()
        assert "│" in scene.text("chart").splitlines()[3][20:]

        # when: news comes, and the cursor stays
        await scene.fold(*(step_event(step) for step in range(121, 140)), seconds=5)

        # then
        assert "loss            3.5000" in scene.text("figures")

        # when
        await scene.press("end")

        # then
        assert "reading" not in scene.text("heading")
        assert "loss            2.6100" in scene.text("figures")


async def test_arrows_move_by_a_column_and_past_the_end_to_the_present(tmp_path: Path) -> None:
    async with stage(tmp_path, training()) as scene:
        # when
        await scene.press("left")
        first = scene.screen.cursor
        await scene.press("shift+left")
        second = scene.screen.cursor
        await scene.press("home")
        third = scene.screen.cursor
        await scene.press("end", "left", "right", "right")

        # then
        assert first is not None
        assert second is not None
        assert 110 < first < 120
        assert second < first - 9
        assert third == 0
        assert scene.screen.cursor is None


async def test_a_click_on_the_chart_reads_there(tmp_path: Path) -> None:
    async with stage(tmp_path, DONE, live=False) as scene:
        # given
        picture = scene.screen.chart.picture
        assert picture is not None
        column = picture.column(100)
        assert column is not None

        # when
        await scene.pilot.click("#chart", offset=(column + 1, 5))
        await scene.pilot.pause()

        # then
        assert scene.screen.cursor is not None
        assert abs(scene.screen.cursor - 100) <= 2


async def test_numbers_focus_zoom_and_restore(tmp_path: Path, state: Path) -> None:
    everything = {"chart", "figures", "evals", "samples", "log"}
    async with stage(tmp_path, training()) as scene:
        # then
        assert scene.shown() == everything
        assert scene.screen.focused is scene.screen.chart

        # when
        await scene.press("4")
        assert scene.screen.focused is scene.screen.samples
        assert scene.shown() == everything
        await scene.press("4")

        # then
        assert scene.shown() == {"samples"}
        assert "of step 0" in scene.text("samples")

        # when: another pane, still zoomed
        await scene.press("3")

        # then
        assert scene.shown() == {"evals"}
        assert scene.screen.focused is scene.screen.evals

        # when
        await scene.press("0")

        # then
        assert scene.shown() == everything
        assert scene.screen.focused is scene.screen.evals


async def test_a_narrow_terminal_has_one_pane_and_two_lines_of_sample(tmp_path: Path) -> None:
    async with stage(tmp_path, training(), size=(80, 24)) as scene:
        # then
        assert scene.shown() == {"chart"}
        assert scene.text("tail").splitlines() == [
            "And that the have of the sone thy heart",
            "of step 100",
        ]
        assert "step 120 of 200" in scene.text("heading")
        footer = scene.screen.query_one(Footer)
        assert {"back", "panes"} <= set(scene.footer())
        assert "copy" not in scene.footer()
        assert footer.fitting() == footer.keys

        # when
        await scene.press("3")

        # then
        assert scene.shown() == {"evals"}
        assert scene.screen.focused is scene.screen.evals


@pytest.mark.parametrize("size", [(20, 5), (1, 1)])
async def test_a_very_small_terminal_has_the_heading_alone(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    async with stage(tmp_path, training(), size=size) as scene:
        assert scene.shown() == set()
        assert scene.text("heading")[:12] == "step 120/200"


def drawn_footer(scene: Scene) -> list[str]:
    return [key.description for key in scene.screen.query_one(Footer).fitting()]


async def test_resizing_keeps_focus_and_scroll(tmp_path: Path) -> None:
    async with stage(tmp_path, training()) as scene:
        # given
        await scene.press("5", "home")
        top = scene.text("log").splitlines()[0]

        # when
        await scene.pilot.resize_terminal(80, 24)
        await scene.pilot.pause()
        narrow, footer = scene.shown(), drawn_footer(scene)
        await scene.pilot.resize_terminal(160, 50)
        await scene.pilot.pause()

        # then
        assert narrow == {"log"}
        assert "runs" not in footer
        assert "runs" in drawn_footer(scene)
        assert len(scene.shown()) == 5
        assert scene.screen.focused is not None
        assert scene.screen.focused.id == "log"
        assert scene.text("log").startswith(top)


async def test_what_is_being_read_does_not_scroll_away(tmp_path: Path) -> None:
    async with stage(tmp_path, training()) as scene:
        # given
        log = scene.screen.panes[4]
        await scene.press("5", "pageup")
        read = scene.text("log")

        # when
        await scene.fold(*(step_event(step) for step in range(121, 160)), seconds=2)

        # then
        assert scene.text("log") == read
        assert log.border_subtitle == "49 more below, End follows"

        # when
        await scene.press("end")

        # then
        assert scene.text("log").splitlines()[-1].startswith("iter 159:")
        assert not log.border_subtitle


# --- the chart's keys, remembered


async def test_the_look_of_the_chart_changes_by_key_and_is_remembered(
    tmp_path: Path, state: Path
) -> None:
    async with stage(tmp_path, training()) as scene:
        # when
        await scene.press("l", "x", "left_square_bracket", "plus")

        # then
        assert "loss, by time, log, last half, smoothed over 4 steps" in scene.chart()

        # when
        await scene.press("m", "right_square_bracket", "x", "x", "l", "minus", "2", "2")

        # then
        assert "learning rate" in scene.chart()
        assert json.loads((state / "run-screen.json").read_text()) == {
            "metric": "lr", "axis": "step", "log": False, "smoothing": 3, "window": 0,
            "pane": 2, "zoomed": True,
        }  # fmt: skip

    # and: the next screen begins so
    async with stage(tmp_path, training()) as scene:
        assert scene.shown() == {"figures"}
        assert scene.screen.look.metric == "lr"


# --- copying


async def test_copying_gives_the_pane_to_a_program_to_the_terminal_and_to_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: a clipboard program that keeps what it is given
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "xclip").write_text(f"#!/bin/sh\nexec /bin/cat > {tmp_path}/clipboard\n")
    (programs / "xclip").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    async with stage(tmp_path, training()) as scene:
        # when
        await scene.press("4", "y")
        await scene.app.workers.wait_for_complete()
        await scene.pilot.pause()

        # then
        copied = (tmp_path / "clipboard").read_text()
        assert copied.count(POEM) == 3
        assert copied.endswith("of step 100")
        assert scene.app.clipboard == copied
        assert (tmp_path / "run/copied-samples.txt").read_text() == copied + "\n"
        assert [n.message for n in scene.app._notifications] == [  # pyright: ignore
            f"copied with xclip\n{tmp_path}/run/copied-samples.txt"
        ]


async def test_copying_without_a_program_or_a_run_folder_still_leaves_a_file(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    monkeypatch.setenv("PATH", str(tmp_path))
    async with stage(tmp_path, training()) as scene:
        (tmp_path / "run").rmdir()
        state.mkdir(exist_ok=True)

        # when
        await scene.press("y")
        await scene.app.workers.wait_for_complete()

        # then
        assert "loss" in (state / "copied-chart.txt").read_text()


# --- text


@given(st.text(alphabet="ab /\n世é", max_size=80), st.integers(2, 12))
def test_wrapping_loses_nothing_and_fits(text: str, width: int) -> None:
    # when
    lines = list(wrap(text, width))

    # then
    assert "".join(lines).replace(" ", "") == text.replace(" ", "").replace("\n", "")
    assert all(len(line) + line.count("世") <= width for line in lines)


def test_wrapping_breaks_at_spaces_and_cutting_says_so() -> None:
    assert list(wrap("the shapes of words\n\nx", 10)) == ["the shapes", "of words", "", "x"]
    assert list(wrap("at runs/one/checkpoints/last", 12)) == [
        "at",
        "runs/one/",
        "checkpoints/",
        "last",
    ]
    assert cut("shakespeare_char_cpu", 12) == "shakespea..."
    assert cut("short", 12) == "short"


def test_names_that_begin_alike_can_be_told_apart_when_they_are_cut() -> None:
    names = ["shakespeare_char_best", "shakespeare_char_cpu", "shakespeare_char_fast"]
    assert [cut_within(name, 16) for name in names] == [
        "shakes...ar_best",
        "shakes...har_cpu",
        "shakes...ar_fast",
    ]
    assert cut_within("tiny", 16) == "tiny"


@given(st.text(st.sampled_from("ab\u5b57\u00e9")), st.integers(0, 20))
def test_a_name_that_is_cut_is_never_wider_than_its_room(name: str, width: int) -> None:
    assert cell_len(cut(name, width)) <= width
    assert cell_len(cut_within(name, width)) <= width


# --- a slow line


def unpainted(screen: RunScreen) -> list[str | None]:
    """The panes of which the terminal has not been sent all that belongs there."""
    shown = (pane for pane in screen.panes if pane.display)
    return [pane.id for pane in shown if list(pane._painted) != list(pane.visible_rows())]


async def test_a_slow_line_gets_the_screen_in_parts_and_its_end_at_once(tmp_path: Path) -> None:
    async with stage(tmp_path, training(20)) as scene:
        # Given a terminal that takes four hundred bytes a tick
        driver = cast(Any, scene.app._driver)
        driver.line = SimpleNamespace(share=400)

        # When much has happened, then only a part of it is drawn
        steps = training()[-100:]
        await scene.fold(*steps, seconds=4)
        assert unpainted(scene.screen)

        # And with some ticks more all is, while nothing else happens
        ticks = 0
        while unpainted(scene.screen) and ticks < 60:
            ticks += 1
            await scene.fold(seconds=0.5)
        assert 3 < ticks < 60

        # When the run ends, then all is drawn at once
        await scene.fold(*DONE[-150:], seconds=0.1)
        assert not unpainted(scene.screen)
        assert not any(pane.unpainted for pane in scene.screen.panes)
        assert "train 2.0" in scene.chart()
