"""Threads that wait asleep: what a process spends while they do, and that it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest

from gpt import patience
from gpt.patience import MOST, NAME, Patience
from gpt.threads import cores
from tests.soak import ROOT

PROGRAM = """
import json, os, time
import torch
import gpt
from gpt.events import Step
from gpt.patience import Patience
from gpt.settings import make_config

CONFIG = make_config({
    "dataset": "shakespeare_char", "device": "cpu", "threads": 2, "batch_size": 4, "block_size": 64,
    "gradient_accumulation_steps": 1, "n_layer": 2, "n_head": 2, "n_embd": 64, "max_iters": 5,
    "eval_iters": 1, "sample_interval": -1,
})

def spent():
    "Seconds of computing while there is nothing to do between short pieces of work."
    numbers, total = torch.ones(1 << 20), 0.0
    for _ in range(25):
        numbers.add_(1)
        begun = time.process_time()
        time.sleep(0.01)
        total += time.process_time() - begun
    return total

def losses():
    return [event.loss for event in gpt.train(CONFIG) if isinstance(event, Step)]

def threads():
    return len(os.listdir("/proc/self/task"))

def until(count):
    while threads() != count:
        time.sleep(0.01)
    time.sleep(0.1)

busily = losses()
found, usual, learnt = [spent()], threads(), []
with Patience(2) as patience:
    for wanted in (True, False, True):
        patience.want(wanted)
        until(usual + patience._group if wanted else usual)
        found.append(spent())
    learnt = losses()
until(usual)
found.append(spent())
print(json.dumps({"spent": found, "busily": busily, "patiently": learnt}))
"""


@pytest.mark.skipif(not Patience(2).helps, reason="needs GNU's OpenMP, and two to 16 cores")
def test_threads_that_wait_compute_less_and_the_same() -> None:
    # Given a process with the threads as users have them
    tests_own = {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"}
    environment = {name: value for name, value in os.environ.items() if name not in tests_own}

    # When it has pauses in its work, and trains, with patience and without
    program = [sys.executable, "-c", PROGRAM]
    answer = json.loads(subprocess.check_output(program, env=environment, cwd=ROOT, timeout=100))

    # Then it spends a fraction of the time in them while patience is wanted, and only then
    before, patient, between, again, after = answer["spent"]
    assert max(patient, again) < 0.3 * min(before, between, after), answer

    # And learns the same
    assert answer["patiently"] == answer["busily"]
    assert len(answer["busily"]) == 5


def sleepers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == NAME]


@pytest.mark.skipif(not Patience(2).helps, reason="needs GNU's OpenMP, and two to 16 cores")
def test_wanted_twice_it_begins_once_and_ends_with_its_context() -> None:
    with Patience(2) as once:
        once.want(True)
        once.want(True)
        assert once.wanted
        (sleeper,) = sleepers()
    assert not once.wanted
    sleeper.join(10)
    assert not sleeper.is_alive()


@pytest.mark.parametrize("threads", [1, cores() + 1, cores() + 2 - MOST - 1])
def test_where_it_cannot_help_it_says_so_and_nobody_sleeps(threads: int) -> None:
    with Patience(threads) as useless:
        useless.want(True)
        assert not useless.helps
        assert sleepers() == []


def test_without_gnus_openmp_it_does_not_help(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise FileNotFoundError("/proc/self/maps")

    for pools in (set, refuse):
        monkeypatch.setattr(patience, "thread_pools", pools)
        assert not Patience(2).helps


def test_a_system_without_more_threads_is_none_the_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with Patience(2) as wanted:
        wanted.want(True)
        assert wanted.wanted
