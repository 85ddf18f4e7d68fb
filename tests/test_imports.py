"""Torch's libraries, loaded before torch is imported."""

from __future__ import annotations

import sys

import pytest

from tests.test_layers import modules_after


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only done on Linux")
def test_torchs_libraries_are_loaded_ahead_and_are_those_that_it_then_uses() -> None:
    # modules_after says what is imported; the paths of what is loaded are put among it.
    found = modules_after(
        "import sys; from pathlib import Path; from tui import imports; "
        "imports._load_libraries(); before = set(sys.modules); "
        "read = lambda: {l.split()[-1] for l in open('/proc/self/maps') if '.so' in l}; "
        "ahead = {name for name in read() if 'libtorch_cpu' in name}; "
        "import torch; after = {name for name in read() if 'libtorch_cpu' in name}; "
        "assert 'torch' not in before; assert ahead == after and len(ahead) == 1, (ahead, after); "
        "assert torch.ones(2).sum() == 2"
    )
    assert "torch" in found
