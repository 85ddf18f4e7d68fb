"""The commands that need no screen."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from gpt import console, garbage, history, nanogpt, presets
from gpt.arguments import Arguments, UsageError
from gpt.errors import Refused
from gpt.events import Event, Notice, Progress
from gpt.figures import as_dict
from gpt.headless import complain, end_progress, mute, report, say, show_progress
from gpt.names import is_possible
from gpt.runs import Run
from gpt.text import visible

if TYPE_CHECKING:
    from gpt.config import Config

Result = TypeVar("Result")

CONFIG = "a preset's name, a TOML file or a nanoGPT config file"
BENCHED = "shakespeare_char_cpu"
"""What is measured when nothing is named: the reference."""
PROMPT_BYTES = 1 << 20
SAMPLE_DEFAULTS = {
    "start": "\n",
    "num_samples": "10",
    "max_new_tokens": "500",
    "temperature": "0.8",
    "top_k": "200",
    "seed": "1337",
}
"""nanoGPT's."""


def main(argv: list[str]) -> int:
    """Run one command; its exit code."""
    command, rest = argv[0], argv[1:]
    try:
        return COMMANDS[command](Arguments.split(rest, ("json",)))
    except Refused as error:
        for line in str(error).splitlines():
            complain(line)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read the output has gone
        mute(1)
        return 1


def load(reference: str) -> tuple[str, dict[str, Any], list[str]]:
    """The name, settings and notes of a preset's name, a TOML file or a nanoGPT config file.

    Raises:
        PresetError: there is none, or it cannot be read.
    """
    if reference.endswith(".py"):
        values, notes = nanogpt.read_config(Path(reference))
        return Path(reference).stem.removeprefix("train_"), values, notes
    preset = presets.find(reference)
    return preset.name, dict(preset.values), []


def configure(arguments: Arguments) -> tuple[str, Config, list[str]]:
    """The configuration that the words and flags of a command mean.

    Raises:
        Refused: it cannot be used.
    """
    from gpt.settings import make_config

    reference = _one_word(arguments, CONFIG)
    name, values, notes = load(reference)
    passed_over = [key for key in nanogpt.ELSEWHERE if key in arguments.flags and key != "out_dir"]
    notes += [f"--{key} is passed over: {nanogpt.ELSEWHERE[key]}" for key in passed_over]
    values |= arguments.settings("json", "out_dir", *passed_over)
    return name, make_config(values, None if reference == name else reference), notes


def train_command(arguments: Arguments) -> int:
    """Train without a screen, printing nanoGPT's lines."""
    name, config, notes = configure(arguments)
    out_dir = arguments.flags.get("out_dir")
    run = Run.new(name, Path(out_dir) if out_dir else None)
    for note in notes:
        complain(note)
    with garbage.uncollected():
        from gpt.control import Control
        from gpt.train import train

    control = Control()
    return report(train(config, run, control), run, control, arguments.has("json"))


def resume_command(arguments: Arguments) -> int:
    """Go on with a run exactly where it stopped."""
    run, name = _run_and_checkpoint(arguments)
    values = arguments.settings("json", "checkpoint")
    with garbage.uncollected():
        from gpt.control import Control
        from gpt.train import resume

    control = Control()
    return report(resume(run, values, control, name), run, control, arguments.has("json"))


def sample_command(arguments: Arguments) -> int:
    """Write samples from a run's model."""
    from gpt.settings import ConfigError, Problem, make_config, parse

    arguments.only(*SAMPLE_DEFAULTS, "checkpoint", "device", "threads")
    run, name = _run_and_checkpoint(arguments)
    given = {**SAMPLE_DEFAULTS, **arguments.flags}
    count_text = given.pop("num_samples")
    if not count_text.isdecimal() or not 1 <= int(count_text) <= 10000:
        message = f"num_samples = {count_text!r} cannot be used. Allowed: 1 to 10000."
        raise ConfigError([Problem("num_samples", message)])
    keys = [key for key in given if key != "checkpoint"]
    options = make_config({key: parse(key, given[key]) for key in keys})
    prompt = _prompt(options.start)
    with garbage.uncollected():
        from gpt.sample import Sampler

    sampler = Sampler.open(run, name, options.device, options.threads)
    sampler.world.set_up()
    if sampler.notice:
        complain(sampler.notice)
    for text in sampler.write(
        prompt, int(count_text), options.max_new_tokens, options.temperature, options.top_k,
        options.seed,
    ):  # fmt: skip
        say(text)
        say("---------------")
    return 0


def eval_command(arguments: Arguments) -> int:
    """The exact loss of a run's model over each whole split."""
    from gpt.settings import make_config, parse

    arguments.only("json", "checkpoint", "device")
    options = make_config({"device": parse("device", arguments.flags.get("device", "auto"))})
    run, name = _run_and_checkpoint(arguments)
    with garbage.uncollected():
        from gpt import corpus, evaluate
        from gpt.data import Splits
        from gpt.sample import Sampler

    sampler = Sampler.open(run, name, options.device)
    sampler.world.set_up()
    if sampler.notice:
        complain(sampler.notice)
    config = run.config()
    text = _drained(corpus.prepare(config.dataset))
    if sampler.dataset_sha256 != text.sha256:
        raise UsageError(f"{config.dataset} is no longer the text that {run.name} was trained on.")
    splits = Splits(text)
    losses: dict[str, float] = {}
    for split_name, split in (("train", splits.train), ("val", splits.val)):
        total, count = 0.0, 0
        for loss, targets in evaluate.window_losses(
            sampler.model, split, config.block_size, sampler.world
        ):
            total, count = total + loss * targets, count + targets
            show_progress(Progress(
                phase="evaluating", done=count, total=len(split), unit=f"{split_name} tokens"
            ))  # fmt: skip
        losses[split_name] = total / count
    if arguments.has("json"):
        say(json.dumps(losses))
    else:
        say(f"step {sampler.step}: train loss {losses['train']:.4f}, val loss {losses['val']:.4f}")
    return 0


def prepare_command(arguments: Arguments) -> int:
    """Fetch and tokenise a corpus ahead of time."""
    from gpt import corpus

    arguments.only()
    dataset = _one_word(arguments, f"a path or one of {', '.join(corpus.known())}")
    text = _drained(corpus.prepare(dataset))
    say(
        f"{dataset}: {text.vocab_size:,} tokens in the vocabulary, {text.train_tokens:,} to train "
        f"on, {text.val_tokens:,} for validation"
    )
    say(f"kept in {text.folder}")
    return 0


def bench_command(arguments: Arguments) -> int:
    """Where the time of a training step goes on this machine, and how much of it that uses."""
    if not arguments.words:
        arguments = Arguments((BENCHED,), arguments.flags)
    name, config, notes = configure(arguments)
    for note in notes:
        complain(note)
    from gpt import bench

    figures = _drained(bench.bench(config))
    if arguments.has("json"):
        say(json.dumps({"config": name, **as_dict(figures)}))
    else:
        for line in console.table(visible(name, keep=""), figures):
            say(line)
    return 0


def runs_command(arguments: Arguments) -> int:
    """The runs here, newest first."""
    arguments.only("json")
    if arguments.words:
        raise UsageError(f"runs lists all there are; {arguments.words[0][:60]!r} is one too many.")
    summaries = history.find_all()
    if arguments.has("json"):
        for summary in summaries:
            print(json.dumps(history.as_dict(summary)), flush=True)
        return 0
    if not summaries:
        complain("there are no runs here yet; python app.py train tiny makes one.")
        return 0
    names = [visible(summary.name, keep="") for summary in summaries]
    width = max(map(len, names))
    say(f"{'run':{width}}  {'state':11}  {'step':>9}  {'best val':>8}  {'at step':>9}")
    for name, summary in zip(names, summaries, strict=True):
        best = "" if summary.best_val is None else f"{summary.best_val:.4f}"
        at = "" if summary.best_step is None else f"{summary.best_step:,}"
        say(f"{name:{width}}  {summary.state:11}  {summary.step:>9,}  {best:>8}  {at:>9}")
    return 0


COMMANDS: dict[str, Callable[[Arguments], int]] = {
    "train": train_command,
    "resume": resume_command,
    "sample": sample_command,
    "eval": eval_command,
    "prepare": prepare_command,
    "bench": bench_command,
    "runs": runs_command,
}


def _drained(events: Generator[Event, None, Result]) -> Result:
    """The generator's result; what it tells on the way goes to standard error."""
    try:
        while True:
            event = next(events)
            if isinstance(event, Progress):
                show_progress(event)
            elif isinstance(event, Notice):
                complain(event.text)
    except StopIteration as end:
        return end.value
    finally:
        end_progress()


def _one_word(arguments: Arguments, what: str) -> str:
    if len(arguments.words) != 1:
        given = " ".join(arguments.words[:3])
        told = f"and not {given[:80]!r}" if given else "and there is none"
        raise UsageError(f"one word is needed here, {told}: {what}.")
    return arguments.words[0]


def _run_and_checkpoint(arguments: Arguments) -> tuple[Run, str | None]:
    """The run, and the checkpoint's name where the path of one was given."""
    reference = _one_word(arguments, "a run's folder, name, unique prefix or last")
    name = arguments.flags.get("checkpoint")
    path = Path(reference)
    if path.parent.name == "checkpoints" and (path / "manifest.json").is_file():
        return Run(path.parent.parent), path.name
    return history.find(reference), name


def _prompt(start: str) -> str:
    if not start.startswith("FILE:"):
        return start
    path = Path(start.removeprefix("FILE:"))
    try:
        if not is_possible(path) or not path.is_file():
            raise UsageError(f"{path} is not a file.")
        if path.stat().st_size > PROMPT_BYTES:
            raise UsageError(f"{path} is too long for a prompt. Allowed: {PROMPT_BYTES:,} bytes.")
        return path.read_text("utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not text: byte {error.start} is not UTF-8.") from None
