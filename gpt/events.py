"""What happens in a training run, as small frozen records that travel as JSON lines.

A run is an iterator of these events: `gpt.train` yields them, the journal stores them and a
`Record` folds them. Everything that shows a run, live or past, sees these and nothing else.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time as clock
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

PhaseName = Literal[
    "preparing", "compiling", "training", "evaluating", "sampling", "saving", "paused"
]
Level = Literal["info", "warning", "error"]
Reason = Literal["done", "stopped", "diverged", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    time: float = field(default_factory=clock.time)
    """Wall clock, in seconds since the epoch."""
    step: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(_Event):
    """The configuration is valid, the data is ready and the model is built."""

    max_iters: int
    """Steps in the run; 0 when it has a time budget instead."""
    params: int
    tokens_per_iter: int
    device: str
    dtype: str
    threads: int
    world_size: int = 1
    resumed_from: int | None = None
    time_budget: float = 0.0
    """Seconds that the run is to work; 0 when it has so many steps instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase(_Event):
    """What the run is doing from now on."""

    name: PhaseName


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(_Event):
    """How far a phase that takes longer than a second has come."""

    phase: PhaseName
    done: float
    total: float | None
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(_Event):
    """One logged training step.

    `ms` is the mean per step since the previous `Step`, without evaluation, sampling, saving
    and pause. `tokens` and `seconds` are cumulative; `seconds` is working time, compiling and
    evaluating included, pauses not. `mfu` is the share of this machine's measured
    matrix-product peak. `memory` is in bytes.
    """

    loss: float | None
    lr: float
    grad_norm: float | None
    ms: float
    tokens_per_s: float
    mfu: float | None
    tokens: int
    seconds: float
    memory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Eval(_Event):
    """Mean losses over both splits, in nats a token, with their standard errors."""

    train: float | None
    val: float | None
    train_se: float | None = None
    val_se: float | None = None
    best: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(_Event):
    """A piece of text as the model writes it; the last piece of a sample is `done`."""

    prompt: str
    seed: int
    text: str
    done: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved(_Event):
    """A checkpoint is whole on disk; `path` is relative to the run folder."""

    path: str
    kind: Literal["best", "last", "asked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adjusted(_Event):
    """A setting was changed while training, effective at `step`."""

    knob: str
    value: bool | int | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(_Event):
    """What a person should know."""

    level: Level
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(_Event):
    """The last event of a run; `error` says in words what went wrong."""

    reason: Reason
    error: str | None = None


Event = (
    Started | Phase | Progress | Step | Eval | Sample | Saved | Adjusted | Notice | Finished
)  # fmt: skip

_KINDS: dict[str, type[Event]] = {
    kind.__name__.lower(): kind
    for kind in (
        Started, Phase, Progress, Step, Eval, Sample, Saved, Adjusted, Notice, Finished
    )
}  # fmt: skip
_FIELDS = {kind: get_type_hints(kind) for kind in _KINDS.values()}
_CHECKS = {
    kind: {
        name: (get_origin(hint) is Literal, get_args(hint) or (hint,))
        for name, hint in hints.items()
    }
    for kind, hints in _FIELDS.items()
}
"""Of each field whether it has a choice of values, and those; else the types that it may have."""
_REQUIRED = {
    kind: frozenset(
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    )
    | {"time"}
    for kind in _KINDS.values()
}


LATEST = 2.5e11
"""The end of the year 9891, beyond which dates cannot be written."""


def to_json(event: Event) -> str:
    """The event as one line of JSON, without the newline.

    Non-finite numbers become null. Only ASCII is written, so that text from a model or a
    corpus is harmless in a terminal even when the journal is printed raw.
    """
    record: dict[str, Any] = {"event": type(event).__name__.lower()}
    for name in _FIELDS[type(event)]:
        value = getattr(event, name)
        if isinstance(value, float) and not math.isfinite(value):
            value = None
        if value is not None or name != "step":
            record[name] = value
    return json.dumps(record)


def from_json(line: str) -> Event | None:
    """The event of one journal line, or None for a kind that this version does not know.

    Unknown fields are passed over, so that a newer version's journal can be read. A journal may
    come from a stranger: what is not of a field's type, or a number beyond all reason, is refused.

    Raises:
        ValueError: the line is not an event.
    """
    record: object = json.loads(line)
    if not isinstance(record, dict):
        raise ValueError("a journal line is a JSON object")
    return from_values(cast(dict[str, Any], record))


def from_values(values: dict[str, Any]) -> Event | None:
    """The event of what `from_json` reads.

    Raises:
        ValueError: it is none.
    """
    kind = _KINDS.get(str(values.get("event")))
    if kind is None:
        return None
    checks = _CHECKS[kind]
    known = {name: values[name] for name in checks if name in values}
    if missing := _REQUIRED[kind] - known.keys():
        raise ValueError(f"{kind.__name__.lower()} without {', '.join(sorted(missing))}")
    for name, value in known.items():
        if not _fits(value, *checks[name]) or (name == "time" and not 0 <= value < LATEST):
            raise ValueError(f"{kind.__name__.lower()} with an impossible {name}")
    return kind(**known)


def is_figure(value: object) -> bool:
    """Whether it is a number within reason: finite, and as an integer of 64 bits.

    The seed of a sample may be one of those and a step.
    """
    if type(value) is int:
        return -(2**64) < value < 2**64
    return type(value) is float and -1e100 <= value <= 1e100


def _fits(value: object, literal: bool, allowed: tuple[object, ...]) -> bool:
    """Whether a value out of JSON is of a field's type, or one of its values."""
    if literal:
        return value in allowed
    if type(value) is int or type(value) is float:
        # JSON may write a whole float without its point.
        return is_figure(value) and (float in allowed or type(value) in allowed)
    return type(value) in allowed and (value is not None or NoneType in allowed)
