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
        """Whether this boundary is on disk already, under these names."""
        return self._place == _place(boundary) and self._kinds.issuperset(_names(kind))

    def save(
        self,
        boundary: Boundary,
        kind: Kind,
        parameters: Mapping[str, Tensor],
        tensors: Mapping[str, Tensor],
        state: Mapping[str, Any],
    ) -> str:
        """Write a boundary, or only name it anew when it is on disk already.

        Returns:
            the checkpoint's path within the run folder.

        Raises:
            CheckpointError: the disk refused; earlier checkpoints are untouched.
        """
        if self._path is not None and self._place == _place(boundary):
            checkpoint.point(self._run, self._path, _names(kind))
        else:
            self._path = checkpoint.save(
                self._run,
                boundary.step,
                parameters,
                {**tensors, **boundary.tensors()},
                {**state, "step": boundary.step, "evaluated": boundary.evaluated},
                _names(kind),
                self._keep,
            )
            self._place, self._kinds = _place(boundary), set()
        self._kinds.update(_names(kind))
        return self._path.relative_to(self._run.path).as_posix()


def _place(boundary: Boundary) -> tuple[int, bool]:
    return boundary.step, boundary.evaluated


def _names(kind: Kind) -> tuple[Kind, ...]:
    """A best checkpoint is the last one as well."""
    return ("best", "last") if kind == "best" else (kind,)
