"""Make the README's pictures from the running app: a real run of the reference preset.

Takes about as long as 500 steps of it; runs in a temporary folder and writes docs/*.svg.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
SIZE = (120, 38)
SETUP_SECONDS = 8.0
"""Enough for the measurement to come in."""
SHOWN_STEP = 512
"""A little after an evaluation, while the sample is being typed."""


async def main() -> None:
    """Open the setup screen, take a picture, train, take another."""
    from tui.app import Nanodeck, Options

    app = Nanodeck(Options(preset="shakespeare_char_cpu"))
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause(SETUP_SECONDS)
        save(app.export_screenshot(title="nanodeck"), "setup.svg")
        await pilot.press("t")
        while app.session is None or app.session.view.record.step < SHOWN_STEP:
            await pilot.pause(0.2)
        await pilot.pause(1.0)
        save(app.export_screenshot(title="nanodeck"), "run.svg")
        app.session.stop()
        while not app.session.over:
            await pilot.pause(0.1)


def save(svg: str, name: str) -> None:
    (HERE / name).write_text(svg, "utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ.update(NANODECK_STATE_DIR=folder, TERM="xterm-256color", COLORTERM="truecolor")
        asyncio.run(main())
