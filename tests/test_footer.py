"""The line of keys: what it shows, what goes when there is no room, and what a click does."""

from __future__ import annotations

import gc
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.widget import Widget

from tui.footer import Footer


class Desk(App[None]):
    """Keys of which one can act only while `open`, and one is never shown."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("o", "turn", "open"),
        Binding("c", "close", "close"),
        Binding("x", "turn", "secret", show=False),
        Binding("question_mark", "help", "help", key_display="?"),
        Binding("q", "quit", "quit"),
    ]
    ENABLE_COMMAND_PALETTE = False
    opened = False

    def compose(self):
        yield Footer()

    def action_turn(self) -> None:
        self.opened = not self.opened
        self.refresh_bindings()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return self.opened if action == "close" else True

    def drawn(self) -> str:
        return self.screen.query_one(Footer).render_line(0).text.rstrip()


async def test_only_keys_that_can_act_are_drawn() -> None:
    # given
    async with Desk().run_test(size=(60, 5)) as pilot:
        app = pilot.app
        assert isinstance(app, Desk)
        await pilot.pause()
        assert app.drawn() == "o open  ? help  q quit"

        # when
        await pilot.press("o")
        await pilot.pause()

        # then
        assert app.drawn() == "o open  c close  ? help  q quit"


async def test_help_and_quit_stay_where_there_is_no_room() -> None:
    # given, when
    async with Desk().run_test(size=(18, 5)) as pilot:
        await pilot.pause()

        # then
        assert isinstance(pilot.app, Desk)
        assert pilot.app.drawn() == "? help  q quit"


async def test_a_click_presses_the_key_under_it() -> None:
    # given
    async with Desk().run_test(size=(60, 5)) as pilot:
        await pilot.pause()

        # when: on the "p" of "open", past the blank at the left
        await pilot.click(Footer, offset=(4, 0))
        await pilot.pause()

        # then
        assert isinstance(pilot.app, Desk)
        assert pilot.app.opened


async def test_changing_keys_leaves_no_widgets_behind() -> None:
    # given
    async with Desk().run_test(size=(60, 5)) as pilot:
        await pilot.press("o", "o")
        gc.collect()
        before = sum(issubclass(type(found), Widget) for found in gc.get_objects())

        # when
        await pilot.press(*"oooooooooo")

        # then
        gc.collect()
        assert sum(issubclass(type(found), Widget) for found in gc.get_objects()) == before
