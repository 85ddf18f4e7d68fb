"""nanoGPT's checkpoints: `ckpt.pt`, which anyone may have written.

The file is a zip archive of a pickle and of numbers. The pickle is gone through first by a machine
that knows only what nanoGPT's checkpoints are made of; then torch reads it, with `weights_only`;
then every parameter is compared with the model that it claims to be.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from gpt import pickles
from gpt.config import Config
from gpt.errors import Refused
from gpt.model import GPT
from gpt.settings import ConfigError, make_config
from gpt.text import visible

SHAPE = ("n_layer", "n_head", "n_embd", "block_size", "bias")
MAX_VOCAB_SIZE = 1 << 20
COMPILED = "_orig_mod."
"""What torch.compile puts before each name."""
BUFFERS = (".attn.bias", ".attn.masked_bias")
"""The causal mask, which old versions saved beside the parameters."""

_GLOBALS = {
    "collections OrderedDict",
    "torch._utils _rebuild_parameter",
    "torch._utils _rebuild_tensor_v2",
    *(f"torch {kind}Storage" for kind in ("BFloat16", "Float", "Half", "Double", "Long", "Bool")),
}


class ForeignError(Refused):
    """A file from another program that cannot be used, told for a person."""


@dataclass(frozen=True, slots=True)
class NanoGPT:
    """What a checkpoint of nanoGPT holds that a model here can use."""

    model_args: Mapping[str, int | bool]
    """The model's shape, under the names of `Config`."""
    vocab_size: int
    model: Mapping[str, Tensor]
    """Parameters on the CPU, under their names here and in their own number format."""
    step: int
    best_val_loss: float | None
    settings: Mapping[str, bool | int | float | str]
    """What it was trained with, as its command line and configuration file said."""


def read(path: Path) -> NanoGPT:
    """The checkpoint in a `ckpt.pt`; nothing in it is run.

    Raises:
        ForeignError: it cannot be read, is damaged, holds more than a checkpoint, or is of
            another model than it says.
    """
    name = visible(str(path))
    try:
        if not path.is_file():
            raise ForeignError("there is no such file.")
        _check_archive(path)
        record = _loaded(path)
        _check_storages(record["model"], path.stat().st_size)
        return _understood(record)
    except OSError as error:
        raise ForeignError(f"{name} cannot be read: {error.strerror or error}.") from None
    except (ForeignError, ConfigError, pickles.PickleError) as error:
        raise ForeignError(f"{name} is not read: {error}") from None
    except ValueError:
        raise ForeignError(f"{name} is not a file name.") from None


class _Inventory(pickles.Machine):
    """Goes through a checkpoint's pickle without building anything but plain values.

    What is a tensor, a storage or an ordered dictionary is None here.
    """

    def do(self, name: str, argument: Any) -> None:
        """Carry out one instruction."""
        match name:
            case "PROTO" if argument != 2:
                raise pickles.PickleError("its pickle is not of the kind that torch.save writes.")
            case "GLOBAL":
                if argument not in _GLOBALS:
                    asked = visible(str(argument).replace(" ", "."), keep="")[:80]
                    raise pickles.PickleError(f"it asks for {asked}, which no checkpoint needs.")
                self.stack.append(argument)
            case "REDUCE":
                arguments, function = self.pop(), self.pop()
                ordered = function == "collections OrderedDict"
                if not isinstance(arguments, tuple) or (ordered and arguments):
                    raise pickles.PickleError("the pickle is damaged.")
                self.stack.append({} if ordered else None)
            case "BINPERSID":
                self.pop()
                self.stack.append(None)
            case "BUILD":
                self.pop()
            case _:
                super().do(name, argument)

    def shared(self, value: Any) -> Any:
        """Tensors that are one have parts in common."""
        return value


def _check_archive(path: Path) -> None:
    """See that the file is what torch writes, before torch reads it."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            (pickle,) = (e for e in entries if e.filename.endswith("/data.pkl"))
            if any(e.compress_type != zipfile.ZIP_STORED for e in entries):
                raise ForeignError("it is compressed, as torch's files never are.")
            if sum(e.file_size for e in entries) > path.stat().st_size:
                raise ForeignError("it claims to hold more than it does.")
            if any(e.filename.endswith("/constants.pkl") for e in entries):
                raise ForeignError("it is a program (TorchScript), not a checkpoint.")
            if pickle.file_size > pickles.MAX_BYTES:
                raise ForeignError("its pickle is larger than that of any checkpoint.")
            _Inventory().run(archive.read(pickle))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError):
        raise ForeignError(
            "it is damaged, or not what torch.save writes (1.6 or newer, a zip archive)."
        ) from None
    except ValueError as error:
        if isinstance(error, Refused):
            raise
        raise ForeignError("it is an archive, but torch.save did not write it.") from None


def _loaded(path: Path) -> dict[str, Any]:
    try:
        record: object = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever a damaged file leads it to
        words = str(error).strip().split("\n")[0][:200]
        raise ForeignError(f"torch refuses it: {visible(words, keep='')}") from None
    needed = {"model": dict, "model_args": dict}
    found = cast(dict[str, Any], record) if isinstance(record, dict) else {}
    for key, kind in needed.items():
        if not isinstance(found.get(key), kind):
            raise ForeignError(f"it has no {key}, as nanoGPT's checkpoints have.")
    return found


def _check_storages(state: Mapping[Any, Any], size: int) -> None:
    """See that the tensors are plain ones, and no larger than the file that they are from."""
    storages: dict[int, int] = {}
    for name, tensor in state.items():
        if not isinstance(name, str) or type(tensor) not in (Tensor, torch.nn.Parameter):
            raise ForeignError("its model is no dictionary of tensors.")
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise ForeignError(f"{visible(name[:80], keep='')!r} is no dense tensor.")
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        if not tensor.is_contiguous():
            raise ForeignError(f"{visible(name[:80], keep='')!r} does not lie in one piece.")
    if sum(storages.values()) > size:
        raise ForeignError("its tensors are larger than the file.")


def _understood(record: dict[str, Any]) -> NanoGPT:
    args = record["model_args"]
    missing = [name for name in (*SHAPE, "vocab_size") if name not in args]
    if missing:
        raise ForeignError(f"its model_args lack {', '.join(missing)}.")
    shape = {name: args[name] for name in SHAPE}
    config, vocab_size = make_config(shape, "model_args"), args["vocab_size"]
    if type(vocab_size) is not int or not 1 <= vocab_size <= MAX_VOCAB_SIZE:
        raise ForeignError(
            f"model_args: vocab_size = {str(vocab_size)[:40]!r} cannot be used. Allowed: a whole "
            f"number from 1 to {MAX_VOCAB_SIZE}."
        )
    return NanoGPT(
        model_args=shape,
        vocab_size=vocab_size,
        model=_parameters(record["model"], config, vocab_size),
        step=_step(record.get("iter_num", 0)),
        best_val_loss=_loss(record.get("best_val_loss")),
        settings=_settings(record.get("config")),
    )


def _parameters(state: dict[str, Tensor], config: Config, vocab_size: int) -> dict[str, Tensor]:
    """The parameters by their plain names, each of the shape that the model has."""
    found = {name.removeprefix(COMPILED): tensor for name, tensor in state.items()}
    found = {name: tensor for name, tensor in found.items() if not name.endswith(BUFFERS)}
    layers = len({name for name in found if name.endswith(".ln_1.weight")})
    if layers != config.n_layer:
        raise ForeignError(f"it has {layers} blocks, and its model_args say {config.n_layer}.")
    with torch.device("meta"):
        wanted = GPT(config, vocab_size).state_dict()
    for name in sorted(wanted.keys() | found.keys()):
        if name not in found or name not in wanted:
            lacks = "lacks" if name in wanted else "should not have"
            raise ForeignError(f"its model {lacks} {visible(name[:80], keep='')!r}.")
        there, needed = tuple(found[name].shape), tuple(wanted[name].shape)
        if there != needed:
            raise ForeignError(f"{name} has the shape {there}; its model_args make it {needed}.")
        if not found[name].is_floating_point():
            raise ForeignError(f"{name} holds {found[name].dtype}, which no parameter is.")
    return found


def _step(value: object) -> int:
    if type(value) is not int or not 0 <= value <= 10**12:
        raise ForeignError("its iter_num is no number of steps.")
    return value


def _loss(value: object) -> float | None:
    """nanoGPT keeps a tensor of one number, or 1e9 before the first evaluation."""
    number: object = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
    if not isinstance(number, int | float) or not math.isfinite(number) or number >= 1e9:
        return None
    return float(number)


def _settings(value: object) -> dict[str, bool | int | float | str]:
    record = cast(dict[object, object], value) if isinstance(value, dict) else {}
    return {
        key: setting
        for key, setting in record.items()
        if isinstance(key, str) and isinstance(setting, bool | int | float | str)
    }
