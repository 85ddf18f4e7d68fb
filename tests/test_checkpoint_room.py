"""A disk that is full or refuses while a run trains."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filling
import pytest
import soak

import gpt
from gpt import checkpoint, room
from gpt.control import Control, Stopped
from gpt.disk import Shortage
from gpt.events import Event, Finished, Notice, Saved, Step
from gpt.runs import Run
from gpt.settings import make_config


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What `tests/filling.py` says about its runs on a real small disk."""
    folder = tmp_path_factory.mktemp("filling")
    return json.loads(soak.python("tests.filling", str(folder), prefix=soak.new_mounts()))


@pytest.mark.slow
@pytest.mark.parametrize("when", ["room made", "full at the end"])
def test_on_a_full_disk_a_run_pauses_and_goes_on_when_there_is_room(
    told: dict[str, Any], when: str
) -> None:
    found, undisturbed = told[when], told["undisturbed"]
    assert found["phases"].count("paused") == 1
    (notice,) = found["notices"]
    figures = re.search(r"has no room: a checkpoint needs (\d+) kB and (\d+) kB are free", notice)
    assert figures is not None
    needed, free = int(figures[1]), int(figures[2])
    assert needed > 70
    assert free == 0 if when == "room made" else 20 <= free <= 41
    # And then everything is as it would have been.
    for what in ("losses", "saved", "kept", "finished", "newest"):
        assert found[what] == undisturbed[what]
    assert not found["still_paused"]
    assert not found["live"]


@pytest.mark.slow
def test_what_the_journal_lost_on_a_full_disk_is_told_in_it(told: dict[str, Any]) -> None:
    found = told["room made"]
    lost = found["events"] - found["journaled"]
    assert lost > 10
    assert found["gaps"] == [f"the journal has a gap here: the disk refused {lost} lines"]
    assert told["undisturbed"]["gaps"] == []
    assert told["undisturbed"]["journaled"] == told["undisturbed"]["events"]


@pytest.mark.slow
def test_a_run_stopped_on_a_full_disk_ends_and_says_that_it_is_not_saved(
    told: dict[str, Any],
) -> None:
    found = told["stopped"]
    assert found["finished"] == ["stopped"]
    assert found["saved"] == []
    assert found["newest"] == "d has no checkpoint yet."
    assert all(notice.startswith("not saved: ") for notice in found["notices"])
    assert len(found["notices"]) == 2
    assert not found["live"]


class Person(Control):
    """Does one thing after another, each when the run waits."""

    def __init__(self, *does: Callable[[Person], None]) -> None:
        super().__init__()
        self.does = list(does)

    def wait(self, seconds: float) -> None:
        self.does.pop(0)(self)


def nothing(_: Control) -> None:
    return None


def hours() -> Callable[[], float]:
    """A clock that is an hour further at each look."""
    times = iter(range(0, 10**9, 3600))
    return lambda: float(next(times))


@pytest.fixture
def shortage(tmp_path: Path) -> Shortage:
    """One that does not come to an end."""
    return Shortage(tmp_path, needed=10**18, free=0)


def test_waiting_ends_when_a_person_presses_go_on(shortage: Shortage) -> None:
    control = Person(nothing, nothing, Control.go_on)
    room.wait(shortage, control, clock=lambda: 0.0)
    assert control.does == []
    assert not control.paused


def test_waiting_ends_when_a_person_stops_the_run(shortage: Shortage) -> None:
    control = Person(nothing, Control.stop)
    with pytest.raises(Stopped):
        room.wait(shortage, control, clock=lambda: 0.0)


def test_waiting_ends_when_there_is_room(tmp_path: Path) -> None:
    control = Person()
    room.wait(Shortage(tmp_path, needed=1, free=0), control, clock=lambda: 0.0)
    assert not control.paused


def test_what_the_disk_does_not_tell_of_is_tried_again_after_a_while(tmp_path: Path) -> None:
    # given: a quota, so that there is room and yet there is none
    quota = Shortage(tmp_path, needed=1, free=10**18)
    control = Person(nothing)
    room.wait(quota, control, clock=iter([0.0, 1.0, room.RETRY + 1]).__next__)
    assert control.does == []


def test_much_more_room_is_news_where_there_seemed_to_be_enough(tmp_path: Path) -> None:
    # given a clock that stands still, so that only the disk's news can end the wait
    control = Person()

    # when
    room.wait(Shortage(tmp_path, needed=1, free=2), control, clock=lambda: 0.0)

    # then training goes on, as it did before
    assert not control.paused


def test_a_run_that_was_paused_by_a_person_stays_so(shortage: Shortage) -> None:
    control = Control()
    control.pause()
    room.wait(shortage, control, clock=hours())
    assert control.paused


def test_after_another_fault_training_goes_on_and_the_next_save_tries_again(
    cache_dir: Path, tmp_path: Path
) -> None:
    # given: something in the way of the first checkpoint
    text = tmp_path / "text.txt"
    text.write_text(filling.TEXT)
    run, events = Run(tmp_path / "run"), list[Event]()
    config = make_config(filling.SETTINGS | {"dataset": str(text), "max_iters": 40})
    config = config.model_copy(update={"eval_interval": 20})
    for event in gpt.train(config, run):
        events.append(event)
        if isinstance(event, Step) and event.step == 1:
            run.checkpoints.write_text("in the way")
        if isinstance(event, Step) and event.step == 30:
            run.checkpoints.unlink()

    # then
    (notice,) = (event for event in events if isinstance(event, Notice))
    assert notice.step == 20
    assert notice.text.startswith("not saved: ")
    assert "File exists" in notice.text
    assert [event.step for event in events if isinstance(event, Saved)] == [40]
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "done"
    assert checkpoint.load(checkpoint.find(run, "last")[0]).state["step"] == 40
