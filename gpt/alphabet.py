"""Characters as a person reads about them: by name, in spans, and not too many."""

from __future__ import annotations

from collections.abc import Iterable

from gpt.text import visible

_SHOWN = 40


def spans(characters: str) -> list[str]:
    """The characters in order, with letters or digits in a row drawn together: `A-Z`, `a-z`."""
    rows: list[list[str]] = []
    for character in sorted(characters):
        if rows and _follows(rows[-1][-1], character):
            rows[-1].append(character)
        else:
            rows.append([character])
    words: list[str] = []
    for row in rows:
        words += [f"{row[0]}-{row[-1]}"] if len(row) > 3 else map(_plain, row)
    return words


def _follows(before: str, character: str) -> bool:
    return before.isalnum() and character.isalnum() and ord(character) == ord(before) + 1


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
