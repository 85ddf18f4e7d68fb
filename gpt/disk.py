"""Writing so that it lasts: what is on the disk when a call returns, and how much room is left."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from gpt.text import visible

FULL = (errno.ENOSPC, errno.EDQUOT) if hasattr(errno, "EDQUOT") else (errno.ENOSPC,)
"""What a system says when there is no room, or no more for this person."""
_NO_FOLDER_FSYNC = (errno.EINVAL, errno.ENOTSUP, errno.EBADF)


@dataclass(frozen=True, slots=True)
class Shortage:
    """Room that a checkpoint did not find in `folder`. Both figures are in bytes."""

    folder: Path
    needed: int
    free: int

    def __str__(self) -> str:
        return (
            f"{visible(str(self.folder))} has no room: a checkpoint needs {in_words(self.needed)} "
            f"and {in_words(self.free)} are free"
        )


def flush(path: Path) -> None:
    """fsync a file or, where the system can, a folder.

    Raises:
        OSError: the disk refused.
    """
    folder = path.is_dir()
    if folder and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
    try:
        os.fsync(descriptor)
        if not folder and hasattr(os, "posix_fadvise"):
            # The next reader sees what is on the disk and not what was to be written.
            with contextlib.suppress(OSError):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    except OSError as error:
        # Some network file systems know no fsync of folders.
        if not folder or error.errno not in _NO_FOLDER_FSYNC:
            raise
    finally:
        os.close(descriptor)


def write(path: Path, text: str) -> None:
    """Give a small file this content, at once or not at all, and for good.

    Raises:
        OSError: the disk refused; the file is as it was.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        temporary.write_text(text, "utf-8")
        flush(temporary)
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    flush(path.parent)


def free(folder: Path) -> int:
    """Bytes that may still be written where `folder` is; 0 when the system does not say."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def in_words(size: int) -> str:
    """A size in bytes, for a person."""
    for factor, unit in ((1e9, "GB"), (1e6, "MB")):
        if size >= factor:
            return f"{size / factor:,.1f} {unit}"
    return f"{size / 1e3:,.0f} kB"
