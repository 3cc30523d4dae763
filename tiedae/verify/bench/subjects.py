"""Subjects of the benchmark: our files of a bundle, the stock converters' files of the same model, and the Keras model.

A subject that cannot be measured is reported with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tiedae.base.errors import FormatError, UnavailableError
from tiedae.bundle.bundle import Bundle
from tiedae.bundle.manifest import Manifest
from tiedae.config.config import ExportConfig
from tiedae.export.kinds import Kind, Maker, Precision, Skipped, Why
from tiedae.export.model_file import Contents, Signature, TensorInfo
from tiedae.export.targets import TARGETS, read_model
from tiedae.program.file_io import SCALED_IO, FileIO
from tiedae.program.program import SIGNATURES
from tiedae.runtimes.table import RUNTIMES

from ..stock.converters import MAKERS, stock_name
from .openers import KERAS as KERAS_WAYS

ALONE, OUR_DTYPES = "reconstruct alone", "our dtypes"
VARIANTS: Mapping[str, str] = {
    ALONE: "written from the bundle's program for this measurement, with one signature",
    OUR_DTYPES: "the stock file without the conversions at its inputs and outputs, so that their dtypes equal ours",
}
"""Modified files that are measured too."""


@dataclass(frozen=True)
class BenchSubject:
    """A model in one runtime. `name` is unique; `files` and `signatures` by signature name.

    `variant`: a key of `VARIANTS` if inputs, outputs or signatures were changed for a fair comparison, else empty.
    `io`: `x` and `y` of the files.
    """

    name: str
    maker: Maker
    format: str
    precision: Precision
    runtime: str
    provider: str
    files: Mapping[str, Path]
    signatures: Mapping[str, Signature] = field(repr=False)
    variant: str = ""
    io: FileIO = SCALED_IO

    def dtypes(self, signature: str) -> str:
        """The dtypes of a signature's inputs and outputs, such as `uint8 → uint8, uint8`."""
        sides = self.signatures[signature].inputs, self.signatures[signature].outputs
        return " → ".join(", ".join(tensor.dtype for tensor in side) for side in sides)

    def input(self, signature: str, real: Mapping[str, np.ndarray], count: int) -> np.ndarray:
        """`count` samples for a signature's input, in its dtype, repeated from scaled values by name."""
        (tensor,) = self.signatures[signature].inputs
        values = np.resize(real[tensor.name], (count, *tensor.sample[1]))
        if tensor.dtype == "float32":
            values = np.ascontiguousarray(values, np.float32)
            return self.io.restored(values) if tensor.name == "x" else values
        return tensor.quantize(values)


@dataclass
class Cast:
    """The subjects, and the reasons why others were skipped; `ours` has `x` and `y` of our files."""

    ours: FileIO
    subjects: list[BenchSubject] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def skip(self, what: str, reason: str) -> None:
        row = Skipped(Kind.BENCH, Why.UNAVAILABLE, what, reason)
        if row not in self.skipped:
            self.skipped.append(row)


def find_subjects(bundle: Bundle, stock: Path, keras: Path | None, folder: Path) -> Cast:
    """Find everything that can be measured of a bundle.

    `stock`: folder of the stock converters' files. `keras`: archive of the float model. `folder`: for the files of `VARIANTS`.
    """
    cast, name = Cast(bundle.manifest.io.floats), bundle.manifest.name
    contents = {each: read_model(bundle.path / each) for each in bundle.models}
    for precision in Precision:
        for target in (target for target, row in TARGETS.items() if precision in row.precisions):
            ours = bundle.files_of(target, precision)
            if not ours:
                cast.skip(f"{Maker.TIEDAE} {precision} {target}", "not in this bundle")
                continue
            signatures = {signature: _signature(contents[file], signature) for signature, file in ours.items()}
            paths = {signature: bundle.path / file for signature, file in ours.items()}
            _add(cast, Maker.TIEDAE, target, precision, paths, signatures)
            _add_stock(cast, stock / stock_name(name, target, precision), target, precision, signatures, folder)
    _add_single(cast, bundle, contents, folder)
    _add_keras(cast, keras, bundle.manifest)
    return cast


def _signature(contents: Contents, name: str) -> Signature:
    return next((each for each in contents.signatures if each.name == name), contents.signatures[0])


def _add(
    cast: Cast,
    maker: Maker,
    target: str,
    precision: Precision,
    files: Mapping[str, Path],
    signatures: Mapping[str, Signature],
    variant: str = "",
) -> None:
    """Add a subject for each timed runtime of the format."""
    label = Maker.TIEDAE if maker is Maker.TIEDAE else MAKERS[target][precision].name
    subject = f"{label} {precision} {target}{f', {variant}' if variant else ''}"
    timed = {runtime: row for runtime, row in RUNTIMES.items() if row.format == target and row.module}
    if not timed:
        cast.skip(subject, f"no runtime of {TARGETS[target].label} files is timed")
    for runtime, row in timed.items():
        name = subject + ("" if row.device == "CPU" else f" on {row.device}")
        try:
            provider = row.open(files).provider
        except FormatError as error:
            cast.skip(name, str(error))
            continue
        except UnavailableError as error:
            cast.skip(runtime, str(error))
            continue
        of = (name, maker, target, precision, runtime, provider, files, signatures, variant)
        cast.subjects.append(BenchSubject(*of, cast.ours if maker is Maker.TIEDAE else SCALED_IO))


def _add_stock(cast: Cast, path: Path, target: str, precision: Precision, ours: Mapping[str, Signature], folder: Path) -> None:
    maker = MAKERS.get(target, {}).get(precision)
    if maker is None:
        cast.skip(f"{Maker.STOCK} {precision} {target}", f"there is no stock converter to {TARGETS[target].label}")
        return
    label = f"{maker.name} {precision} {target}"
    if not path.is_file():
        cast.skip(
            label, f"{path.name} is not in the folder {path.parent.name} beside the bundle; a run with stock = true has it"
        )
        return
    try:
        contents = read_model(path)
    except FormatError as error:
        cast.skip(label, str(error))
        return
    named = {each.name: each for each in contents.signatures}
    known = {name: named[name] for name in SIGNATURES if name in named}
    signatures = known or {"reconstruct": _signature(contents, "reconstruct")}
    _add(cast, Maker.STOCK, target, precision, dict.fromkeys(signatures, path), signatures)
    if maker.integer_io and "reconstruct" in ours:
        tensors = (*ours["reconstruct"].inputs, *ours["reconstruct"].outputs)
        changed = folder / f"{path.stem}.io{path.suffix}"
        changed.write_bytes(maker.integer_io(path.read_bytes(), [each.name for each in tensors if each.dtype != "float32"]))
        signatures = {"reconstruct": _signature(read_model(changed), "reconstruct")}
        _add(cast, Maker.STOCK, target, precision, {"reconstruct": changed}, signatures, OUR_DTYPES)


def _add_single(cast: Cast, bundle: Bundle, contents: Mapping[str, Contents], folder: Path) -> None:
    """Add our files with `reconstruct` only, without the kernels that a runtime packs for other signatures."""
    ours = {each.format: each for each in cast.subjects if (each.maker, each.precision) == (Maker.TIEDAE, Precision.INT8)}
    for target, whole in ours.items():
        if "reconstruct" not in whole.files or len(whole.files) == 1 or len(set(whole.files.values())) > 1:
            continue
        cast.skip(f"{Maker.TIEDAE} f32 {target}, {ALONE}", "a bundle holds the integer program, not the float one")
        (tensor,) = whole.signatures["reconstruct"].inputs
        stem, config = f"{bundle.manifest.name}.reconstruct.int8", ExportConfig(signatures=("reconstruct",))
        io = FileIO(tensor.dtype, bundle.manifest.io.scaling)
        (written,) = TARGETS[target].write(bundle.programs(contents).of(target), stem, config, io).items()
        path = folder / written[0]
        path.write_bytes(written[1])
        signatures = {"reconstruct": _signature(read_model(path), "reconstruct")}
        _add(cast, Maker.TIEDAE, target, Precision.INT8, {"reconstruct": path}, signatures, ALONE)


def _add_keras(cast: Cast, archive: Path | None, manifest: Manifest) -> None:
    if archive is None:
        cast.skip("Keras original", "no model given: --model OUT/model")
        return
    flat = (manifest.data.inputs,)
    shapes = {"x": flat, "code": manifest.tensor("code").shape, "y": flat}
    x, code, y = (TensorInfo(name, "float32", (None, *shape)) for name, shape in shapes.items())
    sides = {"encode": ((x,), (code,)), "decode": ((code,), (y,)), "reconstruct": ((x,), (code, y))}
    signatures = {name: Signature(name, inputs, outputs, {}) for name, (inputs, outputs) in sides.items()}
    for runtime, (name, _) in KERAS_WAYS.items():
        of = (name, Maker.KERAS, "keras", Precision.F32, runtime, "")
        cast.subjects.append(BenchSubject(*of, dict.fromkeys(signatures, archive), signatures))
