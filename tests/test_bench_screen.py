"""The bench on screen: the real program on a small model, and pictures of figures that are given.

`python -m pytest tests/test_bench_screen.py --snapshot-update` accepts what the pictures look like.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from gpt import console, presets
from gpt.config import Config
from gpt.control import Control
from gpt.corpus import Corpus
from gpt.errors import Refused
from gpt.events import Event, Finished, Notice, Phase, Progress, Started, to_json
from gpt.figures import Figures, as_dict, from_dict
from gpt.runs import Run
from gpt.settings import make_config
from gpt.steps import PARTS
from tests.test_layers import modules_after
from tui import cost, messages
from tui.app import Nanodeck, Options
from tui.bench import BenchScreen, Fitted
from tui.measuring import Measuring
from tui.still import Still

SIZES = [(80, 24), (140, 45)]
Compare = Callable[..., bool]
SMALL: dict[str, str] = {
    "batch_size": "4", "block_size": "32", "n_layer": "1", "n_head": "2", "n_embd": "32",
    "eval_iters": "3", "device": "cpu", "threads": "1",
}  # fmt: skip
FIGURES = Figures(
    device="cpu", dtype="float32", threads=2, compiled=False, params=803_072, tokens_per_iter=768,
    steps=242, warm_up_steps=26,
    parts_ms={"batch": 0.31, "forward": 13.25, "backward": 20.75, "clip": 1.04, "optimizer": 2.12},
    timed_ms=38.4, step_ms=37.5, eval_ms=512.3, eval_interval=250, log_ms=0.051, log_interval=1,
    tokens_per_s=20_480.0, tokens_per_s_overall=19_394.2, flops_per_s=101.3e9, peak_flops=164.4e9,
    memory=412_000_000,
)  # fmt: skip
BRIEF = (
    "from gpt import bench, steps; steps.WARM_UP_SECONDS = bench.EVAL_SECONDS = 0.05; "
    "steps.SECONDS = {seconds}; steps.MOST_ROUNDS = 10**9; raise SystemExit(bench.main())"
)
"""The real program, over sooner or later."""
TELLER = "import sys; sys.stdin.readline(); print({text!r}, flush=True); {then}"
"""A program that says what it is given."""


@pytest.fixture(autouse=True)
def _a_machine_that_never_changes(plain_terminal: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.preflight.PROGRAM", ())
    monkeypatch.setattr("tui.setup.SetupScreen.resume_measuring", lambda self: None)


def run_program(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Have the screen start this in place of `gpt.bench`."""
    monkeypatch.setattr("tui.measuring.PROGRAM", (sys.executable, "-P", "-c", code))


def tell(monkeypatch: pytest.MonkeyPatch, *lines: str, then: str = "") -> None:
    """Have it start a program that says these lines, then does something."""
    run_program(monkeypatch, TELLER.format(text="\n".join(lines), then=then or "pass"))


def figures_line(figures: Figures = FIGURES) -> str:
    return json.dumps({"figures": as_dict(figures)})


def half_way() -> list[str]:
    """What the program has said while it measures."""
    return [
        to_json(event)
        for event in (
            Phase(name="preparing"),
            Notice(level="warning", text="float16 needs a CUDA device; on cpu this run is float32"),
            Phase(name="training"),
            Progress(phase="training", done=6.2, total=10.0, unit="s"),
        )
    ]


async def until(pilot: Pilot[Any], condition: Callable[[], object]) -> None:
    for _ in range(3000):
        if condition():
            await pilot.pause()
            return
        await pilot.pause(0.02)
    raise AssertionError("it did not happen")


async def opened(
    pilot: Pilot[Any], name: str = "tiny", config: Config | None = None
) -> BenchScreen:
    """The bench of a configuration, on top."""
    screen = BenchScreen(config or make_config(presets.find("tiny").values), name, lambda: 100.0)
    pilot.app.push_screen(screen)
    await until(pilot, lambda: screen.is_mounted)
    return screen


async def measured(pilot: Pilot[Any], **how: Any) -> BenchScreen:
    screen = await opened(pilot, **how)
    await until(pilot, lambda: screen._measuring and not screen.under_way)
    return screen


def process_of(screen: BenchScreen) -> asyncio.subprocess.Process:
    assert screen._measuring
    assert screen._measuring._process
    return screen._measuring._process


def words(screen: BenchScreen) -> str:
    """All that can be read on it."""
    told = [str(part.content) for part in screen.query(Still) if part.display]
    return "\n".join([*told, *(str(part.render()) for part in screen.query(Fitted))])


def app_on_form(*, train: Any = None, **options: Any) -> Nanodeck:
    more = {} if train is None else {"train": train}
    return Nanodeck(Options(preset="tiny", **options), **more)


# --- pictures


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_bench_while_it_measures(
    snap_compare: Compare, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(monkeypatch, *half_way(), then="sys.stdin.read()")

    async def show(pilot: Pilot[Any]) -> None:
        screen = await opened(pilot)
        await until(pilot, lambda: screen._course.progress)
        screen._draw_course()
        await pilot.pause()

    assert snap_compare(app_on_form(), terminal_size=size, run_before=show)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_bench_with_its_figures(
    snap_compare: Compare, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(monkeypatch, figures_line())
    app = app_on_form()
    assert snap_compare(app, terminal_size=size, run_before=measured)


async def test_all_is_shown_after_a_change_of_size(monkeypatch: pytest.MonkeyPatch) -> None:
    tell(monkeypatch, figures_line())
    async with app_on_form().run_test(size=(80, 24)) as pilot:
        screen = await measured(pilot)
        for size in ((140, 30), (84, 24), (125, 40)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            for part in screen.query(Fitted):
                width, height = part.content_size
                assert height >= part.render().get_height({}, width), (size, part)


# --- the real thing


@pytest.mark.slow
async def test_b_on_the_form_measures_what_the_form_says(
    monkeypatch: pytest.MonkeyPatch, shakespeare: Corpus
) -> None:
    # Given the form, with settings of its own
    run_program(monkeypatch, BRIEF.format(seconds=0.3))
    app = app_on_form(values=SMALL)
    async with app.run_test(size=(80, 24)) as pilot:
        await app._setup.ready.wait()
        # When
        await pilot.press("b")
        await until(pilot, lambda: isinstance(app.screen, BenchScreen))
        screen = app.screen
        assert isinstance(screen, BenchScreen)
        await until(pilot, lambda: screen._measuring and not screen.under_way)

        # Then these were measured, in every phase
        figures = screen.figures
        assert figures, words(screen)
        assert figures.tokens_per_iter == 4 * 32
        assert figures.threads == 1
        assert [phase for phase, _ in screen._course.begun[1:]] == [
            "preparing",
            "training",
            "evaluating",
        ]
        told = words(screen)
        assert all(name in told for name in (*PARTS, "rest", "tokens/s", "GFLOP/s", "peak share"))
        assert f"{figures.memory / 1e6:.0f} MB" in told

        # And escape leads back to the form
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app._setup)
        assert not list(Path("runs").glob("*"))


@pytest.mark.slow
async def test_escape_ends_it_at_once(monkeypatch: pytest.MonkeyPatch, shakespeare: Corpus) -> None:
    # Given a measurement that would take an hour
    run_program(monkeypatch, BRIEF.format(seconds=3600))
    app = app_on_form(values=SMALL)
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await until(pilot, lambda: screen._course.progress)
        process = process_of(screen)
        assert process.returncode is None
        # When
        await pilot.press("escape")
        await until(pilot, lambda: process.returncode is not None)
    # Then it has ended by itself, having heard
    assert process.returncode == 1


async def test_quitting_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    tell(monkeypatch, *half_way(), then="sys.stdin.read(); sys.exit(5)")
    app = app_on_form()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await until(pilot, lambda: screen._course.progress)
        process = process_of(screen)
        await pilot.press("q")
    assert process.returncode == 5
    assert app.exit_code == 0


async def test_a_program_that_does_not_hear_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.measuring.CLOSING_SECONDS", 0.1)
    tell(monkeypatch, *half_way(), then="import time; time.sleep(3600)")
    app = app_on_form()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await until(pilot, lambda: screen._course.progress)
        process = process_of(screen)
        await pilot.press("escape")
        await until(pilot, lambda: process.returncode)
    assert process.returncode == -9 or sys.platform == "win32"


@pytest.mark.slow
async def test_the_program_ends_with_its_input_where_it_does_not_poll() -> None:
    # Given a program that is busy with something
    code = (
        "import time; from gpt import bench; bench.END_SECONDS = 0.1; "
        "bench.answer = lambda *_: time.sleep(3600); bench.main()"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdin=asyncio.subprocess.PIPE, cwd=Path(__file__).parent.parent
    )
    assert process.stdin
    process.stdin.write(b"{}\n")
    # When
    process.stdin.close()
    # Then
    assert await asyncio.wait_for(process.wait(), 60) == 1


@pytest.mark.slow
async def test_what_cannot_be_measured_is_told_in_words(shakespeare: Corpus) -> None:
    # Given a model that no memory here can hold
    config = make_config({
        **presets.find("tiny").values, "n_layer": 900, "n_head": 2, "n_embd": 16384,
    })  # fmt: skip
    app = app_on_form()
    async with app.run_test(size=(80, 24)) as pilot:
        screen = await measured(pilot, config=config)
        assert screen.figures is None
        assert "there is not enough memory for n_layer = 900" in words(screen)


# --- one at a time


class Endless:
    """A run that goes on until it is stopped."""

    def __call__(self, config: Config, run: Run | None, control: Control | None) -> Iterator[Event]:
        yield Phase(name="training")
        yield Started(
            max_iters=9, params=1, tokens_per_iter=4, device="cpu", dtype="float32", threads=1
        )
        while control and not control.stopping:
            control.wait(0.01)
        yield Finished(reason="stopped")


async def test_it_is_refused_while_a_run_is_under_way() -> None:
    app = app_on_form(train=Endless(), values=SMALL)
    async with app.run_test(size=(80, 24)) as pilot:
        await app._setup.ready.wait()
        # Given
        app.post_message(messages.Train(Config(), "tiny"))
        await until(pilot, lambda: app.training)
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is app._setup)
        # When
        await pilot.press("b")
        await until(pilot, lambda: list(app._notifications))
        # Then
        told = [notification.message for notification in app._notifications]
        assert any("a measurement needs the machine for itself" in each for each in told), told
        assert not isinstance(app.screen, BenchScreen)


async def test_a_run_that_begins_ends_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given
    tell(monkeypatch, *half_way(), then="sys.stdin.read()")
    app = app_on_form(train=Endless())
    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(messages.Bench(Config(), "tiny"))
        await until(pilot, lambda: isinstance(app.screen, BenchScreen))
        screen = app.screen
        assert isinstance(screen, BenchScreen)
        await until(pilot, lambda: screen._course.progress)
        # When
        app.post_message(messages.Train(Config(), "tiny"))
        # Then
        await until(pilot, lambda: not screen.under_way)
        assert "Stopped, since a run began" in words(screen)
        assert app.training


# --- what is said


async def test_the_figures_are_those_that_the_command_prints(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tell(monkeypatch, figures_line())
    async with app_on_form().run_test(size=(80, 24)) as pilot:
        shown = re.findall(r"\d[\d,.]*\d|\d", words(await measured(pilot)))
    printed = re.findall(r"\d[\d,.]*\d|\d", "\n".join(console.table("", FIGURES)))
    # All but the shares of the whole, which is 100 %, and of all parts
    assert set(printed) - set(shown) == {"100.0", "97.6"}


async def test_with_the_figures_only_warnings_are_still_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fetching = to_json(Notice(level="info", text="fetching a text from afar"))
    tell(monkeypatch, fetching, *half_way(), then="sys.stdin.read()")
    async with app_on_form().run_test(size=(80, 24)) as pilot:
        screen = await opened(pilot)
        await until(pilot, lambda: screen._course.progress)
        assert "fetching a text" in words(screen)
        screen.stop()
        await until(pilot, lambda: not screen.under_way)

        tell(monkeypatch, fetching, *half_way(), figures_line())
        await pilot.press("a")
        await until(pilot, lambda: screen.figures)

        assert "float16 needs a CUDA device" in words(screen)
        assert "fetching a text" not in words(screen)


@pytest.mark.parametrize(
    ("lines", "then", "told"),
    [
        ([json.dumps({"error": "dataset: x\x1b[2J[/] is missing"})], "", "x␛[2J[/] is missing"),
        ([*half_way(), "not JSON"], "sys.exit(3)", "ended with exit code 3, without figures"),
        ([json.dumps({"figures": {"device": "cpu"}})], "", "exit code 0, without figures"),
    ],
)
async def test_trouble_is_told_in_words(
    lines: list[str], then: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(monkeypatch, *lines, then=then)
    async with app_on_form().run_test(size=(80, 24)) as pilot:
        screen = await measured(pilot, name="a\x1b]0;name[/]")
        assert told in words(screen)
        assert "a␛]0;name[/]" in words(screen)
        assert screen.figures is None

        # And it can be tried again
        tell(monkeypatch, figures_line())
        await pilot.press("a")
        await until(pilot, lambda: screen.figures)
        assert told not in words(screen)


async def test_a_program_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.measuring.PROGRAM", ("/nowhere/python",))
    with pytest.raises(Refused, match="does not work: No such file"):
        async for _ in Measuring(Config()).told():
            pass


@pytest.mark.parametrize(
    ("environment", "size"),
    [({"NO_COLOR": "1"}, (80, 24)), ({"TERM": "linux"}, (140, 45)), ({}, (20, 6))],
)
async def test_it_suits_any_terminal(
    environment: dict[str, str], size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    tell(monkeypatch, figures_line())
    async with app_on_form(ascii=True).run_test(size=size) as pilot:
        screen = await measured(pilot)
        assert "==" in words(screen) or size[0] < 40
        assert words(screen).isascii()


async def test_the_table_is_copied_as_the_command_prints_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(monkeypatch, figures_line())
    (tmp_path / "STATE").mkdir()
    monkeypatch.setattr("tui.clipboard.copy", lambda text: None)
    app = app_on_form()
    async with app.run_test(size=(80, 24)) as pilot:
        await measured(pilot)
        await pilot.press("y")
        await until(pilot, lambda: list(app._notifications))
    copied = (tmp_path / "STATE" / "copied-bench.txt").read_text("utf-8")
    assert copied.splitlines() == console.table("tiny", FIGURES)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "a step would take 23.11 ms instead of 37.50: arithmetic is the greater part of it."),
        (
            {"peak_flops": 1e12},
            "would take 3.80 ms instead of 37.50: arithmetic is the lesser part",
        ),
        ({}, "The backward pass takes 54.0 % of a step, the forward pass 34.5 %."),
        ({"parts_ms": dict.fromkeys(PARTS, 10.0), "timed_ms": 50.0}, "clipping takes 40.0 %"),
        ({}, "Evaluations and logging take 5.3 % of the run."),
    ],
)
def test_what_limits_a_run_is_said(changes: dict[str, Any], said: str) -> None:
    assert said in " ".join(cost.findings(dataclasses.replace(FIGURES, **changes)))


def test_what_the_figures_do_not_say_is_not_said() -> None:
    figures = dataclasses.replace(FIGURES, peak_flops=None, tokens_per_s_overall=20_400.0)
    told = " ".join(cost.findings(figures))
    assert not any(word in told for word in ("arithmetic", "optimizer", "Evaluations"))
    assert "the peak in float32 is not known" in str(cost.rates(figures, 70, "=-"))
    figures = dataclasses.replace(FIGURES, eval_interval=0)
    assert "512.3 ms, at the end" in " ".join(str(cost.rates(figures, 70, "=-")).split())


def test_figures_come_back_as_they_went() -> None:
    assert from_dict(json.loads(json.dumps(as_dict(FIGURES)))) == FIGURES


def test_the_screen_needs_no_torch() -> None:
    root = str(Path(__file__).parent.parent)
    assert "torch" not in modules_after(f"import sys; sys.path.append({root!r}); import tui.bench")
