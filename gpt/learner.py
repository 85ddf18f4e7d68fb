"""What learns: the model, its optimizer, and one update of its parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from gpt.boundary import (
    optimizer_tensors,
    restore_optimizer,
    restore_parameters,
)
from gpt.checkpoint import Checkpoint
from gpt.compiling import compiled
from gpt.config import Config
from gpt.data import Batches
from gpt.evaluate import Forward
from gpt.model import GPT, run_block
from gpt.optim import Optimizer, set_hyperparameters
from gpt.world import World

SKIPPED_STEPS = 20
"""So many steps in a row may float16's scaler pass over before the run has diverged."""
CLIP_EPS = 1e-6
"""What torch adds to the norm before it divides by it."""


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
class Reading:
    """What one update showed: the last micro-batch's mean loss in nats a token, 0 where it was
    not looked at; the gradient's norm before clipping; what is not a finite number, if so."""

    loss: float
    norm: float | None
    trouble: str | None


class Learner:
    """A GPT under training. Building it seeds torch's default generators and draws from them.

    Attributes:
        forward: the model's forward pass, compiled where that is wanted and works.
    """

    def __init__(self, config: Config, vocab_size: int, world: World) -> None:
        torch.manual_seed(config.seed)  # pyright: ignore[reportUnknownMemberType]
        self.config = config
        self.world = world
        self.model = GPT(config, vocab_size).to(world.device)
        self.forward: Forward = self.model
        self.optimizer = Optimizer(self.model, config)
        # Only float16 needs its gradients scaled; otherwise this passes everything through.
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=world.dtype is torch.float16)
        self._parameters = list(self.model.parameters())
        self._skipped = 0

    def restore(self, checkpoint: Checkpoint) -> None:
        """Take the parameters, moments and scale of a checkpoint.

        Raises:
            CheckpointError: they are those of another model.
        """
        restore_parameters(self.model, checkpoint)
        restore_optimizer(self.model, self.optimizer, checkpoint)
        if scale := checkpoint.state["scaler"]:  # none where no float16 was
            self.scaler.load_state_dict(scale)

    def adjust(self, config: Config) -> None:
        """Let settings that were changed during the run take effect."""
        self.config = config
        set_hyperparameters(self.model, self.optimizer, config)

    def compile(self) -> None:
        """Compile forward and backward ahead. Default generators move on.

        Raises:
            Exception: whatever the compiler raises; training goes on without.
        """
        try:
            self.forward = compiled(self.model, self.config, self.world)
        except Exception:
            self.model.transformer.run = run_block
            raise
        finally:
            self.model.train()
            self.optimizer.zero_grad()

    def update(
        self,
        batches: Batches,
        lr: float,
        logged: bool,
        poll: Callable[[], None],
        sizes: tuple[int, int] | None = None,
    ) -> Reading:
        """One training step: forward and backward over each micro-batch, clip, update.

        Args:
            lr: the learning rate.
            logged: whether the loss and the gradient's norm are wanted.
            poll: called before each micro-batch; what it raises ends the step without a trace.
            sizes: the (batch, time) of the steps after this one; None for the same as now.
        """
        self.optimizer.set_lr(lr)
        # Elsewhere to look is to wait for the device.
        looked = logged or self.world.device.type == "cpu"
        micro_batches = self.config.gradient_accumulation_steps
        loss = torch.zeros(())
        for number in range(1, micro_batches + 1):
            poll()
            with self.world.autocast():
                _, loss = self.forward(*batches.current)
            if sizes is not None and number == micro_batches:
                batches.resize(*sizes)
            # Drawn here, so that the next batch exists before the next evaluation draws.
            batches.advance()
            scaled = self.scaler.scale(loss / micro_batches)
            scaled.backward()  # pyright: ignore[reportUnknownMemberType]
        norm = self._clip(logged, looked)
        value = loss.item() if looked else 0.0
        trouble = self._trouble(value, norm)
        if trouble is None:
            trouble = self._step()
        self.optimizer.zero_grad()
        return Reading(value, norm, trouble)

    def _clip(self, logged: bool, looked: bool) -> float | None:
        """Shorten the gradients to `grad_clip`; their norm before that, where it is looked at."""
        clip = self.config.grad_clip
        if not clip and not logged:
            return None
        self.scaler.unscale_(cast(torch.optim.Optimizer, self.optimizer))
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        known = float(norm) if looked else None
        # Those that are short enough would only be multiplied by one.
        if clip and not (known is not None and known + CLIP_EPS <= clip):
            torch.nn.utils.clip_grads_with_norm_(self._parameters, clip, norm)
        return known

    def _trouble(self, loss: float, norm: float | None) -> str | None:
        """What is not a finite number before the update, so that it never gets into the model."""
        if not math.isfinite(loss):
            return "the loss"
        if norm is not None and not math.isfinite(norm) and not self.scaler.is_enabled():
            return "the gradient"
        return None

    def _step(self) -> str | None:
        """The update; what is wrong when float16's scaler has passed over too many."""
        if not self.scaler.is_enabled():
            self.optimizer.step()
            return None
        scale = self.scaler.get_scale()
        self.scaler.step(cast(torch.optim.Optimizer, self.optimizer))
        self.scaler.update()
        self._skipped = self._skipped + 1 if self.scaler.get_scale() < scale else 0
        return "the gradient" if self._skipped > SKIPPED_STEPS else None

    def is_finite(self) -> bool:
        """Whether every parameter is a finite number."""
        return all(bool(p.isfinite().all()) for p in self.model.parameters())

    def parameters(self) -> dict[str, Tensor]:
        """The parameters by name; the head's are the token embedding's, and named once."""
        return dict(self.model.named_parameters())

    def moments(self) -> dict[str, Tensor]:
        """The optimizer's state by name."""
        return optimizer_tensors(self.model, self.optimizer)
