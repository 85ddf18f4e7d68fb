"""A block as one kernel: the numbers of its parts, wherever it serves, and left alone elsewhere."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Generator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gpt import fused, kernels
from gpt.config import Config
from gpt.model import GPT
from gpt.muon import COEFFICIENTS, ITERATIONS
from gpt.native import library as native
from gpt.native import token

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not any(map(shutil.which, native.COMPILERS)),
    reason="needs Linux and a C compiler",
)


@pytest.fixture(autouse=True)
def with_kernels() -> Generator[None]:
    threads = torch.get_num_threads()
    native.library()
    kernels.use_native(True)
    torch.set_num_threads(2)
    yield
    kernels.use_native(False)
    torch.set_num_threads(threads)


RECIPE: dict[str, Any] = {
    "norm": "rmsnorm",
    "qk_norm": True,
    "positions": "rotary",
    "activation": "relu2",
    "token_shift": 0.5,
    "value_residual": True,
}


CHOICES = st.fixed_dictionaries(
    {
        "bias": st.booleans(),
        "norm": st.sampled_from(["layernorm", "rmsnorm"]),
        "qk_norm": st.booleans(),
        "qk_scale": st.sampled_from((1.0, 1.5)),
        "positions": st.sampled_from(["learned", "rotary"]),
        "activation": st.sampled_from(["gelu", "relu", "relu2", "silu"]),
        "token_shift": st.sampled_from([0.0, 0.5]),
        "value_residual": st.booleans(),
    }
)


def model_of(**changes: Any) -> GPT:
    """A model whose every parameter matters, in training."""
    plain = {"n_layer": 3, "n_head": 2, "n_embd": 32, "block_size": 24, "dropout": 0.0}
    model = GPT(Config(**{**plain, **changes}), 17)
    generator = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        parameter.data.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def tokens(batch: int, time: int, seed: int) -> Tensor:
    return torch.randint(17, (batch, time), generator=torch.Generator().manual_seed(seed))


def learned(model: GPT, batch: int, time: int) -> list[Tensor]:
    """The loss and the gradients of all parameters."""
    _, loss = model(tokens(batch, time, 2), tokens(batch, time, 3))
    return [loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))]


def exactly(model: GPT, batch: int, time: int) -> list[Tensor]:
    """The same in float64, which only torch computes."""
    found = learned(model.double(), batch, time)
    model.float()
    return [x.float() for x in found]


def taken(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The blocks that the kernel computes from now on."""
    blocks: list[object] = []
    run = fused.run

    def spied(block: Any, *args: Any) -> Any:
        blocks.append(block)
        return run(block, *args)

    monkeypatch.setattr(fused, "run", spied)
    return blocks


# --- the same numbers


@settings(max_examples=40)
@given(
    batch=st.integers(1, 7),
    time=st.integers(1, 70),
    n_head=st.integers(1, 3),
    channels=st.sampled_from([8, 24, 48]),
    threads=st.integers(1, 3),
    choices=CHOICES,
)
def test_a_block_of_any_design(
    batch: int, time: int, n_head: int, channels: int, threads: int, choices: dict[str, Any]
) -> None:
    # given
    torch.set_num_threads(threads)
    model = model_of(n_head=n_head, n_embd=n_head * channels, block_size=time, **choices)

    # when
    ours, expected = learned(model, batch, time), exactly(model, batch, time)

    # then, but for the few numbers so near ReLU's corner that rounding puts them on its other side
    share = 2e-2 if choices["activation"] == "relu" else 1e-4
    for mine, theirs in zip(ours, expected, strict=True):
        assert (mine - theirs).norm() <= share * theirs.norm() + 1e-5


@pytest.mark.parametrize("changes", [{"bias": True}, RECIPE])
def test_more_sequences_than_a_thread_takes_at_once(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    model, blocks = model_of(n_embd=144, block_size=200, **changes), taken(monkeypatch)

    # when
    ours = learned(model, 13, 200)

    # then
    assert len(blocks) == 3
    for mine, theirs in zip(ours, exactly(model, 13, 200), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5 * (1 + theirs.abs().max()))


@pytest.mark.parametrize("changes", [{"bias": True}, RECIPE])
def test_an_evaluation_has_the_loss_of_training(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    model, blocks = model_of(block_size=100, **changes), taken(monkeypatch)
    kept: list[int] = []
    empty = torch.empty

    def counted(*size: Any, **options: Any) -> Tensor:
        found = empty(*size, **options)
        kept.append(found.numel())
        return found

    monkeypatch.setattr(torch, "empty", counted)
    loss, *_ = learned(model, 16, 100)
    in_training = max(kept)
    kept.clear()

    # when
    with torch.no_grad():
        _, evaluated = model.eval()(tokens(16, 100, 2), tokens(16, 100, 3))

    # then
    assert len(blocks) == 6
    assert torch.equal(evaluated, loss)
    assert max(kept) < 0.7 * in_training


@pytest.mark.parametrize("changes", [{}, {"drop_attention": False, "bias": True}, RECIPE], ids=str)
def test_dropout_draws_what_torch_draws(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    model, found = model_of(dropout=0.3, block_size=60, **changes), list[list[Tensor]]()

    # when
    for serves in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            blocks = taken(patch)
            kernels.use_native(serves)
            torch.manual_seed(7)
            found.append([*learned(model, 22, 60), torch.rand(1)])
            assert len(blocks) == 3 * serves

    # then
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5 * (1 + theirs.abs().max()))


def test_an_evaluation_drops_nothing() -> None:
    plain, dropping = model_of().eval(), model_of(dropout=0.3).eval()
    dropping.load_state_dict(plain.state_dict())
    x, y = tokens(4, 24, 2), tokens(4, 24, 3)
    assert torch.equal(dropping(x, y)[1], plain(x, y)[1])


def test_what_is_not_a_number_stays_so_in_its_own_sequence() -> None:
    model = model_of(**RECIPE)
    x = torch.randn(4, 24, 32)
    x[2, 5, 7] = torch.nan
    y, _ = model.transformer.h[0](x, tokens(4, 24, 0), None, None)
    assert y[2, 5:].isnan().all()
    assert not y[[0, 1, 3]].isnan().any()


def test_gradients_add_up_over_two_backward_passes() -> None:
    model = model_of()
    once = learned(model, 4, 24)[1:]
    for _ in range(2):
        model(tokens(4, 24, 2), tokens(4, 24, 3))[1].backward()
    for parameter, gradient in zip(model.parameters(), once, strict=True):
        torch.testing.assert_close(parameter.grad, 2 * gradient)


# --- where it does not serve


@pytest.mark.parametrize(
    "changes",
    [
        {"value_embedding": True},
        {"n_head": 8},
        {"token_shift": 0.1},
        {"n_embd": fused.WIDEST + 16},
    ],
    ids=str,
)
def test_what_it_does_not_fit_is_left_to_the_parts(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    blocks = taken(monkeypatch)

    # when
    model_of(**changes)(tokens(4, 24, 2), tokens(4, 24, 3))
    assert not blocks

    # then
    model_of()(tokens(4, 24, 2), tokens(4, 24, 3))
    assert len(blocks) == 3


def test_other_number_formats_are_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    model, blocks = model_of(), taken(monkeypatch)
    with torch.autocast("cpu", torch.bfloat16):
        model(tokens(4, 24, 2), tokens(4, 24, 3))
    assert not blocks


# --- one token more


@settings(max_examples=15)
@given(
    batch=st.integers(1, 7),
    prompt=st.sampled_from([1, 2, 9]),
    n_head=st.integers(1, 3),
    channels=st.sampled_from([16, 48, 80]),
    threads=st.integers(1, 3),
    shared=st.booleans(),
    choices=CHOICES,
)
def test_a_token_more_of_any_design(
    batch: int,
    prompt: int,
    n_head: int,
    channels: int,
    threads: int,
    shared: bool,
    choices: dict[str, Any],
) -> None:
    # given
    torch.set_num_threads(threads)
    model = model_of(n_head=n_head, n_embd=n_head * channels, **choices).eval()
    ids = tokens(batch, 24, 2)

    # when
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(token, "SHARED", 0 if shared else 1 << 30)
        past = model.empty_past(batch)
        found = [model.predict(ids[:, :prompt], past)]
        found += [model.predict(ids[:, at : at + 1], past) for at in range(prompt, 24)]
        assert all(layer.kernel for layer in past)

    # then each is as if it were computed anew
    with torch.no_grad():
        model.double()
        for at, logits in enumerate(found, start=prompt):
            expected = model.predict(ids[:, :at]).float()
            assert (logits - expected).norm() <= 1e-3 * expected.norm()


@pytest.mark.parametrize("changes", [{"value_embedding": True}, {"n_head": 8}], ids=str)
def test_a_token_of_a_design_that_does_not_fit(changes: dict[str, Any]) -> None:
    # given
    model, ids = model_of(**changes).eval(), tokens(2, 10, 2)

    # when
    with torch.no_grad():
        past = model.empty_past(2)
        *_, last = [model.predict(ids[:, at : at + 1], past) for at in range(10)]
        expected = model.predict(ids)

    # then
    assert not any(layer.kernel for layer in past)
    torch.testing.assert_close(last, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_token_without_a_place_is_refused() -> None:
    # given a past with a place for each of 24 tokens
    model, ids = model_of().eval(), tokens(2, 25, 2)
    past = model.empty_past(2)
    for at in range(24):
        model.transformer(ids[:, at : at + 1], past)

    # when one more comes, or another number of sequences, then memory beside it is left alone
    block, x = model.transformer.h[0], torch.zeros(2, 1, 32)
    with pytest.raises(ValueError, match="does not fit"):
        block(x, ids[:, 24:], None, past[0])
    past[0].length = 3
    with pytest.raises(ValueError, match="does not fit"):
        block(x[:1], ids[:1, 24:], None, past[0])


# --- Muon


@settings(max_examples=30)
@given(
    number=st.integers(2, 5),
    rows=st.sampled_from([8, 24, 64, 104]),
    times=st.sampled_from([1, 1.5, 2, 4]),
    spread=st.floats(0, 4),
)
def test_orthogonal_matrices(number: int, rows: int, times: float, spread: float) -> None:
    # given
    columns = int(rows * times) // 8 * 8
    scales = torch.logspace(0, -spread, columns)
    generator = torch.Generator().manual_seed(number)
    matrices = torch.randn(number, rows, columns, generator=generator) * scales

    # when
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(kernels, "FEW", 0)
        found = kernels.orthogonal(matrices, ITERATIONS, COEFFICIENTS)
        expected = kernels.orthogonal(matrices.double(), ITERATIONS, COEFFICIENTS)

    # then
    torch.testing.assert_close(found, expected.float(), rtol=1e-3, atol=1e-3)
