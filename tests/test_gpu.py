"""The GPU's own paths: the formats, the compiler, and that nothing waits for the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import gpt
from gpt.corpus import Corpus
from gpt.data import Batches, Split
from gpt.events import Eval, Notice, Phase, Sample, Started, Step
from gpt.learner import Learner
from gpt.runs import Run, follow
from gpt.settings import make_config
from gpt.world import World
from tests.test_recipe import ALL

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]
SMALL: dict[str, Any] = {
    "dataset": "shakespeare_char", "device": "cuda", "batch_size": 16, "block_size": 64,
    "gradient_accumulation_steps": 2, "n_layer": 2, "n_head": 2, "n_embd": 64, "max_iters": 40,
    "lr_decay_iters": 40, "warmup_iters": 2, "learning_rate": 1e-3, "eval_interval": 20,
    "eval_iters": 4, "max_new_tokens": 20, "log_interval": 10,
}  # fmt: skip
TOKENS = torch.randint(65, (20_000,), generator=torch.Generator().manual_seed(1))


def losses(values: dict[str, Any], run: Run | None = None) -> list[float]:
    events = gpt.train(make_config(SMALL | values), run)
    return [event.loss for event in events if isinstance(event, Step) and event.loss is not None]


def test_by_itself_a_run_is_bfloat16_and_compiled(shakespeare: Corpus) -> None:
    events = list(gpt.train(make_config(SMALL)))
    started = next(event for event in events if isinstance(event, Started))
    assert (started.device, started.dtype) == ("cuda", "bfloat16")
    assert "compiling" in [event.name for event in events if isinstance(event, Phase)]
    assert not [event.text for event in events if isinstance(event, Notice)]
    steps = [event for event in events if isinstance(event, Step)]
    assert steps[-1].loss < steps[0].loss
    assert [event for event in events if isinstance(event, Eval)][-1].val < 4.0
    assert any(isinstance(event, Sample) for event in events)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_numbers_are_the_processors(shakespeare: Corpus, dtype: str) -> None:
    plain = {"compile": False, "log_interval": 1, "max_iters": 10, "eval_interval": 10}
    on_cpu = losses({**plain, "device": "cpu", "dtype": "float32"})
    assert losses({**plain, "dtype": dtype}) == pytest.approx(on_cpu, abs=0.03)


def test_compiled_numbers_are_the_same(shakespeare: Corpus) -> None:
    values = {"dtype": "float32", "log_interval": 1, "max_iters": 10}
    plain = losses({**values, "compile": False})
    assert losses({**values, "compile": True}) == pytest.approx(plain, abs=2e-3)


@pytest.mark.parametrize("compiled", [False, True])
def test_the_whole_recipe_trains(shakespeare: Corpus, compiled: bool) -> None:
    found = losses({**ALL, "log_interval": 1, "compile": compiled})
    assert found[-1] < found[0] - 0.5


@pytest.mark.parametrize("change", [{}, {"optimizer": "muon"}, ALL], ids=["adamw", "muon", "all"])
def test_a_step_that_is_not_logged_never_waits_for_the_device(change: dict[str, Any]) -> None:
    config = make_config(SMALL | change | {"compile": False, "grad_clip": 1.0})
    world = World.of(config)
    learner = Learner(config, 65, world)
    batches = Batches(Split.of(TOKENS), config, world.device)
    for _ in range(3):
        learner.update(batches, 1e-3, False, lambda: None)

    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            learner.update(batches, 1e-3, False, lambda: None)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert learner.update(batches, 1e-3, True, lambda: None).loss > 0


def test_a_stopped_run_goes_on(shakespeare: Corpus, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    losses({"max_iters": 20, "compile": False}, run)
    list(gpt.resume(run, {"max_iters": 40}))
    assert max(event.step for event in follow(run) if isinstance(event, Step)) == 30
