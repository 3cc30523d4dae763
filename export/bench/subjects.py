"""Who is measured: our files of a bundle, what the stock converters made of the same model, and the Keras original.

A subject that cannot take part is reported with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...compress.config import ExportConfig
from ...compress.errors import FormatError, UnavailableError
from ..baselines.converters import MAKERS, stock_name
from ..bundle import Bundle
from ..formats.model_file import Contents, Port
from ..program import SIGNATURES
from ..runtimes.table import RUNTIMES
from ..targets import TARGETS, read_model
from ..verify.kinds import Kind, Maker, Precision, Skipped, Why
from .openers import KERAS as KERAS_WAYS

ALONE, OUR_PORTS = "reconstruct alone", "our ports"
VARIANTS: Mapping[str, str] = {
    ALONE: "written from the bundle's program for this measurement, with one signature",
    OUR_PORTS: "the stock file without the conversions at its inputs and outputs, which so have the dtypes of ours",
}
"""What is measured beside the files as they are."""

Ports = Mapping[str, tuple[tuple[Port, ...], tuple[Port, ...]]]
"""(inputs, outputs) by signature."""


@dataclass(frozen=True)
class BenchSubject:
    """A model in one runtime. `files` by signature; `name` is unique and names it in every row.

    `variant` distinguishes files of one name: the inputs, outputs or signatures that were changed for a fair comparison.
    """

    name: str
    maker: Maker
    format: str
    precision: Precision
    runtime: str
    provider: str
    files: Mapping[str, Path]
    ports: Ports = field(repr=False)
    variant: str = ""

    def dtypes(self, signature: str) -> str:
        """The dtypes of a signature's inputs and outputs, such as `uint8 → uint8, uint8`."""
        inputs, outputs = self.ports[signature]
        return f"{', '.join(port.dtype for port in inputs)} → {', '.join(port.dtype for port in outputs)}"

    def input(self, signature: str, real: Mapping[str, np.ndarray], count: int) -> np.ndarray:
        """`count` samples for the one input of a signature in the input's dtype, from real values by name, repeated."""
        (port,), _ = self.ports[signature]
        values = np.resize(real[port.name], (count, real[port.name].shape[1]))
        if port.dtype == "float32":
            return np.ascontiguousarray(values, np.float32)
        return port.quantize(values)


@dataclass
class Cast:
    """All subjects, and why others are not among them."""

    subjects: list[BenchSubject] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def skip(self, what: str, reason: str) -> None:
        row = Skipped(Kind.BENCH, Why.UNAVAILABLE, what, reason)
        if row not in self.skipped:
            self.skipped.append(row)


def find_subjects(bundle: Bundle, stock: Path, keras: Path | None, folder: Path) -> Cast:
    """Everything that can be measured of a bundle.

    `stock` is the folder of the stock converters' files, `keras` the archive of the float model or None, `folder` takes what is
    written for comparisons: files of one signature, stock files with our dtypes.
    """
    cast, name = Cast(), bundle.manifest.name
    contents = {each: read_model(bundle.path / each) for each in bundle.models}
    for precision in Precision:
        for target in TARGETS:
            ours = _by_signature(bundle, contents, target, precision)
            if not ours:
                cast.skip(f"{Maker.TIEDAE} {precision} {target}", "not in this bundle")
                continue
            ports = {signature: _ports(contents[file], signature) for signature, file in ours.items()}
            paths = {signature: bundle.path / file for signature, file in ours.items()}
            _add(cast, Maker.TIEDAE, target, precision, paths, ports)
            _add_stock(cast, stock / stock_name(name, target, precision), target, precision, ports, folder)
    _add_single(cast, bundle, contents, folder)
    _add_keras(cast, keras, bundle.manifest.model.widths)
    return cast


def _by_signature(bundle: Bundle, contents: Mapping[str, Contents], target: str, precision: str) -> dict[str, str]:
    """The file of ours that serves each signature."""
    found = {}
    for name, info in bundle.manifest.models.items():
        if (info.format, info.precision) == (target, precision):
            found |= {signature.name: name for signature in contents[name].signatures}
    return {signature: found[signature] for signature in SIGNATURES if signature in found}


def _ports(contents: Contents, signature: str) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    each = next((each for each in contents.signatures if each.name == signature), contents.signatures[0])
    return each.inputs, each.outputs


def _add(
    cast: Cast, maker: Maker, target: str, precision: Precision, files: Mapping[str, Path], ports: Ports, variant: str = ""
) -> None:
    """A subject for every runtime that users of the format have."""
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
        cast.subjects.append(BenchSubject(name, maker, target, precision, runtime, provider, files, ports, variant))


def _add_stock(cast: Cast, path: Path, target: str, precision: Precision, ours: Ports, folder: Path) -> None:
    maker = MAKERS.get(target, {}).get(precision)
    if maker is None:
        cast.skip(f"{Maker.STOCK} {precision} {target}", f"there is no stock converter to {TARGETS[target].label}")
        return
    label = f"{maker.name} {precision} {target}"
    if not path.is_file():
        cast.skip(label, f"{path.name} is not in the folder {path.parent.name} beside the bundle; a run leaves it there")
        return
    try:
        contents = read_model(path)
    except FormatError as error:
        cast.skip(label, str(error))
        return
    known = {each.name for each in contents.signatures}
    ports = {signature: _ports(contents, signature) for signature in SIGNATURES if signature in known}
    ports = ports or {"reconstruct": _ports(contents, "reconstruct")}
    _add(cast, Maker.STOCK, target, precision, dict.fromkeys(ports, path), ports)
    if maker.byte_ports and "reconstruct" in ours:
        bytes_ = [port.name for ports in ours["reconstruct"] for port in ports if port.dtype != "float32"]
        changed = folder / f"{path.stem}.ports{path.suffix}"
        changed.write_bytes(maker.byte_ports(path.read_bytes(), bytes_))
        ports = {"reconstruct": _ports(read_model(changed), "reconstruct")}
        _add(cast, Maker.STOCK, target, precision, {"reconstruct": changed}, ports, OUR_PORTS)


def _add_single(cast: Cast, bundle: Bundle, contents: Mapping[str, Contents], folder: Path) -> None:
    """Ours with the signature reconstruct alone, where a file has several: without what a runtime packs for the others."""
    ours = {each.format: each for each in cast.subjects if (each.maker, each.precision) == (Maker.TIEDAE, Precision.INT8)}
    for target, whole in ours.items():
        if "reconstruct" not in whole.files or len(whole.files) == 1 or len(set(whole.files.values())) > 1:
            continue
        cast.skip(f"{Maker.TIEDAE} f32 {target}, {ALONE}", "a bundle holds the integer program, not the float one")
        (port,), _ = whole.ports["reconstruct"]
        stem, config = f"{bundle.manifest.name}.reconstruct.int8", ExportConfig(signatures=("reconstruct",))
        (written,) = TARGETS[target].write(bundle.programs(contents).of(target), stem, config, port.dtype).items()
        path = folder / written[0]
        path.write_bytes(written[1])
        ports = {"reconstruct": _ports(read_model(path), "reconstruct")}
        _add(cast, Maker.TIEDAE, target, Precision.INT8, {"reconstruct": path}, ports, ALONE)


def _add_keras(cast: Cast, archive: Path | None, widths: Sequence[int]) -> None:
    if archive is None:
        cast.skip("Keras original", "no model given: --model OUT/model")
        return
    x, code, y = (Port(name, "float32", (None, widths[place])) for name, place in {"x": 0, "code": -1, "y": 0}.items())
    ports = {"encode": ((x,), (code,)), "decode": ((code,), (y,)), "reconstruct": ((x,), (code, y))}
    for runtime, (name, _) in KERAS_WAYS.items():
        of = (name, Maker.KERAS, "keras", Precision.F32, runtime, "")
        cast.subjects.append(BenchSubject(*of, dict.fromkeys(ports, archive), ports))
