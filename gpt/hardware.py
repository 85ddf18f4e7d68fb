"""What this machine seems to have, found without torch, which takes a second to import."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Literal


def likely_gpu() -> Literal["cuda", "mps"] | None:
    """The kind of GPU that torch will probably find here, as it names the device."""
    if sys.platform == "darwin":
        import platform

        return "mps" if platform.machine() == "arm64" else None
    if sys.platform == "win32":
        return "cuda" if shutil.which("nvcuda.dll") else None
    found = Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi")
    return "cuda" if found else None


def has_gpu() -> bool:
    """Whether `device = "auto"` will probably mean a GPU here."""
    return likely_gpu() is not None
