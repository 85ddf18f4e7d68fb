"""How fast a text becomes token files, and in how much memory.

`python -m tests.bench_data [MB]` makes texts of that size (200) and one of 2 GB in a temporary
folder and prepares each in a process of its own with an empty cache, whole: read twice, hashed,
written, on the disk. Prints figures and asserts nothing. Run it with nothing else running; a minute
or two. POSIX only.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gpt import corpus
from gpt.folders import cache_folder
from gpt.named import GPT2_MERGES, NAMED
from gpt.sources import File
from tests.conftest import finish, text_of

LETTERS = str.maketrans("abcdefghijklmnopqrstuvwxyz", "абцдефгхийклмнопярстувшьжз")
LARGE = 2140
"""Megabytes: 2 GiB."""
SPACE = 4
"""Bytes on the disk for each of a text, with some to spare: itself and two for each letter."""
KIB = 1 if sys.platform == "darwin" else 1024
"""The unit in which the system tells a peak is bytes on a Mac."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One text, prepared once."""

    name: str
    megabytes: float
    seconds: float
    cpu_seconds: float
    """Of all its threads: what is left of the figure when the machine has other work."""
    peak_memory: int
    """Of the process, in bytes."""

    def __str__(self) -> str:
        return (
            f"{self.name:22} {self.megabytes:8,.0f} MB in {self.seconds:6.1f} s"
            f" ({self.cpu_seconds:.1f} s of processors)"
            f"{self.megabytes / self.seconds:8.1f} MB/s{self.peak_memory / 1e6:8,.0f} MB of memory"
        )


def measure(megabytes: float) -> Iterator[Figures]:
    """Prepare a text in characters, one in other letters than ASCII, one in byte pairs, and a
    large one where the temporary folder has room for it. Each is deleted before the next.
    """
    _, shakespeare = finish(corpus.prepare("shakespeare_char"))
    play = text_of(shakespeare)
    other = play.translate(LETTERS)
    merges = _merges()
    for name, text, kind, size in (
        ("characters, ASCII", play, "char", megabytes),
        ("characters, Cyrillic", other, "char", megabytes),
        ("GPT-2's byte pairs", play, "gpt2", megabytes),
        ("characters, 2 GiB", play, "char", LARGE),
    ):
        if shutil.disk_usage(tempfile.gettempdir()).free < SPACE * size * 1e6:
            print(f"{name:22} left out: the temporary folder has no room for it")
            continue
        with tempfile.TemporaryDirectory() as folder:
            files = Path(folder) / "files"
            files.mkdir()
            (files / merges.name).write_bytes(merges.read_bytes())
            path = files / "text.txt"
            _fill(path, text.encode(), size)
            yield _measured(name, path, kind)


def _merges() -> Path:
    finish(corpus.gpt2_tokenizer())
    return cache_folder() / "files" / GPT2_MERGES.name


def _fill(path: Path, text: bytes, megabytes: float) -> None:
    """Write the text over and over, each time with its number, up to about that size."""
    with path.open("wb") as file:
        number = 0
        while file.tell() < megabytes * 1e6:
            number += 1
            file.write(b"%d\n" % number + text)
        os.fsync(file.fileno())


def _measured(name: str, path: Path, kind: str) -> Figures:
    words = (sys.executable, "-m", "tests.bench_data", "--prepare", str(path), kind)
    environment = {**os.environ, "NANODECK_CACHE_DIR": str(path.parent.parent)}
    output = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    seconds, cpu_seconds, peak = map(float, output.stdout.split())
    return Figures(name, path.stat().st_size / 1e6, seconds, cpu_seconds, int(peak))


def prepare(path: Path, kind: str) -> None:
    """Prepare the text in this process; print its seconds, the processors' and peak memory."""
    dataset = str(path)
    if kind == "gpt2":  # which only named corpora have
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        NAMED[dataset] = File(path.name, sha256, ()), "gpt2"
    start, worked = time.perf_counter(), time.process_time()
    finish(corpus.prepare(dataset))
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - worked
    print(seconds, cpu_seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB)


def main(words: list[str]) -> None:
    """See the module."""
    if words[:1] == ["--prepare"]:
        prepare(Path(words[1]), words[2])
        return
    with contextlib.suppress(KeyboardInterrupt):
        for figures in measure(float(words[0]) if words else 200.0):
            print(figures, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
