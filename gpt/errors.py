"""The one kind of error that is told to a person as it stands."""

OUT_OF_MEMORY = "there is not enough memory"
"""How the error of a run that ran out of memory begins, in words."""


class Refused(ValueError):  # noqa: N818 - it tells, it does not fail
    """What was asked for cannot be done; the message says what was wrong and what is allowed.

    Headless commands print it and exit with 2; the screen shows it beside the field or as a
    notice. Anything else that is raised is a fault of this program.
    """
