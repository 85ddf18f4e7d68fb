"""Processes killed at random moments: no run becomes unreadable, no good checkpoint is lost, and
what goes on ends with the numbers of a run that was never killed."""

from __future__ import annotations

import multiprocessing
import random
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import soak

import gpt
from gpt import checkpoint
from gpt.checkpoint import CheckpointError
from gpt.corpus import Corpus
from gpt.events import Step
from gpt.runs import Run
from gpt.settings import make_config

pytestmark = pytest.mark.slow

KILLS = soak.share(200, 8)
STEPS = 240
# A checkpoint every few steps, each new one replacing an old one, so that most kills meet one.
SETTINGS: dict[str, Any] = {
    "dataset": "shakespeare_char", "device": "cpu", "batch_size": 4, "block_size": 16,
    "gradient_accumulation_steps": 2, "n_layer": 2, "n_head": 2, "n_embd": 32, "dropout": 0.1,
    "max_iters": STEPS, "lr_decay_iters": STEPS, "warmup_iters": 10, "eval_interval": 20,
    "eval_iters": 2, "sample_interval": 40, "max_new_tokens": 8, "learning_rate": 1e-3,
    "checkpoint_minutes": 0.0005, "always_save_checkpoint": True, "keep_checkpoints": 2,
    "threads": 1,
}  # fmt: skip


def advance(path: str, moves: Connection) -> None:
    """Train a run, or go on with it, telling of the first step: what a killed process does."""
    run = Run(Path(path))
    ended = run.record().finished
    if ended and ended.reason == "done":
        return  # killed after its last word
    started = bool(checkpoint.newest_first(run)) if run.checkpoints.is_dir() else False
    for event in gpt.resume(run) if started else gpt.train(make_config(SETTINGS), run):
        if isinstance(event, Step) and not moves.closed:
            moves.send(None)
            moves.close()


def losses(run: Run) -> dict[float, float]:
    curve = run.record().curve
    return dict(zip(curve["step"], curve["loss"], strict=True))


def whole(run: Run) -> list[Path]:
    """The checkpoints that can be loaded."""
    found: list[Path] = []
    for path in checkpoint.newest_first(run):
        try:
            checkpoint.load(path)
        except CheckpointError:
            continue
        found.append(path)
    return found


def test_kills_lose_nothing_but_the_steps_since_the_last_checkpoint(
    tmp_path: Path, shakespeare: Corpus
) -> None:
    # given: the numbers of a run that is never killed, and a process that has imported torch
    expected = Run(tmp_path / "expected")
    for _ in gpt.train(make_config(SETTINGS), expected):
        pass
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["gpt.train"])
    chance = random.Random(1337)
    kills = number = resumes = 0

    while kills < KILLS:
        # when: a run is killed and gone on with until it is done
        number += 1
        run = Run(tmp_path / f"run-{number}")
        best_before = 0
        while True:
            here, there = processes.Pipe()
            process = processes.Process(target=advance, args=(str(run.path), there))
            process.start()
            here.poll(60)
            process.join(None if kills >= KILLS else chance.uniform(0, 0.5))
            if process.exitcode is not None:
                assert process.exitcode == 0
                break
            process.kill()
            process.join()
            kills += 1

            # then: it can be read, and what was whole is whole, or has been replaced
            record = run.record()
            good = whole(run)
            assert record.step >= 0
            steps = [checkpoint.load(path).state["step"] for path in good]
            assert max(steps, default=0) >= best_before
            best_before = max(steps, default=0)
            resumes += bool(good)
            if not good and run.path.exists():
                run = Run(tmp_path / f"run-{number}-{kills}")  # killed before there was one

        assert losses(run) == losses(expected)
        assert [e.val for e in run.record().evals] == [e.val for e in expected.record().evals]
    print(f"{kills} kills, {resumes} resumes, {number} runs")
