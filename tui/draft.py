"""A preset's settings with a person's edits over them, as text, and what is wrong with them.

`gpt.settings` is imported where it is used: it takes longer than the first paint may.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt.text import visible

if TYPE_CHECKING:
    from gpt.config import Config
    from gpt.corpus import Corpus


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the settings come to: a `config`, or the reasons why there is none.

    `errors` and `warnings` are by field; `others` are errors that no field of the form has.
    """

    config: Config | None
    errors: Mapping[str, str] = field(default_factory=dict[str, str])
    warnings: Mapping[str, str] = field(default_factory=dict[str, str])
    others: tuple[str, ...] = ()

    @property
    def reason(self) -> str | None:
        """The first thing that stands in the way of training, if any."""
        return next(iter([*self.errors.values(), *self.others]), None)


class Draft:
    """The settings of one preset as they stand in the form.

    Args:
        values: the preset's own, as its file has them: not yet checked.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = dict(values)
        self.edits: dict[str, str] = {}
        self.dropped: dict[str, str] = {}
        """The edits that were last reset all at once, so that they can come back."""

    def preset_value(self, name: str) -> Any:
        """What the preset has, or the default."""
        from gpt.settings import settings

        return self.values.get(name, settings()[name].default)

    def preset_text(self, name: str) -> str:
        """What the preset has, as it is typed."""
        return to_field(name, self.preset_value(name))

    def text(self, name: str) -> str:
        """What stands in the field."""
        return self.edits[name] if name in self.edits else self.preset_text(name)

    def edit(self, name: str, text: str) -> None:
        """Take what was typed. The preset's own value, however it is written, is no edit."""
        if text == self.preset_text(name) or self._is_preset_value(name, text):
            self.edits.pop(name, None)
        else:
            self.edits[name] = text

    def lay_over(self, values: Mapping[str, str]) -> list[str]:
        """Take raw `--key=value` texts as edits; what is wrong with their keys, in words."""
        from gpt.settings import settings, unknown_key

        known = settings()
        for name in values.keys() & known.keys():
            self.edit(name, to_field(name, values[name]))
        return [unknown_key(name).message for name in values if name not in known]

    def reset(self, name: str) -> None:
        """Back to the preset's value."""
        self.edits.pop(name, None)

    def reset_all(self) -> None:
        """Back to the preset; once more brings the edits back."""
        self.edits, self.dropped = ({}, self.edits) if self.edits else (self.dropped, {})

    def check(self) -> Verdict:
        """Whether the settings can be trained with, by the rules of `Config`."""
        from gpt.settings import ConfigError, make_config, parse, settings

        values = dict(self.values)
        for name, text in self.edits.items():
            raw = from_field(name, text)
            try:
                values[name] = parse(name, raw)
            except ConfigError:
                values[name] = raw  # which `make_config` refuses in the same words
        try:
            config = make_config(values)
        except ConfigError as error:
            known = settings()
            return Verdict(
                None,
                errors={p.key: p.message for p in error.problems if p.key in known},
                others=tuple(p.message for p in error.problems if p.key not in known),
            )
        return Verdict(config, warnings=config.warnings())

    def _is_preset_value(self, name: str, text: str) -> bool:
        from gpt.settings import ConfigError, parse

        try:
            value = parse(name, from_field(name, text))
        except ConfigError:
            return False
        own = self.preset_value(name)
        return type(value) is type(own) and value == own


def check_surroundings(
    config: Config, corpus: Corpus | None, known: tuple[str, ...], free_memory: int | None
) -> Verdict:
    """Whether what the configuration needs is there: its text and the memory.

    Args:
        corpus: the text, when it is prepared.
        known: the names of texts that can be fetched.
        free_memory: bytes that training can take, where that is known.
    """
    from gpt import estimate
    from gpt.textfiles import CorpusError

    errors: dict[str, str] = {}
    others: list[str] = []
    if missing := missing_text(config.dataset, known):
        errors["dataset"] = missing
    if corpus is not None:
        try:
            corpus.check_block_size(config.block_size)
        except CorpusError as error:
            errors["block_size"] = str(error)
    if free_memory is not None:
        needed = estimate.memory(config, vocab_size(config.dataset, corpus))
        if needed > free_memory:
            others.append(
                f"This needs about {needed / 1e9:.1f} GB of memory, and {free_memory / 1e9:.1f} GB "
                "are free. Smaller batch_size, block_size, n_layer or n_embd need less."
            )
    broken = errors or others
    return Verdict(None if broken else config, errors, config.warnings(), tuple(others))


def missing_text(dataset: str, known: tuple[str, ...]) -> str | None:
    """What to say when a dataset is neither a known name nor at that path."""
    try:
        if dataset in known or (dataset and Path(dataset).expanduser().exists()):
            return None
    except (OSError, ValueError, RuntimeError):
        pass  # a name that no file can have
    close = difflib.get_close_matches(dataset[:200], known, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    return (
        f"There is no text {visible(dataset[:60], keep='')!r}.{hint} Allowed: "
        f"{', '.join(known)}, or the path of a text file or folder."
    )


def vocab_size(dataset: str, corpus: Corpus | None) -> int:
    """The corpus's, or what it will be, near enough, when its text has not been read yet."""
    from gpt.corpus import NAMED
    from gpt.estimate import CHARACTERS, GPT2_VOCAB_SIZE

    if corpus is not None:
        return corpus.vocab_size
    kind = NAMED[dataset][1] if dataset in NAMED else "char"
    return GPT2_VOCAB_SIZE if kind == "gpt2" else CHARACTERS


def brief(message: str) -> str:
    """The part of an error that fits beside a field: what is allowed."""
    _, found, allowed = message.partition("Allowed: ")
    words = allowed if found else message
    words = re.sub(r"^a (whole )?number(, | )(from )?", "", words)
    words = re.sub(r"\b10{9,}\b", lambda zeros: f"1e{len(zeros[0]) - 1}", words)
    return words.split(". ")[0].rstrip(".")


ESCAPED = "start"
"""The one field whose text may hold line breaks, which are typed as \\n."""
_SHORT = {"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_LONG = {escape: character for character, escape in _SHORT.items()}


def to_field(name: str, value: Any) -> str:
    """A value as it stands in its field."""
    from gpt.settings import to_text

    text = to_text(value)
    return escape(text) if name == ESCAPED else visible(text, keep="")


def from_field(name: str, text: str) -> str:
    """The text of a field as `gpt.settings.parse` takes it."""
    return unescape(text) if name == ESCAPED else text.strip()


def escape(text: str) -> str:
    """The text in one line of printable characters; `unescape` gives it back."""
    return "".join(_SHORT.get(c) or (c if c.isprintable() else _code(c)) for c in text)


def unescape(text: str) -> str:
    """What `escape` was given. A backslash that begins no escape stands for itself."""
    pattern = r"\\\\|\\[ntr]|\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\U00[01][0-9a-fA-F]{5}"
    return re.sub(pattern, lambda found: _character(found[0]), text)


def _character(written: str) -> str:
    if written in _LONG:
        return _LONG[written]
    code = int(written[2:], 16)
    return chr(code) if code <= 0x10FFFF else written


def _code(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
