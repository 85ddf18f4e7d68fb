"""TOML files, flags and nanoGPT's configuration files of any shape: an answer in words, soon."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from gpt import cli, presets
from gpt.arguments import Arguments
from gpt.config import Config
from gpt.errors import Refused
from gpt.text import visible
from tui.draft import Draft

SOAK = bool(os.environ.get("NANODECK_SOAK"))
TIMES = 3_500 if SOAK else 60
"""Cases of each of three kinds."""
SLOW = 1.0
LONGEST = 60_000
NAMES = tuple(Config.model_fields)
APP = Path(__file__).parent.parent / "app.py"

ODD = (
    "",
    " ",
    "nan",
    "-nan",
    "inf",
    "-inf",
    "+inf",
    "1e999",
    "1e308",
    "-1e-400",
    "0x10",
    "0b1",
    "1_000",
    "1__0",
    "١٢٣",
    "９",
    "½",
    "--5",
    "-",
    "+",
    ".",
    "1.",
    ".5",
    "1e",
    "true",
    "True",
    "TRUE",
    "yes",
    "null",
    "None",
    "[1]",
    "[]",
    "{}",
    "{a=1}",
    "[[[]]]",
    '"',
    '""',
    '"a',
    "'a'",
    '"""',
    "1979-05-27",
    "1979-05-27T07:32:00Z",
    "07:32:00",
    "9" * 4_000,
    "9" * 5_000,
    "-" + "9" * 4_301,
    "0x" + "f" * 5_000,
    "0o" + "7" * 9_000,
    "0b" + "1" * 20_000,
    "1." + "0" * 5_000 + "1",
    "9e" + "9" * 300,
    "\x00",
    "\x1b[31m",
    "\x1b]0;title\x07",
    "\x9b2J",
    "\u202e",
    "\u2028",
    "\x85",
    "\ufeff",
    "\t",
    "\r",
    "\n",
    "a\nb",
    "\\",
    "\\u0000",
    "\\ud800",
    "é",
    "𝄞",
    "a" * 300,
    "auto",
    "cpu",
    "cuda:0",
    "cuda:999999999999",
    "cuda:" + "9" * 5_000,
    "shakespeare_char",
    "[/]",
    "[@click=app.quit]x[/]",
    "${HOME}",
    "%s%n",
    "{0}",
    "FILE:/dev/zero",
    "=",
    "#",
    "a=1",
    "../../x",
    "/",
    "~",
    "~nobody",
    "CON",
)


def odd(chance: Random) -> str:
    """A value that someone might write, or several run together, or noise."""
    match chance.randrange(8):
        case 0:
            return "".join(chr(chance.randrange(0x20, 0x3000)) for _ in range(chance.randrange(9)))
        case 1:
            return str(chance.choice((1, -1)) * 10 ** chance.randrange(30))
        case 2:
            return repr(chance.uniform(-2, 2) * 10.0 ** chance.randrange(-300, 300))
        case 3:
            return chance.choice(ODD) + chance.choice(ODD)
        case 4:
            return chance.choice(ODD) * chance.choice((2, 50, 1_000))
        case _:
            return chance.choice(ODD)


def key(chance: Random) -> str:
    match chance.randrange(6):
        case 0:
            return odd(chance)[:LONGEST]
        case 1:
            name = list(chance.choice(NAMES))
            name[chance.randrange(len(name))] = chance.choice("abz_-. ")
            return "".join(name)
        case _:
            return chance.choice(NAMES)


def toml(chance: Random) -> bytes:
    """A file that is nearly TOML."""
    lines: list[str] = []
    for _ in range(chance.choice((1, 1, 2, 5, 40))):
        name, value = key(chance), odd(chance)
        lines.append(
            chance.choice(
                (
                    f"{name} = {value}",
                    f"{name} = {value}",
                    f'{name} = "{value}"',
                    f"{name} = '{value}'",
                    f'"{name}" = {value}',
                    f"{name}.{name} = {value}",
                    f"[{name}]",
                    f"[[{name}]]",
                    f"{name} = [{value}, {value}]",
                    f"{name} = {{ a = {value} }}",
                    f"{name} = {'[' * chance.choice((1, 50, 5_000))}",
                    f"{name} = " + "{a=" * chance.choice((1, 50, 5_000)),
                    f"{'a.' * chance.choice((1, 50, 5_000))}a = 1",
                    f"description = {value}",
                    "#" * chance.choice((1, LONGEST)),
                )
            )
        )
    raw = chance.choice(("\n", "\r\n", "\r", "\n\n")).join(lines).encode("utf-8", "surrogatepass")
    return _spoilt(raw, chance)


def nanogpt(chance: Random) -> bytes:
    """A file that is nearly a configuration of nanoGPT."""
    depth = chance.choice((1, 50, 3_000, 30_000))
    lines: list[str] = []
    for _ in range(chance.choice((1, 1, 2, 5, 60))):
        name, value = key(chance), odd(chance)
        lines.append(
            chance.choice(
                (
                    f"{name} = {value}",
                    f"{name} = {value}",
                    f"{name} = {value!r}",
                    f"{name} = {name} * {name}",
                    f"{name} = 10 ** {value}",
                    "batch_size = 9999999999\n" + "batch_size = batch_size * batch_size\n" * 60,
                    f"{name} = 1 / 0",
                    f"{name} = 1e308 * 10",
                    f"{name} = 'a' * 1000000000",
                    f"{name} = {'(' * depth}1{')' * depth}",
                    f"{name} = {'-' * depth}1",
                    f"{name} = {'~' * depth}1",
                    f"{name} = 1{'+1' * depth}",
                    f"{name} = {'[' * depth}",
                    f"{name} = __import__('os').system('true')",
                    f"{name} = other = {value}",
                    f"{name}: int = {value}",
                    f"import {name}",
                    f"if True:\n    {name} = {value}",
                    f"def f():\n  return {value}",
                    f"{name} = lambda: {value}",
                    f"{name} = f'{{{value}}}'",
                    f"#{value}",
                )
            )
        )
    return _spoilt("\n".join(lines).encode("utf-8", "surrogatepass"), chance)


def _spoilt(raw: bytes, chance: Random) -> bytes:
    """The same, at times with a byte order mark, torn, in another encoding or with noise in it."""
    match chance.randrange(12):
        case 0:
            return b"\xef\xbb\xbf" + raw
        case 1:
            return raw[: chance.randrange(len(raw) + 1)]
        case 2:
            place = chance.randrange(len(raw) + 1)
            return raw[:place] + bytes([chance.randrange(256)]) + raw[place:]
        case 3:
            return raw.decode("utf-8", "replace").encode("utf-16")
        case _:
            return raw


def flags(chance: Random) -> list[str]:
    """The rest of a command line."""
    words: list[str] = []
    for _ in range(chance.choice((1, 1, 2, 5, 40))):
        name, value = key(chance), odd(chance)
        words.append(
            chance.choice(
                (
                    f"--{name}={value}",
                    f"--{name}={value}",
                    f"--{name}={value}",
                    f"--{name}",
                    f"-{name}={value}",
                    f"{name}={value}",
                    f"--{name}=={value}",
                    value,
                    "--",
                    "---",
                    f"--json={value}",
                    f"--{name} = {value}",
                    f"--{name.replace('_', '-')}={value}",
                )
            )
        )
    return words


def answer(ask: Callable[[], object]) -> str:
    """What is said; empty when it is accepted. Anything but a `Refused` is a fault."""
    try:
        ask()
    except Refused as error:
        return str(error) or "nothing"
    return ""


def read_toml(path: Path) -> None:
    """As `train` reads it, and as the form does."""
    preset = presets.read(path)
    Draft(preset.values).check()
    configure(path)


def configure(path: Path) -> None:
    """As `train` reads it, up to the point where it is a `Config`."""
    cli.configure(Arguments.split([str(path)], ("json",)))


def ask_each(kind: str, folder: Path, times: int) -> list[tuple[float, int]]:
    """Answers to so many generated cases; (seconds, number) of each that took long."""
    slow: list[tuple[float, int]] = []
    for number in range(times):
        chance = random.Random(f"{kind} {number}")
        began = time.perf_counter()
        if kind == "flags":
            words = ["tiny", *flags(chance)]
            said = answer(lambda w=words: cli.configure(Arguments.split(w, ("json",))))
        else:
            path = folder / ("case.toml" if kind == "toml" else "case.py")
            path.write_bytes(toml(chance) if kind == "toml" else nanogpt(chance))
            began = time.perf_counter()
            said = answer(lambda p=path: read_toml(p) if kind == "toml" else configure(p))
        seconds = time.perf_counter() - began
        assert said != "nothing"
        assert len(said) < 20_000, f"{kind} {number}: {len(said)} characters are too many to read"
        assert visible(said).replace("\n", "").isprintable(), f"{kind} {number}"
        if seconds > SLOW:
            slow.append((round(seconds, 2), number))
    return slow


@pytest.mark.parametrize("kind", ["toml", "flags", "nanogpt"])
def test_any_configuration_is_answered_in_words(kind: str, tmp_path: Path) -> None:
    slow = ask_each(kind, tmp_path, TIMES)
    if SOAK:
        print(f"{TIMES} cases of {kind}, slower than {SLOW} s: {len(slow)} {slow}")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["toml", "flags", "nanogpt"])
def test_real_processes_answer_the_same(kind: str, tmp_path: Path) -> None:
    """Given a spoilt configuration, then exit code 2 and words, or the run would have begun."""
    for number in range(40 if SOAK else 3):
        chance = random.Random(f"process {kind} {number}")
        words = ["no-such-preset"]
        if kind == "flags":
            words += [word.replace("\0", "")[:9_000] for word in flags(chance)]
        else:
            words = [f"case.{'toml' if kind == 'toml' else 'py'}"]
            Path(tmp_path, words[0]).write_bytes(
                toml(chance) if kind == "toml" else nanogpt(chance)
            )
        done = subprocess.run(
            [sys.executable, APP, "train", "--dataset=no/such/text", *words],
            cwd=tmp_path,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
        )
        errors = done.stderr.decode("utf-8")
        assert done.returncode in (0, 2), errors  # 0: a flag asked for help
        assert "Traceback" not in errors
        assert visible(errors) == errors
        assert [
            path.name for path in tmp_path.iterdir() if path.suffix not in (".py", ".toml")
        ] == []


def test_a_configuration_is_read_and_not_waited_for(tmp_path: Path) -> None:
    for name in ("case.toml", "case.py"):
        Path(tmp_path, name).symlink_to("/dev/zero")
        assert "is not a file" in answer(lambda n=name: configure(tmp_path / n))


def test_of_a_thousand_problems_the_first_are_told(tmp_path: Path) -> None:
    words = ["tiny", *(f"--wrong_{number}=1" for number in range(1_000))]
    said = answer(lambda: cli.configure(Arguments.split(words, ())))
    assert len(said.splitlines()) == 20

    path = tmp_path / "case.toml"
    path.write_text("".join(f"wrong_{number} = 1\n" for number in range(1_000)), "utf-8")
    assert len(answer(lambda: configure(path)).splitlines()) == 20
