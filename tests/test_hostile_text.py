"""Text that steers terminals or looks like markup: shown as marks, wherever it comes from."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input

from gpt import presets
from gpt.config import Config
from gpt.control import Control
from gpt.events import Eval, Event, Finished, Notice, Phase, Progress, Sample, Saved, Started, Step
from gpt.record import Record
from gpt.runs import Journal, Run
from gpt.text import masked, visible
from tui.app import Nanodeck, Options
from tui.farewell import farewell
from tui.history import HistoryScreen
from tui.playground import PlaygroundScreen, Written
from tui.run import RunScreen
from tui.save import SaveDialog
from tui.setup import SetupScreen
from tui.status import status, title
from tui.view import View

SOAK = bool(os.environ.get("NANODECK_SOAK"))
APP = Path(__file__).parent.parent / "app.py"

STEERING = (
    "\x1b[2J",
    "\x1b[31mred\x1b[0m",
    "\x1b[?1049l",
    "\x1b[?1000h",
    "\x1b[6n",
    "\x1b[c",
    "\x1b[>q",
    "\x1b[21t",
    "\x1b[8;1;1t",
    "\x1b[1;1H",
    "\x1b[999A",
    "\x1b[4h",
    "\x1b[?25l",
    "\x1b[?2026h",
    "\x1bc",
    "\x1b7",
    "\x1b8",
    "\x1bM",
    "\x1b#8",
    "\x1b(0",
    "\x1bN",
    "\x1b=",
    "\x1b",
    "\x1b[",
    "\x1b]",
    "\x1b]0;owned\x07",
    "\x1b]0;owned\x1b\\",
    "\x1b]2;owned\x9c",
    "\x1b]4;1;?\x07",
    "\x1b]10;?\x07",
    "\x1b]52;c;b3duZWQ=\x07",
    "\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]9;note\x07",
    "\x1b]777;notify;a;b\x07",
    "\x1b]1337;File=inline=1:AAAA\x07",
    "\x1b]50;font\x07",
    "\x1b]133;C\x07",
    "\x1bP$qm\x1b\\",
    "\x1bP+q544e\x1b\\",
    "\x1b_Gf=100;AAAA\x1b\\",
    "\x1b^pm\x1b\\",
    "\x1bXsos\x1b\\",
    "\x1bPq#0;2;0;0;0\x1b\\",
    "\x1bPtmux;\x1b\x1b[2J\x1b\\",
    "\x1b%G",
    "\x1b[?69h",
    "\x1b[20h",
    "\x1b[5i",
    "\x9b2J",
    "\x9b31m",
    "\x9d0;owned\x9c",
    "\x9d8;;http://evil.example\x9clink",
    "\x90q\x9c",
    "\x98s\x9c",
    "\x9ep\x9c",
    "\x9fG\x9c",
    "\x84",
    "\x85",
    "\x88",
    "\x8d",
    "\x8e",
    "\x8f",
    "\x96",
    "\x97",
    "\x9a",
    "\x00",
    "\x01",
    "\x05",
    "\x07",
    "\x08",
    "a\x08b",
    "\x0b",
    "\x0c",
    "\r",
    "over\rwritten",
    "\x0e",
    "\x0f",
    "\x11",
    "\x13",
    "\x18",
    "\x1a",
    "\x1c",
    "\x1d",
    "\x1e",
    "\x1f",
    "\x7f",
    "\x80",
    "\t",
    "\r\n\x1b[A",
)
INVISIBLE = (
    "\u202a",
    "\u202b",
    "\u202c",
    "\u202d",
    "\u202etxt.exe",
    "\u2066",
    "\u2067",
    "\u2068",
    "\u2069",
    "\u200b",
    "\u200c",
    "\u200d",
    "\u200e",
    "\u200f",
    "\u2060",
    "\u2061",
    "\ufeff",
    "\u061c",
    "\u180e",
    "\u2028",
    "\u2029",
    "\xad",
    "\ufff9",
    "\ufffb",
    "\ufffe",
    "\uffff",
    "\U000e0001",
    "\U000e0041",
    "\ue000",
    "\U0010fffd",
    "\ufdd0",
)
MARKUP = (
    "[/]",
    "[",
    "]",
    "[[",
    "[b",
    "[bold]b[/bold]",
    "[red]r",
    "[/red]",
    "[@click=app.quit]quit[/]",
    "[@click='app.bell']x[/]",
    "[link=http://evil.example]l[/link]",
    "[link='file:///etc/passwd']l[/]",
    "[$error]e",
    "[on red]",
    "[reverse]",
    "\\[",
    "\\",
    "[not a tag",
    "[/@click]",
    "[=]",
    "[#ff]",
    "[/b][/i]",
    "[http://evil.example]",
    "[a=b c=d]",
    "[]",
    "[ ]",
    "{{x}}",
    "$foo",
    "%s%n",
    ":smile:",
    "<b>",
    "&lt;",
)
PAYLOADS = (*STEERING, *INVISIBLE, *MARKUP)
SHARE = (
    PAYLOADS if SOAK else (" ".join(PAYLOADS), "\x1b]52;c;b3duZWQ=\x07", "[@click=app.quit]q[/]")
)
FILES = PAYLOADS if SOAK else PAYLOADS[::11]

FORBIDDEN = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
"""What may steer a terminal, turn text around or hide in it. Not the line feed."""
STARTED = Started(
    step=0, max_iters=9, params=10, tokens_per_iter=4, device="cpu", dtype="float32", threads=1
)


def step(number: int) -> Step:
    return Step(
        step=number, loss=2.5, lr=1e-3, grad_norm=1.0, ms=1.0, tokens_per_s=4.0,
        mfu=None, tokens=4, seconds=1.0, memory=1,
    )  # fmt: skip


def on_disk(payload: str) -> str:
    """The payload as a part of a file's name."""
    payload = payload[:60]
    return payload.replace("/", "∕").replace("\0", "␀").encode("utf-8", "replace").decode("utf-8")


def audit(screen: Screen[Any]) -> str:
    """What is on screen; nothing in it steers the terminal or can be followed."""
    rows: list[str] = []
    for strip in screen._compositor.render_strips():
        for segment in strip:
            assert segment.control is None
            assert not FORBIDDEN.search(segment.text), repr(segment.text)
            assert "\n" not in segment.text
            if segment.style is not None:
                assert segment.style.link is None
                click = segment.style.meta.get("@click")
                assert click is None or "evil" not in str(click)
                assert click not in ("app.quit", "app.bell")
        rows.append(strip.text)
    app: App[object] = screen.app
    assert not FORBIDDEN.search(app.title + app.sub_title)
    return "\n".join(rows)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Nanodeck]:
    monkeypatch.chdir(tmp_path)
    for name in ("STATE", "CONFIG", "CACHE"):
        monkeypatch.setenv(f"NANODECK_{name}_DIR", str(tmp_path / name.lower()))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setattr(SetupScreen, "resume_measuring", lambda self: None)
    return lambda *words, **options: Nanodeck(Options(*words, **options))


async def until(pilot: Pilot[None], true: Callable[[], bool]) -> None:
    """Wait for the screen to come to this; a machine may be slow."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        await pilot.pause(0.05)
    await pilot.pause()


def spoil_presets(folder: Path) -> None:
    """A preset for each payload: in its file's name, its description and its settings."""
    import tomli_w

    folder.mkdir(parents=True)
    for number, payload in enumerate(FILES):
        settings = {"description": payload, "dataset": payload, "start": payload}
        text = tomli_w.dumps(settings).encode("utf-8", "surrogatepass")
        name = f"{number:03}{on_disk(payload)}"
        (folder / f"{name}.toml").write_bytes(text)
        if number % 8 == 0:
            (folder / f"{name} broken.toml").write_bytes(payload.encode() + b" = [")


@pytest.mark.slow
async def test_presets_from_a_stranger(make: Callable[..., Nanodeck]) -> None:
    spoil_presets(presets.user_folder())
    app = make()
    async with app.run_test(size=(160, 900 if SOAK else 200)) as pilot:
        setup = app.screen
        assert isinstance(setup, SetupScreen)
        await until(pilot, lambda: setup.furnished)
        shown = audit(setup)
        assert all(visible(text, keep="").strip() in shown for text in FILES if len(text) < 20)
        for number in range(len(FILES)) if SOAK else range(0, len(FILES), 9):
            entry = next(e for e in setup.shelf.entries if e.name.startswith(f"{number:03}"))
            setup._open(entry)
            await pilot.pause()
            audit(setup)
            setup._tell(FILES[number])
            setup.press_train()
            await pilot.pause()
            audit(setup)
            app.clear_notifications()


@pytest.mark.parametrize("payload", PAYLOADS)
def test_marks_keep_the_places_of_characters(payload: str) -> None:
    assert len(masked(payload)) == len(payload)
    assert not FORBIDDEN.search(masked(payload))
    assert not FORBIDDEN.search(visible(payload, keep=""))


async def test_saving_and_telling(make: Callable[..., Nanodeck], tmp_path: Path) -> None:
    app = make()
    async with app.run_test(size=(120, 60)) as pilot:
        for payload in SHARE:
            preset = presets.Preset(payload, tmp_path, payload, {}, shipped=False)
            app._tell(f"{payload} went wrong")
            app.push_screen(SaveDialog(Config(), preset))
            await pilot.pause()
            audit(app.screen)
            dialog = app.screen
            assert isinstance(dialog, SaveDialog)
            dialog.query_one("#save-name", Input).value = payload + "x" * 300
            dialog.action_save()
            await pilot.pause()
            audit(dialog)
            app.pop_screen()
            app.clear_notifications()


def spoil_runs(folder: Path) -> None:
    """A past run for each payload: in its name, its text, its notices and its end."""
    for number, payload in enumerate(FILES):
        run = Run(folder / f"20261122-{number:06}-{on_disk(payload)}")
        run.create(Config(dataset=payload or "x", start=payload, device="cpu"))
        journal = Journal(run)
        for event in told(payload):
            journal.append(event)
        journal.close()
        run.release()


def told(payload: str) -> list[Event]:
    """A run that says this wherever it says something."""
    return [
        Phase(name="preparing"),
        Progress(phase="preparing", done=1, total=2, unit=payload),
        Notice(level="info", text=payload),
        Started(
            step=0, max_iters=9, params=10, tokens_per_iter=4, device=payload, dtype=payload,
            threads=1,
        ),
        step(0),
        Eval(step=0, train=2.0, val=2.0, best=True),
        Saved(step=0, path=payload, kind="best"),
        Sample(step=0, prompt=payload, seed=1, text=f"{payload} and {payload}", done=True),
        Notice(level="warning", text=payload),
        Notice(level="error", text=payload),
        Finished(step=1, reason="failed", error=payload),
    ]  # fmt: skip


@pytest.mark.slow
async def test_runs_from_a_stranger(make: Callable[..., Nanodeck]) -> None:
    spoil_runs(Path("runs"))
    app = make()
    async with app.run_test(size=(160, 200)) as pilot:
        history = HistoryScreen(Path("runs"))
        app.push_screen(history)
        await until(pilot, lambda: len(history._shown) == len(FILES))
        shown = audit(history)
        assert all(visible(on_disk(text), keep="")[:20] in shown for text in FILES)
        for row in range(len(FILES)) if SOAK else range(0, len(FILES), 9):
            history.query_one("#history-table").move_cursor(row=row)  # pyright: ignore
            await pilot.pause()
            audit(history)


@pytest.mark.slow
@pytest.mark.parametrize("live", [True, False])
async def test_everything_that_a_run_says(
    live: bool, make: Callable[..., Nanodeck], tmp_path: Path
) -> None:
    app = make()
    async with app.run_test(size=(120, 50)) as pilot:
        for payload in SHARE:
            record = Record()
            view = View(payload, Run(tmp_path / on_disk(payload)), record, Config())
            view.control = Control() if live else None
            screen = RunScreen(view)
            app.push_screen(screen)
            await pilot.pause()
            for event in told(payload):
                if not live or not isinstance(event, Finished):
                    record.fold(event)
            screen.refresh_view()
            for number in (4, 5, 2):
                screen.action_pane(number)
                await pilot.pause()
                audit(screen)
            for pane in screen.panes:
                assert not FORBIDDEN.search(pane.plain_text())
            await pilot.resize_terminal(38, 12)
            await pilot.pause()
            audit(screen)
            await pilot.resize_terminal(120, 50)
            app.clear_notifications()
            app.pop_screen()
            lines = [status(view), title(view), *farewell(view)]
            assert not FORBIDDEN.search("\n".join(lines))
            assert "\n" not in title(view) + status(view)


async def test_the_playground(make: Callable[..., Nanodeck], tmp_path: Path) -> None:
    app = make()
    async with app.run_test(size=(120, 50)) as pilot:
        for payload in SHARE:
            screen = PlaygroundScreen(tmp_path / on_disk(payload))
            app.push_screen(screen)
            await pilot.pause()
            screen.query_one(Input).value = payload
            await screen.query_one("#playground-texts").mount(written := Written(payload))
            written.add(payload, note=payload)
            screen._problem(payload)
            await pilot.pause()
            audit(screen)
            app.pop_screen()


# --- real processes, at a pseudo-terminal

TERMINALS_OWN = re.compile(
    rb"\x1b\[[0-9;:?<>=]*[ -/]*[@-~]|\x1b[78=>]|\x1b\]2;([^\x00-\x1f\x7f]*)\x07"
    rb"|\x1b\]22;[a-z]*\x07|\x1b[()][0B]"
)
"""What a screen sends to draw: cursor, colours, modes, the window's title, the mouse pointer."""


def at_a_terminal(words: list[str], seconds: float = 60, keys: bytes = b"") -> bytes:
    """What a command sends to a terminal of 160 columns and 50 rows."""
    import pty
    import select
    import struct

    if sys.platform == "win32":
        pytest.skip("no pseudo-terminals")
    import fcntl
    import termios

    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "COLUMNS": "", "LINES": ""}
        os.execv(sys.executable, [sys.executable, str(APP), *words])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
    sent, end, typed = b"", time.monotonic() + seconds, not keys
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 1.5)[0]:
            if not typed and b"Train" in sent:
                os.write(terminal, keys)
                typed = True
            continue
        try:
            piece = os.read(terminal, 1 << 16)
        except OSError:
            break
        if not piece:
            break
        sent += piece
    os.close(terminal)
    os.waitpid(pid, 0)
    return sent


def plain(sent: bytes, *, screen: bool = False) -> str:
    """What was sent besides the terminal's own protocol; nothing in it may steer."""
    rest = TERMINALS_OWN.sub(b"", sent) if screen else sent.replace(b"\x1b[K", b"")
    text = rest.decode("utf-8").replace("\r\n", "\n")
    text = text.replace("\r", "") if screen or b"\x1b[K" in sent else text
    assert not FORBIDDEN.search(text), repr(FORBIDDEN.findall(text)[:20])
    return text


@pytest.mark.slow
def test_commands_at_a_terminal(make: Callable[..., Nanodeck], tmp_path: Path) -> None:
    spoil_runs(Path("runs"))
    shown = plain(at_a_terminal(["runs"]))
    assert all(visible(f"-{on_disk(p)}", keep="") in shown for p in FILES)
    for payload in SHARE:
        name = on_disk(payload)
        for words in (
            ["train", f"x{name}"],
            ["train", "tiny", f"--{name}x=1"],
            ["train", "tiny", f"--n_layer={name}"],
            ["train", "tiny", f"--dataset={name}/no"],
            ["sample", f"x{name}"],
            ["prepare", f"x{name}"],
        ):
            said = plain(at_a_terminal(words))
            assert "Traceback" not in said
            assert "nanodeck: " in said


@pytest.mark.slow
def test_what_a_model_writes_at_a_terminal(make: Callable[..., Nanodeck], tmp_path: Path) -> None:
    """A model of nothing but payloads, trained, sampled and evaluated at a real terminal."""
    corpus = tmp_path / on_disk("play\x1b[31m\u202e.txt")
    corpus.write_text("".join(p for p in PAYLOADS if p != "\0").replace("\0", "") * 30, "utf-8")
    quick = ["--max_iters=2", "--eval_interval=1", "--eval_iters=1", "--device=cpu", "--threads=1"]
    shown = plain(at_a_terminal(["train", "tiny", f"--dataset={corpus}", *quick], 120))
    assert "done" in shown
    start = "--start=a\x1b[31m"
    sampled = at_a_terminal(["sample", "last", start, "--num_samples=2", "--max_new_tokens=200"])
    assert "a␛[31m" in plain(sampled)
    assert "train loss" in plain(at_a_terminal(["eval", "last"]))
    for words in (["runs", "--json"], ["train", "tiny", f"--dataset={corpus}", *quick, "--json"]):
        lines = [line for line in plain(at_a_terminal(words, 120)).splitlines() if line[:1] == "{"]
        assert lines
        assert all(isinstance(json.loads(line), dict) for line in lines)
        assert all(line.isascii() for line in lines)
    piped = subprocess.run(
        [sys.executable, APP, "sample", "last", start, "--num_samples=1", "--device=cpu"],
        capture_output=True,
    )
    assert b"a\x1b[31m" in piped.stdout


@pytest.mark.slow
def test_the_screen_at_a_terminal(make: Callable[..., Nanodeck]) -> None:
    spoil_presets(presets.user_folder())
    spoil_runs(Path("runs"))
    sent = at_a_terminal([], keys=b"r" + b"\x1b[B" * 20 + b"\x1bq", seconds=25)
    plain(sent, screen=True)
    assert b"\x1b]8" not in sent
    assert b"\x1b]52" not in sent
    assert not any(FORBIDDEN.search(t.decode()) for t in re.findall(rb"\x1b\]2;(.*?)\x07", sent))
