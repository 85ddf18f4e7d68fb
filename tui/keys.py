"""The keys of the run screen, and which of them can act."""

from __future__ import annotations

from dataclasses import replace

from textual.binding import ActiveBinding, Binding, BindingType

from gpt.record import Record
from tui.view import View

BINDINGS: list[BindingType] = [
    Binding("enter,P", "prompt", "prompt it", key_display="enter"),
    Binding("L", "longer", "train longer"),
    Binding("C", "edit", "change one thing"),
    Binding("p,space", "pause", "pause"),
    Binding("p,space", "go_on", "go on"),
    Binding("S", "stop", "stop"),
    Binding("e", "ask('evaluate')", "evaluate"),
    Binding("n", "ask('sample')", "sample"),
    Binding("c", "ask('save')", "save"),
    Binding("escape", "back", "back", key_display="esc"),
    Binding("l", "look('log')", "log"),
    Binding("x", "look('axis')", "axis"),
    Binding("m", "look('metric')", "metric"),
    Binding("y", "copy", "copy"),
    Binding("r", "runs", "runs"),
    Binding("left_square_bracket", "look('window', 1)", "less of the run", show=False),
    Binding("right_square_bracket", "look('window', -1)", "more of the run", show=False),
    Binding("minus", "look('smoothing', -1)", "smooth less", show=False),
    Binding("plus,equals_sign", "look('smoothing', 1)", "smooth more", show=False),
    Binding("end", "live", "follow the run", show=False),
    Binding("1", "pane(1)", "the chart; again: zoom", show=False),
    Binding("2", "pane(2)", "the figures; again: zoom", show=False),
    Binding("3", "pane(3)", "the evaluations; again: zoom", show=False),
    Binding("4", "pane(4)", "what the model writes; again: zoom", show=False),
    Binding("5", "pane(5)", "the log; again: zoom", show=False),
    Binding("0", "restore", "all panes", show=False),
]
WIDE = 100
"""Columns from which on the footer has room for all that it may show."""
SPARED = ("look('log')", "look('axis')", "look('metric')", "copy", "runs")
"""What it leaves out below that."""


def can_act(action: str, view: View) -> bool:
    """Whether an action has something to act on."""
    control, moving = view.control if view.live else None, view.moving
    match action:
        case "pause":
            return control is not None and not control.paused
        case "go_on":
            if not moving:
                return can_resume(view.record)
            return control is not None and control.paused
        case "stop" | "ask":
            return control is not None and not control.stopping
        case "prompt":
            return not moving and bool(view.record.saved)
        case "longer":
            return not moving and can_extend(view.record)
        case "edit":
            return not moving
        case _:
            return True


def can_resume(record: Record) -> bool:
    """Whether a run that does not move can go on from a checkpoint, and would not end as before."""
    reason = record.finished.reason if record.finished else ""
    return bool(record.saved) and reason not in ("done", "diverged")


def can_extend(record: Record) -> bool:
    """Whether a run has come to its end, and can be given more."""
    return bool(record.saved) and record.finished is not None and record.finished.reason == "done"


def fitted(found: dict[str, ActiveBinding], columns: int) -> dict[str, ActiveBinding]:
    """The bindings, some of them not shown where the footer is narrow, and there that of the
    panes, of which one is seen at a time."""
    if columns >= WIDE:
        return found
    return {key: active._replace(binding=_narrow(active.binding)) for key, active in found.items()}


def _narrow(binding: Binding) -> Binding:
    if binding.action == "pane(1)":
        return replace(binding, show=True, description="panes", key_display="1-5")
    return replace(binding, show=False) if binding.action in SPARED else binding
