"""Tokenizers: any text comes back, whatever a person or a file gives is answered in words."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gpt import tokenizer
from gpt.corpus import Corpus
from gpt.tokenizer import CharTokenizer, GPT2Tokenizer, TokenizerError
from gpt.utf8 import Passage

ANY_TEXT = st.text(max_size=200)
ANY_IDS = st.lists(st.integers(-3, 50400), max_size=40)


def test_characters_are_numbered_in_sorted_order() -> None:
    tokens = CharTokenizer.of("hello\n")

    assert tokens.characters == "\nehlo"
    assert tokens.encode("hole\n") == [2, 4, 3, 1, 0]
    assert tokens.vocab_size == tokens.model_vocab_size == 5


def test_the_vocabulary_of_shakespeare_is_nanogpts(shakespeare: Corpus) -> None:
    tokens = shakespeare.tokenizer()

    assert tokens.vocab_size == 65
    assert tokens.encode("hii there") == [46, 47, 47, 1, 58, 46, 43, 56, 43]


def test_gpt2_gives_the_published_ids(gpt2: GPT2Tokenizer) -> None:
    assert gpt2.encode("Hello world") == [15496, 995]
    fox = [464, 2068, 7586, 21831, 18045, 625, 262, 16931, 3290]
    assert gpt2.encode("The quick brown fox jumps over the lazy dog") == fox
    assert gpt2.encode("<|endoftext|>") == [50256]
    assert (gpt2.vocab_size, gpt2.model_vocab_size) == (50257, 50304)


def test_end_of_text_in_a_corpus_is_plain_text(gpt2: GPT2Tokenizer) -> None:
    ids = gpt2.encode_array("<|endoftext|>").tolist()

    assert 50256 not in ids
    assert gpt2.decode(ids) == "<|endoftext|>"


@given(st.text(min_size=1, max_size=200))
def test_any_text_comes_back_from_characters(text: str) -> None:
    tokens = CharTokenizer.of(text)

    ids = tokens.encode(text)

    assert tokens.decode(ids) == text
    assert tokens.encode_passage(Passage.of_text(text)).tolist() == ids


@given(ANY_TEXT)
@example("<|endoftext|> and <|endoftext|>")
@example("\r\n \n\n  x")
def test_any_text_comes_back_from_byte_pairs(gpt2: GPT2Tokenizer, text: str) -> None:
    assert gpt2.decode(gpt2.encode(text)) == text


@given(ANY_IDS)
def test_any_ids_decode_one_at_a_time_as_all_at_once(gpt2: GPT2Tokenizer, ids: list[int]) -> None:
    for tokens in (gpt2, CharTokenizer("abc日😀")):
        decoder = tokens.decoder()
        text = "".join(map(decoder.feed, ids)) + decoder.flush()
        assert text == tokens.decode(ids)


def test_a_character_of_several_tokens_appears_when_it_is_whole(gpt2: GPT2Tokenizer) -> None:
    ids = gpt2.encode("日")
    decoder = gpt2.decoder()

    pieces = [decoder.feed(token) for token in ids]

    assert len(ids) > 1
    assert pieces == [""] * (len(ids) - 1) + ["日"]
    assert decoder.flush() == ""


def test_a_character_that_never_becomes_whole_is_shown_as_such(gpt2: GPT2Tokenizer) -> None:
    decoder = gpt2.decoder()

    assert decoder.feed(gpt2.encode("日")[0]) == ""
    assert decoder.flush() == "\ufffd"


def test_ids_that_are_no_tokens_are_shown_as_replacement_characters(gpt2: GPT2Tokenizer) -> None:
    assert CharTokenizer("ab").decode([0, 2, -1, 1]) == "a\ufffd\ufffdb"
    assert gpt2.decode([15496, 50257, 50303, -1]) == "Hello\ufffd\ufffd\ufffd"


def test_a_prompt_of_unknown_characters_is_refused_by_name(shakespeare: Corpus) -> None:
    with pytest.raises(TokenizerError) as refusal:
        shakespeare.tokenizer().encode("né ☃ é\u202e\x1b")

    message = str(refusal.value)
    assert message.startswith("the characters '␛', 'é', <U+202E>, '☃' are not in the text")
    assert "newline space ! $ & ' , - . 3 : ; ? A-Z a-z" in message
    assert "\x1b" not in message
    assert "\u202e" not in message


def test_many_unknown_characters_are_counted(shakespeare: Corpus) -> None:
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 1000)))

    with pytest.raises(TokenizerError, match="and 960 more"):
        shakespeare.tokenizer().encode(text)


def test_a_run_of_blanks_that_cannot_be_split_is_refused(gpt2: GPT2Tokenizer) -> None:
    with pytest.raises(TokenizerError, match="cannot be split"):
        gpt2.encode(" " * 1_000_000 + "x")


def test_what_is_written_is_read_and_ascii(tmp_path: Path, gpt2: GPT2Tokenizer) -> None:
    for written in (CharTokenizer.of("\x1b\u202e日😀\n\"'\\"), gpt2):
        path = tmp_path / "tokenizer.json"
        tokenizer.write(written, path)

        found = tokenizer.read(path)

        assert path.read_bytes().isascii()
        assert found.to_json() == written.to_json()
        assert (found.kind, found.vocab_size) == (written.kind, written.vocab_size)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"kind": "char", "charac', "not JSON"),
        (b"[]", "does not describe"),
        (b'{"kind": "char"}', "does not describe"),
        (b'{"kind": "char", "characters": 5}', "does not describe"),
        (b'{"kind": "pickle\\u001b", "characters": "ab"}', "'pickle␛' is not a kind"),
        (b'{"kind": "char", "characters": ""}', "at least one"),
        (b'{"kind": "char", "characters": "aba"}', "once"),
        (b'{"kind": "char", "characters": "a\\ud800"}', "whole characters"),
        (b'{"kind": "gpt2", "merges": "#version: 0.2\\n"}', "not the byte pairs"),
        (b'{"kind": "gpt2", "merges": "\\ud800"}', "not the byte pairs"),
    ],
)
def test_a_broken_file_is_told_in_words(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)

    with pytest.raises(TokenizerError, match=words) as error:
        tokenizer.read(path)

    assert str(path) in str(error.value)


def test_a_missing_file_is_told_in_words(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(TokenizerError, match="cannot be read"):
            tokenizer.read(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.just("char"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["kind", "characters", "merges"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON)
def test_any_json_is_a_tokenizer_or_refused(value: object) -> None:
    try:
        found = tokenizer.from_json(json.loads(json.dumps(value)))
    except TokenizerError:
        return
    assert found.decode(range(found.vocab_size))


def test_importing_it_loads_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "tiktoken", "pydantic", "platformdirs", "filelock")
    code = (
        "import sys, gpt.tokenizer, gpt.corpus; gpt.corpus.known(); "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    output = subprocess.run(
        (sys.executable, "-c", code),
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert output.stdout.strip() == "[]"
