"""The kernels in C: torch's numbers, wherever they can be had, and no harm where they cannot."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gpt import kernels
from gpt.config import Config
from gpt.native import functions
from gpt.native import library as native
from gpt.settings import make_config
from gpt.world import World

CPUINFO = Path("/proc/cpuinfo")
INTEL = CPUINFO.exists() and "GenuineIntel" in CPUINFO.read_text(encoding="utf-8")
built = pytest.mark.skipif(
    sys.platform != "linux" or not any(map(shutil.which, native.COMPILERS)),
    reason="needs Linux and a C compiler",
)


@pytest.fixture(autouse=True)
def torch_afterwards() -> Generator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    kernels.use_native(False)
    native.library.cache_clear()


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def both(function: Callable[..., Tensor], *inputs: Tensor) -> list[list[Tensor]]:
    """The value and all gradients, by torch's kernels and by those in C."""
    found: list[list[Tensor]] = []
    for wanted in (False, True):
        native.library()
        kernels.use_native(wanted)
        leaves = [x.clone().requires_grad_() for x in inputs]
        y = function(*leaves)
        grads = torch.autograd.grad(y, leaves, numbers(*y.shape, seed=1))
        found.append([y.detach(), *grads])
    return found


def assert_same(function: Callable[..., Tensor], *inputs: Tensor) -> None:
    expected, ours = both(function, *inputs)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


# --- the same numbers


@built
@settings(max_examples=40)
@given(
    batch=st.integers(1, 3),
    time=st.integers(1, 150),
    heads=st.integers(1, 4),
    channels=st.sampled_from([8, 16, 24, 64]),
    rms=st.sampled_from((0.0, 1.0, 1.3)),
    rotary=st.booleans(),
)
def test_attention_of_any_shape(
    batch: int, time: int, heads: int, channels: int, rms: float, rotary: bool
) -> None:
    width = heads * channels

    def attention(qkv: Tensor) -> Tensor:
        qk, v = qkv.split((2 * width, width), dim=2)
        qk = kernels.prepare_heads(qk.view(batch, time, 2 * heads, channels), 3, rms, rotary)
        return kernels.attention(qk, v.view(batch, time, heads, channels), 0.0)

    assert_same(attention, numbers(batch, time, 3 * width))


@built
def test_attention_over_a_long_context() -> None:
    qk, v = numbers(1, 700, 4, 32), numbers(1, 700, 2, 32)
    assert_same(lambda *z: kernels.attention(*z, 0.0), qk, v)


@built
@settings(max_examples=40)
@given(rows=st.integers(1, 40), channels=st.sampled_from([8, 48, 128]), bias=st.booleans())
def test_layer_norm_of_any_shape(rows: int, channels: int, bias: bool) -> None:
    parameters = [numbers(channels, seed=seed) for seed in range(2 if bias else 1)]
    inputs = numbers(rows, channels) * 3 + 1, *parameters
    assert_same(lambda x, w, b=None: kernels.layer_norm(x, w, b), *inputs)


@built
@pytest.mark.parametrize("kernel", [kernels.gelu, kernels.squared_relu, kernels.rms_norm])
def test_a_pointwise_kernel(kernel: Callable[[Tensor], Tensor]) -> None:
    assert_same(kernel, numbers(3, 50, 64) * 4)


@built
def test_gelu_is_right_everywhere() -> None:
    native.library()
    kernels.use_native(True)
    x = torch.linspace(-20, 20, 1 << 16)
    exact = torch.nn.functional.gelu(x.double())
    assert (kernels.gelu(x) - exact).abs().max() < 2e-6
    assert kernels.gelu(torch.full((8,), torch.nan)).isnan().all()


@built
def test_what_is_not_a_number_stays_so() -> None:
    native.library()
    kernels.use_native(True)
    torch.set_num_threads(1)
    broken = numbers(1, 16, 24)
    broken[0, 7, 11] = torch.nan  # in a key
    qk, v = broken.view(1, 16, 3, 8).split((2, 1), dim=2)
    y = kernels.attention(qk, v, 0.0)
    assert y[0, 7:].isnan().all()
    assert not y[0, :7].isnan().any()
    assert kernels.layer_norm(broken, torch.ones(24), None)[0, 7].isnan().all()
    assert kernels.squared_relu(broken)[0, 7, 11].isnan()


@built
@pytest.mark.skipif(INTEL, reason="MKL draws them there")
@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    before=st.integers(0, 1300),
    counts=st.lists(st.integers(1, 700), min_size=1, max_size=4),
    share=st.floats(0.01, 0.99),
)
def test_masks_are_drawn_as_torch_draws_them(
    seed: int, before: int, counts: list[int], share: float
) -> None:
    # given a generator from which some single numbers have been drawn
    ours, theirs = (torch.Generator().manual_seed(seed) for _ in range(2))
    for generator in (ours, theirs):
        torch.randint(10, (before,), generator=generator)

    # when
    assert functions.draws_as_torch()
    mine = [functions.draw_mask((count,), share, ours) for count in counts]
    expected = [functions.torch_mask((count,), share, theirs) for count in counts]

    # then the masks and all that comes after them are the same
    assert all(map(torch.equal, mine, expected))
    assert torch.equal(ours.get_state(), theirs.get_state())


@built
@pytest.mark.parametrize("alike", [True, False])
def test_dropout_is_torchs_whoever_draws(alike: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # given
    monkeypatch.setattr(functions, "draws_as_torch", lambda: alike)
    drawn = list[Tensor]()

    # when
    for wanted in (False, True):
        torch.manual_seed(5)
        kernels.use_native(wanted)
        drawn += kernels.dropout(numbers(3, 7, 16), 0.3), torch.rand(1)

    # then
    assert torch.equal(drawn[0], drawn[2])
    assert torch.equal(drawn[1], drawn[3])


@built
def test_numbers_do_not_depend_on_the_threads() -> None:
    # given
    x, weight, qk, v = numbers(5, 60, 48), numbers(48), numbers(5, 60, 6, 16), numbers(5, 60, 3, 16)
    found: list[list[Tensor]] = []

    # when
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        attended = both(lambda *z: kernels.attention(*z, 0.0), qk, v)[1]
        found.append([*attended, *both(lambda *z: kernels.layer_norm(*z, None), x, weight)[1]])

    # then
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@built
@pytest.mark.parametrize("channels", [3, 12])
def test_a_shape_that_does_not_fit_is_left_to_torch(channels: int) -> None:
    assert_same(
        lambda *z: kernels.attention(*z, 0.0),
        numbers(2, 5, 4, channels),
        numbers(2, 5, 2, channels),
    )
    assert_same(lambda x: kernels.layer_norm(x, torch.ones(channels), None), numbers(7, channels))


# --- where they come from


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NANODECK_CACHE_DIR", str(tmp_path))
    native.library.cache_clear()
    return tmp_path / "native"


def smallest() -> ctypes.CDLL:
    """A library of one file, made the quickest way: all are looked for alike."""
    return native.built((native.UTF8,), ("-O0", "-fPIC", "-shared"))


@built
def test_they_are_compiled_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given
    smallest()
    (made,) = cache.iterdir()
    before = made.stat().st_mtime_ns

    # when
    monkeypatch.setenv("PATH", "")
    smallest()

    # then
    assert [path.stat().st_mtime_ns for path in cache.iterdir()] == [before]


@built
def test_a_file_that_is_no_library_is_made_anew(cache: Path) -> None:
    # given
    smallest()
    (made,) = cache.iterdir()
    made.unlink()

    # when
    made.write_bytes(b"no library")

    # then
    assert smallest().utf8_length


@built
def test_where_nothing_can_be_looked_for_torchs_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a cache folder that the file system does not even look for
    native.library.cache_clear()
    monkeypatch.setenv("NANODECK_CACHE_DIR", str(tmp_path / ("x" * 300)))

    # when
    world = World.of(Config(device="cpu", kernels="native"))

    # then
    assert world.kernels == "torch"
    assert "File name too long" in world.notices[0]


@pytest.mark.skipif(os.name != "posix", reason="a compiler that is a shell script")
@pytest.mark.parametrize("wanted", ["auto", "native"])
def test_without_a_compiler_torchs_serve(
    wanted: str, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # given
    monkeypatch.setenv("PATH", "")

    # when
    world = World.of(make_config({"device": "cpu", "kernels": wanted}))

    # then
    assert world.kernels == "torch"
    assert len(world.notices) == (wanted == "native")
    if wanted == "native":
        assert "kernels are torch's own: " in world.notices[0]


@built
def test_a_compiler_that_fails_is_told_in_words(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # given
    compiler = tmp_path / "bad"
    compiler.write_text("#!/bin/sh\necho 'no such \033[31mflag' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))

    # when
    world = World.of(Config(device="cpu", kernels="native"))

    # then
    assert world.kernels == "torch"
    assert "cannot compile them: no such" in world.notices[0]
    assert "\033" not in world.notices[0]
    assert not list(cache.iterdir())


@built
def test_torchs_are_taken_where_they_are_wanted() -> None:
    assert World.of(Config(device="cpu", kernels="torch")).kernels == "torch"
    assert World.of(Config(device="cpu")).kernels == "native"


# --- memory


PROGRAM = """
import resource, torch
from gpt.allocator import keep_memory
from gpt.config import Config
from gpt.model import GPT
{keep}
config = Config(n_layer=2, n_head=2, n_embd=64, block_size=64)
model, tokens = GPT(config, 65), torch.zeros(24, 64, dtype=torch.long)
def train(steps):
    for _ in range(steps):
        model(tokens, tokens)[1].backward()
        model.zero_grad()
train(10)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
train(10)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator")
def test_what_a_step_frees_is_kept_for_the_next() -> None:
    def faults(keep: str) -> int:
        command = [sys.executable, "-c", PROGRAM.format(keep=keep)]
        return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    assert faults("keep_memory()") < 1_000 < faults("")


@built
def test_what_a_killed_compiler_left_is_cleared_and_what_another_makes_is_not(
    cache_dir: Path,
) -> None:
    # given
    old, new = (cache_dir / "native" / f"{native.PART}{name}" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "some.so").touch()
    os.utime(old, (0, 0))

    # when
    smallest()

    # then
    assert not old.exists()
    assert (new / "some.so").exists()


@built
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"n_embd": 36, "n_head": 3}, "n_embd = 36 over n_head = 3 makes 12"),
        ({"dtype": "bfloat16"}, "Nanodeck's are for float32"),
        ({"n_embd": 32, "n_head": 2}, ""),
    ],
)
def test_what_the_kernels_do_not_serve_for_is_said(settings: dict[str, Any], said: str) -> None:
    world = World.of(make_config({"device": "cpu", "kernels": "native", **settings}))
    assert said in "\n".join(world.notices)
    assert bool(said) == bool(world.notices)
    assert not World.of(make_config({"device": "cpu", **settings})).notices
