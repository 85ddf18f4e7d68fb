"""What a GPU compiles, looked at on the CPU: one graph, right numbers, only the sizes asked for."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from gpt import compiling, kernels
from gpt.model import GPT
from gpt.settings import make_config
from gpt.world import World
from tests.test_recipe import ALL

SMALL: dict[str, Any] = {
    "device": "cpu", "threads": 1, "kernels": "torch", "batch_size": 4, "block_size": 32,
    "n_layer": 2, "n_head": 2, "n_embd": 32,
}  # fmt: skip
TOKENS = torch.randint(65, (2, 4, 32), generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    kernels.use_native(False)
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[int, ...]]:
    """How often each size of batch is given to what the compiler has made, which is the model."""
    sizes: Counter[tuple[int, ...]] = Counter()

    def compile(model: GPT, *, dynamic: bool) -> Any:
        def run(idx: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
            sizes[tuple(idx.shape)] += 1
            return model(idx, targets)

        return run

    monkeypatch.setattr(torch, "compile", compile)
    return sizes


def model_of(**values: Any) -> tuple[GPT, World]:
    """A model in which nothing is zero any more."""
    config = make_config(SMALL | values)
    torch.manual_seed(1)
    model = GPT(config, 65)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    return model, World.of(config)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        pytest.param(ALL, "bfloat16", id="all", marks=pytest.mark.slow),
        pytest.param(ALL, "float32", id="all-float32", marks=pytest.mark.slow),
        pytest.param({**ALL, "dropout": 0.1}, "bfloat16", id="dropout", marks=pytest.mark.slow),
        pytest.param({}, "bfloat16", id="plain", marks=pytest.mark.slow),
    ],
)
def test_the_whole_model_is_one_graph(values: dict[str, Any], dtype: str) -> None:
    # Given the model as the compiler reads it, for which its last stage, making code, is left out
    model, world = model_of(**values, dtype=dtype)
    read = torch.compile(model, dynamic=False, fullgraph=True, backend="aot_eager")

    def both_ways(forward: Any) -> tuple[float, dict[str, Tensor]]:
        torch.manual_seed(2)
        model.zero_grad()
        with world.autocast():
            _, loss = forward(*TOKENS)
        loss.backward()
        return loss.item(), {name: p.grad for name, p in model.named_parameters()}

    # When it trains and evaluates, then its numbers are those of the model itself
    loss, gradients = both_ways(read)
    if not values.get("dropout"):
        expected_loss, expected = both_ways(model)
        assert loss == pytest.approx(expected_loss, abs=1e-2 if dtype == "bfloat16" else 1e-5)
        for name, gradient in expected.items():
            worst = (gradients[name] - gradient).abs().max() / gradient.abs().max()
            assert worst < (0.1 if dtype == "bfloat16" else 1e-4), name
    model.eval()
    with torch.no_grad(), world.autocast():
        evaluated, expected_loss = read(*TOKENS)[1], model(*TOKENS)[1]
    assert evaluated.item() == pytest.approx(expected_loss.item(), abs=1e-2)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"eval_iters": 5, "batch_schedule": "0.5:2"}, {(2, 32): 2, (4, 32): 2}),
        ({"eval_iters": 0}, {(4, 32): 2, (512, 32): 1}),
    ],
)
def test_what_a_run_trains_and_evaluates_with_is_compiled_ahead(
    values: dict[str, Any],
    expected: dict[tuple[int, int], int],
    seen: Counter[tuple[int, ...]],
) -> None:
    # Given a device that is no CPU, without numbers, and a compiler that says what it is given
    model, world = model_of(**values)
    elsewhere = torch.device("meta")
    model.to(elsewhere)

    # When the model is compiled
    config = make_config({**SMALL, **values})
    compiling.compiled(model, config, dataclasses.replace(world, device=elsewhere))

    # Then it is for each size in training and in evaluation, in it alone for one that is exact
    assert seen == expected


@pytest.mark.slow
def test_as_many_versions_are_kept_as_a_run_has_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    # given five sizes, each of which is compiled for training and for evaluation, and a compiler
    # that keeps fewer of itself
    values = {"eval_iters": 5, "batch_schedule": "0.1:2,0.2:3,0.3:5,0.4:6"}
    model, world = model_of(**values)
    graphs: list[Any] = []

    def keep(graph: Any, inputs: list[Any]) -> Any:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=keep))
    monkeypatch.setattr("torch._dynamo.config.recompile_limit", 8)

    # when they are compiled ahead for a device that is no CPU, without numbers
    elsewhere = torch.device("meta")
    model.to(elsewhere)
    config = make_config({**SMALL, **values})
    compiling.compiled(model, config, dataclasses.replace(world, device=elsewhere))

    # then none is left out
    assert len(graphs) == 10


def test_other_sizes_than_those_asked_for_are_not_compiled(seen: Counter[tuple[int, ...]]) -> None:
    # Given a compiler that says what it is given
    model, _ = model_of()
    forward = compiling._for_sizes(model, [(4, 32), (2, 16)])

    # When batches of three sizes come
    for rows, length in ((4, 32), (1, 7), (2, 16)):
        x, y = TOKENS[:, :rows, :length]
        assert forward(x, y)[1].item() == pytest.approx(model(x, y)[1].item())

    # Then the short one went through the model itself
    assert list(seen) == [(4, 32), (2, 16)]
