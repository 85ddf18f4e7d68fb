"""nanoGPT's training loop, in nanoGPT's order of random draws, as events.

`Loop._steps` and `Loop._update` read like the description of training. A step is: evaluate when
it is due, sample when that is due, then forward, backward, clip, update.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import torch

from gpt import estimate, evaluate, sample
from gpt.boundary import Boundary, optimizer_tensors, read_generators, set_generators
from gpt.checkpoint import CheckpointError, Kind
from gpt.compiling import compiled
from gpt.config import Config
from gpt.control import Control, Request
from gpt.corpus import Corpus
from gpt.data import Splits
from gpt.events import (
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
from gpt.model import GPT
from gpt.optim import lr_at, make_optimizer
from gpt.runs import Run
from gpt.saver import Saver
from gpt.stopwatch import Stopwatch
from gpt.tokenizer import Tokenizer
from gpt.world import World

PAUSE_SECONDS = 0.25


class Diverged(Exception):  # noqa: N818 - an outcome of a run, not a fault of the program
    """The loss is no longer a finite number."""

    def __init__(self, step: int, what: str, lr: float, norm: float | None = None) -> None:
        gradient = "" if norm is None else f", gradient norm {norm:.3g}"
        super().__init__(
            f"{what} at step {step} is not a finite number (learning rate {lr:.3g}{gradient}). Try "
            "a lower learning_rate, a longer warm-up or a grad_clip of 1."
        )
        self.step = step


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
    """One run under way: the model, its optimizer and where it stands."""

    def __init__(self, config: Config, ready: Ready, run: Run | None, control: Control) -> None:
        self.config = config
        self.ready = ready
        self.world = ready.world
        self.control = control
        torch.manual_seed(config.seed)  # pyright: ignore[reportUnknownMemberType]
        self.model = GPT(config, ready.corpus.vocab_size).to(self.world.device)
        self.forward: evaluate.Forward = self.model
        self.optimizer = make_optimizer(self.model, config, self.world.device)
        # Only float16 needs its gradients scaled; otherwise this passes everything through.
        self.scaler = torch.amp.GradScaler(
            self.world.device.type, enabled=self.world.dtype is torch.float16
        )
        per_token = estimate.flops_per_token(config, ready.corpus.vocab_size)
        self.flops_per_iter = per_token * config.tokens_per_iter
        self.watch = Stopwatch()
        self.phase: PhaseName = "preparing"
        self.step = 0
        self.best_val = math.inf
        self.best_step: int | None = None
        self.loss = torch.zeros(())
        self.saver = Saver(run, config.keep_checkpoints) if run else None
        self.batch = self._draw()
        self.boundary = self._boundary(evaluated=False)

    def events(self) -> Iterator[Event]:
        """The whole run after preparing."""
        yield Started(
            step=0,
            max_iters=self.config.max_iters,
            params=estimate.params(self.config, self.ready.corpus.vocab_size, positions=False),
            tokens_per_iter=self.config.tokens_per_iter,
            device=str(self.world.device),
            dtype=self.world.dtype_name,
            threads=self.world.threads,
        )
        for text in self.world.notices:
            yield Notice(level="warning", text=text)
        if self.world.compile:
            yield from self._compile()
        yield from self._steps()
        if not self.config.eval_only:
            yield from self._save("last")
        yield Finished(step=self.step, reason="done")

    def stopped(self) -> Iterator[Event]:
        """The end of a run that was asked to stop: its last boundary, saved."""
        if not self.config.eval_only:
            yield from self._save("last")
        yield Finished(step=self.boundary.step, reason="stopped")

    def _steps(self) -> Iterator[Event]:
        config = self.config
        while True:
            self.boundary = self._boundary(evaluated=False)
            yield from self._attend()
            last = self.step >= config.max_iters
            if last or self.step % config.eval_interval == 0:
                yield from self._evaluate()
            if sample.due(config, self.step):
                yield from self._sample()
            if last or config.eval_only:
                return
            yield from self._update()
            self.step += 1
            if 0 < 60 * config.checkpoint_minutes <= self.watch.since_save():
                self.boundary = self._boundary(evaluated=False)
                yield from self._save_if_possible("last")

    def _update(self) -> Iterator[Event]:
        """One training step: forward and backward over each micro-batch, clip, update."""
        config = self.config
        yield from self._enter("training")
        lr = lr_at(config, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        logged = self.step % config.log_interval == 0
        self.watch.start_step()
        for _ in range(config.gradient_accumulation_steps):
            self.control.check()
            with self.world.autocast():
                _, self.loss = self.forward(*self.batch)
            # Drawn here, so that the next batch exists before the next evaluation draws.
            self.batch = self._draw()
            loss = self.scaler.scale(self.loss / config.gradient_accumulation_steps)
            loss.backward()  # pyright: ignore[reportUnknownMemberType]
        norm = self._clip(logged)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        value = self.loss.item() if logged else 0.0
        self.watch.end_step()
        if logged:
            yield self._step_event(value, lr, norm)
        if not math.isfinite(value):
            raise Diverged(self.step, "the loss", lr, norm)

    def _clip(self, logged: bool) -> float | None:
        """Shorten the gradients to `grad_clip`; their norm before that, where it is logged."""
        clip = self.config.grad_clip
        if not clip and not logged:
            return None
        self.scaler.unscale_(self.optimizer)
        if clip:
            norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), clip)
        else:
            gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
        return float(norm) if logged else None

    def _step_event(self, loss: float, lr: float, norm: float | None) -> Step:
        ms = self.watch.lap()
        tokens = self.config.tokens_per_iter
        peak = self.ready.peak
        return Step(
            step=self.step,
            loss=loss,
            lr=lr,
            grad_norm=norm,
            ms=ms,
            tokens_per_s=1e3 * tokens / ms,
            mfu=self.flops_per_iter / (ms / 1e3) / peak if peak else None,
            tokens=(self.step + 1) * tokens,
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
        """The evaluation that belongs to this step, which decides on the best checkpoint."""
        losses = yield from self._losses()
        if losses is None:
            yield Notice(level="info", step=self.step, text="evaluation skipped")
            return
        if not math.isfinite(losses.val):
            yield self._eval_event(losses, best=False)
            raise Diverged(self.step, "the validation loss", lr_at(self.config, self.step))
        best = losses.val < self.best_val
        if best:
            self.best_val, self.best_step = losses.val, self.step
        yield self._eval_event(losses, best)
        self.boundary = self._boundary(evaluated=True)
        if self.step > 0 and (best or self.config.always_save_checkpoint):
            yield from self._save_if_possible("best" if best else "last")

    def _losses(self) -> Generator[Event, None, evaluate.Losses | None]:
        yield from self._enter("evaluating")
        self.control.take_skip()
        self.model.eval()
        measure = evaluate.estimated if self.config.eval_iters else evaluate.exact
        losses = yield from measure(
            self.forward, self.ready.splits, self.config, self.world, self.control
        )
        self.model.train()
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
        self.model.eval()
        yield from sample.events(
            self.model, self.ready.tokens, self.config, self.step, self.world, self.control
        )
        self.model.train()

    def _save_if_possible(self, kind: Kind) -> Iterator[Event]:
        """Save in the middle of a run, which goes on when the disk refuses."""
        try:
            yield from self._save(kind)
        except CheckpointError as error:
            self.watch.saved()
            yield Notice(level="error", step=self.step, text=f"not saved: {error}")

    def _save(self, kind: Kind) -> Iterator[Event]:
        """Write the last boundary as a checkpoint."""
        if self.saver is None or self.saver.has(self.boundary, kind):
            return
        yield from self._enter("saving")
        if not all(bool(p.isfinite().all()) for p in self.model.parameters()):
            raise Diverged(self.step, "a parameter", lr_at(self.config, self.step))
        path = self.saver.save(
            self.boundary,
            kind,
            # The head's parameters are the token embedding's, and named once.
            dict(self.model.named_parameters()),
            optimizer_tensors(self.model, self.optimizer),
            self._state(),
        )
        self.watch.saved()
        yield Saved(step=self.boundary.step, path=path, kind=kind)

    def _state(self) -> dict[str, object]:
        """What a checkpoint keeps beside tensors."""
        return {
            "best_val": self.best_val if math.isfinite(self.best_val) else None,
            "best_step": self.best_step,
            "seconds": self.watch.worked(),
            "scaler": self.scaler.state_dict(),
            "vocab_size": self.ready.corpus.vocab_size,
            "dataset_sha256": self.ready.corpus.sha256,
            "threads": self.world.threads,
            "device": str(self.world.device),
            "dtype": self.world.dtype_name,
        }

    def _compile(self) -> Iterator[Event]:
        """Compile forward and backward ahead; training goes on without when that fails."""
        yield from self._enter("compiling")
        try:
            self.forward = compiled(self.model, self.batch, self.world)
        except Exception as error:
            reason = str(error).strip().split("\n")[0]
            yield Notice(level="warning", text=f"compile is off: it failed with {reason}")
        self.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        set_generators(self.boundary.generators, self.world.device)

    def _enter(self, phase: PhaseName) -> Iterator[Event]:
        if phase != self.phase:
            self.phase = phase
            yield Phase(step=self.step, name=phase)

    def _draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        config = self.config
        split = self.ready.splits.train
        return split.draw(config.batch_size, config.block_size, self.world.device)

    def _boundary(self, evaluated: bool) -> Boundary:
        generators = read_generators(self.world.device)
        return Boundary(self.step, evaluated, generators, self.batch)
