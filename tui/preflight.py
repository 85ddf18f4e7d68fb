"""How long a run will take here: a program beside the screen measures, this asks it.

Nothing waits for a measurement. What was measured is kept in the cache folder, so that the next
start knows it at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt.folders import cache_folder

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from gpt.config import Config
    from gpt.estimate import Timing

PROGRAM = (sys.executable, "-P", "-m", "gpt.measure")
ANSWER_SECONDS = 120.0
KEPT = 500
UNREADABLE = "the measuring program gave no answer that can be read"
FIELDS = (
    "batch_size", "block_size", "gradient_accumulation_steps", "n_layer", "n_head", "n_embd",
    "dropout", "drop_attention", "bias", "eval_iters", "sample_interval", "max_new_tokens",
    "device", "dtype", "compile", "kernels", "threads",
    "positions", "norm", "qk_norm", "activation", "token_shift", "value_residual",
    "value_embedding", "ngram_buckets", "ngram_order", "logit_softcap", "tie_head", "optimizer",
)  # fmt: skip
"""The settings that a step's, an evaluation's or a sample's time depends on."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to measure; two that are equal take equally long."""

    line: str

    @classmethod
    def of(cls, config: Config, vocab_size: int, val_tokens: int) -> Request:
        """The request for a configuration; `val_tokens` only counts for exact evaluations."""
        values = {name: getattr(config, name) for name in FIELDS}
        exact = 0 if config.eval_iters else val_tokens
        request = {"config": values, "vocab_size": vocab_size, "val_tokens": exact}
        return cls(json.dumps(request))


class Preflight:
    """Asks the measuring program, the newest question first.

    An outcome is a `Timing`, or a text that says why there is none.

    Args:
        report: called in the event loop when an outcome is there.
        program: the command that runs the measuring program; without one nothing is measured.
    """

    def __init__(self, report: Callable[[Request], None], program: Sequence[str] = PROGRAM) -> None:
        self._report = report
        self._program = program
        self._kept = Kept()
        self._fresh: dict[Request, Timing | str] = {}
        self._newest: Request | None = None
        self._others: list[Request] = []
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None

    def outcome(self, request: Request) -> Timing | str | None:
        """What is known: measured since the start, else kept from an earlier one, else None."""
        return self._fresh.get(request) or self._kept.get(request)

    def show(self, request: Request, outcome: Timing | str) -> None:
        """Take an outcome in and report it."""
        self._fresh[request] = outcome
        self._report(request)

    def ask(self, request: Request) -> None:
        """Measure this next, unless that was done since the start. Returns at once."""
        self._newest = None if request in self._fresh else request
        self._asked.set()

    def ask_also(self, requests: Iterable[Request]) -> None:
        """Measure these when there is nothing newer, unless they are known."""
        self._others = [request for request in requests if self.outcome(request) is None]
        self._asked.set()

    @property
    def running(self) -> bool:
        """Whether what is asked gets measured."""
        return self._task is not None

    def start(self) -> None:
        """Measure what is asked from now on."""
        if self._task is None and self._program:
            self._task = asyncio.create_task(self._work())

    def stop(self) -> None:
        """End the measuring program at once; `start` goes on."""
        if self._task is not None:
            self._task.cancel()
        self._task = None
        self._kill()

    async def close(self) -> None:
        """Stop, and see the measuring program gone."""
        task, process = self._task, self._process
        self.stop()
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)
        if process is not None:
            with contextlib.suppress(ConnectionError):
                await process.communicate()  # which also sees its pipes closed

    async def _work(self) -> None:
        while True:
            self._asked.clear()
            request = self._next()
            if request is None:
                await self._asked.wait()
                continue
            outcome = await self._measure(request)
            if not isinstance(outcome, str):
                if not outcome.busy:  # else the next start measures again
                    self._kept.put(request, outcome)
            elif self._process is None:
                self._others.clear()  # the program does not work: do not start it for each
            self.show(request, outcome)

    def _next(self) -> Request | None:
        if self._newest is not None:
            request, self._newest = self._newest, None
            return request
        while self._others:
            request = self._others.pop(0)
            if self.outcome(request) is None:
                return request
        return None

    async def _measure(self, request: Request) -> Timing | str:
        answer = b""
        try:
            process = await self._running()
            if process.stdin is not None and process.stdout is not None:
                process.stdin.write(request.line.encode() + b"\n")
                answer = await asyncio.wait_for(process.stdout.readline(), ANSWER_SECONDS)
        except (OSError, ValueError) as error:  # a timeout is an OSError
            self._kill()
            return f"the measuring program does not work: {str(error) or 'no answer'}"
        if not answer:
            self._kill()
            return "the measuring program ended without an answer"
        return _read(answer)

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            if process.stdin is not None:
                process.stdin.close()
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *self._program,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": python_path()},
            )
        return self._process


class Kept:
    """Timings of earlier starts on this machine, in a file of the cache folder."""

    def __init__(self) -> None:
        self.path = cache_folder() / "measurements.json"
        self._timings: dict[str, dict[str, Any]] | None = None

    def get(self, request: Request) -> Timing | None:
        """The timing of this request, if there is one."""
        found = self._read().get(self._key(request))
        return None if found is None else as_timing(found)

    def put(self, request: Request, timing: Timing) -> None:
        """Keep a timing, where the folder can be written."""
        timings, key = self._read(), self._key(request)
        timings.pop(key, None)
        timings[key] = asdict(timing)
        for old in list(timings)[:-KEPT]:
            del timings[old]
        part = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(timings, indent=1), "utf-8")
            part.replace(self.path)

    def _read(self) -> dict[str, dict[str, Any]]:
        if self._timings is None:
            self._timings = {}
            with contextlib.suppress(
                OSError, ValueError, TypeError, AttributeError, RecursionError
            ):
                found: dict[str, dict[str, Any]] = json.loads(self.path.read_text("utf-8"))
                self._timings = {key: dict(fields) for key, fields in found.items()}
        return self._timings

    def _key(self, request: Request) -> str:
        return f"{platform.node()} {os.cpu_count()} {request.line}"


def _read(answer: bytes) -> Timing | str:
    try:
        fields = json.loads(answer)
        error = fields.pop("error")
    except (ValueError, TypeError, AttributeError, KeyError):
        return UNREADABLE
    timing = None if error else as_timing(fields)
    return timing or str(error or UNREADABLE)


def as_timing(found: Mapping[str, Any]) -> Timing | None:
    """The timing that JSON data are, unless they are of another version, or spoilt."""
    from pydantic import ValidationError

    try:
        timing = _timings().validate_python(found)
    except ValidationError:
        return None
    seconds = (value for value in asdict(timing).values() if isinstance(value, float))
    return timing if all(map(math.isfinite, seconds)) else None


@cache
def _timings() -> TypeAdapter[Timing]:
    from pydantic import TypeAdapter

    from gpt.estimate import Timing

    return TypeAdapter(Timing)


def python_path() -> str:
    """Where the program finds this very package, from whatever folder it is started."""
    own = str(Path(__file__).parent.parent)
    return os.pathsep.join(filter(None, [own, os.environ.get("PYTHONPATH")]))
