"""Checkpoints: whole or absent, verified, rotated, and named by hints."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpt import checkpoint
from gpt.checkpoint import CheckpointError, Kind
from gpt.runs import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "run").mkdir()
    return Run(tmp_path / "run")


def save(run: Run, step: int, *kinds: Kind, keep: int = 2) -> Path:
    model = {"w": torch.full((3, 4), float(step))}
    tensors = {"generator.cpu": torch.get_rng_state(), "moment": torch.ones(())}
    return checkpoint.save(run, step, model, tensors, {"step": step}, kinds, keep)


def test_a_checkpoint_comes_back_as_it_was(run: Run) -> None:
    loaded = checkpoint.load(save(run, 7, "last"))
    assert torch.equal(loaded.model["w"], torch.full((3, 4), 7.0))
    assert torch.equal(loaded.tensors["generator.cpu"], torch.get_rng_state())
    assert loaded.state == {"step": 7}


def test_the_newest_and_the_best_are_kept(run: Run) -> None:
    for step in range(1, 7):
        save(run, step, *(("best", "last") if step == 2 else ("last",)))
    names = [path.name for path in checkpoint.newest_first(run)]
    assert names == ["step-000006", "step-000005", "step-000002"]
    assert checkpoint.find(run)[0].name == "step-000002"
    assert checkpoint.find(run, "last")[0].name == "step-000006"


def test_a_name_is_never_used_twice(run: Run) -> None:
    paths = [save(run, 5, "last", keep=9) for _ in range(3)]
    assert [path.name for path in paths] == ["step-000005", "step-000005-2", "step-000005-3"]
    assert checkpoint.newest_first(run)[0].name == "step-000005-3"


@pytest.mark.parametrize("name", checkpoint.FILES)
def test_one_flipped_bit_is_found_and_the_newest_whole_one_taken(run: Run, name: str) -> None:
    older = save(run, 1, "last")
    newer = save(run, 2, "last")
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
    path = save(run, 3, "last", keep=10**6)
    name = data.draw(st.sampled_from([*checkpoint.FILES, "manifest.json"]))
    size = (path / name).stat().st_size
    with (path / name).open("r+b") as file:
        file.truncate(data.draw(st.integers(0, size - 1)))
    with pytest.raises(CheckpointError):
        checkpoint.load(path)
    shutil.rmtree(path)


@pytest.mark.parametrize("manifest", ["", "[]", "{}", '{"format": 2}', "[" * 5000, "null"])
def test_a_manifest_that_is_none_is_told_in_words(run: Run, manifest: str) -> None:
    path = save(run, 1, "last")
    (path / "manifest.json").write_text(manifest, "utf-8")
    with pytest.raises(CheckpointError):
        checkpoint.find(run)


def test_a_save_that_the_disk_refuses_leaves_the_earlier_ones(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = save(run, 1, "best", "last")

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gpt.checkpoint.os.fsync", refuse)
    with pytest.raises(CheckpointError, match="No space left on device"):
        save(run, 2, "last")
    monkeypatch.undo()
    assert checkpoint.find(run, "last")[0] == first
    assert [path.name for path in run.checkpoints.iterdir()] == ["step-000001"]


def test_hints_cannot_lead_out_of_the_folder(run: Run, tmp_path: Path) -> None:
    inside = save(run, 1, "last")
    shutil.copytree(inside, tmp_path / "step-000009")
    (run.path / "best").write_text("step-x/../../../step-000009\n", "utf-8")
    assert checkpoint.find(run)[0] == inside
    with pytest.raises(CheckpointError, match="There are: step-000001"):
        checkpoint.find(run, "../../step-000009")


def test_without_a_checkpoint_that_is_said(run: Run) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        checkpoint.find(run)


def test_the_manifest_tells_size_and_hash_of_each_file(run: Run) -> None:
    path = save(run, 1, "last")
    manifest = json.loads((path / "manifest.json").read_text("utf-8"))
    assert set(manifest["files"]) == set(checkpoint.FILES)
    for name, told in manifest["files"].items():
        assert told["size"] == (path / name).stat().st_size
        assert len(told["sha256"]) == 64
