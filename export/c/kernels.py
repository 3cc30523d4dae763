"""How a C file stores a kernel, once, [inputs, units], and how both directions read its rows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from tiedae.compress.integers import PAIR_LIMIT, neighbours
from tiedae.program.program import Kernel

from .text import array, comment, symbol

Storage = Literal["dense", "sparse"]
Layout = Literal["dense", "packed", "sparse"]
STORAGES: tuple[Storage, ...] = get_args(Storage)
GROUP = 8
"""Values of a row that are packed together: b bytes at b bits, and a byte of a mask."""
PLACED = 256
"""Units whose places fit in a byte."""
PLACES = """static const uint8_t tae_nibble_counts[16] = {0,1,1,2,1,2,2,3,1,2,2,3,2,3,3,4};
static const uint8_t tae_nibble_places[64] = {
0,0,0,0,0,0,0,0,1,0,0,0,0,1,0,0,2,0,0,0,0,2,0,0,1,2,0,0,0,1,2,0,
3,0,0,0,0,3,0,0,1,3,0,0,0,1,3,0,2,3,0,0,0,2,3,0,1,2,3,0,0,1,2,3
};

/* the places of the bits that are set in a mask, and their number; four bytes behind them are overwritten */
static size_t tae_mask_places(const uint8_t *restrict mask, size_t groups, uint8_t *restrict places)
{
  uint8_t *p = places;
  size_t g;
  for (g = 0; g < 2 * groups; g++) {
    const unsigned m = (unsigned)(mask[g / 2] >> g % 2 * 4) & 15;
    const uint8_t *place = tae_nibble_places + m * 4;
    p[0] = (uint8_t)(g * 4 + place[0]);
    p[1] = (uint8_t)(g * 4 + place[1]);
    p[2] = (uint8_t)(g * 4 + place[2]);
    p[3] = (uint8_t)(g * 4 + place[3]);
    p += tae_nibble_counts[m];
  }
  return (size_t)(p - places);
}
"""


@dataclass(frozen=True)
class StoredKernel:
    """A kernel in a C file: the definitions of its arrays, and functions that read it.

    `layout`: `dense`, int8; `packed`, b bits each; `sparse`, a mask, the values that are not zero, and their number per row.
    `pairs`: neighbouring rows, and neighbouring values of a row, obey the pair rule of `compress.integers`, so int16 holds the
    sum of two products. `fewest`: values that are not zero in a row. `size`: bytes.
    """

    kernel: Kernel
    layout: Layout
    pairs: tuple[bool, bool]
    fewest: int
    size: int
    text: str

    @property
    def name(self) -> str:
        return symbol(self.kernel.name)

    @property
    def groups(self) -> int:
        """Groups of a row."""
        return -(-self.kernel.units // GROUP)

    @property
    def scratch(self) -> int:
        """Bytes that an unpacked row takes, or the places of its values."""
        return {"dense": 0, "packed": self.groups * GROUP, "sparse": min(self.groups * GROUP, PLACED) + 4}[self.layout]


def stored(kernel: Kernel, values: np.ndarray, storage: Storage) -> StoredKernel:
    """A kernel, int8 [inputs, units], as C text: `sparse`, or dense, packed where its bits make that smaller."""
    name, groups = symbol(kernel.name), -(-kernel.units // GROUP)
    smaller = kernel.bits < 8 and groups * kernel.bits < kernel.units
    layout: Layout = "sparse" if storage == "sparse" else "packed" if smaller else "dense"
    arrays = encoded(values, layout, kernel.bits)
    text = "".join(array(name + ending, stored) for ending, stored in arrays.items())
    if layout == "packed":
        text += _unpack(name, kernel.bits, groups)
    rows, columns = (bool((np.abs(sum(neighbours(values.astype(np.int16), axis))) <= PAIR_LIMIT).all()) for axis in (0, 1))
    fewest, size = int((values != 0).sum(axis=1).min()), sum(each.nbytes for each in arrays.values())
    digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
    title = comment(f"kernel {kernel.name} [{kernel.inputs}, {kernel.units}], {kernel.bits} bits, {layout}")
    title += comment(f"sha256 of its int8 values: {digest}")
    return StoredKernel(kernel, layout, (rows, columns), fewest, size, title + text)


def encoded(values: np.ndarray, layout: str, bits: int) -> Mapping[str, np.ndarray]:
    """The arrays of a kernel, int8 [inputs, units], in a layout, by the ending of their names."""
    if layout == "sparse":
        return {f"_{part}": each for part, each in sparse_arrays(values).items()}
    return {"": packed(values, bits) if layout == "packed" else values}


def decoded(arrays: Sequence[np.ndarray], layout: str, shape: tuple[int, int], bits: int) -> np.ndarray:
    """The kernel, int8 [inputs, units], that has these arrays, flat or not. Raises ValueError if there is none."""
    try:
        if layout == "sparse":
            mask, kept, _ = arrays
            values = _densified(mask, kept, shape)
        else:
            values = _unpacked(arrays[0], shape, bits) if layout == "packed" else arrays[0].reshape(shape).astype(np.int8)
    except (TypeError, IndexError) as error:
        raise ValueError(error) from None
    right = encoded(values, layout, bits).values()
    if not all(a.dtype == b.dtype and np.array_equal(a.ravel(), b.ravel()) for a, b in zip(arrays, right, strict=True)):
        raise ValueError("the arrays of another kernel")
    return values


def packed(values: np.ndarray, bits: int) -> np.ndarray:
    """Values + 2ᵇ⁻¹ of a row in b bits each, low bits first, rows of whole groups: uint8 [inputs, bytes]."""
    rows, units = values.shape
    padded = np.zeros((rows, -(-units // GROUP) * GROUP), np.uint8)
    padded[:, :units] = values.astype(np.int16) + (1 << bits - 1)
    planes = padded[:, :, None] >> np.arange(bits, dtype=np.uint8) & 1
    return np.packbits(planes.reshape(rows, -1), axis=1, bitorder="little")


def _unpacked(stored: np.ndarray, shape: tuple[int, int], bits: int) -> np.ndarray:
    """The inverse of `packed`: int8 [inputs, units]."""
    rows, units = shape
    planes = np.unpackbits(stored.reshape(rows, -1), axis=1, bitorder="little").reshape(rows, -1, bits)
    values = (planes.astype(np.int16) << np.arange(bits)).sum(axis=2) - (1 << bits - 1)
    return values[:, :units].astype(np.int8)


def sparse_arrays(values: np.ndarray) -> Mapping[str, np.ndarray]:
    """`mask`, uint8 [inputs, groups], low bits first; `values` not zero, int8, and one more; `counts`, uint8 or uint16, of each
    row: values beyond those of the row with the fewest.
    """
    rows, units = values.shape
    live = np.zeros((rows, -(-units // GROUP) * GROUP), bool)
    live[:, :units] = values != 0
    counts = live.sum(axis=1)
    return {
        "mask": np.packbits(live, axis=1, bitorder="little"),
        "values": np.append(values[values != 0], np.int8(0)),
        "counts": (counts - counts.min()).astype(np.uint8 if np.ptp(counts) < 1 << 8 else np.uint16),
    }


def _densified(mask: np.ndarray, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The inverse of `sparse_arrays`: int8 [inputs, units]."""
    rows, units = shape
    live = np.unpackbits(mask.reshape(rows, -1), axis=1, bitorder="little")[:, :units].astype(bool)
    dense = np.zeros(shape, np.int8)
    dense[live] = values[: live.sum()]
    return dense


def _unpack(name: str, bits: int, groups: int) -> str:
    """A function that unpacks a row."""
    half, top = 1 << bits - 1, (1 << bits) - 1
    lines = []
    for n in range(GROUP):
        at, shift = divmod(n * bits, 8)
        low = f"p[{at}] >> {shift}" if shift else f"p[{at}]"
        both = f"({low} | p[{at + 1}] << {8 - shift})" if shift + bits > 8 else f"({low})"
        lines.append(f"    row[{n}] = (int8_t)(({both} & {top}) - {half});")
    body = "\n".join(lines)
    return f"""static void {name}_row(size_t i, int8_t *restrict row)
{{
  const uint8_t *p = {name} + i * {groups * bits};
  size_t g;
  for (g = 0; g < {groups}; g++, p += {bits}, row += {GROUP}) {{
{body}
  }}
}}
"""
