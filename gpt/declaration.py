"""How a setting is declared: its group, help, unit and range."""

from __future__ import annotations

from typing import Any

from pydantic import Field

GROUPS = (
    "data",
    "model",
    "optimizer",
    "schedule",
    "evaluation and logging",
    "sampling",
    "system",
)


def setting(
    default: Any,
    group: str,
    help: str,
    *,
    unit: str = "",
    main: bool = False,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    pattern: str | None = None,
) -> Any:
    """A field of `Config`; `main` fields are the eight that the form shows unfolded."""
    return Field(
        default,
        description=help,
        ge=ge,
        gt=gt,
        le=le,
        lt=lt,
        pattern=pattern,
        json_schema_extra={"group": group, "unit": unit, "main": main},
    )
