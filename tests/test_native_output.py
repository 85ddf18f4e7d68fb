"""Nothing but what the app draws reaches the terminal, or the browser; faults are told in words."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.seat import QUICK, ROOT, WAIT, Sit, played, sit

__all__ = ["sit"]

NOISY = played("""
    import faulthandler
    yield BEGUN
    while os.fstat(1).st_ino != os.stat(run.log if run.log.exists() else "/").st_ino:
        time.sleep(0.05)
    os.write(1, b"native out\\n")
    os.write(2, b"native err\\n")
    os.system("echo a child; echo its errors >&2")
    print("python words", flush=True)
    warnings.warn("a warning")
    faulthandler.dump_traceback(file=2)
    yield Notice(level="warning", text="all is written")
    while not control.stopping:
        control.wait(0.1)
    yield Finished(reason="stopped")
""")
NOISE = (
    "native out", "native err", "a child", "its errors", "python words", "a warning", "Thread 0x",
)  # fmt: skip


@pytest.mark.slow
def test_native_output_stays_off_the_screen(sit: Sit) -> None:
    seat = sit(code=NOISY)
    seat.shows("all is written")
    seat.signal(signal.SIGTERM)
    seat.end()
    seat.came_back()

    (log,) = seat.folder.glob("runs/*/run.log")
    for words in NOISE:
        assert words in log.read_text()
        assert words.encode() not in seat.output


def packets(stream: bytes) -> tuple[list[tuple[str, bytes]], bytes]:
    """What the protocol between the app and the server of its page carries, and what is left."""
    greeting = b"__GANGLION__\n"
    assert stream.startswith(greeting)
    rest, found = stream[len(greeting) :], []
    while len(rest) >= 5:
        kind, size = chr(rest[0]), int.from_bytes(rest[1:5], "big")
        assert kind in "DMP", rest[:200]
        found.append((kind, rest[5 : 5 + size]))
        rest = rest[5 + size :]
    return found, rest


@pytest.mark.slow
def test_native_output_stays_out_of_the_browser(tmp_path: Path) -> None:
    # Given the app as a server of web pages starts it: the protocol goes over its streams
    driver = "textual.drivers.web_driver:WebDriver"
    state = str(tmp_path / "state")
    app = subprocess.Popen(
        [sys.executable, "-c", NOISY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={**os.environ, "TEXTUAL_DRIVER": driver, "NANODECK_STATE_DIR": state,
             "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert app.stdin is not None
    assert app.stdout is not None

    # When much is written past the screen, and then the page is closed
    stream, until = b"", time.monotonic() + WAIT
    while b"all is written" not in stream:
        assert time.monotonic() < until, stream[-2000:]
        if select.select([app.stdout], [], [], 0.1)[0]:
            stream += os.read(app.stdout.fileno(), 1 << 16)
    leave = json.dumps({"type": "quit"}).encode()
    app.stdin.write(b"M" + len(leave).to_bytes(4, "big") + leave)
    app.stdin.flush()
    stream += app.stdout.read()
    app.wait(WAIT)
    app.stdin.close()
    app.stdout.close()

    # Then the stream is well-formed to its end, and has none of it
    found, rest = packets(stream)
    assert found[-1] == ("M", b'{"type": "exit"}')
    assert rest == b""
    (log,) = tmp_path.glob("runs/*/run.log")
    for words in NOISE:
        assert words in log.read_text()
        assert words.encode() not in stream


FAULT = """
from gpt import evaluate
from tui import main
from tui.figures import Figures

def fail(*_):
    raise ZeroDivisionError("a fault [bold]inside[/]")

{sabotage}
values = {values}
raise SystemExit(main.main(main.Options(preset="tiny", start=True, values=values)))
"""


@pytest.mark.slow
def test_a_fault_in_training_is_told_and_the_app_lives(sit: Sit) -> None:
    # Given a training that fails at its third evaluation
    sabotage = """
real, turns = evaluate.estimated, iter(range(9))
evaluate.estimated = lambda *given: real(*given) if next(turns) < 2 else fail()
"""
    seat = sit(code=FAULT.format(sabotage=sabotage, values={**QUICK, "eval_interval": "10"}))

    # When that happens
    seat.until(lambda: seat.has("finished"))

    # Then there are words on the screen, and a traceback in the run's log
    seat.shows("a fault [bold]inside[/]")
    (log,) = seat.folder.glob("runs/*/run.log")
    assert "Traceback" in log.read_text()
    assert "in fail" in log.read_text()
    assert b"Traceback" not in seat.output

    # And the app lives until it is left
    seat.press("q")
    assert seat.end() == 0
    seat.came_back()
    assert seat.events()[-1]["reason"] == "failed"
    assert b"Failed at step" in seat.output


@pytest.mark.slow
def test_a_fault_in_a_widget_saves_the_run_and_the_terminal(sit: Sit) -> None:
    # Given an app one of whose widgets fails while a run is under way
    sabotage = "Figures.show = lambda self, record: fail() if record.step > 20 else None"
    seat = sit(code=FAULT.format(sabotage=sabotage, values=QUICK))

    # Then it ends with an exit code of its own, words, and a whole terminal
    assert seat.end() == 1
    seat.came_back()
    assert b"Nanodeck failed: ZeroDivisionError: a fault [bold]inside[/]." in seat.output
    assert b"Traceback" not in seat.output

    # And the run is saved, the traceback in its log
    assert [event["event"] for event in seat.events()[-2:]] == ["saved", "finished"]
    assert seat.events()[-1]["reason"] == "stopped"
    (log,) = seat.folder.glob("runs/*/run.log")
    assert "Traceback" in log.read_text()
    assert f"The details are in {log}".replace(f"{seat.folder}/", "").encode() in seat.output


@pytest.mark.slow
def test_a_crash_leaves_its_trace_in_the_log_and_the_terminal_as_it_was(sit: Sit) -> None:
    seat = sit(QUICK)
    seat.trains()
    seat.until(lambda: list(seat.folder.glob("runs/*/run.log")))

    seat.signal(signal.SIGSEGV)

    assert seat.end() == -signal.SIGSEGV
    seat.shows("?1049l")
    seat.came_back()
    assert "Segmentation fault" in seat.log()
