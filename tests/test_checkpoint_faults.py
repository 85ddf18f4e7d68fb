"""Checkpoints on a disk that fails, in a process that is killed, with bits that flip."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import soak
import torch

from gpt import checkpoint, manifest
from gpt.checkpoint import CheckpointError
from gpt.runs import Run

SEED = 20261122
ALL = 10**6


def save(run: Run, step: int) -> Path:
    model = {"w": torch.randn(20, 30, generator=torch.Generator().manual_seed(step))}
    tensors = {"generator.cpu": torch.get_rng_state(), "optimizer.exp_avg.w": torch.ones(20, 30)}
    state = {"step": step, "best_val": 1.5, "best_step": 1}
    return checkpoint.save(run, step, model, tensors, state, keep=3)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with two whole checkpoints, which are to remain what is fallen back on."""
    run = Run(tmp_path / "run")
    run.path.mkdir()
    save(run, 1)
    save(run, 2)
    return run


def flip_a_bit(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    changed[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def truncate(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


Damage = Callable[[bytes, random.Random], bytes]


@pytest.mark.parametrize("damage", [flip_a_bit, truncate])
@pytest.mark.parametrize("name", [*checkpoint.FILES, manifest.NAME])
def test_damage_is_found_and_an_older_one_taken_and_that_is_said(
    run: Run, name: str, damage: Damage
) -> None:
    # given
    damaged = save(run, 3)
    whole = (damaged / name).read_bytes()
    chance = random.Random(f"{SEED} {name}")
    for _ in range(soak.share(1000, 60)):
        # when
        (damaged / name).write_bytes(damage(whole, chance))

        # then
        with pytest.raises(CheckpointError):
            checkpoint.load(damaged)
        found, notice = checkpoint.find(run, "last")
        assert found.name == "step-000002"
        assert notice is not None
        assert notice.endswith("Using step-000002 instead.")

    # And whole again it is taken.
    (damaged / name).write_bytes(whole)
    assert checkpoint.find(run, "last") == (damaged, None)
    assert checkpoint.load(damaged).state["step"] == 3


def test_a_damaged_best_one_is_not_used_and_that_is_said(run: Run) -> None:
    best = checkpoint.find(run, "best")[0]
    (best / "model.safetensors").write_bytes(b"")
    for name in ("best", None):
        found, notice = checkpoint.find(run, name)
        assert found.name == "step-000002"
        assert notice is not None
        assert "step-000001" in notice


def broken(how: str, folder: Path, count: int) -> dict[str, object]:
    soak.need_strace()
    told = json.loads(soak.python("tests.saving", how, str(folder), str(count), timeout=1800))
    if "refused" in told:
        pytest.skip(f"strace may not trace here: {told['refused']}")
    print(f"{how}: {told}")
    return told


@pytest.mark.slow
def test_killed_at_any_system_call_the_old_state_or_the_new_is_there(tmp_path: Path) -> None:
    told = broken("kill", tmp_path / "kill", soak.share(ALL, 10))
    assert told["faults"] == []
    calls = told["calls"]
    assert isinstance(calls, dict)
    for kind in ("write", "fsync", "rename", "unlink", "mkdir", "open"):
        assert any(name.startswith(kind) for name in calls)


@pytest.mark.slow
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_an_error_at_any_system_call_loses_nothing_and_is_never_called_saved(
    tmp_path: Path, error: str
) -> None:
    assert broken(error, tmp_path / error, soak.share(ALL, 16))["faults"] == []


def test_a_leftover_of_a_crash_is_no_checkpoint(run: Run) -> None:
    left = run.checkpoints / ".step-000009"
    shutil.copytree(checkpoint.find(run, "last")[0], left)
    assert checkpoint.find(run, "last")[0].name == "step-000002"
    with pytest.raises(CheckpointError, match="no checkpoint"):
        checkpoint.find(run, ".step-000009")
    save(run, 3)
    assert not left.exists()
