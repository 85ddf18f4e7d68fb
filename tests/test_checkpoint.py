"""Checkpoints: whole or absent, verified, rotated, and named by hints."""

import json
import math
import os
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpt import checkpoint
from gpt.boundary import Boundary
from gpt.checkpoint import CheckpointError
from gpt.runs import Run
from gpt.saver import Saver


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "run").mkdir()
    return Run(tmp_path / "run")


def save(run: Run, step: int, val: float | None = None, keep: int = 2) -> Path:
    """A small checkpoint, the best so far where it has a `val`."""
    model = {"w": torch.full((3, 4), float(step))}
    tensors = {"generator.cpu": torch.get_rng_state(), "moment": torch.ones(())}
    best = {} if val is None else {"best_val": val, "best_step": step}
    return checkpoint.save(run, step, model, tensors, {"step": step, **best}, keep)


def names(run: Run) -> list[str]:
    return [path.name for path in checkpoint.newest_first(run)]


def test_a_checkpoint_comes_back_as_it_was(run: Run) -> None:
    loaded = checkpoint.load(save(run, 7))
    assert torch.equal(loaded.model["w"], torch.full((3, 4), 7.0))
    assert torch.equal(loaded.tensors["generator.cpu"], torch.get_rng_state())
    assert loaded.state == {"step": 7}


def test_the_newest_and_the_best_are_kept(run: Run) -> None:
    for step in range(1, 7):
        save(run, step, 1.5 if step == 2 else None)
    assert names(run) == ["step-000006", "step-000005", "step-000002"]
    assert checkpoint.find(run)[0].name == "step-000002"
    assert checkpoint.find(run, "best")[0].name == "step-000002"
    assert checkpoint.find(run, "last")[0].name == "step-000006"
    assert checkpoint.find(run, prefer="newest")[0].name == "step-000006"
    # And people are told the same.
    assert (run.path / "best").read_text() == "step-000002\n"
    assert (run.path / "last").read_text() == "step-000006\n"


@pytest.mark.parametrize("worse", [1.5001, math.nan, math.inf, None])
def test_the_best_stays_the_best(run: Run, worse: float | None) -> None:
    best = save(run, 1, 1.5)
    for step in range(2, 6):
        save(run, step, worse)
    assert checkpoint.find(run, "best") == (best, None)
    assert checkpoint.find(run) == (best, None)
    better = save(run, 6, 1.4999)
    assert checkpoint.find(run) == (better, None)


def test_a_name_is_never_used_twice(run: Run) -> None:
    paths = [save(run, 5, keep=9) for _ in range(3)]
    assert [path.name for path in paths] == ["step-000005", "step-000005-2", "step-000005-3"]
    assert checkpoint.newest_first(run)[0].name == "step-000005-3"


def test_a_run_that_went_back_keeps_its_newest_and_uses_no_name_again(run: Run) -> None:
    # given: steps 1 to 8 were saved, and all but two are gone
    used = {save(run, step).name for step in range(1, 9)}

    # when: it went back to step 3 and saves what it saved before
    again = [save(run, step).name for step in range(3, 9)]

    # then
    assert not used & set(again)
    assert len(set(again)) == len(again)
    assert names(run) == again[:-3:-1]
    assert checkpoint.find(run, "last")[0].name == again[-1]


def test_one_that_is_cut_short_is_not_counted_among_the_newest(run: Run) -> None:
    # given: the newest two, of which one is torn
    save(run, 1)
    torn = save(run, 2)
    (torn / "model.safetensors").write_bytes(b"torn")

    # when
    save(run, 3)

    # then: step 1 is still there to fall back on
    assert names(run) == ["step-000003", "step-000002", "step-000001"]
    save(run, 4)
    assert names(run) == ["step-000004", "step-000003"]


def test_one_whose_manifest_cannot_be_read_is_left_alone(run: Run) -> None:
    odd = save(run, 1)
    (odd / "manifest.json").write_text("{")
    for step in range(2, 6):
        save(run, step)
    assert names(run) == ["step-000005", "step-000004", "step-000001"]


def test_what_a_crash_left_is_cleared_and_never_taken_for_a_checkpoint(run: Run) -> None:
    whole = save(run, 1)
    shutil.copytree(whole, run.checkpoints / ".step-000009")
    (run.checkpoints / "step-9").mkdir()
    (run.checkpoints / "step-000009\x1b[31m").mkdir()
    assert names(run) == ["step-000001"]
    save(run, 2)
    assert not list(run.checkpoints.glob(".*"))


def test_a_checkpoint_of_the_first_version_can_be_read(run: Run) -> None:
    path = save(run, 4)
    told = json.loads((path / "manifest.json").read_text())
    first = {"format": 1, "step": 4, "files": told["files"]}
    (path / "manifest.json").write_text(json.dumps(first))
    assert checkpoint.load(checkpoint.find(run)[0]).state == {"step": 4}
    assert save(run, 4).name == "step-000004-1"


@pytest.mark.parametrize("name", checkpoint.FILES)
def test_one_flipped_bit_is_found_and_the_newest_whole_one_taken(run: Run, name: str) -> None:
    older = save(run, 1)
    newer = save(run, 2)
    content = bytearray((newer / name).read_bytes())
    content[len(content) // 2] ^= 4
    (newer / name).write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load(newer)
    found, notice = checkpoint.find(run)
    assert found == older
    assert notice is not None
    assert "Using step-000001 instead" in notice


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(data=st.data())
def test_a_cut_file_is_found(run: Run, data: st.DataObject) -> None:
    path = save(run, 3, keep=10**6)
    name = data.draw(st.sampled_from([*checkpoint.FILES, "manifest.json"]))
    size = (path / name).stat().st_size
    with (path / name).open("r+b") as file:
        file.truncate(data.draw(st.integers(0, size - 1)))
    with pytest.raises(CheckpointError):
        checkpoint.load(path)
    shutil.rmtree(path)


@pytest.mark.parametrize(
    "manifest", ["", "[]", "{}", '{"format": 2}', '{"format": 3}', "[" * 5000, "null"]
)
def test_a_manifest_that_is_none_is_told_in_words(run: Run, manifest: str) -> None:
    path = save(run, 1)
    (path / "manifest.json").write_text(manifest, "utf-8")
    with pytest.raises(CheckpointError):
        checkpoint.find(run)


def test_a_save_that_the_disk_refuses_leaves_the_earlier_ones(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = save(run, 1, 2.5)

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gpt.disk.os.fsync", refuse)
    with pytest.raises(
        CheckpointError, match=r"has no room: a checkpoint needs 71 kB and .* are free"
    ):
        save(run, 2)
    monkeypatch.undo()
    assert checkpoint.find(run)[0] == first
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-000001"]


@pytest.mark.parametrize(
    "hint",
    [
        b"step-x/../../../step-000009\n", b"../../step-000009", b"/etc", b"step-000009\x1b]0;x\x07",
        b"\xff\xfe", b"", b"step-000001\x00", None,
    ],
)  # fmt: skip
def test_hints_decide_nothing(run: Run, tmp_path: Path, hint: bytes | None) -> None:
    best, last = save(run, 1, 1.5), save(run, 2)
    shutil.copytree(best, tmp_path / "step-000009")
    for name in ("best", "last"):
        if hint is None:
            (run.path / name).unlink()
        else:
            (run.path / name).write_bytes(hint)
    assert checkpoint.find(run) == (best, None)
    assert checkpoint.find(run, "last") == (last, None)
    assert checkpoint.find(run, "best") == (best, None)


@pytest.mark.parametrize("name", ["../../step-000009", "/etc", "step-000009", "step-1\x1b[0m", ""])
def test_a_name_cannot_lead_out_of_the_folder(run: Run, tmp_path: Path, name: str) -> None:
    shutil.copytree(save(run, 1), tmp_path / "step-000009")
    with pytest.raises(CheckpointError, match="There are: step-000001") as told:
        checkpoint.find(run, name)
    assert "\x1b" not in str(told.value)


def test_a_manifest_cannot_have_other_files_read(run: Run) -> None:
    path = save(run, 1)
    told = json.loads((path / "manifest.json").read_text())
    told["format"] = 1
    told["files"]["../../secret"] = told["files"].pop("state.json")
    (path / "manifest.json").write_text(json.dumps(told))
    with pytest.raises(CheckpointError, match=r"manifest\.json is damaged"):
        checkpoint.load(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("name", ["manifest.json", "state.json"])
def test_a_pipe_in_place_of_a_file_is_refused_without_waiting(run: Run, name: str) -> None:
    path = save(run, 1)
    (path / name).unlink()
    os.mkfifo(path / name)
    with pytest.raises(CheckpointError, match="is not whole"):
        checkpoint.load(path)


def test_without_a_checkpoint_that_is_said(run: Run) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        checkpoint.find(run)


def test_the_manifest_tells_size_and_hash_of_each_file(run: Run) -> None:
    path = save(run, 1)
    manifest = json.loads((path / "manifest.json").read_text("utf-8"))
    assert set(manifest["files"]) == set(checkpoint.FILES)
    for name, told in manifest["files"].items():
        assert told["size"] == (path / name).stat().st_size
        assert len(told["sha256"]) == 64


def test_a_boundary_is_written_once_unless_somebody_removed_it(run: Run) -> None:
    # given
    saver, model = Saver(run, keep=2), {"w": torch.ones(2)}
    batch = torch.zeros(1, 4), torch.ones(1, 4)
    boundary = Boundary(3, True, {"generator.cpu": torch.get_rng_state()}, batch)
    path = saver.save(boundary, "best", model, {}, {"best_step": 3, "best_val": 1.0})

    # then: asked again, it is named and not written
    assert saver.has(boundary, "last")
    assert not saver.has(boundary, "asked")
    assert saver.save(boundary, "asked", model, {}, {}) == path
    assert names(run) == ["step-000003"]

    # when
    shutil.rmtree(run.path / path)

    # then
    assert not saver.has(boundary, "asked")
    saver.save(boundary, "asked", model, {}, {})
    assert checkpoint.load(checkpoint.find(run)[0]).state["step"] == 3
