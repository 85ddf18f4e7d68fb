"""What a checkpoint says of itself: its files as they were written, and its place in the run."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from gpt.text import visible

FORMAT = 2
"""Format 1 had neither a hash of the manifest itself nor a number; it can still be read."""
NAME = "manifest.json"
FILES = ("model.safetensors", "state.safetensors", "state.json")
FOLDER = re.compile(r"step-[0-9]{6,20}(-[0-9]{1,20})?")
"""The name of a checkpoint's folder."""
_MOST_BYTES = 1 << 20


class ManifestError(ValueError):
    """A manifest that is none, or that the files beside it contradict; told for a person."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A file's size in bytes and its SHA-256."""

    size: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Fingerprint:
        """That of a file as it is now.

        Raises:
            OSError: it cannot be read, or is no plain file.
        """
        if not path.is_file():
            raise FileNotFoundError(2, "there is no such file", str(path))
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return cls(file.tell(), digest)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A checkpoint's own account.

    Attributes:
        number: the how-many-eth checkpoint of its run it is.
        highest: the highest step that the run had saved before; -1 if none.
        val: the validation loss, where it was the lowest of the run so far.
        files: by name.
    """

    step: int
    number: int
    highest: int
    val: float | None
    files: dict[str, Fingerprint]

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest of a checkpoint.

        Raises:
            OSError: it cannot be read.
            ManifestError: it is damaged, or of another version.
        """
        path = folder / NAME
        where = visible(str(path))
        if not path.is_file():
            raise FileNotFoundError(2, f"it has no {NAME}", str(path))
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES)
        try:
            record = cast(dict[str, Any], json.loads(content))
            version = record["format"]
            if version in (1, FORMAT):
                found = cls._of(record)
                if version == 1 or content == found.text().encode():
                    return found
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            version = None
        if version in (None, 1, FORMAT):
            raise ManifestError(f"{where} is damaged.")
        raise ManifestError(f"{where} has format {visible(str(version))[:20]}; this is {FORMAT}.")

    @classmethod
    def _of(cls, record: dict[str, Any]) -> Manifest:
        step, number = _whole(record["step"]), _whole(record.get("number", 0))
        val = record.get("val")
        if val is not None and not (isinstance(val, float) and math.isfinite(val)):
            raise ValueError("val")
        # These files and no others: a manifest cannot have what is elsewhere read.
        files = {
            name: Fingerprint(_whole(told["size"]), str(told["sha256"]))
            for name in FILES
            for told in [record["files"][name]]
        }
        return cls(step, number, _whole(record.get("highest", -1), -1), val, files)

    @property
    def name(self) -> str:
        """For the folder: one that no checkpoint of this run has had, also none that is gone."""
        again = f"-{self.number}" if self.step <= self.highest else ""
        return f"step-{self.step:06d}{again}"

    def text(self) -> str:
        """The content of the file. Its last field is the SHA-256 of what it is without it."""
        record = {"format": FORMAT, **asdict(self)}
        digest = hashlib.sha256(json.dumps(record).encode()).hexdigest()
        return json.dumps({**record, "sha256": digest}, indent=1) + "\n"

    def sizes_are_right(self, folder: Path) -> bool:
        """Whether each file is there and as long as it was: a look that reads no content."""
        try:
            return all((folder / n).stat().st_size == told.size for n, told in self.files.items())
        except OSError:
            return False

    def verify(self, folder: Path) -> None:
        """Compare every byte of every file.

        Raises:
            OSError: a file cannot be read.
            ManifestError: a file is not as it was written.
        """
        for name, told in self.files.items():
            if Fingerprint.of(folder / name) != told:
                where = visible(str(folder / name))
                raise ManifestError(f"{where} is damaged: its hash is not as written.")


@dataclass(frozen=True, slots=True)
class Listed:
    """A checkpoint folder with its manifest, or with what is wrong with that."""

    path: Path
    told: Manifest | None
    fault: str = ""


def listed(folder: Path) -> list[Listed]:
    """The checkpoints in a folder, the latest first, after them those that cannot tell.

    Not by their steps: a run that went back to an earlier one has newer ones of fewer steps.

    Raises:
        OSError: the folder cannot be read.
    """
    try:
        paths = [path for path in folder.iterdir() if FOLDER.fullmatch(path.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    there: list[Listed] = []
    for path in sorted(paths, key=lambda path: (step_of(path), path.name), reverse=True):
        try:
            there.append(Listed(path, Manifest.read(path)))
        except (OSError, ManifestError) as error:
            there.append(Listed(path, None, in_words(path, error)))
    return sorted(there, key=lambda it: it.told.number if it.told else -1, reverse=True)


def best(there: list[Listed]) -> Path | None:
    """The checkpoint with the lowest validation loss; of equal ones the newest."""
    known = [(it.told.val, it.path) for it in there if it.told and it.told.val is not None]
    return min(known, key=lambda it: it[0])[1] if known else None


def step_of(folder: Path) -> int:
    """The step in a checkpoint folder's name."""
    return int(folder.name.split("-")[1])


def in_words(folder: Path, error: OSError | ManifestError) -> str:
    """Why a checkpoint cannot be used."""
    if isinstance(error, ManifestError):
        return str(error)
    return visible(f"{folder} is not whole: {error.strerror or error}.")


def _whole(value: object, least: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError("not a whole number")
    return value
