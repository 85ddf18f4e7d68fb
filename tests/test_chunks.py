"""Cutting a text for GPT-2: the parts have the ids of the whole, and reading goes on anywhere."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest
import tiktoken
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpt import chunks, textfiles
from gpt.textfiles import START, TextFiles
from gpt.tokenizer import GPT2Tokenizer

WORDS = st.sampled_from(
    ["a", "ab's", "'ll", "'", "12", "!?", ",", "é", "日本", "。", "😀", "<|endoftext|>", "\x1c"]
)
BLANKS = st.sampled_from([" ", "  ", "\n", "\n\n", "\t", "\r\n", "\xa0", "\u2028", "\u3000"])
TEXT = st.lists(WORDS | BLANKS | st.text(max_size=3), max_size=40).map("".join)


@given(TEXT)
@example("a \n b")
@example("!\x1c b")
@example("x\u3000\u3000y")
@settings(max_examples=300)
def test_a_text_cut_at_a_boundary_has_the_ids_of_the_whole(gpt2: GPT2Tokenizer, text: str) -> None:
    end = chunks.boundary(text)

    parts = [gpt2.encode_array(part).tolist() for part in (text[:end], text[end:])]

    assert parts[0] + parts[1] == gpt2.encode_array(text).tolist()


def test_a_boundary_is_found_wherever_a_blank_follows_a_word() -> None:
    assert chunks.boundary("to be or") == 5
    assert chunks.boundary("to be \n ") == 5
    assert chunks.boundary("日本\u3000語") == 2
    assert [chunks.boundary(text) for text in ("", "tobe", "  ", " be")] == [0, 0, 0, 0]


def test_what_the_pattern_takes_for_a_blank_is_one_here() -> None:
    """Of each character there is, seen by the very code that reads the pattern."""
    blank = tiktoken.Encoding(
        "blanks",
        pat_str=r"\s",
        mergeable_ranks={bytes([byte]): byte for byte in range(256)},
        special_tokens={},
    )
    points = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]

    found = {chr(point) for point in points if blank.encode_ordinary(chr(point))}

    assert found == chunks._BLANKS


FILES = st.lists(TEXT.filter(lambda text: "\0" not in text), min_size=1, max_size=4)


@contextlib.contextmanager
def on_disk(files: list[str], piece_bytes: int, shortest: int) -> Generator[TextFiles]:
    """These files as one text, read in pieces and chunks of about these sizes."""
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setattr(textfiles, "PIECE_BYTES", piece_bytes)
        patch.setattr(chunks, "SHORTEST", shortest)
        for number, text in enumerate(files):
            Path(name, f"{number}.txt").write_bytes(text.encode())
        yield textfiles.find(Path(name))


@given(FILES, st.integers(1, 40), st.integers(0, 30))
@settings(max_examples=150)
def test_reading_goes_on_at_the_end_of_any_piece_or_chunk(
    files: list[str], piece_bytes: int, shortest: int
) -> None:
    with on_disk(files, piece_bytes, shortest) as found:
        whole = "".join(piece.text for piece in found.pieces())

        for cut in (found.pieces(), chunks.chunks(found.pieces(), START)):
            read = ""
            for piece in cut:
                read += piece.text
                rest = "".join(piece.text for piece in found.pieces(piece.end))
                assert read + rest == whole
            assert read == whole


@given(FILES, st.integers(1, 40), st.integers(0, 30))
@settings(max_examples=100)
def test_the_chunks_of_files_have_the_ids_of_their_text(
    gpt2: GPT2Tokenizer, files: list[str], piece_bytes: int, shortest: int
) -> None:
    with on_disk(files, piece_bytes, shortest) as found:
        whole = "".join(piece.text for piece in found.pieces())

        parts = [piece.text for piece in chunks.chunks(found.pieces(), START)]

        ids = [token for part in parts for token in gpt2.encode_array(part).tolist()]
        assert ids == gpt2.encode_array(whole).tolist()


def test_a_text_without_blanks_is_one_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(textfiles, "PIECE_BYTES", 10)
    monkeypatch.setattr(chunks, "SHORTEST", 0)
    (tmp_path / "text.txt").write_text("x" * 95)

    found = list(chunks.chunks(textfiles.find(tmp_path).pieces(), START))

    assert [piece.text for piece in found] == ["x" * 95]
    assert found[0].done == 95
