"""Seconds of training to each of some losses, for nanoGPT and for presets, and a chart of them.

`python -m tests.ladder NANOGPT [PRESET ...] [--seed=N]`, or `make ladder NANOGPT=...`, where
NANOGPT is a checkout of karpathy/nanoGPT whose data/shakespeare_char is prepared. A preset can be
followed by settings: shakespeare_char_fast:max_iters=60,threads=1. Prints a table, writes
docs/ladder.csv and draws docs/ladder.svg; `python -m tests.ladder chart` draws that again. Run it
with nothing else running: it takes the time of every run, and about as much again to evaluate.

A loss is exact: over the whole validation split, in consecutive windows of the model's own
`block_size`. Seconds are those of training, from the first batch on, compiling included and
evaluations left out. Our own runs are evaluated while their clock stands still, so that neither a
time budget nor a schedule notices. nanoGPT does not measure exactly, and to make it evaluate
elsewhere would change its random numbers. So its reference run trains in a process of its own, as
it is; its steps give the seconds, and our reference run, which is the same run, gives the losses.
That it is the same is checked: by the loss of every step, and by the exact loss of nanoGPT's own
checkpoint.
"""

from __future__ import annotations

import argparse
import csv
import math
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, fields
from itertools import accumulate
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from gpt import foreign, nanogpt, presets
from gpt.errors import Refused
from gpt.model import GPT
from gpt.settings import make_config, parse
from gpt.world import World
from tests.conftest import prepared
from tests.ladder_chart import drawn
from tests.ladder_climb import Climb, Point, Settings, climb, exact

RUNGS = 1.88, 1.70, 1.60, 1.50, 1.47
PEER = "nanoGPT"
REFERENCE = "shakespeare_char_cpu"
PRESETS = ["shakespeare_char_fast", "shakespeare_char_90s", "shakespeare_char_best"]
SAME = 0.03
"""Losses of a step that differ by more are not of the same run."""
DOCS = Path(__file__).parent.parent / "docs"
POINTS, CHART = DOCS / "ladder.csv", DOCS / "ladder.svg"


def settings_of(word: str) -> dict[str, Any]:
    """Those of a preset as the command line names it, on a CPU and without samples.

    Raises:
        ConfigError, PresetError: they cannot be used.
    """
    name, _, changes = word.partition(":")
    pairs = (change.partition("=") for change in changes.split(",") if change)
    changed = {setting: parse(setting, text) for setting, _, text in pairs}
    plain = {"device": "cpu", "log_interval": 1, "sample_interval": -1}
    settings = {**presets.find(name).values, **plain, **changed}
    make_config(settings)
    return settings


def alone(run: str, settings: Settings) -> Climb:
    """A run of ours in a process of its own, as a person's has one."""
    print(f"{run} trains", file=sys.stderr, flush=True)
    spawn = get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as pool:
        return pool.submit(climb, run, settings).result()


def peer(checkout: Path, settings: Settings, out: Path) -> str:
    """What nanoGPT prints while it trains the same; its checkpoint is in `out`."""
    print(f"{PEER} trains", file=sys.stderr, flush=True)
    words = shlex.split(nanogpt.command_line(make_config(settings), gpu=False))
    command = [sys.executable, *words[1:], f"--out_dir={out}"]
    return subprocess.run(
        command, cwd=checkout, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def peer_seconds(printed: str) -> list[float]:
    """The seconds that nanoGPT had trained after each of its steps.

    The time of a step before which it evaluated has that in it, and its checkpoint; the median of
    the others counts instead.
    """
    times = {
        int(step): float(ms) for step, ms in re.findall(r"iter (\d+):.* time ([\d.]+)ms", printed)
    }
    evaluated = {int(step) for step in re.findall(r"step (\d+):", printed)}
    usual = statistics.median(ms for step, ms in times.items() if step not in evaluated)
    return [
        s / 1e3
        for s in accumulate(usual if step in evaluated else ms for step, ms in times.items())
    ]


def peer_points(printed: str, ours: Climb) -> list[Point]:
    """nanoGPT's: its seconds, and the exact losses of our run, which is the same.

    Raises:
        SystemExit: it is not the same.
    """
    theirs = [float(loss) for loss in re.findall(r"iter \d+: loss ([\d.]+)", printed)]
    apart = [abs(one - other) for one, other in zip(theirs, ours.losses, strict=False)]
    print(f"{PEER} and {REFERENCE}: the loss of a step differs by at most {max(apart):.4f}")
    if not all(difference <= SAME for difference in apart):
        raise SystemExit(f"that is more than {SAME}: these are not the same run.")
    seconds = peer_seconds(printed)
    return [Point(PEER, p.step, seconds[p.step - 1], p.val) for p in ours.points]


def checkpoint_val(path: Path, settings: Settings) -> tuple[int, float]:
    """The step of nanoGPT's own checkpoint, and the exact loss of the model in it."""
    found = foreign.read(path)
    config = make_config({**settings, **found.model_args})
    model = GPT(config, found.vocab_size)
    model.load_state_dict(found.model)
    val = exact(model.eval(), prepared(config.dataset), config.block_size, World.of(config))
    return found.step, val


def reached(points: Sequence[Point], rung: float) -> float | None:
    """The seconds of the first evaluation at or below a loss; None where there is none."""
    return next((point.seconds for point in points if point.val <= rung), None)


def table(runs: Mapping[str, Sequence[Point]]) -> str:
    """The rungs of each run, as Markdown."""
    head = "| run |", *(f" {rung:.2f} |" for rung in RUNGS), " at its end |"
    rule = "|---|" + "---|" * (len(RUNGS) + 1)
    rows = [
        f"| {run} | "
        + " | ".join(in_words(reached(points, rung)) for rung in RUNGS)
        + f" | {points[-1].val:.4f}, {in_words(points[-1].seconds)}, {points[-1].step} steps |"
        for run, points in runs.items()
    ]
    return "\n".join(["".join(head), rule, *rows])


def in_words(seconds: float | None) -> str:
    """Three digits of it."""
    if seconds is None:
        return "-"
    return f"{seconds:.{max(0, 2 - math.floor(math.log10(seconds)))}f} s"


def write(path: Path, runs: Mapping[str, Sequence[Point]]) -> None:
    """The points as CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Point)], lineterminator="\n")
        writer.writeheader()
        for point in (point for points in runs.values() for point in points):
            rounded = {"seconds": f"{point.seconds:.4f}", "val": f"{point.val:.5f}"}
            writer.writerow(asdict(point) | rounded)


def read(path: Path) -> dict[str, list[Point]]:
    """The points in a CSV, by their run."""
    runs: dict[str, list[Point]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            point = Point(row["run"], int(row["step"]), float(row["seconds"]), float(row["val"]))
            runs.setdefault(point.run, []).append(point)
    return runs


def draw(points: Path, chart: Path) -> None:
    """The chart of the points in a CSV."""
    lines = {run: [(p.seconds, p.val) for p in found] for run, found in read(points).items()}
    chart.write_text(drawn(lines, RUNGS), "utf-8")


def main(checkout: Path, words: Sequence[str], seed: int | None) -> None:
    """Train them all, one after the other."""
    wanted = {word: settings_of(word) for word in words or PRESETS}
    reference = next((w for w in wanted if w.partition(":")[0] == REFERENCE), REFERENCE)
    settings = wanted.pop(reference, None) or settings_of(reference)
    with tempfile.TemporaryDirectory() as scratch:
        printed = peer(checkout.resolve(), settings, Path(scratch))
        ours = alone(reference, settings)
        runs = {PEER: peer_points(printed, ours), reference: ours.points}
        step, val = checkpoint_val(Path(scratch) / "ckpt.pt", settings)
    print(f"{PEER}'s own checkpoint of step {step}: {val:.4f}")
    for word, values in wanted.items():
        runs[word] = alone(word, values if seed is None else {**values, "seed": seed}).points
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"\nSeconds of training to an exact validation loss\n\n{table(runs)}")
    write(POINTS, runs)
    draw(POINTS, CHART)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Seconds of training to each of some losses.")
    parser.add_argument("nanogpt", help="a checkout of nanoGPT; or chart, to draw it again")
    parser.add_argument("presets", nargs="*", help=f"{' '.join(PRESETS)} unless some are named")
    parser.add_argument("--seed", type=int, help=f"of all but {REFERENCE}, whose seed is nanoGPT's")
    given = parser.parse_args()
    try:
        if given.nanogpt == "chart":
            draw(POINTS, CHART)
        else:
            main(Path(given.nanogpt), given.presets, given.seed)
    except (Refused, OSError) as error:
        parser.error(str(error))
