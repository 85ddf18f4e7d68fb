"""nanoGPT's training loop, in nanoGPT's order of random draws, as events.

`Loop._steps` and `Loop._update` read like the description of training. A step is: evaluate when
it is due, sample when that is due, then forward, backward, clip, update.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import replace

from gpt import estimate, evaluate, sample
from gpt.boundary import set_generators
from gpt.checkpoint import CheckpointError
from gpt.config import Config
from gpt.contention import Contention
from gpt.control import Control, Request
from gpt.events import (
    Adjusted,
    Eval,
    Event,
    Finished,
    Notice,
    Started,
    Step,
)
from gpt.learner import Diverged, Reading
from gpt.resumption import Resumption
from gpt.runs import Run
from gpt.schedule import lr_at, sizes_at
from gpt.standing import Ready, Standing

PAUSE_SECONDS = 0.25


class Loop(Standing):
    """One run under way, from where it stands to its end."""

    def __init__(
        self,
        config: Config,
        ready: Ready,
        run: Run | None,
        control: Control,
        resumption: Resumption | None = None,
    ) -> None:
        super().__init__(config, ready, run, control, resumption)
        # Threads that spin against other work are a matter of a CPU alone.
        on_cpu = self.world.device.type == "cpu"
        self.contention = Contention(self.world.threads if on_cpu else 1)

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
        with self.contention:
            yield from self._steps()
        if not self.config.eval_only:
            yield from self._save_when_there_is_room("last")
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

    def _compile(self) -> Iterator[Event]:
        """Compile forward and backward ahead; training goes on without when that fails."""
        yield from self._enter("compiling")
        try:
            self.learner.compile()
        except Exception as error:
            reason = str(error).strip().split("\n")[0]
            yield Notice(level="warning", text=f"compile is off: it failed with {reason}")
        set_generators(self.boundary.generators, self.world.device)
