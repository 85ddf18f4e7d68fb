"""The bridge to nanoGPT: configuration files in, command lines out."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpt import nanogpt, presets
from gpt.config import Config
from gpt.presets import PresetError
from gpt.settings import make_config

SHAKESPEARE_FILE = '''
# train a miniature character-level shakespeare model
"""a docstring"""
import time
out_dir = 'out-shakespeare-char'
eval_interval = 250 # keep frequent because we'll overfit
wandb_log = False # override via command line if you like
wandb_run_name = 'mini-gpt' + str(time.time())
dataset = 'shakespeare_char'
gradient_accumulation_steps = 5 * 8
batch_size = 64
learning_rate = 1e-3 # with baby networks can afford to go a bit higher
max_iters = 5000
lr_decay_iters = max_iters
min_lr = learning_rate / 10
device = 'cpu'
dtype = 'bfloat16'
compile = False
'''


def config_file(folder: Path, text: str) -> Path:
    path = folder / "train_mine.py"
    path.write_text(text, "utf-8")
    return path


def test_a_configuration_file_is_read_with_its_arithmetic(tmp_path: Path) -> None:
    values, notes = nanogpt.read_config(config_file(tmp_path, SHAKESPEARE_FILE))
    config = make_config(values)
    assert config.gradient_accumulation_steps == 40
    assert config.lr_decay_iters == 5000
    assert config.min_lr == pytest.approx(1e-4)
    assert config.dtype == "float32"  # nanoGPT's on a CPU, whatever the file says
    assert [note.split()[0] for note in notes] == ["out_dir", "wandb_log", "wandb_run_name"]


@pytest.mark.parametrize(
    "text",
    [
        "batch_size = __import__('os').system('true')",
        "batch_size = 2 ** 10 ** 10",
        "batch_size = 'a' * 10",
        "batch_size = 1 / 0",
        "open('x')",
        "for i in range(3): pass",
        "batch_size = (",
        "batch_size = [1]",
        "a = b",
    ],
)
def test_a_configuration_file_is_never_executed(tmp_path: Path, text: str) -> None:
    with pytest.raises(PresetError, match=r"train_mine\.py"):
        nanogpt.read_config(config_file(tmp_path, text))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=200))
def test_any_text_is_a_configuration_file_or_an_answer_in_words(tmp_path: Path, text: str) -> None:
    values, said = dict[str, object](), list[str]()
    try:
        values, said = nanogpt.read_config(config_file(tmp_path, text))
    except PresetError as error:
        said = [str(error)]
    assert all(isinstance(value, bool | int | float | str) for value in values.values())
    assert all(said)


def test_the_reference_command_is_told_in_nanogpts_words() -> None:
    config = make_config(presets.find("shakespeare_char_cpu").values)
    command = nanogpt.command_line(config, gpu=False)
    assert command.startswith("python train.py config/train_shakespeare_char.py ")
    assert set(command.split()[3:]) == {
        "--device=cpu", "--compile=False", "--eval_iters=20", "--log_interval=1",
        "--block_size=64", "--batch_size=12", "--n_layer=4", "--n_head=4", "--n_embd=128",
        "--max_iters=2000", "--lr_decay_iters=2000", "--dropout=0.0",
    }  # fmt: skip


def test_the_gpu_file_needs_no_flags_on_a_gpu() -> None:
    config = make_config(presets.find("shakespeare_char").values)
    command = nanogpt.command_line(config, gpu=True)
    assert command == "python train.py config/train_shakespeare_char.py"


def test_defaults_name_every_training_setting_that_both_have() -> None:
    here = make_config({})
    both = {name: getattr(here, name) for name in nanogpt.DEFAULTS}
    differ = {name for name, value in both.items() if value != nanogpt.DEFAULTS[name]}
    assert differ == {"device", "compile"}


def test_what_nanogpt_lacks_is_named() -> None:
    assert nanogpt.lacking(Config()) == []
    assert nanogpt.lacking(Config(eval_interval=0)) == ["eval_interval"]
    assert nanogpt.lacking(Config(token_shift=0.5, optimizer="muon")) == [
        "token_shift", "optimizer",
    ]  # fmt: skip
