"""Muon: momentum whose matrices are made orthogonal before they are applied."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

from gpt import kernels

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5


class Muon:
    """Muon (Jordan and others, 2024, https://kellerjordan.github.io/posts/muon/).

    Matrices of one shape are made orthogonal together: at a small size the calls, not the
    arithmetic, take the time.

    Attributes:
        param_groups: one, with `params`, `lr`, `momentum` and `weight_decay`.
        state: for each parameter after the first update its `momentum`, of its shape.
    """

    def __init__(
        self,
        parameters: list[nn.Parameter],
        parts: dict[nn.Parameter, int],
        momentum: float,
        weight_decay: float,
    ) -> None:
        self.parts = parts
        """Of so many square matrices, one above the other, each of these parameters is made."""
        self.param_groups: list[dict[str, Any]] = [
            {"params": parameters, "lr": 0.0, "momentum": momentum, "weight_decay": weight_decay}
        ]
        self.state: defaultdict[nn.Parameter, dict[str, Tensor]] = defaultdict(dict)

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient."""
        (group,) = self.param_groups
        params = [p for p in group["params"] if p.grad is not None]
        grads = [p.grad for p in params]
        momenta = [self._momentum_of(p) for p in params]
        beta = group["momentum"]
        torch._foreach_lerp_(momenta, grads, 1 - beta)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        # Nesterov's look ahead, in the gradients' memory: they are let go of after this.
        torch._foreach_lerp_(grads, momenta, beta)  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        self._orthogonalise(params, grads)
        if group["weight_decay"]:
            torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]
        torch._foreach_add_(params, grads, alpha=-group["lr"])  # pyright: ignore[reportPrivateUsage, reportPrivateImportUsage]

    def _momentum_of(self, parameter: nn.Parameter) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter, requires_grad=False)
        return state["momentum"]

    def zero_grad(self) -> None:
        """Let go of all gradients."""
        for parameter in self.param_groups[0]["params"]:
            parameter.grad = None

    def _orthogonalise(self, params: list[nn.Parameter], grads: list[Tensor]) -> None:
        """Put each parameter's update in the place of its gradient."""
        by_shape: defaultdict[torch.Size, list[Tensor]] = defaultdict(list)
        for parameter, grad in zip(params, grads, strict=True):
            for matrix in grad.chunk(self.parts.get(parameter, 1)):
                wide = matrix if matrix.size(0) <= matrix.size(1) else matrix.mT
                by_shape[wide.shape].append(matrix)
        for shape, matrices in by_shape.items():
            wide = [matrix if matrix.shape == shape else matrix.mT for matrix in matrices]
            for matrix, place, update in zip(
                matrices, wide, orthogonal(torch.stack(wide)), strict=True
            ):
                # Of an update of more outputs than inputs each output has less; Jordan's scale.
                torch.mul(update, max(1.0, matrix.size(0) / matrix.size(1)) ** 0.5, out=place)


def orthogonal(matrices: Tensor) -> Tensor:
    """The nearest matrices with orthonormal rows, roughly: singular values of 0.7 to 1.2.

    (number, rows, columns), no more rows than columns. Five steps of a quintic Newton-Schulz
    iteration with Jordan's coefficients.
    """
    return kernels.orthogonal(matrices, ITERATIONS, COEFFICIENTS)
