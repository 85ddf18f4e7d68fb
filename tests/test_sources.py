"""Fetching: real servers on this machine, real pip, and what goes wrong with either."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest
from conftest import finish

from gpt import sources
from gpt.control import Control, Stopped
from gpt.events import Notice, Progress
from gpt.sources import File, Source, SourceError, Web, Wheel, fetch

CONTENT = b"All the world's a stage,\n" * 4000


class Server:
    """An HTTP server whose every answer is given by `answer`; `asked` is set by a request."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.go_on = threading.Event()
        self.answer: Callable[[BaseHTTPRequestHandler], None] = self.give(CONTENT)
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.set()
                server.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def give(self, content: bytes, status: int = 200, promised: int | None = None):
        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            request.send_header("Content-Length", str(promised or len(content)))
            request.end_headers()
            request.wfile.write(content)

        return answer

    def be_silent(self, request: BaseHTTPRequestHandler) -> None:
        self.go_on.wait()

    def close(self) -> None:
        self.go_on.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def local_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index of one wheel on this disk, for a real pip."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    info = "stage-1.0.dist-info"
    with zipfile.ZipFile(folder / "stage-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("stage/text.txt", CONTENT)
        wheel.writestr("stage/__init__.py", "raise SystemExit('this must never run')")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: stage\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def pips() -> list[psutil.Process]:
    """What this process has started and not ended that looks like pip."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "pip" in child.cmdline()]


def wanted(*sources: Source) -> File:
    return File("stage.txt", hashlib.sha256(CONTENT).hexdigest(), sources)


def test_a_file_is_downloaded_and_kept(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "files" / "stage.txt"

    events, _ = finish(fetch(wanted(Web(server.url)), path))

    assert [event.text for event in events] == [f"fetching stage.txt: {server.url}"]
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_is_there_is_not_fetched(tmp_path: Path) -> None:
    path = tmp_path / "stage.txt"
    path.write_bytes(CONTENT)

    events, _ = finish(fetch(wanted(), path))

    assert events == []


def test_a_damaged_file_is_fetched_again(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "stage.txt"
    path.write_bytes(CONTENT[:-1] + b"?")

    finish(fetch(wanted(Web(server.url)), path))

    assert path.read_bytes() == CONTENT


def test_a_download_tells_how_far_it_is(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources.Pace, "SECONDS", 0)

    def answer(request: BaseHTTPRequestHandler) -> None:
        server.give(CONTENT[:60_000], promised=len(CONTENT))(request)
        server.go_on.wait()
        request.wfile.write(CONTENT[60_000:])

    server.answer = answer
    seen: list[tuple[float, float | None]] = []
    for event in fetch(wanted(Web(server.url)), tmp_path / "stage.txt"):
        if isinstance(event, Progress):
            seen.append((event.done, event.total))
        if seen and seen[-1] == (0.1, 0.1):
            server.go_on.set()

    assert (0.1, 0.1) in seen
    assert (tmp_path / "stage.txt").read_bytes() == CONTENT


def test_the_next_source_is_tried_when_one_fails(
    server: Server, local_index: Path, tmp_path: Path
) -> None:
    server.answer = server.give(b"", status=404)
    web, wheel = Web(server.url), Wheel("stage==1.0", "stage/text.txt")
    path = tmp_path / "stage.txt"

    events, _ = finish(fetch(wanted(web, wheel), path))

    assert path.read_bytes() == CONTENT
    notices = [(event.level, event.text) for event in events if isinstance(event, Notice)]
    assert notices == [
        ("info", f"fetching stage.txt: {web}"),
        ("info", "that failed: the server said 404 Not Found"),
        ("info", "fetching stage.txt: stage/text.txt in the package stage==1.0"),
    ]


def test_a_wrong_content_is_refused_with_both_hashes(server: Server, tmp_path: Path) -> None:
    server.answer = server.give(b"something else")
    file = wanted(Web(server.url))

    with pytest.raises(SourceError) as error:
        finish(fetch(file, tmp_path / "stage.txt"))

    assert server.url in str(error.value)
    assert file.sha256 in str(error.value)
    assert hashlib.sha256(b"something else").hexdigest() in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_every_failure_is_told(server: Server, local_index: Path, tmp_path: Path) -> None:
    server.answer = server.give(CONTENT[:1000], promised=len(CONTENT))
    closed = Server()
    closed.close()
    file = wanted(
        Web(server.url),
        Web(closed.url),
        Web("http://[bad"),
        Wheel("stage==1.0", "stage/none.txt"),
        Wheel("stage==2.0", "stage/text.txt"),
    )

    with pytest.raises(SourceError) as error:
        finish(fetch(file, tmp_path / "stage.txt"))

    message = str(error.value)
    assert "broke off after 1,000 of 100,000 bytes" in message
    assert f"{closed.url}: Connection refused" in message
    assert "http://[bad: Invalid IPv6 URL" in message
    assert "the package has no file stage/none.txt" in message
    assert "No matching distribution found for stage==2.0" in message
    assert not (tmp_path / "stage.txt").exists()


def test_a_server_that_never_comes_to_the_point_is_given_up(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "PATIENCE", 0.1)

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not server.go_on.wait(0.02):
            request.wfile.write(b"Patience: please\r\n")

    server.answer = answer

    with pytest.raises(SourceError, match="no answer for"):
        finish(fetch(wanted(Web(server.url)), tmp_path / "stage.txt"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no full device here")
def test_a_full_disk_leaves_nothing_behind(server: Server, tmp_path: Path) -> None:
    (tmp_path / "stage.txt.part").symlink_to("/dev/full")

    with pytest.raises(OSError, match="No space left"):
        finish(fetch(wanted(Web(server.url)), tmp_path / "stage.txt"))

    assert list(tmp_path.iterdir()) == []


def test_an_endless_download_is_cut(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "MAX_BYTES", 1 << 12)

    with pytest.raises(SourceError, match="larger than"):
        finish(fetch(wanted(Web(server.url)), tmp_path / "stage.txt"))


@pytest.mark.parametrize("kind", ["web", "wheel"])
def test_a_fetch_can_be_stopped_while_nothing_comes(
    kind: str,
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.answer = server.be_silent
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    source = Web(server.url) if kind == "web" else Wheel("stage==1.0", "stage/text.txt")
    control = Control()

    def check() -> None:
        if server.asked.is_set():
            control.stop()
        control.check()

    with pytest.raises(Stopped):
        finish(fetch(wanted(source), tmp_path / "stage.txt", check))

    assert pips() == []
    assert list(tmp_path.iterdir()) == []


def test_pip_that_never_ends_is_ended(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer = server.be_silent
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple")
    monkeypatch.setattr(sources, "PIP_PATIENCE", 0.1)

    with pytest.raises(SourceError, match="pip did not finish"):
        finish(fetch(wanted(Wheel("stage==1.0", "stage/text.txt")), tmp_path / "stage.txt"))

    assert pips() == []


def test_a_python_without_pip_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import venv

    venv.create(tmp_path / "bare", with_pip=False)
    monkeypatch.setattr(sys, "executable", str(next(tmp_path.glob("bare/*/python"))))

    with pytest.raises(SourceError, match="no pip"):
        finish(fetch(wanted(Wheel("stage==1.0", "stage/text.txt")), tmp_path / "stage.txt"))
