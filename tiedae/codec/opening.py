"""Bundles, runs and model archives opened as codecs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from tiedae.base.errors import InputError, NotInstalledError, UnavailableError
from tiedae.bundle.bundle import Bundle
from tiedae.bundle.manifest import FILE
from tiedae.config.config import ExportConfig
from tiedae.config.sample_spec import SampleSpec
from tiedae.export.targets import TARGETS
from tiedae.program.file_io import FileIO
from tiedae.program.integer_maps import fit
from tiedae.runtimes.session import Session
from tiedae.runtimes.table import RUNTIMES, usual

from .backends import PRECISION, PROGRAM, Backend, FileBackend, ProgramBackend, program_of, written_anew
from .codec import Codec

if TYPE_CHECKING:
    from tiedae.compress.autoencoder import TiedAutoencoder

AUTO = "auto"


def load(path: str | Path, *, runtime: str = AUTO) -> Codec:
    """Open a bundle, OUT of a run, or a model archive as a codec.

    `runtime`: a runtime of `RUNTIMES`, `program` (the exact reference), or `auto`: LiteRT or ONNX Runtime, the first that is
    installed and has a file in the bundle; `program` in a bundle of C files alone. `c` compiles what `to_c` writes of the
    program, with or without a .c file in the bundle. An archive takes TensorFlow and runs as its program.

    Raises InputError where the path is none of these or the runtime has no file, FormatError for a file that is damaged or
    not the manifest's, UnavailableError where the runtime is not installed.
    """
    path = Path(path)
    return _open_archive(path, runtime) if path.is_file() else open_bundle(bundle_of(path), runtime)


def bundle_of(path: Path) -> Bundle:
    """The bundle that a folder is, or holds as OUT of a run; InputError where it is neither."""
    for folder in (path, path / "bundle"):
        if (folder / FILE).is_file():
            return Bundle.open(folder)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if (path / "run.json").is_file():
        raise InputError(f"{path}: this run has no bundle yet; `tiedae run RECIPE --out {path} --resume` finishes it")
    raise InputError(f"{path}: must hold {FILE} (a bundle) or bundle/{FILE} (OUT of a run)")


def _open_archive(path: Path, runtime: str) -> Codec:
    from tiedae.compress.autoencoder import TiedAutoencoder

    if runtime not in (AUTO, PROGRAM):
        raise InputError(f"runtime: got {runtime!r}, a model archive runs as its program; export a bundle for others")
    model = TiedAutoencoder.load(path)
    if model.spec is None:
        raise InputError(f"{path}: does not say how its samples are scaled; load the run's OUT, or save the model again")
    return codec_of(model, model.spec, path.stem)


def codec_of(model: TiedAutoencoder, spec: SampleSpec, name: str) -> Codec:
    """The codec of a model in memory, which runs as its program: it needs no TensorFlow from then on."""
    from tiedae.program.lowering import lower

    simulated = None if model.quantizers is None else model.quantizers.spec.layout
    program, maps = lower(model, name, layout="view" if simulated == "view" else "fused"), None
    if program.quantized:
        maps, scaling = fit(spec, program.quantization("x"), program.quantization("y"))
        spec = structs.replace(spec, scaling=scaling)
    io = FileIO.of(ExportConfig(), spec.scaling, spec.dtype)
    return Codec(name, spec, program.tensors["code"], ProgramBackend(program, spec, io, maps))


def open_bundle(bundle: Bundle, runtime: str = AUTO) -> Codec:
    """The codec of a bundle; see `load`."""
    manifest = bundle.manifest
    spec, x, code = manifest.data.spec, manifest.tensor("x"), manifest.tensor("code")
    own = any(bundle.files_of(target, PRECISION) for target, row in TARGETS.items() if not row.source)
    source = runtime in RUNTIMES and TARGETS[RUNTIMES[runtime].format].source
    if source or runtime == PROGRAM or (runtime == AUTO and not own):
        backend = ProgramBackend(program_of(bundle), spec, manifest.io, manifest.integer_maps)
        if source:
            backend = replace(backend, runtime=runtime, session=written_anew(backend.program, runtime))
        return Codec(manifest.name, spec, code, backend, bundle)
    session = _session(bundle, runtime)
    target = RUNTIMES[session.runtime].format
    io, whole = bundle.file_io(target, PRECISION), "reconstruct" in bundle.files_of(target, PRECISION)
    backend = FileBackend(session, spec, io, x, code, manifest.tensors.y, manifest.layout(target), whole)
    return Codec(manifest.name, spec, code, backend, bundle)


def open_files(bundle: Bundle) -> Backend | None:
    """The int8 files in the usual runtime of a target, one of the program's own layout first; None where no target's files
    hold the whole model.

    Raises FormatError for a file that is not the manifest's, UnavailableError where none of the runtimes can run,
    NotInstalledError where none is installed.
    """
    errors: list[UnavailableError] = []
    manifest = bundle.manifest
    for target in sorted(TARGETS, key=lambda name: (TARGETS[name].source, manifest.layout(name) != "fused")):
        signatures = bundle.files_of(target, PRECISION).keys()
        if "reconstruct" in signatures or {"encode", "decode"} <= signatures:
            try:
                return open_bundle(bundle, usual(target)).backend
            except UnavailableError as error:
                errors.append(error)
    if not errors:
        return None
    absent = all(isinstance(error, NotInstalledError) for error in errors)
    raise (NotInstalledError if absent else UnavailableError)("; ".join(map(str, errors)))


def _session(bundle: Bundle, runtime: str) -> Session:
    """The int8 files in a runtime; with `auto`, in the first usual runtime that is here."""
    if runtime != AUTO and runtime not in RUNTIMES:
        raise InputError(f"runtime: got {runtime!r}, must be one of {', '.join((AUTO, PROGRAM, *RUNTIMES))}")
    reasons = []
    for name in [usual(target) for target, row in TARGETS.items() if not row.source] if runtime == AUTO else [runtime]:
        target = RUNTIMES[name].format
        files = bundle.files_of(target, PRECISION)
        if not files:
            reasons.append(f"{name}: no {TARGETS[target].label} file in {bundle.path}")
            continue
        bundle.require_intact([*files.values(), *bundle.companions(target, PRECISION)])
        try:
            return RUNTIMES[name].open({signature: bundle.path / file for signature, file in files.items()})
        except UnavailableError as error:
            reasons.append(f"{name}: {error}")
    raise UnavailableError("; ".join(reasons) + f"; runtime={PROGRAM!r} needs none")
