"""What the model writes, typed as it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

from gpt.record import SAMPLES, Record, Written
from gpt.text import visible
from tui.lines import Lines, Row, Run
from tui.panes import ScrollPane
from tui.wrap import wrap

PACE = 90.0
"""Characters a second: about as fast as one can read along."""
HURRY = 5.0
"""How many times faster it types when a newer sample waits."""
FIRST = 20
"""Samples that are put in rows before anybody scrolls: all of a long run's take a while."""
STALL = 1.0
"""Seconds that count at most between two repaints, so that a pause is not made up for."""


class Typist:
    """How far the newest samples are shown: at reading pace, never more than one behind."""

    def __init__(self) -> None:
        self.sample: Written | None = None
        self.shown = 0
        self._credit = 0.0

    def type(self, samples: Sequence[Written], seconds: float) -> bool:
        """Go on for so many seconds; whether there is more to type."""
        if not samples:
            return False
        place, newest = self._place(samples), len(samples) - 1
        waiting = place < newest and self.shown < len(samples[place].text)
        self._credit += seconds * PACE * (HURRY if waiting else 1)
        while True:
            rest = len(samples[place].text) - self.shown
            typed = min(int(self._credit), rest)
            self.shown += typed
            self._credit -= typed
            if typed < rest:
                return True
            if place == newest:
                self._credit = 0.0
                return False
            place += 1
            self.sample, self.shown = samples[place], 0

    def behind(self, samples: Sequence[Written]) -> bool:
        """Whether there is more to type."""
        if not samples:
            return False
        return samples[-1] is not self.sample or self.shown < len(samples[-1].text)

    def finish(self, samples: Sequence[Written]) -> None:
        """Show all there is."""
        if samples:
            self.sample, self.shown = samples[-1], len(samples[-1].text)

    def _place(self, samples: Sequence[Written]) -> int:
        """Where the sample being typed is, or the last but one when it lies further back."""
        last = len(samples) - 1
        for place in range(last, max(-1, last - 2), -1):
            if samples[place] is self.sample:
                return place
        place = max(0, last - 1)
        self.sample, self.shown = samples[place], 0
        return place


class Samples(ScrollPane):
    """Every sample under the step it was written at, the newest at the end."""

    TITLE = "the model writes"

    def __init__(self, number: int, *, typed: bool, clock: Callable[[], float]) -> None:
        super().__init__(number)
        self.typist = Typist() if typed else None
        self.clock = clock
        self.past = False
        """Whether it shows an earlier moment of the run: then nothing is typed."""
        self.scrolled = False
        """Whether anybody ever scrolled, so that all samples are in rows."""
        self._typing = False
        self._typed_at = 0.0
        self._blocks: dict[int, tuple[Written, int, list[Row]]] = {}

    def show(self, record: Record) -> None:
        if self.record is None and self.typist is not None:
            self.typist.finish(record.samples)
        super().show(record)
        waiting = self.typist is not None and self.typist.behind(record.samples)
        if waiting and not self.past and not self._typing:
            self._typing, self._typed_at = True, self.clock()

    def type(self) -> bool:
        """Show as much more as the time since the last call allows; whether there was any."""
        if not self._typing or self.typist is None or self.record is None:
            return False
        now = self.clock()
        seconds, self._typed_at = min(STALL, now - self._typed_at), now
        self._typing = not self.past and self.typist.type(self.record.samples, seconds)
        if self.display and not self.past:
            self.draw()
        return True

    def write_out(self) -> bool:
        """Show all there is at once, for a slow line to the terminal; whether there was more."""
        if not self._typing or self.past or self.typist is None or self.record is None:
            return False
        self.typist.finish(self.record.samples)
        self._typing = False
        if self.display:
            self.draw()
        return True

    def newest(self) -> tuple[Written, int] | None:
        """The newest sample on show, and how many of its characters."""
        if self.typist is not None and self.typist.sample is not None and not self.past:
            return self.typist.sample, self.typist.shown
        samples = self.record.samples if self.record else ()
        return (samples[-1], len(samples[-1].text)) if samples else None

    def rows_of(self, record: Record, width: int) -> list[Row]:
        rows: list[Row] = []
        newest = self.newest()
        if len(self._blocks) > 2 * SAMPLES:
            self._blocks.clear()
        first = 0 if self.scrolled else max(0, len(record.samples) - FIRST)
        for sample in islice(record.samples, first, None):
            if newest is not None and sample is newest[0]:
                return [*rows, *self._block(sample, width, newest[1])]
            rows += [*self._whole(sample, width), []]
        return rows or [[("faint", "Nothing yet.")]]

    def action_scroll_rows(self, count: int) -> None:
        if not self.scrolled:
            self.scrolled = True
            self.draw()
        super().action_scroll_rows(count)

    def plain_text(self) -> str:
        samples = self.record.samples if self.record else ()
        return "\n\n".join(
            f"step {sample.step}\n{visible(sample.prompt + sample.text)}" for sample in samples
        )

    def _whole(self, sample: Written, width: int) -> list[Row]:
        known = self._blocks.get(id(sample))
        if known is None or known[1] != width:
            known = sample, width, self._block(sample, width, len(sample.text))
            self._blocks[id(sample)] = known
        return known[2]

    def _block(self, sample: Written, width: int, shown: int) -> list[Row]:
        title = f"step {sample.step:,} "
        rule = ("-" if self.ascii else "─") * (width - len(title))
        return [[("accent", title), ("faint", rule)], *text_rows(sample, shown, width)]


class Tail(Lines):
    """The last two lines of what the model writes, where there is no room for more."""

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self.newest: tuple[Written, int] | None = None

    def show(self, newest: tuple[Written, int] | None) -> None:
        """Show the end of the newest sample, so many characters of it."""
        self.newest = newest
        if newest is not None and self.display and self.size.width:
            rows = text_rows(*newest, self.size.width)
            self.put([row for row in rows if "".join(text for _, text in row).strip()][-2:])

    def redraw(self) -> None:
        self.show(self.newest)


def text_rows(sample: Written, shown: int, width: int) -> list[Row]:
    """The prompt and the first `shown` characters, with a cursor while there are more to come."""
    prompt = visible(sample.prompt) if sample.prompt.strip() else ""
    whole = sample.done and shown >= len(sample.text)
    text = prompt + visible(sample.text.rstrip("\n") if whole else sample.text[:shown])
    rows: list[Row] = []
    given = len(prompt)
    for line in wrap(text if prompt else text.removeprefix("\n"), width - 1):
        runs: list[Run] = [("muted", line[:given]), ("plain", line[given:])]
        rows.append([run for run in runs if run[1]])
        given = max(0, given - len(line) - 1)
    if not whole:
        rows[-1] = [*rows[-1], ("cursor", " ")]
    return rows
