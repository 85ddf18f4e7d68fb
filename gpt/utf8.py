"""UTF-8 as numbers: in C where this machine can compile it, else by Python's own decoder."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from gpt.native.library import UTF8, NativeError, built

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Table = npt.NDArray[np.uint16 | np.uint32]

POINTS = 0x110000
"""Every code point is below."""
_HALF = 0xD800
"""Half a surrogate pair, which no text holds and the kernel may note."""
_FLAGS = ("-O3", "-std=gnu11", "-fPIC", "-shared")


@dataclass(frozen=True, slots=True)
class Passage:
    """Some whole characters in UTF-8."""

    utf8: bytes
    length: int
    """In characters."""
    _decoded: str | None = None

    @classmethod
    def of(cls, utf8: bytes) -> Passage:
        """The passage of these bytes.

        Raises:
            UnicodeDecodeError: they are not UTF-8.
        """
        if utf8.isascii():
            return cls(utf8, len(utf8))
        if (kernel := _kernel()) and (length := int(kernel.utf8_length(utf8, len(utf8)))) >= 0:
            return cls(utf8, length)
        text = utf8.decode()
        return cls(utf8, len(text), text)

    @classmethod
    def of_text(cls, text: str) -> Passage:
        """The passage of these characters."""
        return cls(text.encode(), len(text), text)

    @property
    def text(self) -> str:
        """The characters."""
        return self.utf8.decode() if self._decoded is None else self._decoded

    def mark(self, seen: npt.NDArray[np.bool_]) -> None:
        """Note which characters there are in `seen`, (POINTS,)."""
        kernel = _kernel()
        if kernel is None:
            _mark(self, seen)
            return
        kernel.utf8_mark(self.utf8, len(self.utf8), seen.ctypes.data)
        seen[_HALF] = False

    def look_up(self, table: Table) -> Table:
        """What `table`, (POINTS,), says of each character, (length,)."""
        import numpy as np

        kernel = _kernel()
        if kernel is None:
            # Code points fit the table, so clipping changes nothing; it is the quickest way.
            return table.take(_code_points(self.text), mode="clip")
        found = np.empty(self.length + 1, table.dtype)
        look_up = kernel.utf8_look_up_16 if table.itemsize == 2 else kernel.utf8_look_up_32
        look_up(self.utf8, len(self.utf8), table.ctypes.data, found.ctypes.data)
        return found[: self.length]


def _mark(passage: Passage, seen: npt.NDArray[np.bool_]) -> None:
    import numpy as np

    ascii_seen = bytes(np.flatnonzero(seen[:128]).tolist())
    # Usually nothing is left, and then this is several times as quick as the table.
    if not passage.utf8.isascii() or passage.utf8.translate(None, ascii_seen):
        points = _code_points(passage.text)
        known = seen.take(points, mode="clip")
        seen[points[~known]] = True


def _code_points(text: str) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint32]:
    """The code point of each character, (characters,)."""
    import numpy as np

    if text.isascii():
        return np.frombuffer(text.encode("ascii"), np.uint8)
    return np.frombuffer(text.encode("utf-32-le"), "<u4")


@lru_cache(maxsize=1)
def _kernel() -> ctypes.CDLL | None:
    """The functions of utf8.c; None where they cannot be had."""
    try:
        kernel = built((UTF8,), _FLAGS)
    except NativeError:
        return None
    bytes_and_size = [ctypes.c_char_p, ctypes.c_int64]
    kernel.utf8_length.argtypes = bytes_and_size
    kernel.utf8_length.restype = ctypes.c_int64
    kernel.utf8_mark.argtypes = [*bytes_and_size, ctypes.c_void_p]
    for look_up in (kernel.utf8_look_up_16, kernel.utf8_look_up_32):
        look_up.argtypes = [*bytes_and_size, ctypes.c_void_p, ctypes.c_void_p]
    for function in (kernel.utf8_mark, kernel.utf8_look_up_16, kernel.utf8_look_up_32):
        function.restype = None
    return kernel
