"""What a person may write for each field of `Config`, and what is said when they write other.

Derived from the declarations in `config.py`: ranges and choices in words, text to value and
back, the nearest right spelling, and `ConfigError`, the one error for all of it.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Union, cast, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from gpt import effects
from gpt.config import Config
from gpt.errors import Refused
from gpt.recipe import Recipe

Value = bool | int | float | str

MOST = 20
"""Problems that are told at once."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a configuration: at which key (None: the whole), and what."""

    key: str | None
    message: str


class ConfigError(Refused):
    """A configuration that cannot be used, told for the person who wrote it.

    Args:
        problems: what is wrong, at least one.
        source: the file or command line it came from, if any.
    """

    def __init__(self, problems: Iterable[Problem], source: str | None = None) -> None:
        self.problems = tuple(problems)
        self.source = source
        head = f"{source}: " if source else ""
        super().__init__("\n".join(f"{head}{p.message}" for p in self.problems[:MOST]))


@dataclass(frozen=True, slots=True)
class Setting:
    """One field of `Config` as a form or a manual shows it."""

    name: str
    group: str
    help: str
    unit: str
    main: bool
    default: Value
    kind: Literal["bool", "int", "float", "str"]
    """The type of what is typed; a field with `choices` is typed as one of those."""
    choices: tuple[str, ...]
    allowed: str
    """Type and range in words, as in "a whole number from 1 to 1024"."""
    measured: str
    """What changing it did to the reference run; empty where that is not known."""


@cache
def settings() -> dict[str, Setting]:
    """All fields of `Config`: nanoGPT's in their order, then those of the recipe."""
    fields = sorted(Config.model_fields.items(), key=lambda field: field[0] in Recipe.model_fields)
    return {name: _describe(name, info) for name, info in fields}


def parse(name: str, text: str) -> Value:
    """The value that the text of a flag or an input field stands for.

    Raises:
        ConfigError: no such field, or not a value of its type. Ranges are checked later.
    """
    setting = settings().get(name)
    if setting is None:
        raise ConfigError([unknown_key(name)])
    if setting.choices and text in setting.choices:
        return _as_bool(text) if setting.kind == "bool" and text != "auto" else text
    try:
        match setting.kind:
            case "bool":
                return _as_bool(text)
            case "int":
                return int(text)
            case "float":
                return float(text)
            case "str":
                return text
    except ValueError:
        raise ConfigError([Problem(name, _refusal(setting, text))]) from None


def to_text(value: Value) -> str:
    """The value as it is typed in a form or after `--key=`."""
    return f"{value:g}" if isinstance(value, float) and float(f"{value:g}") == value else str(value)


def make_config(values: Mapping[str, object], source: str | None = None) -> Config:
    """A `Config` with these values, and defaults for the rest.

    Raises:
        ConfigError: with every problem there is, each with what is allowed.
    """
    unknown = [key for key in values if key not in Config.model_fields]
    problems = [unknown_key(key) for key in unknown[:MOST]]
    known = {key: value for key, value in values.items() if key in Config.model_fields}
    try:
        config = Config(**known)  # pyright: ignore[reportArgumentType]
    except ValidationError as error:
        raise ConfigError([*problems, *_in_words(error)], source) from None
    if problems:
        raise ConfigError(problems, source)
    return config


def unknown_key(key: str) -> Problem:
    """The problem of a key that does not exist, with the nearest that does."""
    return Problem(key, f"{_shown(key)} is not a setting.{nearest(key, Config.model_fields)}")


def nearest(word: str, candidates: Iterable[str]) -> str:
    """A sentence with the most similar candidate, or nothing when none is similar."""
    close = difflib.get_close_matches(word[:200], list(candidates), n=1, cutoff=0.6)
    return f" Did you mean {close[0]}?" if close else ""


def _describe(name: str, info: FieldInfo) -> Setting:
    kind, choices = _kind(info.annotation)
    extra = cast(dict[str, Any], info.json_schema_extra)
    return Setting(
        name=name,
        group=extra["group"],
        help=info.description or "",
        unit=extra["unit"],
        main=extra["main"],
        default=info.default,
        kind=kind,
        choices=choices,
        allowed=_allowed(name, info, kind, choices),
        measured=effects.in_words(name),
    )


def _kind(annotation: Any) -> tuple[Literal["bool", "int", "float", "str"], tuple[str, ...]]:
    if get_origin(annotation) is Literal:
        return "str", tuple(str(choice) for choice in get_args(annotation))
    if get_origin(annotation) in (Union, types.UnionType):
        return "bool", ("auto", "True", "False")
    if annotation is bool:
        return "bool", ("True", "False")
    names: dict[Any, Literal["int", "float", "str"]] = {int: "int", float: "float", str: "str"}
    return names[annotation], ()


def _allowed(name: str, info: FieldInfo, kind: str, choices: tuple[str, ...]) -> str:
    if choices:
        return ", ".join(choices[:-1]) + f" or {choices[-1]}" if choices[1:] else choices[0]
    if name == "device":
        return "auto, cpu, cuda, cuda:N or mps"
    if kind == "str":
        return "text"
    words = "a whole number" if kind == "int" else "a number"
    bounds = {
        bound: getattr(part, bound)
        for part in info.metadata
        for bound in ("ge", "gt", "le", "lt")
        if getattr(part, bound, None) is not None
    }
    low, above = bounds.get("ge"), bounds.get("gt")
    high, below = bounds.get("le"), bounds.get("lt")
    if low is not None and high is not None:
        return f"{words} from {_plain(low)} to {_plain(high)}"
    parts = [
        f"{_plain(low)} or more" if low is not None else "",
        f"above {_plain(above)}" if above is not None else "",
        f"{_plain(high)} at most" if high is not None else "",
        f"below {_plain(below)}" if below is not None else "",
    ]
    return f"{words}, {' and '.join(part for part in parts if part)}"


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else f"{number:g}"


def _as_bool(text: str) -> bool:
    words = {"true": True, "false": False}
    if text.lower() not in words:
        raise ValueError(text)
    return words[text.lower()]


def _in_words(error: ValidationError) -> list[Problem]:
    found: dict[str | None, Problem] = {}
    for detail in error.errors(include_url=False):
        problem = _problem(detail)
        found.setdefault(problem.key, problem)
    return list(found.values())


def _problem(detail: ErrorDetails) -> Problem:
    if detail["type"] == "rule":
        context = detail.get("ctx", {})
        return Problem(str(context["key"]), str(context["message"]))
    setting = settings()[str(detail["loc"][0])]
    return Problem(setting.name, _refusal(setting, detail["input"]))


def _refusal(setting: Setting, value: object) -> str:
    hint = nearest(value, setting.choices) if isinstance(value, str) else ""
    return f"{setting.name} = {_shown(value)} cannot be used. Allowed: {setting.allowed}.{hint}"


def _shown(value: object) -> str:
    """The value as Python writes it, in 60 characters."""
    if isinstance(value, str):
        value = value[:60] if len(value) <= 60 else value[:60] + "…"
    elif isinstance(value, int) and abs(value) >= 10**50:
        return "a number of more than 50 digits"
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "…"
