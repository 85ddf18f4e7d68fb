"""Where a run computes: device, number format, compiling, threads."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import psutil
import torch

from gpt import estimate, kernels
from gpt.allocator import keep_memory
from gpt.config import Config
from gpt.native.functions import LANES
from gpt.native.library import NativeError, library
from gpt.settings import ConfigError, Problem

_PROCESS = psutil.Process()
_THREADS = torch.get_num_threads()
"""What torch takes of itself, before a run in this process asked for another number."""


@dataclass(frozen=True, slots=True)
class World:
    """The machine as one run uses it; "auto" settings are resolved and what was decided against
    a person's wish is told in `notices`."""

    device: torch.device
    dtype: torch.dtype
    compile: bool
    threads: int
    kernels: Literal["native", "torch"] = "torch"
    notices: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: Config) -> World:
        """Resolve the settings on this machine; `set_up` makes torch follow them.

        Raises:
            ConfigError: the device does not exist here.
        """
        notices: list[str] = []
        device = _device(config.device)
        dtype = _dtype(config.dtype, device, notices)
        return cls(
            device=device,
            dtype=dtype,
            compile=_compile(config, device, notices),
            threads=config.threads or _THREADS,
            kernels=_kernels(config, device, dtype, notices),
            notices=tuple(notices),
        )

    def set_up(self) -> None:
        """Make torch in this process compute as this says. For the process that trains."""
        torch.set_num_threads(self.threads)
        kernels.use_native(self.kernels == "native")
        if self.device.type == "cpu":
            keep_memory()
        elif self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)  # another run's
        # nanoGPT allows TF32 in matrix products and convolutions.
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True

    @property
    def dtype_name(self) -> str:
        """The number format as the configuration spells it."""
        return str(self.dtype).removeprefix("torch.")

    def autocast(self) -> AbstractContextManager[object]:
        """The context for a forward pass. Never yield inside it: modes leak out of generators."""
        if self.dtype is torch.float32:
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def synchronize(self) -> None:
        """Wait for what is queued on the device, so that a clock tells the truth."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def free_memory(self) -> int:
        """Bytes that a run can take on the device."""
        if self.device.type == "cuda":
            # Torch keeps what earlier runs gave back, and gives it to the next.
            used = torch.cuda.memory_allocated(self.device)
            kept = torch.cuda.memory_reserved(self.device) - used
            return torch.cuda.mem_get_info(self.device)[0] + kept
        return estimate.available_memory()

    def memory(self) -> int:
        """Memory in use, in bytes: the process's on a CPU, the device's peak on a GPU."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return _PROCESS.memory_info().rss


def _device(wanted: str) -> torch.device:
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    device = torch.device(wanted)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            found = f"it has {count} CUDA device(s)" if count else "it has no CUDA device"
            raise _no_device(wanted, found)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise _no_device(wanted, "it has no Apple GPU")
    return device


def _no_device(wanted: str, found: str) -> ConfigError:
    message = f"device = {wanted!r} cannot be used on this machine: {found}. Allowed: auto or cpu."
    return ConfigError([Problem("device", message)])


def _dtype(wanted: str, device: torch.device, notices: list[str]) -> torch.dtype:
    if device.type == "cuda":
        if wanted == "auto":
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    elif wanted == "auto":
        return torch.float32
    elif wanted == "float16":
        notices.append(f"float16 needs a CUDA device; on {device.type} this run is float32")
        return torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[wanted]


def _kernels(
    config: Config, device: torch.device, dtype: torch.dtype, notices: list[str]
) -> Literal["native", "torch"]:
    if config.kernels == "torch" or device.type != "cpu":
        return "torch"
    try:
        library()
    except NativeError as error:
        if config.kernels == "native":
            notices.append(f"kernels are torch's own: {error}")
        return "torch"
    if config.kernels == "native" and (exception := _beyond_kernels(config, dtype)):
        notices.append(exception)
    return "native"


def _beyond_kernels(config: Config, dtype: torch.dtype) -> str | None:
    """What torch computes although the kernels in C were asked for, if anything."""
    if dtype is not torch.float32:
        return "most kernels are torch's own: Nanodeck's are for float32"
    channels = config.n_embd // config.n_head
    if channels % LANES:
        return (
            f"attention's kernels are torch's own: Nanodeck's take a multiple of {LANES} channels "
            f"a head, and n_embd = {config.n_embd} over n_head = {config.n_head} makes {channels}"
        )
    return None


def _compile(config: Config, device: torch.device, notices: list[str]) -> bool:
    if config.compile == "auto":
        return device.type == "cuda" and _obstacle(device) is None
    if config.compile and (obstacle := _obstacle(device)):
        notices.append(f"compile is off: {obstacle}")
        return False
    return config.compile


def _obstacle(device: torch.device) -> str | None:
    """Why torch.compile cannot run here, if so."""
    if device.type == "mps":
        return "torch.compile does not support Apple GPUs well enough yet"
    if device.type == "cuda":
        return None if importlib.util.find_spec("triton") else "the package triton is missing"
    compiler = os.environ.get("CXX", "cl" if sys.platform == "win32" else "g++")
    if not (shutil.which(compiler) or shutil.which("clang++")):
        return f"it needs a C++ compiler, and {compiler} is not installed"
    return None
