"""Names that become those of files and folders, here or on another system."""

from __future__ import annotations

import re
from pathlib import Path

LONGEST = 64
STAMP = re.compile(r"^\d{8}-\d{6}-")
RESERVED = frozenset(
    (
        "con",
        "prn",
        "aux",
        "nul",
        *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³"),
    )
)
"""Names of devices on Windows, whatever ending follows them."""


def is_reserved(name: str) -> bool:
    """Whether Windows takes this for a device."""
    return name.partition(".")[0].strip().casefold() in RESERVED


def folder_name(text: str) -> str:
    """The text as a part of a folder's name: letters, digits, dots, dashes and underscores.

    It has no separator, does not begin or end with a dot, and is never empty.
    """
    kept = "".join(c if c.isalnum() or c in "._-" else "-" for c in text[: 4 * LONGEST])
    kept = kept.encode("utf-8", "replace")[:LONGEST].decode("utf-8", "ignore").strip(".-")
    return kept or "run"


def short_name(run: str) -> str:
    """A run's name without the time that its folder's begins with."""
    return STAMP.sub("", run)


def is_possible(path: Path) -> bool:
    """Whether this system could have something at that path, be it there or not."""
    try:
        path.lstat()
    except FileNotFoundError:
        return True
    except (OSError, ValueError):  # too long, below a file, a zero byte, half a character
        return False
    return True
