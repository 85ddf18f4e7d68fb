"""Characters as a person reads about them: by name, in spans, and not too many."""

from __future__ import annotations

from collections.abc import Iterable

from gpt.text import visible

_SHOWN = 40


def spans(characters: str) -> list[str]:
    """The characters in order, with neighbours drawn together: `A-Z`, `a-z`."""
    runs: list[list[str]] = []
    for character in sorted(characters):
        if runs and ord(runs[-1][-1]) + 1 == ord(character):
            runs[-1].append(character)
        else:
            runs.append([character])
    words: list[str] = []
    for run in runs:
        drawn = len(run) > 3 and run[0].isalnum() and run[-1].isalnum()
        words += [f"{_plain(run[0])}-{_plain(run[-1])}"] if drawn else map(_plain, run)
    return words


def _plain(character: str) -> str:
    return {"\n": "newline", " ": "space", "\t": "tab"}.get(character, visible(character))


def quoted(character: str) -> str:
    """One character, by its name or between quotes."""
    name = _plain(character)
    return name if len(name) > 1 else f"'{name}'"


def listed(words: Iterable[str], separator: str = ", ") -> str:
    """The first 40 words, and how many more there are."""
    all_words = list(words)
    more = len(all_words) - _SHOWN
    return separator.join(all_words[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
