"""The figures of a measurement: what training a configuration costs on a machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Figures:
    """What training costs here, in milliseconds and bytes; medians, but for the parts of a step.

    Attributes:
        parts_ms: of one step with all its micro-batches, by the names in `steps.PARTS`, and
            `timed_ms` that step: means of the middle half of those that were taken apart.
            It has what the timing costs as well.
        step_ms: the step left alone.
        eval_ms: one evaluation of both splits, from as many batches as take a second.
        log_ms: one step's line in the journal.
        tokens_per_s: of steps alone; `tokens_per_s_overall` with evaluations and logging.
        flops_per_s: the model's floating-point operations in training, as
            `estimate.flops_per_token` counts them; `mfu` is their share of `peak_flops`.
        memory: the most that was in use: the process's on a CPU, the device's on a GPU.
    """

    device: str
    dtype: str
    threads: int
    compiled: bool
    params: int
    tokens_per_iter: int
    steps: int
    warm_up_steps: int
    parts_ms: dict[str, float]
    timed_ms: float
    step_ms: float
    eval_ms: float
    eval_interval: int
    log_ms: float
    log_interval: int
    tokens_per_s: float
    tokens_per_s_overall: float
    flops_per_s: float
    peak_flops: float | None
    memory: int

    @property
    def rest_ms(self) -> float:
        """The part of a step that no part covers."""
        return self.timed_ms - sum(self.parts_ms.values())

    @property
    def mfu(self) -> float | None:
        """The share of this machine's measured matrix-product peak."""
        return self.flops_per_s / self.peak_flops if self.peak_flops else None


def as_dict(figures: Figures) -> dict[str, Any]:
    """The figures as one JSON object."""
    return {**asdict(figures), "rest_ms": figures.rest_ms, "mfu": figures.mfu}


def from_dict(record: Mapping[str, Any]) -> Figures:
    """The figures that `as_dict` made an object of.

    Raises:
        KeyError: one is missing.
    """
    return Figures(**{field.name: record[field.name] for field in fields(Figures)})
