"""A program that trains until it notices that other work holds the cores, and prints the notice.

    python -m tests.crowded THREADS

It prints a line once it has found its pace, and the notice: each as JSON. A run that notices at
once, because the machine is busy already, prints the notice alone.
"""

from __future__ import annotations

import json
import sys
import time

import torch

from gpt import presets
from gpt.config import Config
from gpt.contention import Contention
from gpt.data import Batches, Split
from gpt.learner import Learner
from gpt.settings import make_config
from gpt.world import World

PACE_SECONDS = 15.0


def main(threads: int) -> None:
    """See the module."""
    values = dict(presets.find("shakespeare_char_cpu").values)
    config = make_config(values | {"threads": threads, "device": "cpu"})
    world = World.of(config)
    world.set_up()
    learner = Learner(config, 65, world)
    batches = Batches(Split.of(torch.randint(65, (100_000,))), config, world.device)
    with Contention(world.threads) as contention:
        train(learner, batches, config, contention)


def train(learner: Learner, batches: Batches, config: Config, contention: Contention) -> None:
    """Train until other work is noticed."""
    begun, step, found = time.perf_counter(), 0, False
    while True:
        start = time.perf_counter()
        learner.update(batches, 1e-3, True, lambda: None)
        seconds = time.perf_counter() - start
        if notice := contention.after_step(step, seconds, config.tokens_per_iter):
            print(json.dumps(notice.text), flush=True)
            return
        if not found and start - begun > PACE_SECONDS:
            found = True
            print(json.dumps("quick"), flush=True)
        step += 1


if __name__ == "__main__":
    main(int(sys.argv[1]))
