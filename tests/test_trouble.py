"""Trouble while training: numbers that are not finite, and memory that is not there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import gpt
from gpt import checkpoint
from gpt.corpus import Corpus
from gpt.events import Eval, Event, Finished, Notice, Saved, Step
from gpt.learner import Learner
from gpt.runs import Run
from gpt.settings import make_config

SMALL: dict[str, Any] = {
    "dataset": "shakespeare_char", "device": "cpu", "batch_size": 4, "block_size": 16,
    "gradient_accumulation_steps": 1, "n_layer": 1, "n_head": 2, "n_embd": 16, "max_iters": 12,
    "eval_interval": 4, "eval_iters": 1, "sample_interval": -1, "always_save_checkpoint": True,
    "warmup_iters": 0, "log_interval": 10, "threads": 1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _prepared(shakespeare: Corpus) -> None:
    """Every test here trains on the real corpus."""


def ending(events: list[Event]) -> Finished:
    assert isinstance(events[-1], Finished)
    return events[-1]


def infinite(gradient: torch.Tensor) -> torch.Tensor:
    return gradient * float("inf")


@pytest.mark.parametrize("grad_clip", [1.0, 0.0])
def test_a_gradient_that_is_not_finite_ends_the_run_before_the_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grad_clip: float
) -> None:
    # given: a gradient that becomes infinite at step 10, in a step that is logged
    run = Run(tmp_path / "run")
    update = Learner.update
    learners: list[Learner] = []
    count = iter(range(100))

    def counted(self: Learner, batches: Any, lr: float, logged: bool, *rest: Any) -> Any:
        if next(count) == 10:
            weight = self.model.lm_head.weight
            weight.register_hook(infinite)  # pyright: ignore[reportUnknownMemberType]
        learners.append(self)
        return update(self, batches, lr, logged, *rest)

    monkeypatch.setattr(Learner, "update", counted)

    # when
    events = list(gpt.train(make_config(SMALL | {"grad_clip": grad_clip}), run))

    # then
    finished = ending(events)
    assert (finished.reason, finished.step) == ("diverged", 10)
    assert "the gradient at step 10" in (finished.error or "")
    assert "learning rate" in (finished.error or "")
    assert learners[0].is_finite()
    saved = checkpoint.load(checkpoint.find(run, prefer="newest")[0])
    assert saved.state["step"] == 8
    assert all(bool(tensor.isfinite().all()) for tensor in saved.model.values())


def test_a_loss_is_looked_at_in_steps_that_are_not_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: a parameter becomes NaN before step 5, which is not logged
    count = iter(range(100))
    update = Learner.update

    def spoilt(self: Learner, batches: Any, lr: float, logged: bool, *rest: Any) -> Any:
        if next(count) == 5:
            with torch.no_grad():
                self.model.lm_head.weight[0, 0] = float("nan")
        return update(self, batches, lr, logged, *rest)

    monkeypatch.setattr(Learner, "update", spoilt)

    # when
    events = list(gpt.train(make_config(SMALL), Run(tmp_path / "run")))

    # then
    assert ending(events).reason == "diverged"
    assert "the loss at step 5" in (ending(events).error or "")
    assert [event.step for event in events if isinstance(event, Step)] == [0]


PROGRAM = """
import resource, sys
import gpt
from gpt.runs import Run
from gpt.settings import make_config
from pathlib import Path
import torch

values = dict(dataset="shakespeare_char", device="cpu", threads=1, batch_size=512, block_size=256,
    gradient_accumulation_steps=1, n_layer=4, n_head=4, n_embd=128, eval_iters=1, max_iters=2,
    sample_interval=-1)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), -1))
for event in gpt.train(make_config(values), Run(Path(sys.argv[1]))):
    pass
print(event.reason, event.error)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits a process's memory as Linux does")
def test_memory_that_runs_out_names_the_sizes_that_matter(tmp_path: Path) -> None:
    # given, when: a process that may take one more gigabyte, where the batch needs several
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)

    # then
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("failed there is not enough memory for batch_size = 512, ")
    assert "Traceback" in (tmp_path / "run" / "run.log").read_text("utf-8")


def test_a_best_that_could_not_be_saved_leaves_the_place_to_the_next(tmp_path: Path) -> None:
    # given: a run in which an evaluation is the best, and the one after it better than all before
    config = make_config(SMALL | {"eval_interval": 1, "always_save_checkpoint": False})
    vals = [event.val for event in gpt.train(config) if isinstance(event, Eval)]
    lost = next(
        step for step in range(2, len(vals) - 1) if vals[step] < vals[step + 1] < min(vals[:step])
    )

    # when: the disk refuses that one checkpoint
    run = Run(tmp_path / "run")
    aside = run.path / "aside"
    best: list[int] = []
    saved: list[int] = []
    for event in gpt.train(config, run):
        if isinstance(event, Saved):
            saved.append(event.step)
        if isinstance(event, Eval) and event.best:
            best.append(event.step)
            if event.step == lost:
                run.checkpoints.rename(aside)
                run.checkpoints.touch()
        if isinstance(event, Notice) and event.text.startswith("not saved"):
            run.checkpoints.unlink()
            aside.rename(run.checkpoints)

    # then: the one after it is saved as the best until there is a better one
    assert best[: best.index(lost) + 2][-1] == lost + 1
    path, notice = checkpoint.find(run)
    assert notice is None
    assert checkpoint.load(path).state["best_step"] == best[-1]
    assert lost not in saved
    assert lost + 1 in saved
