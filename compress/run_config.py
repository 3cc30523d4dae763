"""Configuration of what is around the training: data, export and verification; validated on construction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .requirements import require, require_choice


@dataclass(frozen=True)
class DataConfig:
    """Where samples come from and how they become float32 model inputs.

    `source` is a known name or a path. `window` cuts a one-dimensional record into samples. `scaling` auto: bytes by 255;
    floats by the rule that the output activation suggests. `per_feature` true: each value of a sample has an offset and scale
    of its own; false: one for all; auto: of its own for the columns of a table (see `data.kind_of`).
    `test` and `validation` are the shares split off by `seed` (`split` tail: the last samples, for records in time) where
    the source has no test set of its own.

    Of a .csv file `columns` are the only ones that are read, in this order, and `drop` those that are not. `label` names the
    column of the labels; auto: the one named label, class, target or y (y not beside a column x), if there is one; empty:
    none, every column is a feature. Of a folder of pictures `resize` is (height, width), `grayscale` makes them gray.
    """

    source: str
    window: int = 0
    columns: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    label: str = "auto"
    resize: tuple[int, ...] = ()
    grayscale: bool = False
    scaling: Literal["auto", "none", "byte", "minmax", "standard"] = "auto"
    per_feature: bool | Literal["auto"] = "auto"
    test: float = 0.1
    validation: float = 0.0
    split: Literal["auto", "random", "tail"] = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        require(bool(self.source), "source", self.source, "a known name or a path")
        require(self.window >= 0, "window", self.window, "0 (samples as they are) or the number of values per sample")
        for key in ("columns", "drop"):
            names = getattr(self, key)
            require(len(set(names)) == len(names), key, list(names), "each name once")
        both = [name for name in self.columns if name in (*self.drop, self.label)]
        require(not both, "columns", both, "names that neither `drop` nor `label` has")
        require(self.label == "" or self.label not in self.drop, "label", self.label, "a name that `drop` does not have")
        sides = len(self.resize) in (0, 2) and all(side >= 1 for side in self.resize)
        require(sides, "resize", list(self.resize), "[height, width], each 1 or more")
        require_choice("scaling", self.scaling, Literal["auto", "none", "byte", "minmax", "standard"])
        chosen = isinstance(self.per_feature, bool) or self.per_feature == "auto"
        require(chosen, "per_feature", self.per_feature, 'true, false or "auto"')
        require_choice("split", self.split, Literal["auto", "random", "tail"])
        require(self.seed >= 0, "seed", self.seed, "0 or more")
        require(0 < self.test < 1, "test", self.test, "in (0, 1)")
        require(0 <= self.validation < 1, "validation", self.validation, "in [0, 1)")
        require(self.test + self.validation < 1, "validation", self.validation, "less than 1 − test")


@dataclass(frozen=True)
class ExportConfig:
    """Which files are written. `io` is the dtype of x and y; auto: uint8 for uint8 data scaled by `byte`, else float32.

    `targets` are names of `export.targets.TARGETS`, which whoever writes files checks.

    `int4` is how kernels of 4 bits or fewer are stored: packed, two values a byte, or bytes. `opset` is 21 or later in .onnx
    files with packed kernels.
    """

    targets: tuple[str, ...] = ("tflite", "onnx")
    signatures: tuple[Literal["encode", "decode", "reconstruct"], ...] = ("encode", "decode", "reconstruct")
    io: Literal["auto", "uint8", "int8", "float32"] = "auto"
    opset: int = 17
    int4: Literal["packed", "bytes"] = "packed"

    def __post_init__(self) -> None:
        require(len(self.targets) > 0, "targets", self.targets, "one target or more")
        require(len(self.signatures) > 0, "signatures", self.signatures, "one signature or more")
        for signature in self.signatures:
            require_choice("signatures", signature, Literal["encode", "decode", "reconstruct"])
        require(len(set(self.targets)) == len(self.targets), "targets", self.targets, "each target once")
        require(len(set(self.signatures)) == len(self.signatures), "signatures", self.signatures, "each signature once")
        require_choice("io", self.io, Literal["auto", "uint8", "int8", "float32"])
        require_choice("int4", self.int4, Literal["packed", "bytes"])
        require(13 <= self.opset <= 23, "opset", self.opset, "in 13…23")


@dataclass(frozen=True)
class VerifyConfig:
    """Tolerances of the checks.

    `max_quality_loss` is relative to the Keras float model's test error. `codes_equal_share` and `codes_max_lsb` hold for the
    codes of int8 files in runtimes that round as the integer program does, from the same integers; in others `codes_max_lsb`
    holds per kernel. `operation_max_lsb` holds for each operation on equal inputs. `float_max_abs` bounds the largest
    difference of a float tensor, relative to its full scale (its largest magnitude; at least 0.1).
    """

    max_quality_loss: float = 0.05
    codes_equal_share: float = 1.0
    codes_max_lsb: int = 1
    operation_max_lsb: int = 1
    float_max_abs: float = 1e-5

    def __post_init__(self) -> None:
        require(self.max_quality_loss >= 0, "max_quality_loss", self.max_quality_loss, "0 or more")
        require(0 <= self.codes_equal_share <= 1, "codes_equal_share", self.codes_equal_share, "in [0, 1]")
        require(self.codes_max_lsb >= 0, "codes_max_lsb", self.codes_max_lsb, "0 or more")
        require(self.operation_max_lsb >= 0, "operation_max_lsb", self.operation_max_lsb, "0 or more")
        require(self.float_max_abs > 0, "float_max_abs", self.float_max_abs, "positive")
