"""One run as a screen draws it, whether it is live or past."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpt.record import Record

if TYPE_CHECKING:
    from gpt.config import Config
    from gpt.control import Control
    from gpt.runs import Run


@dataclass(slots=True)
class View:
    """A run on screen.

    `control` is None for a run of another process or a past one, which cannot be asked for
    anything. `reference` is the path of the preset's reference curve, if it has one. `elsewhere`
    is whether another process trains it.
    """

    name: str
    run: Run
    record: Record
    config: Config
    control: Control | None = None
    reference: Path | None = None
    elsewhere: bool = False

    @property
    def live(self) -> bool:
        """Whether the run is under way in this process."""
        return self.control is not None and self.record.finished is None

    @property
    def moving(self) -> bool:
        """Whether there is more to come."""
        return self.live or (self.elsewhere and self.record.finished is None)
