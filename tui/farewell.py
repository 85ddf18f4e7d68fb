"""What is left in the shell when the app has gone: how the run ended, and what to do with it."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

from gpt.text import visible
from tui.keys import can_resume
from tui.view import View

ENDINGS = {
    "done": "Done",
    "stopped": "Stopped",
    "diverged": "Diverged",
    "failed": "Failed",
}


def farewell(view: View) -> list[str]:
    """The last words on a run: the reason, the best loss, the folder and the next commands."""
    record = view.record
    if record.finished is None:
        ending = "Left before it had stopped"
    else:
        ending = ENDINGS[record.finished.reason]
    steps = f"{record.step:,} of {record.max_iters:,}" if record.max_iters else f"{record.step:,}"
    parts = [f"{ending} at step {steps}"]
    if (best := record.best) and best.val is not None:
        parts.append(f"best val loss {best.val:.4f} at step {best.step:,}")
    lines = [visible(f"{view.name}: {', '.join(parts)}.")]
    if record.finished and record.finished.error:
        lines.append(visible(record.finished.error))
    if not view.run.path.is_dir():
        return lines
    lines.append(visible(f"{view.run.path}{os.sep}"))
    return lines + [f"  {command}" for command in commands(view)]


def commands(view: View) -> list[str]:
    """What can be done with the run now, as it is typed in a shell."""
    reference = shlex.quote(visible(_reference(view.run.path)))
    start = program()
    sample = [f"{start} sample {reference}", f"{start} eval {reference}"]
    resume = [f"{start} resume {reference}"] if can_resume(view.record) else []
    return [*resume, *(sample if view.record.saved else []), start]


def program() -> str:
    """How this program is called: the installed command, or the script."""
    called = Path(sys.argv[0]).name
    return "nanodeck" if called.split(".")[0] == "nanodeck" else "python app.py"


def _reference(path: Path) -> str:
    return path.name if path.parent == Path("runs") else str(path)
