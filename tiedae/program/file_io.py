"""`x` and `y` of a model file: their dtype, and whether floats are in the data's unit of measure or in scaled values.

In the data's unit of measure a file computes, in float32 and with the roundings of `Scaling.apply` and `Scaling.restore`,

    x_model = (x − offset) / scale     before the first operation
    y       = y_model · scale + offset  after the last
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tiedae.base.errors import ExportError
from tiedae.compress.affine import Quantization, io_dtype
from tiedae.config.config import ExportConfig
from tiedae.config.scaling import Scaling

from .differences import LEAST_SCALE
from .tensors import flat

OFFSET, SCALE = "scaling.offset", "scaling.scale"
"""Names of the two constants in a file, float32, one value or one per input."""
MODEL = ".model"
"""Suffix of the float32 tensor in scaled values behind an input or output in the data's unit of measure."""
COARSE = 0.1
"""Fraction of an int8 step of `x` from which a float32 step in the data's unit of measure is reported."""


@dataclass(frozen=True)
class FileIO:
    """`dtype`: that of `x` and `y`, one of `affine.IO`. `scaling`: that of the data if float32 `x` and `y` are in the data's
    unit, None for scaled values. Integers have their own scale and zero point, so `scaling` does not affect them.

    Raises ExportError if float32 cannot represent the scaling.
    """

    dtype: str = "auto"
    scaling: Scaling | None = None

    def __post_init__(self) -> None:
        if self.scaling is not None:
            offset, scale = self.scaling.float32
            normal = np.isfinite(offset) & np.isfinite(scale) & (np.abs(scale) >= np.finfo(np.float32).tiny)
            if not normal.all():
                got, right = f"{self.scaling.offset!r:.40} and {self.scaling.scale!r:.40}", "float32 numbers"
                raise ExportError(f"offset and scale: got {got}, must be {right}, or [export] scaled = true")

    @classmethod
    def of(cls, config: ExportConfig, scaling: Scaling, dtype: str) -> FileIO:
        """Those of the int8 files for samples of this scaling and dtype; bytes stay bytes, and floats of them scaled values."""
        is_bytes = scaling.is_bytes(dtype)
        return cls(io_dtype(config.io, is_bytes), scaling if not config.scaled and not is_bytes else None)

    @classmethod
    def parse(cls, io: FileIO | str) -> FileIO:
        """A dtype alone has floats in scaled values."""
        return io if isinstance(io, FileIO) else cls(io)

    @property
    def floats(self) -> FileIO:
        """Those of the float files."""
        return FileIO("float32", self.scaling)

    @property
    def scaled(self) -> bool:
        """Whether float `x` and `y` are scaled values."""
        return self.scaling is None

    @cached_property
    def folded(self) -> Scaling | None:
        """The scaling that the file computes; None if there is nothing to compute."""
        computes = self.scaling is not None and self.scaling.rule != "none" and self.dtype == "float32"
        return self.scaling if computes else None

    def constants(self, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Offset and scale in a file whose `x` has this shape, by name; none if it computes no scaling."""
        pair = () if self.folded is None else self.folded.float32
        return {name: v.reshape(shape) if v.ndim else v for name, v in zip((OFFSET, SCALE), pair, strict=False)}

    def samples(self, x: np.ndarray) -> np.ndarray:
        """Samples in the data's unit of measure as files take them: float32 where the files scale, else unchanged."""
        return x if self.scaling is None else x.astype(np.float32, copy=False)

    def output(self, y: np.ndarray, quantization: Quantization) -> np.ndarray:
        """A program's uint8 `y` as the file gives it."""
        return self.restored(quantization.to_io(y, self.dtype))

    def restored(self, y: np.ndarray) -> np.ndarray:
        """float32 `y` in scaled values as the file gives it; integers are returned unchanged."""
        return y if self.folded is None else self.folded.restore(flat(y)).reshape(y.shape)

    def scaled_values(self, y: np.ndarray) -> np.ndarray:
        """A file's `y`, float32 [batch, *shape] in scaled values; integers are returned unchanged."""
        if self.folded is None or y.dtype != np.float32:
            return y
        with np.errstate(over="ignore", invalid="ignore"):
            return self.folded.apply(flat(y)).reshape(y.shape)

    def resolution(self, y: np.ndarray) -> float:
        """How far `scaled_values` may be off for scaled `y`, because float32 in the data's unit of measure is rounded.

        ε (4 · max |y| + max |offset / scale|) with ε = 2⁻²³: MUL, ADD, SUB and DIV each round by 2⁻²⁴ of their result, MUL, SUB
        and DIV of at most |y|, ADD of |y + offset / scale|. ε is twice that, for an expected value that went the same way.
        """
        if self.folded is None:
            return 0.0
        offset, scale = (each.astype(np.float64) for each in self.folded.float32)
        largest = float(np.abs(y, where=np.isfinite(y), out=np.zeros_like(y)).max(initial=0))
        return float(np.finfo(np.float32).eps * (4 * largest + np.abs(offset / scale).max()))

    def relative_resolution(self, y: np.ndarray) -> float:
        """`resolution` relative to full scale, as float tolerances are (`parity.comparison.compare`)."""
        return self.resolution(y) / max(LEAST_SCALE, float(np.abs(y).max(initial=0)))

    def coarse(self, x: Quantization) -> list[tuple[int, float, float]]:
        """The inputs that float32 resolves too coarsely, worst first: (index, distance of its numbers, scale of `x`).

        The step of float32 is that at the larger of |offset| and |offset + scale|, and above `COARSE` of the int8 step of `x`.
        """
        if self.folded is None:
            return []
        offset, scale = self.folded.float32
        steps = np.atleast_1d(np.spacing(np.maximum(np.abs(offset), np.abs(offset + scale))))
        wanted = np.atleast_1d(np.abs(scale) * x.scale)
        ratio = steps / wanted
        return [(int(i), float(steps[i]), float(wanted[i])) for i in np.argsort(-ratio, kind="stable") if ratio[i] > COARSE]


SCALED_IO = FileIO()
"""The dtype `auto`, floats in scaled values."""
