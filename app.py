"""Nanodeck's entry point: without a command it opens the screen."""

from __future__ import annotations

import gc
import io
import sys

USAGE = """\
usage: python app.py [PRESET] [--start] [--key=value ...]      the screen
       python app.py train CONFIG [--key=value ...] [--out_dir=] [--json]
                                                               train without it
       python app.py resume RUN [--key=value ...] [--checkpoint=] [--json]
                                                               go on where it stopped
       python app.py sample RUN [--start= --num_samples= --max_new_tokens= --temperature=
                                 --top_k= --seed= --checkpoint= --device= --threads=]
       python app.py eval RUN [--checkpoint= --device=] [--json]
                                                               exact loss of both splits
       python app.py prepare CORPUS                            fetch and tokenise a text
       python app.py bench [CONFIG] [--key=value ...] [--json] where a step's time goes
       python app.py runs [--json]                             the runs here, newest first

CONFIG is a preset's name, a TOML file or a nanoGPT config file; RUN is a run's folder, name,
unique prefix, or last; CORPUS is shakespeare_char, shakespeare or the path of a text. Every
setting is a flag. The screen also takes --ascii (no line drawing) and --no-mouse.
"""
COMMANDS = ("train", "resume", "sample", "eval", "prepare", "bench", "runs")
SWITCHES = ("start", "ascii", "no-mouse")


def main(argv: list[str] | None = None) -> int:
    """Run what the command line says; the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal's encoding lacks is spelt out, not a crash.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if argv == ["--version"]:
        print(f"nanodeck {_version()}")
        return 0
    if any(word in ("-h", "--help", "help") for word in argv):
        print(USAGE, end="")
        return 0
    try:
        if argv and argv[0] in COMMANDS:
            from gpt import cli

            return cli.main(argv)
        return _screen(argv)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("gpt", "tui"):
            raise
        print(
            f"nanodeck: the package {package} is missing; install what is needed with: "
            "python -m pip install -e .",
            file=sys.stderr,
        )
        return 2


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("nanodeck")
    except PackageNotFoundError:
        return "that is not installed"


def _screen(argv: list[str]) -> int:
    """Open the screen, on a preset if one is named."""
    from gpt.arguments import Arguments, UsageError
    from gpt.errors import Refused
    from tui import terminal

    try:
        arguments = Arguments.split(argv, SWITCHES)
        preset = arguments.words[0] if arguments.words else None
        if preset is not None:
            _check_preset(preset)
        if len(arguments.words) > 1:
            raise UsageError(f"one preset at a time; {arguments.words[1]!r} is one too many.")
        values = {key: text for key, text in arguments.flags.items() if key not in SWITCHES}
        if values:
            arguments.settings(*SWITCHES)
        if reason := terminal.unusable():
            raise UsageError(reason)
    except Refused as error:
        from gpt.text import visible

        for line in str(error).splitlines():
            print(f"nanodeck: {visible(line)}", file=sys.stderr)
        return 2
    # Start-up makes next to no garbage, and looking for it takes a tenth of the time. Collecting
    # begins once everything is imported: see `tui.imports.import_trainer`.
    gc.disable()
    from tui.main import Options
    from tui.main import main as open_screen

    return open_screen(
        Options(
            preset=preset,
            values=values,
            start=arguments.has("start"),
            ascii=arguments.has("ascii"),
            mouse=not arguments.has("no-mouse"),
        )
    )


def _check_preset(name: str) -> None:
    """Raise PresetError unless there is such a preset; a mistyped command is told as one."""
    import difflib

    from gpt import presets
    from gpt.arguments import UsageError

    if close := difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.75):
        raise UsageError(f"{name!r} is not a command. Did you mean {close[0]}?")
    try:
        presets.find(name)
    except presets.PresetError as error:
        raise UsageError(f"{error} Commands are: {', '.join(COMMANDS)}.") from None


if __name__ == "__main__":
    raise SystemExit(main())
