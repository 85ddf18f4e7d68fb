"""The losses over both splits: small batches together are the same as one by one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conftest import finish

from gpt import evaluate
from gpt.config import Config
from gpt.control import Control, Stopped
from gpt.corpus import Corpus
from gpt.data import Splits
from gpt.evaluate import Forward, Losses
from gpt.learner import Learner
from gpt.settings import make_config
from gpt.world import World

SMALL: dict[str, Any] = {
    "device": "cpu", "threads": 1, "batch_size": 3, "block_size": 16, "n_layer": 1, "n_head": 2,
    "n_embd": 16, "eval_iters": 10,
}  # fmt: skip


class Counting:
    """A model's forward pass that notes how many sequences it was given."""

    def __init__(self, forward: Forward, control: Control) -> None:
        self.sequences: list[int] = []
        self._forward, self.control = forward, control

    def __call__(self, idx: torch.Tensor, targets: torch.Tensor) -> Any:
        self.sequences.append(len(idx))
        return self._forward(idx, targets)


class Skipping(Counting):
    """One during whose second batch a person skips the evaluation."""

    def __call__(self, idx: torch.Tensor, targets: torch.Tensor) -> Any:
        if len(self.sequences) == 1:
            self.control.skip()
        return super().__call__(idx, targets)


def estimate(
    corpus: Corpus, together: int, kind: type[Counting] = Counting
) -> tuple[Losses | None, list[int], torch.Tensor]:
    """The losses, how many sequences were computed at a time, and the generator afterwards."""
    config, control = make_config(SMALL), Control()
    world = World.of(config)
    learner = Learner(config, corpus.vocab_size, world)
    learner.model.eval()
    forward = kind(learner.forward, control)
    torch.manual_seed(7)
    run = evaluate.estimated(forward, Splits(corpus), config, world, control, together)
    _, losses = finish(run)
    return losses, forward.sequences, torch.get_rng_state()


def test_batches_together_have_the_losses_that_they_have_alone(shakespeare: Corpus) -> None:
    # Given an estimate of ten batches, one by one
    alone, sequences, state = estimate(shakespeare, 1)
    assert sequences == 20 * [3]
    assert alone is not None

    # When four are computed as one, which ten is no multiple of
    together, sequences, state_then = estimate(shakespeare, 4)

    # Then losses and their errors are the same, and so are the random numbers that come next
    assert sequences == 2 * [12, 12, 6]
    assert together is not None
    for name in ("train", "val", "train_se", "val_se"):
        assert getattr(together, name) == pytest.approx(getattr(alone, name), rel=1e-5), name
    assert torch.equal(state, state_then)


@pytest.mark.parametrize("together", [1, 4])
def test_skipped_in_any_group_it_draws_what_it_would_have_drawn(
    shakespeare: Corpus, together: int
) -> None:
    _, _, state = estimate(shakespeare, 1)
    losses, sequences, state_then = estimate(shakespeare, together, Skipping)
    assert losses is None
    assert len(sequences) == 2
    assert torch.equal(state, state_then)


def test_stopped_it_ends_before_the_next_group(shakespeare: Corpus) -> None:
    seen: list[int] = []

    class Stopping(Counting):
        def __call__(self, idx: torch.Tensor, targets: torch.Tensor) -> Any:
            seen.append(len(idx))
            if len(seen) == 2:
                self.control.stop()
            return super().__call__(idx, targets)

    with pytest.raises(Stopped):
        estimate(shakespeare, 4, Stopping)
    assert seen == [12, 12]


@pytest.mark.parametrize(
    ("values", "vocab_size", "expected"),
    [
        # The preset for a CPU: 768 tokens a batch.
        ({"batch_size": 12, "block_size": 64, "n_layer": 4, "n_head": 4, "n_embd": 128}, 65, 5),
        # A batch that has enough to do by itself.
        ({"batch_size": 64, "block_size": 256, "n_layer": 2, "n_head": 4, "n_embd": 64}, 65, 1),
        # GPT-2's vocabulary: logits of 20 tokens are a million numbers.
        ({"batch_size": 1, "block_size": 8, "n_layer": 1, "n_head": 1, "n_embd": 16}, 50304, 2),
        ({"batch_size": 12, "block_size": 64, "n_layer": 1, "n_head": 1, "n_embd": 16}, 50304, 1),
        # A large model: a person who stops it waits for no more than was asked for.
        ({"batch_size": 1, "block_size": 64, "n_layer": 12, "n_head": 12, "n_embd": 768}, 65, 1),
    ],
)
def test_so_many_are_together_as_is_little_work(
    values: dict[str, Any], vocab_size: int, expected: int
) -> None:
    config: Config = make_config({"device": "cpu", **values})
    assert evaluate.group_size(config, vocab_size, World.of(config)) == expected
