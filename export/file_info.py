"""Records of the files of a bundle, as manifest.json holds them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta
from msgspec.structs import replace

from tiedae.base.files import open_regular
from tiedae.base.keys import Identifier, Line, Sha256
from tiedae.base.records import Record

from .kinds import Precision
from .model_file import Contents, Signature


class ValueInfo(Record, frozen=True):
    """An input or output of a signature. A dimension is a size or `batch`; `scale` and `zero_point` are None for floats.

    `scaled`: whether float32 `x` and `y` are (x − offset) / scale of data.scaling, or in the data's unit of measure; else None.
    """

    name: Identifier
    dtype: Identifier
    shape: tuple[int | Literal["batch"], ...]
    scale: float | None = None
    zero_point: int | None = None
    scaled: bool | None = None


class SignatureInfo(Record, frozen=True):
    """A signature: its inputs and outputs, and the number of operators by kind."""

    inputs: Annotated[tuple[ValueInfo, ...], Meta(min_length=1)]
    outputs: tuple[ValueInfo, ...]
    operations: Mapping[Line, int] = {}

    @classmethod
    def of(cls, signature: Signature) -> SignatureInfo:
        inputs, outputs = (
            tuple(ValueInfo(v.name, v.dtype, tuple(size or "batch" for size in v.shape), v.scale, v.zero_point) for v in values)
            for values in (signature.inputs, signature.outputs)
        )
        return cls(inputs, outputs, dict(signature.operations))

    @property
    def values(self) -> tuple[ValueInfo, ...]:
        """Inputs, then outputs."""
        return self.inputs + self.outputs


def digest_of(path: Path) -> str:
    """sha256 (hex) of a regular file, read in pieces."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class FileInfo(Record, frozen=True):
    """sha256 (hex) and size of a file."""

    sha256: Sha256
    bytes: Annotated[int, Meta(ge=0)]

    @classmethod
    def of(cls, data: bytes) -> FileInfo:
        return FileInfo(hashlib.sha256(data).hexdigest(), len(data))

    def holds(self, path: Path) -> bool:
        """Whether a path is a regular file of this size and sha256."""
        return path.is_file() and path.stat().st_size == self.bytes and digest_of(path) == self.sha256


class ModelFileInfo(FileInfo, frozen=True):
    """A model file: its target, precision, signatures by name, and facts of its format such as the opset."""

    format: Identifier
    precision: Precision
    signatures: Annotated[Mapping[Identifier, SignatureInfo], Meta(min_length=1)]
    details: Mapping[Line, Line] = {}

    @classmethod
    def of_model(cls, data: bytes, name: str, contents: Contents) -> ModelFileInfo:
        """The record of a parsed file; its name ends in `.PRECISION.SUFFIX`, or `.SUFFIX` where its format has int8 alone."""
        signatures = {each.name: SignatureInfo.of(each) for each in contents.signatures}
        *_, precision, _ = (f".{Precision.INT8}", *Path(name).suffixes)
        file, precision = FileInfo.of(data), Precision(precision.removeprefix("."))
        return cls(file.sha256, file.bytes, contents.format, precision, signatures, dict(contents.details))

    def with_scaled(self, scaled: bool) -> ModelFileInfo:
        """The record that says whether float32 `x` and `y` are scaled."""

        def stated(values: tuple[ValueInfo, ...]) -> tuple[ValueInfo, ...]:
            return tuple(replace(v, scaled=scaled) if v.name in ("x", "y") and v.dtype == "float32" else v for v in values)

        each = self.signatures.items()
        return replace(self, signatures={k: replace(v, inputs=stated(v.inputs), outputs=stated(v.outputs)) for k, v in each})
