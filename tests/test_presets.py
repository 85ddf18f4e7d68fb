"""Presets: the shipped ones, a person's own, and files that are none."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpt import presets
from gpt.config import Config
from gpt.presets import PresetError
from gpt.settings import make_config

SHIPPED = sorted(path.stem for path in presets.SHIPPED.glob("*.toml"))


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NANODECK_CONFIG_DIR", str(tmp_path))
    return tmp_path / "presets"


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_preset_is_complete_and_warns_of_nothing(name: str) -> None:
    preset = presets.find(name)
    config = make_config(preset.values, name)
    assert preset.shipped
    assert preset.description.endswith(".")
    assert config.warnings() == {}
    assert "out_dir" not in preset.values


def test_the_three_that_everything_speaks_of_are_there() -> None:
    assert {"shakespeare_char", "shakespeare_char_cpu", "tiny"} <= set(SHIPPED)


def test_a_saved_preset_comes_back_as_it_was(own_folder: Path) -> None:
    config = make_config({"n_layer": 3, "start": "To be\n", "dataset": "böök.txt", "min_lr": 0})
    presets.save("mine", config, 'A "quoted" one.')
    found = presets.find("mine")
    assert make_config(found.values) == config
    assert found.description == 'A "quoted" one.'
    assert [p.name for p in presets.find_all()[0]][-1] == "mine"
    assert list(own_folder.iterdir()) == [own_folder / "mine.toml"]


def test_nothing_is_overwritten_unless_said(own_folder: Path) -> None:
    presets.save("mine", Config(), "first")
    with pytest.raises(PresetError, match="exists"):
        presets.save("mine", Config(), "second")
    assert presets.find("mine").description == "first"
    presets.save("mine", Config(), "second", replace=True)
    assert presets.find("mine").description == "second"


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "tiny", "x" * 65, "a\x1b", "a."])
def test_a_name_that_could_leave_the_folder_or_hide_a_preset_is_refused(
    name: str, own_folder: Path
) -> None:
    with pytest.raises(PresetError):
        presets.save(name, Config(), "")
    assert not own_folder.exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=80))
def test_any_name_stays_in_the_folder(name: str) -> None:
    try:
        path = presets.save(name, Config(), "", replace=True)
    except PresetError:
        return
    assert path.parent == presets.user_folder()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"n_layer = ", "is not TOML"),
        (b"\xff\xfe\x00", "byte 0 is not UTF-8"),
        (b"a = " + b"[" * 5000, "nested too deeply"),
        (b"a = [1]", "a table or a list"),
        (b"[model]\nn_layer = 3", "a table or a list"),
        (b"#" * (presets.MAX_BYTES + 1), "larger than 64 KiB"),
        (b"description = 3", "description = 3 cannot be used"),
    ],
)
def test_a_file_that_is_no_preset_is_told_by_name(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(PresetError, match=words) as refused:
        presets.read(path)
    assert str(path) in str(refused.value)


def test_a_folder_or_nothing_where_a_file_belongs(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(PresetError, match="is a folder"):
        presets.find(str(tmp_path / "folder.toml"))
    with pytest.raises(PresetError, match="cannot be read"):
        presets.find(str(tmp_path / "gone.toml"))
    with pytest.raises(PresetError, match="not a file name"):
        presets.find("nul\0.toml")


def test_a_mistyped_name_is_told_with_the_nearest() -> None:
    with pytest.raises(PresetError, match=r"Did you mean tiny\?"):
        presets.find("tinny")


def test_one_broken_preset_does_not_hide_the_others(own_folder: Path) -> None:
    own_folder.mkdir()
    (own_folder / "broken.toml").write_text("x = ", "utf-8")
    found, problems = presets.find_all()
    assert {preset.name for preset in found} == set(SHIPPED)
    assert len(problems) == 1
    assert "broken.toml" in problems[0]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=400))
def test_any_bytes_are_a_preset_or_an_answer_in_words(own_folder: Path, content: bytes) -> None:
    path = own_folder.parent / "any.toml"
    path.write_bytes(content)
    try:
        preset = presets.read(path)
    except PresetError:
        return
    assert preset.name == "any"
