"""Token files that are being written, in such a way that another process can go on with them.

Beside them lies a record of how far they are. It is written only when everything before that
point is on the disk for certain, and what lies behind it is cut off before going on, so neither a
killed process nor a power cut can leave a token that is wrong.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from gpt import cache, threads
from gpt.textfiles import START, Place

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Ids = npt.NDArray[np.unsignedinteger[Any]]

TRAIN, VAL = "train.bin", "val.bin"
RECORD = "unfinished.json"
FORMAT = 1
SETTLE_BYTES = 32 << 20
"""Bytes of tokens after which what is written is put on the disk and recorded."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the files are: all characters before a place, and the tokens they became."""

    place: Place = START
    characters: int = 0
    train: int = 0
    val: int = 0


class Unfinished:
    """`train.bin` and `val.bin` of a folder, opened where they were left, or empty.

    Args:
        fingerprint: that of the text; a record of another one counts for nothing.
        width: bytes of a token.

    Raises:
        OSError: the folder cannot be written. So do all methods.
    """

    def __init__(self, folder: Path, fingerprint: str, width: int) -> None:
        self._record = folder / RECORD
        self._fingerprint = fingerprint
        paths = folder / TRAIN, folder / VAL
        self.mark = _read(self._record, fingerprint)
        sizes = self.mark.train * width, self.mark.val * width
        if not (any(sizes) and all(map(_has, paths, sizes))):
            self.mark, sizes = Mark(), (0, 0)
            # A record that is of no use must not come to fit what is written from now on.
            self._record.unlink(missing_ok=True)
        self._files = tuple(map(_reopened, paths, sizes))
        self._aside = ThreadPoolExecutor(1)
        self._settling: tuple[Future[None], Mark] | None = None
        self._unsettled = 0

    def append(self, train: Ids, val: Ids, place: Place, characters: int) -> None:
        """Write tokens of that many characters, after which the text goes on at `place`."""
        for file, ids in zip(self._files, (train, val), strict=True):
            file.write(ids.data)
            self._unsettled += ids.nbytes
        mark = self.mark
        self.mark = Mark(
            place, mark.characters + characters, mark.train + len(train), mark.val + len(val)
        )
        if self._settling and self._settling[0].done():
            self._write_record()
        if not self._settling and self._unsettled >= SETTLE_BYTES:
            self._settle()

    def finish(self, check: Callable[[], None]) -> None:
        """Put everything on the disk, after which the files are as any others."""
        if self._settling:
            threads.result(self._settling[0], check)
        threads.result(self._settle(), check)
        self._record.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the files, without waiting for the disk."""
        self._aside.shutdown(wait=False, cancel_futures=True)
        for file in self._files:
            file.close()

    def _settle(self) -> Future[None]:
        for file in self._files:
            file.flush()
        settled = self._aside.submit(_put_on_disk, self._files)
        self._settling = settled, self.mark
        self._unsettled = 0
        return settled

    def _write_record(self) -> None:
        if self._settling:
            future, mark = self._settling
            future.result()
            head = {"format": FORMAT, "fingerprint": self._fingerprint}
            cache.write_json({**head, **asdict(mark)}, self._record)
            self._settling = None


def exists(folder: Path) -> bool:
    """Whether there is something in a folder to go on with."""
    return (folder / RECORD).is_file()


def _read(path: Path, fingerprint: str) -> Mark:
    record = cache.read_json(path) or {}
    if (record.pop("format", None), record.pop("fingerprint", None)) != (FORMAT, fingerprint):
        return Mark()
    try:
        place = Place(**cast(dict[str, int], record.pop("place")))
        mark = Mark(place, **record)
    except (KeyError, TypeError):
        return Mark()
    numbers = (*astuple(place), mark.characters, mark.train, mark.val)
    return mark if all(type(number) is int and number >= 0 for number in numbers) else Mark()


def _has(path: Path, size: int) -> bool:
    return not size or (path.is_file() and path.stat().st_size >= size)


def _reopened(path: Path, size: int) -> BinaryIO:
    """The file cut to a size, to be written from there on."""
    file = path.open("r+b" if size else "wb")
    if size:
        file.truncate(size)
        file.seek(size)
    return file


def _put_on_disk(files: tuple[BinaryIO, ...]) -> None:
    for file in files:
        os.fsync(file.fileno())
