"""Where things are kept outside the working directory; an environment variable comes first."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """What can be made again: corpora, token files, measurements (NANODECK_CACHE_DIR)."""
    return _folder("cache")


def config_folder() -> Path:
    """What a person made: presets (NANODECK_CONFIG_DIR)."""
    return _folder("config")


def state_folder() -> Path:
    """What the screen remembers between starts (NANODECK_STATE_DIR)."""
    return _folder("state")


def _folder(kind: str) -> Path:
    if chosen := os.environ.get(f"NANODECK_{kind.upper()}_DIR"):
        return Path(chosen)
    import platformdirs

    folders = platformdirs.PlatformDirs("nanodeck", appauthor=False)
    return Path(getattr(folders, f"user_{kind}_dir"))
