"""Training: nanoGPT's numbers, the order of events, and what a person may ask meanwhile."""

import csv
import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import gpt
from gpt import checkpoint, estimate, evaluate, presets, stopwatch
from gpt.config import Config
from gpt.control import Control
from gpt.corpus import Corpus
from gpt.data import Batches
from gpt.events import Eval, Event, Finished, Notice, Phase, Progress, Sample, Saved, Started, Step
from gpt.runs import Run, follow
from gpt.settings import ConfigError, make_config

GOLDEN = Path(__file__).parent / "golden"
SMALL: dict[str, Any] = {
    "dataset": "shakespeare_char", "device": "cpu", "batch_size": 4, "block_size": 16,
    "gradient_accumulation_steps": 2, "n_layer": 2, "n_head": 2, "n_embd": 32, "dropout": 0.1,
    "max_iters": 6, "lr_decay_iters": 6, "warmup_iters": 2, "eval_interval": 3, "eval_iters": 2,
    "max_new_tokens": 8, "learning_rate": 1e-3, "checkpoint_minutes": 0.0, "threads": 1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _prepared(shakespeare: Corpus) -> None:
    """Every test here trains on the real corpus."""


def small(**changes: Any) -> Config:
    return make_config(SMALL | changes)


def losses(events: list[Event]) -> list[float]:
    return [event.loss for event in events if isinstance(event, Step) and event.loss is not None]


def evals(events: list[Event]) -> list[Eval]:
    return [event for event in events if isinstance(event, Eval)]


def asking(events: Iterator[Event], at: type[Event], ask: Any) -> list[Event]:
    """All events; `ask` is called once, when the first event of that type is seen."""
    seen: list[Event] = []
    asked = False
    for event in events:
        seen.append(event)
        if isinstance(event, at) and not asked:
            asked = True
            ask()
    return seen


def reference_figures(steps: int) -> tuple[list[float], dict[int, tuple[float, float]]]:
    iters: list[float] = []
    evaluations: dict[int, tuple[float, float]] = {}
    with (presets.SHIPPED / "shakespeare_char_cpu.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["kind"] == "iter" and int(row["step"]) < steps:
                iters.append(float(row["train_loss"]))
            elif row["kind"] == "eval" and int(row["step"]) <= steps:
                losses = (float(row["train_loss"]), float(row["val_loss"]))
                evaluations[int(row["step"])] = losses
    return iters, evaluations


def run_reference(steps: int) -> list[Event]:
    values = dict(presets.find("shakespeare_char_cpu").values)
    values |= {"device": "cpu", "max_iters": steps, "sample_interval": -1}
    return list(gpt.train(make_config(values)))


def test_the_reference_preset_starts_with_nanogpts_numbers() -> None:
    """Change the model, the draws or the optimizer, and this tells; nothing but a fault in the
    golden figures makes it right to change the numbers."""
    iters, evaluations = reference_figures(steps=30)
    events = run_reference(steps=30)
    assert losses(events) == pytest.approx(iters, abs=2e-4)
    first = evals(events)[0]
    assert (first.train, first.val) == pytest.approx(evaluations[0], abs=1e-4)


@pytest.mark.slow
def test_the_whole_reference_run_ends_with_nanogpts_numbers() -> None:
    iters, evaluations = reference_figures(steps=2000)
    events = run_reference(steps=2000)
    assert losses(events)[:100] == pytest.approx(iters[:100], abs=0.002)
    assert [event.step for event in evals(events)] == list(evaluations)
    assert evals(events)[-1].val == pytest.approx(evaluations[2000][1], abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_other_settings_give_nanogpts_numbers_as_well(path: Path) -> None:
    golden = json.loads(path.read_text("utf-8"))
    # Samples on, to see that they leave training's random numbers alone.
    config = make_config(golden["settings"] | {"max_new_tokens": 5})
    events = list(gpt.train(config))
    assert losses(events) == pytest.approx(golden["losses"], abs=5e-4)
    measured = [(event.step, event.train, event.val) for event in evals(events)]
    for ours, theirs in zip(measured, golden["evals"], strict=False):
        assert ours == pytest.approx(theirs, abs=5e-4)


def test_a_run_tells_what_happens_in_order(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    events = list(gpt.train(small(), run))
    told = [
        event.name if isinstance(event, Phase) else type(event).__name__.lower()
        for event in events
        if not isinstance(event, Sample)
    ]
    assert told == [
        "preparing", "started",
        "evaluating", "eval", "sampling", "training", "step", "step", "step",
        "evaluating", "eval", "saving", "saved", "sampling", "training", "step", "step", "step",
        "evaluating", "eval", "saving", "saved", "sampling", "finished",
    ]  # fmt: skip
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "done"
    assert list(follow(run)) == events
    assert run.config() == small()
    assert checkpoint.find(run)[0].name == "step-000006"


def test_without_a_run_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    events = list(gpt.train(small()))
    assert not any(isinstance(event, Saved) for event in events)
    assert list(tmp_path.iterdir()) == []


def test_samples_come_at_evaluations_and_early_unless_said_otherwise() -> None:
    def steps(**changes: Any) -> list[int | None]:
        config = small(max_iters=60, eval_interval=20, eval_iters=1, max_new_tokens=1, **changes)
        done = [e for e in gpt.train(config) if isinstance(e, Sample) and e.done]
        return [sample.step for sample in done]

    assert steps() == [0, 20, 40, 50, 60]
    assert steps(sample_interval=25) == [0, 25, 50]
    assert steps(sample_interval=-1) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"sample_interval": -1},
        {"sample_interval": 1, "temperature": 0.0},
        {"checkpoint_minutes": 1e-9},
        {"log_interval": 1, "compile": False},
    ],
)
def test_what_only_looks_leaves_the_numbers_alone(changes: dict[str, Any], tmp_path: Path) -> None:
    plain = losses(list(gpt.train(small())))
    assert losses(list(gpt.train(small(**changes), Run(tmp_path / "run")))) == plain


def test_asking_for_things_leaves_the_numbers_alone(tmp_path: Path) -> None:
    plain = list(gpt.train(small()))
    control = Control()

    def ask() -> None:
        control.ask("evaluate")
        control.ask("sample")
        control.ask("save")

    events = asking(gpt.train(small(), Run(tmp_path / "run"), control), Step, ask)
    assert losses(events) == losses(plain)
    scheduled = [event for event in evals(events) if event.step != 1]
    assert [e.val for e in scheduled] == [e.val for e in evals(plain)]
    assert len(evals(events)) == len(evals(plain)) + 1
    assert [event.step for event in events if isinstance(event, Saved)] == [1, 3, 6]


@pytest.mark.slow
def test_a_skipped_evaluation_leaves_the_numbers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a run whose evaluations report their progress however quick they are, when a person
    # skips the first one there, the rest is not measured but training goes on as before.
    monkeypatch.setattr(evaluate, "PROGRESS_SECONDS", 0.0)
    config = small(eval_iters=300, max_iters=2, eval_interval=100, sample_interval=-1)
    plain = list(gpt.train(config))
    control = Control()
    events = asking(gpt.train(config, control=control), Progress, control.skip)
    assert [event.step for event in evals(events)] == [2]
    assert [event.text for event in events if isinstance(event, Notice)] == ["evaluation skipped"]
    assert losses(events) == losses(plain)
    assert evals(events)[-1].val == evals(plain)[-1].val


def test_exact_evaluation_covers_every_target_and_draws_nothing() -> None:
    estimated = list(gpt.train(small(eval_iters=200, max_iters=0)))
    exact = list(gpt.train(small(eval_iters=0, max_iters=0)))
    again = list(gpt.train(small(eval_iters=0, max_iters=0)))
    assert evals(exact)[0].val == evals(again)[0].val
    assert evals(exact)[0].val_se is None
    estimate = evals(estimated)[0]
    assert estimate.val is not None
    assert estimate.val_se is not None
    assert evals(exact)[0].val == pytest.approx(estimate.val, abs=5 * estimate.val_se + 1e-3)


@pytest.mark.slow
def test_a_run_can_evaluate_at_its_end_alone() -> None:
    # given a run that draws nothing to evaluate
    exact = {"eval_iters": 0, "sample_interval": -1}
    plain = list(gpt.train(small(**exact)))

    # when
    events = list(gpt.train(small(**exact, eval_interval=0)))
    looked = list(gpt.train(small(**exact, eval_interval=0, eval_only=True)))

    # then
    assert [event.step for event in evals(events)] == [6]
    assert losses(events) == losses(plain)
    assert evals(events)[-1].val == evals(plain)[-1].val
    assert [event.val for event in evals(looked)] == [evals(plain)[0].val]


def test_eval_only_evaluates_once_and_saves_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    events = list(gpt.train(small(eval_only=True), run))
    assert len(evals(events)) == 1
    assert losses(events) == []
    assert not run.checkpoints.exists()


@pytest.mark.parametrize("at", [Started, Eval, Step, Sample])
def test_stopping_saves_the_last_boundary(tmp_path: Path, at: type[Event]) -> None:
    run, control = Run(tmp_path / "run"), Control()
    events = asking(gpt.train(small(max_iters=100), run, control), at, control.stop)
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.reason == "stopped"
    saved = checkpoint.load(checkpoint.find(run, "last")[0])
    assert saved.state["step"] == finished.step
    assert list(follow(run)) == events
    assert not run.is_live()


def test_stopping_while_preparing_leaves_nothing(tmp_path: Path) -> None:
    run, control = Run(tmp_path / "run"), Control()
    events = asking(gpt.train(small(), run, control), Phase, control.stop)
    assert [type(event) for event in events] == [Phase, Finished]
    assert not run.path.exists()


def test_closing_the_iterator_journals_the_run_as_stopped(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    events = gpt.train(small(), run)
    while not isinstance(next(events), Step):
        pass
    events.close()  # pyright: ignore[reportAttributeAccessIssue]
    last = list(follow(run))[-1]
    assert isinstance(last, Finished)
    assert last.reason == "stopped"
    assert not run.is_live()


def test_a_run_that_is_done_stays_done_when_its_iterator_is_closed(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    for event in gpt.train(small(), run):
        if isinstance(event, Finished):
            break
    del event
    ends = [event.reason for event in follow(run) if isinstance(event, Finished)]
    assert ends == ["done"]


def test_a_clock_that_sees_no_time_pass_ends_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    # given: the leaps of a coarse clock, in which many steps fit
    monkeypatch.setattr(stopwatch.awake, "_clock", lambda: math.floor(time.monotonic()))

    # when
    events = list(gpt.train(small()))

    # then
    assert [event.reason for event in events if isinstance(event, Finished)] == ["done"]


@pytest.mark.slow
def test_all_cores_are_taken_again_after_a_run_with_fewer() -> None:
    # given: a run in this very process that asked for one thread
    list(gpt.train(small(threads=1, max_iters=1)))

    # when: the next asks for all
    threads = [
        e.threads for e in gpt.train(small(threads=0, max_iters=1)) if isinstance(e, Started)
    ]

    # then
    alone = "import torch; print(torch.get_num_threads())"
    expected = subprocess.run([sys.executable, "-c", alone], capture_output=True, check=True)
    assert threads == [int(expected.stdout)]


def test_a_schedule_changes_sizes_between_steps_and_counts_right() -> None:
    # given three micro-batches a step, and a batch size that changes at half of the run
    values = {"gradient_accumulation_steps": 3, "batch_size": 2, "batch_schedule": "0.5:8"}
    sizes: list[tuple[int, int]] = []
    advance = Batches.advance

    def noted(batches: Batches) -> None:
        sizes.append(tuple(batches.current[0].shape))
        advance(batches)

    # when
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Batches, "advance", noted)
        events = list(gpt.train(small(**values, max_iters=4, lr_decay_iters=4)))

    # then each step has one size, and its tokens are counted
    assert sizes == [(8, 16)] * 6 + [(2, 16)] * 6
    tokens = [event.tokens for event in events if isinstance(event, Step)]
    assert tokens == [3 * 8 * 16, 6 * 8 * 16, 6 * 8 * 16 + 3 * 2 * 16, 6 * 8 * 16 + 6 * 2 * 16]


def test_the_work_of_a_short_context_is_that_of_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a processor of which the peak is known, and a context that grows at half of the run
    monkeypatch.setattr(gpt.train, "peak_flops", lambda _: 1e12)
    config = small(block_schedule="0.5:4", positions="rotary")

    # when
    steps = [event for event in gpt.train(config) if isinstance(event, Step)]

    # then the work that is counted per token is that of the context it had
    work = [(event.mfu or 0.0) * 1e12 / event.tokens_per_s for event in steps]
    short, long = (estimate.flops_per_token(config, 65, size) for size in (4, 16))
    expected = [short] * 3 + [long] * 3
    assert work == pytest.approx(expected)


def test_a_run_with_a_time_budget_shows_what_it_writes_at_its_end() -> None:
    events = list(gpt.train(small(time_budget=0.5, max_iters=3, eval_interval=0)))
    (end,) = [event.step for event in events if isinstance(event, Finished)]
    samples = {event.step for event in events if isinstance(event, Sample)}
    assert end in samples
    assert samples <= {0, 50, 100, end}


def test_a_paused_run_waits_and_goes_on_as_before() -> None:
    plain = losses(list(gpt.train(small())))
    control = Control()
    events: list[Event] = []
    for event in gpt.train(small(), control=control):
        events.append(event)
        if isinstance(event, Step) and event.step == 2:
            control.pause()
        if isinstance(event, Phase) and event.name == "paused":
            control.go_on()
    assert [e.name for e in events if isinstance(e, Phase)].count("paused") == 1
    assert losses(events) == plain


def test_a_loss_that_is_not_a_number_ends_the_run_without_saving_it(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    config = small(
        learning_rate=10.0, weight_decay=100.0, decay_lr=False, grad_clip=0.0, max_iters=500,
        n_layer=4, eval_interval=2, always_save_checkpoint=True,
    )  # fmt: skip
    events = list(gpt.train(config, run))
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert finished.reason == "diverged"
    assert finished.error is not None
    assert "learning rate" in finished.error
    parameters = checkpoint.load(checkpoint.find(run)[0]).model.values()
    assert all(bool(torch.isfinite(tensor).all()) for tensor in parameters)


def test_weights_that_are_not_numbers_are_never_saved_between_logged_steps(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    config = small(
        learning_rate=10.0, weight_decay=100.0, decay_lr=False, grad_clip=0.0, max_iters=500,
        n_layer=4, eval_interval=1000, log_interval=1000, checkpoint_minutes=1e-9,
    )  # fmt: skip
    finished = list(gpt.train(config, run))[-1]
    assert isinstance(finished, Finished)
    assert finished.reason == "diverged"
    parameters = checkpoint.load(checkpoint.find(run, "last")[0]).model.values()
    assert all(bool(torch.isfinite(tensor).all()) for tensor in parameters)


def test_a_fault_ends_in_words_with_the_traceback_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path / "run")

    def break_down(*_: object) -> float:
        raise RuntimeError("the flux capacitor is empty")

    monkeypatch.setattr("gpt.loop.lr_at", break_down)
    finished = list(gpt.train(small(), run))[-1]
    assert isinstance(finished, Finished)
    assert finished.reason == "failed"
    assert finished.error == "RuntimeError: the flux capacitor is empty"
    assert "Traceback" in run.log.read_text("utf-8")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dataset": "shakespear_char"}, "shakespeare_char"),
        ({"block_size": 500_000}, "Allowed: up to"),
        ({"device": "cuda:9"}, "Allowed: auto or cpu"),
        ({"n_layer": 1000, "n_embd": 32768}, "GB are free"),
        ({"start": "naïve ☃"}, "☃"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    run = Run(tmp_path / "run")
    with pytest.raises(ValueError, match=words):
        list(gpt.train(small(**changes), run))
    assert not run.path.exists()


def test_bfloat16_works_on_a_cpu_and_float16_becomes_float32() -> None:
    started = {}
    for dtype in ("bfloat16", "float16", "auto"):
        events = list(gpt.train(small(dtype=dtype, sample_interval=-1)))
        started[dtype] = next(e.dtype for e in events if isinstance(e, Started))
        assert all(math.isfinite(loss) for loss in losses(events))
    assert started == {"bfloat16": "bfloat16", "float16": "float32", "auto": "float32"}


def test_compile_that_cannot_run_is_off_and_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", "no-such-compiler")
    events = list(gpt.train(small(compile=True)))
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert any("compile is off" in text and "no-such-compiler" in text for text in notices)
    assert losses(events) == losses(list(gpt.train(small())))


@pytest.mark.slow
def test_compiling_gives_the_same_numbers(tmp_path: Path) -> None:
    plain = losses(list(gpt.train(small(dropout=0.0))))
    events = list(gpt.train(small(dropout=0.0, compile=True)))
    assert "compiling" in [event.name for event in events if isinstance(event, Phase)]
    assert losses(events) == pytest.approx(plain, abs=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
def test_a_gpu_learns_as_well() -> None:
    events = list(gpt.train(small(device="cuda", max_iters=50, lr_decay_iters=50)))
    assert losses(events)[-1] < losses(events)[0]


def test_bad_settings_never_reach_training() -> None:
    with pytest.raises(ConfigError):
        small(n_head=3)
