"""Files from strangers: nanoGPT's `meta.pkl`, prepared folders and `ckpt.pt`. Nothing is run."""

from __future__ import annotations

import io
import os
import pickle
import random
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from gpt import corpus, foreign, pickles
from gpt.config import Config
from gpt.foreign import ForeignError
from gpt.model import GPT
from gpt.pickles import PickleError
from gpt.textfiles import CorpusError
from gpt.tokenizer import GPT2Tokenizer
from tests.conftest import finish, half_done, prepared, text_of

PLAY = "To be, or not to be: that is the question.\n" * 60

TIMES = 1_000 if os.environ.get("NANODECK_SOAK") else 60

# --- payloads


@dataclass
class Calls:
    """Pickles as a call of `function`."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


class Fills:
    """Pickles as an object whose state is set by a call."""

    def __init__(self, inner: object) -> None:
        self.inner = inner

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (), {"x": 1}, iter([self.inner])


def calls(mark: str) -> dict[str, Calls]:
    """Calls that make a file, each another way."""
    statement = f"open({mark!r}, 'w').close()"
    return {
        "os.system": Calls(os.system, (f"touch {mark}",)),
        "subprocess": Calls(subprocess.call, (["touch", mark],)),
        "Popen": Calls(subprocess.Popen, (["touch", mark],)),
        "eval": Calls(eval, (statement,)),
        "exec": Calls(exec, (statement,)),
        "open": Calls(open, (mark, "w")),
        "mkdir": Calls(os.mkdir, (mark,)),
        "Path.touch": Calls(Path.touch, (Path(mark),)),
        "os.open": Calls(os.open, (mark, os.O_CREAT | os.O_WRONLY)),
    }


def live(mark: Callable[[str], str]) -> dict[str, bytes]:
    """Pickles that run code when Python's own pickle reads them, by name."""
    found: dict[str, bytes] = {}
    for protocol in range(6):
        for name in calls(""):
            label = f"{name} {protocol}"
            found[label] = pickle.dumps(calls(mark(label))[name], protocol)
    nests: dict[str, Callable[[object], object]] = {
        "in a list": lambda call: [1, [call]],
        "in a tuple": lambda call: (1, (call, 2)),
        "in stoi": lambda call: {"vocab_size": 2, "stoi": {"a": call}, "itos": {0: "a"}},
        "as a value beside": lambda call: {"stoi": {"a": 0}, "itos": {0: "a"}, "more": call},
        "filled in": Fills,
        "deep": lambda call: [[[[[[[[[[[[call]]]]]]]]]]]],
    }
    for name, nest in nests.items():
        for protocol in (0, 2, 4):
            label = f"{name} {protocol}"
            found[label] = pickle.dumps(nest(calls(mark(label))["os.system"]), protocol)
    commands = {
        "GLOBAL REDUCE": lambda c: b"cos\nsystem\n(S'" + c + b"'\ntR.",
        "INST": lambda c: b"(S'" + c + b"'\nios\nsystem\n.",
        "OBJ": lambda c: b"(cos\nsystem\nS'" + c + b"'\no.",
        "posix": lambda c: b"cposix\nsystem\n(S'" + c + b"'\ntR.",
        "STACK_GLOBAL": lambda c: b"\x80\x04\x8c\x02os\x8c\x06system\x93(S'" + c + b"'\ntR.",
        "names from the memo": lambda c: (
            b"\x80\x04\x8c\x06system\x94\x8c\x02os\x94h\x01h\x00\x93(S'" + c + b"'\ntR."
        ),
        "dotted": lambda c: b"\x80\x04\x8c\x0asubprocess\x8c\x09os.system\x93(S'" + c + b"'\ntR.",
        "memo overwritten": lambda c: b"I1\np0\n0cos\nsystem\np0\n0g0\n(S'" + c + b"'\ntR.",
        "popped first": lambda c: b"I1\n0cos\nsystem\n(S'" + c + b"'\ntR.",
        "duplicated": lambda c: b"cos\nsystem\n2(S'" + c + b"'\ntR00I1\n.",
        "popped result": lambda c: b"cos\nsystem\n(S'" + c + b"'\ntR0(dp0\n.",
        "behind a mark": lambda c: b"(cos\nsystem\n(S'" + c + b"'\ntR1(d.",
        "getattr": lambda c: (
            b"cbuiltins\ngetattr\n(cos\n__dict__\nS'get'\ntR(S'system'\ntR(S'" + c + b"'\ntR."
        ),
        "framed": lambda c: b"\x80\x04\x95\x09\0\0\0\0\0\0\0cos\nsystem\n(S'" + c + b"'\ntR.",
        "key": lambda c: b"(dcos\nsystem\n(S'" + c + b"'\ntRI1\ns.",
    }  # fmt: skip
    for label, payload in commands.items():
        found[label] = payload(f"touch {mark(label)}".encode())
    return found


def doubled(times: int, pair: bytes, end: bytes) -> bytes:
    """A pair of a pair of a pair ..., each made of one thing twice: hashing it takes for ever."""
    body = b"".join(b"h" + bytes([n]) + b"h" + bytes([n]) + pair + b"\x94" for n in range(times))
    return b"\x80\x04)\x94" + body + end


def dead() -> dict[str, bytes]:
    """Pickles that are damaged, endless, enormous or no vocabulary."""
    return {
        "empty": b"",
        "no stop": b"\x80\x04}",
        "nothing built": b".",
        "only a mark": b"(.",
        "two values": b"I1\nI2\n.",
        "protocol 255": b"\x80\xff}.",
        "EXT1": b"\x80\x02\x82\x01.",
        "EXT2": b"\x80\x02\x83\x01\x01.",
        "EXT4": b"\x80\x02\x84\x01\x01\x01\x01.",
        "NEWOBJ": b"\x80\x02csubprocess\nPopen\n(S'true'\nt\x81.",
        "NEWOBJ_EX": b"\x80\x04csubprocess\nPopen\n(S'true'\nt}\x92.",
        "PERSID": b"Pos.system\n.",
        "BINPERSID": b"\x80\x02X\x01\0\0\0aQ.",
        "BUILD": b"\x80\x02}X\x01\0\0\0a}b.",
        "NEXT_BUFFER": b"\x80\x05\x97.",
        "READONLY_BUFFER": b"\x80\x05\x97\x98.",
        "BYTEARRAY8": b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
        "bytes": pickle.dumps(b"abc", 4),
        "set": pickle.dumps({1, 2}, 4),
        "frozenset": pickle.dumps(frozenset({1, 2}), 4),
        "complex": pickle.dumps(1j, 4),
        "numpy": pickle.dumps(np.arange(3), 4),
        "class": pickle.dumps(Path, 4),
        "string of 2^62": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b".",
        "bytes of 2 GB": b"\x80\x03B\xff\xff\xff\x7f.",
        "negative length": b"\x80\x02\x8b\xff\xff\xff\xff.",
        "frame of 2^62": b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"}.",
        "memo of 2^32": b"\x80\x04}r\xff\xff\xff\xffj\xfe\xff\xff\xff.",
        "number of 9 digits' digits": b"\x80\x02\x8b"
        + struct.pack("<i", 1 << 20)
        + b"\xff" * (1 << 20),
        "digits": b"I" + b"9" * 100_000 + b"\n.",
        "deep list": b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".",
        "deep tuple": b"\x80\x04)" + b"\x85" * 100_000 + b".",
        "marks": b"(" * 200_000 + b".",
        "steps": b"\x80\x04" + b"N0" * 500_100 + b"}.",
        "larger than allowed": b"\x80\x04}" + b"\x95" + bytes(9 << 20),
        "contains itself": b"\x80\x04]\x94h\x00a.",
        "doubling key": doubled(60, b"\x86", b"}h\x3ch\x00s."),
        "doubling value": doubled(60, b"\x86", b"."),
        "doubling set": doubled(60, b"\x86", b"\x8fh\x3c\x90."),
        "unhashable key": b"\x80\x04}]Ns.",
        "odd dictionary": b"(I1\nd.",
        "get of nothing": b"g7\n.",
        "append to a number": b"I1\nI2\na.",
        "set in a list": b"]I1\nI2\ns.",
        "pop of nothing": b"0.",
        "not a pickle": b"\x89PNG\r\n\x1a\n" * 40,
        "text": b"a vocabulary, really\n",
        "half a character": b"\x80\x04}\x8c\x04itos}K\0\x8c\x03\xed\xa0\x80ss.",
    }


def marks_in(folder: Path) -> Callable[[str], str]:
    folder.mkdir(parents=True, exist_ok=True)
    return lambda label: str(folder / "".join(c if c.isalnum() else "-" for c in label))


LIVE, DEAD = tuple(live(str)), tuple(dead())


def payload(label: str, folder: Path) -> bytes:
    return (live(marks_in(folder)) | dead())[label]


def archive(pickled: bytes, **others: bytes) -> bytes:
    """A zip file as torch writes it, with this pickle in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in {"data.pkl": pickled, "byteorder": b"little", **others}.items():
            file.writestr(f"archive/{name}", content)
        file.writestr("archive/version", b"3\n")
    return buffer.getvalue()


def legacy(pickled: bytes) -> bytes:
    """The same as torch wrote it before 1.6: one pickle after the other."""
    head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    return b"".join(pickle.dumps(part, 2) for part in head) + pickled


# --- hostile pickles


@pytest.mark.skipif(sys.platform == "win32", reason="the payloads call touch")
def test_the_payloads_are_real(tmp_path: Path) -> None:
    """Given Python's own pickle, each of them makes its file: what follows is worth something."""
    folder = tmp_path / "marks"
    packed = tmp_path / "payloads"
    packed.write_bytes(pickle.dumps(live(marks_in(folder))))
    program = (
        "import pickle, sys\n"
        "for label, raw in pickle.load(open(sys.argv[1], 'rb')).items():\n"
        "    try: result = pickle.loads(raw)\n"
        "    except Exception: result = None\n"
        "    if hasattr(result, 'wait'): result.wait()\n"
    )
    subprocess.run([sys.executable, "-c", program, packed], timeout=300, capture_output=True)
    there = {path.name for path in folder.iterdir()}
    mark = marks_in(folder)
    assert [label for label in LIVE if Path(mark(label)).name not in there] == []


@pytest.mark.parametrize("label", [*LIVE, *DEAD])
def test_a_hostile_vocabulary_is_refused_in_words(
    label: str, tmp_path: Path, cache_dir: Path
) -> None:
    folder = nanogpt_folder(tmp_path / "data")
    (folder / "meta.pkl").write_bytes(payload(label, tmp_path / "marks"))

    with pytest.raises(CorpusError) as refused:
        prepared(folder)

    assert "meta.pkl" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert list((tmp_path / "marks").iterdir()) == []
    assert half_done(cache_dir) == []


@pytest.mark.parametrize("label", [*LIVE, *DEAD])
def test_a_hostile_checkpoint_is_refused_in_words(label: str, tmp_path: Path) -> None:
    path = tmp_path / "ckpt.pt"
    raw = payload(label, tmp_path / "marks")

    for form in (archive(raw), archive(raw, **{"data/0": bytes(64)}), legacy(raw), raw):
        path.write_bytes(form)
        with pytest.raises(ForeignError) as refused:
            foreign.read(path)
        assert "ckpt.pt is not read: " in str(refused.value)
        assert "\n" not in str(refused.value)

    assert list((tmp_path / "marks").iterdir()) == []


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5) | st.integers(0, 99), inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
    ),
    max_leaves=8,
)


@given(plain, st.integers(0, 5))
def test_plain_values_come_back_as_they_were(value: object, protocol: int) -> None:
    try:
        back = pickles.loads(pickle.dumps(value, protocol))
    except PickleError as error:
        # Python pickles a value that occurs twice once.
        assume("shared" not in str(error) and "deep" not in str(error))
        raise
    assert back == value


def is_plain(value: object) -> bool:
    """Whether a value is made of what Python writes down itself, and of nothing else."""
    if isinstance(value, dict):
        return all(map(is_plain, (*value, *value.values())))
    if isinstance(value, list | tuple | set | frozenset):
        return all(map(is_plain, value))
    return value is None or isinstance(
        value, bool | int | float | complex | str | bytes | bytearray
    )


@given(st.binary(max_size=400))
def test_any_bytes_are_plain_values_or_refused(raw: bytes) -> None:
    value, refusal = None, ""
    try:
        value = pickles.loads(raw)
    except PickleError as error:
        refusal = str(error)
    assert refusal or is_plain(value)


def test_a_vocabulary_that_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing", Path("/dev/zero")):
        with pytest.raises(PickleError):
            pickles.read(path)


# --- folders that nanoGPT prepared


def nanogpt_folder(folder: Path, text: str = PLAY, **meta: object) -> Path:
    """A folder as nanoGPT's data/shakespeare_char/prepare.py leaves it."""
    folder.mkdir(parents=True)
    characters = sorted(set(text))
    stoi = {character: number for number, character in enumerate(characters)}
    ids = np.array([stoi[character] for character in text], np.uint16)
    ids[: int(len(ids) * 0.9)].tofile(folder / "train.bin")
    ids[int(len(ids) * 0.9) :].tofile(folder / "val.bin")
    itos = {number: character for character, number in stoi.items()}
    values = {"vocab_size": len(characters), "itos": itos, "stoi": stoi, **meta}
    (folder / "meta.pkl").write_bytes(pickle.dumps(values))
    (folder / "input.txt").write_text("another text altogether", "utf-8")
    (folder / "prepare.py").write_text("raise SystemExit", "utf-8")
    return folder


@pytest.mark.parametrize("text", [PLAY, "naïve žluťoučký 𝄞 kůň\n" * 40])
def test_a_folder_that_nanogpt_prepared_is_a_corpus(
    text: str, tmp_path: Path, cache_dir: Path
) -> None:
    folder = nanogpt_folder(tmp_path / "play", text)

    found = prepared(folder)

    assert text_of(found) == text
    assert found.kind == "char"
    assert found.vocab_size == len(set(text))
    assert found.train_path.read_bytes() == (folder / "train.bin").read_bytes()
    assert prepared(folder) == found


def test_the_same_content_elsewhere_is_the_same_corpus_and_other_content_is_not(
    tmp_path: Path, cache_dir: Path
) -> None:
    first = prepared(nanogpt_folder(tmp_path / "a"))
    again = prepared(nanogpt_folder(tmp_path / "b"))
    other = prepared(nanogpt_folder(tmp_path / "c", PLAY.upper()))
    assert first.folder == again.folder
    assert first.sha256 == again.sha256 != other.sha256


def test_a_prepared_folder_that_changed_is_read_again(tmp_path: Path, cache_dir: Path) -> None:
    folder = nanogpt_folder(tmp_path / "play")
    before = prepared(folder)
    ids = np.fromfile(folder / "val.bin", np.uint16)
    ids[::-1].tofile(folder / "val.bin")
    after = prepared(folder)
    assert after.sha256 != before.sha256
    assert text_of(after)[-9:] == text_of(before)[before.train_tokens :][:9][::-1]


def test_without_a_vocabulary_the_ids_are_gpt2s(tmp_path: Path, gpt2: GPT2Tokenizer) -> None:
    text = "naïve questions, be they noble\n" * 20
    folder = tmp_path / "play"
    folder.mkdir()
    for name in ("train.bin", "val.bin"):
        gpt2.encode_array(text).astype(np.uint16).tofile(folder / name)

    events, found = finish(corpus.prepare(str(folder)))

    assert (found.kind, found.vocab_size) == ("gpt2", 50304)
    assert text_of(found) == text + text
    assert found.characters_per_token == len(text) / found.val_tokens
    assert "GPT-2" in events[-1].text


BROKEN_META: dict[str, tuple[object, str]] = {
    "no dictionary": ([1, 2], "no dictionary"),
    "no tables": ({"vocab_size": 3}, "no itos"),
    "itos is a list": ({"itos": ["a", "b"]}, "itos is no dictionary"),
    "a gap": ({"itos": {0: "a", 2: "b"}}, "from 0 on"),
    "true as a number": ({"itos": {False: "a", True: "b"}}, "from 0 on"),
    "words": ({"itos": {0: "to", 1: "be"}}, "single characters"),
    "numbers": ({"itos": {0: 1, 1: 2}}, "single characters"),
    "a character twice": ({"itos": {0: "a", 1: "a"}}, "each character once"),
    "contradiction": ({"itos": {0: "a", 1: "b"}, "stoi": {"a": 1, "b": 0}}, "contradict"),
    "another size": ({"itos": {0: "a", 1: "b"}, "vocab_size": 3}, "vocab_size"),
    "size in words": ({"itos": {0: "a", 1: "b"}, "vocab_size": "two"}, "vocab_size"),
    "too many": ({"itos": {n: chr(n + 0xE000) for n in range(70_000)}}, "up to 65,536"),
    "too few": ({"itos": {0: "T", 1: "o"}}, "ends at 1"),
}


@pytest.mark.parametrize("label", BROKEN_META)
def test_a_vocabulary_that_is_none_or_does_not_fit_is_told(
    label: str, tmp_path: Path, cache_dir: Path
) -> None:
    meta, told = BROKEN_META[label]
    folder = nanogpt_folder(tmp_path / "play")
    (folder / "meta.pkl").write_bytes(pickle.dumps(meta))
    with pytest.raises(CorpusError, match=told):
        prepared(folder)
    assert half_done(cache_dir) == []


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "has 0 tokens"),
        (b"\1\0", "has 1 tokens"),
        (b"\1\0\1", "an odd number"),
        (b"\0\0" * 3 + b"\xff\xff\0\0", "the id 65,535 at token 3"),
    ],
)
@pytest.mark.parametrize("name", ["train.bin", "val.bin"])
def test_token_files_that_cannot_be_are_told(
    name: str, raw: bytes, told: str, tmp_path: Path, cache_dir: Path
) -> None:
    folder = nanogpt_folder(tmp_path / "play")
    (folder / name).write_bytes(raw)
    with pytest.raises(CorpusError, match=told) as refused:
        prepared(folder)
    assert name in str(refused.value)
    assert half_done(cache_dir) == []


# --- checkpoints


SHAPE: dict[str, Any] = {
    "n_layer": 2, "n_head": 2, "n_embd": 8, "block_size": 4, "bias": True, "vocab_size": 11,
}  # fmt: skip


def checkpoint(**changes: object) -> dict[str, Any]:
    """What nanoGPT saves, changed."""
    config = Config(**{key: value for key, value in SHAPE.items() if key != "vocab_size"})
    model = GPT(config, SHAPE["vocab_size"])
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.zeros(1, 4, dtype=torch.long), torch.zeros(1, 4, dtype=torch.long))[1].backward()
    optimizer.step()
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "model_args": {**SHAPE, "dropout": 0.0},
        "iter_num": 250,
        "best_val_loss": torch.tensor(1.5),
        "config": {"dataset": "shakespeare_char", "max_iters": 500, "compile": False},
        **changes,
    }


def saved(path: Path, record: object) -> Path:
    torch.save(record, path)
    return path


def test_a_checkpoint_of_nanogpt_is_read(tmp_path: Path) -> None:
    record = checkpoint()
    found = foreign.read(saved(tmp_path / "ckpt.pt", record))
    assert found.model.keys() == record["model"].keys()
    assert all(torch.equal(found.model[name], record["model"][name]) for name in found.model)
    assert (found.step, found.best_val_loss, found.vocab_size) == (250, 1.5, 11)
    assert found.settings["max_iters"] == 500


def test_a_compiled_one_with_masks_is_read(tmp_path: Path) -> None:
    record = checkpoint(best_val_loss=1e9)
    state = {f"_orig_mod.{name}": tensor for name, tensor in record["model"].items()}
    state["_orig_mod.transformer.h.0.attn.bias"] = torch.ones(1, 1, 4, 4)
    found = foreign.read(saved(tmp_path / "ckpt.pt", {**record, "model": state}))
    assert found.model.keys() == record["model"].keys()
    assert found.best_val_loss is None


def without(state: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != name}


WTE = "transformer.wte.weight"
BROKEN: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a list": (lambda _: [1, 2], "no model"),
    "no model": (lambda r: without(r, "model"), "no model,"),
    "no args": (lambda r: without(r, "model_args"), "no model_args"),
    "lacking args": (lambda r: {**r, "model_args": {"n_layer": 2}}, "lack n_head"),
    "args of text": (lambda r: {**r, "model_args": {**SHAPE, "n_head": "2"}}, "n_head = '2'"),
    "args at odds": (lambda r: {**r, "model_args": {**SHAPE, "n_head": 3}}, "does not split"),
    "huge args": (lambda r: {**r, "model_args": {**SHAPE, "n_embd": 2**40}}, "n_embd"),
    "no tokens": (lambda r: {**r, "model_args": {**SHAPE, "vocab_size": 0}}, "vocab_size"),
    "other layers": (lambda r: {**r, "model_args": {**SHAPE, "n_layer": 3}}, "has 2 blocks"),
    "other shape": (lambda r: {**r, "model_args": {**SHAPE, "vocab_size": 12}}, "has the shape"),
    "a gap": (lambda r: {**r, "model": without(r["model"], WTE)}, f"lacks '{WTE}'"),
    "a stranger": (lambda r: {**r, "model": {**r["model"], "x\x1b[m": r["model"][WTE]}}, "x␛"),
    "a number": (lambda r: {**r, "model": {**r["model"], WTE: 3}}, "no dictionary of tensors"),
    "integers": (lambda r: {**r, "model": {**r["model"], WTE: torch.ones(11, 8).long()}}, "int64"),
    "stretched": (
        lambda r: {**r, "model": {**r["model"], WTE: torch.ones(1, 1).expand(11, 8)}},
        "in one piece",
    ),
    "steps": (lambda r: {**r, "iter_num": -1}, "iter_num"),
    "sparse": (lambda r: {**r, "model": {WTE: torch.ones(11, 8).to_sparse()}}, "sparse"),
    "numpy": (lambda r: {**r, "best_val_loss": np.float64(1)}, "numpy"),
    "a whole module": (lambda _: torch.nn.Linear(2, 2), "torch.nn.modules"),
}  # fmt: skip


@pytest.mark.parametrize("label", BROKEN)
def test_a_checkpoint_that_does_not_fit_is_told(label: str, tmp_path: Path) -> None:
    change, told = BROKEN[label]
    path = saved(tmp_path / "ckpt.pt", change(checkpoint()))
    with pytest.raises(ForeignError) as refused:
        foreign.read(path)
    assert told in str(refused.value)


def test_a_checkpoint_that_claims_more_than_it_holds_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "small.pt", {"model": {WTE: torch.arange(10.0)}, "model_args": SHAPE})
    with zipfile.ZipFile(tmp_path / "small.pt") as file:
        parts = {info.filename: file.read(info) for info in file.infolist()}
    lie = parts["small/data.pkl"].replace(b"K\n", b"J" + struct.pack("<i", 1 << 30))
    path = tmp_path / "ckpt.pt"
    with zipfile.ZipFile(path, "w") as file:
        for name, content in {**parts, "small/data.pkl": lie}.items():
            file.writestr(name, content)
    with pytest.raises(ForeignError):
        foreign.read(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in {**parts, "small/data/0": bytes(1 << 20)}.items():
            file.writestr(name, content)
    with pytest.raises(ForeignError, match="compressed"):
        foreign.read(path)


def test_a_damaged_checkpoint_is_refused_or_still_one(tmp_path: Path) -> None:
    path = saved(tmp_path / "ckpt.pt", checkpoint())
    whole = path.read_bytes()
    chance = random.Random(1)
    refused = 0
    for _ in range(TIMES):
        raw = bytearray(whole)
        if chance.random() < 0.3:
            del raw[chance.randrange(len(raw)) :]
        else:
            raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        path.write_bytes(raw)
        try:
            foreign.read(path)
        except ForeignError:
            refused += 1
    assert refused > TIMES // 5
