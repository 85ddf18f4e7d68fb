"""A run that another process trains, read from its journal as that grows."""

from __future__ import annotations

from collections.abc import Callable

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
        self._readable, self._spoilt = True, False

    def look(self, warn: Callable[[str], None]) -> bool:
        """Take in what was written since; whether there may be more to come.

        Args:
            warn: told why, once, when the journal cannot be read for a while or any more.
        """
        grew = False
        try:
            grew = not self._spoilt and self._folding.catch_up()
            self._readable = not self._spoilt
        except UNREADABLE as error:
            if self._readable:
                warn(in_words(error))
            # A disk may work again; what is written wrong stays so, and is not folded twice.
            self._readable, self._spoilt = False, not isinstance(error, OSError)
        # To see whether it lives is to try its lock: not as long as there are other signs of it.
        return self.record.finished is None and (grew or self._run.is_live())


def in_words(error: Exception) -> str:
    """Why a journal cannot be read, for the person who watches."""
    reason = error.strerror or error if isinstance(error, OSError) else "it is damaged"
    return f"events.jsonl of this run cannot be read: {reason}. What is shown was read before."
