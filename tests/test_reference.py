"""Reference curves: the shipped one, and files that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpt import reference
from gpt.presets import SHIPPED
from gpt.reference import CurveError, Reference

HEAD = "kind,step,train_loss,val_loss\n"
ONE_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])

losses = st.floats(-1e6, 1e6, allow_nan=False)
points = st.dictionaries(st.integers(0, 10**9), losses, max_size=20).map(
    lambda found: sorted(found.items())
)


def test_the_shipped_curve_is_nanogpts() -> None:
    # when
    curve = reference.read(SHIPPED / "shakespeare_char_cpu.csv")

    # then
    assert curve.steps == list(range(2001))
    assert curve.loss[:3] == [4.1828, 4.1373, 4.1347]
    assert curve.eval_steps == list(range(0, 2001, 250))
    assert (curve.val_loss[0], curve.val_loss[-1]) == (4.1649, 1.8857)


@ONE_FOLDER
@given(points, points)
def test_a_curve_that_is_written_reads_back_the_same(
    tmp_path: Path, steps: list[tuple[int, float]], evals: list[tuple[int, float]]
) -> None:
    # given
    rows = [f"eval,{step},1.0,{loss!r}" for step, loss in evals]
    rows += [f"iter,{step},{loss!r}," for step, loss in reversed(steps)]
    path = tmp_path / "curve.csv"
    path.write_text(HEAD + "\n".join(rows))

    # when
    curve = reference.read(path)

    # then: in ascending order, whatever the order in the file
    assert curve == Reference(
        [step for step, _ in steps],
        [loss for _, loss in steps],
        [step for step, _ in evals],
        [loss for _, loss in evals],
    )


@ONE_FOLDER
@given(st.one_of(st.binary(), st.text().map(lambda text: (HEAD + text).encode())))
def test_any_file_is_a_curve_or_a_refusal_in_words(tmp_path: Path, content: bytes) -> None:
    # given
    path = tmp_path / "curve.csv"
    path.write_bytes(content)

    # when
    try:
        curve = reference.read(path)
    except CurveError as error:
        refusal = str(error)
    else:
        refusal = None
        assert len(curve.steps) == len(curve.loss)

    # then
    assert refusal is None or "curve.csv" in refusal


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "there is no column kind"),
        ("kind,step,train_loss\n", "there is no column val_loss"),
        (HEAD + "iter,zero,4.1,\n", "line 2: step 'zero' cannot be used"),
        (HEAD + "iter,-1,4.1,\n", "line 2: step '-1' cannot be used"),
        (HEAD + "iter,0,4.1,\niter,1,,\n", "line 3: train_loss '' cannot be used"),
        (HEAD + "eval,0,4.1,nan\n", "line 2: val_loss 'nan' cannot be used"),
        (HEAD + "eval,0\n", "line 2: val_loss '' cannot be used"),
        (HEAD + f"iter,{'9' * 500},1.0,\n", "line 2: step '9999"),
        (HEAD + "iter,0,1e300,\n", "line 2: train_loss '1e300' cannot be used"),
    ],
)
def test_a_refusal_says_what_and_where(tmp_path: Path, content: str, words: str) -> None:
    # given
    path = tmp_path / "curve.csv"
    path.write_text(content)

    # when
    with pytest.raises(CurveError) as refusal:
        reference.read(path)

    # then
    assert words in str(refusal.value)


def test_rows_of_another_kind_are_passed_over(tmp_path: Path) -> None:
    # given
    path = tmp_path / "curve.csv"
    path.write_text(HEAD + "note,what,is,this\niter,0,4.1,\n")

    # when
    curve = reference.read(path)

    # then
    assert curve.steps == [0]


@pytest.mark.parametrize(
    ("place", "words"),
    [("missing.csv", "No such file"), (".", "directory"), ("\x1b[2J.csv", "\u241b[2J.csv")],
)
def test_what_cannot_be_opened_is_a_refusal_without_control_characters(
    tmp_path: Path, place: str, words: str
) -> None:
    # when
    with pytest.raises(CurveError) as refusal:
        reference.read(tmp_path / place)

    # then
    assert words in str(refusal.value)
    assert "\x1b" not in str(refusal.value)
