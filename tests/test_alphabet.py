"""Characters as a person reads about them."""

from __future__ import annotations

import string

from gpt.alphabet import listed, quoted, spans


def test_letters_and_digits_in_a_row_are_drawn_together_and_signs_are_not() -> None:
    assert " ".join(spans(string.printable[:95])) == (
        "space ! \" # $ % & ' ( ) * + , - . / 0-9 : ; < = > ? @ A-Z [ \\ ] ^ _ ` a-z { | } ~"
    )
    assert spans("cabd") == ["a-d"]
    assert spans("cab\n2\x1b") == ["newline", "␛", "2", "a", "b", "c"]
    assert spans("") == []


def test_one_character_is_named_or_quoted() -> None:
    assert [quoted(character) for character in " \n\ta'\u202e"] == [
        "space", "newline", "tab", "'a'", "'''", "<U+202E>",
    ]  # fmt: skip


def test_not_too_many_are_listed() -> None:
    assert listed("ab") == "a, b"
    assert listed("x" * 40, "") == "x" * 40
    assert listed("x" * 1041, "") == "x" * 40 + " and 1,001 more"
