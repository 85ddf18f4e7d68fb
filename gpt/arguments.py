"""The words of a command line: positional ones, and `--key=value`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gpt.errors import Refused


class UsageError(Refused):
    """A command line that cannot be understood."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """`words` in their order; `flags` as text, a switch such as `--json` being empty text."""

    words: tuple[str, ...]
    flags: dict[str, str]

    @classmethod
    def split(cls, argv: Iterable[str], switches: Iterable[str]) -> Arguments:
        """Take a command line apart.

        Args:
            argv: the command line without the program's name.
            switches: flags that take no value.

        Raises:
            UsageError: a flag without a value, or a value for a switch.
        """
        words: list[str] = []
        flags: dict[str, str] = {}
        allowed = set(switches)
        for word in argv:
            if not word.startswith("--"):
                words.append(word)
                continue
            key, equals, value = word[2:].partition("=")
            key = key if key in allowed else key.replace("-", "_")
            if key in allowed and equals:
                raise UsageError(f"--{key} takes no value.")
            if key not in allowed and not equals:
                raise UsageError(f"--{key[:60]} needs a value: --{key[:60]}=VALUE.")
            flags[key] = value
        return cls(tuple(words), flags)

    def has(self, switch: str) -> bool:
        """Whether a switch was given."""
        return switch in self.flags

    def settings(self, *others: str) -> dict[str, Any]:
        """The flags that set fields of `Config`, as values; `others` are left out.

        Raises:
            ConfigError: with every flag that names no field or has a value of the wrong type.
        """
        from gpt.settings import MOST, ConfigError, Problem, parse

        values: dict[str, Any] = {}
        problems: list[Problem] = []
        for key, text in self.flags.items():
            if key in others:
                continue
            try:
                values[key] = parse(key, text)
            except ConfigError as error:
                problems += error.problems
            if len(problems) >= MOST:
                break
        if problems:
            raise ConfigError(problems)
        return values

    def only(self, *names: str) -> None:
        """Refuse flags that the command does not have.

        Raises:
            UsageError: naming the first, and the nearest that there is.
        """
        from gpt.settings import nearest

        for key in self.flags:
            if key not in names:
                raise UsageError(
                    f"--{key[:60]} is not a flag of this command.{nearest(key, names)} "
                    f"There are: {', '.join(f'--{name}' for name in names)}."
                )
