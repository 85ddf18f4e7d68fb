"""Checkpoints: folders that are whole or absent, verified when read, and no pickles.

checkpoints/step-002000/
    model.safetensors   parameters, under nanoGPT's names
    state.safetensors   optimizer moments, random generators, the batch already drawn
    state.json          everything else that training needs to go on
    manifest.json       size and SHA-256 of each file, and its place in the run

The manifests are the truth. The files `best` and `last` in the run folder name a checkpoint for
people and other programs; nothing here reads them.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from safetensors import SafetensorError
from safetensors.torch import (
    load_file,  # pyright: ignore[reportUnknownVariableType]
    save_file,  # pyright: ignore[reportUnknownVariableType]
)
from torch import Tensor

from gpt import disk, manifest
from gpt.disk import Shortage
from gpt.errors import Refused
from gpt.manifest import FILES, Fingerprint, Listed, Manifest, ManifestError
from gpt.runs import Run
from gpt.text import visible

Kind = Literal["best", "last", "asked"]
SLACK = 1 << 16
"""Bytes beside the tensors: JSON, the tensors' names, the folder itself."""


class CheckpointError(Refused):
    """A checkpoint that cannot be written or read, told for a person.

    `shortage` says how much room was missing, where that was the reason.
    """

    def __init__(self, message: str, shortage: Shortage | None = None) -> None:
        super().__init__(message)
        self.shortage = shortage


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
    keep: int,
) -> Path:
    """Write a checkpoint, and drop old ones. The run's lock is held by the caller.

    The files are written to a temporary folder, flushed to the disk and read back from there
    before the folder gets its name, so that a crash leaves the previous checkpoint whole. Only
    then do all but the `keep` newest and the best go. It is the best so far when the state's
    `best_step` is this step, and `best_val` its validation loss.

    Raises:
        CheckpointError: the disk refused; earlier checkpoints are untouched.
    """
    temporary = run.checkpoints / f".step-{step:06d}"
    try:
        _make_folder(run)
        temporary = _unused(temporary)
        temporary.mkdir()
        save_file(_plain(model), temporary / "model.safetensors")
        save_file(_plain(tensors), temporary / "state.safetensors")
        (temporary / "state.json").write_text(json.dumps(state, indent=1), "utf-8")
        told = _manifest(run, temporary, step, state)
        (temporary / manifest.NAME).write_text(told.text(), "utf-8")
        for name in (*FILES, manifest.NAME):
            disk.flush(temporary / name)
        disk.flush(temporary)
        verify(temporary)
        path = _unused(run.checkpoints / told.name)
        temporary.rename(path)
        disk.flush(run.checkpoints)
    except (OSError, SafetensorError) as error:
        # Gone before the room is looked at, of which it takes some.
        shutil.rmtree(temporary, ignore_errors=True)
        needed = SLACK + sum(tensor.nbytes for tensor in (*model.values(), *tensors.values()))
        raise _refused(run, error, needed) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _point(run, path)
    _rotate(run, keep)
    return path


def load(path: Path) -> Checkpoint:
    """Read a checkpoint, verifying every byte first.

    Raises:
        CheckpointError: it is not whole.
    """
    verify(path)
    try:
        state: object = json.loads((path / "state.json").read_text("utf-8"))
        if not isinstance(state, dict):
            raise ValueError("state.json holds no object")
        model, tensors = (load_file(path / name) for name in FILES[:2])
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        words = visible(f"{path} cannot be read: {error}.")
        raise CheckpointError(words) from None
    return Checkpoint(path, model, tensors, cast(dict[str, Any], state))


def verify(path: Path) -> None:
    """Compare every file with the manifest.

    Raises:
        CheckpointError: a file is missing or not as it was written.
    """
    try:
        Manifest.read(path).verify(path)
    except (OSError, ManifestError) as error:
        raise CheckpointError(manifest.in_words(path, error)) from None


def find(
    run: Run, name: str | None = None, prefer: Literal["best", "newest"] = "best"
) -> tuple[Path, str | None]:
    """The checkpoint to use: the named one, else the one preferred, else the newest whole one.

    `name` may be "best" or "last" as well, which are the same as a preference.

    Returns:
        its folder, and a notice in words when it is not the one that was meant.

    Raises:
        CheckpointError: there is none that is whole, or not the named one.
    """
    there = _listed(run)
    best = manifest.best(there)
    if name is not None and name != "last" and (name != "best" or best is None):
        return _named(run, name), None
    wanted = name == "best" or (name is None and prefer == "best")
    damaged: list[str] = []
    for path in (*([best] if best and wanted else ()), *(it.path for it in there if it.told)):
        try:
            verify(path)
        except CheckpointError as error:
            damaged.append(str(error))
            continue
        damaged += [
            it.fault
            for it in there
            if it.fault and manifest.step_of(it.path) > manifest.step_of(path)
        ]
        return path, f"{damaged[0]} Using {path.name} instead." if damaged else None
    if damaged := damaged or [it.fault for it in there]:
        raise CheckpointError(f"{visible(run.name)} has no whole checkpoint. {damaged[0]}")
    raise CheckpointError(f"{visible(run.name)} has no checkpoint yet.")


def newest_first(run: Run) -> list[Path]:
    """The checkpoint folders of a run, the latest first, after them those that cannot tell.

    Not by their steps: a run that went back to an earlier one has newer ones of fewer steps.
    """
    return [it.path for it in _listed(run)]


def _listed(run: Run) -> list[Listed]:
    try:
        return manifest.listed(run.checkpoints)
    except OSError as error:
        words = f"{run.checkpoints} cannot be read: {error.strerror or error}."
        raise CheckpointError(visible(words)) from None


def _named(run: Run, name: str) -> Path:
    path = run.checkpoints / name
    if not manifest.FOLDER.fullmatch(name) or not path.is_dir():
        names = ", ".join(path.name for path in newest_first(run)) or "none"
        raise CheckpointError(
            f"{visible(run.name)} has no checkpoint {name!r}. There are: {names}."
        )
    verify(path)
    return path


def _make_folder(run: Run) -> None:
    """Make the folder of checkpoints, and clear it of what a crash left there half done."""
    if not run.checkpoints.is_dir():
        run.checkpoints.mkdir()
        disk.flush(run.path)
    for path in run.checkpoints.glob(".step-*"):
        shutil.rmtree(path, ignore_errors=True)


def _manifest(run: Run, folder: Path, step: int, state: Mapping[str, Any]) -> Manifest:
    """That of the files in `folder`, which become the run's next checkpoint."""
    earlier = [it.told for it in manifest.listed(run.checkpoints) if it.told]
    val = state.get("best_val") if state.get("best_step") == step else None
    return Manifest(
        step=step,
        number=1 + max((told.number for told in earlier), default=0),
        highest=max((max(told.step, told.highest) for told in earlier), default=-1),
        val=float(val) if val is not None and math.isfinite(val) else None,
        files={name: Fingerprint.of(folder / name) for name in FILES},
    )


def _unused(path: Path) -> Path:
    """The path, or one like it, where there is nothing."""
    candidate, number = path, 2
    while candidate.exists():
        candidate = path.with_name(f"{path.name}-{number}")
        number += 1
    return candidate


def _point(run: Run, path: Path) -> None:
    """Name the newest and the best for people. They are only hints, so a fault is no fault."""
    with contextlib.suppress(OSError):
        disk.write(run.path / "last", path.name + "\n")
        best = manifest.best(manifest.listed(run.checkpoints))
        if best is not None:
            disk.write(run.path / "best", best.name + "\n")


def _rotate(run: Run, keep: int) -> None:
    """Remove what is older than the `keep` newest whole ones, but never the best.

    One whose manifest cannot be read stays: whether it is older is not known, and the disk may
    tell it another time. Each gets another name first, so that what has a checkpoint's name is
    whole.
    """
    whole = 0
    with contextlib.suppress(OSError):
        there = manifest.listed(run.checkpoints)
        best = manifest.best(there)
        for it in there:
            if it.told is None:
                continue
            if whole < keep:
                whole += it.told.sizes_are_right(it.path)
            elif it.path != best:
                gone = it.path.with_name(f".{it.path.name}")
                it.path.rename(gone)
                shutil.rmtree(gone, ignore_errors=True)


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _refused(run: Run, error: Exception, needed: int) -> CheckpointError:
    """What the disk said, in words; safetensors tells the system's number only in its text."""
    where = visible(str(run.checkpoints))
    told = re.search(r"\(os error (\d+)\)", str(error))
    number = error.errno if isinstance(error, OSError) else int(told[1]) if told else None
    if number in disk.FULL:
        shortage = Shortage(run.path, needed, disk.free(run.path))
        return CheckpointError(f"{shortage}.", shortage)
    words = (isinstance(error, OSError) and error.strerror) or error
    return CheckpointError(visible(f"{where} cannot be written: {words}."))
