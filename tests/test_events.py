"""Events: JSON both ways."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt import events
from gpt.events import Eval, Event, Finished, Sample, Step, from_json, to_json

numbers = st.floats(allow_nan=False, allow_infinity=False)
samples = st.builds(
    Sample, step=st.integers(0), prompt=st.text(), seed=st.integers(0), text=st.text()
)
evals = st.builds(Eval, step=st.integers(0), train=numbers, val=numbers, best=st.booleans())


@given(samples | evals)
def test_an_event_comes_back_from_its_line_as_it_was(event: Event) -> None:
    assert from_json(to_json(event)) == event


@given(samples)
def test_a_line_is_plain_ascii_without_control_characters(event: Sample) -> None:
    line = to_json(event)
    assert line.isascii()
    assert line.isprintable()


def test_a_journal_line_looks_as_documented() -> None:
    event = Step(
        time=1763822415.2, step=10, loss=3.7366, lr=1e-4, grad_norm=None, ms=40.0,
        tokens_per_s=19200.0, mfu=None, tokens=8448, seconds=1.5, memory=612_000_000,
    )  # fmt: skip
    line = to_json(event)
    assert line.startswith('{"event": "step", "time": 1763822415.2, "step": 10, "loss": 3.7366')
    assert json.loads(line)["mfu"] is None


def test_numbers_that_are_not_finite_become_null() -> None:
    event = Eval(step=3, train=math.nan, val=math.inf)
    assert from_json(to_json(event)) == Eval(time=event.time, step=3, train=None, val=None)


def test_what_a_newer_version_wrote_is_passed_over() -> None:
    assert from_json('{"event": "teleported", "time": 1.0}') is None
    line = '{"event": "finished", "time": 1.0, "reason": "done", "mood": "glad"}'
    assert from_json(line) == Finished(time=1.0, reason="done")


@pytest.mark.parametrize("line", ["[]", "3", "{", '{"event": "eval", "time": 1.0}', "", "null"])
def test_what_is_no_event_is_refused(line: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json's own error is one
        from_json(line)


def test_every_event_of_the_union_can_be_written() -> None:
    kinds = set(events._KINDS.values())
    assert set(events.Event.__args__) == kinds
