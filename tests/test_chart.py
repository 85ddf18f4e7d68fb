"""The chart: smoothing, thinning, fitting, ticks, and whole charts as literal pictures."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gpt import reference
from gpt.events import Eval, Finished, Started, Step
from gpt.presets import SHIPPED
from gpt.record import Record
from gpt.reference import Reference
from tui import axes, series
from tui.caption import caption
from tui.chart import overfitting
from tui.curves import Curves, background
from tui.figures import sparkline
from tui.layout import AXES, METRICS, SMOOTHING, WINDOWS, Layout
from tui.lines import plain

NAN = math.nan
UNSMOOTHED = SMOOTHING.index(0.0)

ascending = st.lists(
    st.tuples(st.floats(0, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=300
).map(lambda points: tuple(zip(*sorted(points), strict=True)))
y_values = st.one_of(st.none(), st.floats(-1e30, 1e30), st.floats(0, 10))


def run_of(losses: list[float], max_iters: int = 100, every: int = 25) -> Record:
    """A record of these losses, one a step and a second, 64 tokens each."""
    record = Record()
    record.fold(
        Started(
            time=0.0, step=0, max_iters=max_iters, params=1, tokens_per_iter=64,
            device="cpu", dtype="float32", threads=2,
        )
    )  # fmt: skip
    for step, loss in enumerate(losses):
        record.fold(
            Step(
                time=step + 1.0, step=step, loss=loss, lr=1e-3, grad_norm=1.0, ms=1000.0,
                tokens_per_s=64.0, mfu=0.5, tokens=64 * (step + 1), seconds=step + 1.0, memory=1,
            )
        )  # fmt: skip
        if step % every == 0:
            record.fold(Eval(time=step + 1.0, step=step, train=loss, val=loss + 0.2))
    return record


FALLING = [1.5 + 2.5 * math.exp(-step / 15) for step in range(100)]


# --- smoothing


@pytest.mark.parametrize(
    ("xs", "ys", "span", "expected"),
    [
        ([], [], 5, []),
        ([7], [3.0], 5, [3.0]),
        ([0, 1, 2], [3.0, 1.0, 2.0], 0, [3.0, 1.0, 2.0]),
        ([0, 1, 2, 9], [2.0, 2.0, 2.0, 2.0], 3, [2.0, 2.0, 2.0, 2.0]),
        # exp(-1/span) = 1/2: weights 1, 2, 4 for even gaps
        ([0, 1, 2], [0.0, 3.0, 7.0], 1 / math.log(2), [0.0, 2.0, 34 / 7]),
        # a gap of 2 keeps a quarter of the weight before it, 3/4, and adds 3/4
        ([0, 1, 3], [0.0, 0.0, 5.0], 1 / math.log(2), [0.0, 0.0, 4.0]),
        # what is not known stays so and weighs nothing
        ([0, 1, 2], [3.0, NAN, 3.0], 5, [3.0, NAN, 3.0]),
        ([0, 1], [NAN, 4.0], 5, [NAN, 4.0]),
    ],
)
def test_smoothing_weighs_points_by_their_gaps(
    xs: list[float], ys: list[float], span: float, expected: list[float]
) -> None:
    assert series.smooth(xs, ys, span) == pytest.approx(expected, nan_ok=True)


def test_a_curve_with_half_of_its_points_is_smoothed_alike() -> None:
    # given
    xs = list(range(400))
    ys = [math.sin(x / 60) for x in xs]

    # when
    whole, half = series.smooth(xs, ys, 30), series.smooth(xs[::2], ys[::2], 30)

    # then
    assert half[50:] == pytest.approx(whole[::2][50:], abs=0.02)


@given(ascending, st.floats(0, 1e6))
def test_smoothing_stays_between_the_extremes(
    points: tuple[list[float], list[float]], span: float
) -> None:
    xs, ys = points
    margin = 1e-9 * max(map(abs, ys))
    for y in series.smooth(xs, ys, span):
        assert min(ys) - margin <= y <= max(ys) + margin


# --- thinning


@given(ascending, st.integers(1, 40))
def test_thinning_keeps_what_stands_out_and_the_order(
    points: tuple[list[float], list[float]], columns: int
) -> None:
    # when
    xs, ys = series.thin(*points, columns)

    # then: few points, all of them real, in order, with both extremes and the last
    assert len(xs) == len(ys) <= 2 * columns + 1
    everything = list(zip(*points, strict=True))
    places: list[int] = []
    for point in zip(xs, ys, strict=True):
        places.append(everything.index(point, places[-1] + 1 if places else 0))
    assert places == sorted(set(places))
    assert (min(ys), max(ys)) == (min(points[1]), max(points[1]))
    assert (xs[-1], ys[-1]) == everything[-1]


def test_thinning_keeps_each_bins_lowest_and_highest() -> None:
    # given: a flat curve with one spike up and one down in its second bin
    ys = [1.0] * 100
    ys[30], ys[40] = 9.0, -9.0

    # when
    xs, thinned = series.thin(list(range(100)), ys, 4)

    # then
    assert [(x, y) for x, y in zip(xs, thinned, strict=True) if y != 1.0] == [(30, 9.0), (40, -9.0)]


def test_thinning_drops_what_is_not_known() -> None:
    assert series.thin([0, 1, 2], [1.0, NAN, 3.0], 5) == ([0, 2], [1.0, 3.0])


# --- the range of y


@pytest.mark.parametrize(
    ("curve", "start", "end", "lowest", "highest"),
    [
        # a steep beginning runs off: what follows, 1 to 2, takes most of the height
        ([(0, 50.0), (1, 20.0), *((x, 2 - x / 100) for x in range(6, 101))], 0, 100, 0.9, 2.5),
        # a beginning that is not steep is shown whole
        ([(x, 4 - x / 100) for x in range(101)], 0, 100, 2.9, 4.1),
        # only what is visible counts
        ([(0, 50.0), (50, 2.0), (75, 1.5), (90, 1.2), (100, 1.0)], 50, 100, 0.9, 2.1),
        ([(0, 3.0)], 0, 1, 2.8, 3.2),
        ([(0, 0.0), (1, 0.0)], 0, 1, -1.0, 1.0),
        ([(0, NAN), (1, math.inf), (2, 3.0), (3, 4.0)], 0, 3, 2.9, 4.1),
        ([], 0, 1, 0.0, 1.0),
    ],
)
def test_the_range_fits_what_is_visible(
    curve: list[tuple[float, float]], start: float, end: float, lowest: float, highest: float
) -> None:
    # when
    points = [x for x, _ in curve], [y for _, y in curve]
    low, high = series.fit([points], start, end, steep=5.0)

    # then
    assert lowest <= low < high <= highest


def test_one_spike_does_not_set_the_range() -> None:
    # given: gradient norms around 1, and one of 1000
    ys = [1.0 + 0.1 * (i % 5) for i in range(200)]
    ys[100] = 1000.0

    # then
    assert series.trim(ys) == (1.0, 1.4)


# --- ticks


@pytest.mark.parametrize(
    ("low", "high", "most", "labels"),
    [
        (0, 2000, 6, ["0", "500", "1,000", "1,500", "2,000"]),
        (1.6, 3.4, 6, ["2.0", "2.5", "3.0"]),
        (1.8853, 1.8861, 5, ["1.8854", "1.8856", "1.8858", "1.8860"]),
        (0, 1e-3, 4, ["0", "5e-4", "1e-3"]),
        (0, 30_000, 4, ["0", "10k", "20k", "30k"]),
        (0, 1.5e6, 6, ["0", "500k", "1.0M", "1.5M"]),
        (-1, 1, 4, ["-1", "0", "1"]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, most: int, labels: list[str]) -> None:
    assert [text for _, text in axes.ticks(low, high, most)] == labels


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9), st.integers(2, 12))
def test_ticks_lie_within_and_differ(low: float, span: float, most: int) -> None:
    # given
    high = low + span
    if high - low < 1e-9 * abs(low):
        return

    # when
    found = axes.ticks(low, high, most)

    # then
    values = [value for value, _ in found]
    assert len(found) <= most
    assert values == sorted(values)
    assert all(low - 1e-6 * span <= value <= high + 1e-6 * span for value in values)


@pytest.mark.parametrize(
    ("low", "high", "most", "labels"),
    [
        (1.7, 4.3, 6, ["2.0", "2.5", "3.0", "3.5", "4.0"]),
        (1e-4, 1e-3, 4, ["1e-4", "2e-4", "5e-4", "1e-3"]),
        (0.3, 50, 5, ["0.3", "1", "3", "10", "30"]),
        (1e-9, 1e3, 5, ["1e-9", "1e-6", "1e-3", "1e0", "1e3"]),
    ],
)
def test_logarithmic_ticks(low: float, high: float, most: int, labels: list[str]) -> None:
    # when
    found = axes.log_ticks(low, high, most)

    # then: each stands at its logarithm
    assert [text for _, text in found] == labels
    assert all(math.log10(low) <= place <= math.log10(high) for place, _ in found)


@pytest.mark.parametrize(
    ("high", "labels"),
    [
        (95, ["0:00", "0:30", "1:00", "1:30"]),
        (4000, ["0:00", "15:00", "30:00", "45:00", "1:00:00"]),
        (900_000, ["0:00", "2 d", "4 d", "6 d", "8 d", "10 d"]),
    ],
)
def test_ticks_of_time(high: float, labels: list[str]) -> None:
    assert [text for _, text in axes.time_ticks(0, high, 6)] == labels


@given(st.floats(1e-3, 1e12))
def test_an_axis_ends_at_most_a_third_ahead(end: float) -> None:
    assert end * (1 - 1e-6) <= axes.ahead(end) <= 1.34 * end


# --- whole charts


def test_a_chart_in_braille() -> None:
    # given
    curves = Curves(run_of(FALLING), None, Layout())

    # when
    picture = curves.picture(44, 12)

    # then
    assert plain(picture.rows).splitlines() == [
        "       │ ⠘⡄",
        "       │  ⢣",
        "     3 ┤   ⡇",
        "       │   ⠈⡆",
        "       │    ⠘⡄",
        "       │     ⠈⢆",
        "     2 ┤      ⠈⠑⢄♦",
        "       │        ⠈⠑⢄⡀      ♦",
        "       │           ⠈⠒⠢⠤⣀⣀         ♦",
        "       │                ⠈⠉⠉⠉⠑⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠒⠢⠤⠤⠄",
        "       └┬─────────────────┬────────────────┬",
        "        0                50             100",
    ]


def test_a_chart_in_ascii_with_every_marker() -> None:
    # given: a noisy curve, heavily smoothed, and a reference one lower
    noisy = [loss + 0.15 * (-1) ** step for step, loss in enumerate(FALLING)]
    lower = background(Reference(list(range(100)), [loss - 0.7 for loss in FALLING]))
    curves = Curves(run_of(noisy), lower, Layout(smoothing=len(SMOOTHING) - 1))

    # when
    picture = curves.picture(44, 12, ascii=True)

    # then: "." each step, "*" smoothed, "o" validation, "-" the reference
    assert plain(picture.rows).splitlines() == [
        "       |o",
        "     4 + *",
        "       |..**",
        "       |--.***",
        "       |  -...***",
        "       |   --...****",
        "     2 +     --..o..******o.. .",
        "       |       --- ........*******o*********",
        "       |         -----------",
        "       |                   -----------------",
        "       ++-----------------+----------------+",
        "        0                50             100",
    ]
    assert {role for row in picture.rows for role, text in row if text.strip()} == {
        "raw", "smooth", "val", "reference", "axis",
    }  # fmt: skip


def test_the_legend_gives_each_marker_and_its_value() -> None:
    # given
    faint = background(Reference([0, 50], [4.0, 2.0]))
    curves = Curves(run_of(FALLING), faint, Layout(smoothing=UNSMOOTHED))

    # when
    now = plain([curves.legend(None, 80)])
    then = plain([curves.legend(50, 80, ascii=True)])
    narrow = plain([curves.legend(None, 40)])

    # then
    assert now == "  ⠤⠤ train 1.5034  ♦ val 1.7168  ⠒⠒ reference 2.0000"
    assert then == "  ** train 1.5892  o val 1.7892  -- reference 2.0000"
    assert narrow == "  ⠤⠤ train 1.5034  ♦ val 1.7168"


@pytest.mark.parametrize("smoothing", [UNSMOOTHED, 2])
def test_a_spike_in_a_long_run_is_drawn(smoothing: int) -> None:
    # given a run that was thinned, with a spike in a step that no point stands for
    losses = [2.0 + 0.001 * (step % 7) for step in range(40_000)]
    losses[30_001] = 5.5
    record = run_of(losses, max_iters=40_000, every=10_000)
    assert 5.5 not in record.curve["loss"]

    # then it is among what is drawn all the same
    assert 5.5 in Curves(record, None, Layout(smoothing=smoothing)).dots[1]


def test_a_window_shows_the_end_and_fits_it() -> None:
    # given
    record = run_of(FALLING)

    # when
    whole = Curves(record, None, Layout(smoothing=UNSMOOTHED)).picture(60, 12)
    quarter = Curves(record, None, Layout(smoothing=UNSMOOTHED, window=2)).picture(60, 12)

    # then
    assert (whole.low, whole.high) == (0, 100)
    assert (quarter.low, quarter.high) == (74.25, 99)
    assert " 1.6 ┤" not in plain(whole.rows)
    assert " 1.6 ┤" in plain(quarter.rows)


def test_the_axis_of_a_run_under_way_leaves_room_and_a_finished_one_does_not() -> None:
    # given
    record = run_of(FALLING[:62])

    # then
    assert Curves(record, None, Layout()).picture(60, 12).high == 80
    record.fold(Finished(step=61, reason="stopped"))
    assert Curves(record, None, Layout()).picture(60, 12).high == 61


def test_by_time_and_by_tokens() -> None:
    # given
    record = run_of(FALLING)

    # then
    by_time = plain(Curves(record, None, Layout(axis="seconds")).picture(60, 12).rows)
    by_tokens = plain(Curves(record, None, Layout(axis="tokens")).picture(60, 12).rows)
    assert by_time.split()[-4:] == ["0:00", "0:30", "1:00", "1:30"]
    assert by_tokens.split()[-4:] == ["0", "2,000", "4,000", "6,000"]


def test_the_reference_is_drawn_ahead_of_the_run_and_before_it_has_begun() -> None:
    # given
    shipped = background(reference.read(SHIPPED / "shakespeare_char_cpu.csv"))
    record = Record()

    # when
    before = Curves(record, shipped, Layout()).picture(60, 12)
    record = run_of(FALLING[:62])
    during = Curves(record, shipped, Layout()).picture(60, 12)

    # then
    assert before.high == 2000
    assert {role for row in before.rows for role, _ in row} == {"axis", "reference"}
    last_column = [("".join(text for _, text in row))[-1:] for row in during.rows]
    assert "⠒" in last_column


def test_before_the_first_step_no_time_is_known_of_the_reference() -> None:
    begun = run_of([])
    lower = ([0.0, 2000.0], [4.0, 2.0])
    assert Curves(begun, lower, Layout()).reference == lower
    for axis in ("seconds", "tokens"):
        curves = Curves(begun, lower, Layout(axis=axis))
        assert curves.reference == ([], [])
        assert curves.span_of_x() == (0.0, 1.0, 1.0)


def test_columns_and_values_answer_each_other() -> None:
    # given
    picture = Curves(run_of(FALLING), None, Layout()).picture(60, 12)

    # then
    for column in range(picture.left, picture.left + picture.columns):
        assert picture.column(picture.x(column)) == column
    assert picture.column(-1) is None
    assert picture.column(101) is None
    # the val mark at step 50 stands in the column of step 50
    place = picture.column(50)
    assert place is not None
    assert any(
        text[place - start] == "♦"
        for row in picture.rows
        for start, text in [(0, "".join(text for _, text in row))]
        if len(text) > place
    )


@given(
    st.lists(y_values, max_size=60),
    st.integers(0, 90),
    st.integers(0, 30),
    st.builds(
        Layout,
        metric=st.sampled_from(METRICS),
        axis=st.sampled_from(AXES),
        log=st.booleans(),
        smoothing=st.integers(0, len(SMOOTHING) - 1),
        window=st.integers(0, WINDOWS - 1),
    ),
)
@example([1e6] + [1.0] * 59, 80, 24, Layout(smoothing=0))
def test_any_run_is_drawn_at_any_size(
    losses: list[float | None], columns: int, rows: int, layout: Layout
) -> None:
    # given
    record = run_of([NAN if loss is None else loss for loss in losses])

    # when
    faint = background(Reference([0, 30], [3.0, 2.0]))
    picture = Curves(record, faint, layout).picture(columns, rows)

    # then
    assert len(picture.rows) == rows
    assert all(sum(len(text) for _, text in row) == columns for row in picture.rows)


# --- words and hints


@pytest.mark.parametrize(
    ("loss", "characters", "words"),
    [
        (4.2, True, "random characters"),
        (3.3, True, "how often each letter comes"),
        (2.5, True, "letter pairs"),
        (2.0, True, "the shapes of words"),
        (1.5, True, "words"),
        (10.8, False, "random tokens"),
        (3.5, False, "sentences"),
    ],
)
def test_a_loss_in_words(loss: float, characters: bool, words: str) -> None:
    assert caption(loss, characters=characters).startswith(f"{loss:.2f} looks like {words}")


def test_a_caption_without_room_says_only_what_is() -> None:
    assert caption(2.0, characters=True, room=40) == "2.00 looks like the shapes of words"
    assert caption(NAN, characters=True) == ""


def test_learning_by_heart_is_remarked_when_two_evaluations_are_no_better() -> None:
    # given
    record = Record()
    for step, val in ((0, 4.0), (100, 2.0), (200, 2.1), (300, 2.2)):
        record.fold(Eval(step=step, train=1.0, val=val))

    # then
    assert overfitting(record, 200) == ""
    assert overfitting(record, 300).startswith("no better validation since step 100")


def test_a_sparkline_follows_its_values() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 3, 2, 1, 0], 4) == "⡠⠊⠑⢄"


# --- the remembered layout


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NANODECK_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state" / "run-screen.json"


def test_a_layout_is_remembered(state: Path) -> None:
    # given
    layout = Layout(metric="lr", axis="tokens", log=True, smoothing=0, window=2, pane=4)

    # when
    layout.save()

    # then
    assert Layout.load() == layout


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000,
        b'{"metric": "beauty", "axis": 3, "log": 1, "smoothing": 99, "window": true, "pane": "1"}',
    ],
)  # fmt: skip
def test_a_broken_layout_is_the_usual_one(state: Path, content: bytes) -> None:
    # given
    state.parent.mkdir()
    state.write_bytes(content)

    # then
    assert Layout.load() == Layout()


def test_a_layout_that_cannot_be_saved_is_forgotten(state: Path) -> None:
    # given: a file where the folder should be
    state.parent.write_text("")

    # when
    Layout(pane=2).save()

    # then
    assert Layout.load() == Layout()


def test_choices_go_round_and_amounts_stop_at_their_ends() -> None:
    # given
    layout = Layout()

    # then
    assert [turned(layout, "axis") for _ in AXES] == ["seconds", "tokens", "step"]
    assert [turned(layout, "window", -1), turned(layout, "window", 9)] == [0, WINDOWS - 1]


def turned(layout: Layout, name: str, change: int = 1) -> object:
    layout.turn(name, change)
    return getattr(layout, name)
