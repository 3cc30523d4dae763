"""The inputs that both files run on: what the caller gives, and a search over sizes and values that the original runs with.

Free dimensions of one name share one size. Batches stay small; other dimensions climb a ladder of usual sizes. A scalar that
the graph compares with constants takes values of each outcome, and each of them is a case of its own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tiedae.base.errors import InputError, printable
from tiedae.base.files import open_regular
from tiedae.base.npy import MAGIC, read_npy, read_npz
from tiedae.export.model_file import Contents, Signature, TensorInfo
from tiedae.export.random_inputs import STRING, Draw, Ranges, drawn
from tiedae.runtimes.sandbox import TrialRun

BATCHES = (1, 3)
"""Sizes of the batch."""
LADDER = (1, 3, 16, 64, 256, 512, 1024, 1536, 16000)
"""Sizes of other free dimensions."""
FIRST = ((1, 16), (3, 3))
"""Sizes of (batch, others) that are tried first: two that differ, where several values run along each."""
ELEMENTS = 1 << 23
"""Maximum number of values of all inputs of a signature, beyond the first sizes."""
CASES = 8
"""Maximum number of combinations of scalars."""


@dataclass(frozen=True)
class Given:
    """What the caller states of the inputs, by name: shapes, and values (`data`)."""

    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    data: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)


def parse_shapes(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Shapes by input from NAME=1x16 or NAME=1,16. Raises InputError for other text."""
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, _, sizes = text.rpartition("=")
        parts = sizes.replace(",", "x").split("x")
        if not name or not all(part.isascii() and part.isdecimal() and len(part) < 10 for part in parts):
            raise InputError(f"--shape {text}: must be NAME=1x16, a name and its sizes")
        if name in shapes:
            raise InputError(f"--shape {text}: {name} has a shape already")
        shapes[name] = tuple(map(int, parts))
    return shapes


def read_data(path: Path, contents: Contents) -> dict[str, np.ndarray]:
    """Values by input: of an .npz file by their keys, of an .npy file for the only input. Raises InputError."""
    names = list(dict.fromkeys(tensor.name for signature in contents.signatures for tensor in signature.inputs))
    try:
        with open_regular(path) as file:
            single = file.read(len(MAGIC)) == MAGIC
        if not single:
            return {name: _native(values) for name, values in read_npz(path).items()}
        loaded = read_npy(path)
    except FileNotFoundError:
        raise InputError(f"--data {path}: no such file") from None
    except OSError as error:
        raise InputError(f"--data {path}: {error.strerror}") from None
    except InputError as error:
        raise InputError(f"--data {error}") from None
    if len(names) != 1:
        raise InputError(f"--data {path}: must be an .npz file by input name: the file has {len(names)} inputs")
    return {names[0]: _native(loaded)}


def _native(values: np.ndarray) -> np.ndarray:
    """The same values in the byte order of this machine, which runtimes take for granted."""
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def require_fits(contents: Contents, given: Given) -> None:
    """Raise InputError unless what is given fits the inputs of the file."""
    known = {tensor.name for signature in contents.signatures for tensor in signature.inputs}
    for option, name in (*(("--shape", name) for name in given.shapes), *(("--data", name) for name in given.data)):
        if name not in known:
            raise InputError(f"{option} {name}: the file has no such input, only {', '.join(map(printable, sorted(known)))}")
    for signature in contents.signatures:
        _SizeSearch.of(signature, Ranges(), given)


def candidates(contents: Contents, ranges: Ranges, given: Given, seed: int) -> list[TrialRun]:
    """Runs to try in order, two or more per signature and case unless all values are given.

    Raises InputError if what is given does not fit the file, FormatError for an input of a type without random values.
    """
    rng = np.random.default_rng(seed)
    return [run for signature in contents.signatures for run in _SizeSearch.of(signature, ranges, given).runs(rng)]


@dataclass(frozen=True)
class _SizeSearch:
    """The free dimensions of a signature. `keys`: by input, the key of each dimension, None for a fixed one."""

    signature: Signature
    ranges: Ranges
    given: Given
    keys: Mapping[str, Sequence[str | None]]
    bound: Mapping[str, int]

    @classmethod
    def of(cls, signature: Signature, ranges: Ranges, given: Given) -> _SizeSearch:
        keys = {tensor.name: _keys(tensor, signature) for tensor in signature.inputs}
        bound: dict[str, int] = {}
        for tensor in signature.inputs:
            for key, size in _stated(tensor, keys[tensor.name], given):
                if bound.setdefault(key, size) != size:
                    raise InputError(f"{tensor.name}: {_label(key)} is {size}, but {bound[key]} in another input")
        return cls(signature, ranges, given, keys, bound)

    def runs(self, rng: np.random.Generator) -> Iterator[TrialRun]:
        scalars = {each.name: values for each in self.signature.inputs if (values := self._scalar_values(each))}
        combined = itertools.islice(itertools.product(*scalars.values()), CASES)
        cases = [dict(zip(scalars, values, strict=True)) for values in combined]
        for sizes in self._sizes():
            for case in cases:
                inputs = {each.name: self._values(each, sizes, case, rng) for each in self.signature.inputs}
                yield TrialRun(self.signature.name, inputs, ", ".join(f"{name} = {value}" for name, value in case.items()))

    def _scalar_values(self, tensor: TensorInfo) -> tuple[int, ...]:
        """Values of a scalar that stand for the cases of the graph; empty for other inputs."""
        if tensor.name in self.given.data or any(size != 1 for size in tensor.shape):
            return ()
        if tensor.dtype == "bool":
            return 0, 1
        return self.ranges.numbers.get((self.signature.name, tensor.name), ()) if "int" in tensor.dtype else ()

    def _values(
        self, tensor: TensorInfo, sizes: Mapping[str, int], case: Mapping[str, int], rng: np.random.Generator
    ) -> np.ndarray | Draw:
        if tensor.name in self.given.data:
            return self.given.data[tensor.name]
        shape = self._shape(tensor, sizes)
        if tensor.name in case:
            return Draw(tensor.dtype, shape, case[tensor.name], case[tensor.name], 0)
        return drawn(tensor, self.ranges, self.signature.name, shape, int(rng.integers(1 << 32)))

    def _shape(self, tensor: TensorInfo, sizes: Mapping[str, int]) -> tuple[int, ...]:
        keys = self.keys[tensor.name]
        return tuple(size or 0 if key is None else sizes[key] for size, key in zip(tensor.shape, keys, strict=True))

    def _sizes(self) -> Iterator[Mapping[str, int]]:
        """Sizes by key, the likely ones first; two of the same where only values can vary."""
        free = [key for keys in self.keys.values() for key in keys if key is not None and key not in self.bound]
        free = list(dict.fromkeys(free))
        long = {key for keys in self.keys.values() for i, key in enumerate(keys) if i or len(keys) == 1}
        if not free:
            yield from [self.bound] * (1 if self.given.data.keys() >= self.keys.keys() else 2)
            return
        batches = {key for key in free if _is_batch(key) or key not in long}
        if len(batches) == len(free):
            pairs = [(size, size) for size in (*BATCHES, *LADDER[2:])]
        else:
            both = [(batch, size) for size in LADDER for batch in (BATCHES if batches else BATCHES[:1])]
            alone = ((1, 16), (1, 3))
            pairs = [*(FIRST if batches else alone), *both, *((size, size) for size in LADDER[2:] if batches)]
        for batch, size in dict.fromkeys(pairs):
            sizes = {**{key: batch if key in batches else size for key in free}, **self.bound}
            sizes |= {key: total for key in free if (total := _sum(key, sizes)) is not None}
            count = sum(math.prod(self._shape(tensor, sizes)) for tensor in self.signature.inputs)
            if count <= ELEMENTS or (batch, size) == pairs[0]:
                yield sizes


def _keys(tensor: TensorInfo, signature: Signature) -> list[str | None]:
    """The key of each dimension: its name; unnamed ones are the batch, if first, or of their own."""
    names = tensor.symbols or ("",) * len(tensor.shape)
    free = [i for i, size in enumerate(tensor.shape) if _is_free(size)]
    batched = any(any(map(_is_free, each.shape[:1])) for each in signature.inputs)
    return [
        None if not _is_free(size) else name or ("" if i == free[0] and (i == 0 or batched) else f"{tensor.name}[{i}]")
        for i, (size, name) in enumerate(zip(tensor.shape, names, strict=True))
    ]


def _stated(tensor: TensorInfo, keys: Sequence[str | None], given: Given) -> Iterator[tuple[str, int]]:
    """(key, size) of the free dimensions of an input whose shape or values are given."""
    if tensor.name in given.data:
        values, option = given.data[tensor.name], f"--data {tensor.name}"
        if tensor.name in given.shapes:
            raise InputError(f"--shape {tensor.name}: has the shape of its values in --data")
        dtype = STRING if values.dtype.kind == "U" else values.dtype.name
        if dtype != tensor.dtype:
            raise InputError(f"{option}: has {dtype} values, must have {tensor.dtype}")
        shape = values.shape
    elif tensor.name in given.shapes:
        shape, option = given.shapes[tensor.name], f"--shape {tensor.name}"
    else:
        return
    right = ", ".join(str(size) if key is None else _label(key) for size, key in zip(tensor.shape, keys, strict=True))
    fits = len(shape) == len(keys) and all(_is_free(size) or size == got for size, got in zip(tensor.shape, shape, strict=True))
    if not fits:
        raise InputError(f"{option}: got [{', '.join(map(str, shape))}], must be [{right}]")
    yield from ((key, size) for key, size in zip(keys, shape, strict=True) if key is not None)


def _is_free(size: int | None) -> bool:
    """Whether a dimension has any size; some converters write −1."""
    return size is None or size < 0


def _label(key: str) -> str:
    return printable(key) or "batch"


def _is_batch(key: str) -> bool:
    return not key or "batch" in key.lower() or key in ("N", "n", "B", "b", "bs")


def _sum(key: str, sizes: Mapping[str, int]) -> int | None:
    """The size of a dimension whose name is a sum of others, such as `past_length + 1`."""
    terms = key.replace(" ", "").split("+")
    known = {name.replace(" ", ""): size for name, size in sizes.items()}
    if len(terms) < 2 or not all(term.isdecimal() or term in known for term in terms):
        return None
    return sum(int(term) if term.isdecimal() else known[term] for term in terms)


def tried_text(runs: Sequence[TrialRun]) -> str:
    """The shapes and scalars of some runs of one signature, each input once."""
    texts = []
    for name in runs[0].inputs if runs else ():
        shapes = dict.fromkeys("x".join(map(str, run.inputs[name].shape)) or "scalar" for run in runs)
        texts.append(f"{printable(name)} {' or '.join(shapes)}")
    cases = dict.fromkeys(run.case for run in runs if run.case)
    return "; ".join([*texts, *([f"with {' or '.join(cases)}"] if cases else [])])
