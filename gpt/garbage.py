"""When Python looks for garbage: not while torch is imported, and not among what that leaves.

To look through all of torch takes 0.1 to 0.4 s, in which no other thread of Python runs.
"""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Generator[None]:
    """Import without looking for garbage, of which that makes next to none."""
    gc.disable()
    try:
        yield
    finally:
        settle()


def settle() -> None:
    """Leave what there is out of all collections to come, and collect from now on."""
    gc.freeze()
    gc.enable()


def collect_and_settle() -> None:
    """Collect all garbage once, that of what was left out as well."""
    gc.unfreeze()
    gc.collect()
    settle()
