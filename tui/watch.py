"""A run that another process trains, read from its journal as that grows."""

from __future__ import annotations

from gpt.runs import Run
from gpt.summary import UNREADABLE, Folding


class Watch:
    """What another process does to a run, from its first event on.

    Making one reads the whole journal, or what it has more than `summary.json`: in a thread.

    Attributes:
        record: the run so far.

    Raises:
        gpt.summary.UNREADABLE: the journal cannot be read.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._folding = Folding.of(run)
        self._folding.catch_up()
        self.record = self._folding.record

    def look(self) -> bool:
        """Take in what was written since; whether there may be more to come."""
        try:
            grew = self._folding.catch_up()
        except UNREADABLE:
            return False
        # To see whether it lives is to try its lock: not as long as there are other signs of it.
        return self.record.finished is None and (grew or self._run.is_live())
