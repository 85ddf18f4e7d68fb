"""The setup screen: choose a preset, change it, see what the run will be, train."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Button, Input, OptionList

from gpt.presets import Preset, PresetError
from gpt.text import visible
from tui.desk import Desk
from tui.draft import Verdict
from tui.editor import Editor
from tui.footer import Footer
from tui.forecast import Forecast, ForecastPane
from tui.form import Form
from tui.lines import app_of
from tui.measures import COLUMNS, PANES, ROWS, classes
from tui.messages import Bench, OpenRuns, Train
from tui.preflight import PROGRAM
from tui.presets import PresetList, PresetsPane
from tui.prospect import Prospect
from tui.save import SaveDialog
from tui.screen import SteadyScreen
from tui.shelf import Entry, Shelf
from tui.start import Start
from tui.status import StatusLine
from tui.still import Still

if TYPE_CHECKING:
    from gpt.config import Config

LAYOUT_SECONDS = 0.5
"""After which the screen is drawn even if its list has no room to be laid out in."""
LATER = ("gpt.settings", "gpt.corpus", "gpt.estimate", "gpt.nanogpt")
"""Imported after the first paint."""


class SetupScreen(SteadyScreen[None]):
    """Presets, their settings and what the run will be: side by side, or one at a time.

    Args:
        preset: the name or path to open on; the one for this kind of machine when None.
        values: raw `--key=value` texts, laid over the preset.
        program: the command that measures; empty for none.

    Attributes:
        ready: set once the form is filled, which is after the first paint.
    """

    CSS_PATH = "nanodeck.tcss"
    HORIZONTAL_BREAKPOINTS = COLUMNS
    VERTICAL_BREAKPOINTS = ROWS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t,f5", "train", "train"),
        Binding("escape", "leave", "back", key_display="esc"),
        Binding("slash", "filter", "filter"),
        Binding("ctrl+r", "reset", "reset"),
        Binding("R", "reset_all", "reset all"),
        Binding("R", "bring_back", "bring edits back"),
        Binding("w,ctrl+s", "save", "save preset"),
        Binding("r", "runs", "runs"),
        Binding("b", "bench", "bench"),
        *(Binding(str(n), f"go('{pane}')", pane, show=False) for n, pane in enumerate(PANES, 1)),
    ]

    def __init__(
        self,
        preset: str | None = None,
        values: Mapping[str, str] | None = None,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        super().__init__()
        self.shelf = Shelf()
        self.entry = Entry.of(Preset("new", Path(), "", {}, shipped=False))
        self.verdict = Verdict(None)
        self.prospect = Prospect(self._learnt, program)
        self._opening = preset, dict(values or {})
        self.ready = asyncio.Event()
        self._unpainted = contextlib.ExitStack()
        self._painted = False

    def compose(self) -> ComposeResult:
        """The presets alone; form and forecast come after the first paint."""
        self._unpainted.enter_context(app_of(self).batch_update())
        # Textual sets them only after it has laid the screen out once without them.
        self.add_class(*classes(app_of(self).size))
        yield Still("nanodeck", id="setup-title")
        with Desk(id="desk"):
            yield PresetsPane(id="pane-presets")
        yield Still(id="room")  # for what comes below, so that the list does not shrink then

    # --- starting

    def on_mount(self) -> None:
        """Show the presets at once, everything else after the first paint."""
        self.set_timer(LAYOUT_SECONDS, self._paint_first)
        self.shelf.reload()
        self.entry = self._first_entry()
        self._draw_presets()
        self._list.choose(self.entry)
        self._list.focus()

    @on(PresetList.LaidOut)
    def _paint_first(self) -> None:
        """Until now nothing was drawn, since all of it would have been drawn again at once."""
        if not self._painted:
            self._painted = True
            self._unpainted.close()
            self.refresh()
            self.call_after_refresh(self._furnish)

    def _first_entry(self) -> Entry:
        name, _ = self._opening
        try:
            if name is not None:
                return self.shelf.find(name)
        except PresetError as error:
            self._tell(str(error))
        return self.shelf.first(self.prospect.has_gpu)

    @work
    async def _furnish(self) -> None:
        parts = Editor(id="pane-settings"), ForecastPane(id="pane-forecast"), Start(id="start")
        with app_of(self).batch_update():
            await self._desk.furnish(*parts)
            await self.mount(StatusLine(), Footer())
            await self.query_one("#room").remove()
        await asyncio.to_thread(_import_later)
        for problem in self.entry.draft.lay_over(self._opening[1]):
            self._tell(problem)
        await self._editor.form.fill(self.entry.draft)
        self.ready.set()
        self._open(self.entry)

    # --- what the App asks

    @work(exclusive=True, group="train")
    async def press_train(self) -> None:
        """Train what the form says, as soon as it can be checked; say why not, if not."""
        await self.ready.wait()
        config = await self._collect()
        if config is not None:
            self.query_one(Start).forget_newcomer()
            self.stop_measuring()
            self.post_message(Train(config, self.entry.name))

    @work(exclusive=True, group="train")
    async def press_bench(self) -> None:
        """Measure what training costs that the form says; say why not, if it cannot be used."""
        await self.ready.wait()
        config = await self._collect()
        if config is not None:
            self.stop_measuring()
            self.post_message(Bench(config, self.entry.name))

    @work(exclusive=True, group="edit")
    async def edit(self, values: Mapping[str, Any], name: str) -> None:
        """Load a run's settings as edits, to change one thing.

        Args:
            values: the settings that differ from the defaults.
            name: of the run, or of the preset that it was started from.
        """
        await self.ready.wait()
        self._open(self.shelf.lay_over(values, name))
        self._desk.show("settings")
        await self._editor.go_to("dataset")

    def refuse(self, dataset: str, words: str) -> None:
        """A run of this text could not begin: say so beside it, until it is known to be sound."""
        self.prospect.refusals[dataset] = words

    def stop_measuring(self) -> None:
        """Leave the machine to the training, or to the bench."""
        self.prospect.preflight.stop()

    def resume_measuring(self) -> None:
        """Measure again, unless a run is under way."""
        session = getattr(app_of(self), "session", None)
        if session is None or session.over:
            self.prospect.preflight.start()

    async def on_unmount(self) -> None:
        """The measuring program ends with the screen."""
        await self.prospect.close()

    def on_screen_resume(self) -> None:
        """Back from a run or a dialog: presets may have come and gone."""
        if not self.ready.is_set():
            return
        for name in self.shelf.reload():
            self._tell(f"The preset {name} is gone; its settings stay here until you leave.")
        self._judge()
        self.ask()

    # --- one preset in one form

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        self.entry = self.shelf.entries[event.option_index]
        self._show_entry()

    @on(OptionList.OptionSelected)
    def _chosen(self) -> None:
        if self.ready.is_set():
            self._desk.show("settings")
            self._editor.form.enter()

    def _open(self, entry: Entry) -> None:
        self.entry = entry
        self._draw_presets()
        with self.prevent(OptionList.OptionHighlighted):
            self._list.choose(entry)
        self._show_entry()

    def _show_entry(self) -> None:
        if self.ready.is_set():
            self._editor.show(self.entry, self.verdict)
            self._judge()

    @on(Form.Changed)
    def _judge(self) -> None:
        """See what the draft comes to, say so everywhere, and have it measured if it is new."""
        before = self.verdict.config
        self._learnt()
        self.refresh_bindings()
        if self.verdict.config != before:
            self.ask()

    def _learnt(self) -> None:
        """Draw what is known by now."""
        self.verdict = self.prospect.check(self.entry.draft)
        self._editor.judge(self.verdict)
        config = self.verdict.config
        outlook = self.prospect.outlook(config) if config else None
        self.query_one(Forecast).show(outlook)
        self.query_one(Start).show(self.verdict.reason, outlook)
        self._draw_presets()

    def ask(self) -> None:
        """Have what the form says measured, unless a run is under way."""
        config = self.verdict.config
        if config is not None:
            self.resume_measuring()
            self.prospect.ask(config, self.shelf.configs())

    async def _collect(self) -> Config | None:
        """What the form says; None when it cannot be used, having said why and gone there."""
        self._editor.form.collect()
        self._judge()
        if self.verdict.config is None:
            self._tell(self.verdict.reason or "")
            for name in list(self.verdict.errors)[:1]:
                self._desk.show("settings")
                await self._editor.go_to(name)
        return self.verdict.config

    def _draw_presets(self) -> None:
        times = self.prospect.times(self.shelf.entries) if self.ready.is_set() else {}
        self.query_one(PresetsPane).show(self.shelf, times)

    # --- keys

    def action_train(self) -> None:
        """Train."""
        self.press_train()

    @on(Button.Pressed, "#train")
    def _pressed(self) -> None:
        self.press_train()

    def action_bench(self) -> None:
        """Measure what training costs here."""
        self.press_bench()

    def action_leave(self) -> None:
        """One step out: of the filter, of a field, of the form."""
        if not self._editor.leave():
            self.action_go("presets")

    def action_go(self, pane: str) -> None:
        """Show a pane and put the focus there."""
        self._desk.go(pane)

    def action_filter(self) -> None:
        """Narrow the form down to some settings."""
        self._desk.show("settings")
        self._editor.open_filter()

    def action_reset(self) -> None:
        """The preset's value for this field."""
        self._editor.form.reset_current()

    def action_reset_all(self) -> None:
        """The preset's values for all fields."""
        self._editor.form.reset_all()

    def action_bring_back(self) -> None:
        """The edits that were reset all at once."""
        self._editor.form.reset_all()

    def action_runs(self) -> None:
        """The table of past runs."""
        self.post_message(OpenRuns())

    @work(exclusive=True, group="save")
    async def action_save(self) -> None:
        """Save what the form says as a preset."""
        config, entry = await self._collect(), self.entry
        if config is None:
            return
        saved = await app_of(self).push_screen_wait(SaveDialog(config, entry.preset))
        if saved is not None:
            entry.draft.edits.clear()
            self.shelf.reload()
            self._open(self.shelf.find(saved))
            self._tell(f"saved as {saved}", "information")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Only what can act now is offered."""
        draft = self.entry.draft
        match action:
            case (
                "leave" | "filter" | "save" | "bench" | "go" | "reset" | "reset_all" | "bring_back"
            ) if not self.furnished:
                return False
            case "leave":
                return not self._list.has_focus
            case "filter":
                return not isinstance(self.focused, Input)
            case "reset":
                return self._editor.form.current_is_changed
            case "reset_all":
                return bool(draft.edits)
            case "bring_back":
                return bool(draft.dropped) and not draft.edits
            case _:
                return True

    # --- parts

    @property
    def furnished(self) -> bool:
        """Whether the form stands there, filled."""
        return self.ready.is_set()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """At the list, the preset is explained."""
        if self.furnished and event.widget is self._list:
            self._editor.explain_entry()

    @property
    def _desk(self) -> Desk:
        return self.query_one(Desk)

    @property
    def _list(self) -> PresetList:
        return self.query_one(PresetList)

    @property
    def _editor(self) -> Editor:
        return self.query_one(Editor)

    def _tell(self, words: str, severity: Literal["information", "warning"] = "warning") -> None:
        self.notify(visible(words), severity=severity, markup=False)


def _import_later() -> None:
    for name in LATER:
        importlib.import_module(name)
