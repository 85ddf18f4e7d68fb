"""Text to token ids and back: characters, and the byte pairs of GPT-2.

Nothing here reads the network or a cache: a tokenizer is complete in its JSON, so a run folder
can be taken to another machine.
"""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from gpt import disk
from gpt.alphabet import listed, quoted, spans
from gpt.errors import Refused
from gpt.text import visible
from gpt.utf8 import POINTS, Passage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import tiktoken

    from gpt.utf8 import Table

Kind = Literal["char", "gpt2"]

UNKNOWN = "\ufffd"
"""What stands for an id that is no token, or for bytes that are no text."""

END_OF_TEXT = "<|endoftext|>"
GPT2_TOKENS = 50257
GPT2_MODEL_TOKENS = 50304
"""nanoGPT rounds GPT-2's vocabulary up to a multiple of 64, which is faster on a GPU."""

GPT2_MERGES_SHA256 = "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"
# GPT-2's own pattern, written so that it backtracks less.
_GPT2_PIECES = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"


class TokenizerError(Refused):
    """Text that a tokenizer cannot take or a file that holds none, told for a person."""


class Decoder:
    """Turns ids into text one at a time, holding back the start of an unfinished character.

    Args:
        token_bytes: the UTF-8 bytes of an id.
    """

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, token: int) -> str:
        """The text that is complete with this id; often empty in other scripts than Latin."""
        return self._utf8.decode(self._token_bytes(token))

    def flush(self) -> str:
        """What is left: U+FFFD when the last character never became whole."""
        return self._utf8.decode(b"", True)


class CharTokenizer:
    """One token for each character, numbered in the order of `characters`.

    Raises:
        TokenizerError: there are no characters, one comes twice, or one is half a character.
    """

    kind: Kind = "char"

    def __init__(self, characters: str) -> None:
        if not characters:
            raise TokenizerError("a character vocabulary needs at least one character.")
        self.characters = characters
        self._ids = {character: token for token, character in enumerate(characters)}
        if len(self._ids) != len(characters):
            raise TokenizerError("a character vocabulary names each character once.")
        if any("\ud800" <= character <= "\udfff" for character in characters):
            raise TokenizerError("a character vocabulary holds whole characters.")

    @classmethod
    def of(cls, text: Iterable[str]) -> CharTokenizer:
        """The tokenizer of the characters in a text, in sorted order as nanoGPT has them."""
        return cls("".join(sorted(set(text))))

    @property
    def vocab_size(self) -> int:
        """How many tokens there are."""
        return len(self.characters)

    @property
    def model_vocab_size(self) -> int:
        """How many tokens a model for this tokenizer has."""
        return len(self.characters)

    def encode(self, text: str) -> list[int]:
        """The ids of a text.

        Raises:
            TokenizerError: it has characters that the vocabulary lacks.
        """
        try:
            return [self._ids[character] for character in text]
        except KeyError:
            raise TokenizerError(self._refusal(text)) from None

    def encode_passage(self, passage: Passage) -> Table:
        """The ids of a text of which each character is known, (characters,)."""
        return passage.look_up(self._table)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of these ids; U+FFFD for each that is no token."""
        return "".join(map(self._character, ids))

    def decoder(self) -> Decoder:
        """A decoder for ids that come one at a time."""
        return Decoder(lambda token: self._character(token).encode())

    def to_json(self) -> dict[str, Any]:
        """Everything that `from_json` needs."""
        return {"kind": self.kind, "characters": self.characters}

    @cached_property
    def _table(self) -> Table:
        """The id of each code point, (POINTS,)."""
        import numpy as np

        ids = np.zeros(POINTS, np.uint16 if self.vocab_size <= 1 << 16 else np.uint32)
        ids[[ord(character) for character in self.characters]] = np.arange(self.vocab_size)
        return ids

    def _character(self, token: int) -> str:
        return self.characters[token] if 0 <= token < len(self.characters) else UNKNOWN

    def _refusal(self, text: str) -> str:
        unknown = sorted({character for character in text if character not in self._ids})
        words = ("character", "is") if len(unknown) == 1 else ("characters", "are")
        return (
            f"the {words[0]} {listed(map(quoted, unknown))} {words[1]} not in the text that the "
            f"model learnt from. It knows these {self.vocab_size:,}: "
            f"{listed(spans(self.characters), ' ')}"
        )


class GPT2Tokenizer:
    """GPT-2's byte pairs: any text becomes ids below 50257, any ids become text.

    Args:
        merges: the content of GPT-2's `vocab.bpe`.

    Raises:
        TokenizerError: it is not that file.
    """

    kind: Kind = "gpt2"
    vocab_size = GPT2_TOKENS
    model_vocab_size = GPT2_MODEL_TOKENS

    def __init__(self, merges: str) -> None:
        if hashlib.sha256(merges.encode("utf-8", "replace")).hexdigest() != GPT2_MERGES_SHA256:
            raise TokenizerError("these are not the byte pairs of GPT-2.")
        self._merges = merges

    def encode(self, text: str) -> list[int]:
        """The ids of a prompt; `<|endoftext|>` in it becomes the one token 50256.

        Raises:
            TokenizerError: a single run of blanks is too long to be split (about a million).
        """
        try:
            return self._encoding.encode(text, allowed_special={END_OF_TEXT})
        except ValueError as error:
            raise TokenizerError(f"the text cannot be split into tokens: {error}") from None

    def encode_array(self, text: str) -> npt.NDArray[np.uint32]:
        """The ids of a corpus, (tokens,), in which `<|endoftext|>` is text like any other.

        Other threads run meanwhile.

        Raises:
            TokenizerError: as for `encode`.
        """
        try:
            return self._encoding.encode_to_numpy(text, disallowed_special=())
        except ValueError as error:
            raise TokenizerError(f"the text cannot be split into tokens: {error}") from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text of these ids; U+FFFD for each that is no token and for broken characters."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def decoder(self) -> Decoder:
        """A decoder for ids that come one at a time."""
        return Decoder(self.token_bytes)

    def to_json(self) -> dict[str, Any]:
        """Everything that `from_json` needs."""
        return {"kind": self.kind, "merges": self._merges}

    def token_bytes(self, token: int) -> bytes:
        """The UTF-8 bytes of an id, which may be only a part of a character."""
        if not 0 <= token < GPT2_TOKENS:
            return UNKNOWN.encode()
        return self._encoding.decode_single_token_bytes(token)

    @cached_property
    def _encoding(self) -> tiktoken.Encoding:
        import tiktoken

        return tiktoken.Encoding(
            "gpt2",
            pat_str=_GPT2_PIECES,
            mergeable_ranks=_ranks(self._merges),
            special_tokens={END_OF_TEXT: GPT2_TOKENS - 1},
            explicit_n_vocab=GPT2_TOKENS,
        )


Tokenizer = CharTokenizer | GPT2Tokenizer


def from_json(record: object) -> Tokenizer:
    """The tokenizer that `to_json` described.

    Raises:
        TokenizerError: it is no description of a tokenizer.
    """
    match record:
        case {"kind": "char", "characters": str(characters)}:
            return CharTokenizer(characters)
        case {"kind": "gpt2", "merges": str(merges)}:
            return GPT2Tokenizer(merges)
        case {"kind": str(kind)} if kind not in ("char", "gpt2"):
            raise TokenizerError(f"{visible(kind[:40])!r} is not a kind. Allowed: char or gpt2.")
        case _:
            raise TokenizerError("it does not describe a tokenizer.")


def write(tokenizer: Tokenizer, path: Path) -> None:
    """Write the tokenizer to a JSON file, in ASCII.

    Raises:
        OSError: the disk refused.
    """
    disk.write(path, json.dumps(tokenizer.to_json()) + "\n")


def read(path: Path) -> Tokenizer:
    """The tokenizer in a JSON file.

    Raises:
        TokenizerError: the file cannot be read, or does not hold a tokenizer.
    """
    name = visible(str(path))
    try:
        return from_json(cast(object, json.loads(path.read_text("utf-8"))))
    except OSError as error:
        raise TokenizerError(f"{name} cannot be read: {error.strerror}.") from None
    except TokenizerError as error:
        raise TokenizerError(f"{name} is damaged: {error}") from None
    except (ValueError, RecursionError):
        raise TokenizerError(f"{name} is damaged: it is not JSON.") from None


def _ranks(merges: str) -> dict[bytes, int]:
    """Each token's id: the 256 bytes first, then a token for each merge, in the file's order.

    `vocab.bpe` writes a byte that would not print as a character from U+0100 on. Its first line
    names a version. GPT-2's `encoder.json` holds the same numbers.
    """
    plain = [byte for byte in range(256) if chr(byte).isprintable() and chr(byte) != " "]
    others = [byte for byte in range(256) if byte not in plain]
    byte_of = {chr(byte): byte for byte in plain}
    byte_of |= {chr(256 + index): byte for index, byte in enumerate(others)}
    ranks = {bytes([byte]): rank for rank, byte in enumerate(plain + others)}
    for line in merges.split("\n")[1:-1]:
        token = bytes(byte_of[character] for character in line if character != " ")
        ranks[token] = len(ranks)
    return ranks
