"""A person's own text on disk: which files it is, and their characters in order.

A text may be far larger than memory, so it is read in pieces, and again where that is needed. A
place in it is known in bytes, so that reading can go on there in another process.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import stat
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gpt.errors import Refused
from gpt.text import visible
from gpt.utf8 import Passage

OF_A_RUN = {"config.toml", "events.jsonl"}
"""By which the folder of a run is known."""
PIECE_BYTES = 1 << 18
"""Small enough that a piece and its tokens stay in the processor's cache."""

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
class Place:
    """Where reading can begin: `skip` characters after byte `offset` of a file."""

    file: int = 0
    """Its number in `TextFiles.files`; their count at the end of the text."""
    offset: int = 0
    skip: int = 0


START = Place()


@dataclass(frozen=True, slots=True)
class Piece:
    """Some consecutive characters of a text, and the place that follows them."""

    passage: Passage
    end: Place
    done: int
    """Bytes of all files up to the end of this piece."""

    @property
    def text(self) -> str:
        """The characters."""
        return self.passage.text


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

    def pieces(self, start: Place = START) -> Generator[Piece, None, None]:
        """The text from a place on, in pieces of about `PIECE_BYTES`.

        As Python reads text: UTF-8, each kind of line end as `\n`. A file that does not end
        in a line end gets one when another follows.

        Raises:
            CorpusError: a file is gone, cannot be read, or is not UTF-8 text.
        """
        skip = start.skip
        before = sum(_size(file) for file in self.files[: start.file])
        for number in range(start.file, len(self.files)):
            first = start.offset if number == start.file else 0
            follows = number + 1 < len(self.files)
            for passage, offset, final in _passages(self.files[number], first):
                if final and follows and passage.utf8[-1:] not in (b"", b"\n"):
                    passage = Passage.of(passage.utf8 + b"\n")
                left = max(0, skip - passage.length)
                end = Place(number + 1, 0, left) if final else Place(number, offset, left)
                if skip:
                    passage = Passage.of_text(passage.text[skip:])
                yield Piece(passage, end, before + offset)
                skip = left
                if final:
                    before += offset

    def changed(self) -> bool:
        """Whether the files are others than they were."""
        try:
            return find(self.root).fingerprint != self.fingerprint
        except CorpusError:
            return True


def find(path: Path, check: Callable[[], None] = lambda: None) -> TextFiles:
    """The text at a path: a file of any name, or all text files below a folder.

    Files and folders whose names begin with a dot are left out, and so are the folders of runs;
    links to folders are not followed. The order is that of the paths within the folder.

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
        if OF_A_RUN.issubset(names):
            folders.clear()
            continue
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


def _passages(file: Path, offset: int) -> Iterator[tuple[Passage, int, bool]]:
    """The characters of one file from a byte on, in pieces.

    With each come the offset of the byte after it, and whether it is the last of the file.
    """
    raw, final = b"", False
    try:
        with file.open("rb") as stream:
            stream.seek(offset)
            while not final:
                raw += stream.read(PIECE_BYTES)
                final = not stream.peek(1)
                used = len(raw) if final else _whole(raw)
                passage = _passage(file, raw[:used], offset)
                offset += used
                yield passage, offset, final
                raw = raw[used:]
    except OSError as error:
        raise _unreadable(file, error) from None


def _whole(raw: bytes) -> int:
    """How many bytes are whole characters, if those after them go on.

    A carriage return at the end waits for the line feed that may follow.
    """
    for back in range(1, min(4, len(raw)) + 1):
        byte = raw[-back]
        if not 0x80 <= byte < 0xC0:  # the first of a character
            width = 1 + (byte >= 0xC0) + (byte >= 0xE0) + (byte >= 0xF0)
            return len(raw) - back if width > back or byte == ord("\r") else len(raw)
    return len(raw)  # which is an error, or nothing


def _passage(file: Path, raw: bytes, offset: int) -> Passage:
    """The characters of bytes that come at an offset of a file, each line end as `\n`."""
    if (zero := raw.find(0)) >= 0:
        raise CorpusError(
            f"{_shown(file)} is not UTF-8: it has a zero byte at offset {offset + zero:,}, "
            "as pictures, programs and UTF-16 have."
        )
    try:
        passage = Passage.of(raw)
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{_shown(file)} is not UTF-8: byte {raw[error.start]:#04x} at offset "
            f"{offset + error.start:,}. Save it as UTF-8 and try again."
        ) from None
    marked = offset == 0 and raw.startswith(codecs.BOM_UTF8)
    if not marked and b"\r" not in raw:
        return passage
    text = raw[3 * marked :].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return Passage.of(text)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError as error:
        raise _unreadable(file, error) from None


def _unreadable(path: str | Path, error: OSError) -> CorpusError:
    return CorpusError(f"{_shown(path)} cannot be read: {error.strerror}.")


def _shown(path: str | Path) -> str:
    return visible(str(path))
