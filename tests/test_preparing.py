"""Preparing a corpus that is interrupted, in every way there is: nothing half-done counts."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from concurrent.futures import Executor, Future
from pathlib import Path

import pytest
from conftest import PLAY, finish, half_done, prepared, text_of
from filelock import FileLock

from gpt import cache, chunks, corpus, scan, textfiles, unfinished
from gpt.control import Stopped
from gpt.corpus import CorpusError
from gpt.events import Notice
from gpt.sources import File, Pace
from gpt.tokenizer import GPT2_MERGES_SHA256, GPT2Tokenizer, Kind


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
def test_a_full_disk_is_told(
    cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfinished, "VAL", "/dev/full")  # joined to any folder: itself
    (tmp_path / "play.txt").write_text(PLAY)

    with pytest.raises(CorpusError, match="No space left on device"):
        prepared(tmp_path / "play.txt")

    assert half_done(cache_dir) == []


def test_a_text_that_changes_while_it_is_read_is_refused(cache_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "play.txt"
    path.write_text(PLAY)
    checks = iter([None, None, lambda: path.write_text(PLAY.upper())])

    def check() -> None:
        if action := next(checks, None):
            action()

    with pytest.raises(CorpusError, match="changed while it was read"):
        finish(corpus.prepare(str(path), check))

    assert half_done(cache_dir) == []


def test_stopping_at_any_point_leaves_nothing(
    cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(textfiles, "PIECE_BYTES", 4096)
    path = tmp_path / "play.txt"
    path.write_text(PLAY)

    for allowed in range(1000):
        checks = iter(range(allowed))

        def check(checks=checks) -> None:
            if next(checks, None) is None:
                raise Stopped

        try:
            finish(corpus.prepare(str(path), check))
        except Stopped:
            assert half_done(cache_dir) == []
            continue
        break

    assert allowed > 4
    assert text_of(prepared(path)) == PLAY


def test_closing_it_in_the_middle_leaves_nothing_locked(
    cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pace, "SECONDS", 0)
    path = tmp_path / "play.txt"
    path.write_text(PLAY)
    work = corpus.prepare(str(path))
    while not list(cache_dir.glob("corpora/*.part")):
        next(work)

    work.close()

    assert half_done(cache_dir) == []
    assert text_of(prepared(path)) == PLAY


PREPARING = """
import sys
from pathlib import Path
from gpt import corpus, textfiles, unfinished
textfiles.PIECE_BYTES = 256
unfinished.SETTLE_BYTES = 1

def check():
    if list(Path(sys.argv[2]).glob(f"corpora/*.part/{sys.argv[3]}")):
        print("in the middle", flush=True)
        sys.stdin.readline()

work = corpus.prepare(sys.argv[1], check)
while True:
    try:
        event = next(work)
        if hasattr(event, "text"):
            print(event.text, flush=True)
    except StopIteration as end:
        print(end.value.folder)
        break
"""


def start_preparing(path: Path, cache_dir: Path, until: str = "train.bin") -> subprocess.Popen[str]:
    """Prepare in another process, which waits for a line when the file `until` is there."""
    return subprocess.Popen(
        (sys.executable, "-c", PREPARING, str(path), str(cache_dir), until),
        cwd=Path(__file__).parent.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_process_killed_in_the_middle_does_no_harm(cache_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "play.txt"
    path.write_text(PLAY)
    with start_preparing(path, cache_dir) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in the middle\n"
        process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))

    assert corpus.peek(str(path)) is None
    assert text_of(prepared(path)) == PLAY
    assert list(cache_dir.rglob("*.part")) == []


def test_a_killed_process_is_gone_on_with(
    cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "play.txt"
    path.write_text(PLAY * 100 + "é\n")
    with start_preparing(path, cache_dir, unfinished.RECORD) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in the middle\n"
        process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    (part,) = cache_dir.glob("corpora/*.part")
    with (part / "train.bin").open("ab") as file:
        file.write(b"what was written after the last record")
    assert corpus.peek(str(path)) is None

    events, found = finish(corpus.prepare(str(path)))

    notices = [event.text for event in events if isinstance(event, Notice)]
    assert "going on at" in notices[0]
    assert text_of(found) == PLAY * 100 + "é\n"
    names = {"train.bin", "val.bin", "tokenizer.json", "corpus.json"}
    assert {file.name for file in found.folder.iterdir()} == names
    assert list(cache_dir.rglob("*.part")) == []


class AtOnce(Executor):
    """Puts files on the disk before going on, so that each piece is recorded."""

    def submit(self, fn, /, *args, **kwargs):
        future = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@pytest.mark.parametrize("kind", ["char", pytest.param("gpt2", marks=pytest.mark.slow)])
def test_stopped_over_and_over_it_ends_with_the_same_files(
    kind: Kind,
    gpt2: GPT2Tokenizer,
    cache_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "".join(f"{number}. Être,\r\nou n'être  pas;\n\n" for number in range(400))
    (tmp_path / "text.txt").write_bytes(text.encode())
    file = File("text.txt", hashlib.sha256(text.encode()).hexdigest(), ())
    merges = File("merges", GPT2_MERGES_SHA256, ())
    monkeypatch.setitem(corpus.NAMED, "être", (file, kind))
    monkeypatch.setattr(corpus, "GPT2_MERGES", merges)

    def in_cache(folder: Path) -> None:
        monkeypatch.setenv("NANODECK_CACHE_DIR", str(folder))
        (folder / "files").mkdir(parents=True)
        (folder / "files/text.txt").write_bytes(text.encode())
        (folder / "files/merges").write_text(gpt2.to_json()["merges"], "utf-8", newline="\n")

    in_cache(tmp_path / "other")
    at_once = prepared("être")
    in_cache(cache_dir)
    monkeypatch.setattr(textfiles, "PIECE_BYTES", 64)
    monkeypatch.setattr(chunks, "SHORTEST", 50)
    monkeypatch.setattr(unfinished, "SETTLE_BYTES", 1)
    monkeypatch.setattr(unfinished, "ThreadPoolExecutor", lambda workers: AtOnce())
    monkeypatch.setattr(scan, "WORTH_KEEPING", 0)
    gone_on: list[str] = []
    found = None

    for attempt in range(1000):
        # Ever later until it was read once, then a little further each time.
        begun = list(cache_dir.rglob(unfinished.RECORD))
        checks = iter(range(60 if begun else 60 * attempt))

        def check(checks=checks) -> None:
            if next(checks, None) is None:
                raise Stopped

        work = corpus.prepare("être", check)
        try:
            while True:
                event = next(work)
                if isinstance(event, Notice):
                    gone_on += [word for word in event.text.split() if "%" in word]
        except Stopped:
            continue
        except StopIteration as end:
            found = end.value
            break

    assert found is not None
    shares = [int(share.rstrip("%")) for share in gone_on]
    assert shares == sorted(shares)
    assert len(set(shares)) > 2
    for name in ("train.bin", "val.bin", "tokenizer.json", "corpus.json"):
        assert (found.folder / name).read_bytes() == (at_once.folder / name).read_bytes()
    assert list(cache_dir.rglob("*.scan.json")) == []


def test_what_nobody_went_on_with_is_removed(cache_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "play.txt").write_text(PLAY)
    old, locked, new = (cache_dir / "corpora" / f"{name}.part" for name in ("old", "locked", "new"))
    for part in (old, locked, new):
        part.mkdir(parents=True)
        (part / "train.bin").write_bytes(b"123")
        if part != new:
            long_ago = part.stat().st_mtime - cache.ABANDONED_AFTER - 1
            os.utime(part, (long_ago, long_ago))

    with FileLock(locked.with_suffix(".lock")):
        prepared(tmp_path / "play.txt")

    assert [part.exists() for part in (old, locked, new)] == [False, True, True]


def test_two_processes_prepare_the_same_text_once(cache_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "play.txt"
    path.write_text(PLAY)
    with start_preparing(path, cache_dir) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "in the middle\n"
        waiting = corpus.prepare(str(path))
        notice = next(waiting)
        assert isinstance(notice, Notice)
        assert "another process" in notice.text

        folder, _ = first.communicate("\n" * 10_000)
        _, found = finish(waiting)

    assert folder.splitlines()[-1] == str(found.folder)
    assert text_of(found) == PLAY
