"""Presets: TOML files with a description and the settings that differ from the defaults."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt.errors import Refused
from gpt.folders import config_folder
from gpt.names import is_possible, is_reserved

if TYPE_CHECKING:
    from gpt.config import Config

SHIPPED = Path(__file__).parent.parent / "presets"
MAX_BYTES = 64 << 10
LARGEST = 10**50
"""No setting comes near; Python refuses to write numbers of thousands of digits."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
DEEP_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){20}""")
"""A key of more than 20 parts, over which tomllib takes a time that grows with their square."""


class PresetError(Refused):
    """A preset that cannot be read or written, told for the person who named it."""


@dataclass(frozen=True, slots=True)
class Preset:
    """A named set of settings; `values` are as the file has them, not yet checked."""

    name: str
    path: Path
    description: str
    values: Mapping[str, Any]
    shipped: bool

    @property
    def reference(self) -> Path | None:
        """The curve that a run of this preset is drawn over: a CSV of the same name, if any."""
        path = self.path.with_suffix(".csv")
        return path if path.is_file() else None


def user_folder() -> Path:
    """Where a person's own presets live."""
    return config_folder() / "presets"


def find_all() -> tuple[list[Preset], list[str]]:
    """All presets that can be read, shipped ones first, and a message for each that cannot."""
    presets: list[Preset] = []
    problems: list[str] = []
    for folder in (SHIPPED, user_folder()):
        for path in sorted(folder.glob("*.toml")) if folder.is_dir() else []:
            try:
                presets.append(read(path))
            except PresetError as error:
                problems.append(str(error))
    presets.sort(key=lambda preset: not preset.shipped)
    return presets, problems


def find(name: str) -> Preset:
    """The preset of that name (a person's own before a shipped one) or at that path.

    Raises:
        PresetError: there is none, or it cannot be read.
    """
    path = Path(name)
    if not is_possible(path):
        raise PresetError(f"{name[:80]!r} is not a file name, nor that of a preset.")
    if path.suffix == ".toml" or os.sep in name or "/" in name or path.is_dir():
        return read(path)
    for folder in (user_folder(), SHIPPED):
        path = folder / f"{name}.toml"
        if is_possible(path) and path.exists():
            return read(path)
    import difflib

    names = [preset.name for preset in find_all()[0]]
    close = difflib.get_close_matches(name[:80], names, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]}?" if close else ""
    if Path(name).is_file():
        hint = f" To train on that text give a preset --dataset={name}."
    raise PresetError(
        f"there is no preset {name[:80]!r}.{hint} There are: {', '.join(names)}; "
        "the path of a TOML file works too."
    )


def is_own(name: str) -> bool:
    """Whether a person has a preset of that name."""
    path = user_folder() / f"{name}.toml"
    return is_possible(path) and path.is_file()


def read(path: Path) -> Preset:
    """The preset in a TOML file.

    Raises:
        PresetError: it is not there, not a file, too large, not text or not flat TOML.
    """
    values = _parse(path)
    description = values.pop("description", "")
    if not isinstance(description, str):
        raise PresetError(f"{path}: description = {description} cannot be used. Allowed: text.")
    shipped = path.resolve().parent == SHIPPED.resolve()
    return Preset(path.stem, path, description, values, shipped)


def save(name: str, config: Config, description: str, *, replace: bool = False) -> Path:
    """Write a person's own preset: what differs from the defaults.

    Raises:
        PresetError: the name is not usable, is taken, or the folder cannot be written.
    """
    import tomli_w

    if not NAME.fullmatch(name) or name.endswith(".") or is_reserved(name):
        raise PresetError(
            f"{name[:80]!r} cannot name a preset. Allowed: up to 64 letters, digits, dots, dashes "
            "and underscores, a letter or digit first."
        )
    path = user_folder() / f"{name}.toml"
    if (SHIPPED / path.name).exists():
        raise PresetError(f"{name} is a shipped preset; give yours another name.")
    if path.exists() and not replace:
        raise PresetError(f"{path} exists.")
    values = config.model_dump(exclude_defaults=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(tomli_w.dumps({"description": description, **values}), "utf-8")
        temporary.replace(path)
    except OSError as error:
        raise PresetError(f"{path} cannot be written: {error.strerror}.") from None
    return path


def read_text(path: Path) -> str:
    """The text of a configuration file.

    Raises:
        PresetError: it is not there, not a file, too large, or not text.
    """
    try:
        if path.is_dir():
            raise PresetError(f"{path} is a folder; a file belongs here.")
        if path.exists() and not path.is_file():
            raise PresetError(f"{path} is not a file.")  # a pipe would be waited for
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise PresetError(f"{path} is larger than {MAX_BYTES >> 10} KiB; that is no preset.")
        return raw.decode("utf-8")
    except OSError as error:
        raise PresetError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise PresetError(f"{path} is not text: byte {error.start} is not UTF-8.") from None
    except ValueError as error:
        if isinstance(error, PresetError):
            raise
        raise PresetError(f"{str(path)!r} is not a file name.") from None


def _parse(path: Path) -> dict[str, Any]:
    text = read_text(path)
    if DEEP_KEY.search(text):
        raise PresetError(f"{path} is nested too deeply; a preset is flat.")
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise PresetError(f"{path} is nested too deeply; a preset is flat.") from None
    except ValueError as error:
        raise PresetError(f"{path} is not TOML: {error}.") from None
    for key, value in values.items():
        if isinstance(value, dict | list):
            raise PresetError(
                f"{path}: {key[:60]!r} is a table or a list. Allowed: key = value, a line each."
            )
        if isinstance(value, int) and abs(value) >= LARGEST:
            raise PresetError(f"{path}: the number of {key[:60]!r} has more than 50 digits.")
    return values
