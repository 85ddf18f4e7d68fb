"""The bridge to nanoGPT: its configuration files in, its command line out."""

from __future__ import annotations

import ast
import operator
import shlex
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gpt.config import Config
from gpt.hardware import likely_gpu
from gpt.presets import PresetError, read_text
from gpt.recipe import Recipe

DEFAULTS: dict[str, Any] = {
    "eval_interval": 2000,
    "log_interval": 1,
    "eval_iters": 200,
    "eval_only": False,
    "always_save_checkpoint": True,
    "dataset": "openwebtext",
    "gradient_accumulation_steps": 40,
    "batch_size": 12,
    "block_size": 1024,
    "n_layer": 12,
    "n_head": 12,
    "n_embd": 768,
    "dropout": 0.0,
    "bias": False,
    "learning_rate": 6e-4,
    "max_iters": 600000,
    "weight_decay": 0.1,
    "beta1": 0.9,
    "beta2": 0.95,
    "grad_clip": 1.0,
    "decay_lr": True,
    "warmup_iters": 2000,
    "lr_decay_iters": 600000,
    "min_lr": 6e-5,
    "device": "cuda",
    "dtype": "auto",
    "compile": True,
}
"""What nanoGPT does when nothing is said; "auto" is bfloat16 where there is a GPU for it."""

SHAKESPEARE: dict[str, Any] = {
    "eval_interval": 250,
    "log_interval": 10,
    "always_save_checkpoint": False,
    "dataset": "shakespeare_char",
    "gradient_accumulation_steps": 1,
    "batch_size": 64,
    "block_size": 256,
    "n_layer": 6,
    "n_head": 6,
    "n_embd": 384,
    "dropout": 0.2,
    "learning_rate": 1e-3,
    "max_iters": 5000,
    "lr_decay_iters": 5000,
    "min_lr": 1e-4,
    "beta2": 0.99,
    "warmup_iters": 100,
}
"""What its config/train_shakespeare_char.py changes."""

ELSEWHERE = {
    "out_dir": "each run has a folder of its own; --out_dir=PATH names it",
    "backend": "training here is in one process",
    "wandb_log": "the run folder keeps every figure",
    "wandb_project": "the run folder keeps every figure",
    "wandb_run_name": "the run folder keeps every figure",
}
"""Settings of nanoGPT that are not settings here, and what there is instead."""

_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda a, b: a / b,
    ast.FloorDiv: lambda a, b: a // b,
}


def lacking(config: Config) -> list[str]:
    """The settings in use that nanoGPT does not have, for which it has no command either."""
    own = [
        name
        for name, field in Recipe.model_fields.items()
        if getattr(config, name) != field.default
    ]
    return own if config.eval_interval else [*own, "eval_interval"]


def command_line(config: Config, gpu: bool | None = None) -> str:
    """The nanoGPT command that trains the same, in the fewest flags.

    Args:
        config: the run. What nanoGPT has no setting for (seed, sampling) is left out.
        gpu: whether `device = "auto"` means a CUDA GPU; any GPU is looked for when None.
    """
    values = {name: getattr(config, name) for name in DEFAULTS}
    values["dataset"] = Path(config.dataset).stem
    if config.device == "auto":
        found = likely_gpu() if gpu is None else "cuda" if gpu else None
        values["device"] = found or "cpu"
    cuda = values["device"].startswith("cuda")
    if config.compile == "auto":
        values["compile"] = cuda
    if not cuda:
        values["dtype"] = "auto"
    files = {
        "": DEFAULTS,
        "config/train_shakespeare_char.py": {**DEFAULTS, **SHAKESPEARE},
    }
    words = {file: [file] * bool(file) + _flags(values, base) for file, base in files.items()}
    return shlex.join(["python", "train.py", *min(words.values(), key=len)])


def read_config(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The settings of a nanoGPT configuration file, which is read and never executed.

    Returns:
        the settings, and a line for each that has no meaning here.

    Raises:
        PresetError: it cannot be read, or does more than assign plain values.
    """
    text = read_text(path)
    try:
        with warnings.catch_warnings(action="ignore"):  # Python would quote the file on stderr
            statements = ast.parse(text, str(path)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise PresetError(f"{path} is not a nanoGPT configuration: {error}.") from None
    values: dict[str, Any] = {}
    for statement in statements:
        _read_statement(statement, values, path)
    notes = [f"{key} is passed over: {ELSEWHERE[key]}" for key in values if key in ELSEWHERE]
    if values.get("device") == "cpu":
        # nanoGPT computes in float32 on a CPU whatever the file says.
        values["dtype"] = "float32"
    return {key: value for key, value in values.items() if key not in ELSEWHERE}, notes


def _read_statement(statement: ast.stmt, values: dict[str, Any], path: Path) -> None:
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            if name in ELSEWHERE:
                values[name] = None
                return
            try:
                values[name] = _value(value, values)
            except (ValueError, TypeError, ArithmeticError, RecursionError):
                raise PresetError(
                    f"{path}, line {statement.lineno}: the value of {name} is not a plain one. "
                    "Allowed: numbers, text, True, False and arithmetic; the file is not executed."
                ) from None
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            pass
        case _:
            raise PresetError(
                f"{path}, line {statement.lineno}: only `name = value` is read; the file is not "
                "executed."
            )


def _value(node: ast.expr, known: Mapping[str, Any]) -> Any:
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return value
        case ast.Name(id=name) if name in known:
            return known[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, known)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            a, b = _value(left, known), _value(right, known)
            if isinstance(a, str) or isinstance(b, str):
                raise TypeError("arithmetic is for numbers")
            return _checked(_OPERATORS[type(op)](a, b))
        case _:
            raise ValueError(ast.dump(node)[:80])


def _checked(number: Any) -> Any:
    """The number, unless it grows so large that the next operation would take for ever."""
    if isinstance(number, int) and number.bit_length() > 256:
        raise OverflowError("a number of more than 256 bits")
    return number


def _flags(values: Mapping[str, Any], base: Mapping[str, Any]) -> list[str]:
    return [f"--{key}={value}" for key, value in values.items() if value != base[key]]
