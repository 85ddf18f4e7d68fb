"""`summary.json`: what it remembers is what the journal says, whatever happened to either."""

from __future__ import annotations

import dataclasses
import json
import struct
import sys
from array import array
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpt import reader, record, summary
from gpt.curve import Curve
from gpt.events import (
    Adjusted,
    Eval,
    Event,
    Finished,
    Notice,
    Phase,
    Sample,
    Saved,
    Started,
    Step,
    to_json,
)
from gpt.journal import Journal, follow
from gpt.record import Record
from gpt.runs import Run
from gpt.summary import Folding, Keeper, headline

ANY_RUN = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80, deadline=None
)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    (tmp_path / "run").mkdir()
    return Run(tmp_path / "run")


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds so small that a short journal reaches them all."""
    for name, bound in {"EVALS": 8, "NOTICES": 4, "CHARACTERS": 30, "LOG_LINES": 7}.items():
        monkeypatch.setattr(record, name, bound)
    monkeypatch.setattr(summary, "LOG_LINES", 7)
    monkeypatch.setattr(reader, "BLOCK", 3000)
    monkeypatch.setattr(Curve.__init__, "__defaults__", (16,))


def a_step(step: int, loss: float | None = 2.0) -> Step:
    return Step(
        time=100.0 + step, step=step, loss=loss, lr=1e-3, grad_norm=0.5, ms=10.0, tokens_per_s=7e4,
        mfu=None, tokens=step, seconds=0.01 * step, memory=1,
    )  # fmt: skip


def started(resumed_from: int | None = None) -> Started:
    return Started(
        step=resumed_from, max_iters=1000, params=1, tokens_per_iter=1, device="cpu",
        dtype="float32", threads=1, resumed_from=resumed_from,
    )  # fmt: skip


def in_json(*events: Event) -> list[bytes]:
    return [to_json(event).encode() + b"\n" for event in events]


def journal_of(pieces: list[tuple[str, int, float]]) -> bytes:
    """A journal in which a run goes on, stops, and is taken up again further back."""
    lines = in_json(started())
    step = 0
    for kind, number, value in pieces:
        match kind:
            case "steps":
                for _ in range(number):
                    lines += in_json(a_step(step, value if step % 7 else None))
                    step += 1
            case "eval":
                lines += in_json(Eval(step=step, train=value, val=value, best=number % 2 == 0))
                lines += in_json(Saved(step=step, path=f"c/{step}", kind="best"))
            case "sample":
                lines += in_json(Sample(step=step, prompt="", seed=1, text="x" * number))
                lines += in_json(Sample(step=step, prompt="", seed=1, text="é", done=True))
            case "notice":
                lines += in_json(Notice(step=step, level="info", text=str(number)))
                lines += in_json(Adjusted(step=step, knob="lr", value=value))
            case "resume":
                lines += in_json(Finished(step=step, reason="stopped"), Phase(name="preparing"))
                step = max(0, step - number)
                lines += in_json(started(step))
            case _:
                lines += ODD[number % len(ODD)]
    return b"".join(lines)


ODD = [
    [b"\n"],
    [b'{"event": "step", "ti\n'],
    [b", ".join(line.strip() for line in in_json(a_step(3), a_step(4))) + b"\n"],
    [b'{"event": "step", "time": 1.0, "loss": [1}\n', b'{"event": "step", "time": 1}]\n'],
    [b'{"event": "step", "event": "quantum"}\n'],
    [to_json(a_step(5)).replace('"step": 5', '"step": null').encode() + b"\n"],
    [to_json(a_step(5)).replace('"time": 105.0', '"time": null').encode() + b"\n"],
    [b'{"event": "step", "\xff": 1}\n', b"\xc3\n"],
    [
        to_json(a_step(6)).encode()[:-1] + b', "more": [{}\n',
        b'{"event": "step", "more": 1}]}\n',
        b", ".join(line.strip() for line in in_json(a_step(7), a_step(8))) + b"\n",
    ],
]
PIECES = st.lists(
    st.tuples(
        st.sampled_from(["steps", "steps", "eval", "sample", "notice", "resume", "odd"]),
        st.integers(0, 40),
        st.floats(0, 10),
    ),
    max_size=30,
)


def told_one_by_one(run: Run) -> str:
    """The record that the events of a journal make, one after the other, as text."""
    found = Record()
    for event in follow(run):
        found.fold(event)
    return in_words(found)


def in_words(found: Record) -> str:
    """All there is to a record, by its fields, so that one that a summary forgot is missed."""
    names = {field.name for field in dataclasses.fields(found)} - {"curve"}
    values = {name: getattr(found, name) for name in sorted(names)}
    return repr((values, found.curve.capacity, found.curve.parts()))


@ANY_RUN
@given(pieces=PIECES, first=st.floats(0, 1), second=st.floats(0, 1))
def test_read_on_from_anywhere_it_is_as_if_read_from_the_start(
    narrow: None, run: Run, pieces: list[tuple[str, int, float]], first: float, second: float
) -> None:
    # Given a journal that was summed up when it had any part of its bytes, and again later
    content = journal_of(pieces)
    (run.path / "summary.json").unlink(missing_ok=True)
    for share in sorted((first, second)):
        run.journal.write_bytes(content[: round(share * len(content))])
        folding = Folding.of(run)
        folding.catch_up()
        folding.write()
        # When it is read, with what there is of the last line, then it is what the events say
        assert in_words(run.record()) == told_one_by_one(run)
    run.journal.write_bytes(content)
    assert in_words(run.record()) == told_one_by_one(run)
    # And once more, from the summary alone
    assert headline(run) is not None
    assert in_words(run.record()) == told_one_by_one(run)


@pytest.mark.parametrize("odd", ODD)
def test_what_is_wrong_with_a_line_is_not_made_good_by_the_next(run: Run, odd: list[bytes]) -> None:
    run.journal.write_bytes(b"".join([*odd, *in_json(a_step(9)), *odd, *in_json(a_step(10))]))
    assert in_words(run.record()) == told_one_by_one(run)


def test_a_line_that_is_finished_while_others_are_read_is_taken_whole(run: Run) -> None:
    # Given a line of which a part is on the disk
    first, second = in_json(a_step(1), a_step(2))
    run.journal.write_bytes(first + second[:50])
    lines = reader.whole_lines(run.journal, 0)
    assert next(lines) == [first]
    # When the rest of it is written while the lines before it are taken in
    with run.journal.open("ab") as file:
        file.write(second[50:])
    # Then that is no line of its own, and the next reading begins with the whole one
    assert list(lines) == []
    assert list(reader.whole_lines(run.journal, len(first))) == [[second]]


def test_a_line_too_long_to_be_ours_does_not_hide_the_next(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "LONGEST", 1000)
    monkeypatch.setattr(reader, "BLOCK", 1000)
    run.journal.write_bytes(
        b"".join([*in_json(a_step(1)), b"{" * 2500 + b"\n", *in_json(a_step(2))])
    )
    assert list(run.record().curve["step"]) == [1, 2]


@pytest.mark.slow
def test_a_run_of_many_steps_comes_back_in_every_bit(run: Run) -> None:
    run.journal.write_bytes(b"".join(in_json(*(a_step(n, 1 / (n + 1)) for n in range(40_000)))))
    first = run.record()
    assert len(first.curve) < 16384
    assert in_words(run.record()) == in_words(first) == told_one_by_one(run)


@pytest.fixture
def summed_up(run: Run) -> Run:
    run.journal.write_bytes(journal_of([("steps", 30, 2.0), ("eval", 0, 1.5), ("sample", 9, 0.0)]))
    run.record()
    assert headline(run)
    return run


@pytest.mark.slow
def test_a_flipped_bit_anywhere_is_noticed(summed_up: Run) -> None:
    # Given
    path = summed_up.path / "summary.json"
    whole, expected = path.read_bytes(), told_one_by_one(summed_up)
    for place in range(0, len(whole), 61):
        # When
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        # Then
        assert in_words(summed_up.record()) == expected
    for cut in range(0, len(whole), 503):
        path.write_bytes(whole[:cut])
        assert in_words(summed_up.record()) == expected


BROKEN: list[Callable[[bytes], bytes]] = [
    lambda whole: b"",
    lambda whole: b"[]",
    lambda whole: b"[" * 5000,
    lambda whole: b'{"state": "done", "offset": 10}',
    lambda whole: whole.replace(b'{"format": 3,', b'{"format": 2,'),
]


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_no_summary_is_made_anew(summed_up: Run, broken: Callable[[bytes], bytes]) -> None:
    path = summed_up.path / "summary.json"
    path.write_bytes(broken(path.read_bytes()))
    assert headline(summed_up) is None
    assert in_words(summed_up.record()) == told_one_by_one(summed_up)
    assert headline(summed_up) is not None


def test_the_summary_of_another_journal_is_not_believed(summed_up: Run) -> None:
    # Given a journal of the same length, then a shorter one, then none
    content = summed_up.journal.read_bytes()
    summary_file = (summed_up.path / "summary.json").read_bytes()
    for other in (content[:-20] + b" " * 19 + b"\n", content[: len(content) // 2], b""):
        # When
        summed_up.journal.write_bytes(other)
        (summed_up.path / "summary.json").write_bytes(summary_file)
        # Then
        assert headline(summed_up) is None
        assert in_words(summed_up.record()) == told_one_by_one(summed_up)
    summed_up.journal.unlink()
    assert in_words(summed_up.record()) == in_words(Record())


def test_the_loss_of_a_headline_is_the_last_that_is_known(run: Run) -> None:
    run.journal.write_bytes(b"".join(in_json(a_step(0, 3.0), a_step(1, 2.5), a_step(2, None))))
    assert summary.headline_of(run.record())["loss"] == 2.5


def test_a_headline_is_of_the_whole_journal(summed_up: Run) -> None:
    with summed_up.journal.open("ab") as file:
        file.write(in_json(a_step(31))[0])
    assert headline(summed_up) is None


def test_a_last_line_without_an_end_is_taken_in_and_may_still_go_on(run: Run) -> None:
    whole = b"".join(in_json(started(), a_step(0), Finished(step=1, reason="done")))
    run.journal.write_bytes(whole[:-1])
    first = run.record()
    assert first.finished is not None
    run.journal.write_bytes(whole)
    assert in_words(run.record()) == in_words(first)


def test_a_machine_of_the_other_byte_order_turns_the_bytes_of_a_curve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers = array("d", [0.1, 2.0])
    turned = b"".join(struct.pack("<d" if sys.byteorder == "big" else ">d", n) for n in numbers)
    monkeypatch.setattr(sys, "byteorder", "big")
    assert summary._little(numbers).tobytes() == turned
    monkeypatch.setattr(sys, "byteorder", "little")
    assert summary._little(numbers) is numbers


def test_the_headline_needs_no_more_than_its_own_line(summed_up: Run) -> None:
    path = summed_up.path / "summary.json"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    found = headline(summed_up)
    assert found is not None
    assert (found["best_val"], found["step"], found["reason"]) == (1.5, 30, None)


def test_one_too_large_to_be_ours_is_not_believed(
    summed_up: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, "LARGEST", 100)
    assert Folding.of(summed_up).offset == 0
    assert in_words(summed_up.record()) == told_one_by_one(summed_up)


def test_it_is_whole_json_for_anybody(summed_up: Run) -> None:
    found = json.loads((summed_up.path / "summary.json").read_text())
    assert found["headline"]["best_val"] == 1.5


def test_a_folder_that_cannot_be_written_opens_all_the_same(summed_up: Run) -> None:
    (summed_up.path / "summary.json").unlink()
    (summed_up.path / ".summary.json.new").mkdir()  # in the way of any writing
    assert in_words(summed_up.record()) == told_one_by_one(summed_up)
    assert not (summed_up.path / "summary.json").exists()


def test_the_journal_keeps_it_while_it_is_written(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a journal that sums up at each checkpoint, and folds a few lines at a time
    monkeypatch.setattr(summary, "SECONDS", 0.0)
    monkeypatch.setattr(summary, "STRIDE", 1000)
    journal = Journal(run)
    for event in (started(), *(a_step(n) for n in range(50))):
        journal.append(event)
    assert not (run.path / "summary.json").exists()
    # When
    journal.append(Saved(step=50, path="checkpoints/step-50", kind="last"))
    # Then it covers all of it
    found = headline(run)
    assert found is not None
    assert found["step"] == 50
    # And at the end, and when the run goes on from an earlier checkpoint
    journal.append(Finished(step=50, reason="stopped"))
    journal.close()
    again = Journal(run)
    for event in (started(20), a_step(20)):
        again.append(event)
    again.close()
    found = headline(run)
    assert found is not None
    assert (found["step"], found["reason"]) == (20, None)
    assert list(run.record().curve["step"]) == list(range(21))
    assert in_words(run.record()) == told_one_by_one(run)


def test_a_summary_is_kept_once_a_minute(run: Run) -> None:
    # Given
    now = 0.0
    run.journal.write_bytes(b"".join(in_json(started(), a_step(1))))
    keeper, path = Keeper(run, lambda: now), run.path / "summary.json"
    kept_at: list[float] = []
    # When it is asked for every ten seconds
    for now in range(0, 200, 10):
        path.unlink(missing_ok=True)
        keeper.keep_if_due()
        kept_at += [now] * path.exists()
    # Then
    assert kept_at == [60, 120, 180]


def test_within_a_minute_of_the_last_one_a_checkpoint_has_none(run: Run) -> None:
    journal = Journal(run)
    journal.append(Saved(step=1, path="a", kind="last"))
    assert not (run.path / "summary.json").exists()
    journal.close()
    assert headline(run)


def test_nonsense_in_a_journal_is_no_reason_to_stop_training(run: Run) -> None:
    run.journal.write_bytes(to_json(a_step(1)).replace("2.0", '"two"').encode() + b"\n")
    journal = Journal(run)
    journal.append(a_step(2))
    journal.close()
    assert [event.step for event in follow(run)] == [2]
    assert headline(run)


def test_how_far_it_is_read_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "BLOCK", 1000)
    run.journal.write_bytes(b"".join(in_json(*(a_step(n) for n in range(40)))))
    shares: list[float] = []
    run.record(shares.append)
    assert len(shares) > 5
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
