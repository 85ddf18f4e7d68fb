"""The configuration: its rules, its words, and text to value and back."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt.config import Config
from gpt.declaration import GROUPS
from gpt.settings import ConfigError, make_config, nearest, parse, settings, to_text


def test_defaults_are_nanogpts() -> None:
    config = Config()
    assert (config.n_layer, config.n_head, config.n_embd) == (12, 12, 768)
    assert (config.batch_size, config.block_size) == (12, 1024)
    assert config.gradient_accumulation_steps == 40
    assert (config.learning_rate, config.min_lr) == (6e-4, 6e-5)
    assert (config.device, config.dtype, config.compile) == ("auto", "auto", "auto")


def test_every_setting_is_explained_grouped_and_eight_come_first() -> None:
    described = settings()
    assert set(described) == set(Config.model_fields)
    assert next(iter(described)) == "dataset"  # nanoGPT's come first
    assert all(len(setting.help) > 20 for setting in described.values())
    assert {setting.group for setting in described.values()} == set(GROUPS)
    assert sum(setting.main for setting in described.values()) == 8


@pytest.mark.parametrize(
    ("values", "key", "allowed"),
    [
        ({"n_layer": True}, "n_layer", "a whole number from 1 to 1024"),
        ({"n_layer": "six"}, "n_layer", "a whole number from 1 to 1024"),
        ({"n_layer": 0}, "n_layer", "a whole number from 1 to 1024"),
        ({"n_layer": 1.5}, "n_layer", "a whole number from 1 to 1024"),
        ({"learning_rate": math.nan}, "learning_rate", "a number, above 0 and 10 at most"),
        ({"learning_rate": math.inf}, "learning_rate", "a number, above 0 and 10 at most"),
        ({"learning_rate": True}, "learning_rate", "a number, above 0 and 10 at most"),
        ({"dropout": 1.0}, "dropout", "a number, 0 or more and below 1"),
        ({"bias": 1}, "bias", "True or False"),
        ({"compile": "yes"}, "compile", "auto, True or False"),
        ({"device": "gpu"}, "device", "auto, cpu, cuda, cuda:N or mps"),
        ({"dtype": "float8"}, "dtype", "auto, float32, bfloat16 or float16"),
        ({"dataset": 5}, "dataset", "text"),
        ({"n_embd": 100, "n_head": 3}, "n_head", "a divisor of n_embd"),
    ],
)
def test_a_bad_value_is_told_with_its_key_and_what_is_allowed(
    values: dict[str, object], key: str, allowed: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        make_config(values)
    (problem,) = refused.value.problems
    assert problem.key == key
    assert allowed in problem.message


def test_an_unknown_key_is_told_with_the_nearest_spelling() -> None:
    with pytest.raises(ConfigError, match=r"'n_layers' is not a setting\. Did you mean n_layer\?"):
        make_config({"n_layers": 3})


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        make_config({"n_layer": 0, "dropout": 2.0, "n_hed": 3}, source="mine.toml")
    assert {p.key for p in refused.value.problems} == {"n_layer", "dropout", "n_hed"}
    assert str(refused.value).count("mine.toml: ") == 3


def test_whole_numbers_are_taken_for_numbers() -> None:
    assert make_config({"learning_rate": 1, "grad_clip": 0}).learning_rate == 1.0


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"min_lr": 1.0}, "min_lr"),
        ({"max_iters": 5000, "lr_decay_iters": 6000}, "lr_decay_iters"),
        ({"max_iters": 50, "lr_decay_iters": 50, "warmup_iters": 50}, "warmup_iters"),
        ({"lr_decay_iters": 100, "warmup_iters": 200}, "lr_decay_iters"),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(changes: dict[str, object], key: str) -> None:
    config = make_config({"max_iters": 5000, "lr_decay_iters": 5000} | changes)
    assert key in config.warnings()


def test_where_time_decides_steps_are_not_warned_of() -> None:
    changes = {"max_iters": 800, "warmup_iters": 2000, "lr_decay_iters": 600_000}
    assert set(make_config(changes).warnings()) == {"warmup_iters", "lr_decay_iters"}
    assert make_config(changes | {"time_budget": 60.0}).warnings() == {}


def test_a_plain_configuration_warns_of_nothing() -> None:
    assert Config().warnings() == {}


@given(st.sampled_from(sorted(settings())), st.text(max_size=40))
def test_any_text_for_any_setting_is_a_value_or_an_answer_in_words(name: str, text: str) -> None:
    try:
        value = parse(name, text)
        config = make_config({name: value})
    except ConfigError as refused:
        message = str(refused)
    else:
        assert getattr(config, name) == value
        return
    assert name in message


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=20) | st.integers() | st.floats()))
def test_any_mapping_is_a_configuration_or_an_answer_in_words(values: dict[str, object]) -> None:
    with contextlib.suppress(ConfigError):
        found, plain = make_config(values), Config()
        # Hypothesis may well come upon the name of a setting.
        assert values.keys() <= Config.model_fields.keys()
        others = Config.model_fields.keys() - values.keys()
        assert all(getattr(found, name) == getattr(plain, name) for name in others)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.booleans())
def test_what_is_shown_is_read_back_as_the_same(value: float) -> None:
    text = to_text(value)
    back = {bool: lambda t: t == "True", int: int, float: float}[type(value)](text)
    assert back == value


def test_nearest_says_nothing_when_nothing_is_near() -> None:
    assert nearest("qqq", ["n_layer"]) == ""


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"positions": "rotary", "n_embd": 6, "n_head": 2}, "even number of channels"),
        ({"block_size": 64, "block_schedule": "0.5:65"}, "up to 64"),
    ],
)
def test_parts_of_the_recipe_that_do_not_fit_are_refused(
    values: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        make_config(values)
