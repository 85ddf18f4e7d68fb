"""What screens ask of the App. Screens post these; only the App acts on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textual.message import Message

if TYPE_CHECKING:
    from gpt.config import Config


class Train(Message):
    """Start training this configuration; `name` becomes part of the run folder's name."""

    def __init__(self, config: Config, name: str) -> None:
        super().__init__()
        self.config = config
        self.name = name


class Bench(Message):
    """Measure what training this configuration costs; `name` is its preset's."""

    def __init__(self, config: Config, name: str) -> None:
        super().__init__()
        self.config = config
        self.name = name


class Edit(Message):
    """Open the form on these settings, to train with one thing changed."""

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        super().__init__()
        self.values = values
        self.name = name


class OpenRuns(Message):
    """Show the table of past runs."""


class OpenRun(Message):
    """Show the run in this folder."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path


class Resume(Message):
    """Go on with the run in this folder where it stopped; one that is done, for as long again."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path


class Prompt(Message):
    """Let a person prompt the model of the run in this folder."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
