"""The shared library of our kernels: compiled on this machine, once, and kept for other runs."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from gpt.errors import Refused
from gpt.folders import cache_folder
from gpt.text import visible

FOLDER = Path(__file__).parent
UTF8 = FOLDER / "utf8.c"
"""By itself, since texts are prepared without torch, whose threads the others share."""
SOURCES = sorted(source for source in FOLDER.glob("*.[ch]") if source != UTF8)
FLAGS = (
    "-O3", "-march=native", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math",
    "-fopenmp", "-fPIC", "-shared",
)  # fmt: skip
COMPILERS = ("cc", "gcc", "clang")
BUILD_SECONDS = 120
PART = "part-"
"""How folders are named in which a compiler works."""
TYPES = {"p": ctypes.c_void_p, "i": ctypes.c_int64, "f": ctypes.c_float}
FUNCTIONS = {
    "attention_forward": "pppipipiiii",
    "attention_backward": "pipippppipipiiii",
    "gelu_forward": "ppi",
    "gelu_backward": "pppi",
    "squared_relu_forward": "ppi",
    "squared_relu_backward": "pppi",
    "layer_norm_forward": "ppppppiif",
    "layer_norm_backward": "pppppppppiii",
    "rms_rotate_forward": "pippippiiiiff",
    "rms_rotate_backward": "pipipipppiiiif",
    "orthogonalise_all": "ppiiiifff",
    "mask_draw": "piifp",
    "token_forward": "pppp",
    "use_threads": "i",
    "block_kept": "p",
    "block_forward": "ppp",
    "block_backward": "pppppp",
}
"""Every function and what it is called with: pointers, integers and floats."""
RESULTS: dict[str, type[ctypes.c_int]] = dict.fromkeys(
    ("attention", "block", "orthogonalise", "token"), ctypes.c_int
)
"""What functions of these kinds return: 0, or 1 where memory was wanting."""


class NativeError(Refused):
    """The kernels cannot be had here; says why."""


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """The compiled kernels, loaded; compiled first if no process has done so on this machine.

    Raises:
        NativeError: this machine has no C compiler, or one that cannot build them.
    """
    loaded = built()
    if len(pools := {path.name for path in thread_pools()}) > 1:
        raise NativeError(f"the compiler's threads are not torch's ({' and '.join(sorted(pools))})")
    for name, types in FUNCTIONS.items():
        function = getattr(loaded, name)
        function.argtypes = [TYPES[letter] for letter in types]
        function.restype = RESULTS.get(name.split("_")[0])
    loaded.block_kept.restype = ctypes.c_int64
    return loaded


def built(sources: Sequence[Path] = SOURCES, flags: Sequence[str] = FLAGS) -> ctypes.CDLL:
    """The library that these sources make, loaded.

    Raises:
        NativeError: as for `library`.
    """
    try:
        path = _path(sources, flags)
        loaded = _load(path) if path.exists() else None
    except OSError as error:
        raise NativeError(f"they cannot be looked for: {error}") from None
    if loaded is None:
        _compile(path, sources, flags)
        loaded = _load(path)
    if loaded is None:
        raise NativeError(f"{path} cannot be loaded")
    return loaded


def _load(path: Path) -> ctypes.CDLL | None:
    """The library in this file; None where the file holds none."""
    try:
        return ctypes.CDLL(str(path))
    except OSError:
        return None


def _path(sources: Sequence[Path] = SOURCES, flags: Sequence[str] = FLAGS) -> Path:
    """Where the library for these sources and this processor is kept."""
    digest = hashlib.sha256(" ".join((*flags, platform.machine(), _processor())).encode())
    for source in sources:
        digest.update(source.read_bytes())
    return cache_folder() / "native" / f"{digest.hexdigest()[:16]}.so"


def _processor() -> str:
    """What this processor can do, since a home folder may be shared by different machines."""
    if sys.platform != "linux":
        raise NativeError("they are for Linux only")
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _compile(path: Path, sources: Sequence[Path] = SOURCES, flags: Sequence[str] = FLAGS) -> None:
    names = (os.environ.get("CC"), *COMPILERS)
    compiler = next((found for name in names if name and (found := shutil.which(name))), None)
    if compiler is None:
        raise NativeError("this machine has no C compiler")
    names_of_c = [str(source) for source in sources if source.suffix == ".c"]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(path.parent)
        with tempfile.TemporaryDirectory(prefix=PART, dir=path.parent) as folder:
            made = Path(folder) / path.name
            command = [compiler, *flags, *names_of_c, "-o", str(made), "-lm"]
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=BUILD_SECONDS
            )
            if done.returncode:
                words = visible(done.stderr.decode(errors="replace").strip().split("\n")[0])
                raise NativeError(f"{compiler} cannot compile them: {words}")
            made.replace(path)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NativeError(f"they cannot be compiled: {error}") from None


def _clear_abandoned(folder: Path) -> None:
    """Remove what compilers left behind that were killed."""
    for part in folder.glob(f"{PART}*"):
        with contextlib.suppress(FileNotFoundError):  # another process has just finished there
            if time.time() - part.stat().st_mtime > 2 * BUILD_SECONDS:
                shutil.rmtree(part, ignore_errors=True)


def thread_pools() -> set[Path]:
    """The OpenMP libraries in this process. Two would have threads that spin against each other.

    Raises:
        OSError: this system does not tell.
    """
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    paths = {Path(line.split(maxsplit=5)[-1]) for line in lines if "omp" in line}
    return {path for path in paths if path.name.startswith(("libgomp", "libomp", "libiomp"))}
