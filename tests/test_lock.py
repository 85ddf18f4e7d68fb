"""One writer: what several processes do at the same time."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path

import pytest
import soak
from conftest import PLAY, text_of
from conftest import prepared as prepare_here

from gpt.config import Config
from gpt.runs import Run, RunError


class Contender:
    """One process of `tests/contending.py`."""

    def __init__(self, what: str, path: Path) -> None:
        self.process = subprocess.Popen(
            (sys.executable, "-m", "tests.contending", what, str(path)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=soak.ROOT,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def said(self) -> dict[str, str]:
        return json.loads(self.line())

    def end(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self.process.communicate("\n", timeout=60)


@contextlib.contextmanager
def at_once(what: str, path: Path, count: int) -> Generator[list[Contender]]:
    """So many processes that have begun to do something at the same time."""
    contenders = [Contender(what, path) for _ in range(count)]
    try:
        for contender in contenders:
            assert contender.line() == "ready\n"
        for contender in contenders:
            contender.go()
        yield contenders
    finally:
        for contender in contenders:
            contender.end()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "runs" / "one")
    run.create(Config())
    run.release()
    return run


def test_a_run_that_another_process_trains_is_refused_with_who_that_is(run: Run) -> None:
    with at_once("hold", run.path, 1) as (holder,):
        assert holder.said() == {"did": "one"}
        assert run.is_live()
        with pytest.raises(RunError, match=f"trained by process {holder.pid} on this machine"):
            run.hold()
        # Being refused takes nothing from who has it.
        assert run.is_live()
        with pytest.raises(RunError, match=f"process {holder.pid} "):
            Run(run.path).hold()
    assert not run.is_live()
    run.hold()
    run.release()


def test_the_same_program_is_refused_too(run: Run) -> None:
    run.hold()
    with pytest.raises(RunError, match="one is being trained by this very program"):
        Run(run.path).hold()
    run.release()
    Run(run.path).hold()


def test_who_holds_it_on_another_machine_is_told_and_made_harmless(run: Run) -> None:
    run.hold()
    told = json.loads((run.path / "lock.json").read_text())
    assert told == {"pid": os.getpid(), "host": socket.gethostname()}
    (run.path / "lock.json").write_text(json.dumps({"pid": 7, "host": "far\x1b]0;away\x07"}))
    with pytest.raises(RunError, match="by process 7 on far\u241b"):
        Run(run.path).hold()
    for garbage in ("[]", "[" * 9999):
        (run.path / "lock.json").write_text(garbage)
        with pytest.raises(RunError, match="by another process"):
            Run(run.path).hold()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_the_lock_of_a_killed_process_is_free(run: Run) -> None:
    with at_once("hold", run.path, 1) as (holder,):
        assert holder.said() == {"did": "one"}
        holder.process.kill()
        holder.process.wait()
        # It could not clean up, and what it left says nothing.
        assert (run.path / "lock.json").exists()
        assert not run.is_live()
        run.hold()
        assert json.loads((run.path / "lock.json").read_text())["pid"] == os.getpid()
        run.release()
        assert not (run.path / "lock.json").exists()


def test_a_lock_can_be_given_up_by_another_thread(run: Run) -> None:
    run.hold()
    # Kept, so that it is not the garbage collector that gives it up.
    lock = run._lock
    thread = threading.Thread(target=run.release)
    thread.start()
    thread.join()
    assert not run.is_live()
    del lock


LOOKER = """
import sys
from pathlib import Path
from gpt.runs import Run
run = Run(Path(sys.argv[1]))
run.is_live()
print("ready", flush=True)
while True:
    run.is_live()
"""


def test_who_only_looks_does_not_keep_anybody_out(run: Run) -> None:
    command = (sys.executable, "-c", LOOKER, str(run.path))
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=soak.ROOT) as looker:
        assert looker.stdout is not None
        looker.stdout.readline()
        try:
            for _ in range(150):
                run.hold()
                run.release()
        finally:
            looker.kill()


def test_runs_of_the_same_second_get_folders_of_their_own(tmp_path: Path) -> None:
    count = soak.share(16, 3)
    with at_once("create", tmp_path / "runs", count) as contenders:
        names = {contender.said()["did"] for contender in contenders}
        assert len(names) == count
        assert all(Run(tmp_path / "runs" / name).is_live() for name in names)
    first = "20261122-143015-tiny"
    assert names == {first, *(f"{first}-{number}" for number in range(2, count + 1))}
    assert all(Run(tmp_path / "runs" / name).config() == Config() for name in names)


def test_of_several_that_want_the_same_folder_one_gets_it(tmp_path: Path) -> None:
    with at_once("exact", tmp_path / "out", 3) as contenders:
        said = [contender.said() for contender in contenders]
        pids = [c.pid for c, told in zip(contenders, said, strict=True) if "did" in told]
    assert len(pids) == 1
    refusals = [told["refused"] for told in said if "refused" in told]
    assert len(refusals) == 2
    assert all(f"process {pids[0]} " in text or "holds a run" in text for text in refusals)


def test_several_that_prepare_one_text_all_get_it_whole(cache_dir: Path, tmp_path: Path) -> None:
    text = tmp_path / "play.txt"
    text.write_text(PLAY)
    for _ in range(soak.share(10, 1)):
        with at_once("prepare", text, 3) as contenders:
            assert [contender.said() for contender in contenders] == [{"did": PLAY}] * 3
        assert text_of(prepare_here(text)) == PLAY
        left = {path.name for path in (cache_dir / "corpora").iterdir() if path.is_dir()}
        assert len(left) == 1
        assert not any(name.endswith(".part") for name in left)
