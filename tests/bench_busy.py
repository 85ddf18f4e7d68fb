"""A run beside other work: its steps before and after it notices that, and a text being written.

    python -m tests.bench_busy

Prints figures and asserts nothing. The other work is one or two processes that compute without
end, each in a session of its own. Run it with nothing else running.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import torch

from gpt import presets, sample
from gpt.events import Notice, Step
from gpt.model import GPT
from gpt.runs import Run, follow
from gpt.settings import make_config
from gpt.world import World

APP = Path(__file__).parent.parent / "app.py"
PRESET = "shakespeare_char_cpu"
STEPS = 120
CHARACTERS = 200
VOCABULARY = 65


@contextlib.contextmanager
def other_work(jobs: int) -> Generator[None]:
    """So many processes that take what they get."""
    program = [sys.executable, "-c", "while True: pass"]
    with contextlib.ExitStack() as stack:
        for _ in range(jobs):
            process = stack.enter_context(subprocess.Popen(program, start_new_session=True))
            stack.callback(process.kill)
        yield


def steps(threads: int) -> tuple[list[float], list[float]]:
    """Milliseconds of a run's steps, before it noticed other work and after."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        words = PRESET, f"--max_iters={STEPS}", "--eval_iters=1", "--sample_interval=-1"
        subprocess.run(
            [sys.executable, str(APP), "train", *words, f"--threads={threads}", f"--out_dir={run}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        before: list[float] = []
        after: list[float] = []
        noticed = False
        for event in follow(Run(run)):
            noticed = noticed or (isinstance(event, Notice) and "ther work" in event.text)
            if isinstance(event, Step):
                (after if noticed else before).append(event.ms)
    return before, after


def character() -> float:
    """Milliseconds of a character past the context, of a single text."""
    config = make_config({**presets.find(PRESET).values, "device": "cpu"})
    world = World.of(config)
    world.set_up()
    model = GPT(config, VOCABULARY).eval()
    prompt, generator = torch.zeros(1, config.block_size, dtype=torch.long), torch.Generator()
    text = sample.generate(model, prompt, CHARACTERS, 0.8, 0, generator, world)
    next(text)
    begun = time.perf_counter()
    written = sum(1 for _ in text)
    return 1e3 * (time.perf_counter() - begun) / written


def said(ms: list[float]) -> str:
    return f"{statistics.median(ms):.0f} ms ({len(ms)} steps)" if ms else "-"


def main() -> None:
    """See the module."""
    for jobs in (0, 1, 2):
        with other_work(jobs):
            before, after = steps(threads=0)
            alone, _ = steps(threads=1)
            print(
                f"{jobs} other processes: a step {said(before)}, once noticed {said(after)}, "
                f"on one thread {said(alone)}; a character {character():.1f} ms",
                flush=True,
            )


if __name__ == "__main__":
    main()
