"""What stands behind the form: drafts, the shelf of presets, what is said about them."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt import corpus, presets
from gpt.corpus import Corpus
from gpt.estimate import Timing
from gpt.presets import PresetError
from gpt.settings import make_config, parse, settings
from tui.draft import (
    Draft,
    brief,
    check_surroundings,
    escape,
    from_field,
    missing_text,
    to_field,
    unescape,
)
from tui.forecast import Outlook, duration, step_time
from tui.form import matching
from tui.preflight import Kept, Preflight, Request
from tui.prospect import Prospect, has_gpu
from tui.shelf import Shelf
from tui.start import spoken

KNOWN = ("shakespeare_char", "shakespeare")


def reference() -> Draft:
    return Draft(presets.find("shakespeare_char_cpu").values)


@pytest.fixture
def own_presets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a person's own presets, empty."""
    monkeypatch.setenv("NANODECK_CONFIG_DIR", str(tmp_path / "config"))
    folder = tmp_path / "config" / "presets"
    folder.mkdir(parents=True)
    return folder


# --- text and values


@given(st.text())
def test_a_prompt_comes_back_from_its_field(prompt: str) -> None:
    shown = escape(prompt)

    assert unescape(shown) == prompt
    assert shown.isprintable()


@pytest.mark.parametrize(
    ("typed", "prompt"),
    [("\\n", "\n"), ("ROMEO:\\n", "ROMEO:\n"), ("C:\\temp\\\\new", "C:\temp\\new"), ("\\", "\\"),
     ("\\u00e9", "é"), ("\\q", "\\q"), ("\\U00110000", "\\U00110000")],
)  # fmt: skip
def test_what_is_typed_for_a_prompt(typed: str, prompt: str) -> None:
    assert from_field("start", typed) == prompt


@pytest.mark.parametrize("name", list(settings()))
def test_every_default_comes_back_from_its_field(name: str) -> None:
    default = settings()[name].default

    assert parse(name, from_field(name, to_field(name, default))) == default


def test_backslashes_of_a_path_are_left_alone() -> None:
    assert from_field("dataset", to_field("dataset", "C:\\new\\text.txt")) == "C:\\new\\text.txt"


# --- drafts


def test_an_edit_is_what_differs_from_the_preset() -> None:
    draft = reference()

    draft.edit("n_layer", "6")
    assert draft.edits == {"n_layer": "6"}

    draft.edit("n_layer", "4")
    draft.edit("learning_rate", "1e-3")  # the preset's 0.001, written in another way
    assert draft.edits == {}


def test_a_reset_gives_the_preset_back_and_reset_all_can_be_undone() -> None:
    draft = reference()
    draft.edit("n_layer", "6")
    draft.edit("bias", "True")

    draft.reset("n_layer")
    assert draft.edits == {"bias": "True"}
    assert draft.text("n_layer") == "4"

    draft.reset_all()
    assert draft.edits == {}
    draft.reset_all()
    assert draft.edits == {"bias": "True"}


def test_a_sound_draft_is_a_configuration() -> None:
    draft = reference()
    draft.edit("start", "ROMEO:\\n")
    draft.edit("compile", "False")

    config = draft.check().config

    assert config is not None
    assert (config.start, config.compile, config.n_embd) == ("ROMEO:\n", False, 128)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("batch_size", "0", "1 to 65536"),
        ("batch_size", "many", "1 to 65536"),
        ("batch_size", "", "1 to 65536"),
        ("learning_rate", "-1", "above 0 and 10 at most"),
        ("learning_rate", "nan", "above 0 and 10 at most"),
        ("dropout", "1", "0 or more and below 1"),
        ("max_iters", "9" * 5000, "0 to 1e12"),
        ("dtype", "float", "auto, float32, bfloat16 or float16"),
        ("bias", "perhaps", "True or False"),
        ("device", "gpu", "auto, cpu, cuda, cuda:N or mps"),
        ("n_head", "3", "a divisor of n_embd; the nearest is 2"),
    ],
)
def test_what_is_allowed_fits_beside_the_field(name: str, text: str, said: str) -> None:
    draft = reference()
    draft.edit(name, text)

    verdict = draft.check()

    assert verdict.config is None
    assert set(verdict.errors) == {name}
    assert brief(verdict.errors[name]) == said
    assert verdict.reason == verdict.errors[name]


def test_all_that_is_wrong_is_said_at_once() -> None:
    draft = reference()
    draft.edit("batch_size", "0")
    draft.edit("beta1", "2")

    assert set(draft.check().errors) == {"batch_size", "beta1"}


def test_a_presets_own_mistake_stands_in_the_way_of_training() -> None:
    verdict = Draft({"n_layers": 4}).check()

    assert verdict.config is None
    assert verdict.reason is not None
    assert "Did you mean n_layer?" in verdict.reason


def test_a_doubtful_draft_can_be_trained_with() -> None:
    draft = reference()
    draft.edit("min_lr", "0.1")

    verdict = draft.check()

    assert verdict.config is not None
    assert "rises" in verdict.warnings["min_lr"]


# --- surroundings


def small_text(tmp_path: Path) -> Corpus:
    path = tmp_path / "poem.txt"
    path.write_text("the quick brown fox jumps over the lazy dog\n" * 10)
    steps: Generator[Any, None, Corpus] = corpus.prepare(str(path))
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def test_a_block_longer_than_the_text_is_an_error_beside_it(
    tmp_path: Path, cache_dir: Path
) -> None:
    text = small_text(tmp_path)
    usual = {"dataset": text.dataset, "block_size": text.largest_block_size}

    fits = check_surroundings(make_config(usual), text, KNOWN, None)
    too_long = check_surroundings(
        make_config({**usual, "block_size": text.largest_block_size + 1}), text, KNOWN, None
    )

    assert fits.config is not None
    assert too_long.config is None
    assert (
        brief(too_long.errors["block_size"]) == f"up to {text.largest_block_size}, or a longer text"
    )


def test_a_text_that_is_nowhere_is_an_error_beside_dataset(tmp_path: Path) -> None:
    here = tmp_path / "text.txt"
    here.write_text("words")

    assert missing_text("shakespeare_char", KNOWN) is None
    assert missing_text(str(here), KNOWN) is None
    assert missing_text(str(tmp_path), KNOWN) is None
    for nowhere in ("", "\0", "a" * 5000, str(tmp_path / "other.txt"), "~nobody-here/x"):
        assert missing_text(nowhere, KNOWN) is not None
    assert "Did you mean shakespeare_char?" in (missing_text("shakespear_char", KNOWN) or "")


def test_a_model_larger_than_the_memory_cannot_be_trained() -> None:
    config = make_config({"dataset": "shakespeare_char"})

    verdict = check_surroundings(config, None, KNOWN, free_memory=1 << 30)

    assert verdict.config is None
    assert verdict.reason is not None
    assert "1.1 GB are free" in verdict.reason


# --- the shelf


def test_the_shelf_has_the_shipped_presets_and_ones_own(own_presets: Path) -> None:
    (own_presets / "mine.toml").write_text('description = "My own."\nn_layer = 3\n')
    (own_presets / "broken.toml").write_text("n_layer = = 3\n")
    shelf = Shelf()

    shelf.reload()

    names = [entry.name for entry in shelf.entries]
    assert names == [
        "shakespeare_char", "shakespeare_char_90s", "shakespeare_char_best",
        "shakespeare_char_cpu", "shakespeare_char_fast", "tiny", "mine",
    ]  # fmt: skip
    assert len(shelf.problems) == 1
    assert "broken.toml" in shelf.problems[0]


def test_it_opens_on_what_the_machine_can_train(own_presets: Path) -> None:
    shelf = Shelf()
    shelf.reload()

    first, with_gpu = shelf.first(has_gpu=False), shelf.first(has_gpu=True)

    assert first is not None
    assert with_gpu is not None
    assert (first.name, with_gpu.name) == ("shakespeare_char_cpu", "shakespeare_char")
    assert isinstance(has_gpu(), bool)


def test_a_preset_that_vanished_stays_with_its_edits_and_is_told_once(own_presets: Path) -> None:
    path = own_presets / "mine.toml"
    path.write_text("n_layer = 3\n")
    shelf = Shelf()
    shelf.reload()
    shelf.find("mine").draft.edit("n_head", "6")

    path.unlink()

    assert shelf.reload() == ["mine"]
    assert shelf.reload() == []
    assert shelf.find("mine").draft.text("n_head") == "6"


def test_a_preset_can_be_a_file_anywhere(own_presets: Path, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere.toml"
    path.write_text("n_layer = 3\n")
    shelf = Shelf()
    shelf.reload()

    assert shelf.find(str(path)) is shelf.entries[0]
    with pytest.raises(PresetError, match="there is no preset 'nothing'"):
        shelf.find("nothing")


def test_a_runs_settings_become_edits_of_its_preset(own_presets: Path) -> None:
    shelf = Shelf()
    shelf.reload()
    # A run gives what differs from the defaults; here also a preset's value set to its default.
    values = {**presets.find("tiny").values, "n_layer": 5}
    del values["always_save_checkpoint"]

    entry = shelf.lay_over(values, "20261122-143015-tiny")

    assert entry is shelf.find("tiny")
    assert entry.draft.edits == {"n_layer": "5", "always_save_checkpoint": "True"}


def test_a_run_without_a_preset_gets_an_entry(own_presets: Path) -> None:
    shelf = Shelf()
    shelf.reload()

    entry = shelf.lay_over({"n_layer": 5}, "20261122-143015-of_old")

    assert (entry.name, entry.draft.edits, entry.draft.text("n_layer")) == ("of_old", {}, "5")
    assert shelf.reload() == []


# --- words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "1 s"), (94, "94 s"), (100, "2 min"), (1800, "30 min"), (5960, "99 min"),
     (8280, "2.3 h"), (3 * 86400, "3 days"), (40 * 365.25 * 86400, "40 years")],
)  # fmt: skip
def test_durations_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0008, "0.8 ms"), (0.046, "46 ms"), (0.9949, "995 ms"), (1.32, "1.3 s"), (300, "5 min")],
)
def test_the_time_of_a_step(seconds: float, words: str) -> None:
    assert step_time(seconds) == words


@pytest.mark.parametrize(
    ("about", "words"),
    [("1 s", "1 second"), ("90 s", "90 seconds"), ("1 min", "1 minute"), ("1.6 h", "1.6 hours"),
     ("5 days", "5 days")],
)  # fmt: skip
def test_a_duration_for_newcomers(about: str, words: str) -> None:
    assert spoken(about) == words


def test_what_the_run_will_be(shakespeare: Corpus) -> None:
    config = make_config(presets.find("shakespeare_char_cpu").values)
    timing = Timing(0.046, 1.0, 0.5, 1.546, "cpu")

    rows = dict(Outlook(config, 65, shakespeare, 8_000_000_000, timing).rows())

    assert rows == {
        "parameters": "0.80 M",
        "a step": "768 tokens",
        "the run": "1.54 M tokens",
        "passes": "1.5 over the text",
        "memory": "388 MB of 8.00 GB",
        "one step": "46 ms on cpu",
        "first loss": "in 2 s",
        "the end": "in 2 min",
    }


def test_the_filter_looks_at_names_first_then_at_explanations() -> None:
    everything = settings().values()

    assert matching(everything, "lr") == {
        "decay_lr", "lr_decay_iters", "min_lr", "muon_lr", "embedding_lr_scale",
    }  # fmt: skip
    assert matching(everything, "adamw memory") == {"beta1", "beta2"}
    assert matching(everything, "") == set(settings())
    assert matching(everything, "no such thing") == set()


# --- measuring


def request() -> Request:
    return Request.of(make_config(presets.find("tiny").values), 65, 1000)


def test_equal_work_is_one_request() -> None:
    config = make_config(presets.find("tiny").values)
    longer = config.model_copy(update={"max_iters": 10_000, "learning_rate": 1e-4})
    larger = config.model_copy(update={"n_layer": 3})

    assert Request.of(longer, 65, 1000) == Request.of(config, 65, 2000)
    assert Request.of(larger, 65, 1000) != Request.of(config, 65, 1000)


ANSWER = {
    "step_seconds": 0.01, "eval_seconds": 0.2, "sample_seconds": 0.1, "first_loss_seconds": 0.3,
    "device": "cpu", "compiles": False, "error": None,
}  # fmt: skip


async def outcome_of(program: str) -> tuple[Preflight, Timing | str | None]:
    """The outcome of one request, measured by a real process that runs this program."""
    there = asyncio.Event()
    preflight = Preflight(lambda _: there.set(), (sys.executable, "-c", program))
    preflight.start()
    preflight.ask(request())
    await asyncio.wait_for(there.wait(), 20)
    await preflight.close()
    return preflight, preflight.outcome(request())


async def test_an_answer_is_kept_for_the_next_start(cache_dir: Path) -> None:
    answer = json.dumps(ANSWER)

    _, outcome = await outcome_of(f"import sys; sys.stdin.readline(); print({answer!r})")

    assert isinstance(outcome, Timing)
    assert outcome.step_seconds == 0.01
    assert Preflight(lambda _: None).outcome(request()) == outcome


async def test_what_was_measured_on_a_busy_machine_is_not_kept(cache_dir: Path) -> None:
    answer = json.dumps({**ANSWER, "busy": True})

    _, outcome = await outcome_of(f"import sys; sys.stdin.readline(); print({answer!r})")

    assert isinstance(outcome, Timing)
    assert Preflight(lambda _: None).outcome(request()) is None


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("raise SystemExit(1)", "ended without an answer"),
        ("print('what?')", "no answer that can be read"),
        ("print('[]')", "no answer that can be read"),
        ('print(\'{"error": "too large"}\')', "too large"),
    ],
)
async def test_a_program_that_fails_is_told_in_words(
    cache_dir: Path, program: str, words: str
) -> None:
    preflight, outcome = await outcome_of(program)

    assert isinstance(outcome, str)
    assert words in outcome
    assert not preflight.running
    assert Preflight(lambda _: None).outcome(request()) is None


async def test_a_program_that_is_not_there_is_told_in_words(cache_dir: Path) -> None:
    there = asyncio.Event()
    preflight = Preflight(lambda _: there.set(), ("/no/such/program",))

    preflight.start()
    preflight.ask(request())
    await asyncio.wait_for(there.wait(), 20)
    await preflight.close()

    assert "does not work" in str(preflight.outcome(request()))


@pytest.mark.parametrize("left", [b"", b"[1]", b"{", b'{"a": 1}', b"\xff\xfe"])
def test_a_spoilt_file_of_timings_is_no_obstacle(cache_dir: Path, left: bytes) -> None:
    cache_dir.mkdir()
    (cache_dir / "measurements.json").write_bytes(left)

    assert Preflight(lambda _: None).outcome(request()) is None


@pytest.mark.parametrize("field", ["step_seconds", "eval_seconds", "device"])
@pytest.mark.parametrize("value", ["x", None, [], float("nan")])
def test_a_spoilt_timing_is_none(cache_dir: Path, field: str, value: Any) -> None:
    if field == "device" and value == "x":
        value = 1
    kept = Kept()
    cache_dir.mkdir()
    timing = {key: part for key, part in ANSWER.items() if key != "error"}
    (cache_dir / "measurements.json").write_text(json.dumps({kept._key(request()): timing}))
    assert kept.get(request()) is not None

    (cache_dir / "measurements.json").write_text(
        json.dumps({kept._key(request()): timing | {field: value}})
    )
    assert Kept().get(request()) is None


async def test_the_newest_question_is_measured_first(
    cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a program that answers each line at once
    answer = json.dumps(ANSWER)
    program = f"import sys\nfor line in sys.stdin: print({answer!r}, flush=True)"
    monkeypatch.setattr("tui.prospect.SETTLE_SECONDS", 0.0)
    learnt = asyncio.Queue[None]()
    prospect = Prospect(lambda: learnt.put_nowait(None), (sys.executable, "-c", program))
    tiny = make_config(presets.find("tiny").values)
    typed = [tiny.model_copy(update={"n_embd": 2 * n}) for n in (1, 12, 128)]

    # when somebody types 128 without a rest
    prospect.preflight.start()
    for config in typed:
        prospect.ask(config, [tiny])
    while prospect.outlook(tiny).seconds is None:
        await asyncio.wait_for(learnt.get(), 20)
    await prospect.close()

    # then only what it came to is measured, and then the other
    known = [prospect.outlook(config).seconds is not None for config in typed]
    assert known == [False, False, True]
