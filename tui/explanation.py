"""What the person is at, explained: always visible, without a mouse."""

from __future__ import annotations

from textual.content import Content

from gpt.text import visible
from tui.draft import Draft, Verdict, to_field
from tui.shelf import Entry
from tui.still import Still


class Explanation(Still):
    """A few lines below the form."""

    def show_setting(self, name: str, draft: Draft, verdict: Verdict) -> None:
        """What a setting does, what it may be, and what it is elsewhere."""
        from gpt.settings import settings

        setting = settings()[name]
        error, warning = verdict.errors.get(name, ""), verdict.warnings.get(name, "")
        allowed = f"{setting.unit}, {setting.allowed}" if setting.unit else setting.allowed
        default = to_field(name, setting.default)
        elsewhere = f"default {default}   this preset {draft.preset_text(name)}"
        # In one line where they fit, so that there is room for what was measured.
        gap = "   " if len(name) + len(allowed) + len(elsewhere) + 5 <= self.size.width else "\n"
        parts = [Content.assemble((name, "bold"), (f"  {allowed}{gap}{elsewhere}", "dim"))]
        if error:
            parts.append(Content.styled(f"✗ {visible(error, keep='')}", "$text-error"))
        elif warning:
            parts.append(Content.styled(f"! {name} {warning}", "$text-warning"))
        parts.append(Content(setting.help))
        if setting.measured:
            parts.append(Content.styled(setting.measured, "dim"))
        self.put(Content("\n").join(parts))

    def show_group(self, group: str, names: list[str]) -> None:
        """What is folded away under a title."""
        self.put(Content.assemble((group, "bold"), ("  enter unfolds\n", "dim"), ", ".join(names)))

    def show_preset(self, entry: Entry) -> None:
        """Where a preset comes from, and what can be done with it."""
        path = str(entry.preset.path) if entry.preset.path.name else "not saved"
        about = entry.preset.description
        self.put(
            Content.assemble(
                (visible(entry.name, keep=""), "bold"),
                (f"  {'shipped' if entry.preset.shipped else visible(path, keep='')}\n",
                 "dim"),
                visible(about, keep="") + "\n" if about else "",
                ("enter goes to its settings, t trains it", "dim"),
            )
        )  # fmt: skip
