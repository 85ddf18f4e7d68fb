"""The presets as they stand on the setup screen: each with what a person changed in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt import presets
from gpt.names import short_name
from gpt.presets import Preset, PresetError
from tui.draft import Draft, to_field

if TYPE_CHECKING:
    from gpt.config import Config

FOR_A_CPU = "shakespeare_char_cpu"
FOR_A_GPU = "shakespeare_char"


@dataclass(slots=True, eq=False)
class Entry:
    """A preset and its draft. `lost`: its file is no longer there."""

    preset: Preset
    draft: Draft
    lost: bool = False

    @classmethod
    def of(cls, preset: Preset) -> Entry:
        """A preset with nothing changed."""
        return cls(preset, Draft(preset.values))

    @property
    def name(self) -> str:
        """The preset's name."""
        return self.preset.name


class Shelf:
    """All presets that can be read. A draft survives while its preset is not the one shown."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.problems: list[str] = []
        """A message for each preset that cannot be read."""

    def reload(self) -> list[str]:
        """Read the folders again; the names of the presets that have gone since.

        What has gone stays on the shelf: its settings may be in the form.
        """
        found, self.problems = presets.find_all()
        known = {entry.preset.path: entry for entry in self.entries}
        unsaved = {entry.name: entry for entry in self.entries if not entry.preset.path.name}
        gone: list[str] = []
        for preset in found:
            entry = known.get(preset.path) or unsaved.get(preset.name)
            if entry is None:
                self.entries.append(Entry.of(preset))
            else:
                entry.preset, entry.draft.values, entry.lost = preset, dict(preset.values), False
        for entry in self.entries:
            if not entry.lost and entry.preset.path.name and not entry.preset.path.exists():
                entry.lost = True
                gone.append(entry.name)
        return gone

    def configs(self) -> list[Config]:
        """The configurations of all entries that have one, as they stand."""
        configs = (entry.draft.check().config for entry in self.entries)
        return [config for config in configs if config is not None]

    def find(self, name: str) -> Entry:
        """The entry of that name, or of the preset in that file, which joins the shelf.

        Raises:
            PresetError: there is none, or it cannot be read.
        """
        for entry in self.entries:
            if entry.name == name:
                return entry
        preset = presets.find(name)
        for entry in self.entries:
            if entry.preset.path.resolve() == preset.path.resolve():
                return entry
        return self._put_first(preset)

    def first(self, has_gpu: bool) -> Entry:
        """The entry to begin with: the one made for this kind of machine."""
        wanted = FOR_A_GPU if has_gpu else FOR_A_CPU
        for entry in self.entries:
            if entry.name == wanted:
                return entry
        if self.entries:
            return self.entries[0]
        return self._put_first(Preset("new", Path(), "nanoGPT's own settings.", {}, shipped=False))

    def lay_over(self, values: Mapping[str, Any], name: str) -> Entry:
        """The settings of a run as edits of the preset that it was started from.

        Args:
            values: the run's settings that differ from the defaults.
            name: of the run or its preset. Without such a preset the settings get an entry.
        """
        from gpt.settings import settings

        name = short_name(name)
        try:
            entry = self.find(name)
        except PresetError:
            about = "The settings of a run."
            entry = self._put_first(Preset(name, Path(), about, values, shipped=False))
        entry.draft.edits.clear()
        for setting in settings().values():
            value = values.get(setting.name, setting.default)
            entry.draft.edit(setting.name, to_field(setting.name, value))
        return entry

    def _put_first(self, preset: Preset) -> Entry:
        entry = Entry.of(preset)
        self.entries.insert(0, entry)
        return entry
