"""The checkpoints of one run while it trains: each boundary is written once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from gpt import checkpoint
from gpt.boundary import Boundary
from gpt.checkpoint import Kind
from gpt.runs import Run


class Saver:
    """Writes boundaries into a run folder, keeping the `keep` newest and the best."""

    def __init__(self, run: Run, keep: int) -> None:
        self._run = run
        self._keep = keep
        self._place: tuple[int, bool] | None = None
        self._path: Path | None = None
        self._kinds: set[Kind] = set()

    def has(self, boundary: Boundary, kind: Kind) -> bool:
        """Whether this boundary was saved already, and said to be of this kind."""
        return self._is_on_disk(boundary) is not None and self._kinds.issuperset(_names(kind))

    def save(
        self,
        boundary: Boundary,
        kind: Kind,
        parameters: Mapping[str, Tensor],
        tensors: Mapping[str, Tensor],
        state: Mapping[str, Any],
    ) -> str:
        """Write a boundary, unless it is on disk already.

        Returns:
            the checkpoint's path within the run folder.

        Raises:
            CheckpointError: the disk refused; earlier checkpoints are untouched.
        """
        path = self._is_on_disk(boundary)
        if path is None:
            path = checkpoint.save(
                self._run,
                boundary.step,
                parameters,
                {**tensors, **boundary.tensors()},
                {**state, "step": boundary.step, "evaluated": boundary.evaluated},
                self._keep,
            )
            self._place, self._path, self._kinds = _place(boundary), path, set()
        self._kinds.update(_names(kind))
        return path.relative_to(self._run.path).as_posix()

    def _is_on_disk(self, boundary: Boundary) -> Path | None:
        """Where this boundary is, unless somebody has removed it."""
        if self._path is None or self._place != _place(boundary) or not self._path.is_dir():
            return None
        return self._path


def _place(boundary: Boundary) -> tuple[int, bool]:
    return boundary.step, boundary.evaluated


def _names(kind: Kind) -> tuple[Kind, ...]:
    """A best checkpoint is the last one as well."""
    return ("best", "last") if kind == "best" else (kind,)
