"""Checkpoints: folders that are whole or absent, verified when read, and no pickles.

checkpoints/step-002000/
    model.safetensors   parameters, under nanoGPT's names
    state.safetensors   optimizer moments, random generators, the batch already drawn
    state.json          everything else that training needs to go on
    manifest.json       size and SHA-256 of each file, and the format's version
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError
from safetensors.torch import (
    load_file,  # pyright: ignore[reportUnknownVariableType]
    save_file,  # pyright: ignore[reportUnknownVariableType]
)
from torch import Tensor

from gpt.errors import Refused
from gpt.runs import Run

FORMAT = 1
FILES = ("model.safetensors", "state.safetensors", "state.json")
Kind = Literal["best", "last", "asked"]


class CheckpointError(Refused):
    """A checkpoint that cannot be written or read, told for a person."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint holds. Tensors are on the CPU; `state` is plain JSON data."""

    path: Path
    model: dict[str, Tensor]
    tensors: dict[str, Tensor]
    state: dict[str, Any]


def save(
    run: Run,
    step: int,
    model: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    state: Mapping[str, Any],
    kinds: tuple[Kind, ...],
    keep: int,
) -> Path:
    """Write a checkpoint, point `best` and `last` at it as `kinds` says, and drop old ones.

    The files are written to a temporary folder, flushed to the disk and read back before the
    folder gets its name, so that a crash leaves the previous checkpoint whole. Only then do
    all but the `keep` newest and the best go.

    Raises:
        CheckpointError: the disk refused; earlier checkpoints are untouched.
    """
    run.checkpoints.mkdir(exist_ok=True)
    temporary = run.checkpoints / f".step-{step:06d}.{os.getpid()}"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        save_file(_plain(model), temporary / "model.safetensors")
        save_file(_plain(tensors), temporary / "state.safetensors")
        (temporary / "state.json").write_text(json.dumps(state, indent=1), "utf-8")
        files = {name: _fingerprint(temporary / name) for name in FILES}
        numbers = [number for path in newest_first(run) if (number := _number(path)) < math.inf]
        number = 1 + int(max(numbers, default=0))
        manifest = {"format": FORMAT, "step": step, "number": number, "files": files}
        (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1), "utf-8")
        for name in (*FILES, "manifest.json"):
            _flush(temporary / name)
        _flush(temporary)
        verify(temporary)
        path = _unused(run.checkpoints / f"step-{step:06d}")
        temporary.rename(path)
        _flush(run.checkpoints)
        point(run, path, kinds)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(f"{run.checkpoints} cannot be written: {error.strerror}.") from error
    except SafetensorError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(f"{run.checkpoints} cannot be written: {error}.") from error
    _rotate(run, keep)
    return path


def point(run: Run, path: Path, kinds: tuple[Kind, ...]) -> None:
    """Let `best` and `last` name a checkpoint that is on disk, as `kinds` says.

    Raises:
        OSError: the disk refused.
    """
    for kind in kinds:
        if kind != "asked":
            _point(run.path / kind, path.name)


def load(path: Path) -> Checkpoint:
    """Read a checkpoint, verifying every byte first.

    Raises:
        CheckpointError: it is not whole.
    """
    verify(path)
    try:
        return Checkpoint(
            path=path,
            model=load_file(path / "model.safetensors"),
            tensors=load_file(path / "state.safetensors"),
            state=json.loads((path / "state.json").read_text("utf-8")),
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}.") from None


def verify(path: Path) -> None:
    """Compare every file with the manifest.

    Raises:
        CheckpointError: a file is missing or not as it was written.
    """
    try:
        manifest = json.loads((path / "manifest.json").read_text("utf-8"))
        if manifest["format"] != FORMAT:
            raise CheckpointError(f"{path} has format {manifest['format']}; this is {FORMAT}.")
        for name in FILES:
            if _fingerprint(path / name) != manifest["files"][name]:
                raise CheckpointError(f"{path / name} is damaged: its hash is not as written.")
    except OSError as error:
        raise CheckpointError(f"{path} is not whole: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path / 'manifest.json'} is damaged.") from None


def find(
    run: Run, name: str | None = None, prefer: Literal["best", "newest"] = "best"
) -> tuple[Path, str | None]:
    """The checkpoint to use: the named one, else the one preferred, else the newest whole one.

    Returns:
        its folder, and a notice in words when it is not the one that was meant.

    Raises:
        CheckpointError: there is none that is whole, or not the named one.
    """
    if name is not None:
        path = _pointed(run, name) if name in ("best", "last") else run.checkpoints / name
        if path is None or path.parent != run.checkpoints or not path.is_dir():
            there = ", ".join(p.name for p in newest_first(run)) or "none"
            raise CheckpointError(f"{run.name} has no checkpoint {name!r}. There are: {there}.")
        verify(path)
        return path, None
    damaged: list[str] = []
    best = _pointed(run, "best") if prefer == "best" else None
    for path in (*([best] if best else []), *newest_first(run)):
        try:
            verify(path)
        except CheckpointError as error:
            damaged.append(str(error))
            continue
        notice = f"{damaged[0]} Using {path.name} instead." if damaged else None
        return path, notice
    if damaged:
        raise CheckpointError(f"{run.name} has no whole checkpoint. {damaged[0]}")
    raise CheckpointError(f"{run.name} has no checkpoint yet.")


def newest_first(run: Run) -> list[Path]:
    """The checkpoint folders of a run, the latest first, before them those that cannot tell.

    Not by their steps: a run that went back to an earlier one has newer ones of fewer steps.
    """
    if not run.checkpoints.is_dir():
        return []
    folders = [path for path in run.checkpoints.iterdir() if path.name.startswith("step-")]
    return sorted(folders, key=lambda path: (_number(path), path.name), reverse=True)


def _number(path: Path) -> float:
    """The how-many-eth save of its run a checkpoint is; infinite when its manifest is damaged."""
    try:
        number: object = json.loads((path / "manifest.json").read_text("utf-8"))["number"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return math.inf
    return number if isinstance(number, int) else math.inf


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _fingerprint(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"size": file.tell(), "sha256": digest}


def _flush(path: Path) -> None:
    """fsync a file or, where the system can, a folder."""
    if path.is_dir() and os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unused(path: Path) -> Path:
    """A name that no checkpoint of this run has, since names are never reused."""
    candidate, number = path, 2
    while candidate.exists():
        candidate = path.with_name(f"{path.name}-{number}")
        number += 1
    return candidate


def _point(file: Path, name: str) -> None:
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_text(name + "\n", "utf-8")
    _flush(temporary)
    temporary.replace(file)
    _flush(file.parent)


def _pointed(run: Run, kind: str) -> Path | None:
    try:
        name = (run.path / kind).read_text("utf-8").strip()
    except (OSError, ValueError):
        return None
    path = run.checkpoints / name
    return path if name.startswith("step-") and path.parent == run.checkpoints else None


def _rotate(run: Run, keep: int) -> None:
    best = _pointed(run, "best")
    for path in newest_first(run)[keep:]:
        if path != best:
            with contextlib.suppress(OSError):
                shutil.rmtree(path)
