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
SIZES = {"cpu": 1024, "mps": 4096, "cuda": 8192}


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
        known[key] = max(_measure(world), known.get(key, 0.0))
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


def _measure(world: World) -> float:
    size = SIZES[world.device.type]
    a = torch.full((size, size), 0.5, dtype=world.dtype, device=world.device)
    b = torch.full((size, size), 0.25, dtype=world.dtype, device=world.device)
    out = torch.empty_like(a)
    best, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        world.synchronize()
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        world.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2.0 * size**3 / best
