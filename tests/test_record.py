"""The record: a fold over events, bounded, and the run as it stood at any step."""

import dataclasses
from itertools import pairwise

import pytest

from gpt import record as record_module
from gpt.events import (
    Eval,
    Event,
    Finished,
    Notice,
    Phase,
    Progress,
    Sample,
    Saved,
    Started,
    Step,
)
from gpt.record import Curve, Record


def step_event(step: int, loss: float | None = 2.0, seconds: float | None = None) -> Step:
    return Step(
        time=100.0 + step, step=step, loss=loss, lr=1e-3, grad_norm=0.5, ms=10.0,
        tokens_per_s=7e4, mfu=None, tokens=step * 768,
        seconds=step * 0.01 if seconds is None else seconds, memory=1,
    )  # fmt: skip


def folded(*events: Event) -> Record:
    record = Record()
    for event in events:
        record.fold(event)
    return record


STARTED = Started(
    time=100.0, step=0, max_iters=1000, params=1, tokens_per_iter=768, device="cpu",
    dtype="float32", threads=2,
)  # fmt: skip


def test_a_run_is_told_from_its_events() -> None:
    record = folded(
        Phase(time=99.0, name="preparing"),
        STARTED,
        Phase(time=100.0, name="evaluating"),
        Progress(time=100.5, phase="evaluating", done=3, total=40, unit="batches"),
        Eval(time=101.0, step=0, train=4.2, val=4.1, best=True),
        Phase(time=101.0, name="training"),
        step_event(0, 4.2),
        step_event(1, 4.0),
        Saved(time=103.0, step=2, path="checkpoints/step-000002", kind="last"),
        Notice(time=103.0, level="warning", text="watch out"),
    )
    assert record.phase == "training"
    assert record.progress is None
    assert record.step == 2
    assert list(record.curve["loss"]) == [4.2, 4.0]
    assert record.best is record.evals[0]
    assert [text for _, text in record.log] == [
        "0.00M parameters, 768 tokens per iteration, cpu, float32",
        "step 0: train loss 4.2000, val loss 4.1000",
        "iter 0: loss 4.2000, time 10.00ms, mfu -100.00%",
        "iter 1: loss 4.0000, time 10.00ms, mfu -100.00%",
        "saving checkpoint to checkpoints/step-000002",
        "warning: watch out",
    ]


def test_best_is_what_the_run_said_was_best() -> None:
    record = folded(
        Eval(step=0, train=4.0, val=4.0, best=True),
        Eval(step=10, train=3.0, val=3.0, best=True),
        Eval(step=20, train=2.0, val=3.5),
        Eval(step=25, train=2.0, val=2.9),  # asked for in between: it decides nothing
    )
    assert record.best is record.evals[1]


def test_a_sample_is_put_together_from_its_pieces() -> None:
    record = folded(
        Sample(step=5, prompt="\n", seed=1, text="To "),
        Sample(step=5, prompt="\n", seed=1, text="be", done=True),
        Sample(step=10, prompt="\n", seed=2, text="or"),
    )
    assert [(w.step, w.text, w.done) for w in record.samples] == [
        (5, "To be", True),
        (10, "or", False),
    ]


def test_time_left_follows_the_pace_so_far() -> None:
    # Given 100 steps in 10 s after a slow start, then 900 of 1,000 steps take 90 s more.
    record = folded(STARTED, step_event(0, seconds=30.0), step_event(100, seconds=40.0))
    assert record.seconds_left == pytest.approx(90.0)
    record.fold(Finished(time=1.0, reason="stopped"))
    assert record.seconds_left == 0.0


def test_with_a_time_budget_the_end_is_foretold_from_the_pace() -> None:
    started = dataclasses.replace(STARTED, max_iters=0, time_budget=60.0)
    record = folded(started)
    assert (record.max_iters, record.seconds_left) == (0, None)

    for step in (0, 10, 20):
        record.fold(step_event(step, seconds=0.5 * step))
    assert (record.max_iters, record.seconds_left) == (120, 50.0)

    record.fold(Finished(time=200.0, step=118, reason="done"))
    assert record.max_iters == 118


def test_a_long_curve_is_bounded_and_has_all_of_the_run_alike() -> None:
    # Given
    curve = Curve(capacity=100)
    for step in range(10_000):
        curve.append(step_event(step, loss=float(step)))
    # Then
    steps = list(curve["step"])
    assert 50 <= len(steps) <= 100
    assert steps[-1] == 9999
    assert max(after - before for before, after in pairwise([0.0, *steps])) <= 256
    # And each value is one that was logged
    assert list(curve["loss"]) == steps


@pytest.mark.parametrize("spike", [9.0, 0.0])
@pytest.mark.parametrize("place", [0, 1234, 5000, 9999])
def test_a_spike_stays_visible_however_long_the_run(place: int, spike: float) -> None:
    curve = Curve(capacity=100)
    for step in range(10_000):
        curve.append(step_event(step, loss=spike if step == place else 2.0))
    xs, ys = curve.spread("step", "loss")
    assert list(xs) == sorted(xs)
    assert abs(xs[list(ys).index(spike)] - place) <= 256
    assert set(ys) == {2.0, spike}


def test_what_is_undone_takes_its_spikes_along() -> None:
    curve = Curve(capacity=100)
    for step in range(1000):
        curve.append(step_event(step, loss=9.0 if step == 700 else 2.0))
    past = curve.until(600)
    assert set(past.spread("step", "loss")[1]) == {2.0}
    assert past["step"][-1] <= 600


def test_figures_that_are_unknown_for_a_while_stay_unknown() -> None:
    curve = Curve(capacity=100)
    for step in range(10_000):
        curve.append(step_event(step, loss=None if step < 5000 else 2.0))
    xs, ys = curve.spread("step", "loss")
    assert all((y == y) == (x >= 5000 or y == 2.0) for x, y in zip(xs, ys, strict=True))


@pytest.mark.parametrize("steps", [[7] * 500, list(range(500, 0, -1)), [0, 10**300] * 250])
def test_steps_in_no_order_stay_bounded_too(steps: list[int]) -> None:
    curve = Curve(capacity=100)
    for step in steps:
        curve.append(dataclasses.replace(step_event(1), step=step))
    assert len(curve) <= 100


def test_evaluations_and_checkpoints_are_bounded_and_the_best_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(record_module, "EVALS", 20)
    record = Record()
    for step in range(1000):
        best = step <= 700 and step % 5 == 0
        record.fold(Eval(step=step, train=1.0, val=3.0 - step / 1000, best=best))
        record.fold(Saved(step=step, path=str(step), kind="best" if best else "last"))
        assert len(record.evals) <= 20
        assert record.evals[-1].step == step
        assert record.saved[-1].step == step
    assert record.best is not None
    assert record.best.step == 700
    assert [saved.path for saved in record.saved if saved.kind == "best"][-1] == "700"
    assert (record.evals[0].step or 0) < 200


def test_samples_are_bounded_by_their_length_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_module, "CHARACTERS", 100)
    record = Record()
    for step in range(50):
        record.fold(Sample(step=step, prompt="", seed=1, text="x" * 30, done=True))
        assert sum(len(sample.text) for sample in record.samples) <= 130
    assert record.samples[-1].step == 49


def test_unknown_figures_are_nan() -> None:
    curve = Curve()
    curve.append(step_event(0, loss=None))
    assert curve["loss"][0] != curve["loss"][0]


def test_the_run_as_it_stood() -> None:
    record = folded(
        STARTED,
        step_event(0),
        Eval(step=10, train=3.0, val=3.0, best=True),
        Sample(step=10, prompt="", seed=0, text="a", done=True),
        step_event(10),
        Eval(step=20, train=2.0, val=2.0, best=True),
        Sample(step=20, prompt="", seed=0, text="b", done=True),
        step_event(20),
    )
    past = record.at(15)
    assert past.step == 15
    assert list(past.curve["step"]) == [0, 10]
    assert past.best is record.evals[0]
    assert [written.text for written in past.samples] == ["a"]
    assert len(record.evals) == 2
