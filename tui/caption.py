"""What a loss looks like, in words."""

from __future__ import annotations

import math

LETTERS = (
    (3.7, "random characters", "how often each letter comes, near 3.3"),
    (2.9, "how often each letter comes", "which letter follows which, near 2.5"),
    (2.25, "letter pairs: which letter follows which", "the shapes of words, near 2.0"),
    (1.75, "the shapes of words", "words, near 1.5"),
    (1.35, "words, most of them real", "phrases, near 1.2"),
    (-math.inf, "words and phrases; or the text learnt by heart, if val is much higher", ""),
)
"""For a model of characters of a natural language: from which loss on, what it is, what is next."""

TOKENS = (
    (9.5, "random tokens", "how often each token comes, near 7.5"),
    (6.5, "how often each token comes", "tokens that go together, near 6"),
    (5.0, "tokens that go together", "short phrases, near 4.5"),
    (4.0, "short phrases", "sentences, near 3.5"),
    (3.2, "sentences that hold together", "paragraphs, near 3.0: GPT-2 on its own kind of text"),
    (-math.inf, "paragraphs; or the text learnt by heart, if val is much higher", ""),
)
"""The same for a model of GPT-2's tokens, each about four characters."""


def caption(loss: float, *, characters: bool, room: int = 200) -> str:
    """The loss and what it looks like, and what comes next where there is `room` for it."""
    if not math.isfinite(loss):
        return ""
    scale = LETTERS if characters else TOKENS
    _, words, after = next(level for level in scale if loss >= level[0])
    now = f"{loss:.2f} looks like {words}"
    both = f"{now}; next come {after}" if after else now
    return both if len(both) <= room else now
