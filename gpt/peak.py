"""How fast this machine multiplies matrices at its best, the measure that `mfu` is a share of."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time

import torch

from gpt.folders import cache_folder
from gpt.world import World

SECONDS = 0.15
AGAIN = 0.03
"""Seconds to measure for: the first time, and where something is known already."""
SIZES = {"cpu": (256, 512, 1024), "mps": (4096,), "cuda": (8192,)}
"""Rows of the square matrices, in the order in which they are tried; the best one counts."""


def peak_flops(world: World) -> float | None:
    """Floating-point operations a second of a large matrix product: the best ever measured here.

    Takes a fraction of a second; the best is kept in the cache folder. Draws no random
    numbers. None when the product cannot be run in this number format.
    """
    path = cache_folder() / "peak.json"
    key = f"{_machine(world)} {world.dtype_name} {world.threads} threads torch {torch.__version__}"
    known: dict[str, float] = {}
    with contextlib.suppress(OSError, ValueError, TypeError):
        known = {str(k): float(v) for k, v in json.loads(path.read_text("utf-8")).items()}
    try:
        # The best of all starts: one on a busy machine must not be taken for the peak.
        seconds = AGAIN if key in known else SECONDS
        known[key] = max(_measure(world, seconds), known.get(key, 0.0))
    except RuntimeError:
        return None
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps(known, indent=1), "utf-8")
        temporary.replace(path)
    return known[key]


def _machine(world: World) -> str:
    if world.device.type == "cuda":
        return torch.cuda.get_device_name(world.device)
    return f"{world.device.type} {platform.processor() or platform.machine()} {os.cpu_count()}"


def _measure(world: World, seconds: float) -> float:
    sizes = SIZES[world.device.type]
    best, begun = 0.0, time.perf_counter()
    for number, size in enumerate(sizes, 1):
        # A number format that the processor lacks is so slow that larger ones are left out.
        best = max(best, _best_product(world, size, begun + seconds * number / len(sizes)))
        if time.perf_counter() >= begun + seconds:
            break
    return best


def _best_product(world: World, size: int, end: float) -> float:
    """Operations a second of the best of the products until `end`, of which there is one."""
    a = torch.full((size, size), 0.5, dtype=world.dtype, device=world.device)
    # Transposed, as the weights of a linear layer are.
    b = torch.full((size, size), 0.25, dtype=world.dtype, device=world.device).t()
    out = torch.empty_like(a)
    torch.mm(a, b, out=out)
    best = 0.0
    while not best or time.perf_counter() < end:
        world.synchronize()
        begun = time.perf_counter()
        torch.mm(a, b, out=out)
        world.synchronize()
        best = max(best, 2.0 * size**3 / (time.perf_counter() - begun))
    return best
