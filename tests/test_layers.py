"""The layers: what each may know of the others, and what starting up may import."""

import subprocess
import sys

import pytest

LIBRARY = (
    "gpt.bench gpt.boundary gpt.checkpoint gpt.cli gpt.config gpt.console gpt.contention "
    "gpt.control gpt.corpus gpt.data gpt.estimate gpt.evaluate gpt.events gpt.history gpt.loop "
    "gpt.measure gpt.model gpt.nanogpt gpt.optim gpt.peak gpt.presets gpt.record gpt.runs "
    "gpt.sample gpt.settings gpt.tokenizer gpt.train gpt.world"
)


def modules_after(statement: str) -> set[str]:
    code = f"{statement}; import sys; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


def test_the_library_knows_nothing_of_screens() -> None:
    loaded = modules_after(f"import {LIBRARY.replace(' ', ', ')}")
    assert not loaded & {"textual", "rich", "plotext", "tui"}


@pytest.mark.parametrize(
    "statement",
    [
        "import gpt.config, gpt.settings, gpt.presets, gpt.nanogpt, gpt.estimate",
        "import gpt.runs, gpt.history, gpt.record; gpt.history.find_all()",
        "import gpt; gpt.Config(); gpt.Run; gpt.follow; gpt.Record",
        "import gpt.cli, gpt.corpus, gpt.tokenizer",
    ],
)
def test_looking_at_settings_and_runs_needs_no_torch(statement: str) -> None:
    assert "torch" not in modules_after(statement)


def test_the_screen_starts_without_what_it_does_not_need_yet() -> None:
    loaded = modules_after("import app, tui.app, tui.setup")
    assert not loaded & {"torch", "numpy", "pydantic", "plotext"}


def test_the_library_gives_its_names() -> None:
    import gpt

    assert all(hasattr(gpt, name) for name in gpt.__all__)
