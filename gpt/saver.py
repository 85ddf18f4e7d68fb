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
        self._written: tuple[int, bool] | None = None
        self._path: Path | None = None

    def save(
        self,
        boundary: Boundary,
        kind: Kind,
        parameters: Mapping[str, Tensor],
        tensors: Mapping[str, Tensor],
        state: Mapping[str, Any],
    ) -> str:
        """Write a boundary, or only name it anew when it is on disk already.

        A best checkpoint is the last one as well.

        Returns:
            the checkpoint's path within the run folder.

        Raises:
            CheckpointError: the disk refused; earlier checkpoints are untouched.
        """
        kinds: tuple[Kind, ...] = ("best", "last") if kind == "best" else (kind,)
        place = (boundary.step, boundary.evaluated)
        if self._path is not None and self._written == place:
            checkpoint.point(self._run, self._path, kinds)
        else:
            self._path = checkpoint.save(
                self._run,
                boundary.step,
                parameters,
                {**tensors, **boundary.tensors()},
                {**state, "step": boundary.step, "evaluated": boundary.evaluated},
                kinds,
                self._keep,
            )
            self._written = place
        return self._path.relative_to(self._run.path).as_posix()
