"""A bundle whose files take samples and codes of several axes, from its assembling to its .tae files and its C folder."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

import tiedae.pipeline.trained
from tiedae.apps.c.layout import c_project
from tiedae.apps.model import app_model
from tiedae.base.errors import DataError, UnavailableError
from tiedae.bundle.bundle import Bundle
from tiedae.bundle.results import FILE, read_metrics
from tiedae.cli import main
from tiedae.cli.app_folders import AppOptions
from tiedae.codec.codec import Codec
from tiedae.codec.opening import load
from tiedae.compress import TiedAutoencoder
from tiedae.export.kinds import Kind
from tiedae.pipeline.assemble import assemble
from tiedae.program.lowering import lower
from tiedae.program.program import Program

from ..export.c.compiled import built_check, compiler, write_project
from ..export.shapes import registered, shaped
from ..gate import test_gate
from ..gate.test_gate import FOLDER, JOBS, samples_of, write_of
from ..pages import blocks_of
from ..variants import every

SAMPLES = (16, 8, 2)
CODES = (4, 2)


def lowered(model: TiedAutoencoder, name: str, *, layout) -> Program:
    return shaped(lower(model, name, layout=layout), (), SAMPLES, CODES)


@pytest.fixture(scope="module", autouse=True)
def operations() -> Iterator[None]:
    with registered():
        yield


def written(name: str, folder: Path, *, shape: bool, whole: bool) -> Codec:
    """The bundle of a model of the gate with tensors of one axis, or of `shape`; `whole`: with metrics and pages."""
    model = TiedAutoencoder.load(FOLDER / f"{name}.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        if whole:
            alone = structs.replace(JOBS[name].export, stock=False)
            patch.setitem(JOBS, name, dataclasses.replace(JOBS[name], export=alone))
            patch.setattr(test_gate, "write_bundle", assemble)
        if shape:
            patch.setattr(tiedae.pipeline.trained, "lower", lowered)
        return write_of(name, model, folder)


@pytest.fixture(scope="module")
def assembled(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    """Of floats with a scale for each value, verified, with tensors of several axes."""
    return written("unit", tmp_path_factory.mktemp("unit"), shape=True, whole=True)


@pytest.fixture(scope="module")
def assembled_flat(tmp_path_factory: pytest.TempPathFactory) -> Codec:
    """The same with tensors of one axis."""
    return written("unit", tmp_path_factory.mktemp("flat"), shape=False, whole=True)


@pytest.fixture(scope="module", params=every(2, ["int16", "floats"]))
def codecs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Codec, Codec]:
    """(with tensors of one axis, of several)."""
    if request.param == "floats":
        return request.getfixturevalue("assembled_flat"), request.getfixturevalue("assembled")
    flat, own = (written("plain", tmp_path_factory.mktemp("plain"), shape=shape, whole=False) for shape in (False, True))
    return flat, own


def bundle_of(codec: Codec) -> Bundle:
    assert codec.bundle is not None
    return codec.bundle


@pytest.mark.ci
def test_every_check_of_every_runtime_says_what_it_says_of_the_other(assembled_flat: Codec, assembled: Codec) -> None:
    """The models of the gate lose more by quantization than verification allows."""
    metrics = [read_metrics(bundle_of(codec).path / FILE) for codec in (assembled_flat, assembled)]
    flat, own = ([(c.kind, c.file, c.runtime, c.signature, c.detail, c.ok) for c in each.checks] for each in metrics)
    assert own == flat
    assert {check.kind for check in metrics[1].failed} <= {Kind.QUALITY}
    assert {kind for kind, *_ in own} >= {Kind.CODES, Kind.OPERATIONS, Kind.FLOAT, Kind.SCORE}
    assert len({runtime for _, _, runtime, *_ in own}) > 4
    errors = [[row.error for row in each.quality] for each in metrics]
    np.testing.assert_allclose(errors[1], errors[0], rtol=1e-3)  # float runtimes add in another order
    assert metrics[1].task == metrics[0].task and metrics[1].verdict == metrics[0].verdict


def test_its_files_and_golden_arrays_have_its_shapes(codecs: tuple[Codec, Codec]) -> None:
    bundle = bundle_of(codecs[1])
    shapes = {"x": ("batch", *SAMPLES), "y": ("batch", *SAMPLES), "code": ("batch", *CODES)}
    for info in bundle.manifest.models.values():
        values = [value for signature in info.signatures.values() for value in signature.values if value.name in shapes]
        assert values and all(value.shape == shapes[value.name] for value in values)
    golden, flat = bundle.golden(), bundle_of(codecs[0]).golden()
    assert golden["code"].shape == (len(golden["x"]), *CODES) and golden["y.f32"].shape == (len(golden["x"]), *SAMPLES)
    assert golden.keys() == flat.keys()
    assert all(np.array_equal(golden[name].ravel(), flat[name].ravel()) for name in golden)


@pytest.mark.ci
def test_the_programs_of_its_card_run(assembled: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = bundle_of(assembled).path
    monkeypatch.chdir(folder)
    blocks = [block.text for block in blocks_of((folder / "MODEL_CARD.md").read_text(encoding="utf-8"), "python")]
    assert len(blocks) == 3 and all("reshape(-1, 16, 8, 2)" in block for block in blocks[:2])
    for block in blocks:
        exec(compile(block, "MODEL_CARD.md", "exec", dont_inherit=True), {})


def test_its_codec_gives_the_same_values(codecs: tuple[Codec, Codec]) -> None:
    flat, own = codecs
    x = samples_of(JOBS[own.name]).test.values
    codes = own.encode(x)
    assert codes.shape == (len(x), *CODES) and own.encode(x[0]).shape == CODES
    np.testing.assert_array_equal(codes.reshape(len(x), -1), flat.encode(x))
    np.testing.assert_array_equal(own.decode(codes), flat.decode(flat.encode(x)))
    np.testing.assert_array_equal(own.decode(codes[0]), own.decode(codes)[0])
    np.testing.assert_array_equal(own.score(x), flat.score(x))
    np.testing.assert_array_equal(own.is_anomaly(x), flat.is_anomaly(x))
    with pytest.raises(DataError, match=r"^codes: code must be uint8 \[batch, 4, 2\], got uint8 \[\d+, 8\]"):
        own.decode(codes.reshape(len(x), -1))
    for runtime in ("litert-xnnpack", "ort-cpu", "c"):
        try:
            ran = load(bundle_of(own).path, runtime=runtime)
        except UnavailableError as error:
            pytest.skip(str(error))
        np.testing.assert_array_equal(ran.encode(x), load(bundle_of(flat).path, runtime=runtime).encode(x).reshape(codes.shape))
        assert ran.decode(codes).shape == x.shape


def test_its_tae_files_hold_the_same_frames(codecs: tuple[Codec, Codec]) -> None:
    """The header has another identity, so the checksums that continue from it differ; all else is equal."""
    flat, own = codecs
    x = samples_of(JOBS[own.name]).test.values
    files = [codec.compress(x, samples_per_frame=4) for codec in codecs]
    assert len(files[0]) == len(files[1])
    np.testing.assert_array_equal(own.decompress(files[1]), flat.decompress(files[0]))


def test_the_command_line_writes_and_reads_its_codes(codecs: tuple[Codec, Codec], tmp_path: Path) -> None:
    own, x = codecs[1], samples_of(JOBS[codecs[1].name]).test.values
    np.save(tmp_path / "x.npy", x.ravel() if JOBS[own.name].kind == "record" else x)
    path, codes, y = bundle_of(own).path, tmp_path / "codes.npy", tmp_path / "y.npy"
    assert main(["encode", str(path), str(tmp_path / "x.npy"), "-o", str(codes), "--runtime", "program", "-q"]) == 0
    np.testing.assert_array_equal(np.load(codes), own.encode(x))
    assert main(["decode", str(path), str(codes), "-o", str(y), "--runtime", "program", "-q"]) == 0
    np.testing.assert_array_equal(np.load(y), own.reconstruct(x))


def test_its_c_folder_checks_its_golden_samples(codecs: tuple[Codec, Codec], tmp_path: Path) -> None:
    models = [app_model(bundle_of(codec), AppOptions(), 12) for codec in codecs]
    np.testing.assert_array_equal(models[0].golden.code, models[1].golden.code)
    np.testing.assert_array_equal(models[0].golden.decoded, models[1].golden.decoded)
    compiler()
    check = built_check(write_project(c_project(models[1].source, models[1].golden), tmp_path / "c"), tmp_path / "check")
    done = subprocess.run([check], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
