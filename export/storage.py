"""What a file stores more than once, and the proof that ours store each kernel once. Works on parsed contents of any format."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .contents import Constant, Contents
from .program import Kernel, Program

TINY, TINY_MATRIX = 64, 16
"""Constants of fewer values are not searched for copies, since scalars and short vectors agree by chance: those of one axis
longer than 1, and those of two or more."""
UNIFORM = 1024
"""From how many values on a constant counts whose values are all the same, such as biases of zeros: below, it says nothing."""
SEARCHED = f"searched: {TINY} values or more, matrices from {TINY_MATRIX}, one value repeated from {UNIFORM:,}"
MAX_AXES = 5
"""Constants of more axes (of more than one value) are compared in their stored order only."""


@dataclass(frozen=True)
class Copy:
    """A constant whose values another storage holds already.

    `relation`: equal, reshaped (the same order, another shape) or transposed (any other order of the axes). `by`: the stored
    bytes agree, or only the values that they stand for, such as int8 against uint8 or a dequantized copy. `size` in bytes.
    """

    name: str
    original: str
    relation: Literal["equal", "reshaped", "transposed"]
    by: Literal["bytes", "values"]
    size: int

    @property
    def text(self) -> str:
        same = "" if self.by == "bytes" else " in value"
        return f"{self.name} is {self.relation}{same} to {self.original}: {self.size:,} bytes stored again"


@dataclass(frozen=True)
class Finding:
    """One statement of the proof: whether it holds, and in one line what was got and what was expected."""

    name: str
    ok: bool
    text: str


def dequantize(constant: Constant) -> np.ndarray:
    """The float32 values that a constant stands for, in its shape: (q − zero point) · scale, per axis where it has several."""
    values = constant.values.astype(np.float32)
    if not constant.scales:
        return values
    shape = [1] * values.ndim
    if len(constant.scales) > 1:
        shape[constant.axis] = -1
    zero_points = np.array(constant.zero_points or (0,), np.float32)
    scales = np.array(constant.scales, np.float32).reshape(shape)
    return (values - (zero_points.reshape(shape) if zero_points.size > 1 else zero_points)) * scales


def copies(contents: Contents) -> list[Copy]:
    """Constants that are stored more than once: equal or transposed, by bytes or by value.

    Only constants of some size are searched (`TINY`, `TINY_MATRIX`, `UNIFORM`). Shapes alone never count. A constant that is a
    view of storage already seen is no copy.
    """
    groups: dict[int, dict[str, list[Constant]]] = {}
    for constant in contents.constants:
        if _tells(constant.values):
            groups.setdefault(constant.values.size, {}).setdefault(constant.storage, []).append(constant)
    return [copy for storages in groups.values() if len(storages) > 1 for copy in _copies_among(storages)]


def _tells(values: np.ndarray) -> bool:
    """Whether an equal constant is more than chance."""
    axes = sum(length > 1 for length in values.shape)
    if values.size < (TINY_MATRIX if axes > 1 else TINY):
        return False
    return values.size >= UNIFORM or bool((values != values.flat[0]).any())


def _copies_among(storages: Mapping[str, Sequence[Constant]]) -> Iterator[Copy]:
    """Copies among storages of as many values."""
    seen: dict[_Print, tuple[Constant, bool]] = {}
    for views in storages.values():
        prints = [(mark, view, in_order) for view in views for mark, in_order in _fingerprints(view)]
        matches = [(*seen[mark], mark, view, in_order) for mark, view, in_order in prints if mark in seen]
        if matches:
            # The plainest relation: by bytes before by value, in order before transposed.
            original, original_in_order, mark, view, in_order = min(
                matches, key=lambda match: (match[2].by != "bytes", not (match[1] and match[4]))
            )
            relation = "transposed"
            if original_in_order and in_order:
                relation = "equal" if original.values.shape == view.values.shape else "reshaped"
            yield Copy(view.name, original.name, relation, mark.by, view.values.nbytes)
        for mark, view, in_order in prints:
            seen.setdefault(mark, (view, in_order))


@dataclass(frozen=True)
class _Print:
    by: Literal["bytes", "values"]
    dtype: str
    digest: bytes


def _fingerprints(constant: Constant) -> Iterator[tuple[_Print, bool]]:
    """Digests of a constant flattened in every order of its axes, and whether that is the stored order."""
    yield from _digests("bytes", constant.values)
    if constant.scales or constant.values.dtype.kind not in "iub":
        yield from _digests("values", dequantize(constant) + np.float32(0))  # + 0: no negative zero


def _digests(by: Literal["bytes", "values"], values: np.ndarray) -> Iterator[tuple[_Print, bool]]:
    values = values.squeeze()
    axes = tuple(range(values.ndim))
    for order in itertools.permutations(axes) if values.ndim <= MAX_AXES else [axes]:
        digest = hashlib.blake2b(np.ascontiguousarray(values.transpose(order)).tobytes(), digest_size=16).digest()
        yield _Print(by, values.dtype.name, digest), order == axes


def prove(contents: Contents, program: Program, masks: Mapping[str, np.ndarray] | None = None) -> list[Finding]:
    """Check a file of ours against the program that it was written from.

    Each kernel is stored once, its stored values equal the program's bit for bit in either orientation, it is used with its own
    scales, it is zero where its mask is, and the weights of the file add up to the kernels' values and no more.
    `masks`: by kernel name, [inputs, units], nonzero where a weight is kept; kernels without one are not checked for zeros.
    """
    stored: dict[str, Constant] = {}
    for constant in contents.constants:
        stored.setdefault(constant.storage, constant)
    constants, findings = tuple(stored.values()), []
    for name, kernel in program.kernels.items():
        expected = program.constants[name]
        matches = [constant for constant in constants if _orient(constant, expected, exact=True) is not None]
        found = matches[0] if matches else _nearest(constants, program, name)
        findings.append(_stored_once(name, matches, found))
        if found is None:
            findings.append(Finding(f"{name}.values", False, f"{name}: {_absent(kernel, expected)}"))
            continue
        values = _orient(found, expected)
        assert values is not None
        views = [constant for constant in contents.constants if constant.storage in {m.storage for m in matches or [found]}]
        findings += [_same_values(name, found, values, expected), _scales(kernel, views)]
        if masks is not None and name in masks:
            findings.append(_zeros(name, values, masks[name]))
    for name in sorted(set(masks or {}) - set(program.kernels)):
        findings.append(
            Finding(f"{name}.zeros", False, f"{name}: has a mask, but the kernels are {', '.join(program.kernels)}")
        )
    return [*findings, _sum(constants, program)]


def _bits(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).view(f"u{values.dtype.itemsize}")


def _orient(constant: Constant, expected: np.ndarray, *, exact: bool = False) -> np.ndarray | None:
    """A constant in the kernel's orientation, the one that agrees better; None where dtype or size forbid it.

    With `exact`, None too where it is not equal bit for bit.
    """
    values = constant.values
    if values.dtype != expected.dtype or values.size != expected.size:
        return None
    candidates = values.reshape(expected.shape), values.reshape(expected.shape[::-1]).T
    wrong = [int(np.count_nonzero(_bits(candidate) != _bits(expected))) for candidate in candidates]
    best = wrong.index(min(wrong))
    return None if exact and wrong[best] else candidates[best]


def _nearest(stored: Sequence[Constant], program: Program, name: str) -> Constant | None:
    """The constant that was most likely meant to be a kernel that is not in the file exactly: one of its size, with its name
    if there is, which is no other kernel."""
    expected = program.constants[name]
    others = [program.constants[other] for other in program.kernels if other != name]
    candidates = [
        constant
        for constant in stored
        if _orient(constant, expected) is not None
        and constant.values.ndim >= 2
        and all(_orient(constant, other, exact=True) is None for other in others)
    ]
    return min(candidates, key=lambda constant: constant.name != name, default=None)


def _stored_once(name: str, matches: Sequence[Constant], found: Constant | None) -> Finding:
    if len(matches) > 1:
        names = ", ".join(constant.name for constant in matches)
        return Finding(f"{name}.copies", False, f"{name}: stored {len(matches)} times ({names}), expected once")
    if not matches:
        near = f"; {found.name} comes nearest" if found is not None else ""
        return Finding(f"{name}.copies", False, f"{name}: stored 0 times, expected once{near}")
    return Finding(f"{name}.copies", True, f"{name}: stored once, {matches[0].values.nbytes:,} bytes")


def _absent(kernel: Kernel, expected: np.ndarray) -> str:
    shapes = f"[{kernel.inputs}, {kernel.units}] or [{kernel.units}, {kernel.inputs}]"
    return f"no constant holds {expected.size:,} {expected.dtype} values of shape {shapes}"


def _same_values(name: str, found: Constant, values: np.ndarray, expected: np.ndarray) -> Finding:
    different = np.argwhere(_bits(values) != _bits(expected))
    if not len(different):
        return Finding(f"{name}.values", True, f"{name}: all {expected.size:,} values equal the program's")
    row, column = different[0].tolist()
    return Finding(
        f"{name}.values",
        False,
        f"{name}: {len(different):,} of {expected.size:,} values of {found.name} differ from the program's, first at "
        f"[{row}, {column}]: got {values[row, column]}, expected {expected[row, column]}",
    )


def _scales(kernel: Kernel, views: Sequence[Constant]) -> Finding:
    """Every use of the kernel has its scales or the decoder's one, and no zero point."""
    allowed = {kernel.scales, (kernel.decode_scale,)} if kernel.scales else {()}
    for view in views:
        if view.scales not in allowed:
            got, right = _brief(view.scales), " or ".join(sorted(map(_brief, allowed)))
            return Finding(f"{kernel.name}.scales", False, f"{kernel.name}: {view.name} has scales {got}, expected {right}")
        if any(view.zero_points):
            text = f"{kernel.name}: {view.name} has zero point {next(filter(None, view.zero_points))}, expected 0"
            return Finding(f"{kernel.name}.scales", False, text)
    uses = f"{len(views)} use{'s' if len(views) != 1 else ''}"
    return Finding(f"{kernel.name}.scales", True, f"{kernel.name}: {uses} with the program's scales")


def _brief(scales: Sequence[float]) -> str:
    return f"[{', '.join(f'{scale:.9g}' for scale in scales[:2])}{', …' if len(scales) > 2 else ''}]"


def _zeros(name: str, values: np.ndarray, mask: np.ndarray) -> Finding:
    if mask.shape != values.shape:
        return Finding(f"{name}.zeros", False, f"{name}: its mask has shape {list(mask.shape)}, expected {list(values.shape)}")
    pruned = mask == 0
    wrong = np.argwhere(pruned & (values != 0))
    if not len(wrong):
        return Finding(f"{name}.zeros", True, f"{name}: zero at all {np.count_nonzero(pruned):,} pruned places")
    row, column = wrong[0].tolist()
    return Finding(
        f"{name}.zeros",
        False,
        f"{name}: {len(wrong):,} of {np.count_nonzero(pruned):,} pruned places are not zero, first at "
        f"[{row}, {column}]: got {values[row, column]}, expected 0",
    )


def _sum(stored: Sequence[Constant], program: Program) -> Finding:
    """Every constant that could hold weights: of two axes or more, or longer than any bias and as large as a kernel."""
    kernels = program.kernels.values()
    expected = sum(kernel.inputs * kernel.units for kernel in kernels)
    longest = max(max(kernel.inputs, kernel.units) for kernel in kernels)
    smallest = min(kernel.inputs * kernel.units for kernel in kernels)
    weights = [c for c in stored if c.values.ndim >= 2 or c.values.size >= max(smallest, longest + 1)]
    got = sum(constant.values.size for constant in weights)
    if got == expected:
        return Finding("weights", True, f"weights: {got:,} in the file, as many as the kernels have")
    extra = [f"{c.name} {list(c.values.shape)}" for c in weights if not _is_kernel(c, program)]
    more = f"; not a kernel: {', '.join(sorted(extra)[:3])}" if extra else ""
    return Finding("weights", False, f"weights: {got:,} in the file, expected {expected:,}{more}")


def _is_kernel(constant: Constant, program: Program) -> bool:
    return any(_orient(constant, program.constants[name], exact=True) is not None for name in program.kernels)
