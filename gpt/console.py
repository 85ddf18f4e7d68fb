"""Events as the lines that nanoGPT prints, and the table of a measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpt.events import Eval, Event, Finished, Notice, Saved, Started, Step

if TYPE_CHECKING:
    from gpt.figures import Figures


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


def table(name: str, figures: Figures) -> list[str]:
    """What a configuration's training costs here, as lines for a terminal."""
    compiled = ", compiled" if figures.compiled else ""
    threads = f", {_count(figures.threads, 'thread')}" if figures.device == "cpu" else ""
    whose = " of the GPU" if figures.device.startswith("cuda") else ""
    parts = {**figures.parts_ms, "rest": figures.rest_ms}
    accounted = 1 - figures.rest_ms / figures.timed_ms
    return [
        f"{name}: {figures.params / 1e6:.2f}M parameters, {figures.tokens_per_iter:,} tokens a "
        f"step, {figures.device}{threads}, {figures.dtype}{compiled}",
        "",
        _row("part of a step", "ms", "share"),
        *(_row(part, f"{ms:.2f}", _share(ms / figures.timed_ms)) for part, ms in parts.items()),
        _row("whole, timed by part", f"{figures.timed_ms:.2f}", _share(1)),
        _row("whole, left alone", f"{figures.step_ms:.2f}", ""),
        "",
        _row("besides", "ms", "a step"),
        _row(
            "evaluation", f"{figures.eval_ms:.1f}", _spread(figures.eval_ms, figures.eval_interval)
        ),
        _row("logging", f"{figures.log_ms:.3f}", _spread(figures.log_ms, figures.log_interval)),
        "",
        f"{figures.tokens_per_s:,.0f} tokens a second; {figures.tokens_per_s_overall:,.0f} with "
        "evaluations and logging",
        _utilisation(figures),
        f"{figures.memory / 1e6:,.0f} MB at the peak{whose}",
        f"medians of {_count(figures.steps, 'step')} after {figures.warm_up_steps} to warm up; all "
        f"parts but the rest are {_share(accounted)} of the step",
    ]


def _row(name: str, value: str, note: str) -> str:
    return f"{name:22}{value:>10}{note:>10}".rstrip()


def _share(part: float) -> str:
    return f"{100 * part:.1f} %"


def _spread(ms: float, interval: int) -> str:
    return f"{ms / interval:.3f}" if interval else ""


def _utilisation(figures: Figures) -> str:
    rate = f"{figures.flops_per_s / 1e9:,.1f} GFLOP/s"
    if figures.mfu is None or figures.peak_flops is None:
        return f"{rate}; this machine's peak in {figures.dtype} could not be measured"
    return (
        f"{rate}, {_share(figures.mfu)} of the {figures.peak_flops / 1e9:,.0f} that this machine's "
        f"matrix products reach in {figures.dtype}"
    )


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
