"""A run as a screen needs it: a fold over its events."""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gpt import console
from gpt.curve import Curve as Curve
from gpt.curve import in_bins
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
CHARACTERS = 1_000_000
"""Of all samples together; the oldest go first."""
EVALS = 4096
"""Evaluations, and likewise checkpoints."""
NOTICES = 1000

Kept = TypeVar("Kept", Eval, Saved)


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
                self.evals = _bounded(self.evals, _merit)
            case Sample():
                self._write(event)
            case Saved():
                self.saved.append(event)
                self.saved = _bounded(self.saved, _is_best)
            case Notice():
                self.notices.append(event)
                if len(self.notices) > NOTICES:
                    del self.notices[: NOTICES // 2]
            case Adjusted():
                self.adjusted.append(event)
            case Finished():
                self.finished, self.progress = event, None
            case Started():
                pass

    def fold_steps(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take in the figures of many steps, to the same effect as their events one by one.

        Args:
            rows: all figures of a `Step` by name, and no step unknown.
        """
        if not rows:
            return
        self.revision += len(rows)
        self.first_time = rows[0]["time"] if self.first_time is None else self.first_time
        self.curve.extend(rows)
        # Lines that would be pushed out of the log again are not written.
        first = max(0, len(rows) - LOG_LINES)
        self.step = max(self.step, *(row["step"] for row in rows[:first])) if first else self.step
        for row in rows[first:]:
            self.step = max(self.step, row["step"])
            text = console.line(Step(**{name: row[name] for name in Curve.COLUMNS}))
            self.log.append((self.step, text or ""))

    @property
    def max_iters(self) -> int:
        """Steps in the whole run; 0 while unknown. With a time budget, what its pace foretells."""
        if self.started is None or not self.started.time_budget:
            return self.started.max_iters if self.started else 0
        if self.finished and self.finished.reason == "done":
            return self.step
        steps, seconds = self.curve["step"], self.curve["seconds"]
        if not len(steps) or seconds[-1] <= 0:
            return 0
        return max(self.step, round(steps[-1] * self.started.time_budget / seconds[-1]))

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
        if self.started and self.started.time_budget and len(seconds):
            return max(0.0, self.started.time_budget - seconds[-1])
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
            excess = sum(len(sample.text) for sample in self.samples) - CHARACTERS
            while excess > 0 and len(self.samples) > 1:
                excess -= len(self.samples.popleft().text)
        current = self.samples[-1]
        current.text += event.text
        current.done = event.done


def _bounded(events: list[Kept], merit: Callable[[Kept], float]) -> list[Kept]:
    """The events or, when there are too many, of each stretch of the run the one of most merit.

    Of equal ones the last. The newest stays as well.
    """
    if len(events) <= EVALS:
        return events
    bins = in_bins([event.step or 0 for event in events], EVALS // 2)
    kept = [max(reversed(events[start:end]), key=merit) for start, end in bins]
    return kept if kept[-1] is events[-1] else [*kept, events[-1]]


def _merit(event: Eval) -> float:
    """What the run called best above all, else the lower loss."""
    if event.best:
        return math.inf
    return -math.inf if event.val is None else -event.val


def _is_best(event: Saved) -> float:
    return float(event.kind == "best")
