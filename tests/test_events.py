"""Events: JSON both ways."""

import json
import math
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt import events, reader
from gpt.events import Eval, Event, Finished, Sample, Step, from_json, to_json
from gpt.record import Record

numbers = st.floats(-1e100, 1e100)
whole = st.integers(0, 2**63 + 2**40)  # a seed and a step
samples = st.builds(Sample, step=whole, prompt=st.text(), seed=whole, text=st.text())
evals = st.builds(Eval, step=whole, train=numbers, val=numbers, best=st.booleans())


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


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
odd = plain | st.lists(plain, max_size=2) | st.dictionaries(st.text(max_size=2), plain, max_size=2)
fields = sorted({name for kind in events._KINDS.values() for name in kind.__dataclass_fields__})


@given(
    st.sampled_from(sorted(events._KINDS)),
    st.dictionaries(st.sampled_from(fields), odd | st.just(10**400) | st.just(1e300), max_size=14),
)
def test_whatever_a_stranger_wrote_is_an_event_that_can_be_shown_or_is_refused(
    kind: str, values: dict[str, Any]
) -> None:
    line = json.dumps({"time": 1.0, **values, "event": kind}).encode()

    event = reader.parse(line)

    record = Record()
    if event is not None:
        record.fold(event)
        assert reader.parse(to_json(event).encode()) == event
        assert datetime.fromtimestamp(event.time).year >= 1969
    many = Record()
    reader.fold(many, [line + b"\n"] * 2)
    assert many.step == record.step


@pytest.mark.parametrize(
    "field",
    [
        '"time": "x"', '"time": -1', '"time": 1e12', '"loss": "1"', '"loss": [1]', '"lr": null',
        '"loss": NaN', '"tokens": 1e999', '"tokens": 1.5', '"memory": true', '"step": 1e3',
        f'"step": {10**30}',
    ],
)  # fmt: skip
def test_a_step_that_makes_no_sense_is_passed_over(field: str) -> None:
    # given: a line in which one figure is nonsense, later than the right one
    right = to_json(
        Step(time=9.0, step=1, loss=1.0, lr=1e-4, grad_norm=None, ms=4.0, tokens_per_s=1.0,
             mfu=None, tokens=8, seconds=1.5, memory=6)
    )  # fmt: skip
    line = f"{right[:-1]}, {field}}}\n".encode()

    # when
    record = Record()
    reader.fold(record, [right.encode() + b"\n", line])

    # then
    assert reader.parse(line) is None
    assert len(record.curve) == 1


def test_every_event_of_the_union_can_be_written() -> None:
    kinds = set(events._KINDS.values())
    assert set(events.Event.__args__) == kinds
