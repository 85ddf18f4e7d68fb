"""Copying: the system's clipboard program, the terminal's own way, and always a file."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from textual.app import App

from gpt.text import visible

SECONDS = 3.0
OSC_52_LIMIT = 74_994
"""Bytes that terminals take at least; a longer text goes the other ways."""


async def offer(app: App[Any], text: str, name: str, folders: Iterable[Path]) -> str:
    """Copy a text in every way there is, into a file of this name too; what was done, in words."""
    path = write(text, name, folders)
    if len(text.encode(errors="replace")) <= OSC_52_LIMIT:
        app.copy_to_clipboard(text)
    program = await asyncio.to_thread(copy, text)
    told = f"copied with {program}" if program else "copied, where the terminal allows it"
    return f"{told}\n{visible(str(path))}" if path else told


def programs() -> list[list[str]]:
    """The clipboard programs that are installed and have a display to talk to."""
    found: list[list[str]] = []
    if os.environ.get("WAYLAND_DISPLAY"):
        found.append(["wl-copy"])
    if os.environ.get("DISPLAY"):
        found += [["xclip", "-selection", "clipboard"], ["xsel", "--clipboard", "--input"]]
    found += [["pbcopy"], ["clip.exe"]]
    return [command for command in found if shutil.which(command[0])]


def copy(text: str) -> str | None:
    """Give the text to the first program that takes it; its name, or None."""
    for command in programs():
        # clip.exe takes UTF-16; the others take what the locale says, which is UTF-8 today.
        encoding = "utf-16" if command[0] == "clip.exe" else "utf-8"
        try:
            done = subprocess.run(
                command,
                input=text.encode(encoding, "replace"),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.returncode == 0:
            return command[0]
    return None


def write(text: str, name: str, folders: Iterable[Path]) -> Path | None:
    """Write the text to a file of this name in the first folder that takes it; its path."""
    for folder in folders:
        try:
            (folder / name).write_text(text + "\n", "utf-8", errors="replace")
        except OSError:
            continue
        return folder / name
    return None
