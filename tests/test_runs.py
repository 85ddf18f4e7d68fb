"""Run folders: made once each, read whatever happened to them, found by what a person types."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpt import history
from gpt.config import Config
from gpt.events import Eval, Finished, Notice, Phase, Started, to_json
from gpt.runs import Journal, Run, RunError, follow
from gpt.summary import headline


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def made(name: str, *, finished: bool = True, val: float = 1.5, time: float = 10.0) -> Run:
    run = Run(Path("runs") / name)
    run.create(Config())
    journal = Journal(run)
    journal.append(
        Started(
            time=time, step=0, max_iters=100, params=5, tokens_per_iter=1, device="cpu",
            dtype="float32", threads=1,
        )
    )  # fmt: skip
    journal.append(Eval(time=time, step=100, train=1.4, val=val, best=True))
    if finished:
        journal.append(Finished(time=time + 1, step=100, reason="done"))
    journal.close()
    run.release()
    return run


def test_two_runs_of_the_same_second_get_two_folders() -> None:
    first, second = Run.new("tiny"), Run.new("tiny")
    first.create(Config())
    second.path = first.path  # the clock did not move
    second.create(Config())
    assert second.path != first.path
    assert second.name == f"{first.name}-2"
    assert second.config() == Config()


def test_a_named_folder_that_holds_a_run_is_refused() -> None:
    made("one")
    with pytest.raises(RunError, match="already holds a run"):
        Run.new("x", out_dir=Path("runs/one"))
    Path("file").write_text("mine")
    with pytest.raises(RunError, match="is a file"):
        Run.new("x", out_dir=Path("file"))
    assert Path("file").read_text() == "mine"


def test_a_run_is_live_while_its_lock_is_held() -> None:
    run = Run.new("tiny")
    assert not run.is_live()
    run.create(Config())
    assert Run(run.path).is_live()
    run.release()
    assert not Run(run.path).is_live()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(cut=st.integers(1, 400), garbage=st.binary(max_size=30))
def test_a_journal_that_was_cut_short_keeps_its_earlier_lines(cut: int, garbage: bytes) -> None:
    run = Run(Path("cut"))
    run.path.mkdir(exist_ok=True)
    lines = [to_json(Notice(time=float(n), level="info", text="x" * n)) for n in range(10)]
    content = "\n".join(lines).encode()[:-cut]
    run.journal.write_bytes(content + garbage)
    whole = content.count(b"\n")
    events = list(follow(run))
    assert [event.time for event in events[:whole]] == [float(n) for n in range(whole)]


def test_a_run_in_a_line() -> None:
    run = made("20260101-000000-tiny", val=1.25)
    summary = history.summarize(run)
    assert (summary.state, summary.step, summary.best_val) == ("done", 100, 1.25)
    # Then it is kept, and used as long as it covers the journal
    assert headline(run) is not None
    assert json.loads((run.path / "summary.json").read_text())["headline"]["best_val"] == 1.25
    with run.journal.open("a") as file:
        file.write(to_json(Finished(time=3.0, step=101, reason="stopped")) + "\n")
    assert headline(run) is None
    assert history.summarize(run).step == 101
    assert headline(run) is not None


def test_a_broken_summary_is_made_anew() -> None:
    run = made("a")
    for broken in ("", "[]", "null", '{"state": 3}', "[" * 5000):
        (run.path / "summary.json").write_text(broken)
        assert history.summarize(run).state == "done"


def test_a_run_without_an_end_was_interrupted() -> None:
    assert history.summarize(made("a", finished=False)).state == "interrupted"


def test_a_run_under_way_trains_or_is_paused() -> None:
    # Given a run that somebody holds
    run = made("a", finished=False)
    run.hold()
    journal = Journal(run)

    # When it trains, is paused and goes on, then the line says so
    for phase, state in (("training", "training"), ("paused", "paused"), ("training", "training")):
        journal.append(Phase(step=100, name=phase))
        assert history.summarize(run).state == state

    # And one that ended while it was paused is no longer
    journal.append(Phase(step=100, name="paused"))
    journal.close()
    run.release()
    assert history.summarize(run).state == "interrupted"


def test_runs_are_found_by_folder_name_prefix_or_last() -> None:
    made("20260101-000000-tiny", time=1.0)
    made("20260102-000000-tiny", time=3.0)
    made("20250102-000000-copied", time=2.0)
    assert [s.name for s in history.find_all()] == [
        "20260102-000000-tiny", "20250102-000000-copied", "20260101-000000-tiny",
    ]  # fmt: skip
    assert history.find("runs/20260101-000000-tiny").name == "20260101-000000-tiny"
    assert history.find("20260101").name == "20260101-000000-tiny"
    assert history.find("last").name == "20260102-000000-tiny"
    with pytest.raises(RunError, match="could be any of"):
        history.find("2026")
    with pytest.raises(RunError, match="the newest is"):
        history.find("1999")


@given(st.text(max_size=60))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_for_a_run_is_a_run_or_an_answer_in_words(reference: str) -> None:
    try:
        history.find(reference)
    except RunError as error:
        assert str(error)  # noqa: PT017 - either outcome is right


def test_a_configuration_that_was_tampered_with_is_told() -> None:
    run = made("a")
    run.config_path.write_text("n_layer = 0")
    with pytest.raises(RunError, match="n_layer = 0 cannot be used"):
        run.config()
    run.config_path.write_text("n_layer = ")
    with pytest.raises(RunError, match=r"config\.toml"):
        run.config()


def test_nonsense_in_one_journal_hides_no_run(tmp_path: Path) -> None:
    for name, line in (("a", '{"event": "eval", "time": "x", "train": 1, "val": "x"}'), ("b", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.toml").write_text("", "utf-8")
        (tmp_path / name / "events.jsonl").write_text(line + "\n", "utf-8")

    assert {summary.name for summary in history.find_all(tmp_path)} == {"a", "b"}
