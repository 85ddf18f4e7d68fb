"""Estimates against the real model, the real loop and the real measuring program."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gpt import estimate, measure, presets, sample
from gpt.config import Config
from gpt.corpus import Corpus
from gpt.estimate import Timing
from gpt.model import GPT
from gpt.settings import make_config

ROOT = Path(__file__).parent.parent


def preset(name: str, **changes: Any) -> Config:
    return make_config({**presets.find(name).values, **changes})


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", ["tiny", "shakespeare_char_cpu", "shakespeare_char"])
def test_params_are_those_of_the_model(name: str, bias: bool) -> None:
    config = preset(name, bias=bias)
    with torch.device("meta"):
        model = GPT(config, 65)

    count = sum(parameter.numel() for parameter in model.parameters())

    assert estimate.params(config, 65) == count
    positions = model.transformer.wpe.weight.numel()
    assert estimate.params(config, 65, positions=False) == count - positions


def test_the_reference_has_the_count_that_nanogpt_prints() -> None:
    config = preset("shakespeare_char_cpu")

    assert f"{estimate.params(config, 65, positions=False) / 1e6:.2f}M" == "0.80M"


def test_flops_are_six_a_parameter_and_attention() -> None:
    config = preset("shakespeare_char_cpu")

    flops = estimate.flops_per_token(config, 65)

    assert flops == 6 * 795_904 + 12 * 4 * 128 * 64
    # A step of the reference is known to be about 3.9 GFLOP.
    assert flops * config.tokens_per_iter == pytest.approx(3.9e9, rel=0.03)


def test_gpt2_is_as_large_as_it_is_said_to_be() -> None:
    config = make_config({"bias": True})

    assert estimate.params(config, 50257) == 124_439_808


@pytest.mark.slow
def test_memory_is_near_a_real_runs_peak(shakespeare: Corpus) -> None:
    program = (
        "import resource, sys, gpt.train; from gpt import presets; "
        "from gpt.settings import make_config; "
        "changes = {'max_iters': 2, 'eval_iters': 2, 'max_new_tokens': 2, 'threads': 1}; "
        "config = make_config({**presets.find('shakespeare_char_cpu').values, **changes}); "
        "events = list(gpt.train.train(config)); print(events[-1].reason); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )

    reason, peak = done.stdout.split()
    assert reason == "done"
    unit = 1 if sys.platform == "darwin" else 1024
    needed = estimate.memory(preset("shakespeare_char_cpu"), shakespeare.vocab_size)
    assert needed == pytest.approx(int(peak) * unit, rel=0.3)


@pytest.mark.parametrize(
    "change",
    [
        {"n_layer": 8},
        {"n_embd": 256},
        {"batch_size": 24},
        {"block_size": 128},
        {"dropout": 0.2},
        {"batch_schedule": "0.5:24"},
    ],
)
def test_more_of_anything_needs_more_memory(change: dict[str, Any]) -> None:
    usual = estimate.memory(preset("shakespeare_char_cpu"), 65)

    assert estimate.memory(preset("shakespeare_char_cpu", **change), 65) > usual


def test_of_a_gpu_only_what_is_certain_is_asked() -> None:
    # given a model that nanoGPT trains on a GPU of 24 GB: GPT-2 with dropout
    config = make_config({"batch_size": 12, "dropout": 0.1, "gradient_accumulation_steps": 40})

    # then its parameters, gradients and moments are counted, and not a CPU's activations
    assert estimate.least_memory(config, 50304, "cuda") == 16 * estimate.params(config, 50304)
    assert estimate.least_memory(config, 50304, "cpu") == estimate.memory(config, 50304) > 24e9


def test_steps_are_as_many_as_wanted_or_as_the_time_allows() -> None:
    config = preset("shakespeare_char_cpu")
    timing = estimate.Timing(0.05, 2.0, 1.0, 3.0, "cpu")

    assert estimate.steps(config, None) == 2000
    assert estimate.steps(preset("shakespeare_char_cpu", eval_only=True), None) == 0
    budget = preset("shakespeare_char_cpu", time_budget=60.0)
    assert estimate.steps(budget, None) is None
    assert estimate.steps(budget, timing) == 1200
    assert estimate.total_seconds(budget, timing) == 62.0


@given(
    max_iters=st.integers(0, 260),
    eval_interval=st.integers(0, 130),
    sample_interval=st.integers(-1, 70),
    eval_only=st.booleans(),
)
def test_evaluations_and_samples_are_as_many_as_the_loop_makes(
    max_iters: int, eval_interval: int, sample_interval: int, eval_only: bool
) -> None:
    config = make_config(
        {
            "max_iters": max_iters,
            "eval_interval": eval_interval,
            "sample_interval": sample_interval,
            "eval_only": eval_only,
        }
    )
    steps = range(1 if eval_only else max_iters + 1)

    evaluated = sum(
        eval_only or step == max_iters or (eval_interval > 0 and step % eval_interval == 0)
        for step in steps
    )
    sampled = sum(sample.due(config, step, step == max_iters) for step in steps)

    assert estimate.evaluations(config) == evaluated
    assert estimate.samples(config) == sampled


def test_the_total_is_steps_evaluations_and_samples() -> None:
    config = preset("shakespeare_char_cpu")  # 2,000 steps; 9 evaluations; samples also at 50, 100
    timing = Timing(0.046, 1.0, 0.5, 1.546, "cpu")

    assert estimate.total_seconds(config, timing) == pytest.approx(92 + 9 + 11 * 0.5)
    assert estimate.first_loss_seconds(config, timing) == pytest.approx(1.546)


def test_a_run_that_evaluates_at_its_end_shows_a_loss_sooner() -> None:
    config = preset("shakespeare_char_cpu", eval_interval=0, sample_interval=-1)
    timing = Timing(0.046, 1.0, 0.5, 1.546, "cpu")

    assert estimate.total_seconds(config, timing) == pytest.approx(92 + 1)
    assert estimate.first_loss_seconds(config, timing) == pytest.approx(0.546)


def test_available_memory_is_no_more_than_there_is() -> None:
    assert 0 < estimate.available_memory() <= psutil.virtual_memory().total


def test_a_containers_limit_counts_without_its_file_cache(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("4000\n")
    (tmp_path / "memory.current").write_text("3000\n")
    (tmp_path / "memory.stat").write_text("anon 1500\ninactive_file 700\n")

    assert estimate.cgroup_free(tmp_path) == 1700


def test_a_container_without_a_limit_has_none(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("3000\n")

    assert estimate.cgroup_free(tmp_path) is None
    assert estimate.cgroup_free(tmp_path / "elsewhere") is None


def test_a_long_step_is_measured_in_part() -> None:
    config = preset("shakespeare_char")  # 64 sequences, 1,163 GFLOP

    part = measure.Part.of(config, 65, 15e9)

    assert (part.config.batch_size, part.config.block_size) == (1, 211)
    assert part.per_micro_batch == pytest.approx(1163 / 15, rel=0.05)


def test_a_short_step_is_measured_whole() -> None:
    config = preset("tiny")

    assert measure.Part.of(config, 65, 15e9) == measure.Part(config, 1.0)


@pytest.mark.slow
def test_the_program_measures_refuses_in_words_and_goes_on() -> None:
    tiny = dict(presets.find("tiny").values) | {"threads": 1, "max_new_tokens": 40}
    huge = {"n_layer": 1024, "n_embd": 12288}
    requests = [
        {"config": huge, "vocab_size": 65},
        {"config": {"device": "cuda:63"}, "vocab_size": 65},
        {"config": {"n_layers": 2}, "vocab_size": 65},
        {"config": tiny, "vocab_size": 65},
    ]
    lines = [*map(json.dumps, requests), "not JSON"]

    done = subprocess.run(
        [sys.executable, "-m", "gpt.measure"],
        input="\n".join(lines),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    large, nowhere, misspelt, timing, broken = map(json.loads, done.stdout.splitlines())
    assert "GB are free" in large["error"]
    assert "cuda:63" in nowhere["error"]
    assert "Did you mean n_layer?" in misspelt["error"]
    assert broken["error"]
    assert timing.pop("error") is None
    measured = Timing(**timing)
    assert measured.device in ("cpu", "cuda", "mps")
    assert 0 < measured.step_seconds < measured.first_loss_seconds
    assert measured.eval_seconds > 0
    assert measured.sample_seconds > 0
