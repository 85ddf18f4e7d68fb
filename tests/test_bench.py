"""What a configuration's training costs here: measured for real, shown as a table and as JSON."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gpt import bench, cli, estimate, evaluate, presets, steps
from gpt.bench import BenchError, Figures
from gpt.config import Config
from gpt.control import Stopped
from gpt.corpus import Corpus
from gpt.data import Batches, Splits
from gpt.events import Notice, Progress
from gpt.learner import Learner
from gpt.settings import make_config
from gpt.steps import PARTS
from gpt.world import World
from tests.conftest import finish
from tests.soak import ROOT

SMALL: dict[str, Any] = {
    "batch_size": 4, "block_size": 32, "n_layer": 2, "n_head": 2, "n_embd": 32, "eval_iters": 3,
    "eval_interval": 10, "device": "cpu", "threads": 1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((steps, "WARM_UP_SECONDS"), (steps, "SECONDS"), (bench, "EVAL_SECONDS")):
        monkeypatch.setattr(module, name, 0.05)


def small(preset: str = "tiny", **values: Any) -> Config:
    return make_config({**presets.find(preset).values, **SMALL, **values})


@pytest.mark.parametrize("preset", [preset.name for preset in presets.find_all()[0]])
def test_every_preset_can_be_measured(preset: str, shakespeare: Corpus) -> None:
    # When a preset, made small by settings, is measured
    config = small(preset, batch_schedule="", block_schedule="")
    events, figures = finish(bench.bench(config))

    # Then every part of a step was seen, and together they are the step
    assert isinstance(figures, Figures)
    assert list(figures.parts_ms) == list(PARTS)
    assert all(ms > 0 for ms in figures.parts_ms.values()), figures.parts_ms
    assert sum(figures.parts_ms.values()) + figures.rest_ms == pytest.approx(figures.timed_ms)
    assert figures.rest_ms < 0.9 * figures.timed_ms
    assert figures.steps >= steps.LEAST_ROUNDS
    assert figures.warm_up_steps >= steps.WARM_UP_STEPS

    # And the other figures follow
    assert figures.params == estimate.params(config, shakespeare.vocab_size, positions=False)
    assert figures.tokens_per_s == pytest.approx(1e3 * 4 * 32 / figures.step_ms)
    overall_ms = (
        figures.step_ms
        + figures.eval_ms / config.eval_interval
        + figures.log_ms / config.log_interval
    )
    assert figures.tokens_per_s_overall == pytest.approx(1e3 * 4 * 32 / overall_ms, rel=1e-9)
    assert figures.tokens_per_s_overall < figures.tokens_per_s
    assert figures.mfu is not None
    assert figures.memory > 100e6
    assert any(isinstance(event, Progress) for event in events)


def test_the_parts_of_a_step_are_never_longer_than_it_together() -> None:
    # Given steps of a busy machine, each held up in another part
    timed = [7.5, 10.5, 7.2]
    parts = {"forward": [6.0, 5.0, 1.0], "backward": [1.0, 5.0, 6.0]}
    assert statistics.median(timed) < sum(statistics.median(part) for part in parts.values())

    # When they are told as one
    whole, of_it = steps.typical(timed, parts)

    # Then the parts fit into it, and steps far from the others are left out of longer series
    assert whole == pytest.approx(8.4)
    assert sum(of_it.values()) == pytest.approx(8.0)
    assert steps.typical([1.0, 2.0, 2.0, 90.0], {"forward": [1.0, 1.0, 2.0, 80.0]}) == (
        2.0, {"forward": 1.5},
    )  # fmt: skip


def test_nothing_is_written_and_a_wish_to_stop_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shakespeare: Corpus
) -> None:
    monkeypatch.chdir(tmp_path)
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise Stopped

    with pytest.raises(Stopped):
        finish(bench.bench(small(), check))
    assert list(tmp_path.iterdir()) == []


def test_a_step_is_measured_at_the_size_that_it_ends_with(
    monkeypatch: pytest.MonkeyPatch, shakespeare: Corpus
) -> None:
    # Given a run that begins with small batches
    sizes: set[torch.Size] = set()
    update = Learner.update

    def seen(learner: Learner, batches: Batches, *how: Any) -> Any:
        sizes.add(batches.current[0].shape)
        return update(learner, batches, *how)

    monkeypatch.setattr(Learner, "update", seen)
    config = small(batch_schedule="0.5:2", block_schedule="0.5:8", positions="rotary")
    # When
    finish(bench.bench(config))
    # Then
    assert sizes == {(4, 32)}


@pytest.mark.parametrize(("eval_iters", "size"), [(0, 64), (50, 4 * 32)])
def test_an_evaluation_is_measured_in_its_own_batches(
    eval_iters: int, size: int, monkeypatch: pytest.MonkeyPatch, shakespeare: Corpus
) -> None:
    # Given exact batches of 64 tokens, others one at a time, and that any batch takes a second
    now = 0.0
    monkeypatch.setattr(bench, "time", SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setattr(bench, "EVAL_SECONDS", 20.0)
    monkeypatch.setattr(evaluate, "EXACT_TOKENS", 64)
    monkeypatch.setattr(evaluate, "GROUP_TOKENS", 1)
    config = small(eval_iters=eval_iters)
    world = World.of(config)
    learner = Learner(config, shakespeare.vocab_size, world)
    forward = learner.forward
    sizes: set[int] = set()

    def slow_forward(x: torch.Tensor, y: torch.Tensor) -> Any:
        nonlocal now
        now += 1
        sizes.add(x.numel())
        assert not learner.model.training
        return forward(x, y)

    learner.forward = slow_forward
    # When
    splits = Splits(shakespeare)
    seconds = bench._evaluation_seconds(learner, splits, config, world, lambda: None)
    # Then it is scaled up to both splits, and the learner goes on training
    assert sizes == {size}
    assert seconds == pytest.approx(2 * (eval_iters or (shakespeare.val_tokens - 1) / size))
    assert now < 100
    assert learner.model.training
    # And a wish to stop is heard
    with pytest.raises(Stopped):
        bench._evaluation_seconds(learner, splits, config, world, stop)


def stop() -> None:
    raise Stopped


def test_too_large_a_model_is_refused_in_words(shakespeare: Corpus) -> None:
    with pytest.raises(BenchError, match=r"there is not enough memory for n_layer = 900.*free"):
        finish(bench.bench(small(n_layer=900, n_embd=16384)))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits a process's memory as Linux does")
def test_memory_that_runs_out_is_told_in_words(shakespeare: Corpus) -> None:
    # Given a process that may take one more gigabyte, where the batch needs several
    done = subprocess.run(
        [sys.executable, "-c", SHORT], capture_output=True, text=True, cwd=ROOT, timeout=300
    )
    assert done.returncode == 2, done.stderr
    told = done.stderr.splitlines()[-1]
    assert told.startswith("nanodeck: there is not enough memory for n_layer = 4, ")
    assert "Traceback" not in done.stderr


SHORT = """
import resource
import torch
from gpt import cli

used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), -1))
flags = ["--batch_size=512", "--block_size=256", "--n_layer=4", "--n_embd=128", "--threads=1"]
raise SystemExit(cli.main(["bench", "tiny", "--device=cpu", *flags]))
"""


def test_what_cannot_be_had_here_is_told(shakespeare: Corpus) -> None:
    events, _ = finish(bench.bench(small(dtype="float16")))
    assert ["float16 needs a CUDA" in e.text for e in events if isinstance(e, Notice)] == [True]


@pytest.mark.slow
def test_peak_memory_is_this_processs_own() -> None:
    # Given a large process, the peak of one that it starts is not its own peak
    ballast = b"x" * 600_000_000
    code = (
        "import torch; from gpt import bench; from gpt.config import Config; "
        "from gpt.world import World; w = World.of(Config(device='cpu')); "
        "before = bench.peak_memory(w); x = torch.ones(50_000_000); "
        "print(before, bench.peak_memory(w))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120
    )
    before, after = map(int, done.stdout.split())
    assert before < len(ballast)
    assert after - before == pytest.approx(200e6, rel=0.1)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_parts_are_waited_for_on_a_gpu(shakespeare: Corpus) -> None:
    _, figures = finish(bench.bench(small(device="cuda", n_embd=512, batch_size=64)))
    assert figures.parts_ms["backward"] > figures.parts_ms["batch"]
    assert figures.memory < 4e9
    assert figures.device.startswith("cuda")


def test_the_command_prints_one_object(
    capsys: pytest.CaptureFixture[str], shakespeare: Corpus
) -> None:
    flags = [f"--{key}={value}" for key, value in SMALL.items()]
    assert cli.main(["bench", "tiny", *flags, "--dtype=float16", "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["config"] == "tiny"
    assert found["dtype"] == "float32"
    assert found["tokens_per_iter"] == 128
    assert set(found["parts_ms"]) == set(PARTS)
    assert found["mfu"] == pytest.approx(found["flops_per_s"] / found["peak_flops"])
    assert "float16 needs a CUDA device" in printed.err


def test_the_command_measures_the_reference_when_nothing_is_named(
    capsys: pytest.CaptureFixture[str], shakespeare: Corpus
) -> None:
    assert cli.main(["bench", *(f"--{key}={value}" for key, value in SMALL.items())]) == 0
    assert capsys.readouterr().out.startswith("shakespeare_char_cpu: 0.03M parameters, 128 tokens")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["tinny"], "Did you mean tiny?"),
        (["tiny", "tiny"], "one word is needed"),
        (["tiny", "--n_hed=2"], "Did you mean n_head?"),
        (["tiny", "--n_layer=six"], "a whole number"),
        (["--dataset=nowhere.txt"], "nowhere.txt"),
        (["--n_layer=900", "--n_embd=16384"], "there is not enough memory"),
    ],
)
def test_what_is_wrong_is_told_in_words(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str], shakespeare: Corpus
) -> None:
    assert cli.main(["bench", *words]) == 2
    printed = capsys.readouterr()
    assert told in printed.err
    assert printed.out == ""


@pytest.mark.slow
def test_a_text_that_cannot_be_fetched_is_told_in_words(tmp_path: Path) -> None:
    # Given a machine with an empty cache and no network
    changes = {
        "NANODECK_CACHE_DIR": str(tmp_path), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path),
        "https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9", "LANG": "C",
    }  # fmt: skip
    code = "from gpt import cli; raise SystemExit(cli.main(['bench', 'tiny']))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT,
        env={**os.environ, **changes},
    )  # fmt: skip
    assert done.returncode == 2
    assert "shakespeare_char could not be fetched" in done.stderr
    assert "--dataset=path/to/text.txt" in done.stderr
    assert "Traceback" not in done.stderr
