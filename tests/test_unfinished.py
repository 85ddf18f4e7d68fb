"""Token files that are being written: what another process may go on with, and what not."""

from __future__ import annotations

import json
import os
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from gpt import unfinished
from gpt.textfiles import Place
from gpt.unfinished import Mark, Unfinished

IDS = np.arange(10, dtype="<u2")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with six tokens on the disk and recorded, and six more in the files."""
    monkeypatch.setattr(unfinished, "SETTLE_BYTES", 1)
    with closing(Unfinished(tmp_path, "text", 2)) as files:
        files.append(IDS[:5], IDS[:1], Place(0, 6), 6)
        assert files._settling is not None
        files._settling[0].result()
        files.append(IDS[5:], IDS[:1], Place(0, 12), 6)
    return tmp_path


def test_it_goes_on_after_what_is_on_the_disk_for_certain(folder: Path) -> None:
    with closing(Unfinished(folder, "text", 2)) as files:
        assert files.mark == Mark(Place(0, 6), 6, 5, 1)
        files.append(IDS[:2], IDS[:0], Place(0, 8), 2)
        files.finish(lambda: None)

    assert np.fromfile(folder / "train.bin", "<u2").tolist() == [0, 1, 2, 3, 4, 0, 1]
    assert np.fromfile(folder / "val.bin", "<u2").tolist() == [0]
    assert not unfinished.exists(folder)


def test_what_is_recorded_was_put_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given
    synced: list[int] = []
    fsync = os.fsync

    def seen(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fsync", seen)
    monkeypatch.setattr(unfinished, "SETTLE_BYTES", 1)
    with closing(Unfinished(tmp_path, "text", 2)) as files:
        # When tokens are written, and more of them once the first are on the disk
        files.append(IDS[:5], IDS[:1], Place(0, 6), 6)
        assert not unfinished.exists(tmp_path)
        assert files._settling is not None
        files._settling[0].result()
        assert synced == [10, 2]
        files.append(IDS[5:], IDS[:1], Place(0, 12), 6)
        # Then the record tells of the first alone, and in the end all of them are there
        record = json.loads((tmp_path / unfinished.RECORD).read_text())
        assert (record["train"], record["val"], record["characters"]) == (5, 1, 6)
        files.finish(lambda: None)
    assert synced[-2:] == [20, 4]


def damaged(folder: Path, **values: object) -> None:
    record = folder / unfinished.RECORD
    record.write_text(json.dumps({**json.loads(record.read_text()), **values}))


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "train.bin").write_bytes(b"123"),
        lambda folder: (folder / "val.bin").unlink(),
        lambda folder: (folder / unfinished.RECORD).write_text(""),
        lambda folder: damaged(folder, format=99),
        lambda folder: damaged(folder, fingerprint="another"),
        lambda folder: damaged(folder, place={"line": 1}),
        lambda folder: damaged(folder, place=None),
        lambda folder: damaged(folder, tokens=5),
        lambda folder: damaged(folder, train="5"),
        lambda folder: damaged(folder, val=1.0),
        lambda folder: damaged(folder, characters=-6),
        lambda folder: damaged(folder, place={"offset": True}),
        lambda folder: damaged(folder, train=0, val=0),
    ],
)
def test_what_does_not_fit_together_is_begun_again(folder: Path, harm) -> None:
    harm(folder)

    with closing(Unfinished(folder, "text", 2)) as files:
        assert files.mark == Mark()

    assert (folder / "train.bin").read_bytes() == b""
    assert not unfinished.exists(folder)


def test_a_record_that_was_of_no_use_is_of_none_later(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given files that were begun again since one was missing
    monkeypatch.setattr(unfinished, "SETTLE_BYTES", 1 << 20)
    (folder / "val.bin").unlink()

    # When as much as that record tells of is written, but not known to be on the disk
    with closing(Unfinished(folder, "text", 2)) as files:
        files.append(IDS, IDS, Place(0, 20), 20)

    # Then it is not gone on with
    with closing(Unfinished(folder, "text", 2)) as files:
        assert files.mark == Mark()
