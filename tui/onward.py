"""What leads from a run to what one does next with it."""

from __future__ import annotations

from gpt import reference
from gpt.reference import CurveError, Reference
from gpt.text import visible
from tui.messages import Edit, OpenRuns, Prompt, Resume
from tui.screen import SteadyScreen
from tui.view import View


class Onward(SteadyScreen[None]):
    """A screen that shows one run, and the ways on from there."""

    view: View

    def action_runs(self) -> None:
        """See all runs."""
        self.post_message(OpenRuns())

    def action_prompt(self) -> None:
        """Write with the trained model."""
        self.post_message(Prompt(self.view.run.path))

    def action_longer(self) -> None:
        """Train this run for as long again."""
        self.post_message(Resume(self.view.run.path))

    def action_edit(self) -> None:
        """Open the form on this run's settings."""
        values = self.view.config.model_dump(exclude_defaults=True)
        self.post_message(Edit(values, self.view.name))


def reference_of(view: View) -> tuple[Reference | None, str]:
    """The curve to draw behind the run's, and why there is none although there should be."""
    if view.reference is None:
        return None, ""
    try:
        return reference.read(view.reference), ""
    except CurveError as error:
        return None, visible(str(error))
