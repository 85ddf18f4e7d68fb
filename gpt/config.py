"""Every hyperparameter of a run: one flat, frozen model with nanoGPT's own names.

The declaration of a field is the only one, here or, for what nanoGPT lacks, in `recipe.py`: its
type, range, unit, choices and help drive the TOML files, the `--key=value` flags, the form, its
explanations and its error messages.
The defaults are nanoGPT's, except `device`, `dtype` and `compile`, which are "auto".
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from gpt.declaration import setting
from gpt.recipe import Recipe, parts

MOST_SEQUENCES = 65536


class Config(Recipe):
    """The complete configuration of one run.

    Raises:
        pydantic.ValidationError: a value of the wrong type, out of range, or at odds with
            another. `gpt.settings.make_config` gives the same as a `ConfigError` in words.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)

    # --- data
    dataset: str = setting(
        "openwebtext",
        "data",
        "The text to learn from: shakespeare_char, shakespeare, or the path of any text file or "
        "folder of text files, of which the first 90 % is trained on and the rest kept for "
        "validation; or a folder that nanoGPT prepared.",
        main=True,
    )
    batch_size: int = setting(
        12,
        "data",
        "Sequences in one micro-batch. More makes each step smoother and slower and needs more "
        "memory; fewer makes it noisier and quicker. 12 keeps two CPU cores busy; a GPU likes 64.",
        unit="sequences",
        main=True,
        ge=1,
        le=MOST_SEQUENCES,
    )
    block_size: int = setting(
        1024,
        "data",
        "How many tokens the model sees at once. More lets it use what was said longer ago, at "
        "a cost that grows faster than the length. 64 characters is about a line of a play; "
        "256 is a short speech.",
        unit="tokens",
        main=True,
        ge=1,
        le=1048576,
    )
    gradient_accumulation_steps: int = setting(
        40,
        "data",
        "Micro-batches whose gradients are added up before each update. Behaves like a batch "
        "that many times larger without its memory; each step takes that many times longer.",
        unit="micro-batches",
        ge=1,
        le=65536,
    )

    # --- model
    n_layer: int = setting(
        12,
        "model",
        "Transformer blocks, one after the other. More lets the model build on its own "
        "intermediate results and costs time in proportion. 4 is enough to write Shakespeare-like "
        "lines; GPT-2 has 12.",
        unit="blocks",
        main=True,
        ge=1,
        le=1024,
    )
    n_head: int = setting(
        12,
        "model",
        "Attention heads in each block: how many different things a position can look for at "
        "once. Must divide n_embd; 32 to 64 channels a head is usual.",
        unit="heads",
        main=True,
        ge=1,
        le=1024,
    )
    n_embd: int = setting(
        768,
        "model",
        "Channels that carry each token through the model. Parameters and time grow with its "
        "square. 128 learns on a laptop; GPT-2 has 768.",
        unit="channels",
        main=True,
        ge=1,
        le=65536,
    )
    dropout: float = setting(
        0.0,
        "model",
        "Share of activations switched off at random while training. More holds back learning "
        "by heart, which matters when the data is passed over many times (0.2 for 5,000 steps "
        "on a small text); 0 learns fastest in a short run.",
        ge=0.0,
        lt=1.0,
    )
    bias: bool = setting(
        False,
        "model",
        "Bias terms in the linear layers and norms, as GPT-2 has them. Without them training is "
        "a little faster and usually no worse.",
    )

    # --- optimizer
    learning_rate: float = setting(
        6e-4,
        "optimizer",
        "The largest step size of AdamW. Higher learns faster until it becomes unstable and the "
        "loss jumps; lower is safe and slow. 1e-3 suits models under ten million parameters, "
        "6e-4 a GPT-2.",
        main=True,
        gt=0.0,
        le=10.0,
    )
    weight_decay: float = setting(
        0.1,
        "optimizer",
        "How strongly matrices and embeddings are pulled towards zero at each step. More "
        "regularises; norms and biases are never decayed.",
        ge=0.0,
        le=100.0,
    )
    beta1: float = setting(
        0.9,
        "optimizer",
        "Memory of AdamW's mean gradient. Higher averages over more steps and reacts later.",
        ge=0.0,
        lt=1.0,
    )
    beta2: float = setting(
        0.95,
        "optimizer",
        "Memory of AdamW's mean squared gradient. 0.99 suits small batches, whose gradients are "
        "noisy; 0.95 suits large ones.",
        ge=0.0,
        lt=1.0,
    )
    grad_clip: float = setting(
        1.0,
        "optimizer",
        "Gradients longer than this are shortened to it, so that one odd batch cannot throw the "
        "model off. 0 switches clipping off.",
        ge=0.0,
    )

    # --- schedule
    max_iters: int = setting(
        600000,
        "schedule",
        "Training steps in the run. More reaches a lower loss, until the model starts to learn "
        "the text by heart. Keep lr_decay_iters equal to it.",
        unit="steps",
        main=True,
        ge=0,
        le=10**12,
    )
    decay_lr: bool = setting(
        True,
        "schedule",
        "Whether the learning rate warms up and then falls along a cosine. Off keeps it constant.",
    )
    warmup_iters: int = setting(
        2000,
        "schedule",
        "Steps over which the learning rate rises from almost nothing. More is gentler on the "
        "random start; 100 is enough for a small model.",
        unit="steps",
        ge=0,
        le=10**12,
    )
    lr_decay_iters: int = setting(
        600000,
        "schedule",
        "The step at which the falling learning rate reaches min_lr. Equal to max_iters, the "
        "run ends just as the rate does, which gives the best loss.",
        unit="steps",
        ge=0,
        le=10**12,
    )
    min_lr: float = setting(
        6e-5,
        "schedule",
        "The learning rate at the end of the decay. A tenth of learning_rate is usual.",
        ge=0.0,
        le=10.0,
    )

    # --- evaluation and logging
    eval_interval: int = setting(
        2000,
        "evaluation and logging",
        "Steps between evaluations of both splits. Fewer shows overfitting sooner and takes "
        "more of the run's time. 0 evaluates at the end alone.",
        unit="steps",
        ge=0,
        le=10**12,
    )
    eval_iters: int = setting(
        200,
        "evaluation and logging",
        "Random batches in each estimate of a loss. More is less noisy and slower. 0 measures "
        "exactly, over the whole validation split and as much of the training split.",
        unit="batches",
        ge=0,
        le=10**9,
    )
    eval_only: bool = setting(
        False,
        "evaluation and logging",
        "Evaluate once and end, without training.",
    )
    log_interval: int = setting(
        1,
        "evaluation and logging",
        "Steps between two points of the loss curve. On a GPU each point makes it wait, so 10 "
        "is kinder there.",
        unit="steps",
        ge=1,
        le=10**12,
    )
    always_save_checkpoint: bool = setting(
        True,
        "evaluation and logging",
        "Save after every evaluation, not only after one with a lower validation loss.",
    )
    checkpoint_minutes: float = setting(
        5.0,
        "evaluation and logging",
        "The last checkpoint is never older than this, whatever the validation loss does. 0 "
        "saves at evaluations only.",
        unit="minutes",
        ge=0.0,
        le=1e6,
    )
    keep_checkpoints: int = setting(
        2,
        "evaluation and logging",
        "How many of the most recent checkpoints to keep beside the best one. Each takes three "
        "times the memory of the parameters on disk.",
        unit="checkpoints",
        ge=2,
        le=10**6,
    )

    # --- sampling
    sample_interval: int = setting(
        0,
        "sampling",
        "Steps between samples of what the model writes. 0 samples at every evaluation and at "
        "steps 0, 50 and 100; -1 never. Samples do not touch training's random numbers.",
        unit="steps",
        ge=-1,
        le=10**12,
    )
    start: str = setting(
        "\n",
        "sampling",
        "The prompt that a sample begins with. A line break lets the model begin as it likes.",
    )
    max_new_tokens: int = setting(
        500,
        "sampling",
        "Length of a sample. Longer shows more and takes more of the run's time.",
        unit="tokens",
        ge=1,
        le=10**6,
    )
    temperature: float = setting(
        0.8,
        "sampling",
        "How daring the model writes: 0 always takes the likeliest token, 1 draws exactly as "
        "likely as the model thinks, more becomes wild.",
        ge=0.0,
        le=100.0,
    )
    top_k: int = setting(
        200,
        "sampling",
        "Only this many of the likeliest tokens are drawn from. Fewer is safer and duller. 0 "
        "draws from all.",
        unit="tokens",
        ge=0,
        le=10**9,
    )

    # --- system
    device: str = setting(
        "auto",
        "system",
        "Where to compute: auto, cpu, cuda, cuda:N or mps. auto takes a CUDA GPU, then Apple's, "
        "then the CPU.",
        pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = setting(
        "auto",
        "system",
        "Number format of the matrix products. auto takes bfloat16 on a GPU that has it, else "
        "float16, and float32 on a CPU, where float16 is float32 as well. bfloat16 works on a "
        "CPU and is faster on one made for it.",
    )
    compile: bool | Literal["auto"] = setting(
        "auto",
        "system",
        "Whether torch.compile turns the model into faster code first, which takes up to a "
        "minute. auto compiles on a CUDA GPU only.",
    )
    kernels: Literal["auto", "native", "torch"] = setting(
        "auto",
        "system",
        "What computes the blocks and Muon's updates on a CPU. native: Nanodeck's own, which a "
        "C compiler makes in seconds the first time, on Linux; torch: PyTorch's own. auto takes "
        "native where it can. The numbers differ in the seventh digit.",
    )
    threads: int = setting(
        0,
        "system",
        "CPU threads for the computation. 0 takes one for each core. Fewer is faster when "
        "other programs keep the cores busy.",
        unit="threads",
        ge=0,
        le=4096,
    )
    seed: int = setting(
        1337,
        "system",
        "Where the random numbers start. The same seed and settings give the same run; another "
        "seed shows how much of a result is luck.",
        ge=0,
        le=2**63 - 1,
    )
    init_from: Literal["scratch"] = setting(
        "scratch",
        "system",
        "Where the parameters come from: scratch draws them at random.",
    )

    @model_validator(mode="after")
    def _rules(self) -> Config:
        if self.n_embd % self.n_head:
            divisors = [n for n in range(1, min(self.n_embd, 64) + 1) if self.n_embd % n == 0]
            near = min(divisors, key=lambda n: abs(n - self.n_head))
            raise _broken_rule(
                "n_head",
                f"n_embd = {self.n_embd} does not split evenly over n_head = {self.n_head}. "
                f"Allowed: a divisor of n_embd; the nearest is {near}.",
            )
        if self.positions == "rotary" and self.n_embd // self.n_head % 2:
            raise _broken_rule(
                "positions",
                f"positions = 'rotary' turns pairs of channels, and n_embd = {self.n_embd} over "
                f"n_head = {self.n_head} makes {self.n_embd // self.n_head} in each head. Allowed: "
                "an even number of channels a head.",
            )
        longest = max((size for _, size in parts(self.block_schedule)), default=0)
        if longest > self.block_size:
            raise _broken_rule(
                "block_schedule",
                f"block_schedule goes up to {longest} tokens, and block_size is {self.block_size}. "
                f"Allowed: up to {self.block_size}.",
            )
        largest = max((size for _, size in parts(self.batch_schedule)), default=0)
        if largest > MOST_SEQUENCES:
            raise _broken_rule(
                "batch_schedule",
                f"batch_schedule goes up to {largest} sequences. Allowed: up to {MOST_SEQUENCES}.",
            )
        return self

    @property
    def tokens_per_iter(self) -> int:
        """Tokens that one training step learns from."""
        return self.batch_size * self.block_size * self.gradient_accumulation_steps

    def evaluates(self, step: int) -> bool:
        """Whether the run evaluates before this step's update, its end apart."""
        return self.eval_interval > 0 and step % self.eval_interval == 0

    def warnings(self) -> dict[str, str]:
        """What is allowed but probably not meant, by field."""
        found: dict[str, str] = {}
        if self.decay_lr and self.min_lr > self.learning_rate:
            found["min_lr"] = "is above learning_rate, so the rate rises instead of falling"
        if not self.decay_lr or self.time_budget:  # time decides on how far it is then
            return found
        if self.lr_decay_iters > self.max_iters > 0:
            found["lr_decay_iters"] = "is after max_iters, so the decay does not finish"
        if self.warmup_iters >= self.max_iters > 0:
            found["warmup_iters"] = "is no less than max_iters, so the run is all warm-up"
        elif self.lr_decay_iters <= self.warmup_iters:
            found["lr_decay_iters"] = "ends before the warm-up, so the rate drops to min_lr at once"
        return found


def _broken_rule(key: str, message: str) -> PydanticCustomError:
    return PydanticCustomError("rule", "{message}", {"key": key, "message": message})
