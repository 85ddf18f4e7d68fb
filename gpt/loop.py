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
from gpt.boundary import (
    Boundary,
    optimizer_tensors,
    read_generators,
    restore_optimizer,
    restore_parameters,
    set_generators,
)
from gpt.checkpoint import Checkpoint, CheckpointError, Kind
from gpt.compiling import compiled
from gpt.config import Config
from gpt.control import Control, Request
from gpt.corpus import Corpus
from gpt.data import Splits
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
from gpt.model import GPT
from gpt.optim import lr_at, make_optimizer, set_hyperparameters
from gpt.resumption import Resumption
from gpt.runs import Run
from gpt.saver import Saver
from gpt.settings import Value
from gpt.stopwatch import Stopwatch
from gpt.tokenizer import Tokenizer
from gpt.world import World

PAUSE_SECONDS = 0.25
SKIPPED_STEPS = 20
"""So many steps in a row may float16's scaler pass over before the run has diverged."""


class Diverged(Exception):  # noqa: N818 - an outcome of a run, not a fault of the program
    """The loss or the gradient is no longer a finite number."""

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
        self.tokens = 0
        self.skipped = 0
        self.best_val = math.inf
        self.best_step: int | None = None
        self.measured: Eval | None = None
        """The evaluation of this step that decides on the best checkpoint, once it is made."""
        self.adjusted: dict[str, Value] = {}
        self.loss = torch.zeros(())
        self.saver = Saver(run, config.keep_checkpoints) if run else None
        self.batch = self._draw()
        if resumption is not None:
            self._restore(resumption.checkpoint)
        self.boundary = self._boundary()

    def _restore(self, checkpoint: Checkpoint) -> None:
        """Stand where the run stood when it was saved."""
        state, boundary = checkpoint.state, Boundary.of(checkpoint)
        restore_parameters(self.model, checkpoint)
        restore_optimizer(self.model, self.optimizer, checkpoint)
        self.scaler.load_state_dict(state["scaler"])
        self.step, self.tokens = boundary.step, state["tokens"]
        if state["best_val"] is not None:
            self.best_val, self.best_step = state["best_val"], state["best_step"]
        if boundary.evaluated:
            self.measured = Eval(step=self.step, **state["eval"])
        self.adjusted = dict(state["adjusted"])
        self.watch = Stopwatch(state["seconds"])
        # A batch of another size than is wanted now is not trained on.
        if boundary.batch[0].shape == self.batch[0].shape:
            self.batch = (
                boundary.batch[0].to(self.world.device),
                boundary.batch[1].to(self.world.device),
            )
        set_generators(boundary.generators, self.world.device)

    def events(self) -> Iterator[Event]:
        """The whole run after preparing."""
        yield Started(
            step=self.step,
            max_iters=self.config.max_iters,
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
        yield from self._steps()
        if not self.config.eval_only:
            yield from self._save("last")
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
        if not self.config.eval_only:
            yield from self._save("last")
        yield Finished(step=self.boundary.step, reason="stopped")

    def _steps(self) -> Iterator[Event]:
        while True:
            self._adjust_again()
            config = self.config
            self.boundary = self._boundary()
            yield from self._attend()
            last = self.step >= config.max_iters
            due = last or self.step % config.eval_interval == 0
            if due and self.measured is None:
                yield from self._evaluate()
            if sample.due(config, self.step):
                yield from self._sample()
            if last or config.eval_only:
                return
            yield from self._update()
            self.step += 1
            self.measured = None
            if 0 < 60 * config.checkpoint_minutes <= self.watch.since_save():
                self.boundary = self._boundary()
                yield from self._save_if_possible("last")

    def _adjust_again(self) -> None:
        """Change what was changed at this step before the run was interrupted."""
        for event in self.resumption.pending if self.resumption else ():
            if event.step == self.step and self.adjusted.get(event.knob) != event.value:
                self.adjusted[event.knob] = event.value
                self.config = self.config.model_copy(update={event.knob: event.value})
                set_hyperparameters(self.model, self.optimizer, self.config)

    def _update(self) -> Iterator[Event]:
        """One training step: forward and backward over each micro-batch, clip, update."""
        config = self.config
        yield from self._enter("training")
        lr = lr_at(config, self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        logged = self.step % config.log_interval == 0
        # Elsewhere to look is to wait for the device.
        looked = logged or self.world.device.type == "cpu"
        self.watch.start_step()
        for _ in range(config.gradient_accumulation_steps):
            self.control.check()
            with self.world.autocast():
                _, self.loss = self.forward(*self.batch)
            # Drawn here, so that the next batch exists before the next evaluation draws.
            self.batch = self._draw()
            loss = self.scaler.scale(self.loss / config.gradient_accumulation_steps)
            loss.backward()  # pyright: ignore[reportUnknownMemberType]
        norm = self._clip(logged, looked)
        value = self.loss.item() if looked else 0.0
        trouble = self._trouble(value, norm)
        if trouble is None:
            trouble = self._step_optimizer()
        self.optimizer.zero_grad(set_to_none=True)
        self.watch.end_step()
        self.tokens += config.tokens_per_iter
        if logged:
            yield self._step_event(value, lr, norm)
        if trouble is not None:
            raise Diverged(self.step, trouble, lr, norm)

    def _clip(self, logged: bool, looked: bool) -> float | None:
        """Shorten the gradients to `grad_clip`; their norm before that, where it is looked at."""
        clip = self.config.grad_clip
        if not clip and not logged:
            return None
        self.scaler.unscale_(self.optimizer)
        if clip:
            norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), clip)
        else:
            gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients)
        return float(norm) if looked else None

    def _trouble(self, loss: float, norm: float | None) -> str | None:
        """What is not a finite number before the update, so that it never gets into the model."""
        if not math.isfinite(loss):
            return "the loss"
        if norm is not None and not math.isfinite(norm) and not self.scaler.is_enabled():
            return "the gradient"
        return None

    def _step_optimizer(self) -> str | None:
        """The update; what is wrong when float16's scaler has passed over too many."""
        if not self.scaler.is_enabled():
            self.optimizer.step()
            return None
        scale = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.skipped = self.skipped + 1 if self.scaler.get_scale() < scale else 0
        return "the gradient" if self.skipped > SKIPPED_STEPS else None

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
        self.measured = self._eval_event(losses, best)
        self.boundary = self._boundary()
        yield self.measured
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
            "eval": None if self.measured is None else losses_of(self.measured),
            "adjusted": self.adjusted,
            "tokens": self.tokens,
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

    def _boundary(self) -> Boundary:
        generators = read_generators(self.world.device)
        return Boundary(self.step, self.measured is not None, generators, self.batch)


def losses_of(event: Eval) -> dict[str, float | bool | None]:
    """What an evaluation found, as a checkpoint keeps it."""
    return {name: getattr(event, name) for name in ("train", "val", "train_se", "val_se", "best")}
