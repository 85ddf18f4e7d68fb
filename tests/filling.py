"""A program that trains on a real small disk and fills it up.

    unshare -m python -m tests.filling FOLDER

It needs a mount namespace of its own: it mounts a file system of 2 MiB at FOLDER/disk. Prints
what happened as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gpt
from gpt import checkpoint
from gpt.checkpoint import CheckpointError
from gpt.control import Control
from gpt.events import Event, Finished, Notice, Phase, Saved, Step
from gpt.runs import Run, follow
from gpt.settings import make_config

TEXT = "".join(f"{number}. To be, or not to be: that is the question.\n" for number in range(200))
SETTINGS: dict[str, Any] = {
    "device": "cpu", "threads": 1, "batch_size": 4, "block_size": 16, "n_layer": 1, "n_head": 1,
    "n_embd": 16, "dropout": 0.1, "max_iters": 80, "eval_interval": 40, "eval_iters": 2,
    "sample_interval": -1, "checkpoint_minutes": 0.0, "gradient_accumulation_steps": 1,
}  # fmt: skip


LEFT = 40960


class Filler:
    """A file that takes all the room there is."""

    def __init__(self, disk: Path) -> None:
        self.path = disk / "filler"

    def fill(self, leave: int) -> None:
        """Take all but so many bytes."""
        with self.path.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                file.truncate(file.tell() - leave)

    def remove(self) -> None:
        self.path.unlink()


def trained(
    run: Run,
    filler: Filler,
    when_paused: Callable[[Control], None],
    fill_at: int,
    leave: int = 0,
) -> dict[str, Any]:
    """Train, with the disk full but for `leave` bytes from the step `fill_at` on."""
    control, events = Control(), list[Event]()
    dataset = str(run.path.parent.parent / "text.txt")
    for event in gpt.train(make_config(SETTINGS | {"dataset": dataset}), run, control):
        events.append(event)
        if isinstance(event, Step) and event.step == fill_at:
            filler.fill(leave)
        if isinstance(event, Phase) and event.name == "paused":
            when_paused(control)
    journal = list(follow(run))
    try:
        found = checkpoint.load(checkpoint.find(run, "last")[0]).state["step"]
    except CheckpointError as error:
        found = str(error)
    return {
        "losses": [event.loss for event in events if isinstance(event, Step)],
        "phases": [event.name for event in events if isinstance(event, Phase)],
        "notices": [event.text for event in events if isinstance(event, Notice)],
        "saved": [event.path for event in events if isinstance(event, Saved)],
        "kept": [path.name for path in checkpoint.newest_first(run)],
        "finished": [event.reason for event in events if isinstance(event, Finished)],
        "gaps": [e.text for e in journal if isinstance(e, Notice) and "gap" in e.text],
        "journaled": sum(event in journal for event in events),
        "events": len(events),
        "newest": found,
        "live": run.is_live(),
        "still_paused": control.paused,
    }


def main(folder: Path) -> None:
    """See the module."""
    disk = folder / "disk"
    disk.mkdir()
    (folder / "text.txt").write_text(TEXT)
    os.environ["NANODECK_CACHE_DIR"] = str(folder / "cache")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=True)
    filler = Filler(disk)

    def make_room(_: Control) -> None:
        filler.remove()

    def stop(control: Control) -> None:
        control.stop()

    told = {"undisturbed": trained(Run(disk / "a"), filler, stop, fill_at=-1)}
    told["room made"] = trained(Run(disk / "b"), filler, make_room, fill_at=1)
    told["full at the end"] = trained(Run(disk / "c"), filler, make_room, fill_at=79, leave=LEFT)
    told["stopped"] = trained(Run(disk / "d"), filler, stop, fill_at=1)
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
