"""UTF-8 as numbers: in C and by Python's decoder alike, and what is no UTF-8 is refused."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpt import utf8
from gpt.native import library as native
from gpt.utf8 import POINTS, Passage

needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or not any(map(shutil.which, native.COMPILERS)),
    reason="the kernels need Linux and a C compiler",
)
# Also long enough for what goes 32 bytes at once, with letters of one and two bytes, and of more.
LONG = [st.text(st.sampled_from(letters), min_size=40, max_size=200)
        for letters in ("a \nжß", "abcdefghijk日\uffff", "aж、😀\U0010ffff")]  # fmt: skip
TEXT = st.text(max_size=80) | st.one_of(LONG) | st.tuples(*LONG).map("".join)
# Any bytes, and such as are nearly UTF-8.
NEARLY = st.lists(
    st.sampled_from([b"a", "ж".encode(), "日".encode(), "😀".encode()]) | st.binary(max_size=2),
    max_size=40,
).map(b"".join)
EDGES = [b"\xc0\x80", b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xf0\x8f\xbf\xbf",
         b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xff", b"\x80", b"\xc2", b"\xe1\x80",
         b"\xf1\x80\x80", b"\xe1\x80\x80\x80", b"\xed\x9f\xbf", b"\xee\x80\x80",
         b"\xf4\x8f\xbf\xbf", b"\xf0\x90\x80\x80", b"\xc2\x80", b"\xe0\xa0\x80"]  # fmt: skip

ALIKE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
"""The fixture is the same for all examples."""


@pytest.fixture(params=["c", "python"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to do it."""
    if request.param == "python":
        monkeypatch.setattr(utf8, "_kernel", lambda: None)
    elif utf8._kernel() is None:
        pytest.skip("the kernel cannot be had here")
    return request.param


@needs_compiler
def test_the_kernel_is_there() -> None:
    assert utf8._kernel() is not None


@given(text=TEXT, wide=st.booleans())
@ALIKE
def test_each_character_is_looked_up(way: str, text: str, wide: bool) -> None:
    table = np.arange(POINTS, dtype=np.uint32) * 7
    table = table if wide else table.astype(np.uint16)

    passage = Passage.of(text.encode())

    expected = [int(table[ord(character)]) for character in text]
    assert passage.look_up(table).tolist() == expected
    assert (passage.length, passage.text) == (len(text), text)


@given(texts=st.lists(TEXT, max_size=3))
@ALIKE
def test_the_characters_of_texts_are_found(way: str, texts: list[str]) -> None:
    seen = np.zeros(POINTS, np.bool_)

    for text in texts:
        Passage.of(text.encode()).mark(seen)

    assert {chr(point) for point in np.flatnonzero(seen)} == set("".join(texts))


@given(raw=st.binary(max_size=80) | NEARLY)
@ALIKE
def test_what_is_utf8_is_what_python_says(way: str, raw: bytes) -> None:
    assert outcome(lambda: Passage.of(raw).length) == outcome(lambda: len(raw.decode()))


@pytest.mark.parametrize("edge", EDGES, ids=bytes.hex)
@pytest.mark.parametrize("before", [0, 1, 29, 30, 31, 70])
@pytest.mark.parametrize("after", [0, 1, 40])
def test_the_edges_of_utf8_are_pythons(way: str, edge: bytes, before: int, after: int) -> None:
    raw = b"x" * before + edge + b"y" * after

    assert outcome(lambda: Passage.of(raw).length) == outcome(lambda: len(raw.decode()))


def outcome(work: Callable[[], int]) -> int | tuple[int, int]:
    """What is found, or where the bytes are wrong."""
    try:
        return work()
    except UnicodeDecodeError as error:
        return error.start, error.end
