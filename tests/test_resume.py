"""Going on with a run: bit for bit as if it had never stopped, and with what was changed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

import gpt
from gpt import checkpoint, world
from gpt.checkpoint import Checkpoint, CheckpointError
from gpt.config import Config
from gpt.control import Control
from gpt.corpus import Corpus
from gpt.events import (
    Adjusted,
    Eval,
    Event,
    Finished,
    Notice,
    Phase,
    Saved,
    Started,
    Step,
)
from gpt.loop import Loop
from gpt.resumption import outstanding
from gpt.runs import Run, RunError, follow
from gpt.settings import ConfigError, make_config

SMALL: dict[str, Any] = {
    "dataset": "shakespeare_char", "device": "cpu", "batch_size": 4, "block_size": 16,
    "gradient_accumulation_steps": 3, "n_layer": 2, "n_head": 2, "n_embd": 32, "dropout": 0.1,
    "max_iters": 12, "lr_decay_iters": 12, "warmup_iters": 2, "eval_interval": 4, "eval_iters": 3,
    "max_new_tokens": 8, "sample_interval": 4, "learning_rate": 1e-3, "checkpoint_minutes": 0.0,
    "threads": 1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _prepared(shakespeare: Corpus) -> None:
    """Every test here trains on the real corpus."""


def small(**changes: Any) -> Config:
    return make_config(SMALL | changes)


class PollLimit(Control):
    """Stops the run at the so-many-eth time that it polls, which may be anywhere in a step."""

    def __init__(self, polls: int) -> None:
        super().__init__()
        self.left = polls

    def check(self) -> None:
        self.left -= 1
        if self.left <= 0:
            self.stop()
        super().check()


def figures(events: Iterator[Event] | list[Event]) -> list[tuple[Any, ...]]:
    """What must not differ: the losses, learning rates and gradients, and the evaluations."""
    found: dict[tuple[str, int], tuple[Any, ...]] = {}
    for event in events:
        if isinstance(event, Step):
            found["step", event.step or 0] = (event.loss, event.lr, event.grad_norm, event.tokens)
        elif isinstance(event, Eval):
            found["eval", event.step or 0] = (
                event.train, event.val, event.train_se, event.val_se, event.best,
            )  # fmt: skip
    return sorted((*key, *value) for key, value in found.items())


def last(run: Run) -> Checkpoint:
    return checkpoint.load(checkpoint.find(run, prefer="newest")[0])


def assert_equal(ours: Checkpoint, theirs: Checkpoint) -> None:
    for mine, other in ((ours.model, theirs.model), (ours.tensors, theirs.tensors)):
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[name], other[name]) for name in mine)
    for key in ("step", "evaluated", "best_val", "best_step", "eval", "tokens", "scaler"):
        assert ours.state[key] == theirs.state[key]


def stopped_at(polls: int, run: Run, config: Config) -> list[Event]:
    return list(gpt.train(config, run, PollLimit(polls)))


def phase_at_stop(events: list[Event]) -> str:
    return next(
        event.name
        for event in reversed(events)
        if isinstance(event, Phase) and event.name != "saving"
    )


@pytest.mark.slow
def test_a_run_stopped_anywhere_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    # given: a run that was never stopped
    whole = Run(tmp_path / "whole")
    config = small()
    expected = figures(gpt.train(config, whole))
    stopped_in: set[str] = set()

    # when: stopped at every thirteenth place where it polls
    for polls in range(8, 170, 13):
        run = Run(tmp_path / f"stopped-{polls}")
        events = stopped_at(polls, run, config)
        if isinstance(events[-1], Finished) and events[-1].reason == "done":
            break
        stopped_in.add(phase_at_stop(events))
        list(gpt.resume(run))

        # then
        assert figures(follow(run)) == expected
        assert_equal(last(run), last(whole))
    assert stopped_in == {"training", "evaluating", "sampling"}


@pytest.mark.parametrize("change", [
    {"dropout": 0.0, "gradient_accumulation_steps": 1}, {"bias": True}, {"grad_clip": 0.0},
    {"decay_lr": False}, {"log_interval": 5},
    {"optimizer": "muon", "embedding_lr_scale": 3.0, "schedule": "linear", "tie_head": False,
     "windows": "even"},
    {"batch_schedule": "0.5:2", "block_schedule": "0.7:8", "positions": "rotary"},
    pytest.param({"eval_iters": 0}, marks=pytest.mark.slow),
    pytest.param({"dtype": "bfloat16"}, marks=pytest.mark.slow),
], ids=str)  # fmt: skip
def test_so_does_a_run_with_other_settings(tmp_path: Path, change: dict[str, Any]) -> None:
    # given
    config = small(**change)
    whole, run = Run(tmp_path / "whole"), Run(tmp_path / "run")
    expected = figures(gpt.train(config, whole))

    # when
    stopped_at(40, run, config)
    list(gpt.resume(run))

    # then
    assert figures(follow(run)) == expected
    assert_equal(last(run), last(whole))


def test_a_run_may_be_stopped_again_and_again(tmp_path: Path) -> None:
    # given
    whole, run = Run(tmp_path / "whole"), Run(tmp_path / "run")
    expected = figures(gpt.train(small(), whole))
    stopped_at(30, run, small())

    # when
    for polls in (3, 9, 20):
        list(gpt.resume(run, control=PollLimit(polls)))
    list(gpt.resume(run))

    # then
    assert figures(follow(run)) == expected
    assert_equal(last(run), last(whole))


def test_what_came_after_the_checkpoint_is_told_anew(tmp_path: Path) -> None:
    # given: a run whose process died after step 9, its last checkpoint being that of step 8
    run = Run(tmp_path / "run")
    events = gpt.train(small(always_save_checkpoint=True), run)
    for event in events:
        if isinstance(event, Step) and event.step == 9:
            break
    died_with = run.record()
    assert died_with.curve["step"][-1] == 9
    run.release()
    del events

    # when
    list(gpt.resume(run))

    # then: each step once, and a mark where it went on
    record = run.record()
    assert list(record.curve["step"]) == list(range(12))
    assert [event.step for event in record.evals] == [0, 4, 8, 12]
    assert [written.step for written in record.samples] == sorted({w.step for w in record.samples})
    assert record.seams == [8]
    assert record.finished is not None
    assert record.finished.reason == "done"


def test_the_newest_whole_checkpoint_is_gone_on_from(tmp_path: Path) -> None:
    # given: the newest one is damaged
    run = Run(tmp_path / "run")
    stopped_at(75, run, small(always_save_checkpoint=True))
    newest, older, *_ = checkpoint.newest_first(run)
    expected = checkpoint.load(older).state["step"]
    (newest / "state.safetensors").write_bytes(b"torn")

    # when
    events = list(gpt.resume(run))

    # then
    started = next(event for event in events if isinstance(event, Started))
    assert started.resumed_from == expected
    assert any("damaged" in event.text for event in events if isinstance(event, Notice))


def test_going_back_makes_the_older_checkpoint_the_newest(tmp_path: Path) -> None:
    # given
    run = Run(tmp_path / "run")
    list(gpt.train(small(always_save_checkpoint=True, keep_checkpoints=9), run))

    # when: back to step 4, stopped soon after
    list(gpt.resume(run, {"learning_rate": 5e-4}, PollLimit(22), "step-000004"))

    # then
    started = next(event for event in gpt.resume(run) if isinstance(event, Started))
    assert started.resumed_from in (5, 6, 7)


def test_a_run_that_is_done_goes_on_when_it_is_given_more(tmp_path: Path) -> None:
    # given
    run = Run(tmp_path / "run")
    list(gpt.train(small(), run))
    with pytest.raises(ConfigError, match="has done its 12 steps"):
        list(gpt.resume(run))

    # when
    events = list(gpt.resume(run, {"max_iters": 16}))

    # then
    assert [event.step for event in events if isinstance(event, Step)] == [12, 13, 14, 15]
    assert run.record().max_iters == 16


def test_a_run_that_has_worked_its_time_goes_on_when_it_is_given_more(tmp_path: Path) -> None:
    # given
    run = Run(tmp_path / "run")
    list(gpt.train(small(time_budget=0.5), run))
    saved = [event for event in follow(run) if isinstance(event, Saved)]
    with pytest.raises(ConfigError, match=r"has worked its 0\.5 seconds.*--time_budget=1"):
        list(gpt.resume(run))

    # when
    events = list(gpt.resume(run, {"time_budget": 1.0}))

    # then it did, and nothing was saved in vain
    assert any(isinstance(event, Step) for event in events)
    assert len({event.path for event in saved}) == len(saved)


def test_a_change_is_taken_back_by_naming_the_value_before(tmp_path: Path) -> None:
    # given: at step 8 the rate was changed
    run = Run(tmp_path / "run")
    list(gpt.train(small(decay_lr=False, max_iters=8, keep_checkpoints=9), run))
    list(gpt.resume(run, {"max_iters": 12, "learning_rate": 5e-4}))

    # when: the run goes back to before that, and is to have the rate that it had there
    events = list(gpt.resume(run, {"learning_rate": 1e-3}, name="step-000004"))

    # then: it stays, here and in what comes after
    assert {event.lr for event in events if isinstance(event, Step)} == {1e-3}
    again = list(gpt.resume(run, {"max_iters": 14}))
    assert {event.lr for event in again if isinstance(event, Step)} == {1e-3}


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what is mapped")
def test_a_run_that_goes_on_lets_go_of_its_checkpoints_files(tmp_path: Path) -> None:
    # given
    run = Run(tmp_path / "run")
    stopped_at(40, run, small())

    # when it goes on
    mapped: list[str] = []
    for event in gpt.resume(run):
        if isinstance(event, Step):
            mapped = Path("/proc/self/maps").read_text("utf-8").splitlines()
            break

    # then
    assert mapped
    assert not [line for line in mapped if str(run.checkpoints) in line]


def test_a_run_without_float16_goes_on_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: a run on a CPU, and a machine where auto is float16
    run = Run(tmp_path / "run")
    stopped_at(40, run, small())
    monkeypatch.setattr(world, "_dtype", lambda *_: torch.float16)

    # when
    events = list(gpt.resume(run))

    # then
    assert [event.reason for event in events if isinstance(event, Finished)] == ["done"]


def test_a_batch_that_is_not_due_any_more_is_drawn_anew(tmp_path: Path) -> None:
    # given: a run that has come to its last batch size
    run = Run(tmp_path / "run")
    schedule = "0.3:2, 0.6:8"
    before = list(gpt.train(small(batch_schedule=schedule, batch_size=16), run))

    # when: with more steps, it is back at the size before
    events = [*before, *gpt.resume(run, {"max_iters": 24})]

    # then
    tokens = [event.tokens for event in events if isinstance(event, Step)]
    sizes = [(after - before) // (3 * 16) for before, after in pairwise(tokens)]
    assert sizes[11:] == [8, 8, 8, *9 * [16]]


def test_changed_settings_are_journaled_and_stay(tmp_path: Path) -> None:
    # given
    run = Run(tmp_path / "run")
    stopped_at(40, run, small(decay_lr=False))

    # when: changed, then stopped and resumed once more without a word about it
    first = list(gpt.resume(run, {"learning_rate": 2e-4, "dropout": 0.0}, PollLimit(12)))
    second = list(gpt.resume(run))

    # then
    told = {event.knob: event.value for event in first if isinstance(event, Adjusted)}
    assert told == {"learning_rate": 2e-4, "dropout": 0.0}
    assert {event.lr for event in second if isinstance(event, Step)} == {2e-4}
    assert last(run).state["adjusted"] == told


def test_a_change_beyond_the_checkpoint_is_made_again_at_its_step(tmp_path: Path) -> None:
    # given: at step 8 the rate was changed; then the run went back to step 4
    run = Run(tmp_path / "run")
    config = small(decay_lr=False, always_save_checkpoint=True, keep_checkpoints=9)
    list(gpt.train(config, run))
    list(gpt.resume(run, {"learning_rate": 2e-4}, name="step-000008"))

    # when
    events = list(gpt.resume(run, name="step-000004"))

    # then
    rates = {event.step: event.lr for event in events if isinstance(event, Step)}
    assert rates == {step: 1e-3 if step < 8 else 2e-4 for step in range(4, 12)}
    assert not [event for event in events if isinstance(event, Adjusted)]


def test_a_change_that_was_cut_short_stays_in_force_past_the_next_checkpoint(
    tmp_path: Path,
) -> None:
    # given: gone on with other threads, and interrupted before anything was saved
    run = Run(tmp_path / "run")
    stopped_at(40, run, small(always_save_checkpoint=True))
    events = gpt.resume(run, {"threads": 2})
    for event in events:
        if isinstance(event, Step):
            break
    del events
    run.release()

    # when: gone on without a word about it, and saved
    list(gpt.resume(run, control=PollLimit(25)))

    # then
    assert last(run).state["adjusted"] == {"threads": 2}
    assert last(run).state["threads"] == 2


def test_a_checkpoint_that_lacks_what_a_run_needs_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: one as an earlier version wrote it
    run = Run(tmp_path / "run")
    state = Loop._state
    monkeypatch.setattr(
        Loop, "_state", lambda self: {k: v for k, v in state(self).items() if k != "adjusted"}
    )
    stopped_at(40, run, small())

    # when, then
    with pytest.raises(CheckpointError, match=r"adjusted in state.json.*earlier version"):
        list(gpt.resume(run))


def test_a_newer_change_undoes_older_ones_from_its_step_on() -> None:
    def changed(step: int, value: float, knob: str = "learning_rate") -> Adjusted:
        return Adjusted(step=step, knob=knob, value=value)

    events = [changed(5, 1.0), changed(9, 2.0), changed(9, 0.5, "dropout"), changed(7, 3.0)]
    assert [event.value for event in outstanding(events)] == [1.0, 0.5, 3.0]


@pytest.mark.parametrize("values", [
    {"n_embd": 64}, {"n_layer": 3}, {"block_size": 8}, {"dataset": "elsewhere.txt"}, {"seed": 1},
], ids=str)  # fmt: skip
def test_what_cannot_change_is_refused_with_what_it_is(tmp_path: Path, values: Any) -> None:
    # given
    run = Run(tmp_path / "run")
    stopped_at(40, run, small())
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}

    # when, then: nothing is written
    key = next(iter(values))
    with pytest.raises(
        ConfigError, match=f"{key} cannot change in a run; here it is {SMALL.get(key, '')}"
    ):
        list(gpt.resume(run, values))
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_another_text_under_the_same_path_is_refused(tmp_path: Path) -> None:
    # given
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be,\n" * 200)
    run = Run(tmp_path / "run")
    stopped_at(40, run, small(dataset=str(text)))

    # when
    text.write_text("that is the question,\n" * 200)

    # then
    with pytest.raises(ConfigError, match="no longer the text"):
        list(gpt.resume(run))


def test_other_threads_are_said_to_be_inexact(tmp_path: Path) -> None:
    # given
    run = Run(tmp_path / "run")
    stopped_at(40, run, small())

    # when
    events = list(gpt.resume(run, {"threads": 2}))

    # then
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert any(
        "threads was 1 and is 2 now" in text and "not bit for bit" in text for text in notices
    )


def test_a_run_that_is_under_way_is_not_resumed(tmp_path: Path) -> None:
    # given
    run = Run(tmp_path / "run")
    events = gpt.train(small(), run)
    for event in events:
        if isinstance(event, Step):
            break

    # when, then
    with pytest.raises(RunError, match="being trained by this very program"):
        list(gpt.resume(Run(run.path)))


def test_a_run_without_a_checkpoint_is_told_so(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.create(small())
    run.release()
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        list(gpt.resume(run))


@pytest.mark.slow
def test_a_hundred_steps_after_each_of_twenty_stops_are_the_same(tmp_path: Path) -> None:
    # given
    config = small(max_iters=140, lr_decay_iters=140, eval_interval=10, keep_checkpoints=200)
    whole = Run(tmp_path / "whole")
    expected = figures(gpt.train(config, whole))
    stopped_in: set[str] = set()

    # when: stopped at twenty-two places of the first forty steps
    for polls in range(10, 250, 11):
        run = Run(tmp_path / f"stopped-{polls}")
        events = stopped_at(polls, run, config)
        stopped_in.add(phase_at_stop(events))
        stop = events[-1].step or 0
        assert stop <= 40
        list(gpt.resume(run))

        # then
        assert figures(follow(run)) == expected
        assert_equal(last(run), last(whole))
    assert stopped_in == {"training", "evaluating", "sampling"}


def test_a_run_with_a_time_budget_says_what_is_left_of_it(tmp_path: Path) -> None:
    # given one that was stopped
    run = Run(tmp_path / "run")
    stopped_at(30, run, small(time_budget=3600.0))

    # when it goes on, for a moment
    control = Control()
    notices: list[str] = []
    for event in gpt.resume(run, control=control):
        if isinstance(event, Notice):
            notices.append(event.text)
        if isinstance(event, Step):
            control.stop()

    # then
    assert any("of 3600 seconds are left" in text for text in notices)
