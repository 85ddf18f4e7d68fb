"""nanoGPT's training loop, in nanoGPT's order of random draws, as events.

`Loop._steps` and `Loop._update` read like the description of training. A step is: evaluate when
it is due, sample when that is due, then forward, backward, clip, update.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace

from gpt import estimate, evaluate, room, sample
from gpt.boundary import Boundary, read_generators, set_generators
from gpt.checkpoint import Checkpoint, CheckpointError, Kind
from gpt.config import Config
from gpt.contention import Contention
from gpt.control import Control, Request
from gpt.corpus import Corpus
from gpt.data import Batches, Splits
from gpt.events import (
    Adjusted,
    Eval,
    Event,
    Finished,
    Notice,
    Phase,
    PhaseName,
    Saved,
    Started,
    Step,
)
from gpt.learner import Diverged, Learner, Reading
from gpt.resumption import Resumption
from gpt.runs import Run
from gpt.saver import Saver
from gpt.schedule import Progress, lr_at, sizes_at
from gpt.settings import Value
from gpt.stopwatch import Stopwatch
from gpt.tokenizer import Tokenizer
from gpt.world import World

PAUSE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Ready:
    """What a run needs before its folder is made. `peak` is in floating-point operations a
    second."""

    world: World
    corpus: Corpus
    tokens: Tokenizer
    splits: Splits
    peak: float | None


class Loop:
    """One run under way: the model, its optimizer and where it stands.

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
        # Threads that spin against other work are a matter of a CPU alone.
        on_cpu = self.world.device.type == "cpu"
        self.contention = Contention(self.world.threads if on_cpu else 1)
        self.learner = Learner(config, ready.corpus.vocab_size, self.world)
        self.watch = Stopwatch()
        self.phase: PhaseName = "preparing"
        self.step = 0
        self.tokens = 0
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

    def events(self) -> Iterator[Event]:
        """The whole run after preparing."""
        yield Started(
            step=self.step,
            max_iters=0 if self.config.time_budget else self.config.max_iters,
            time_budget=self.config.time_budget,
            params=estimate.params(self.config, self.ready.corpus.vocab_size, positions=False),
            tokens_per_iter=self.config.tokens_per_iter,
            device=str(self.world.device),
            dtype=self.world.dtype_name,
            threads=self.world.threads,
            resumed_from=None if self.resumption is None else self.step,
        )
        for text in self.world.notices:
            yield Notice(level="warning", text=text)
        if self.resumption is not None:
            yield from self._go_on(self.resumption)
        if self.world.compile:
            yield from self._compile()
        with self.contention.patience:
            yield from self._steps()
        if not self.config.eval_only:
            yield from self._save_with_patience("last")
        yield Finished(step=self.step, reason="done")

    def _go_on(self, resumption: Resumption) -> Iterator[Event]:
        """Say what is not as it was, and what the checkpoint already knew of this step."""
        for text in resumption.differences(self.world):
            yield Notice(level="warning", step=self.step, text=text)
        for knob, value in resumption.changed.items():
            self.adjusted[knob] = value
            yield Adjusted(step=self.step, knob=knob, value=value)
        if self.measured is not None:
            yield self.measured

    def stopped(self) -> Iterator[Event]:
        """The end of a run that was asked to stop: its last boundary, saved."""
        try:
            if not self.config.eval_only:
                yield from self._save("last")
        except CheckpointError as error:
            yield Notice(level="error", step=self.boundary.step, text=f"not saved: {error}")
        yield Finished(step=self.boundary.step, reason="stopped")

    def _steps(self) -> Iterator[Event]:
        while True:
            self._adjust_again()
            config = self.config
            self.boundary = self._boundary()
            yield from self._attend()
            last = self._is_last()
            due = last or config.eval_only or config.evaluates(self.step)
            if due and self.measured is None:
                yield from self._evaluate()
            if sample.due(config, self.step, last):
                yield from self._sample()
            if last or config.eval_only:
                return
            yield from self._update()
            self.step += 1
            self.measured = None
            if 0 < 60 * config.checkpoint_minutes <= self.watch.since_save():
                self.boundary = self._boundary()
                yield from self._save_if_possible("last")

    def _progress(self) -> Progress:
        return Progress(self.step, self.watch.worked())

    def _is_last(self) -> bool:
        """Whether no step is left, or less time than another half step would take."""
        if self.config.time_budget:
            return self.config.time_budget - self.watch.worked() < self.watch.last_step() / 2
        return self.step >= self.config.max_iters

    def _adjust_again(self) -> None:
        """Change what was changed at this step before the run was interrupted."""
        for event in self.resumption.pending if self.resumption else ():
            if event.step == self.step and self.adjusted.get(event.knob) != event.value:
                self.adjusted[event.knob] = event.value
                self.config = self.config.model_copy(update={event.knob: event.value})
                self.learner.adjust(self.config)

    def _update(self) -> Iterator[Event]:
        """One training step."""
        yield from self._enter("training")
        progress = self._progress()
        lr = lr_at(self.config, progress)
        logged = self.step % self.config.log_interval == 0
        batch_size, block_size = self.batches.current[0].shape
        tokens = batch_size * block_size * self.config.gradient_accumulation_steps
        sizes = sizes_at(self.config, replace(progress, step=self.step + 1))
        self.watch.start_step()
        reading = self.learner.update(self.batches, lr, logged, self.control.check, sizes)
        self.watch.end_step()
        self.tokens += tokens
        if logged:
            yield self._step_event(reading, lr, tokens, block_size)
        if notice := self.contention.after_step(self.step, self.watch.last_step(), tokens):
            yield notice
        if reading.trouble is not None:
            raise Diverged(self.step, reading.trouble, lr, reading.norm)

    def _step_event(self, reading: Reading, lr: float, tokens: int, block_size: int) -> Step:
        ms, peak = self.watch.lap(), self.ready.peak
        rate = 1e3 * tokens / ms if ms else 0.0  # a coarse clock may see no time pass
        flops = estimate.flops_per_token(self.config, self.ready.corpus.vocab_size, block_size)
        return Step(
            step=self.step,
            loss=reading.loss,
            lr=lr,
            grad_norm=reading.norm,
            ms=ms,
            tokens_per_s=rate,
            mfu=flops * rate / peak if peak else None,
            tokens=self.tokens,
            seconds=self.watch.worked(),
            memory=self.world.memory(),
        )

    def _attend(self) -> Iterator[Event]:
        """Do what was asked for, and wait while paused."""
        while True:
            self.control.check()
            while request := self.control.take_request():
                yield from self._answer(request)
            if not self.control.paused:
                break
            yield from self._enter("paused")
            self.watch.hold()
            self.control.wait(PAUSE_SECONDS)
            self.watch.go_on()

    def _answer(self, request: Request) -> Iterator[Event]:
        """Evaluate, sample or save now, leaving training's random numbers as they were."""
        match request:
            case "evaluate":
                losses = yield from self._losses()
                set_generators(self.boundary.generators, self.world.device)
                if losses is not None:
                    yield self._eval_event(losses, best=False)
            case "sample":
                yield from self._sample()
            case "save":
                yield from self._save_if_possible("asked")

    def _evaluate(self) -> Iterator[Event]:
        """The evaluation that belongs to this step, which decides on the best checkpoint.

        One that could not be saved is not the best: a later one that is worse but can be is.
        """
        losses = yield from self._losses()
        if losses is None:
            yield Notice(level="info", step=self.step, text="evaluation skipped")
            return
        if not math.isfinite(losses.val):
            yield self._eval_event(losses, best=False)
            raise Diverged(self.step, "the validation loss", lr_at(self.config, self._progress()))
        best = losses.val < self.best_val
        kept = self.best_val, self.best_step
        if best:
            self.best_val, self.best_step = losses.val, self.step
        self.measured = self._eval_event(losses, best)
        self.boundary = self._boundary()
        yield self.measured
        if self.step > 0 and (best or self.config.always_save_checkpoint):
            saved = yield from self._save_if_possible("best" if best else "last")
            if best and not saved:
                self.best_val, self.best_step = kept

    def _losses(self) -> Generator[Event, None, evaluate.Losses | None]:
        yield from self._enter("evaluating")
        self.control.take_skip()
        self.learner.model.eval()
        forward, splits = self.learner.forward, self.ready.splits
        what = forward, splits, self.config, self.world, self.control
        if self.config.eval_iters:
            vocab_size = self.learner.model.vocab_size
            together = evaluate.group_size(self.config, vocab_size, self.world)
            losses = yield from evaluate.estimated(*what, together)
        else:
            losses = yield from evaluate.exact(*what)
        self.learner.model.train()
        return losses

    def _eval_event(self, losses: evaluate.Losses, best: bool) -> Eval:
        return Eval(
            step=self.step,
            train=losses.train,
            val=losses.val,
            train_se=losses.train_se,
            val_se=losses.val_se,
            best=best,
        )

    def _sample(self) -> Iterator[Event]:
        """Let the model write, handing the text on as it comes."""
        yield from self._enter("sampling")
        self.control.take_skip()
        self.learner.model.eval()
        yield from sample.events(
            self.learner.model, self.ready.tokens, self.config, self.step, self.world, self.control
        )
        self.learner.model.train()

    def _save_if_possible(self, kind: Kind) -> Generator[Event, None, bool]:
        """Save in the middle of a run, which goes on when the disk is at fault; whether it did."""
        try:
            yield from self._save_with_patience(kind)
        except CheckpointError as error:
            self.watch.saved()
            yield Notice(level="error", step=self.step, text=f"not saved: {error}")
            return False
        return True

    def _save_with_patience(self, kind: Kind) -> Iterator[Event]:
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

    def _compile(self) -> Iterator[Event]:
        """Compile forward and backward ahead; training goes on without when that fails."""
        yield from self._enter("compiling")
        try:
            self.learner.compile()
        except Exception as error:
            reason = str(error).strip().split("\n")[0]
            yield Notice(level="warning", text=f"compile is off: it failed with {reason}")
        set_generators(self.boundary.generators, self.world.device)

    def _enter(self, phase: PhaseName) -> Iterator[Event]:
        if phase != self.phase:
            self.phase = phase
            yield Phase(step=self.step, name=phase)

    def _boundary(self) -> Boundary:
        generators = read_generators(self.world.device)
        batches = self.batches
        evaluated = self.measured is not None
        return Boundary(self.step, evaluated, generators, batches.current, batches.place)


def losses_of(event: Eval) -> dict[str, float | bool | None]:
    """What an evaluation found, as a checkpoint keeps it."""
    return {name: getattr(event, name) for name in ("train", "val", "train_se", "val_se", "best")}
