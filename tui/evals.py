"""The table of evaluations."""

from __future__ import annotations

from gpt.events import Eval
from gpt.record import Record
from tui import numbers
from tui.lines import Row, Run
from tui.panes import ScrollPane

BEST = "*"
WIDE = 50
"""Columns from which on there is room for the standard error."""


class Evals(ScrollPane):
    """Each evaluation; the one with the lowest validation loss is marked."""

    TITLE = "evaluations"
    HEADS = 1

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.characters_per_token: float | None = None

    def rows_of(self, record: Record, width: int) -> list[Row]:
        return table(record, self.characters_per_token, width)


def table(record: Record, characters_per_token: float | None, width: int) -> list[Row]:
    """A head and a row for each evaluation; where there is room, the standard error of val too.

    Bits a character are val / ln 2, shared among the characters of a token; without knowing how
    many those are it is bits a token.
    """
    wide = width >= WIDE
    unit = "bits/tok" if characters_per_token is None else "bits/char"
    head = f"{'step':>8}{'train':>8}{'val':>8}{'perpl.':>8}{unit:>10}"
    rows: list[Row] = [[("muted", head + (f"{'+-':>8}" if wide else ""))]]
    if not record.evals:
        return [*rows, [("faint", " none yet")]]
    best = record.best
    for event in record.evals:
        row = _row(event, event is best, characters_per_token or 1.0)
        se = numbers.fixed(event.val_se, 4)
        rows.append([*row, ("muted", f"{se:>8}")] if wide else row)
    return rows


def _row(event: Eval, best: bool, characters_per_token: float) -> list[Run]:
    perplexity = numbers.perplexity(event.val)
    decimals = 0 if perplexity is not None and perplexity >= 1000 else 2
    bits = numbers.bits(event.val)
    role = "strong" if best else "plain"
    return [
        ("muted", f"{event.step or 0:>8,}"),
        (role, f"{numbers.fixed(event.train, 4):>8}{numbers.fixed(event.val, 4):>8}"),
        ("accent", BEST if best else " "),
        (role, f"{numbers.fixed(perplexity, decimals):>7}"),
        (role, f"{numbers.fixed(bits and bits / characters_per_token, 3):>10}"),
    ]
