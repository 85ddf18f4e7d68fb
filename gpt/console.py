"""Events as the lines that nanoGPT prints."""

from __future__ import annotations

from gpt.events import Eval, Event, Finished, Notice, Saved, Started, Step


def line(event: Event) -> str | None:
    """The event as nanoGPT prints it, or in a line of the same manner, or None."""
    match event:
        case Started():
            resumed = "" if event.resumed_from is None else f"from step {event.resumed_from}: "
            return (
                f"{resumed}{event.params / 1e6:.2f}M parameters, {event.tokens_per_iter:,} tokens "
                f"per iteration, {event.device}, {event.dtype}"
            )
        case Step():
            mfu = "-100.00" if event.mfu is None else f"{event.mfu * 100:.2f}"
            return f"iter {event.step}: loss {_loss(event.loss)}, time {event.ms:.2f}ms, mfu {mfu}%"
        case Eval():
            return (
                f"step {event.step}: train loss {_loss(event.train)}, val loss {_loss(event.val)}"
            )
        case Saved():
            return f"saving checkpoint to {event.path}"
        case Notice():
            return event.text if event.level == "info" else f"{event.level}: {event.text}"
        case Finished():
            return f"{event.reason}: {event.error}" if event.error else event.reason
        case _:
            return None


def _loss(value: float | None) -> str:
    return "nan" if value is None else f"{value:.4f}"
