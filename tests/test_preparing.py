"""Preparing a corpus that is interrupted, in every way there is: nothing half-done counts."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PLAY, finish, half_done, prepared, text_of

from gpt import corpus, textfiles
from gpt.control import Stopped
from gpt.corpus import CorpusError
from gpt.events import Notice
from gpt.sources import Pace


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
def test_a_full_disk_is_told(
    cache_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpus.tokenfiles, "VAL", "/dev/full")  # joined to any folder: itself
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
from gpt import corpus, textfiles
textfiles.PIECE_BYTES = 4096

def check():
    if list(Path(sys.argv[2]).glob("corpora/*.part/train.bin")):
        print("in the middle", flush=True)
        sys.stdin.readline()

work = corpus.prepare(sys.argv[1], check)
while True:
    try:
        print(next(work).text, flush=True)
    except StopIteration as end:
        print(end.value.folder)
        break
"""


def start_preparing(path: Path, cache_dir: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        (sys.executable, "-c", PREPARING, str(path), str(cache_dir)),
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

        folder, _ = first.communicate("\n" * 1000)
        _, found = finish(waiting)

    assert folder.splitlines()[-1] == str(found.folder)
    assert text_of(found) == PLAY
