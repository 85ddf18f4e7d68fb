"""Torch, imported behind the screen before it is asked for: two seconds that nobody waits for."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import os
import sys
import threading
from pathlib import Path

from gpt import garbage


def import_trainer() -> None:
    """Import what training needs in a thread of its own, so that the next run starts sooner.

    Afterwards garbage is collected again, which `app.py` has put off until then.
    """

    def work() -> None:
        _load_libraries()
        with contextlib.suppress(ImportError):  # training will say what is missing
            importlib.import_module("gpt.train")
        garbage.settle()

    threading.Thread(target=work, name="imports").start()


def _load_libraries() -> None:
    """Load torch's compiled libraries as importing it would do, but by the system's own call.

    Importing does it in one piece of 0.3 s in which no other thread of Python can run: a key
    pressed then would wait. Torch finds what is loaded already. Only on Linux.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(ImportError, OSError, AttributeError, ValueError):
        torch = importlib.util.find_spec("torch")
        if torch is None or torch.origin is None:
            return
        folder = Path(torch.origin).parent / "lib"
        load = ctypes.CDLL(None).dlopen
        load.restype = ctypes.c_void_p
        # In torch's own order, and as visible to others as it makes them.
        load(os.fsencode(folder / "libtorch_global_deps.so"), os.RTLD_NOW | os.RTLD_GLOBAL)
        load(os.fsencode(folder / "libtorch_cpu.so"), os.RTLD_NOW)
