"""What a run that stopped goes on from: a checkpoint, and the settings in force there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpt import checkpoint
from gpt.checkpoint import Checkpoint, CheckpointError
from gpt.config import Config
from gpt.corpus import Corpus
from gpt.events import Adjusted
from gpt.runs import Run
from gpt.settings import ConfigError, Problem, Value, make_config, to_text

if TYPE_CHECKING:
    from gpt.world import World

FIXED = (
    "dataset", "n_layer", "n_head", "n_embd", "block_size", "bias", "seed", "positions", "norm",
    "qk_norm", "qk_scale", "activation", "zero_init", "token_shift", "value_residual",
    "value_embedding", "ngram_buckets", "ngram_order", "logit_softcap", "tie_head", "optimizer",
)  # fmt: skip
"""Settings that a run keeps: its parameters, its data and its random numbers follow from them."""
AT_START = ("device", "dtype", "compile", "kernels", "threads")
"""Settings of the machine, which take effect when a process begins and not at a step."""
NEARLY = 0.02
"""A run with a time budget ends within such a share of it."""
ON_CPU = ("threads", "kernels")
"""Those of them that change a run's numbers on a CPU alone."""

STATE: dict[str, type | tuple[type, ...]] = {
    "step": int, "evaluated": bool, "adjusted": dict, "tokens": int, "seconds": (int, float),
    "scaler": dict, "threads": int, "device": str, "dtype": str, "vocab_size": int,
    "dataset_sha256": str, "eval": (dict, type(None)), "best_val": (float, type(None)),
}  # fmt: skip
"""What a checkpoint's `state.json` must hold to go on from it."""


@dataclass(frozen=True, slots=True)
class Resumption:
    """Where a run goes on and how.

    Attributes:
        config: in force from the checkpoint on.
        adjusted: what of it was changed during the run, before now.
        changed: what the person changes now.
        pending: what was changed beyond the checkpoint before, to be changed there again.
        notice: why it is not the newest checkpoint, in words; None when it is.
    """

    checkpoint: Checkpoint
    config: Config
    adjusted: dict[str, Value]
    changed: dict[str, Value]
    pending: tuple[Adjusted, ...]
    notice: str | None

    @classmethod
    def of(cls, run: Run, values: Mapping[str, Value], name: str | None = None) -> Resumption:
        """What `run` goes on from, with `values` changed: its newest whole checkpoint, or `name`.

        Raises:
            RunError, CheckpointError: the run cannot be read, or has no whole checkpoint.
            ConfigError: a setting that cannot change, or a run that is done already.
        """
        path, notice = checkpoint.find(run, name, prefer="newest")
        found = checkpoint.load(path)
        _check_state(found)
        step: int = found.state["step"]
        record = run.record()
        later = [event for event in outstanding(record.adjusted) if (event.step or 0) >= step]
        due = {e.knob: e.value for e in later if e.step == step or e.knob in AT_START}
        adjusted: dict[str, Value] = found.state["adjusted"] | due
        before = run.config().model_dump() | adjusted
        # What was changed beyond the checkpoint is undone by naming the value that was before.
        undone = {event.knob for event in later}
        changed = {k: value for k, value in values.items() if before.get(k) != value or k in undone}
        if problems := [_kept(key, before[key]) for key in FIXED if key in changed]:
            raise ConfigError(problems)
        config = make_config(before | changed)
        if record.finished is not None and record.finished.reason == "done":
            _check_not_done(run, config, found)
        # Sums come out otherwise with another number of threads.
        if config.threads == 0 and found.state["threads"] <= (os.cpu_count() or 1):
            config = config.model_copy(update={"threads": found.state["threads"]})
        pending = tuple(e for e in later if e.knob not in changed and e.knob not in AT_START)
        return cls(found, config, adjusted, changed, pending, notice)

    def check(self, corpus: Corpus) -> None:
        """Refuse a text that is not the one that the run has learnt from.

        Raises:
            ConfigError: it is another.
        """
        state = self.checkpoint.state
        if (state["dataset_sha256"], state["vocab_size"]) != (corpus.sha256, corpus.vocab_size):
            message = (
                f"dataset = {self.config.dataset!r} is no longer the text that this run was "
                "trained on, so it cannot go on. Put the text back, or start a new run."
            )
            raise ConfigError([Problem("dataset", message)])

    def differences(self, world: World) -> Iterable[str]:
        """Why the run does not go on bit for bit, in words; nothing when it does."""
        if self.notice:
            yield self.notice
        state = self.checkpoint.state
        now = {
            "device": str(world.device), "dtype": world.dtype_name, "threads": world.threads,
            "kernels": world.kernels,
        }  # fmt: skip
        if budget := self.config.time_budget:
            left = max(0.0, budget - state["seconds"])
            yield (
                f"{left:.0f} of {budget:.0f} seconds are left; how many steps that makes depends "
                "on the machine, so the run does not go on bit for bit"
            )
        if now["device"] != "cpu" and state["device"] == now["device"]:
            yield "on a GPU the run goes on from the same numbers, but not bit for bit"
        for name, value in now.items():
            # Checkpoints of earlier versions know of torch's kernels alone.
            before = state.get(name, "torch")
            if before != value and (name not in ON_CPU or now["device"] == "cpu"):
                yield (
                    f"{name} was {before} and is {value} now: the run goes on from the same "
                    "numbers, but not bit for bit"
                )


def _check_not_done(run: Run, config: Config, found: Checkpoint) -> None:
    """Refuse to go on where there is nothing left to do.

    Raises:
        ConfigError: naming the setting that gives it more.
    """
    budget = config.time_budget
    if budget and found.state["seconds"] < (1 - NEARLY) * budget:
        return
    if not budget and found.state["step"] < config.max_iters:
        return
    key = "time_budget" if budget else "max_iters"
    done = f"worked its {budget:g} seconds" if budget else f"done its {config.max_iters:,} steps"
    more = 2 * (budget or config.max_iters)
    message = f"{run.name} has {done}. To go on, give it more: --{key}={more:.15g}."
    raise ConfigError([Problem(key, message)])


def _check_state(found: Checkpoint) -> None:
    """Refuse a checkpoint without what a run goes on from.

    Raises:
        CheckpointError: it lacks something, or has it in another shape.
    """
    for key, kind in STATE.items():
        if not isinstance(found.state.get(key), kind):
            raise CheckpointError(
                f"{found.path} does not say what a run needs to go on ({key} in state.json): it is "
                "of an earlier version. Sampling from it works."
            )


def outstanding(events: Iterable[Adjusted]) -> list[Adjusted]:
    """Those that hold: a change undoes older ones of its setting at its step or later."""
    kept: list[Adjusted] = []
    for event in events:
        step = event.step or 0
        kept = [e for e in kept if e.knob != event.knob or (e.step or 0) < step]
        kept.append(event)
    return kept


def _kept(key: str, value: Value) -> Problem:
    return Problem(
        key,
        f"{key} cannot change in a run; here it is {to_text(value)}. A new run can have another: "
        "python app.py train.",
    )
