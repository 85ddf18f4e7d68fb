"""The ladder: which seconds count for which loss, and the chart of it."""

from __future__ import annotations

from itertools import combinations, pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest
import torch

import gpt
from gpt.events import Eval, Step
from gpt.model import GPT
from gpt.settings import make_config
from gpt.stopwatch import awake
from tests import ladder, ladder_climb
from tests.conftest import PLAY, prepared
from tests.ladder_chart import LEADING, LETTER, SIZE, apart, drawn
from tests.ladder_climb import Climb, Point

SVG = "{http://www.w3.org/2000/svg}"
PRINTED = """\
step 0: train loss 4.2, val loss 4.2
iter 0: loss 4.1828, time 3000.00ms, mfu -100.00%
iter 1: loss 4.1000, time 40.00ms, mfu -100.00%
step 2: train loss 4.0, val loss 4.0
saving checkpoint to out
iter 2: loss 4.0000, time 2000.00ms, mfu -100.00%
iter 3: loss 3.9000, time 60.00ms, mfu 1.20%
"""
LINES = {
    "nanoGPT": [(1.0, 4.0), (10.0, 2.2), (94.0, 1.898)],
    "shakespeare_char_cpu": [(0.7, 4.0), (7.0, 2.2), (63.0, 1.898)],
    "<fast> & small": [(0.03, 4.0), (0.3, 2.0), (1.5, 1.85)],
}


def climbed(*vals: float) -> list[Point]:
    """A run with an evaluation each second."""
    return [Point("run", 10 * n, float(n), val) for n, val in enumerate(vals, 1)]


@pytest.fixture
def settings(tmp_path: Path, cache_dir: Path) -> dict[str, Any]:
    """Those of the smallest of runs."""
    text = tmp_path / "play.txt"
    text.write_text(PLAY)
    small = "n_layer=1,n_head=2,n_embd=16,block_size=16,batch_size=2,eval_iters=0,threads=1"
    word = f"tiny:max_iters=40,lr_decay_iters=40,warmup_iters=2,eval_interval=1000,{small}"
    return {**ladder.settings_of(word), "dataset": str(text)}


def test_a_rung_is_reached_at_the_first_evaluation_at_or_below_it() -> None:
    # given: a loss that rises again
    points = climbed(2.0, 1.88, 1.9, 1.6)

    # then
    assert [ladder.reached(points, rung) for rung in (1.88, 1.7, 1.6, 1.5)] == [2, 4, 4, None]


def test_the_table_has_a_row_a_run_and_says_what_is_never_reached() -> None:
    # when
    head, rule, *rows = ladder.table(
        {"nanoGPT": climbed(2.0, 1.9), "quick": climbed(1.65, 1.48)}
    ).splitlines()

    # then
    assert head == "| run | 1.88 | 1.70 | 1.60 | 1.50 | 1.47 | at its end |"
    assert head.count("|") == rule.count("|")
    assert rows == [
        "| nanoGPT | - | - | - | - | - | 1.9000, 2.00 s, 20 steps |",
        "| quick | 1.00 s | 1.00 s | 2.00 s | 2.00 s | - | 1.4800, 2.00 s, 20 steps |",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0512, "0.0512 s"), (1.424, "1.42 s"), (94.26, "94.3 s"), (899.6, "900 s")],
)
def test_seconds_have_three_digits(seconds: float, words: str) -> None:
    assert ladder.in_words(seconds) == words


def test_nanogpts_evaluations_are_not_in_its_seconds() -> None:
    # The two steps that were evaluated before count as the median of the others, 50 ms.
    assert ladder.peer_seconds(PRINTED) == pytest.approx([0.05, 0.09, 0.14, 0.2])


def test_nanogpts_points_are_its_seconds_at_our_losses() -> None:
    # given: our own run, whose losses are nanoGPT's
    ours = Climb([Point("ours", 1, 9.0, 4.15), Point("ours", 3, 9.9, 3.95)], [4.1828, 4.1, 4.0])

    # when
    points = ladder.peer_points(PRINTED, ours)

    # then
    assert [(p.run, p.step, p.val) for p in points] == [("nanoGPT", 1, 4.15), ("nanoGPT", 3, 3.95)]
    assert [p.seconds for p in points] == pytest.approx([0.05, 0.14])


@pytest.mark.parametrize("other", [4.2, float("nan")])
def test_another_runs_losses_are_not_taken_for_nanogpts(other: float) -> None:
    ours = Climb([Point("ours", 1, 9.0, 4.15)], [4.1828, 4.1, other])

    with pytest.raises(SystemExit, match="not the same run"):
        ladder.peer_points(PRINTED, ours)


def test_points_that_are_written_read_back_the_same(tmp_path: Path) -> None:
    # given
    runs = {name: [Point(name, 3, 0.25, 2.5), Point(name, 9, 1.5, 1.875)] for name in ("a", "b,c")}

    # when
    ladder.write(tmp_path / "points.csv", runs)

    # then
    assert ladder.read(tmp_path / "points.csv") == runs


@pytest.mark.parametrize("most_held", [1, 5, 64])
def test_a_run_gives_points_and_is_not_changed_by_being_measured(
    most_held: int, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: evaluations at once, after some steps, or at the end
    monkeypatch.setattr(ladder_climb, "MOST_HELD", most_held)

    # when the same is trained twice, once without being looked at
    found = ladder_climb.climb("run", settings)
    events = list(gpt.train(make_config(settings)))
    evals = [event for event in events if isinstance(event, Eval)]

    # then
    assert found.losses == [event.loss for event in events if isinstance(event, Step)]
    steps = [point.step for point in found.points]
    assert (steps[0], steps[-1]) == (1, 40)
    assert all(one.step < other.step for one, other in pairwise(found.points))
    assert all(one.seconds < other.seconds for one, other in pairwise(found.points))
    assert found.points[-1].val < found.points[0].val
    assert found.points[-1].val == pytest.approx(evals[-1].val)


def test_evaluations_neither_use_up_a_time_budget_nor_count_as_training(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # given: a clock on which each forward pass takes a second, and evaluations in between
    monkeypatch.setattr(ladder_climb, "MOST_HELD", 5)
    monkeypatch.setattr(ladder_climb, "SPACING", 1.0)
    clock, forward = [0.0], GPT.forward

    def timed(*arguments: Any) -> Any:
        clock[0] += 1
        return forward(*arguments)

    monkeypatch.setattr(GPT, "forward", timed)
    monkeypatch.setattr(awake, "_clock", lambda: clock[0])

    # when: 20 seconds, of which the run's own evaluation at its start takes 4, two for each split
    found = ladder_climb.climb("run", {**settings, "time_budget": 20.0})

    # then
    assert [(p.step, p.seconds) for p in found.points] == [(n, n) for n in range(1, 17)]


@pytest.mark.slow
def test_nanogpts_own_checkpoint_is_measured_exactly(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    # given
    loop = ladder_climb.begun(settings)
    shape = ("n_layer", "n_head", "n_embd", "block_size", "bias")
    arguments = {name: getattr(loop.config, name) for name in shape}
    checkpoint = {
        "model": loop.learner.model.state_dict(),
        "model_args": {**arguments, "vocab_size": prepared(settings["dataset"]).vocab_size},
        "iter_num": 2000,
    }
    torch.save(checkpoint, tmp_path / "ckpt.pt")

    # then
    found = ladder.checkpoint_val(tmp_path / "ckpt.pt", settings)
    held = ladder_climb.Held(0, 0.0, ladder_climb.parameters(loop))
    assert found == (2000, ladder_climb.measured("run", loop, [held])[0].val)


def test_the_chart_has_a_labelled_line_for_each_run() -> None:
    # when
    svg = ElementTree.fromstring(drawn(LINES, ladder.RUNGS))

    # then: each in a colour of its own, which is its label's
    lines = {line.get("stroke"): line for line in svg.iter(f"{SVG}polyline")}
    labels = {text.get("fill"): text.text for text in svg.iter(f"{SVG}text")}
    assert [labels[colour] for colour in lines] == list(LINES)
    for (colour, line), points in zip(lines.items(), LINES.values(), strict=True):
        assert len(str(line.get("points")).split()) == len(points)
        assert inside(line), colour


def test_the_chart_marks_the_rungs() -> None:
    svg = ElementTree.fromstring(drawn(LINES, ladder.RUNGS))

    texts = [text.text for text in svg.iter(f"{SVG}text")]
    assert {f"{rung:.2f}" for rung in ladder.RUNGS} <= set(texts)


@pytest.mark.parametrize("line", [[(0.5, 4.1)], [(0.5, 4.1), (0.6, 3.9)], [(1.0, 1.2), (1.0, 1.1)]])
def test_a_chart_can_be_drawn_of_any_run(line: list[tuple[float, float]]) -> None:
    svg = ElementTree.fromstring(drawn({"run": line}, ladder.RUNGS))

    assert len(list(svg.iter(f"{SVG}polyline"))) == 1


def test_labels_lie_beside_each_other_and_in_the_picture() -> None:
    # given: ends that are close, some of them at the right edge
    ends = {"x" * n: (float(x), 200.0 + n) for n, x in ((9, 300), (12, 310), (20, 680), (40, 690))}

    # when
    places = apart(ends)

    # then
    for (run, (x, y)), (other, (left, line)) in combinations(places.items(), 2):
        crossing = x < left + LETTER * len(other) and left < x + LETTER * len(run)
        assert not crossing or abs(y - line) >= LEADING
    assert all(0 <= x <= SIZE[0] - LETTER * len(run) for run, (x, _) in places.items())


def test_the_chart_is_drawn_again_from_the_points_alone(tmp_path: Path) -> None:
    # given
    points, chart = tmp_path / "points.csv", tmp_path / "chart.svg"
    ladder.write(points, {"run": climbed(2.0, 1.9)})

    # when
    ladder.draw(points, chart)

    # then
    assert "run" in [text.text for text in ElementTree.parse(chart).iter(f"{SVG}text")]


def inside(line: Element) -> bool:
    """Whether a line's end is in the picture."""
    x, y = map(float, str(line.get("points")).split()[-1].split(","))
    return 0 < x < SIZE[0] and 0 < y < SIZE[1]
