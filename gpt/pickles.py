"""Plain values from a pickle that a stranger may have written.

A pickle is a program for a small machine. This is that machine with nothing in it but what
builds plain values: there is no instruction that imports, calls, or fills an object. What is
built is a tree, in which nothing is shared or contains itself, so that whoever walks over it
comes to an end. Needs no torch.
"""

from __future__ import annotations

import io
import pickletools
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from gpt.errors import Refused
from gpt.text import visible

MAX_BYTES = 8 << 20
MAX_OPERATIONS = 1_000_000
"""About a second's work; a vocabulary of 65,536 characters takes 400,000."""
MAX_DEPTH = 8
MAX_INTEGER = 1 << 64

SCALARS = (str, int, float, bool, type(None))
_CONTAINERS = (list, tuple, dict)
_MARK = object()

_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
_STRINGS = (
    "STRING", "BINSTRING", "SHORT_BINSTRING",
    "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
)  # fmt: skip


class PickleError(Refused):
    """A pickle that is damaged or holds more than plain values, told for a person."""


def read(path: Path) -> object:
    """The value in a pickle file: str, int, float, bool, None, and lists, tuples and dicts of them.

    Raises:
        PickleError: it cannot be read, is larger than 8 MiB, is damaged, or asks for anything else.
    """
    name = visible(str(path))
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise PickleError(f"{name} is not a file.")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PickleError(f"{name} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        if isinstance(error, PickleError):
            raise
        raise PickleError(f"{name} is not a file name.") from None
    if len(raw) > MAX_BYTES:
        raise PickleError(f"{name} is larger than {MAX_BYTES >> 20} MiB; that is no vocabulary.")
    try:
        return loads(raw)
    except PickleError as error:
        raise PickleError(f"{name} is not read: {error}") from None


def loads(raw: bytes) -> object:
    """The plain value that a pickle describes.

    Raises:
        PickleError: it is damaged, or asks for more than plain values.
    """
    value = Machine().run(raw)
    _check_depth(value)
    return value


class Machine:
    """The stack and the memo of a pickle, and the instructions that build plain values."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, raw: bytes) -> object:
        """Carry out a pickle; what it built.

        Raises:
            PickleError: it is damaged, endless, or has an instruction that this machine lacks.
        """
        try:
            for count, (operation, argument, _) in enumerate(pickletools.genops(io.BytesIO(raw))):
                if count == MAX_OPERATIONS:
                    raise PickleError(f"it takes more than {MAX_OPERATIONS:,} steps to build.")
                self.do(operation.name, argument)
            value = self.pop()
        except PickleError:
            raise
        except (ValueError, IndexError, KeyError, OverflowError, AttributeError):
            # Of a torn pickle, and of a stack or a memo that lacks what is asked for.
            raise PickleError("the pickle is damaged.") from None
        if self.stack:
            raise PickleError("the pickle is damaged.")
        return value

    def do(self, name: str, argument: Any) -> None:
        """Carry out one instruction."""
        stack = self.stack
        match name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                stack.append(_MARK)
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append(_CONSTANTS[name])
            case _ if name in _NUMBERS:
                if isinstance(argument, int) and abs(argument) > MAX_INTEGER:
                    raise PickleError("it holds a number of more than 64 bits.")
                stack.append(argument)
            case _ if name in _STRINGS:
                stack.append(str(argument))
            case "EMPTY_LIST" | "EMPTY_DICT" | "EMPTY_TUPLE":
                stack.append({"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}[name]())
            case "LIST":
                stack.append(self.since_mark())
            case "TUPLE":
                stack.append(tuple(self.since_mark()))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(self.last(int(name[-1]))))
            case "DICT":
                stack.append(_filled({}, self.since_mark()))
            case "APPEND":
                self._grow([self.pop()])
            case "APPENDS":
                self._grow(self.since_mark())
            case "SETITEM":
                self._grow(self.last(2), to=dict)
            case "SETITEMS":
                self._grow(self.since_mark(), to=dict)
            case "MEMOIZE":
                self._memo[len(self._memo)] = self._top()
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self._memo[int(argument)] = self._top()
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(self.shared(self._memo[int(argument)]))
            case _:
                raise PickleError(
                    f"it asks for {name}, which can run code or is no plain value. Allowed: text, "
                    "numbers, True, False, None, and lists, tuples and dictionaries of them."
                )

    def shared(self, value: Any) -> Any:
        """A value that is used once more."""
        if isinstance(value, _CONTAINERS):
            raise PickleError("it holds a value that is shared or contains itself.")
        return value

    def _top(self) -> Any:
        if self.stack[-1] is _MARK:
            raise PickleError("the pickle is damaged.")
        return self.stack[-1]

    def pop(self) -> Any:
        """The last value on the stack, taken off."""
        value = self._top()
        self.stack.pop()
        return value

    def last(self, count: int) -> list[Any]:
        """The last values on the stack, taken off, in their order."""
        return [self.pop() for _ in range(count)][::-1]

    def since_mark(self) -> list[Any]:
        """The values above the last mark, taken off with it, in their order."""
        values: list[Any] = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def _grow(self, values: list[Any], to: type = list) -> None:
        """Put values into the container that is now the last on the stack."""
        container = self._top()
        if type(container) is not to:
            raise PickleError("the pickle is damaged.")
        if to is dict:
            _filled(container, values)
        else:
            container.extend(values)


def _filled(record: dict[Any, Any], values: list[Any]) -> dict[Any, Any]:
    """The dictionary with keys and values that come by turns."""
    for key, value in zip(values[::2], values[1::2], strict=True):
        # Only these: to hash a tuple of tuples can take for ever.
        if not isinstance(key, SCALARS):
            raise PickleError("a dictionary in it has keys that are not plain.")
        record[key] = value
    return record


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return
    raise PickleError(f"it is nested more than {MAX_DEPTH} deep.")


def _children(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        return iter(cast(dict[object, object], value).values())
    if isinstance(value, list | tuple):
        return iter(cast(list[object], value))
    return iter(())
