"""A person's own text on disk: which files it is, and their characters in order.

A text may be far larger than memory, so it is read in pieces, and again where that is needed.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gpt.errors import Refused
from gpt.text import visible

PIECE_BYTES = 1 << 20

_ENDINGS = """
    txt text md markdown rst org adoc asc tex bib srt vtt fountain log
    csv tsv json jsonl xml html htm css yaml yml toml ini cfg conf abc pgn
    py pyi c h cc cpp cxx hpp cu rs go zig java kt scala cs fs swift m
    js mjs ts tsx jsx vue rb php pl pm lua r jl hs ml mli ex exs erl clj lisp el scm
    f f90 pas ada asm s v vhd sql sh bash zsh fish ps1 bat proto cmake mk
"""
SUFFIXES = frozenset(f".{ending}" for ending in _ENDINGS.split())
"""The names of text files in a folder end in one of these; a single file may have any name."""


class CorpusError(Refused):
    """A text that cannot be learnt from, told for the person who named it."""


@dataclass(frozen=True, slots=True)
class TextFiles:
    """The files of one text, in reading order: one file, or those of a folder.

    `fingerprint` changes when a file comes, goes or is written to. `passed_over` are the files
    of the folder whose names are not those of text.
    """

    root: Path
    files: tuple[Path, ...]
    passed_over: tuple[Path, ...]
    size: int
    """Bytes in all files."""
    fingerprint: str

    @property
    def name(self) -> str:
        """The path, fit to be shown."""
        return _shown(self.root)

    def pieces(self) -> Iterator[tuple[str, int]]:
        """The text in pieces, each with the bytes of all files that were read so far.

        As Python reads text: UTF-8, each kind of line end as `\\n`. A file that does not end
        in a line end gets one when another follows.

        Raises:
            CorpusError: a file is gone, cannot be read, or is not UTF-8 text.
        """
        done, last = 0, "\n"
        for file in self.files:
            if last != "\n":
                yield "\n", done
                last = "\n"
            for text, count in _decoded(file):
                done += count
                last = text[-1:] or last
                yield text, done

    def changed(self) -> bool:
        """Whether the files are others than they were."""
        try:
            return find(self.root).fingerprint != self.fingerprint
        except CorpusError:
            return True


def find(path: Path, check: Callable[[], None] = lambda: None) -> TextFiles:
    """The text at a path: a file of any name, or all text files below a folder.

    Files and folders whose names begin with a dot are left out, and links to folders are not
    followed. The order is that of the paths within the folder.

    Raises:
        CorpusError: there is none.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return _find_below(path, check)
        if stat.S_ISREG(mode):
            return describe(path, [path])
    except OSError as error:
        raise _unreadable(error.filename or path, error) from None
    raise CorpusError(f"{_shown(path)} is neither a file nor a folder.")


def _find_below(folder: Path, check: Callable[[], None]) -> TextFiles:
    files: list[Path] = []
    others: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=_give_up):
        check()
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(parent, name)
            if not name.startswith(".") and path.is_file():
                (files if path.suffix.lower() in SUFFIXES else others).append(path)
    files.sort(key=lambda path: path.relative_to(folder).parts)
    if not files:
        endings = sorted({path.suffix or path.name for path in others})
        found = f" It has {', '.join(map(visible, endings[:8]))}." if endings else " It is empty."
        raise CorpusError(
            f"{_shown(folder)} has no text files.{found} Text files end in .txt, .md, .py and "
            "the like; name a single file to have it read whatever its ending."
        )
    return describe(folder, files, others)


def _give_up(error: OSError) -> None:
    raise error


def describe(root: Path, files: list[Path], others: Iterable[Path] = ()) -> TextFiles:
    """These files below `root` as one text.

    Raises:
        OSError: one cannot be looked at.
    """
    digest = hashlib.sha256()
    size = 0
    for file in files:
        status = file.stat()
        size += status.st_size
        # The change time notices a file that was written to and given its old time back.
        times = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
        name = os.fsencode(file.relative_to(root))
        digest.update(name + b"\0" + times.encode() + b"\0")
    return TextFiles(root, tuple(files), tuple(others), size, digest.hexdigest())


def _decoded(file: Path) -> Iterator[tuple[str, int]]:
    """The characters of one file in pieces, each with the bytes that were read for it."""
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")(), translate=True)
    done = 0
    try:
        with file.open("rb") as stream:
            while True:
                raw = stream.read(PIECE_BYTES)
                if (zero := raw.find(0)) >= 0:
                    raise CorpusError(
                        f"{_shown(file)} is not UTF-8: it has a zero byte at offset "
                        f"{done + zero:,}, as pictures, programs and UTF-16 have."
                    )
                first, done = done == 0, done + len(raw)
                text = decoder.decode(raw, final=not raw)
                if first:
                    text = text.removeprefix("\ufeff")
                if text or raw:
                    yield text, len(raw)
                if not raw:
                    return
    except UnicodeDecodeError as error:
        # The decoder had kept the start of an unfinished character from the piece before.
        offset = done - len(error.object) + error.start
        raise CorpusError(
            f"{_shown(file)} is not UTF-8: byte {error.object[error.start]:#04x} at offset "
            f"{offset:,}. Save it as UTF-8 and try again."
        ) from None
    except OSError as error:
        raise _unreadable(file, error) from None


def _unreadable(path: str | Path, error: OSError) -> CorpusError:
    return CorpusError(f"{_shown(path)} cannot be read: {error.strerror}.")


def _shown(path: str | Path) -> str:
    return visible(str(path))
