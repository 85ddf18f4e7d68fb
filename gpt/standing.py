"""Where a run stands, and how that is saved and taken up again."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass

from gpt import room
from gpt.boundary import Boundary, read_generators, set_generators
from gpt.checkpoint import Checkpoint, CheckpointError, Kind
from gpt.config import Config
from gpt.control import Control
from gpt.corpus import Corpus
from gpt.data import Batches, Splits
from gpt.events import Eval, Event, Notice, Phase, PhaseName, Saved
from gpt.learner import Diverged, Learner
from gpt.resumption import Resumption
from gpt.runs import Run
from gpt.saver import Saver
from gpt.schedule import Progress, lr_at, sizes_at
from gpt.settings import Value
from gpt.stopwatch import Stopwatch
from gpt.tokenizer import Tokenizer
from gpt.world import World


@dataclass(frozen=True, slots=True)
class Ready:
    """What a run needs before its folder is made. `peak` is in floating-point operations a
    second."""

    world: World
    corpus: Corpus
    tokens: Tokenizer
    splits: Splits
    peak: float | None


class Standing:
    """A run between two steps: the model, its optimizer, and all else that decides what follows.

    Args:
        resumption: what to go on from; None begins a new run.
    """

    def __init__(
        self,
        config: Config,
        ready: Ready,
        run: Run | None,
        control: Control,
        resumption: Resumption | None = None,
    ) -> None:
        self.config = config
        self.ready = ready
        self.world = ready.world
        self.control = control
        self.resumption = resumption
        self.learner = Learner(config, ready.corpus.vocab_size, self.world)
        self.watch = Stopwatch()
        self.phase: PhaseName = "preparing"
        self.step: int = 0
        self.tokens: int = 0
        self.best_val = math.inf
        self.best_step: int | None = None
        self.measured: Eval | None = None
        """The evaluation of this step that decides on the best checkpoint, once it is made."""
        self.adjusted: dict[str, Value] = {}
        self.saver = Saver(run, config.keep_checkpoints) if run else None
        self.batches = Batches(ready.splits.train, config, self.world.device)
        if resumption is not None:
            self._restore(resumption.checkpoint, resumption.adjusted)
        self.boundary = self._boundary()

    def _restore(self, checkpoint: Checkpoint, adjusted: Mapping[str, Value]) -> None:
        """Stand where the run stood when it was saved."""
        state, boundary = checkpoint.state, Boundary.of(checkpoint)
        self.learner.restore(checkpoint)
        self.step, self.tokens = boundary.step, state["tokens"]
        if state["best_val"] is not None:
            self.best_val, self.best_step = state["best_val"], state["best_step"]
        if boundary.evaluated:
            self.measured = Eval(step=self.step, **state["eval"])
        self.adjusted = dict(adjusted)
        self.watch = Stopwatch(state["seconds"])
        self.batches.resize(*sizes_at(self.config, self._progress()))
        set_generators(boundary.generators, self.world.device)
        self.batches.restore(boundary.batch, boundary.place)
        # Else what is mapped of its files would be held, and they on the disk, to the end.
        checkpoint.model.clear()
        checkpoint.tensors.clear()

    def _progress(self) -> Progress:
        return Progress(self.step, self.watch.worked())

    def _boundary(self) -> Boundary:
        generators = read_generators(self.world.device)
        batches = self.batches
        evaluated = self.measured is not None
        return Boundary(self.step, evaluated, generators, batches.current, batches.place)

    def _enter(self, phase: PhaseName) -> Iterator[Event]:
        if phase != self.phase:
            self.phase = phase
            yield Phase(step=self.step, name=phase)

    # --- saving

    def _save_if_possible(self, kind: Kind) -> Generator[Event, None, bool]:
        """Save in the middle of a run, which goes on when the disk is at fault; whether it did."""
        try:
            yield from self._save_when_there_is_room(kind)
        except CheckpointError as error:
            self.watch.saved()
            yield Notice(level="error", step=self.step, text=f"not saved: {error}")
            return False
        return True

    def _save_when_there_is_room(self, kind: Kind) -> Iterator[Event]:
        """Save; when the disk is full, hold the run until there is room."""
        while True:
            try:
                yield from self._save(kind)
                return
            except CheckpointError as error:
                if error.shortage is None:
                    raise
                shortage, text = error.shortage, f"not saved: {error}"
            yield Notice(level="error", step=self.step, text=text)
            yield from self._enter("paused")
            self.watch.hold()
            room.wait(shortage, self.control)
            self.watch.go_on()

    def _save(self, kind: Kind) -> Iterator[Event]:
        """Write the last boundary as a checkpoint."""
        if self.saver is None or self.saver.has(self.boundary, kind):
            return
        yield from self._enter("saving")
        if not self.learner.is_finite():
            raise Diverged(self.step, "a parameter", lr_at(self.config, self._progress()))
        path = self.saver.save(
            self.boundary, kind, self.learner.parameters(), self.learner.moments(), self._state()
        )
        self.watch.saved()
        yield Saved(step=self.boundary.step, path=path, kind=kind)

    def _state(self) -> dict[str, object]:
        """What a checkpoint keeps beside tensors."""
        return {
            "best_val": self.best_val if math.isfinite(self.best_val) else None,
            "best_step": self.best_step,
            "eval": None if self.measured is None else losses_of(self.measured),
            "adjusted": self.adjusted,
            "tokens": self.tokens,
            "seconds": self.watch.worked(),
            "scaler": self.learner.scaler.state_dict(),
            "vocab_size": self.ready.corpus.vocab_size,
            "dataset_sha256": self.ready.corpus.sha256,
            "threads": self.world.threads,
            "kernels": self.world.kernels,
            "device": str(self.world.device),
            "dtype": self.world.dtype_name,
        }


def losses_of(event: Eval) -> dict[str, float | bool | None]:
    """What an evaluation found, as a checkpoint keeps it."""
    return {name: getattr(event, name) for name in ("train", "val", "train_se", "val_se", "best")}
