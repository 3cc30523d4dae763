"""Every reader is held to the laws: by what broke one before, and by mutations: docs/explanation/trust.md."""

from __future__ import annotations

import json
import os
import pickle
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from tiedae.base import limits
from tiedae.base.errors import FormatError, InputError
from tiedae.codec.container import read
from tiedae.entropy import rans

from . import codec, containers, laws, seeds
from .harness import Inputs, Tally, run
from .laws import Broken
from .mutations import blind
from .targets import CORPUS, TARGETS, Target

CASES = int(os.environ.get("TIEDAE_FUZZ_CASES", "500"))
"""Inputs of each target beside its whole files and its corpus."""
SEED = int(os.environ.get("TIEDAE_FUZZ_SEED", "0"))


def laws_broken(tally: Tally) -> str:
    return "\n".join(f"input {each.case}: {each.law} {each.place}" for each in tally.breaches)


@pytest.mark.parametrize("name", TARGETS)
def test_whole_files_and_what_broke_a_law_once(name: str) -> None:
    inputs = Inputs.of(name, TARGETS[name])
    tally = run(inputs, range(len(inputs.starts)))
    assert not laws_broken(tally) and tally.cases == len(inputs.starts) == tally.values + tally.refused
    assert tally.values > 0


@pytest.mark.ci
@pytest.mark.parametrize("name", TARGETS)
def test_mutations_give_a_value_or_one_line(name: str) -> None:
    inputs = Inputs.of(name, TARGETS[name], SEED)
    tally = run(inputs, range(len(inputs.starts), len(inputs.starts) + CASES))
    assert not laws_broken(tally) and tally.values + tally.refused == CASES
    assert tally.refused > CASES // 20


def lists(size: int) -> bytes:
    """JSON that takes the most memory for its bytes."""
    return b"[" + b"[]," * (size // 3 - 4) + b"[]]"


def tensors(size: int) -> bytes:
    """A .safetensors file of tensors without values."""
    entries = {f"{i}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for i in range(size // 60)}
    header = json.dumps({"__metadata__": {"tiedae": "{}"}, **entries}, separators=(",", ":")).encode()
    return len(header).to_bytes(8, "little") + header


def configured(size: int) -> bytes:
    config = b'{"class_name": "Sequential", "config": {"layers": %s}}' % lists(size - 200)
    return containers.archived([("config.json", config), ("metadata.json", b"{}"), ("model.weights.h5", b"")])


LARGEST: dict[str, Callable[[], bytes]] = {
    "metrics": lambda: b'{"schema": 1, "checks": %s}' % lists(limits.JSON - 40),
    "manifest": lambda: b'{"schema": 1, "files": {}, "kernels": %s}' % lists(limits.JSON - 60),
    "calibration": lambda: b'{"kind": "tiedae-calibration", "schema": 1, "tensors": %s}' % lists(limits.JSON - 80),
    "run-state": lambda: lists(limits.JSON),
    "recipe": lambda: b"x = " + lists(limits.TOML - 10),
    "safetensors": lambda: tensors(limits.ARCHIVE_HEADER),
    "keras": lambda: configured(limits.KERAS_CONFIG),
    "csv": lambda: b"a,label\n" + b"".join(b"%d,x%d\n" % (i % 10, i) for i in range(1 << 20)),
    "c": lambda: b'#include "net.h"\nstatic const int16_t a[] = {' + b"300," * (4 << 20) + b"300};\n",
    "npy": lambda: seeds.npy(np.zeros(1 << 25, np.uint8)),
}


@pytest.mark.ci
@pytest.mark.parametrize("name", LARGEST)
def test_the_largest_input_that_is_read_holds_the_laws(name: str) -> None:
    tally = run(Inputs(TARGETS[name], [LARGEST[name]()]), range(1))
    assert not laws_broken(tally) and tally.cases == 1


def test_every_folder_of_the_corpus_is_of_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= set(TARGETS)


def test_an_input_follows_from_its_number() -> None:
    first, again = (Inputs.of("npz", TARGETS["npz"], 3) for _ in range(2))
    assert [first[i] for i in (40, 7, 40)] == [again[i] for i in (40, 7, 40)]
    assert first[40] != Inputs.of("npz", TARGETS["npz"], 4)[40]


class Runs:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return os.system, ("true",)


def swallow(path: Path) -> None:
    """Allocate what a file states, and make an error of what fails, as readers did."""
    try:
        np.zeros(1 << 40, np.uint8)
    except MemoryError:
        raise FormatError(f"{path}: is damaged") from None


def endless(path: Path) -> None:
    while True:
        path.stat()


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "another exception": (lambda _: [][1], "IndexError"),
    "several lines": (lambda _: (_ for _ in ()).throw(laws.TiedaeError("a\nb")), "several lines"),
    "memory": (lambda _: np.ones(260 << 20, np.uint8), "MemoryError"),
    "memory, swallowed": (swallow, "allocates before it checks"),
    "a file elsewhere": (lambda path: (path.parent.parent / "owned").write_bytes(b""), "writes"),
    "a file read elsewhere": (lambda _: Path("/etc/hostname").read_bytes(), "opens"),
    "a file removed": (lambda path: (path.parent.parent / "x").unlink(), "os.remove"),
    "a folder elsewhere": (lambda path: (path.parent.parent / "x").mkdir(), "os.mkdir"),
    "a program": (lambda _: os.system("true"), "os.system"),
    "a pickle": (lambda _: pickle.loads(pickle.dumps(Runs())), "pickle.find_class"),  # noqa: S301
    "code": (lambda _: eval("1 + 1"), "runs the code"),  # noqa: S307
    "a module": (lambda _: __import__("owned"), "imports 'owned'"),
    "a crash": (lambda _: os.kill(os.getpid(), signal.SIGSEGV), "dies of SIGSEGV"),
    "no end": (endless, "takes more than"),
    "memory of a library": (lambda _: np.ones(260 << 20, np.uint8), "takes "),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_reader_that_breaks_a_law_is_found(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also behind whole inputs, and the next one is tried too."""
    monkeypatch.setattr(laws, "SECONDS", 0.5)
    reader, law = BAD[kind]
    tried: Sequence[bytes] = (b"right", b"wrong", b"right")

    def read_file(path: Path) -> None:
        if path.read_bytes() == b"wrong":
            reader(path)

    target = Target(read_file, "x", lambda: tried[:1], (blind,), resident=kind == "memory of a library")
    tally = run(Inputs(target, tried), range(3))
    assert (tally.cases, tally.values, tally.refused, tally.broken) == (3, 2, 0, 1)
    assert law in tally.breaches[0].law and tally.breaches[0].case == 1


def test_a_broken_law_of_a_codec_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytes([0, 0, 0]) + bytes.fromhex("00000100")
    codec.fuzz_payload(codec.subject(), data)
    monkeypatch.setattr(rans, "encode", lambda *_: [bytes(4)])
    with pytest.raises(Broken, match="a payload that no encoder makes"):
        codec.fuzz_payload(codec.subject(), data)


@pytest.mark.parametrize("file", ["bytes", "lossless", "bounded", "table", "classes"])
def test_sealed_files_are_those_they_were(file: str) -> None:
    """Sealing changes nothing of a whole file, and makes one whole whose checksums are damaged."""
    data = (codec.GOLDEN / f"{file}.tae").read_bytes()
    assert codec.seal(data, data[12:20]) == data
    contents = read(data, "f.tae")
    damaged = bytearray(data)
    for stop in (contents.header.size, *(frame.offset + 7 for frame in contents.frames[:2]), len(data)):
        damaged[stop - 1] ^= 255
    with pytest.raises(FormatError):
        read(bytes(damaged), "f.tae")
    assert read(codec.seal(bytes(damaged), data[12:20]), "f.tae").indexed


def test_an_error_that_quotes_a_stranger_is_one_line() -> None:
    assert str(InputError("got 'a\nb\x1b[31m'")) == r"got 'a\nb\x1b[31m'"
