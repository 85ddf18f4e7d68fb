"""What is printed: events as nanoGPT's lines, and a measurement as a table."""

from __future__ import annotations

import dataclasses

import pytest

from gpt import console
from gpt.bench import Figures
from gpt.events import Eval, Event, Finished, Notice, Phase, Saved, Started, Step

STARTED = Started(
    max_iters=10, params=803_072, tokens_per_iter=12_288, device="cpu", dtype="float32", threads=2
)
STEP = Step(
    step=250, loss=2.4, lr=1e-3, grad_norm=0.5, ms=40.0, tokens_per_s=19_200.0, mfu=0.31,
    tokens=1, seconds=1.0, memory=1,
)  # fmt: skip


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (STARTED, "0.80M parameters, 12,288 tokens per iteration, cpu, float32"),
        (
            dataclasses.replace(STARTED, resumed_from=40),
            "from step 40: 0.80M parameters, 12,288 tokens per iteration, cpu, float32",
        ),
        (STEP, "iter 250: loss 2.4000, time 40.00ms, mfu 31.00%"),
        (
            dataclasses.replace(STEP, loss=None, mfu=None),
            "iter 250: loss nan, time 40.00ms, mfu -100.00%",
        ),
        (
            Eval(step=250, train=2.4293, val=2.4447),
            "step 250: train loss 2.4293, val loss 2.4447",
        ),
        (Eval(step=250, train=None, val=None), "step 250: train loss nan, val loss nan"),
        (Saved(path="checkpoints/step-9", kind="best"), "saving checkpoint to checkpoints/step-9"),
        (Notice(level="info", text="resting"), "resting"),
        (Notice(level="error", text="not saved"), "error: not saved"),
        (Finished(reason="done"), "done"),
        (Finished(reason="failed", error="it broke"), "failed: it broke"),
        (Phase(name="training"), None),
    ],
)
def test_an_event_is_a_line_or_nothing(event: Event, line: str | None) -> None:
    assert console.line(event) == line


FIGURES = Figures(
    device="cpu", dtype="float32", threads=2, compiled=True, params=803_072, tokens_per_iter=768,
    steps=120, warm_up_steps=30,
    parts_ms={"batch": 0.5, "forward": 15, "backward": 20, "clip": 1, "optimizer": 2},
    timed_ms=40, step_ms=39.5, eval_ms=500, eval_interval=250, log_ms=0.05, log_interval=10,
    tokens_per_s=19443.04, tokens_per_s_overall=18504.4, flops_per_s=98.7e9, peak_flops=164.4e9,
    memory=412_000_000,
)  # fmt: skip


def test_the_table_says_everything() -> None:
    assert console.table("mine", FIGURES) == [
        "mine: 0.80M parameters, 768 tokens a step, cpu, 2 threads, float32, compiled",
        "",
        "part of a step                ms     share",
        "batch                       0.50     1.2 %",
        "forward                    15.00    37.5 %",
        "backward                   20.00    50.0 %",
        "clip                        1.00     2.5 %",
        "optimizer                   2.00     5.0 %",
        "rest                        1.50     3.8 %",
        "whole, timed by part       40.00   100.0 %",
        "whole, left alone          39.50",
        "",
        "besides                       ms    a step",
        "evaluation                 500.0     2.000",
        "logging                    0.050     0.005",
        "",
        "19,443 tokens a second; 18,504 with evaluations and logging",
        "98.7 GFLOP/s, 60.0 % of the 164 that this machine's matrix products reach in float32",
        "412 MB at the peak",
        "medians of 120 steps after 30 to warm up; all parts but the rest are 96.2 % of the step",
    ]


def test_an_evaluation_at_the_end_alone_is_no_part_of_a_step() -> None:
    rows = console.table("mine", dataclasses.replace(FIGURES, eval_interval=0))

    assert "evaluation                 500.0" in rows


@pytest.mark.parametrize(
    ("device", "told"),
    [
        ("cpu", "412 MB at the peak"),
        ("mps", "412 MB at the peak"),
        ("cuda:0", "412 MB at the peak of the GPU"),
    ],
)
def test_the_table_says_whose_memory_it_was(device: str, told: str) -> None:
    lines = console.table("mine", dataclasses.replace(FIGURES, device=device, peak_flops=None))
    assert told in lines
    assert "98.7 GFLOP/s; this machine's peak in float32 could not be measured" in lines
    assert ("2 threads" in lines[0]) == (device == "cpu")
