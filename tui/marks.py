"""What a person pastes into a field may steer the terminal: it is shown as marks there too."""

from __future__ import annotations

from rich.highlighter import Highlighter
from rich.text import Text

from gpt.text import masked


class _Marks(Highlighter):
    """Changes what is drawn of a field's text and not the text."""

    def highlight(self, text: Text) -> None:
        """Put a mark of one column in the place of each character that is not to be drawn."""
        text.plain = masked(text.plain)


MARKS = _Marks()
"""For the `highlighter` of an `Input`, whose cursor counts characters."""
