"""Token files as batches: random windows to train on, consecutive ones to measure on."""

from __future__ import annotations

import math
import warnings
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from gpt.config import Config
from gpt.corpus import Corpus
from gpt.schedule import Progress, sizes_at
from gpt.textfiles import CorpusError

RESIDENT_TOKENS = 8 << 20
"""A split of up to so many tokens is held in memory as int64, 64 MiB; a longer one stays a
mapped file, mapped anew for each batch: pages once touched would else count as this process's."""

GOLDEN = (math.sqrt(5) - 1) / 2
"""Going on by this share of a circle each time leaves no part of it unvisited for long."""

Batch = tuple[Tensor, Tensor]


class Split:
    """The token ids of one split: windows of them, each with targets one token further.

    Args:
        view: gives the ids, (tokens,), of any integer type.
    """

    def __init__(self, view: Callable[[], Tensor]) -> None:
        self._view = view
        self._length = len(view())

    @classmethod
    def open(cls, path: Path, dtype: str) -> Split:
        """The split in a token file."""
        file = path.open("rb")  # held, so that training outlives a cache that is cleared
        view = partial(_mapped, file, np.dtype(dtype).newbyteorder("<"))
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            # torch warns, once, that it could write to a read-only map; nothing here writes.
            tokens = view()
        if len(tokens) > RESIDENT_TOKENS:
            split = cls(view)
            weakref.finalize(split, file.close)
            return split
        file.close()
        return cls.of(tokens.long())

    @classmethod
    def of(cls, tokens: Tensor) -> Split:
        """The split of ids in memory, (tokens,)."""
        return cls(lambda: tokens)

    def __len__(self) -> int:
        return self._length

    def draw(
        self,
        batch_size: int,
        block_size: int,
        device: torch.device | str = "cpu",
        generator: torch.Generator | None = None,
    ) -> Batch:
        """A batch of random windows and their targets, each (batch, time) int64.

        Takes one `torch.randint(len - block_size, (batch_size,))` from the generator, torch's
        default one if none is given, as nanoGPT does.

        Raises:
            CorpusError: the split is not longer than `block_size`.
        """
        starts = torch.randint(self._room(block_size), (batch_size,), generator=generator)
        return self._at(starts, block_size, device)

    def draw_evenly(
        self, batch_size: int, block_size: int, device: torch.device | str, place: float
    ) -> Batch:
        """The same, but that the windows follow one another by the golden ratio of the split.

        Args:
            place: where the first begins, from 0, the start of the split, to 1.

        Raises:
            CorpusError: the split is not longer than `block_size`.
        """
        places = torch.arange(batch_size, dtype=torch.float64).mul_(GOLDEN).add_(place) % 1
        starts = (places * self._room(block_size)).long()
        return self._at(starts, block_size, device)

    def _room(self, block_size: int) -> int:
        """How many windows of this length there are."""
        if block_size >= len(self):
            raise CorpusError(
                f"block_size = {block_size} is too long for a split of {len(self):,} tokens. "
                f"Allowed: up to {len(self) - 1}."
            )
        return len(self) - block_size

    def _at(self, starts: Tensor, block_size: int, device: torch.device | str) -> Batch:
        # A view of every window there is; picking rows of it copies each window in one piece.
        windows = self._view().unfold(0, block_size, 1)
        x = windows.index_select(0, starts).long()
        y = windows.index_select(0, starts + 1).long()
        if torch.device(device).type == "cuda":
            # Copied while the GPU computes, which takes memory that cannot be swapped out.
            return (
                x.pin_memory().to(device, non_blocking=True),
                y.pin_memory().to(device, non_blocking=True),
            )
        return x.to(device), y.to(device)

    def windows(
        self, block_size: int, batch_size: int, limit_tokens: int | None = None
    ) -> Iterator[Batch]:
        """Consecutive windows over the split, or over its first `limit_tokens` tokens.

        Yields (batch, time) int64 pairs in which each token but the first is a target once. The
        last pair is a single window of (1, what is left) when the length is not a multiple.
        """
        targets = min(len(self), len(self) if limit_tokens is None else limit_tokens) - 1
        whole = max(0, targets) // block_size
        for first in range(0, whole, batch_size):
            count = min(batch_size, whole - first)
            yield self._rows(first * block_size, count, block_size)
        if (left := targets - whole * block_size) > 0:
            yield self._rows(whole * block_size, 1, left)

    def _rows(self, start: int, rows: int, length: int) -> Batch:
        end = start + rows * length
        tokens = self._view()
        x = tokens[start:end].long().view(rows, length)
        y = tokens[start + 1 : end + 1].long().view(rows, length)
        return x, y


class Batches:
    """The batch to train on next, drawn already, and the drawing of those after it.

    Attributes:
        place: where the batch after it begins in the text, from 0 to 1, if windows are `even`.
    """

    def __init__(self, split: Split, config: Config, device: torch.device) -> None:
        self._split = split
        self._device = device
        self._shape = sizes_at(config, Progress(0))
        self._even = config.windows == "even"
        self.place = float(torch.rand((), dtype=torch.float64)) if self._even else 0.0
        self.current = self._draw()

    def advance(self) -> None:
        """Draw the next batch."""
        self.current = self._draw()

    def resize(self, batch_size: int, block_size: int) -> None:
        """Draw batches of this size from now on."""
        self._shape = batch_size, block_size

    def restore(self, batch: Batch, place: float) -> None:
        """Train on this batch next; where it has another size than is due now, on a new one."""
        self.place = place
        x, y = batch
        if x.shape == self._shape:
            self.current = x.to(self._device, copy=True), y.to(self._device, copy=True)
        else:
            self.current = self._draw()

    def _draw(self) -> Batch:
        if not self._even:
            return self._split.draw(*self._shape, self._device)
        batch = self._split.draw_evenly(*self._shape, self._device, self.place)
        self.place = (self.place + GOLDEN * self._shape[0]) % 1
        return batch


class Splits:
    """Both splits of a corpus."""

    def __init__(self, corpus: Corpus) -> None:
        self.train = Split.open(corpus.train_path, corpus.dtype)
        self.val = Split.open(corpus.val_path, corpus.dtype)


def _mapped(file: BinaryIO, dtype: np.dtype[Any]) -> Tensor:
    return torch.as_tensor(np.memmap(file, dtype, "r"))
