"""The headless commands, as real processes."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gpt.corpus import Corpus
from gpt.events import Finished, Step, from_json
from gpt.runs import Run, follow
from tests.commands import app

APP = Path(__file__).parent.parent / "app.py"
QUICK = ["--device=cpu", "--max_iters=20", "--lr_decay_iters=20", "--eval_interval=10",
         "--eval_iters=2", "--max_new_tokens=10", "--threads=1"]  # fmt: skip


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shakespeare: Corpus) -> None:
    monkeypatch.chdir(tmp_path)


def test_train_sample_eval_and_runs_work_together() -> None:
    Path("play.txt").write_text("ROMEO: to be, or not to be\n" * 200, "utf-8")
    trained = app("train", "tiny", *QUICK, "--dataset=play.txt")
    assert trained.returncode == 0, trained.stderr
    lines = trained.stdout.splitlines()
    assert lines[1].startswith("step 0: train loss 2.")
    assert lines[2].startswith("iter 0: loss 2.")
    assert lines[-1] == "done"

    (run,) = json.loads(app("runs", "--json").stdout.join("[]"))
    assert run["state"] == "done"
    assert run["name"] in app("runs").stdout

    sampled = app("sample", "last", "--num_samples=2", "--max_new_tokens=20", "--start=ROMEO")
    assert sampled.stdout.count("ROMEO") == 2
    assert sampled.stdout.count("---------------") == 2

    evaluated = app("eval", run["name"], "--json")
    assert 0.5 < json.loads(evaluated.stdout)["val"] < 2.9


def test_json_prints_the_journals_lines() -> None:
    trained = app("train", "tiny", *QUICK, "--json", "--out_dir=here")
    journal = Path("here/events.jsonl").read_text("utf-8")
    assert trained.stdout == journal
    assert isinstance(from_json(journal.splitlines()[-1]), Finished)

    again = app("train", "tiny", *QUICK, "--out_dir=here")
    assert again.returncode == 2
    assert "already holds a run" in again.stderr
    assert Path("here/events.jsonl").read_text("utf-8") == journal


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train"], "one word is needed here, and there is none"),
        (["train", "a", "b"], "and not 'a b'"),
        (["runs", "x"], "'x' is one too many"),
        (["foo"], "Commands are: train, resume"),
        (["train", "tyni"], "Did you mean tiny?"),
        (["train", "tinny"], "Did you mean tiny?"),
        (["train", "tiny", "--n_hed=2"], "Did you mean n_head?"),
        (["train", "tiny", "--n_layer=six"], "a whole number from 1 to 1024"),
        (["train", "tiny", "--dropout=nan"], "0 or more and below 1"),
        (["train", "tiny", "--max_iters", "5"], "--max_iters=VALUE"),
        (["train", "tiny", "--dataset=nowhere.txt"], "nowhere.txt"),
        (["train", "tiny", "--device=cuda"], "no CUDA device"),
        (["train", "tiny", "--n_layer=1000", "--n_embd=32768"], "GB are free"),
        (["train", "missing.toml"], "missing.toml cannot be read"),
        (["train", "."], "is a folder"),
        (["sample", "nothing"], "there is no run 'nothing'"),
        (["sample", "last", "--num_sample=3"], "Did you mean num_samples?"),
        (["eval", "last"], "there are no runs here yet"),
        (["eval", "last", "--device=gpu"], "device = 'gpu' cannot be used"),
        (["prepare"], "one word is needed"),
        (["prepare", "shakespear"], "shakespeare"),
        (["trian", "tiny"], "Did you mean train?"),
        (["tinny"], "Did you mean tiny?"),
        ([], "needs a terminal"),
        (["tiny", "--start"], "needs a terminal"),
    ],
)
def test_what_is_wrong_is_told_in_words_and_nothing_is_written(words: list[str], told: str) -> None:
    result = app(*words)
    assert result.returncode == 2
    assert told.lower() in result.stderr.lower()
    assert "Traceback" not in result.stderr
    assert list(Path().iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent the POSIX way")
def test_a_signal_stops_saves_and_says_so(name: str, code: int) -> None:
    process = subprocess.Popen(
        [sys.executable, str(APP), "train", "tiny", "--threads=1", "--json", "--out_dir=run"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if isinstance(from_json(line), Step):
            break
    process.send_signal(getattr(signal, name))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "stopping and saving" in errors
    last = list(follow(Run(Path("run"))))[-1]
    assert isinstance(last, Finished)
    assert last.reason == "stopped"
    assert Path("run/last").is_file()


def test_a_nanogpt_configuration_file_trains() -> None:
    Path("train_mine.py").write_text(
        "out_dir = 'out'\ndataset = 'shakespeare_char'\nbatch_size = 4\nblock_size = 4 * 2\n"
        "n_layer = 1\nn_head = 1\nn_embd = 16\ngradient_accumulation_steps = 1\n"
        "max_iters = 3\nlr_decay_iters = 3\nwarmup_iters = 1\neval_iters = 1\n"
    )
    result = app("train", "train_mine.py", "--device=cpu", "--sample_interval=-1")
    assert result.returncode == 0, result.stderr
    assert "out_dir is passed over" in result.stderr
    assert len(list(Path("runs").iterdir())) == 1
    assert not Path("out").exists()


def test_a_text_of_ones_own_is_a_corpus() -> None:
    Path("song.txt").write_text("la la la, sol, la\n" * 200, "utf-8")
    assert app("prepare", "song.txt").returncode == 0
    result = app("train", "tiny", *QUICK, "--dataset=song.txt", "--start=la")
    assert result.returncode == 0, result.stderr


def test_control_characters_do_not_reach_a_persons_terminal_in_errors() -> None:
    result = app("train", "tiny", "--dataset=\x1b]0;owned\x07")
    assert result.returncode == 2
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize("package", ["torch", "textual", "pydantic"])
def test_a_missing_package_is_one_line_with_the_command(package: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None; import app; "
        "from tui import terminal; terminal.unusable = lambda: None; "
        "raise SystemExit(app.main(sys.argv[1:]))"
    )
    words = [] if package == "textual" else ["train", "tiny"]
    result = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True, text=True, cwd=APP.parent, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert result.returncode == 2
    assert result.stderr.strip() == (
        f"nanodeck: the package {package} is missing; install what is needed with: "
        "python -m pip install -e ."
    )
