"""What nanoGPT does not have: each part alone, and all of it together."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the field's name for it

import gpt
from gpt import estimate, kernels, presets, standing
from gpt.corpus import Corpus
from gpt.data import Batches, Split
from gpt.events import Eval, Finished, Started, Step
from gpt.learner import Learner
from gpt.model import GPT, Attention
from gpt.muon import orthogonal
from gpt.ngrams import NGrams
from gpt.optim import Optimizer, set_hyperparameters
from gpt.sample import build, generate
from gpt.schedule import Progress, all_sizes, lr_at, sizes_at
from gpt.settings import ConfigError, make_config
from gpt.stopwatch import Stopwatch
from gpt.world import World

SMALL: dict[str, Any] = {
    "dataset": "shakespeare_char", "device": "cpu", "batch_size": 4, "block_size": 16,
    "gradient_accumulation_steps": 1, "n_layer": 2, "n_head": 2, "n_embd": 32, "max_iters": 30,
    "lr_decay_iters": 30, "warmup_iters": 2, "learning_rate": 1e-2, "threads": 1,
    "eval_interval": 1000, "eval_iters": 2, "sample_interval": -1,
}  # fmt: skip
EACH: list[dict[str, Any]] = [
    {"positions": "rotary"}, {"positions": "none"}, {"norm": "rmsnorm"},
    {"qk_norm": True, "qk_scale": 2.0},
    {"activation": "relu2"}, {"activation": "relu"}, {"activation": "silu"}, {"zero_init": True},
    {"token_shift": 0.5}, {"value_residual": True}, {"value_embedding": True},
    {"ngram_buckets": 64, "ngram_order": 5}, {"logit_softcap": 15.0},
    {"tie_head": False}, {"optimizer": "muon"},
]  # fmt: skip
ALL: dict[str, Any] = {key: value for change in EACH for key, value in change.items()} | {
    "positions": "rotary",
    "activation": "relu2",
}
CYCLE = torch.arange(500) % 11
"""A text that has to be learned: each token follows from the one before."""


def learn(values: dict[str, Any], steps: int = 30) -> tuple[Learner, list[float]]:
    config = make_config(SMALL | values)
    world = World.of(config)
    world.set_up()
    learner = Learner(config, 11, world)
    batches = Batches(Split.of(CYCLE), config, world.device)
    rates = [lr_at(config, Progress(step)) for step in range(steps)]
    return learner, [learner.update(batches, lr, True, lambda: None).loss for lr in rates]


@pytest.mark.parametrize("change", [*EACH, ALL], ids=str)
def test_it_learns_with_every_part(change: dict[str, Any]) -> None:
    learner, losses = learn(change)
    assert losses[-1] < 0.7 * losses[0]
    assert learner.is_finite()


@pytest.mark.parametrize("change", [*EACH, ALL], ids=str)
def test_its_parameters_are_counted_right(change: dict[str, Any]) -> None:
    config = make_config(SMALL | change | {"bias": True})
    counted = sum(parameter.numel() for parameter in GPT(config, 11).parameters())
    assert estimate.params(config, 11) == counted


@pytest.mark.parametrize("change", [*EACH, ALL], ids=str)
def test_the_greedy_text_is_that_of_computing_everything_anew(change: dict[str, Any]) -> None:
    # given a model that has learned a little, so that every part does something
    learner, _ = learn(change)
    config = learner.config
    model = build(config, 11, learner.parameters()).eval()
    prompt = torch.randint(11, (3, 5), generator=torch.Generator().manual_seed(1))

    # when it writes with what it remembers, beyond block_size
    tokens = generate(model, prompt, 30, 0.0, 0, torch.Generator(), World.of(config))
    written = torch.stack(list(tokens), dim=1)

    # then the text is that of looking at all of its context anew for each token
    ids = prompt
    with torch.no_grad():
        for _ in range(30):
            token = model.predict(ids[:, -config.block_size :]).argmax(-1, keepdim=True)
            ids = torch.cat((ids, token), dim=1)
    assert torch.equal(written, ids[:, 5:])


@pytest.mark.parametrize("change", [*EACH, ALL], ids=str)
def test_a_position_does_not_see_what_comes_after_it(change: dict[str, Any]) -> None:
    learner, _ = learn(change, steps=5)
    ids = torch.randint(11, (1, 16))
    changed = ids.clone()
    changed[0, 9:] = (changed[0, 9:] + 1) % 11
    logits, _ = learner.model(ids, ids)
    other, _ = learner.model(changed, ids)
    torch.testing.assert_close(logits[:, :9], other[:, :9])
    assert not torch.allclose(logits[:, 9:], other[:, 9:])


@pytest.mark.parametrize("drops", [False, True])
def test_dropout_can_leave_attention_alone(drops: bool) -> None:
    # given
    config = make_config({**SMALL, "dropout": 0.5, "drop_attention": drops})
    model = GPT(config, 11).train()
    optimizer = Optimizer(model, config)
    set_hyperparameters(model, optimizer, config)
    attention = next(module for module in model.modules() if isinstance(module, Attention))
    attention.resid_dropout.p = 0.0
    x, ids = torch.randn(2, 8, config.n_embd), torch.zeros(2, 8, dtype=torch.long)

    # when
    first, _ = attention(x, ids, None, None)
    second, _ = attention(x, ids, None, None)

    # then
    assert torch.equal(first, second) != drops


def test_off_is_nanogpts_model_to_the_bit() -> None:
    values = {"token_shift": 0.0, "ngram_buckets": 0, "logit_softcap": 0.0, "optimizer": "adamw"}
    _, plain = learn({})
    _, off = learn(values)
    assert plain == off


@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_an_ngram_is_of_as_many_tokens_as_its_order_says(order: int) -> None:
    # given
    config = make_config({**SMALL, "ngram_buckets": 4096, "ngram_order": order})
    ngrams = NGrams(config, 11)
    ids = torch.randint(11, (1, 16), generator=torch.Generator().manual_seed(1))

    # when one token is another
    changed = ids.clone()
    changed[0, 7] = (changed[0, 7] + 1) % 11

    # then it and those whose n-grams hold it get something else, and all others the same
    moved = (ngrams(ids, None) != ngrams(changed, None)).any(-1)[0]
    assert moved.nonzero().flatten().tolist() == list(range(7, 7 + order))


# --- the kernels have the gradients of what they stand for


def numbers(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(len(shape))
    return torch.randn(*shape, dtype=torch.float64, generator=generator, requires_grad=True)


@pytest.mark.parametrize(
    ("kernel", "same"),
    [
        (kernels.rms_norm, lambda x: F.rms_norm(x, x.shape[-1:], eps=kernels.EPS)),
        (kernels.squared_relu, lambda x: F.relu(x).square()),
        (
            lambda x: kernels.shift(x, 3),
            lambda x: torch.cat((F.pad(x, (0, 0, 1, 0))[:, :-1, :3], x[:, :, 3:]), dim=-1),
        ),
    ],
    ids=["rms_norm", "squared_relu", "shift"],
)
def test_a_kernel_is_what_it_stands_for(kernel: Any, same: Any) -> None:
    x = numbers(2, 5, 6)
    torch.testing.assert_close(kernel(x), same(x))
    assert torch.autograd.gradcheck(kernel, (x,))


@pytest.mark.parametrize("time", [7, kernels.SHORT + 1])
def test_attention_is_causal_attention(time: int) -> None:
    # given
    qk, v = numbers(2, time, 6, 4), numbers(2, time, 3, 4)
    q, k, heads = qk[:, :, :3], qk[:, :, 3:], v

    # when
    y = kernels.attention(qk, v, 0.0)

    # then
    q, k, heads = (z.transpose(1, 2) for z in (q, k, heads))
    expected = F.scaled_dot_product_attention(q, k, heads, is_causal=True).transpose(1, 2)
    torch.testing.assert_close(y, expected)
    if time <= kernels.SHORT:
        assert torch.autograd.gradcheck(lambda *z: kernels.attention(*z, 0.0), (qk, v))


def test_scores_are_as_many_times_larger_as_the_setting_says() -> None:
    # given one model's attention, plain and with its scores scaled
    plain, scaled = (
        Attention(make_config({**SMALL, "qk_norm": True, "qk_scale": scale}), 11, first=True)
        for scale in (1.0, 2.0)
    )
    qk = numbers(1, 5, 4, 16).float()

    # when
    scores = [
        torch.einsum("bqhc,bkhc->bhqk", *kernels.prepare_heads(qk, 0, it.qk_rms, True).chunk(2, 2))
        for it in (plain, scaled)
    ]

    # then
    torch.testing.assert_close(scores[1], 2 * scores[0])


def test_a_turned_query_and_key_know_only_their_distance() -> None:
    q, k = numbers(1, 1, 1, 8).float(), numbers(1, 1, 1, 8).float() * 2

    def score(place: int, distance: int) -> float:
        return (kernels.rotate(q, place + distance) * kernels.rotate(k, place)).sum().item()

    assert score(3, 5) == pytest.approx(score(40, 5), rel=1e-4)
    assert score(3, 5) != pytest.approx(score(3, 6), rel=1e-3)


# --- Muon


@given(st.integers(0, 1000), st.sampled_from([(8, 8), (8, 32), (16, 20)]))
def test_an_update_is_close_to_orthogonal(seed: int, shape: tuple[int, int]) -> None:
    matrix = torch.randn(1, *shape, generator=torch.Generator().manual_seed(seed))
    values = torch.linalg.svdvals(orthogonal(matrix)[0])
    condition = torch.linalg.cond(matrix[0])
    if condition < 100:
        assert 0.4 < values.min() <= values.max() < 1.3


def test_muon_takes_the_matrices_of_the_blocks_and_adamw_the_rest() -> None:
    learner, _ = learn({"optimizer": "muon", "muon_lr": 0.03, "embedding_lr_scale": 4.0}, steps=1)
    kinds = {name.split(".")[1]: set() for name in learner.moments()}
    for name, parameter in learner.model.named_parameters():
        moments = set(learner.optimizer.state_of(parameter))
        in_block = name.endswith(("c_attn.weight", "c_fc.weight", "c_proj.weight"))
        assert moments == ({"momentum"} if in_block else {"step", "exp_avg", "exp_avg_sq"})
    assert set(kinds) == {"momentum", "step", "exp_avg", "exp_avg_sq"}
    learner.optimizer.set_lr(0.01)
    rates = {group["lr"] for group in learner.optimizer.param_groups if group["params"]}
    assert {round(rate, 6) for rate in rates} == {0.01, 0.03, 0.04}


def test_embeddings_decay_as_many_times_as_fast_as_matrices() -> None:
    # given a model whose gradients are zero
    tables = {"ngram_buckets": 64, "ngram_order": 5}
    decay = {"weight_decay": 0.1, "embedding_decay_scale": 3.0}
    learner, _ = learn({**tables, **decay, "tie_head": False}, 0)
    parameters = learner.parameters()
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    for parameter in parameters.values():
        parameter.grad = torch.zeros_like(parameter)

    # when
    learner.optimizer.set_lr(0.01)
    learner.optimizer.step()

    # then
    embeddings = "transformer.wte.weight", "transformer.ngrams.quintuples.weight"
    for name, times in (("lm_head.weight", 1), *((name, 3) for name in embeddings)):
        torch.testing.assert_close(parameters[name], before[name] * (1 - 0.01 * 0.1 * times))


# --- the schedules


def rate(step: int, **values: Any) -> float:
    base = {"max_iters": 100, "lr_decay_iters": 100, "warmup_iters": 0, "learning_rate": 1.0}
    return lr_at(make_config(SMALL | base | {"min_lr": 0.0} | values), Progress(step))


def test_linear_falls_straight() -> None:
    steps = (0, 25, 50, 100)
    assert [rate(step, schedule="linear") for step in steps] == [1.0, 0.75, 0.5, 0.0]


def test_wsd_stays_and_then_falls_straight() -> None:
    rates = [rate(step, schedule="wsd", decay_fraction=0.2) for step in (0, 50, 80, 90, 100)]
    assert rates == pytest.approx([1.0, 1.0, 1.0, 0.5, 0.0])


def test_with_a_time_budget_the_rate_follows_the_time() -> None:
    config = make_config(
        SMALL | {"warmup_iters": 0, "schedule": "linear", "min_lr": 0.0, "time_budget": 10.0}
    )
    assert lr_at(config, Progress(7, 5.0)) == pytest.approx(0.5 * config.learning_rate)
    assert lr_at(config, Progress(7, 20.0)) == 0.0


@pytest.mark.parametrize(
    ("step", "sizes"), [(0, (2, 8)), (29, (2, 8)), (30, (3, 8)), (50, (3, 16)), (60, (4, 16))]
)
def test_sizes_follow_their_schedules(step: int, sizes: tuple[int, int]) -> None:
    schedules = {"batch_schedule": "0.3:2, .6 : 3", "block_schedule": "0.5:8"}
    config = make_config(SMALL | schedules | {"max_iters": 100})
    assert sizes_at(config, Progress(step)) == sizes
    assert sizes in all_sizes(config)


@given(st.text(max_size=12))
def test_any_text_for_a_schedule_is_refused_in_words_or_works(text: str) -> None:
    with suppress(ConfigError):
        config = make_config(SMALL | {"batch_schedule": text})
        assert sizes_at(config, Progress(3))[0] >= 1


@pytest.mark.parametrize("text", ["half:8", "1.5:8", "0.5:0", "0.5", "0.5:8;0.6:4", "-0.5:8"])
def test_a_schedule_that_makes_no_sense_is_refused_by_name(text: str) -> None:
    with pytest.raises(ConfigError, match="batch_schedule"):
        make_config(SMALL | {"batch_schedule": text})


# --- runs


def test_sizes_change_during_a_run_and_every_token_is_counted(shakespeare: Corpus) -> None:
    schedules = {"batch_schedule": "0.5:2", "block_schedule": "0.5:8"}
    events = list(gpt.train(make_config(SMALL | schedules | {"max_iters": 10})))
    tokens = [event.tokens for event in events if isinstance(event, Step)]
    assert tokens == [16, 32, 48, 64, 80, 144, 208, 272, 336, 400]


def test_a_run_with_a_time_budget_ends_on_time(
    shakespeare: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a clock that goes on by a hundredth of a second at every look
    ticks = count()
    monkeypatch.setattr(
        standing, "Stopwatch", lambda worked=0.0: Stopwatch(worked, lambda: 0.01 * next(ticks))
    )

    # when
    events = list(gpt.train(make_config(SMALL | {"time_budget": 20.0, "max_iters": 5})))

    # then it does not end after max_iters but within two in a hundred of its budget
    steps = [event for event in events if isinstance(event, Step)]
    assert len(steps) > 100
    assert steps[-1].seconds == pytest.approx(20.0, rel=0.02)
    started = next(event for event in events if isinstance(event, Started))
    assert (started.time_budget, started.max_iters) == (20.0, 0)
    assert steps[-1].lr < 0.02 * steps[2].lr + 1e-4
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "done"


@pytest.mark.slow
def test_the_fast_preset_is_as_good_as_the_reference(shakespeare: Corpus) -> None:
    events = list(gpt.train(make_config(presets.find("shakespeare_char_fast").values)))
    evaluations = [event for event in events if isinstance(event, Eval)]
    assert evaluations[-1].val <= 1.88
