"""What changing a setting does, as the help tells it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpt import effects
from gpt.effects import Effect
from gpt.settings import make_config, parse, settings
from tests.effects import CHANGES, Change, base
from tui.ascii import plain

SHIPPED = effects.read(effects.PATH)
HEAD = "setting,before,after,also,val,spread,time,seeds,steps\n"


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: f"{change.setting}={change.value}")
def test_every_change_is_one_of_the_reference(change: Change) -> None:
    pairs = change.before(99), change.after(99)
    before, after = (make_config(pair).model_dump() for pair in pairs)
    assert [name for name in before if before[name] != after[name]] == [change.setting]


@pytest.mark.parametrize("effect", SHIPPED, ids=lambda effect: f"{effect.setting}={effect.after}")
def test_what_is_shipped_is_of_the_reference_preset(effect: Effect) -> None:
    setting = settings()[effect.setting]
    if not effect.also:
        shortened = make_config(base({}, effect.steps))
        assert parse(effect.setting, effect.before) == getattr(shortened, effect.setting)
    assert parse(effect.setting, effect.after) != parse(effect.setting, effect.before)
    assert effect.seeds >= 3
    assert str(effect) in setting.measured
    assert f"{effect.steps} steps" in setting.measured


def test_an_effect_is_told_with_signs_that_cannot_be_mistaken(tmp_path: Path) -> None:
    path = tmp_path / "effects.csv"
    path.write_text(HEAD + "n_layer,4,6,,-0.0312,0.0041,1.4,3,2000\n")

    (effect,) = effects.read(path)

    assert str(effect) == "4 → 6: val −0.031 ± 0.004, time ×1.40"
    assert plain(str(effect)) == "4 > 6: val -0.031 ~ 0.004, time x1.40"


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", HEAD + "n_layer,4,6,,x,0,1,3,9\n"])
def test_a_damaged_file_takes_nothing_but_the_figures_from_the_help(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    path = tmp_path / "effects.csv"
    path.write_text(text)
    monkeypatch.setattr(effects, "PATH", path)
    effects.known.cache_clear()

    # when
    words = effects.in_words("n_layer")
    effects.known.cache_clear()

    # then
    assert words == ""
