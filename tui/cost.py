"""What training costs here, for a person: a step's parts, how fast it is, what limits it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from gpt.text import visible
from tui import numbers
from tui.bar import split_bar

if TYPE_CHECKING:
    from gpt.figures import Figures

Piece = tuple[str, str]
"""Text and its style."""

NAME, MS, SHARE = 15, 9, 9
"""The columns of a step's parts; the bar has the rest."""
VALUE = 9
WORDS = {
    "batch": "fetching batches",
    "forward": "the forward pass",
    "backward": "the backward pass",
    "clip": "clipping gradients",
    "optimizer": "the optimizer",
    "rest": "what is between these parts",
}
LARGE_UPDATE = 0.2
"""The share of a step from which on the optimizer, with clipping, is worth a word."""
LARGE_OVERHEAD = 0.05
"""The same of a run for evaluations and logging."""


def description(figures: Figures) -> str:
    """What was measured, on what."""
    threads = "" if figures.threads == 1 else "s"
    return ", ".join([
        f"{figures.params / 1e6:.2f} M parameters",
        f"{figures.tokens_per_iter:,} tokens a step",
        visible(figures.device, keep=""),
        *([f"{figures.threads} thread{threads}"] if figures.device == "cpu" else []),
        visible(figures.dtype, keep=""),
        *(["compiled"] if figures.compiled else []),
    ])  # fmt: skip


def parts(figures: Figures, width: int, bar: str) -> Content:
    """A step's time by part, each with a bar, and the whole.

    Args:
        bar: the characters that a bar and what is left of its room are drawn with.
    """
    heads = f"{'a step':{NAME}}{'ms':>{MS}}{'share':>{SHARE}}"
    rows: list[list[Piece]] = [[(heads, "dim")]]
    for name, ms in _parts_ms(figures).items():
        share = ms / figures.timed_ms
        room = width - NAME - MS - SHARE - 2
        rows.append([
            (f"{name:{NAME}}", ""),
            (f"{ms:>{MS},.2f}", "bold"),
            (f"{numbers.percent(share, 1) + ' %':>{SHARE}}  ", ""),
            (split_bar(share, room, bar)[0], "$accent"),
        ])  # fmt: skip
    rows.append([(f"{'whole, by part':{NAME}}{figures.timed_ms:>{MS},.2f}", "")])
    rows.append([
        (f"{'left alone':{NAME}}", ""),
        (f"{figures.step_ms:>{MS},.2f}", "bold"),
        (f"  median of {figures.steps:,} steps, {figures.warm_up_steps:,} to warm up", "dim"),
    ])  # fmt: skip
    return _lines(rows)


def rates(figures: Figures, width: int, bar: str) -> Content:
    """Tokens a second, the share of the machine's peak, memory, and what comes between steps."""
    memory, unit = numbers.size(figures.memory)
    whose = " of the GPU's" if figures.device.startswith("cuda") else ""
    rows = [
        _row(
            "tokens/s",
            numbers.fixed(figures.tokens_per_s, 0),
            f"({figures.tokens_per_s_overall:,.0f} with evaluations and logging)",
        ),
        _row("GFLOP/s", numbers.fixed(figures.flops_per_s / 1e9, 1), _peak(figures)),
        _row("peak share", numbers.percent(figures.mfu, 1), "%  " if figures.mfu else ""),
        _row("peak memory", memory, unit + whose),
        _besides("evaluation", figures.eval_ms, 1, figures.eval_interval),
        _besides("logging", figures.log_ms, 3, figures.log_interval),
    ]
    if figures.mfu is not None:
        full, rest = split_bar(figures.mfu, width - NAME - VALUE - 4, bar)
        rows[2] += [(full, "$accent"), (rest, "dim")]
    return _lines(rows)


def limits(figures: Figures, width: int) -> Content:
    """What the speed of this configuration here is limited by, each in a line where that fits."""
    told = findings(figures)
    return Content(("\n" if max(map(len, told)) <= width else " ").join(told))


def findings(figures: Figures) -> list[str]:
    """The same in sentences, which say no more than the figures do."""
    told: list[str] = []
    if figures.mfu is not None:
        bound = min(1.0, figures.mfu) * figures.step_ms
        told.append(
            f"At the peak of matrix products a step would take {bound:,.2f} ms instead of "
            f"{figures.step_ms:,.2f}: arithmetic is the "
            + ("greater part of it." if figures.mfu >= 0.5 else "lesser part of it.")
        )
    by_size = sorted(_parts_ms(figures).items(), key=lambda part: part[1], reverse=True)
    (first, most), (second, next_most) = by_size[:2]
    told.append(
        f"{WORDS[first].capitalize()} takes {_share(most / figures.timed_ms)} of a step, "
        f"{WORDS[second]} {_share(next_most / figures.timed_ms)}."
    )
    update = (figures.parts_ms["optimizer"] + figures.parts_ms["clip"]) / figures.timed_ms
    if update >= LARGE_UPDATE:
        told.append(
            f"The optimizer with clipping takes {_share(update)}, once a step however many "
            f"tokens that has, here {figures.tokens_per_iter:,}."
        )
    overhead = 1 - figures.tokens_per_s_overall / figures.tokens_per_s
    if overhead >= LARGE_OVERHEAD:
        told.append(f"Evaluations and logging take {_share(overhead)} of the run.")
    return told


def _parts_ms(figures: Figures) -> dict[str, float]:
    return {**figures.parts_ms, "rest": figures.rest_ms}


def _row(label: str, value: str, note: str) -> list[Piece]:
    return [(f"{label:{NAME}}", ""), (f"{value:>{VALUE}}", "bold"), (f" {note}", "dim")]


def _peak(figures: Figures) -> str:
    dtype = visible(figures.dtype, keep="")
    if figures.peak_flops is None:
        return f"the peak in {dtype} is not known"
    return f"of {figures.peak_flops / 1e9:,.0f} in matrix products, {dtype}"


def _besides(label: str, ms: float, decimals: int, interval: int) -> list[Piece]:
    spread = f"ms, or {ms / interval:.3f} a step" if interval else "ms, at the end"
    return _row(label, numbers.fixed(ms, decimals), spread)


def _share(share: float) -> str:
    return f"{numbers.percent(share, 1)} %"


def _lines(rows: list[list[Piece]]) -> Content:
    return Content("\n").join(Content.assemble(*row) for row in rows)
