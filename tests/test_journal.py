"""The journal: readable whatever happened to it, and never in the way of a training."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpt.events import Event, Notice, Sample, Saved, Step, to_json
from gpt.journal import Journal, follow
from gpt.runs import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "run").mkdir()
    return Run(tmp_path / "run")


def a_step(step: int) -> Step:
    return Step(
        time=1.7e9 + step, step=step, loss=1 / (step + 1), lr=1e-3, grad_norm=0.5, ms=3.0,
        tokens_per_s=1e4, mfu=None, tokens=64 * step, seconds=0.1 * step, memory=10**6,
    )  # fmt: skip


def some_events() -> list[Event]:
    """A journal's end: figures, a text with everything in it, a checkpoint."""
    text = "Ä „quoted“ \\ \x1b]0;title\x07 \u202e 🂡\n{}"
    return [
        *(a_step(step) for step in range(5)),
        Sample(time=1.0, step=5, prompt="\n", seed=1, text=text, done=True),
        Saved(time=2.0, step=5, path="checkpoints/step-000005", kind="best"),
        Notice(time=3.0, step=5, level="error", text="not saved: the disk has no room"),
    ]


def written(run: Run, events: list[Event]) -> bytes:
    journal = Journal(run)
    for event in events:
        journal.append(event)
    journal.close()
    return run.journal.read_bytes()


@pytest.mark.slow
def test_cut_at_every_byte_of_its_last_three_lines_it_is_read_and_goes_on(run: Run) -> None:
    # given
    events = some_events()
    whole = written(run, events)
    lines = whole.splitlines(keepends=True)
    start = len(whole) - sum(map(len, lines[-3:]))
    later = a_step(9)
    for cut in range(start, len(whole) + 1):
        # when
        run.journal.write_bytes(whole[:cut])

        # then: the lines that are whole, and the one that lacks nothing but its end
        kept = whole[:cut].count(b"\n") + (whole[cut : cut + 1] == b"\n")
        assert list(follow(run)) == events[:kept]

        # when: a process goes on with it
        journal = Journal(run)
        journal.append(later)
        journal.append(later)
        journal.close()

        # then
        assert list(follow(run)) == [*events[:kept], later, later]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(tail=st.binary(max_size=40))
def test_after_any_garbage_it_goes_on(run: Run, tail: bytes) -> None:
    events = some_events()
    run.journal.unlink(missing_ok=True)
    whole = written(run, events)
    run.journal.write_bytes(whole + tail)
    found = written(run, [a_step(9)])
    assert found.startswith(whole + tail)
    assert list(follow(run))[: len(events)] == events
    assert list(follow(run))[-1] == a_step(9)


@contextlib.contextmanager
def room_up_to(size: int) -> Generator[None]:
    """A real limit of the system: a file takes bytes up to this size, and then refuses."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def ends(events: list[Event]) -> list[int]:
    """The size of a journal after each of these."""
    return list(itertools.accumulate(len(to_json(event)) + 1 for event in events))


STEPS = [a_step(step) for step in range(6)]
ROOMS = {*range(0, 800, 13), *(end + near for end in ends(STEPS)[:4] for near in (-2, -1, 0, 1))}


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_what_a_full_disk_refuses_is_a_gap_that_is_told(run: Run, room: int) -> None:
    # given
    steps = STEPS
    journal = Journal(run)

    # when: there is room for a part of four lines, and later for all
    with room_up_to(room):
        for event in steps[:4]:
            journal.append(event)
    lost = journal.lost
    for event in steps[4:]:
        journal.append(event)
    journal.close()

    # then
    found = list(follow(run))
    assert [event for event in found if isinstance(event, Step)] == steps[: 4 - lost] + steps[4:]
    notices = [event.text for event in found if isinstance(event, Notice)]
    lines = "1 line" if lost == 1 else f"{lost} lines"
    expected = f"the journal has a gap here: the disk refused {lines}"
    assert notices == ([expected] if lost else [])
    assert lost == sum(room < end - 1 for end in ends(STEPS)[:4])


def test_a_gap_at_the_very_end_is_told_when_it_is_closed(run: Run) -> None:
    journal = Journal(run)
    with room_up_to(20):
        journal.append(a_step(1))
    journal.close()
    (notice,) = follow(run)
    assert isinstance(notice, Notice)
    assert "refused 1 line" in notice.text


def test_a_disk_that_stays_full_is_no_error(run: Run) -> None:
    journal = Journal(run)
    with room_up_to(0):
        journal.append(a_step(1))
        journal.close()
    assert list(follow(run)) == []


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    run = Run(tmp_path / "away")
    journal = Journal(run)
    journal.append(a_step(1))
    run.path.mkdir()
    journal.append(a_step(2))
    journal.close()
    notice, step = follow(run)
    assert isinstance(notice, Notice)
    assert step == a_step(2)


def test_lines_too_long_or_of_another_version_are_passed_over(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt.reader.LONGEST", 2000)
    lines = [to_json(a_step(1)), "{" * 5001, '{"event": "quantum", "time": 1}', to_json(a_step(2))]
    run.journal.write_text("\n".join(lines) + "\n")
    assert list(follow(run)) == [a_step(1), a_step(2)]
