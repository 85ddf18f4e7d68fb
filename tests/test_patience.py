"""Threads that wait asleep: what a process spends while they do, and that it ends."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Generator

import pytest
import torch

import gpt
from gpt import presets
from gpt.corpus import Corpus
from gpt.events import Step
from gpt.patience import Patience
from gpt.settings import make_config
from gpt.threads import cores
from tests.soak import ROOT


@contextlib.contextmanager
def restored_threads() -> Generator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


PROGRAM = """
import json, os, time
import torch
from gpt.patience import Patience

def spent():
    "Seconds of computing while there is nothing to do between short pieces of work."
    numbers, total = torch.ones(1 << 20), 0.0
    for _ in range(25):
        numbers.add_(1)
        begun = time.process_time()
        time.sleep(0.01)
        total += time.process_time() - begun
    return total

torch.set_num_threads(2)
found = [spent()]
with Patience(2) as patience:
    for wanted in (True, False, True):
        patience.want(wanted)
        time.sleep(0.2)
        found.append(spent())
time.sleep(0.2)
found.append(spent())
print(json.dumps(found))
"""


@pytest.mark.skipif(not Patience.HELPS or cores() < 2, reason="needs GNU's OpenMP and two cores")
def test_threads_that_wait_compute_less() -> None:
    # Given a process with the threads as users have them
    as_users_have_it = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}

    # When it has pauses in its work, with patience and without
    program = [sys.executable, "-c", PROGRAM]
    answer = subprocess.check_output(program, env=as_users_have_it, cwd=ROOT)
    before, patient, between, again, after = json.loads(answer)

    # Then it spends a fraction of the time in them while patience is wanted, and only then
    assert max(patient, again) < 0.3 * min(before, between, after), answer


def test_a_patient_run_has_the_same_numbers(shakespeare: Corpus) -> None:
    # Given a run on two threads
    config = make_config({
        **presets.find("tiny").values, "device": "cpu", "threads": 2, "max_iters": 5,
        "eval_iters": 1, "sample_interval": -1,
    })  # fmt: skip

    def losses() -> list[float]:
        return [event.loss for event in gpt.train(config) if isinstance(event, Step)]

    # When its threads wait asleep, then it learns the same
    with restored_threads(), Patience(2) as patience:
        busily = losses()
        patience.want(True)
        assert losses() == busily
    assert len(busily) == 5


def test_the_sleepers_go_when_they_are_no_longer_wanted() -> None:
    others, groups = threading.active_count(), cores() - 1 if Patience.HELPS else 0
    with Patience(cores() + 1) as none, Patience(2) as patience:
        # When it is wanted twice, then it begins once
        patience.want(True)
        patience.want(True)
        assert threading.active_count() - others == groups

        # And where more threads compute than there are cores, they wait asleep anyway
        none.want(True)
        assert none.wanted
        assert threading.active_count() - others == groups

    # When it ends, then so do they
    for thread in threading.enumerate():
        if thread.name == "patience":
            thread.join(10)
    assert threading.active_count() == others
