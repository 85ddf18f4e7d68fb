"""The thread boundary: what a training thread does arrives here, and nothing else does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from gpt.config import Config
from gpt.control import Control
from gpt.events import Event, Finished, Phase, Started, Step
from gpt.runs import Run, RunError
from gpt.settings import ConfigError, Problem, make_config
from tui.session import Session, Trainer

WAIT = 60.0
STARTED = Started(
    max_iters=3, params=10, tokens_per_iter=4, device="cpu", dtype="float32", threads=1
)
TINY = {
    "dataset": "shakespeare_char",
    "batch_size": 4,
    "block_size": 16,
    "gradient_accumulation_steps": 1,
    "n_layer": 1,
    "n_head": 2,
    "n_embd": 16,
    "max_iters": 12,
    "warmup_iters": 2,
    "lr_decay_iters": 12,
    "learning_rate": 1e-3,
    "min_lr": 1e-4,
    "eval_interval": 6,
    "eval_iters": 2,
    "max_new_tokens": 10,
    "device": "cpu",
    "threads": 1,
}


def step(number: int) -> Step:
    return Step(
        step=number, loss=4.0 - number, lr=1e-3, grad_norm=1.0, ms=1.0, tokens_per_s=4.0,
        mfu=None, tokens=4 * number, seconds=float(number), memory=1,
    )  # fmt: skip


def session(train: Trainer, tmp_path: Path) -> Session:
    return Session(Config(), "tiny", Run(tmp_path / "run"), train)


def three_steps(ended: threading.Event) -> Trainer:
    """A run of three steps, which says when the last of its events is handed on."""

    def train(config: Config, run: Run | None, control: Control | None) -> Iterator[Event]:
        yield Phase(name="preparing")
        yield STARTED
        yield from (step(number) for number in range(3))
        yield Finished(reason="done", step=3)
        ended.set()

    return train


def test_events_arrive_in_order_and_only_when_drained(tmp_path: Path) -> None:
    # Given a run that has ended in its thread
    ended = threading.Event()
    one = session(three_steps(ended), tmp_path)
    one.start()
    assert ended.wait(WAIT)

    # Then nothing is folded yet, but for what was said at the start
    record = one.view.record
    assert record.phase == "preparing"
    assert record.started is None
    assert not one.over

    # When it is taken in
    assert one.wait(WAIT)

    # Then all of it is there, and the next drain finds nothing
    assert list(record.curve["loss"]) == [4.0, 3.0, 2.0]
    assert record.finished is not None
    assert record.finished.reason == "done"
    assert one.over
    assert not one.view.live
    assert not one.drain()


def test_a_long_backlog_is_taken_in_by_parts(tmp_path: Path) -> None:
    ended = threading.Event()
    one = session(three_steps(ended), tmp_path)
    one.start()
    assert ended.wait(WAIT)

    assert one.drain(limit=3)
    assert len(one.view.record.curve) == 1
    assert not one.over
    assert one.wait(WAIT)
    assert len(one.view.record.curve) == 3
    assert one.over


@pytest.mark.parametrize(
    "error", [ConfigError([Problem("n_head", "12 does not divide 64.")]), RunError("no room.")]
)
def test_what_is_refused_comes_over_as_words(error: Exception, tmp_path: Path) -> None:
    def train(config: Config, run: Run | None, control: Control | None) -> Iterator[Event]:
        yield Phase(name="preparing")
        raise error

    one = session(train, tmp_path)
    one.start()
    one.wait(WAIT)

    assert one.refused == str(error)
    assert one.over


def test_a_fault_before_the_run_begins_is_refused_and_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def train(config: Config, run: Run | None, control: Control | None) -> Iterator[Event]:
        raise ModuleNotFoundError("No module named 'torch'")
        yield

    one = session(train, tmp_path)
    one.start()
    one.wait(WAIT)

    assert one.refused == "ModuleNotFoundError: No module named 'torch'"
    assert "Traceback" in capfd.readouterr().err


def test_a_fault_in_a_run_finishes_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def train(config: Config, run: Run | None, control: Control | None) -> Iterator[Event]:
        yield STARTED
        raise MemoryError

    one = session(train, tmp_path)
    one.start()
    one.wait(WAIT)

    assert one.refused is None
    assert one.view.record.finished is not None
    assert one.view.record.finished.reason == "failed"
    assert "Traceback" in capfd.readouterr().err


@pytest.mark.parametrize(("asked", "reason"), [(True, "stopped"), (False, "failed")])
def test_a_run_that_ends_without_a_word_is_finished_all_the_same(
    asked: bool, reason: str, tmp_path: Path
) -> None:
    def train(config: Config, run: Run | None, control: Control | None) -> Iterator[Event]:
        yield STARTED

    one = session(train, tmp_path)
    if asked:
        one.stop()
    one.start()
    one.wait(WAIT)

    assert one.view.record.finished is not None
    assert one.view.record.finished.reason == reason


def test_the_run_never_waits_for_the_screen(tmp_path: Path) -> None:
    # Given a run with far more events than one tick takes in, and nobody who takes them
    ended = threading.Event()

    def train(config: Config, run: Run | None, control: Control | None) -> Iterator[Event]:
        yield from (step(number) for number in range(20_000))
        ended.set()

    one = session(train, tmp_path)
    one.start()

    # Then it ends all the same
    assert ended.wait(WAIT)
    assert len(one.view.record.curve) == 0


def test_stopping_reaches_a_run_that_waits(tmp_path: Path) -> None:
    # Given a paused run
    waiting = threading.Event()

    def train(config: Config, run: Run | None, control: Control | None) -> Iterator[Event]:
        assert control is not None
        yield STARTED
        waiting.set()
        while not control.stopping:
            control.wait(WAIT)
        yield Finished(reason="stopped")

    one = session(train, tmp_path)
    one.start()
    assert waiting.wait(WAIT)
    assert not one.wait(0.0)

    # When it is stopped
    one.stop()

    # Then it ends
    assert one.wait(WAIT)
    assert one.over


def test_a_real_run_from_the_first_event_to_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a small configuration of the real training
    monkeypatch.chdir(tmp_path)
    run = Run.new("tiny")
    one = Session(make_config(TINY), "tiny", run)

    # When it is run to its end
    one.start()
    assert one.wait(WAIT)

    # Then what arrived here is what the journal says
    assert one.refused is None
    told, recorded = one.view.record, run.record()
    assert told.finished is not None
    assert told.finished.reason == "done"
    assert list(told.curve["loss"]) == list(recorded.curve["loss"])
    assert [event.val for event in told.evals] == [event.val for event in recorded.evals]
    assert not run.is_live()


def test_a_real_configuration_that_cannot_work_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = Run.new("tiny")
    one = Session(make_config({**TINY, "dataset": "nowhere.txt"}), "tiny", run)

    one.start()
    assert one.wait(WAIT)

    assert one.refused is not None
    assert "nowhere.txt" in one.refused
    assert not (tmp_path / "runs").exists()
