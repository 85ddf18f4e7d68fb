"""Text that people or models wrote, made safe to show."""

from __future__ import annotations

import unicodedata

KEPT = "\n"
"""Control characters that stay as they are; a tab becomes spaces."""


def visible(text: str, keep: str = KEPT) -> str:
    """The text with every character that could steer a terminal shown as a visible mark.

    C0 controls become their pictures (ESC: ␛), and C1 controls, bidirectional and other
    invisible formatting and lone surrogates become `<U+202E>`. Line breaks stay.
    """
    if text.isascii() and text.replace("\n", "").isprintable() and "\n" in keep:
        return text
    return "".join(_mark(character, keep) for character in text)


def masked(text: str) -> str:
    """The text with one mark for each such character, so that places in it stay the same."""
    return "".join(
        character
        if (mark := _mark(character, "")) == character
        else mark
        if len(mark) == 1
        else "\ufffd"
        for character in text
    )


def _mark(character: str, keep: str) -> str:
    if character in keep:
        return character
    if character == "\t":
        return "    "
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    # Cf: bidi and zero-width marks; Co and Cn have no glyph; Zl and Zp break lines.
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return f"<U+{code:04X}>"
    return character
