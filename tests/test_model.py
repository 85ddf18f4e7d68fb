"""The model: nanoGPT's shapes and names, counted and timed as said."""

import pytest
import torch

from gpt import estimate
from gpt.config import Config
from gpt.model import GPT
from gpt.optim import Optimizer
from gpt.schedule import Progress, lr_at
from gpt.settings import make_config


def config(**changes: object) -> Config:
    small = {"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 8, "batch_size": 2}
    return make_config(small | changes)


@pytest.mark.parametrize("bias", [True, False])
def test_parameters_have_nanogpts_names_and_are_counted_right(bias: bool) -> None:
    model = GPT(config(bias=bias), vocab_size=11)
    names = {name for name, _ in model.named_parameters()}
    kinds = ("weight", "bias") if bias else ("weight",)
    layers = ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj")
    blocks = {f"transformer.h.{n}.{x}.{k}" for n in range(2) for x in layers for k in kinds}
    rest = {"transformer.wte.weight", "transformer.wpe.weight"}
    rest |= {f"transformer.ln_f.{kind}" for kind in kinds}
    assert names == blocks | rest
    assert model.lm_head.weight is model.transformer.wte.weight
    counted = sum(parameter.numel() for parameter in model.parameters())
    assert estimate.params(config(bias=bias), 11) == counted


def test_the_past_kept_gives_the_same_as_computing_anew() -> None:
    model = GPT(config(), vocab_size=11).eval()
    ids = torch.randint(11, (3, 8))
    past = model.empty_past(3)
    with torch.no_grad():
        for end in range(4, 9):
            fresh = ids[:, :4] if end == 4 else ids[:, end - 1 : end]
            torch.testing.assert_close(model.predict(fresh, past), model.predict(ids[:, :end]))


def test_a_position_does_not_see_what_comes_after_it() -> None:
    model = GPT(config(), vocab_size=11).eval()
    ids = torch.randint(11, (1, 8))
    changed = ids.clone()
    changed[0, 5:] = (changed[0, 5:] + 1) % 11
    logits, _ = model(ids, ids)
    other, _ = model(changed, ids)
    torch.testing.assert_close(logits[:, :5], other[:, :5])
    assert not torch.allclose(logits[:, 5:], other[:, 5:])


def test_building_elsewhere_draws_nothing() -> None:
    before = torch.get_rng_state()
    with torch.device("meta"):
        GPT(config(), vocab_size=11)
    assert torch.equal(torch.get_rng_state(), before)


def test_only_matrices_and_embeddings_decay() -> None:
    model = GPT(config(bias=True, weight_decay=0.3), vocab_size=11)
    decaying, others, embeddings = Optimizer(model, config(weight_decay=0.3)).param_groups
    assert decaying["weight_decay"] == embeddings["weight_decay"] == 0.3
    assert all(p.dim() >= 2 for p in [*decaying["params"], *embeddings["params"]])
    assert others["weight_decay"] == 0.0
    assert all(p.dim() < 2 for p in others["params"])
    counts = [len(group["params"]) for group in (decaying, others, embeddings)]
    assert sum(counts) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 1e-3 / 11),
        (9, 1e-3 * 10 / 11),
        (10, 1e-3),
        (60, 5.5e-4),
        (110, 1e-4),
        (111, 1e-4),
        (10**9, 1e-4),
    ],
)
def test_the_learning_rate_follows_nanogpts_schedule(step: int, rate: float) -> None:
    schedule = config(learning_rate=1e-3, min_lr=1e-4, warmup_iters=10, lr_decay_iters=110)
    assert lr_at(schedule, Progress(step)) == pytest.approx(rate)
    constant = config(learning_rate=1e-3, decay_lr=False, warmup_iters=10)
    assert lr_at(constant, Progress(step)) == 1e-3


def test_a_decay_that_ends_with_or_before_the_warm_up_does_not_fall_over() -> None:
    same = config(warmup_iters=5, lr_decay_iters=5, learning_rate=1e-3, min_lr=1e-4)
    assert [lr_at(same, Progress(step)) for step in (5, 6)] == [1e-3, 1e-4]
    before = config(warmup_iters=5, lr_decay_iters=2, learning_rate=1e-3, min_lr=1e-4)
    assert lr_at(before, Progress(5)) == 1e-4
