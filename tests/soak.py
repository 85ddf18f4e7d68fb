"""How much of the long tests to run, and which of their processes this machine permits."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FULL = os.environ.get("NANODECK_SOAK") == "1"


def share(full: int, bounded: int) -> int:
    """The whole count when NANODECK_SOAK is 1, else a bounded one."""
    return full if FULL else bounded


def python(module: str, *arguments: str, prefix: tuple[str, ...] = (), timeout: float = 120) -> str:
    """Run a module of the tests in a process of its own; what it prints."""
    command = (*prefix, sys.executable, "-m", module, *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def need_strace() -> None:
    """Skip a test where system calls cannot be made to fail."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")


def new_mounts() -> tuple[str, ...]:
    """The command that gives a program file systems of its own; skips where it is refused."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("this system has no unshare")
    flags = "-m" if os.geteuid() == 0 else "-Urm"
    probe = (unshare, flags, "mount", "-t", "tmpfs", "tmpfs", "/mnt")
    if subprocess.run(probe, capture_output=True).returncode:
        pytest.skip("mounting a file system is not permitted here")
    return (unshare, flags)
