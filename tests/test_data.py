"""Batches: nanoGPT's random windows, and consecutive ones that leave nothing out."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gpt import data
from gpt.corpus import Corpus, CorpusError
from gpt.data import Batches, Split, Splits
from gpt.settings import make_config


def nanogpts_batch(path: Path, batch_size: int, block_size: int) -> tuple[torch.Tensor, ...]:
    """A batch as nanogpt.md describes it, window by window."""
    tokens = np.fromfile(path, "<u2").astype(np.int64)
    starts = torch.randint(len(tokens) - block_size, (batch_size,))
    x = [tokens[start : start + block_size] for start in starts.tolist()]
    y = [tokens[start + 1 : start + 1 + block_size] for start in starts.tolist()]
    return torch.tensor(np.array(x)), torch.tensor(np.array(y))


@pytest.mark.parametrize("resident", [True, False])
def test_batches_are_nanogpts(
    shakespeare: Corpus, monkeypatch: pytest.MonkeyPatch, resident: bool
) -> None:
    if not resident:
        monkeypatch.setattr(data, "RESIDENT_TOKENS", 0)
    splits = Splits(shakespeare)
    assert len(splits.train) == 1_003_854
    assert len(splits.val) == 111_540

    for split, path in ((splits.train, shakespeare.train_path), (splits.val, shakespeare.val_path)):
        torch.manual_seed(1337)
        expected = [nanogpts_batch(path, 12, 64) for _ in range(3)]
        then = torch.get_rng_state()
        torch.manual_seed(1337)
        drawn = [split.draw(12, 64) for _ in range(3)]

        assert torch.equal(torch.get_rng_state(), then)
        for (x, y), (wanted_x, wanted_y) in zip(drawn, expected, strict=True):
            assert x.dtype == y.dtype == torch.int64
            assert x.is_contiguous()
            assert torch.equal(x, wanted_x)
            assert torch.equal(y, wanted_y)


def test_a_generator_of_its_own_leaves_the_default_alone() -> None:
    split = Split.of(torch.arange(1000))
    before = torch.get_rng_state()

    first, _ = split.draw(4, 8, generator=torch.Generator().manual_seed(5))
    again, _ = split.draw(4, 8, generator=torch.Generator().manual_seed(5))

    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)


def test_even_windows_have_read_all_of_the_text_equally_often() -> None:
    # given
    config = make_config({"windows": "even", "batch_size": 7, "block_size": 16, "n_head": 1})
    batches = Batches(Split.of(torch.arange(10_000)), config, torch.device("cpu"))

    # when: as much is read as the text is long, three times over
    read = torch.zeros(10_000, dtype=torch.long)
    for _ in range(3 * 10_000 // (7 * 16)):
        read += torch.bincount(batches.current[0].flatten(), minlength=10_000)
        batches.advance()

    # then
    inside = read[16:-16]
    assert inside.min() >= 2
    assert inside.max() <= 4


def test_even_windows_begin_where_the_seed_says() -> None:
    def first(seed: int) -> list[int]:
        torch.manual_seed(seed)
        config = make_config({"windows": "even", "batch_size": 7, "block_size": 16, "n_head": 1})
        batches = Batches(Split.of(torch.arange(10_000)), config, torch.device("cpu"))
        return batches.current[0][:, 0].tolist()

    assert first(1) == first(1) != first(2)


def test_the_longest_window_is_one_short_of_the_split() -> None:
    split = Split.of(torch.arange(10))

    x, y = split.draw(3, 9)

    assert x.tolist() == [list(range(9))] * 3
    assert y.tolist() == [list(range(1, 10))] * 3
    with pytest.raises(CorpusError, match=r"block_size = 10 .* 10 tokens. Allowed: up to 9"):
        split.draw(3, 10)


def test_a_batch_does_not_share_memory_with_the_split() -> None:
    split = Split.of(torch.zeros(100, dtype=torch.int64))

    x, y = split.draw(2, 10)
    x += 1
    y += 1

    assert all(not part.any() for pair in split.windows(10, 2) for part in pair)


@given(
    length=st.integers(0, 200),
    block_size=st.integers(1, 40),
    batch_size=st.integers(1, 9),
    limit=st.none() | st.integers(0, 250),
)
def test_windows_cover_each_target_once(
    length: int, block_size: int, batch_size: int, limit: int | None
) -> None:
    split = Split.of(torch.arange(length))
    covered = length if limit is None else min(limit, length)

    batches = list(split.windows(block_size, batch_size, limit))

    targets = [target for _, y in batches for target in y.flatten().tolist()]
    assert targets == list(range(1, covered))
    for index, (x, y) in enumerate(batches):
        assert torch.equal(x + 1, y)
        assert x.dtype == torch.int64
        assert x.shape == y.shape
        assert x.shape[0] <= batch_size
        assert x.shape[1] == block_size or (index == len(batches) - 1 and x.shape[0] == 1)


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_a_mapped_split_is_as_a_resident_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str
) -> None:
    path = tmp_path / "train.bin"
    top = 0xFFFF if dtype == "uint16" else 0x10FFFF
    tokens = np.random.default_rng(0).integers(0, top, 1000, endpoint=True)
    tokens[:50] = top
    tokens.astype(np.dtype(dtype).newbyteorder("<")).tofile(path)
    resident = Split.open(path, dtype)
    monkeypatch.setattr(data, "RESIDENT_TOKENS", 0)
    mapped = Split.open(path, dtype)

    for seed in range(3):
        pairs = [
            split.draw(20, 30, generator=torch.Generator().manual_seed(seed))
            for split in (resident, mapped)
        ]
        assert torch.equal(pairs[0][0], pairs[1][0])
        assert torch.equal(pairs[0][1], pairs[1][1])
    for split in (resident, mapped):
        read = torch.cat([y.flatten() for _, y in split.windows(30, 4)])
        assert read.tolist() == tokens[1:].tolist()


@pytest.mark.gpu
def test_a_batch_reaches_the_gpu() -> None:
    split = Split.of(torch.arange(1000))

    x, y = split.draw(8, 16, "cuda")

    assert x.is_cuda
    assert torch.equal(x + 1, y)


@pytest.mark.skipif(sys.platform == "win32", reason="open files cannot be deleted there")
def test_training_outlives_a_cache_that_is_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "RESIDENT_TOKENS", 0)
    path = tmp_path / "train.bin"
    np.arange(1000, dtype="<u2").tofile(path)
    split = Split.open(path, "uint16")

    path.unlink()

    x, y = split.draw(8, 16)
    assert torch.equal(x + 1, y)
