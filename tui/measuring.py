"""A measurement under way: the program `gpt.bench` beside the screen, started, heard and ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from gpt.errors import Refused
from gpt.events import Event, from_json
from gpt.figures import Figures, from_dict
from tui.preflight import python_path

if TYPE_CHECKING:
    from gpt.config import Config

PROGRAM = (sys.executable, "-P", "-m", "gpt.bench")
CLOSING_SECONDS = 3.0
"""How long the program may take to end before it is killed. It takes one of them itself, and more
on a busy machine."""
LONGEST = 1 << 20
"""Bytes of a line that are read."""


class Measuring:
    """One configuration being measured, in a process that can be ended at any moment.

    Attributes:
        stopped: whether it was asked to end.
    """

    def __init__(self, config: Config) -> None:
        self._request = json.dumps(config.model_dump())
        self._process: asyncio.subprocess.Process | None = None
        self.stopped = False

    async def told(self) -> AsyncIterator[Event | Figures]:
        """The events of the measurement, at the end its figures; nothing more once stopped.

        Raises:
            Refused: why there are no figures, in words.
        """
        try:
            process = self._process = await self._start()
            if process.stdin is None or process.stdout is None or self.stopped:
                return
            process.stdin.write(self._request.encode() + b"\n")
            async for line in process.stdout:
                item = _read(line)
                if item is not None and not self.stopped:
                    yield item
                if isinstance(item, Figures):
                    return
            code = await process.wait()
        except OSError as error:
            raise Refused(f"The measuring program does not work: {error.strerror}.") from None
        if not self.stopped:
            raise Refused(f"The measuring program {_ending(code)}, without figures.")

    def stop(self) -> None:
        """Ask it to end, which it does at once where it polls, else a second later."""
        self.stopped = True
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    async def close(self) -> None:
        """Stop, and see the program gone."""
        self.stop()
        process = self._process
        if process is None:
            return
        try:
            await asyncio.wait_for(process.wait(), CLOSING_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _start(self) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *PROGRAM,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LONGEST,
            env={**os.environ, "PYTHONPATH": python_path()},
        )


def _read(line: bytes) -> Event | Figures | None:
    """What a line says; None for what something else wrote there.

    Raises:
        Refused: it says why there are no figures.
    """
    try:
        record = json.loads(line)
        if "figures" in record:
            return from_dict(record["figures"])
        error = None if "event" in record else record["error"]
        if error is None:
            return from_json(line.decode())
    except (ValueError, TypeError, KeyError):
        return None
    raise Refused(str(error))


def _ending(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
