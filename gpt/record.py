"""A run as a screen needs it: a fold over its events."""

from __future__ import annotations

import copy
from array import array
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass, field

from gpt import console
from gpt.events import (
    Adjusted,
    Eval,
    Event,
    Finished,
    Notice,
    Phase,
    Progress,
    Sample,
    Saved,
    Started,
    Step,
)

LOG_LINES = 2000
SAMPLES = 500
CURVE_POINTS = 16384
NAN = float("nan")


class Curve:
    """The logged steps, a column a figure, in bounded memory.

    When it is full, every second point of its older half goes: the recent past stays whole,
    the further past becomes coarser. Unknown figures are nan.
    """

    COLUMNS = ("step", "time", "loss", "lr", "grad_norm", "ms", "tokens_per_s", "mfu",
               "tokens", "seconds", "memory")  # fmt: skip

    def __init__(self, capacity: int = CURVE_POINTS) -> None:
        self.capacity = capacity
        self.columns = {name: array("d") for name in self.COLUMNS}

    def __len__(self) -> int:
        return len(self.columns["step"])

    def __getitem__(self, name: str) -> array[float]:
        return self.columns[name]

    def append(self, event: Step) -> None:
        """Add one point, thinning the older half when there is no room."""
        for name, column in self.columns.items():
            value = getattr(event, name)
            column.append(NAN if value is None else value)
        if len(self) > self.capacity:
            half = self.capacity // 2
            for name, column in self.columns.items():
                self.columns[name] = column[:half:2] + column[half:]

    def until(self, step: int) -> Curve:
        """The points up to and including `step`."""
        end = bisect_right(self.columns["step"], step)
        past = Curve(self.capacity)
        past.columns = {name: column[:end] for name, column in self.columns.items()}
        return past

    def at(self, step: int) -> dict[str, float]:
        """The figures of the last point up to `step`, or of the first; empty without points."""
        if not len(self):
            return {}
        index = max(0, bisect_right(self.columns["step"], step) - 1)
        return {name: column[index] for name, column in self.columns.items()}


@dataclass(slots=True)
class Written:
    """One sample as far as it is written."""

    step: int
    prompt: str
    seed: int
    text: str = ""
    done: bool = False


@dataclass(slots=True)
class Record:
    """Everything that the events of one run say, so far.

    `phase` is empty before the first event. `revision` grows with every event, so that a
    screen knows when there is something new.
    """

    started: Started | None = None
    phase: str = ""
    phase_since: float = 0.0
    progress: Progress | None = None
    step: int = 0
    first_time: float | None = None
    last_time: float | None = None
    curve: Curve = field(default_factory=Curve)
    evals: list[Eval] = field(default_factory=list[Eval])
    samples: deque[Written] = field(default_factory=lambda: deque[Written](maxlen=SAMPLES))
    saved: list[Saved] = field(default_factory=list[Saved])
    notices: list[Notice] = field(default_factory=list[Notice])
    adjusted: list[Adjusted] = field(default_factory=list[Adjusted])
    log: deque[tuple[int, str]] = field(
        default_factory=lambda: deque[tuple[int, str]](maxlen=LOG_LINES)
    )
    """nanoGPT's lines, each with its step."""
    seams: list[int] = field(default_factory=list[int])
    """The steps from which the run went on after it had stopped."""
    finished: Finished | None = None
    revision: int = 0

    def fold(self, event: Event) -> None:
        """Take one event in."""
        self.revision += 1
        self.first_time = event.time if self.first_time is None else self.first_time
        self.last_time = event.time
        if isinstance(event, Started):
            self._begin(event)
        elif event.step is not None:
            self.step = max(self.step, event.step)
        text = console.line(event)
        if text is not None:
            self.log.append((self.step, text))
        match event:
            case Phase():
                self.phase, self.phase_since, self.progress = event.name, event.time, None
            case Progress():
                self.progress = event
            case Step():
                self.curve.append(event)
            case Eval():
                self.evals.append(event)
            case Sample():
                self._write(event)
            case Saved():
                self.saved.append(event)
            case Notice():
                self.notices.append(event)
            case Adjusted():
                self.adjusted.append(event)
            case Finished():
                self.finished, self.progress = event, None
            case Started():
                pass

    @property
    def max_iters(self) -> int:
        """Steps in the whole run; 0 while unknown."""
        return self.started.max_iters if self.started else 0

    @property
    def best(self) -> Eval | None:
        """The evaluation whose validation loss was the lowest so far when it was made."""
        return next((event for event in reversed(self.evals) if event.best), None)

    @property
    def seconds(self) -> float:
        """Working time so far, in seconds."""
        return self.curve["seconds"][-1] if len(self.curve) else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Working time to the end at the pace so far, evaluations included; None if unknown."""
        if self.finished:
            return 0.0
        steps, seconds = self.curve["step"], self.curve["seconds"]
        if len(steps) < 2 or not self.max_iters:
            return None
        pace = (seconds[-1] - seconds[0]) / (steps[-1] - steps[0])
        return max(0.0, pace * (self.max_iters - steps[-1]))

    def at(self, step: int) -> Record:
        """The run as it stood after `step`."""
        past = copy.copy(self)
        past.step = min(self.step, step)
        past.curve = self.curve.until(step)
        past.evals = [event for event in self.evals if (event.step or 0) <= step]
        past.samples = deque((w for w in self.samples if w.step <= step), SAMPLES)
        past.saved = [event for event in self.saved if (event.step or 0) <= step]
        past.adjusted = [event for event in self.adjusted if (event.step or 0) <= step]
        past.log = deque((entry for entry in self.log if entry[0] <= step), LOG_LINES)
        return past

    def _begin(self, event: Started) -> None:
        """A run begins, or goes on from a checkpoint: what came after that is no longer so."""
        self.started = event
        if event.resumed_from is None:
            return
        step = event.resumed_from
        past = self.at(step - 1)
        self.curve, self.evals, self.samples, self.log = (
            past.curve, past.evals, past.samples, past.log
        )  # fmt: skip
        self.saved = [saved for saved in self.saved if (saved.step or 0) <= step]
        self.step, self.finished = step, None
        self.seams = [*(seam for seam in self.seams if seam < step), step]

    def _write(self, event: Sample) -> None:
        step = event.step or 0
        if not self.samples or self.samples[-1].done or self.samples[-1].step != step:
            self.samples.append(Written(step, event.prompt, event.seed))
        current = self.samples[-1]
        current.text += event.text
        current.done = event.done
