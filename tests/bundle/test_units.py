"""Files whose float x and y are in the data's unit of measure: raw samples in, the program's codes and such samples out."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tiedae as ta
from tiedae.base.errors import ExportError, UnavailableError
from tiedae.base.records import encode
from tiedae.bundle.bundle import Bundle, Programs, model_files, write_files
from tiedae.bundle.golden import answers, expectations
from tiedae.bundle.manifest import read
from tiedae.cli import main
from tiedae.compress import ExportConfig
from tiedae.compress.affine import Quantization
from tiedae.config.scaling import Scaling
from tiedae.export.storage_check import prove_scaling
from tiedae.export.targets import read_model
from tiedae.export.tflite.writer import to_tflite
from tiedae.pipeline.trained import coarse_text
from tiedae.program.file_io import OFFSET, SCALE, FileIO
from tiedae.program.interpreter import execute
from tiedae.program.program import Program
from tiedae.runtimes.table import RUNTIMES
from tiedae.verify.parity.assertion import assert_parity

from ..earlier_models import models_of
from ..variants import every
from ..without_openvino import without_openvino
from .test_golden import run_onnx, run_tflite, same, ties

INPUTS = 20
SCALINGS = {
    "one": Scaling("minmax", -3.0, 7.3),
    "features": Scaling("standard", tuple(np.linspace(-400, -0.01, INPUTS)), tuple(np.logspace(-2, 3, INPUTS))),
    "none": Scaling(),
}


@pytest.fixture(params=[("tensor", 1), ("unit", 4)], ids=["tensor", "unit, interleaved"])
def programs(request: pytest.FixtureRequest, make_program: Callable[..., Program]) -> dict[str, Programs]:
    granularity, interleave = request.param
    options = {"output_activation": "linear", "byte_data": False, "interleave": interleave, "granularity": granularity}
    return {
        precision: Programs(*(make_program(form=form, quantized=precision == "int8", **options) for form in ("split", "fused")))
        for precision in ("int8", "f32")
    }


@pytest.mark.parametrize("name", list(SCALINGS))
def test_files_take_raw_samples_at_ties_too(name: str, programs: dict[str, Programs], tmp_path: Path) -> None:
    scaling, program = SCALINGS[name], programs["int8"].fused
    io, config = FileIO.of(ExportConfig(), scaling, "float32"), ExportConfig()
    assert io == FileIO("float32", scaling)
    write_files(tmp_path, model_files(programs, config, io))
    x = scaling.restore(ties(program, 400))
    scaled = scaling.apply(x)
    steps = scaled / np.float32(program.quantization("x").scale)
    assert np.count_nonzero(np.abs(steps - np.trunc(steps)) == 0.5) > 30, "the samples must scale to ties"
    golden = answers(expectations(programs["int8"], config.targets, scaled, io), io)
    onnx, encoded = (run_onnx(tmp_path / f"toy.{part}int8.onnx", "x", x) for part in ("", "encoder."))
    assert same(onnx["code"], golden["code"]) and same(encoded["code"], golden["code"]) and same(onnx["y"], golden["y"])
    assert same(run_onnx(tmp_path / "toy.decoder.int8.onnx", "code", golden["code"])["y"], golden["y"])
    tflite = run_tflite(tmp_path / "toy.int8.tflite", "reconstruct", "x", x)
    assert same(tflite["code"], golden.get("code.tflite", golden["code"])) and same(tflite["y"], golden["y.tflite"])
    floats = execute(programs["f32"].fused, "reconstruct", scaled)
    for got in (
        run_onnx(tmp_path / "toy.f32.onnx", "x", x),
        run_tflite(tmp_path / "toy.f32.tflite", "reconstruct", "x", x),
    ):
        np.testing.assert_allclose(got["code"], floats["code"], rtol=0, atol=1e-5 * np.abs(floats["code"]).max())
        allowed = 1e-5 * np.abs(floats["y"]).max() + io.resolution(floats["y"])
        np.testing.assert_allclose(io.scaled_values(got["y"]), floats["y"], rtol=0, atol=allowed)
        assert not np.allclose(got["y"], floats["y"]) or name == "none"


@pytest.mark.parametrize("runtime", [name for name, row in RUNTIMES.items() if row.rounding != "openvino" and name != "c"])
def test_every_runtime_shows_x_and_y_of_the_program(runtime: str, programs: dict[str, Programs], tmp_path: Path) -> None:
    scaling = SCALINGS["features"]
    write_files(tmp_path, model_files(programs, ExportConfig(), FileIO("float32", scaling)))
    row, samples = RUNTIMES[runtime], ties(programs["int8"].fused, 50)
    for precision in row.precisions:
        program, suffix = programs[precision].of(row.format), {"tflite": ".tflite", "onnx": ".onnx"}[row.format]
        try:
            session = row.open({"reconstruct": tmp_path / f"toy.{precision}{suffix}"})
        except UnavailableError as error:
            pytest.skip(str(error))
        traced = session.trace("reconstruct", scaling.restore(samples))
        if not traced:
            return
        x = scaling.apply(scaling.restore(samples))
        assert traced["x"].dtype == traced["y"].dtype == program.tensors["x"].dtype
        if precision == "f32":
            np.testing.assert_array_equal(traced["x"], x)
            np.testing.assert_allclose(traced["y"], execute(program, "reconstruct", x)["y"], atol=1e-4)


def test_integers_bytes_and_no_scaling_change_no_file(make_program: Callable[..., Program]) -> None:
    program, scaling = make_program(form="split", byte_data=False), SCALINGS["one"]
    for dtype in ("uint8", "int8"):
        assert to_tflite(program, io=FileIO(dtype, scaling)) == to_tflite(program, io=dtype)
    assert to_tflite(program, io=FileIO("float32", Scaling())) == to_tflite(program, io="float32")
    byte = Scaling("byte", 0.0, 255.0)
    assert FileIO.of(ExportConfig(), byte, "uint8") == FileIO("uint8") and FileIO.of(ExportConfig(), byte, "int16").scaling
    assert FileIO.of(ExportConfig(scaled=True), scaling, "float32") == FileIO("float32")


def test_a_scaling_of_another_size_or_beyond_float32_is_refused(make_program: Callable[..., Program]) -> None:
    with pytest.raises(ExportError, match="scaling: got 3 offsets and scales, must be one, or 20, one per input"):
        to_tflite(make_program(form="split", byte_data=False), io=FileIO("float32", Scaling("minmax", (0.0,) * 3, (1.0,) * 3)))
    for scale in (1e-45, 1e39):
        with pytest.raises(ExportError, match=r"must be float32 numbers, or .* scaled = true"):
            FileIO("float32", Scaling("minmax", 0.0, scale))


NUMBERS = st.floats(-1e6, 1e6, width=32)


@given(NUMBERS, st.floats(2**-20, 2**20, width=32), st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=20))
def test_a_round_trip_through_the_unit_stays_within_the_resolution(offset: float, scale: float, values: list[float]) -> None:
    io, y = FileIO("float32", Scaling("standard", offset, scale)), np.array(values, np.float32)
    assert np.abs(io.scaled_values(io.restored(y)).astype(np.float64) - y).max() <= io.resolution(y)


def test_the_resolution_is_no_larger_than_needed() -> None:
    rng = np.random.default_rng(0)
    for ratio in (1e2, 1e4, 1e6):
        io, y = FileIO("float32", Scaling("standard", ratio, 1.0)), rng.uniform(-1, 1, 10_000).astype(np.float32)
        assert np.abs(io.scaled_values(io.restored(y)) - y).max() > io.resolution(y) / 5


def test_a_column_too_coarse_for_float32_is_named() -> None:
    x, columns = Quantization(float(np.float32(2 / 255)), 128), ("a", "time", "c")
    io = FileIO("float32", Scaling("standard", (0.0, 1.7e9, 3e5), (1.0, 1e4, 1.0)))
    text = coarse_text(io, x, columns)
    assert text.startswith("float32 is coarse for c in its own unit of measure (1 more like it)") and "scaled = true" in text
    assert [index for index, *_ in io.coarse(x)] == [2, 1]
    assert coarse_text(FileIO("float32", Scaling("minmax", 1e7, 1.0)), x, None).startswith("float32 is coarse for the data")
    assert not coarse_text(FileIO("float32", SCALINGS["one"]), x, None) and not coarse_text(FileIO("float32"), x, None)


@pytest.mark.parametrize("name", ["table.int8.tflite", "table.f32.tflite", "table.int8.onnx", "table.encoder.f32.onnx"])
@pytest.mark.parametrize("constant", every(2, [OFFSET, SCALE]))
def test_one_bit_of_the_scaling_is_found_and_named(
    name: str, constant: str, float_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = Path(shutil.copytree(float_run / "bundle", tmp_path / "bundle"))
    io, path = read(bundle).io, bundle / name
    assert prove_scaling(read_model(path), io.constants((10,))).ok
    values = io.constants((10,))[constant]
    data = path.read_bytes()
    assert data.count(values.tobytes()) == 1, "offset and scale must be stored once"
    changed = values.copy()
    changed[3] = np.nextafter(changed[3], np.float32(np.inf))
    path.write_bytes(data.replace(values.tobytes(), changed.tobytes()))
    manifest = json.loads((bundle / "manifest.json").read_bytes())
    manifest["files"][name]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (bundle / "manifest.json").write_bytes(encode(manifest))
    with without_openvino():
        assert main(["verify", str(bundle), "-q"]) == 1
    assert f"{name}: scaling: 1 of 10 values of {constant} differ from the manifest's, first at [3]" in capsys.readouterr().err


def test_a_file_in_the_other_unit_is_found(float_run: Path) -> None:
    contents, io = read_model(float_run / "bundle" / "table.int8.onnx"), read(float_run / "bundle").io
    assert "1 constants scaling.offset, expected none" in prove_scaling(contents, {}).text
    assert io.folded is not None
    other = FileIO("float32", Scaling("minmax", 0.0, 2.0))
    assert "float32 [10], expected float32 []" in prove_scaling(contents, other.constants((10,))).text


def test_a_bundle_is_the_reference_of_its_files_in_their_unit(float_run: Path) -> None:
    bundle = Bundle.open(float_run / "bundle")
    for name, info in bundle.manifest.models.items():
        for signature in info.signatures if info.precision == "int8" else ():
            report = assert_parity(bundle, bundle.path / name, signature=signature, equal_share=1.0, max_lsb=0)
            assert all(each.largest < 1e-3 for each in report.outputs)
        scaled = {each.scaled for signature in info.signatures.values() for each in signature.values if each.name != "code"}
        assert scaled == {False}


@pytest.mark.ci
def test_codes_do_not_depend_on_the_unit_of_the_files(tmp_path: Path) -> None:
    """The ECG recipe, 80 int16 windows, trained for a moment: raw windows as float32 give the codes of scaled values."""
    np.save(tmp_path / "part.npy", ta.load_data("ecg").test.take(slice(80)).ravel())
    text = (Path(ta.__file__).parent / "assets" / "ecg.toml").read_text(encoding="utf-8")
    text = re.sub(r"epochs = \d+", "epochs = 1", text).replace("stride = 4 ", "stride = 128 ")
    text = text.replace('source = "ecg" ', 'source = "part.npy" ')
    codes, verify = {}, "[verify]\nmax_quality_loss = 100.0\n"
    for scaled in ("false", "true"):
        recipe = tmp_path / f"{scaled}.toml"
        recipe.write_text(f"{text}\n[export]\nstock = false\nscaled = {scaled}\n{verify}", encoding="utf-8")
        with without_openvino(), models_of(tmp_path / "false") if scaled == "true" else nullcontext():
            assert main(["run", str(recipe), "--out", str(tmp_path / scaled), "-q"]) == 0
        x = np.load(tmp_path / scaled / "bundle" / "golden" / "x.npy")
        raw = x.astype(np.int16)
        np.testing.assert_array_equal(raw, x)
        runtimes = ("litert-xnnpack", "ort-cpu", "program")
        codecs = [ta.load(tmp_path / scaled, runtime=runtime) for runtime in runtimes]
        codes[scaled] = [codec.encode(raw.astype(np.float32)) for codec in codecs]
        assert all(np.array_equal(codec.encode(raw), own) for codec, own in zip(codecs, codes[scaled], strict=True))
    for own, other in zip(codes["false"], codes["true"], strict=True):
        np.testing.assert_array_equal(own, other)
