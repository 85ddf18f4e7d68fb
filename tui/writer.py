"""A model that writes in a thread: opened once, then asked for one text after the other."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from gpt.control import Control, Stopped
from gpt.errors import Refused
from gpt.runs import Run

if TYPE_CHECKING:
    from gpt.sample import Sampler


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a text is drawn."""

    temperature: float
    top_k: int
    max_new_tokens: int
    seed: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The text is finished; `reason` says why before its time, in words."""

    reason: str = ""


def open_model(run: Run) -> Sampler:
    """The run's best model, or its last; imports torch.

    Raises:
        Refused: what is wrong with it, in words.
    """
    from gpt.sample import Sampler

    return Sampler.open(run)


class Writing:
    """One text under way. `take` gives what has come since the last call."""

    def __init__(self, model: Sampler, prompt: str, recipe: Recipe) -> None:
        self._control = Control()
        self._pieces: SimpleQueue[str | Ended] = SimpleQueue()
        self._thread = threading.Thread(
            target=self._write, args=(model, prompt, recipe), name="writing"
        )
        self._thread.start()

    def stop(self) -> None:
        """End it at the next token."""
        self._control.stop()

    def wait(self, seconds: float) -> bool:
        """Wait for its thread; whether that has ended."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def take(self) -> tuple[str, Ended | None]:
        """The text that is new, and the end when it has come."""
        pieces: list[str] = []
        with contextlib.suppress(Empty):
            while True:
                piece = self._pieces.get_nowait()
                if isinstance(piece, Ended):
                    return "".join(pieces), piece
                pieces.append(piece)
        return "".join(pieces), None

    def _write(self, model: Sampler, prompt: str, recipe: Recipe) -> None:
        reason = ""
        try:
            pieces = model.stream(
                prompt,
                recipe.max_new_tokens,
                recipe.temperature,
                recipe.top_k,
                recipe.seed,
                self._control.check,
            )
            for piece in pieces:
                self._pieces.put(piece)
        except Stopped:
            reason = "stopped"
        except Refused as error:
            reason = str(error)
        except (RuntimeError, MemoryError) as error:  # torch's, such as memory that ran out
            reason = f"{type(error).__name__}: {error}"
        finally:
            self._pieces.put(Ended(reason))
