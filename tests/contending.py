"""A program that does one thing at a signal, so that several of it do it at once.

    python -m tests.contending {create,exact,hold,prepare} PATH

It says that it is ready, waits for a line, does it, says how it went, and waits for another line
before it ends.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from gpt import corpus
from gpt.config import Config
from gpt.runs import Run, RunError


def create(path: Path, exact: bool) -> str:
    """A new run, in a folder of its own under `path` or in just that folder."""
    run = Run.new("tiny", out_dir=path if exact else None, root=path)
    if not exact:
        # All of them started in the same second.
        run.path = path / "20261122-143015-tiny"
    run.create(Config())
    KEPT.append(run)
    return run.name


def hold(path: Path) -> str:
    """The lock of a run that exists."""
    run = Run(path)
    run.hold()
    KEPT.append(run)
    return run.name


def prepare(path: Path) -> str:
    """The corpus of a text; what it decodes to."""
    import numpy as np

    events = corpus.prepare(str(path))
    while True:
        try:
            next(events)
        except StopIteration as end:
            found = end.value
            break
    tokens = np.concatenate([np.fromfile(p, "<u2") for p in (found.train_path, found.val_path)])
    return found.tokenizer().decode(tokens.tolist())


KEPT: list[Run] = []


def main(what: str, path: Path) -> None:
    """See the module."""
    do = {
        "create": lambda: create(path, exact=False),
        "exact": lambda: create(path, exact=True),
        "hold": lambda: hold(path),
        "prepare": lambda: prepare(path),
    }[what]
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        said = {"did": do()}
    except RunError as error:
        said = {"refused": str(error)}
    print(json.dumps(said), flush=True)
    sys.stdin.readline()
    for run in KEPT:
        run.release()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
