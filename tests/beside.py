"""The same work by Nanodeck and by nanoGPT, one after the other on this machine.

`python -m tests.beside NANOGPT [run] [sizes] [samples]`, where NANOGPT is a checkout of
karpathy/nanoGPT whose data/shakespeare_char is prepared. Prints figures and asserts nothing. Run
it with nothing else running.
"""

from __future__ import annotations

import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt import nanogpt, presets
from gpt.events import Eval, Step
from gpt.runs import Run, follow
from gpt.sample import Sampler
from gpt.settings import make_config

APP = Path(__file__).parent.parent / "app.py"
PRESET = "shakespeare_char_cpu"
ROUNDS = 3
ASKED = 20
"""Texts of which the first character is timed."""
FORGOTTEN = 3
"""Steps at the start of a measurement that do not count."""
BASE: dict[str, Any] = {"eval_interval": 10**6, "eval_iters": 1, "log_interval": 1}
WIDTHS = 64, 128, 384, 768
CONTEXTS = 64, 256, 1024
BATCHES = 1, 12, 64
MOST_TOKENS = {64: 16384, 128: 16384, 384: 4096, 768: 3072}
"""For each width the most tokens of a step that is tried: beyond, a step takes many seconds."""
ALSO: dict[str, dict[str, Any]] = {
    "dropout 0.2": {"dropout": 0.2},
    "bias": {"bias": True},
    "accumulation 4": {"gradient_accumulation_steps": 4},
    "all three": {"dropout": 0.2, "bias": True, "gradient_accumulation_steps": 4},
}


@dataclass(frozen=True, slots=True)
class Training:
    """One training by one of the two."""

    seconds: float
    """Of the whole process."""
    ms: float
    """Of a step, the median."""
    val: float | None
    """The last estimate."""
    peak: int
    """Bytes of memory at most."""


class Peer:
    """nanoGPT, in processes of its own."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout

    def train(self, settings: Mapping[str, Any], out: Path) -> Training:
        command = shlex.split(nanogpt.command_line(make_config(settings), gpu=False))
        printed, seconds, peak = self._run(*command[1:], f"--out_dir={out}")
        # Its clock begins before the first evaluation.
        times = [float(ms) for ms in re.findall(r"time ([\d.]+)ms", printed)]
        vals = re.findall(r"val loss ([\d.]+)", printed)
        return Training(seconds, statistics.median(times[FORGOTTEN:]), float(vals[-1]), peak)

    def sample(self, out: Path, count: int, length: int) -> float:
        """Seconds of the whole process."""
        words = f"--num_samples={count}", f"--max_new_tokens={length}"
        return self._run("sample.py", f"--out_dir={out}", "--device=cpu", *words)[1]

    def _run(self, *words: str) -> tuple[str, float, int]:
        return spent([sys.executable, *words], self.checkout)


class Ours:
    """Nanodeck, likewise."""

    def train(self, settings: Mapping[str, Any], out: Path) -> Training:
        flags = [f"--{key}={value}" for key, value in settings.items()]
        words = "train", PRESET, "--sample_interval=-1", f"--out_dir={out}", *flags
        _, seconds, peak = self._run(*words)
        events = list(follow(Run(out)))
        times = [event.ms for event in events if isinstance(event, Step)]
        vals = [event.val for event in events if isinstance(event, Eval)]
        return Training(seconds, statistics.median(times[FORGOTTEN:]), vals[-1], peak)

    def sample(self, out: Path, count: int, length: int) -> float:
        """Seconds of the whole process."""
        words = f"--num_samples={count}", f"--max_new_tokens={length}", "--device=cpu"
        return self._run("sample", str(out), *words)[1]

    def _run(self, *words: str) -> tuple[str, float, int]:
        return spent([sys.executable, str(APP), *words], None)


def spent(command: list[str], folder: Path | None) -> tuple[str, float, int]:
    """What a process prints, how many seconds it takes, and its memory at most, in bytes.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    with tempfile.TemporaryFile("w+") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        output.seek(0)
        printed = output.read()
    if code := os.waitstatus_to_exitcode(status):
        raise subprocess.CalledProcessError(code, command, printed)
    return printed, seconds, usage.ru_maxrss * 1024


def reference() -> Mapping[str, Any]:
    """The settings of the reference preset."""
    return next(preset.values for preset in presets.find_all()[0] if preset.name == PRESET)


def run(peer: Peer, ours: Ours, folder: Path) -> None:
    """The reference run, whole, alternating."""
    found: dict[Any, list[Training]] = {peer: [], ours: []}
    for number in range(ROUNDS):
        for who, trainings in found.items():
            trainings.append(who.train(reference(), folder / f"{type(who).__name__}-{number}"))
    for who, trainings in found.items():
        seconds = statistics.median(it.seconds for it in trainings)
        ms = statistics.median(it.ms for it in trainings)
        peak = statistics.median(it.peak for it in trainings) / 1e6
        print(
            f"{type(who).__name__}: {seconds:.1f} s, {ms:.1f} ms a step, "
            f"val {trainings[-1].val}, {peak:.0f} MB at most"
        )
    print(f"whole process: {ratio(found[peer], found[ours], lambda it: it.seconds):.2f} times")
    print(f"a step: {ratio(found[peer], found[ours], lambda it: it.ms):.2f} times", flush=True)


def ratio(
    theirs: list[Training], ours: list[Training], figure: Callable[[Training], float]
) -> float:
    """How many times as fast ours is."""
    return statistics.median(map(figure, theirs)) / statistics.median(map(figure, ours))


def sizes(peer: Peer, ours: Ours, folder: Path) -> None:
    """The time of a step over sizes of the model and the batch, and with other settings."""
    cells = [
        (f"{width:5}{context:6}{batch:4}", {"n_embd": width, "block_size": context,
                                            "batch_size": batch, "n_layer": 2})
        for width in WIDTHS for context in CONTEXTS for batch in BATCHES
        if context * batch <= MOST_TOKENS[width]
    ]  # fmt: skip
    for number, (name, changed) in enumerate([*cells, *ALSO.items()]):
        settings = {**reference(), **BASE, **changed}
        tokens = settings["batch_size"] * settings["block_size"]
        steps = max(10, min(60, round(4e10 / (tokens * settings["n_embd"] ** 2))))
        settings |= {"max_iters": steps, "lr_decay_iters": steps, "warmup_iters": 1}
        order = (peer, ours) if number % 2 else (ours, peer)
        ms = {
            who: who.train(settings, folder / f"{type(who).__name__}-{number}").ms for who in order
        }
        print(
            f"{name}: {ms[peer]:8.1f} ms, {ms[ours]:8.1f} ms, {ms[peer] / ms[ours]:.2f} times",
            flush=True,
        )


def samples(peer: Peer, ours: Ours, folder: Path) -> None:
    """Tokens a second: nanoGPT's ten samples of 500, and ten of 250 that fit the context."""
    for context, length in ((64, 500), (256, 250)):
        settings = {**reference(), **BASE, "block_size": context, "max_iters": 5}
        rates: dict[str, float] = {}
        for who in (peer, ours):
            out = folder / f"{type(who).__name__}-{context}"
            who.train({**settings, "eval_interval": 5}, out)
            start = statistics.median(who.sample(out, 10, 1) for _ in range(ROUNDS))
            whole = statistics.median(who.sample(out, 10, length) for _ in range(ROUNDS))
            rates[type(who).__name__] = 10 * (length - 1) / (whole - start)
            print(
                f"{type(who).__name__}: 10 samples of {length}, context {context}: {whole:.2f} s,"
                f" {rates[type(who).__name__]:.0f} tokens/s beyond the start of {start:.2f} s"
            )
        print(f"{rates['Ours'] / rates['Peer']:.1f} times", flush=True)
        first, *later = first_characters(folder / f"Ours-{context}")
        print(
            f"first character: {first:.0f} ms when asked for the first time, then "
            f"{statistics.median(later):.0f} ms, at most {max(later):.0f} of {ASKED}",
            flush=True,
        )


def first_characters(out: Path) -> list[float]:
    """Milliseconds from asking an open model for a text to its first character, several times."""
    sampler = Sampler.open(Run(out))
    waited: list[float] = []
    for seed in range(ASKED):
        asked = time.perf_counter()
        next(sampler.stream("\n", 100, 0.8, 200, seed))
        waited.append(1e3 * (time.perf_counter() - asked))
    return waited


PARTS = {"run": run, "sizes": sizes, "samples": samples}

if __name__ == "__main__":
    checkout, *parts = sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        for part in parts or PARTS:
            PARTS[part](Peer(Path(checkout).resolve()), Ours(), Path(scratch) / part)
