"""A program that saves, broken at one system call after another.

    python -m tests.saving {kill,EIO,ENOSPC} FOLDER COUNT

It lists the system calls that two saves and their rotations make. For COUNT of these, spread
evenly and each kind among them, a process that saves is killed at that call, or has it fail.
Then it looks at what is on the disk. Prints JSON: how many calls of each kind there are, how
many of them it tried, and what was wrong. What was wrong is in the field `faults`.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import torch

from gpt import checkpoint, manifest
from gpt.boundary import Boundary, optimizer_tensors, read_generators
from gpt.checkpoint import CheckpointError, Kind
from gpt.model import GPT
from gpt.runs import Run
from gpt.saver import Saver
from gpt.settings import make_config

WRITING = (
    "write", "pwrite64", "writev", "pwritev", "pwritev2", "ftruncate", "fallocate",
    "copy_file_range", "sendfile", "msync", "fsync", "fdatasync", "sync_file_range", "rename",
    "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat", "open", "openat",
    "creat", "link", "linkat", "chmod", "fchmod",
)  # fmt: skip
READING = (
    "read", "pread64", "readv", "lseek", "close", "stat", "lstat", "fstat", "newfstatat", "statx",
    "getdents64", "fadvise64", "statfs", "fstatfs", "access",
)  # fmt: skip
BEFORE = ((1, "best", 2.0), (2, "last", 2.0), (3, "last", 2.0))
BROKEN = ((4, "best", 1.0), (5, "last", 1.0))
AFTER = ((6, "last", 1.0),)
PR_SET_PTRACER, ANYONE = 0x59616D61, ctypes.c_ulong(-1)
Point = tuple[str, int]


class Trainer:
    """A small real model with its optimizer, whose parameters all equal the step it is at."""

    def __init__(self) -> None:
        config = make_config({"n_layer": 1, "n_head": 1, "n_embd": 16, "block_size": 8})
        self.device = torch.device("cpu")
        self.model = GPT(config, 65)
        self.optimizer = torch.optim.AdamW(self.model.parameters())
        self.batch = (torch.zeros(2, 8, dtype=torch.long), torch.ones(2, 8, dtype=torch.long))
        self.model(*self.batch)[1].backward()
        self.optimizer.step()

    def save(self, saver: Saver, step: int, kind: Kind, best: float) -> None:
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter.fill_(step)
        boundary = Boundary(step, True, read_generators(self.device), self.batch)
        state = {"best_val": best, "best_step": step if kind == "best" else 1}
        parameters = dict(self.model.named_parameters())
        saver.save(boundary, kind, parameters, optimizer_tensors(self.model, self.optimizer), state)


class Broken:
    """The process that is broken: it saves what `BROKEN` says and notes what it calls saved."""

    def __init__(self, trainer: Trainer, folder: Path, log: Path) -> None:
        self.trainer = trainer
        self.run = Run(folder)
        self.log = log
        # Shared memory: to note something takes no system call.
        self.said = mmap.mmap(-1, len(BROKEN))

    def go(self, *inject: str) -> int:
        """Run it under strace; how it ended, as from `os.waitstatus_to_exitcode`."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        pid = os.fork()
        if not pid:
            ctypes.CDLL(None).prctl(PR_SET_PTRACER, ANYONE, 0, 0, 0)
            signal.sigwait({signal.SIGUSR1})
            self._save()
        command = ("strace", "-f", "-p", str(pid), "-o", str(self.log), *inject)
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
            assert strace.stderr is not None
            attached = strace.stderr.readline()
            if "attached" not in attached:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise PermissionError(attached.strip())
            os.kill(pid, signal.SIGUSR1)
            status = os.waitpid(pid, 0)[1]
            strace.stderr.read()
        return os.waitstatus_to_exitcode(status)

    def _save(self) -> None:
        status = 3
        try:
            saver = Saver(self.run, keep=2)
            for index, (step, kind, best) in enumerate(BROKEN):
                try:
                    self.trainer.save(saver, step, kind, best)
                    self.said[index] = 1
                except CheckpointError:
                    continue
            status = 0
        finally:
            os._exit(status)

    def saved(self) -> list[int]:
        """The steps that it said were saved."""
        return [step for index, (step, _, _) in enumerate(BROKEN) if self.said[index]]


def enumerate_calls(broken: Broken, kinds: tuple[str, ...]) -> Counter[str]:
    """How often it makes each of these calls when nothing is wrong."""
    names = ",".join(f"?{kind}" for kind in kinds)
    assert broken.go("-e", f"trace={names}") == 0
    assert broken.saved() == [4, 5]
    found = re.findall(r"^\d+ +(\w+)\(", broken.log.read_text(errors="replace"), re.MULTILINE)
    return Counter(found)


def choose(calls: Counter[str], count: int) -> list[Point]:
    """So many of all calls, spread evenly over each kind, and one of each kind at least."""
    share = min(1.0, count / calls.total())
    points: list[Point] = []
    for kind, total in sorted(calls.items()):
        some = max(1, round(share * total))
        points += [(kind, 1 + index * total // some) for index in range(some)]
    return points


def whats_wrong(broken: Broken, trainer: Trainer, killed: bool) -> list[str]:
    """What is not as promised on the disk."""
    run, faults = broken.run, list[str]()
    there = manifest.listed(run.checkpoints)
    whole = [it.path for it in there if it.told is not None and _is_whole(it.path)]
    if killed and len(whole) < len(there):
        faults.append("a folder with a checkpoint's name is not whole")
    if len(whole) < 2:
        faults.append(f"{len(whole)} whole checkpoints are left")
    newest = checkpoint.load(checkpoint.find(run, "last")[0])
    best = checkpoint.load(checkpoint.find(run, "best")[0])
    if newest.state["step"] < max(broken.saved(), default=3):
        faults.append(f"step {newest.state['step']} is the newest, {broken.saved()} were saved")
    if best.state["step"] != (4 if _has(there, 4) else 1):
        faults.append(f"the best is step {best.state['step']}")
    for found in (newest, best):
        if any(bool((p != found.state["step"]).any()) for p in found.model.values()):
            faults.append(f"{found.path.name} holds other parameters")
    for step, kind, value in AFTER:
        trainer.save(Saver(run, keep=2), step, kind, value)
    if checkpoint.load(checkpoint.find(run, "last")[0]).state["step"] != AFTER[-1][0]:
        faults.append("a further save is not found")
    if list(run.checkpoints.glob(".*")):
        faults.append("something temporary is left")
    return faults


def _has(there: list[manifest.Listed], step: int) -> bool:
    return any(it.told is not None and it.told.step == step for it in there)


def _is_whole(path: Path) -> bool:
    try:
        checkpoint.verify(path)
    except CheckpointError:
        return False
    return True


def main(how: str, folder: Path, count: int) -> None:
    """See the module."""
    torch.set_num_threads(1)
    trainer = Trainer()
    template = folder / "template"
    template.mkdir(parents=True)
    saver = Saver(Run(template), keep=2)
    for step, kind, best in BEFORE:
        trainer.save(saver, step, kind, best)

    def fresh() -> Broken:
        shutil.rmtree(folder / "run", ignore_errors=True)
        shutil.copytree(template, folder / "run")
        return Broken(trainer, folder / "run", folder / "log")

    killed = how == "kill"
    calls = enumerate_calls(fresh(), WRITING if killed else WRITING + READING)
    effect = "signal=SIGKILL" if killed else f"error={how}"
    faults: list[str] = []
    points = choose(calls, count)
    for kind, number in points:
        broken = fresh()
        status = broken.go("-e", f"trace={kind}", "-e", f"inject={kind}:{effect}:when={number}")
        wrong = whats_wrong(broken, trainer, killed)
        if status != (-signal.SIGKILL if killed else 0):
            wrong.append(f"it ended with {status}")
        faults += [f"{kind} {number}: {words}" for words in wrong]
    print(json.dumps({"calls": calls, "points": len(points), "faults": faults}))


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
    except PermissionError as error:
        print(json.dumps({"refused": str(error) or errno.errorcode[errno.EPERM]}))
