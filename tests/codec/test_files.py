"""The files of a bundle as a codec's backend: which of them hold a whole model, and what they are given."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from tiedae.bundle.bundle import Bundle
from tiedae.bundle.manifest import ModelFileInfo
from tiedae.codec.backends import FileBackend, ProgramBackend
from tiedae.codec.opening import codec_of, load, open_files
from tiedae.config.sample_spec import SampleSpec
from tiedae.config.scaling import Scaling
from tiedae.program.file_io import FileIO
from tiedae.program.lowering import lower
from tiedae.runtimes.table import RUNTIMES

from ..program.test_lowering import quantized


def with_signatures(folder: Path, *names: str) -> Bundle:
    """A bundle whose files have these signatures alone."""
    bundle = Bundle.open(folder)
    files = {
        file: structs.replace(info, signatures={name: each for name, each in info.signatures.items() if name in names})
        if isinstance(info, ModelFileInfo)
        else info
        for file, info in bundle.manifest.files.items()
    }
    return dataclasses.replace(bundle, manifest=structs.replace(bundle.manifest, files=files))


def test_encoder_and_decoder_are_a_whole_model(bundle: Path, samples: np.ndarray) -> None:
    parts, whole = (open_files(with_signatures(bundle, *names)) for names in (("encode", "decode"), ("reconstruct",)))
    assert isinstance(parts, FileBackend) and not parts.whole
    assert isinstance(whole, FileBackend) and whole.whole
    for found, right in zip(parts.reconstruct(samples), whole.reconstruct(samples), strict=True):
        np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("names", [(), ("encode",), ("decode",)], ids=str)
def test_files_of_a_part_are_no_backend(coded_runs: Path, names: tuple[str, ...]) -> None:
    assert open_files(with_signatures(coded_runs / "bytes" / "bundle", *names)) is None


@pytest.mark.parametrize("name", ["bytes", "table"])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "float32"])
def test_files_are_given_what_they_state(coded_runs: Path, name: str, dtype: str) -> None:
    codec = load(coded_runs / name / "bundle")
    assert isinstance(codec.backend, FileBackend)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (5, codec.spec.inputs)).astype(np.uint8) if name == "bytes" else rng.normal(size=(5, 10))
    scaled = codec.spec.scaling.apply(x)
    integers = codec.backend.x.affine.quantize(scaled)
    right = {"uint8": integers, "int8": (integers.astype(np.int16) - 128).astype(np.int8), "float32": scaled}[dtype]
    found = dataclasses.replace(codec.backend, io=FileIO(dtype)).input(x)  # pyright: ignore[reportArgumentType]
    assert found.dtype == right.dtype
    np.testing.assert_array_equal(found, right.reshape(found.shape))


@pytest.mark.parametrize("form", ["uint8", "int8", "float32", "folded"])
def test_what_files_give_is_in_the_unit_of_the_data(bundle: Path, form: str) -> None:
    codec = load(bundle)
    spec, backend = codec.spec, codec.backend
    assert isinstance(backend, FileBackend)
    integers = np.random.default_rng(0).integers(0, 256, (5, spec.inputs)).astype(np.uint8)
    scaled = backend.y.dequantize(integers)
    given = {
        "uint8": integers,
        "int8": (integers.astype(np.int16) - 128).astype(np.int8),
        "float32": scaled,
        "folded": spec.scaling.invert(scaled, np.float64).astype(np.float32),
    }[form]
    io = FileIO("float32", spec.scaling) if form == "folded" else FileIO(given.dtype.name)
    found = dataclasses.replace(backend, io=io).samples(given)
    assert found.dtype == spec.dtype
    np.testing.assert_allclose(found, spec.scaling.invert(scaled, np.float64), rtol=1e-5)


@pytest.mark.parametrize(("dtype", "right"), [("float32", "multiply"), ("uint8", "divide")])
def test_float_files_quantize_as_their_runtime_does(coded_runs: Path, dtype: str, right: str) -> None:
    backend = load(coded_runs / "table" / "bundle", runtime="litert-xnnpack").backend
    assert isinstance(backend, FileBackend) and RUNTIMES[backend.runtime].converts == "multiply"
    assert dataclasses.replace(backend, io=FileIO(dtype)).conversion == right


@pytest.mark.parametrize("form", ["view", "fused"])
def test_a_model_runs_as_the_program_that_its_quantizers_simulated(form: str) -> None:
    model = quantized("relu", "sigmoid", form=form)
    spec = SampleSpec((24,), "uint8", Scaling("byte", 0.0, 255.0))
    backend = codec_of(model, spec, "p").backend
    assert isinstance(backend, ProgramBackend)
    own = {layout: lower(model, "p", layout=layout) for layout in ("view", "fused")}  # pyright: ignore[reportArgumentType]
    assert own["view"].decoder != own["fused"].decoder
    assert backend.program.decoder == own[form].decoder
