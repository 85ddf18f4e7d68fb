"""Train small GPTs: `for event in gpt.train(gpt.Config(...)): ...`.

Names are resolved when they are first used, so that looking at runs needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpt.config import Config
    from gpt.control import Control
    from gpt.corpus import CorpusError
    from gpt.record import Record
    from gpt.runs import Run, RunError, follow
    from gpt.sample import Sampler
    from gpt.settings import ConfigError, make_config
    from gpt.train import resume, train

_WHERE = {
    "Config": "gpt.config",
    "ConfigError": "gpt.settings",
    "Control": "gpt.control",
    "CorpusError": "gpt.corpus",
    "Record": "gpt.record",
    "Run": "gpt.runs",
    "RunError": "gpt.runs",
    "Sampler": "gpt.sample",
    "follow": "gpt.runs",
    "make_config": "gpt.settings",
    "resume": "gpt.train",
    "train": "gpt.train",
}

__all__ = [
    "Config",
    "ConfigError",
    "Control",
    "CorpusError",
    "Record",
    "Run",
    "RunError",
    "Sampler",
    "follow",
    "make_config",
    "resume",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'gpt' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
