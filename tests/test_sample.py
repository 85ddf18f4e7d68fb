"""Sampling: the same text with and without the cache, streamed, on the run's own tokenizer."""

from pathlib import Path

import pytest
import torch

import gpt
from gpt.control import Stopped
from gpt.corpus import Corpus
from gpt.model import GPT
from gpt.runs import Run
from gpt.sample import Sampler, build, draw, encode_prompt, generate
from gpt.settings import make_config
from gpt.tokenizer import CharTokenizer, TokenizerError
from gpt.world import World
from tests.test_layers import modules_after

CONFIG = make_config({
    "dataset": "shakespeare_char", "device": "cpu", "batch_size": 8, "block_size": 16,
    "gradient_accumulation_steps": 1, "n_layer": 2, "n_head": 2, "n_embd": 32, "max_iters": 40,
    "lr_decay_iters": 40, "warmup_iters": 2, "learning_rate": 1e-2, "eval_interval": 40,
    "eval_iters": 1, "sample_interval": -1, "threads": 1,
})  # fmt: skip
WORLD = World.of(CONFIG)


@pytest.fixture(scope="module")
def run(shakespeare: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("runs") / "run")
    list(gpt.train(CONFIG, run))
    return run


@pytest.fixture(scope="module")
def sampler(run: Run) -> Sampler:
    return Sampler.open(run)


def anew(model: GPT, prompt: torch.Tensor, count: int) -> torch.Tensor:
    """The likeliest continuation, every context computed anew."""
    ids = prompt
    with torch.no_grad():
        for _ in range(count):
            token = model.predict(ids[:, -model.block_size :]).argmax(-1, keepdim=True)
            ids = torch.cat((ids, token), dim=1)
    return ids[:, prompt.size(1) :]


@pytest.mark.parametrize("length", [1, 7, 16, 40])
def test_the_greedy_text_is_that_of_computing_everything_anew(
    sampler: Sampler, length: int
) -> None:
    prompt = torch.randint(65, (3, length))
    tokens = generate(sampler.model, prompt, 40, 0.0, 0, torch.Generator(), WORLD)
    assert torch.equal(torch.stack(list(tokens), dim=1), anew(sampler.model, prompt, 40))


def test_the_same_seed_writes_the_same(sampler: Sampler) -> None:
    def text(seed: int) -> str:
        return "".join(sampler.stream("ROMEO:", 60, 0.8, 200, seed))

    assert text(1) == text(1)
    assert text(1) != text(2)


def test_a_sample_has_its_prompt_and_its_length(sampler: Sampler) -> None:
    texts = sampler.write("ROMEO:", 3, 50, 0.8, 200, 1)
    assert len(texts) == 3
    assert all(text.startswith("ROMEO:") and len(text) == 56 for text in texts)
    assert len(set(texts)) == 3


def test_sampling_and_opening_draw_nothing_from_the_default_generator(run: Run) -> None:
    before = torch.get_rng_state()
    "".join(Sampler.open(run).stream("\n", 30, 0.8, 200, 1))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_prompt_outside_the_vocabulary_is_told(sampler: Sampler) -> None:
    with pytest.raises(TokenizerError, match="é"):
        list(sampler.stream("café", 5, 0.8, 0, 1))


def test_without_line_breaks_a_text_begins_with_its_first_character() -> None:
    tokens = CharTokenizer("abc")
    assert encode_prompt(tokens, "") == encode_prompt(tokens, "\n") == [0]
    with pytest.raises(TokenizerError, match="newline"):
        encode_prompt(tokens, "a\n")


def test_writing_can_be_stopped(sampler: Sampler) -> None:
    def check() -> None:
        if len(pieces) == 3:
            raise Stopped

    pieces: list[str] = []
    with pytest.raises(Stopped):
        pieces.extend(sampler.stream("\n", 100, 0.8, 0, 1, check))
    assert len(pieces) == 3


def test_only_the_likeliest_are_drawn_from() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0, 2.0]]).repeat(500, 1)
    generator = torch.Generator().manual_seed(0)
    assert set(draw(logits, 1.0, 2, generator).tolist()) == {1, 3}
    assert set(draw(logits, 1.0, 0, generator).tolist()) == {0, 1, 2, 3}
    assert set(draw(logits, 0.0, 0, generator).tolist()) == {1}


def test_a_lower_temperature_is_less_daring() -> None:
    logits = torch.tensor([[0.0, 1.0]]).repeat(4000, 1)
    generator = torch.Generator().manual_seed(0)
    cold = draw(logits, 0.5, 0, generator).float().mean()
    warm = draw(logits, 2.0, 0, generator).float().mean()
    assert cold == pytest.approx(torch.sigmoid(torch.tensor(2.0)).item(), abs=0.03)
    assert warm == pytest.approx(torch.sigmoid(torch.tensor(0.5)).item(), abs=0.03)


def test_another_models_checkpoint_is_refused_in_words(run: Run, tmp_path: Path) -> None:
    other = run.config().model_copy(update={"n_layer": 3})
    with pytest.raises(ValueError, match="another model's checkpoint"):
        build(other, 65, dict(GPT(CONFIG, 65).named_parameters()))


@pytest.mark.slow
def test_a_model_is_opened_without_importing_torchs_compiler() -> None:
    imported = modules_after(
        "from gpt.checkpoint import CheckpointError; from gpt.config import Config; "
        "from gpt.sample import build; import contextlib\n"
        "with contextlib.suppress(CheckpointError):\n"
        "    build(Config(n_layer=1, n_head=1, n_embd=8), 5, {})\npass"
    )
    assert "torch.nn.init" in imported
    assert "torch._dynamo" not in imported
