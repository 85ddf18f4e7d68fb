"""What is known about a draft beyond its own rules: its text, memory here, the time it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from gpt.hardware import has_gpu
from tui.draft import Draft, Verdict, check_surroundings, vocab_size
from tui.forecast import Outlook, duration
from tui.preflight import PROGRAM, Preflight, Request
from tui.shelf import Entry

if TYPE_CHECKING:
    from gpt.config import Config
    from gpt.corpus import Corpus

SETTLE_SECONDS = 0.4
"""After the last edit, before it is measured."""
WHILE_TRAINING = "known after the run"


class Prospect:
    """Texts that were looked up, and measurements.

    Args:
        learnt: called in the event loop when something is known that was not.
        program: the command that measures; empty for none.
    """

    def __init__(self, learnt: Callable[[], None], program: Sequence[str] = PROGRAM) -> None:
        self.preflight = Preflight(lambda _: learnt(), program)
        self.has_gpu = has_gpu()
        self._learnt = learnt
        self.refusals: dict[str, str] = {}
        """Why the last run of a text could not begin, by the text's name."""
        self._corpora: dict[str, Corpus | None] = {}
        self._settling: asyncio.Task[None] | None = None

    def ask(self, config: Config, others: Sequence[Config]) -> None:
        """Look at this configuration once nothing newer was asked for a moment, then at others.

        Returns at once.
        """
        if self._settling is not None:
            self._settling.cancel()
        self._settling = asyncio.create_task(self._settle(config, others))

    async def close(self) -> None:
        """Ask nothing more."""
        if self._settling is not None:
            self._settling.cancel()
        await self.preflight.close()

    async def _settle(self, config: Config, others: Sequence[Config]) -> None:
        await asyncio.sleep(SETTLE_SECONDS)
        await self._look_up(each.dataset for each in (config, *others))
        self._learnt()
        self.preflight.ask(self.request(config))
        self.preflight.ask_also(self.request(other) for other in others)

    async def _look_up(self, datasets: Iterable[str]) -> None:
        """See which texts are prepared, in a thread: a folder may hold thousands of files."""
        from gpt.corpus import peek

        for dataset in dict.fromkeys(datasets):
            self._corpora[dataset] = await asyncio.to_thread(peek, dataset)

    def check(self, draft: Draft) -> Verdict:
        """Whether the draft can be trained here, as far as is known by now."""
        from gpt.corpus import known

        verdict = draft.check()
        if verdict.config is None:
            return verdict
        dataset = verdict.config.dataset
        corpus = self._corpora.get(dataset)
        verdict = check_surroundings(
            verdict.config, corpus, known(), self._free_memory(verdict.config)
        )
        if corpus is not None or dataset not in self.refusals:
            return verdict
        words = f"was refused before: {self.refusals[dataset]}"
        return replace(verdict, warnings={**verdict.warnings, "dataset": words})

    def outlook(self, config: Config) -> Outlook:
        """All that is known about a run of this configuration."""
        corpus = self._corpora.get(config.dataset)
        timing = self.preflight.outcome(self.request(config))
        if timing is None and not self.preflight.running:
            timing = WHILE_TRAINING
        return Outlook(
            config=config,
            vocab_size=vocab_size(config.dataset, corpus),
            corpus=corpus,
            free_memory=self._free_memory(config),
            timing=timing,
        )

    def request(self, config: Config) -> Request:
        """What to measure for this configuration."""
        corpus = self._corpora.get(config.dataset)
        return Request.of(
            config, vocab_size(config.dataset, corpus), corpus.val_tokens if corpus else 0
        )

    def times(self, entries: Iterable[Entry]) -> dict[Entry, str]:
        """About how long a run of each entry takes, where that is known."""
        found: dict[Entry, str] = {}
        for entry in entries:
            config = entry.draft.check().config
            seconds = self.outlook(config).seconds if config else None
            if seconds is not None:
                found[entry] = duration(seconds)
        return found

    def _free_memory(self, config: Config) -> int | None:
        from gpt.estimate import available_memory

        on_cpu = config.device == "cpu" or (config.device == "auto" and not self.has_gpu)
        return available_memory() if on_cpu else None
