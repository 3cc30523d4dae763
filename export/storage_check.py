"""The storage proof: our files store each kernel once. Works on parsed files of any format."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tiedae.compress.affine import SIGNED_SHIFT
from tiedae.compress.integers import PAIR_LIMIT, exceeding_pairs
from tiedae.compress.patterns import HELD
from tiedae.config.config import PruneConfig
from tiedae.program.differences import mismatch
from tiedae.program.file_io import OFFSET, SCALE
from tiedae.program.operations import Dense
from tiedae.program.program import Kernel, Program
from tiedae.program.score_graph import CONSTANTS, SCORE

from .hidden_copies import repeats
from .model_file import Constant, Contents, oriented
from .packing import DECODER, kernel_axes
from .reals import as_bits

SOURCE = "c"
"""The format whose files are source text, see `c_reader`."""
SHORT = 8
"""Most int32 values that are a shape or an order of axes, whatever the size of the kernels."""


@dataclass(frozen=True)
class StorageFinding:
    """One statement of the proof, about a kernel or (empty) the whole file, and in one line what was found and expected."""

    kernel: str
    statement: str
    ok: bool
    text: str

    @property
    def name(self) -> str:
        """`kernel_0.values`, or the statement alone."""
        return f"{self.kernel}.{self.statement}".removeprefix(".")


def prove(
    contents: Contents,
    program: Program,
    masks: Mapping[str, np.ndarray] | None = None,
    clusters: int | None = None,
    pruning: PruneConfig | None = None,
    *,
    copies: bool = False,
) -> list[StorageFinding]:
    """Check a file against the program that it was written from.

    Each kernel is stored once, equals the program's bit for bit in one order of its axes (`oriented`), is used with its own
    scales and is zero where its mask is; the file holds no other weights. Int8 kernels of an .onnx file obey the pair rule.

    A C file states the sha256 of a kernel in place of scales. Its other arrays are tables; they are no weights unless they are
    int8 or repeat a kernel, see `repeats`.
    `masks`: by kernel name, [inputs, units], nonzero for kept weights; kernels without a mask are not checked for zeros.
    `clusters`: maximum number of distinct values of a kernel. `pruning`: the pattern that the integers must have on both axes.
    `copies`: whether a kernel may be stored a second time, in the order of the decoder (`ExportConfig.kernels`).
    """
    stored: dict[str, Constant] = {}
    for constant in contents.constants:
        stored.setdefault(constant.storage, constant)
    constants, findings, expected_values = tuple(stored.values()), [], 0
    for index, (name, kernel) in enumerate(program.kernels.items()):
        expected = program.constants[name]
        matches = [constant for constant in constants if _holds(contents, constant, kernel, expected)]
        whole = (constant for constant in matches if _orient(constant, expected) is not None)
        found = next(whole, None) or _nearest(constants, program, name)
        twice = copies and len(matches) == 2 and sum(each.name.endswith(DECODER) for each in matches) == 1
        expected_values += expected.size * (1 + twice)
        findings.append(_stored_twice(name, matches) if twice else _stored_once(name, matches, found))
        if found is None:
            shapes = f"[{kernel.inputs}, {kernel.units}] or [{kernel.units}, {kernel.inputs}]"
            text = f"no constant holds {expected.size:,} {expected.dtype} values of shape {shapes}"
            findings.append(_finding(name, "values", False, text))
            continue
        values = _orient(found, expected)
        assert values is not None
        views = [constant for constant in contents.constants if constant.storage in {m.storage for m in matches or [found]}]
        findings.append(_same_values(name, found, values, expected))
        in_order = _channels_first if contents.format == "onnx" else _in_order
        findings += [in_order(program, name, view) for view in views if view.values.ndim > 2]
        findings.append(_sha256(name, found, expected) if contents.format == SOURCE else _scales(kernel, views, program))
        if kernel.scales and kernel.bits == 8:
            findings.append(_pairs(name, found, values, contents.format))
        if masks is not None and name in masks:
            findings.append(_zeros(name, values, masks[name]))
            if pruning is not None and pruning.kind in HELD and index not in pruning.skip:
                findings.append(_pattern(name, values, masks[name], pruning))
        if clusters is not None:
            findings.append(shared_values(name, values, clusters))
    for name in sorted(set(masks or {}) - set(program.kernels)):
        findings.append(_finding(name, "zeros", False, f"has a mask, but the kernels are {', '.join(program.kernels)}"))
    return [*findings, _sum(contents, constants, program, expected_values)]


def prove_scaling(contents: Contents, constants: Mapping[str, np.ndarray]) -> StorageFinding:
    """Check that a file's offset and scale are these of `FileIO.constants`, bit for bit; without any, that there are none."""
    right = "offset and scale are the manifest's" if constants else "the file holds none"
    return _prove_constants(contents, "scaling", {name: constants.get(name) for name in (OFFSET, SCALE)}, right)


def prove_score(contents: Contents, constants: Mapping[str, np.ndarray] | None) -> StorageFinding:
    """Check that weights, threshold and the other constants of a file's score are these, bit for bit; None: it has no score."""
    held = any(signature.name == SCORE for signature in contents.signatures)
    if constants is not None and not held:
        return _finding("", "score", False, "the file holds no signature score, expected one")
    expected = {name: None if constants is None else constants.get(name) for name in CONSTANTS}
    right = "the file holds none" if constants is None else "weights and threshold are those of the manifest's detector"
    return _prove_constants(contents, "score", expected, right)


def _prove_constants(
    contents: Contents, statement: str, expected: Mapping[str, np.ndarray | None], right: str
) -> StorageFinding:
    wrong = [
        _not_held(name, [each for each in contents.constants if each.name == name], values) for name, values in expected.items()
    ]
    return _finding("", statement, not any(wrong), "; ".join(filter(None, wrong)) or right)


def _not_held(name: str, found: Sequence[Constant], expected: np.ndarray | None) -> str:
    """What is wrong with a constant of the scaling; empty if nothing is."""
    if len(found) != (expected is not None):
        return f"{len(found)} constants {name}, expected {'none' if expected is None else 'one'}"
    if expected is None:
        return ""
    values = found[0].values
    if problem := mismatch(expected, values):
        return f"{name}: {problem}"
    return _differing(values, expected, f"{name} differ from the manifest's")


def _differing(values: np.ndarray, expected: np.ndarray, text: str) -> str:
    """How many values differ, and the first; empty if none does."""
    places = np.argwhere(_differ(values, expected))
    return f"{len(places):,} of {expected.size:,} values of {text}, {_first(places, values, expected)}" if len(places) else ""


def _finding(kernel: str, what: str, ok: bool, text: str) -> StorageFinding:
    return StorageFinding(kernel, what, ok, f"{kernel or what}: {text}")


def _differ(values: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Mask of the elements whose bits differ."""
    different = as_bits(np.ascontiguousarray(values)) != as_bits(np.ascontiguousarray(expected))
    return different.reshape(values.shape)  # `ascontiguousarray` gives a scalar an axis


def _orient(constant: Constant, expected: np.ndarray, *, exact: bool = False) -> np.ndarray | None:
    """A constant in the kernel's orientation that agrees best; None if its dtype or size differ.

    With `exact`, also None unless all bits are equal.
    """
    values = constant.integers
    candidates = list(oriented(values, expected.shape)) if values.dtype == expected.dtype else []
    if not candidates:
        return None
    wrong = [int(np.count_nonzero(_differ(candidate, expected))) for candidate in candidates]
    best = wrong.index(min(wrong))
    return None if exact and wrong[best] else candidates[best]


def _nearest(stored: Sequence[Constant], program: Program, name: str) -> Constant | None:
    """The most likely constant for a kernel without an exact match: of its size, preferably its name, and no other kernel."""
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


def _holds(contents: Contents, constant: Constant, kernel: Kernel, expected: np.ndarray) -> bool:
    """Whether a constant is a kernel, or a table in a C file repeats it."""
    if contents.format == SOURCE and not constant.sha256:
        return repeats(constant.values, expected, kernel.bits)
    return is_kernel(constant, expected)


def is_kernel(constant: Constant, expected: np.ndarray) -> bool:
    """Whether a constant has the values of a kernel [inputs, units], in an order of its axes."""
    return _orient(constant, expected, exact=True) is not None


def _sha256(name: str, found: Constant, expected: np.ndarray) -> StorageFinding:
    right = hashlib.sha256(np.ascontiguousarray(expected).tobytes()).hexdigest()
    if found.sha256 == right:
        return _finding(name, "sha256", True, "the file states the sha256 of the program's values")
    got = f"sha256 {found.sha256[:12]}…" if found.sha256 else "no sha256"
    return _finding(name, "sha256", False, f"{found.name} states {got}, expected {right[:12]}…")


def _stored_once(name: str, matches: Sequence[Constant], found: Constant | None) -> StorageFinding:
    if len(matches) == 1:
        return _finding(name, "copies", True, f"stored once, {matches[0].nbytes:,} bytes")
    names = f" ({', '.join(constant.name for constant in matches)})" if matches else ""
    near = f"; {found.name} comes nearest" if found is not None and not matches else ""
    return _finding(name, "copies", False, f"stored {len(matches)} times{names}, expected once{near}")


def _stored_twice(name: str, matches: Sequence[Constant]) -> StorageFinding:
    first, second = matches
    text = f"stored 2 times ({first.name}, {second.name}), {first.nbytes:,} bytes each, once in the order of each direction"
    return _finding(name, "copies", True, f'{text}, as kernels = "copies" asks')


def _same_values(name: str, found: Constant, values: np.ndarray, expected: np.ndarray) -> StorageFinding:
    wrong = _differing(values, expected, f"{found.name} differ from the program's")
    return _finding(name, "values", not wrong, wrong or f"all {expected.size:,} values equal the program's")


def _channels_first(program: Program, name: str, view: Constant) -> StorageFinding:
    """A constant with more axes is the kernel of convolutions, [units, channels, *sizes]."""
    *sizes, channels, units = kernel_axes(program, name)
    got, right = list(view.values.shape), [units, channels, *sizes]
    if got != right:
        return _finding(name, "order", False, f"{view.name} has shape {got}, expected {right}")
    expected = np.moveaxis(program.constants[name].T.reshape(units, *sizes, channels), -1, 1)
    wrong = _differing(view.integers, expected, f"{view.name} differ from the program's")
    return _finding(name, "order", not wrong, wrong or f"{view.name} is stored as [units, channels, sizes]")


def _in_order(program: Program, name: str, view: Constant) -> StorageFinding:
    """A filter is the kernel in the order of its operator, [channels, *window, units] or [units, *window, channels]."""
    expected, decodes = program.constants[name], view.name.endswith(DECODER)
    axes, order = ((1, 2, 0, 3), "[channels, *window, units]") if decodes else ((1, 2, 3, 0), "[units, *window, channels]")
    values = view.integers.transpose(axes) if view.values.ndim == len(axes) else view.integers
    wrong = _differing(values.reshape(expected.shape), expected, f"{view.name} differ from the program's")
    return _finding(name, "order", not wrong, wrong or f"{view.name} reads the kernel as {order}")


def _first(places: np.ndarray, values: np.ndarray, expected: np.ndarray) -> str:
    at = tuple(places[0].tolist())
    return f"first at {list(at)}: got {values[at]}, expected {expected[at]}"


def _scales(kernel: Kernel, views: Sequence[Constant], program: Program) -> StorageFinding:
    """Every view has the kernel's scales, the decoder's, or those of a product with gains, and the right zero point."""
    gained = (each for each in program.operations if isinstance(each, Dense) and each.gains and each.kernel == kernel.name)
    allowed = {kernel.encode_scales, kernel.decode_scales, *(tuple(each.scales(program).tolist()) for each in gained)}
    for view in views:
        if view.scales not in allowed:
            got, right = _brief(view.scales), " or ".join(sorted(map(_brief, allowed)))
            return _finding(kernel.name, "scales", False, f"{view.name} has scales {got}, expected {right}")
        right = SIGNED_SHIFT if view.values.dtype == np.uint8 else 0
        wrong = [zero_point for zero_point in view.zero_points if zero_point != right]
        if wrong:
            return _finding(kernel.name, "scales", False, f"{view.name} has zero point {wrong[0]}, expected {right}")
    uses = f"{len(views)} use{'s' if len(views) != 1 else ''}"
    return _finding(kernel.name, "scales", True, f"{uses} with the program's scales")


def _pairs(name: str, found: Constant, values: np.ndarray, file_format: str) -> StorageFinding:
    """Int16 sums of two products cannot saturate on any processor."""
    count, unsigned = exceeding_pairs(values), found.values.dtype == np.uint8
    if not count:
        return _finding(name, "pairs", True, f"no pair of neighbours adds to more than {PAIR_LIMIT}")
    consequence = "stored as uint8, which is exact everywhere" if unsigned else "int8 saturates on x86-64 without VNNI"
    text = f"{count:,} pairs of neighbours add to more than {PAIR_LIMIT}; {consequence}"
    return _finding(name, "pairs", unsigned or file_format != "onnx", text)


def _brief(scales: Sequence[float]) -> str:
    return f"[{', '.join(f'{scale:.9g}' for scale in scales[:2])}{', …' if len(scales) > 2 else ''}]"


def _zeros(name: str, values: np.ndarray, mask: np.ndarray) -> StorageFinding:
    if mask.shape != values.shape:
        return _finding(name, "zeros", False, f"its mask has shape {list(mask.shape)}, expected {list(values.shape)}")
    pruned = mask == 0
    wrong, count = np.argwhere(pruned & (values != 0)), f"{np.count_nonzero(pruned):,} pruned places"
    if not len(wrong):
        return _finding(name, "zeros", True, f"zero at all {count}")
    first = _first(wrong, values, np.zeros(mask.shape, int))
    return _finding(name, "zeros", False, f"{len(wrong):,} of {count} are not zero, {first}")


def shared_values(name: str, values: np.ndarray, clusters: int) -> StorageFinding:
    """Check the number of distinct values of a clustered kernel."""
    got = len(np.unique(values))
    return _finding(name, "clusters", got <= clusters, f"{got:,} distinct values, expected at most {clusters}")


def _pattern(name: str, values: np.ndarray, mask: np.ndarray, pruning: PruneConfig) -> StorageFinding:
    if mask.shape != values.shape or any(size % step for size, step in zip(values.shape, pruning.tile, strict=True)):
        shape, tile = list(values.shape), list(pruning.tile)
        return _finding(name, "pattern", False, f"has shape {shape}, expected tiles of {tile} and a mask of the same shape")
    return _finding(name, "pattern", *HELD[pruning.kind](values, mask, pruning))


def _sum(contents: Contents, stored: Sequence[Constant], program: Program, expected: int) -> StorageFinding:
    """Count all constants that could hold weights: longer than any bias and as large as a kernel, or of rank 2 or more. Of the
    latter, int32 are indices: the padding of a score. `prove_scaling` and `prove_score` check the constants of theirs."""
    kernels = program.kernels.values()
    longest = max(max(kernel.inputs, kernel.units) for kernel in kernels)
    smallest = min(kernel.inputs * kernel.units for kernel in kernels)
    large = max(smallest, longest + 1)
    if contents.format == SOURCE:
        known = [(kernel, program.constants[name]) for name, kernel in program.kernels.items()]
        weights = [c for c in stored if c.values.dtype == np.int8 or any(_holds(contents, c, *each) for each in known)]
    else:
        others = [c for c in stored if c.name not in (OFFSET, SCALE, *CONSTANTS)]
        others = [c for c in others if c.values.dtype != np.int32 or c.values.size > SHORT]
        weights = [c for c in others if c.values.size >= large or (c.values.ndim >= 2 and c.values.dtype != np.int32)]
    got = sum(constant.values.size for constant in weights)
    if got == expected:
        twice = expected > sum(program.constants[name].size for name in program.kernels)
        return _finding("", "weights", True, f"{got:,} in the file, as many as the kernels{' and their copies' * twice} have")
    known = [program.constants[name] for name in program.kernels]
    extra = [f"{c.name} {list(c.values.shape)}" for c in weights if all(_orient(c, each, exact=True) is None for each in known)]
    more = f"; not a kernel: {', '.join(sorted(extra)[:3])}" if extra else ""
    return _finding("", "weights", False, f"{got:,} in the file, expected {expected:,}{more}")
