"""The thread boundary, all of it: one training run in a worker thread, its record on this side."""

from __future__ import annotations

import contextlib
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from gpt import garbage
from gpt.allocator import return_memory
from gpt.control import Control
from gpt.errors import Refused
from gpt.events import Event, Finished, Phase, Started
from gpt.record import Record
from gpt.runs import Run
from tui.view import View

if TYPE_CHECKING:
    from gpt.config import Config
    from gpt.settings import Value

Trainer = Callable[["Config", "Run | None", "Control | None"], Iterator[Event]]


class Refusal(str):
    """Why a run could not begin, in words."""


def gpt_train(config: Config, run: Run | None, control: Control | None) -> Iterator[Event]:
    """`gpt.train.train`, imported when it is needed, since it brings torch."""
    from gpt.train import train

    return train(config, run, control)


def gpt_resume(
    config: Config,
    run: Run | None,
    control: Control | None,
    values: Mapping[str, Value] | None = None,
) -> Iterator[Event]:
    """`gpt.train.resume`, whose settings are the run's own but for `values`."""
    from gpt.train import resume

    if run is None:
        raise ValueError("only a run can be resumed")
    return resume(run, values, control)


class Session:
    """A run under way in this process.

    Its thread does nothing but iterate `train` and put what comes on a queue; `drain` folds
    that into `view.record` on the side of the interface. Nothing else crosses but `control`.
    The thread is no daemon: one that is killed inside torch at exit aborts the process.

    Args:
        record: what a run that goes on has been so far.

    Attributes:
        view: the run as a screen draws it.
        refused: why the run could not begin, when it could not.
    """

    def __init__(
        self,
        config: Config,
        name: str,
        run: Run,
        train: Trainer = gpt_train,
        reference: Path | None = None,
        record: Record | None = None,
    ) -> None:
        self.control = Control()
        record = record or Record()
        record.finished = None  # what goes on has not ended
        self.view = View(name, run, record, config, self.control, reference)
        self.refused: str | None = None
        self.over = False
        self._phase = "preparing"
        self._queue: SimpleQueue[Event | Refusal | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, args=(train,), name="training")

    def start(self) -> None:
        """Begin. Until the first event the run is preparing, which includes importing torch."""
        self.view.record.fold(Phase(name="preparing"))
        self._thread.start()

    def stop(self) -> None:
        """Ask the run to stop and save; safe from any thread."""
        self.control.stop()

    @property
    def running(self) -> bool:
        """Whether its thread is at work; known at once, and in any thread, unlike `over`."""
        return self._thread.is_alive()

    @property
    def saving(self) -> bool:
        """Whether it writes a checkpoint now; likewise."""
        return self.running and self._phase == "saving"

    def drain(self, limit: int = 5000) -> bool:
        """Take in what has come, at most `limit` of it; whether there was anything.

        Afterwards `over` says whether the run has ended and all of it is taken in.
        """
        for count in range(limit):
            try:
                item = self._queue.get_nowait()
            except Empty:
                return count > 0
            self._take(item)
        return True

    def wait(self, seconds: float) -> bool:
        """Wait for the thread to end and take in the rest; whether it has ended."""
        if self._thread.ident is not None:
            self._thread.join(seconds)
        while self.drain():
            pass
        return not self._thread.is_alive()

    def _take(self, item: Event | Refusal | None) -> None:
        record = self.view.record
        if isinstance(item, Refusal):
            self.refused = item
        elif item is not None:
            record.fold(item)
        else:
            self.over = True
            if record.finished is None and self.refused is None:
                record.fold(Finished(reason="stopped" if self.control.stopping else "failed"))

    def _work(self, train: Trainer) -> None:
        begun = False
        try:
            for event in train(self.view.config, self.view.run, self.control):
                self._queue.put(event)
                if isinstance(event, Phase):
                    self._phase = event.name
                elif isinstance(event, Started):
                    begun = True
                    garbage.settle()
        except Exception as error:
            # A thread that dies silently would leave a screen that waits for ever.
            self._queue.put(self._in_words(error, begun))
        finally:
            self._queue.put(None)
            garbage.collect_and_settle()
            return_memory()

    def _in_words(self, error: Exception, begun: bool) -> Finished | Refusal:
        """The error for the person; what is not a refusal in words goes to the log as well."""
        if isinstance(error, Refused):
            words = str(error)
        else:
            with contextlib.suppress(OSError):  # a full disk
                traceback.print_exception(error)
            words = f"{type(error).__name__}: {error}"
        return Finished(reason="failed", error=words) if begun else Refusal(words)
