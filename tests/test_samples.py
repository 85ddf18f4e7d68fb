"""The pane of samples in a run that has many of them."""

from __future__ import annotations

from pathlib import Path

from tests.test_run_screen import stage, state, training
from tui.lines import plain
from tui.samples import FIRST

__all__ = ["state"]


async def test_all_samples_are_there_once_somebody_scrolls(tmp_path: Path, state: Path) -> None:
    # given: a run with more samples than are put in rows at first
    count = FIRST + 10
    async with stage(tmp_path, training(50 * count - 49)) as scene:
        await scene.press("4")
        assert plain(scene.screen.samples.rows).count("ROMEO") == FIRST
        assert scene.text("samples").endswith(f"of step {50 * (count - 1)}")

        # when
        await scene.press("home")

        # then
        assert plain(scene.screen.samples.rows).count("ROMEO") == count
        assert "step 0 " in scene.screen.samples.visible_rows()[0][0][1]

        # when
        await scene.press("end")

        # then
        assert scene.screen.samples.following
        assert scene.text("samples").endswith(f"of step {50 * (count - 1)}")
