"""Integer samples to the program's integers and back: the maps against every way of the files, for every value."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import tiedae as ta
from tiedae.base.errors import DataError, ExportError, RecipeError, UnavailableError
from tiedae.cli import main
from tiedae.codec.backends import FileBackend
from tiedae.compress.affine import BYTE, Quantization, affine_parameters
from tiedae.config.sample_spec import INTEGERS, SampleSpec
from tiedae.config.scaling import Scaling
from tiedae.data.samples import Samples
from tiedae.program import integer_maps
from tiedae.program.integer_maps import IntegerMaps, LinearMap, differing, fit
from tiedae.program.interpreter import CONVERSIONS, input_integers

from ..samples import curve
from ..without_openvino import without_openvino

STEP_OF_TWO = Scaling("minmax", 1000.0, 510.0), BYTE
"""Each step of x is two counts, so every second count lies on a tie."""


def spec_of(dtype: str, scaling: Scaling) -> SampleSpec:
    return SampleSpec((3,), dtype, scaling, "record")


@st.composite
def cases(draw: st.DrawFn) -> tuple[SampleSpec, Quantization, Quantization]:
    dtype = draw(st.sampled_from(INTEGERS))
    limits = np.iinfo(dtype)
    span = draw(st.integers(2, int(limits.max) - int(limits.min)))
    low = draw(st.integers(int(limits.min), int(limits.max) - span))
    rule = draw(st.sampled_from(["minmax", "standard"]))
    part = draw(st.sampled_from([1.0, 0.5, 1 / 3, 0.01]))
    scaling = Scaling(rule, float(low), float(span * part))
    whole = Quantization(*affine_parameters(-draw(st.floats(0, 8)), draw(st.floats(0.5, 8))))
    x, y = (draw(st.sampled_from([BYTE, Quantization(1 / 256, 0), whole])) for _ in range(2))
    return spec_of(dtype, scaling), x, y


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_maps_equal_every_way_of_the_files_for_every_value(case: tuple[SampleSpec, Quantization, Quantization]) -> None:
    spec, x, y = case
    maps, scaling = fit(spec, x, y)
    assert maps is not None
    limits = np.iinfo(spec.dtype)
    values = np.arange(limits.min, limits.max + 1).astype(spec.dtype)[:, None]
    scaled = scaling.apply(values)
    for conversion in CONVERSIONS:
        np.testing.assert_array_equal(maps.program_input(values), input_integers(x, scaled, conversion))
    outputs = np.arange(256, dtype=np.uint8)[:, None]
    restored = np.clip(np.rint(scaling.restore(y.dequantize(outputs))), limits.min, limits.max)
    np.testing.assert_array_equal(maps.samples(outputs, spec.dtype), restored)
    np.testing.assert_array_equal(maps.samples(outputs, spec.dtype), scaling.invert(y.dequantize(outputs), spec.dtype))
    assert maps.samples(outputs, spec.dtype).dtype == spec.dtype
    assert differing(maps, replace(spec, scaling=scaling), x, y) == 0
    step = np.multiply(spec.scaling.scale, x.scale)
    assert abs(np.subtract(scaling.offset, spec.scaling.offset)) <= 0.5 * min(1, step)


def test_without_a_move_of_the_offset_ties_differ() -> None:
    scaling, x = STEP_OF_TWO
    values = np.arange(-32768, 32768).astype(np.int16)[:, None]
    ways = [input_integers(x, scaling.apply(values), conversion) for conversion in CONVERSIONS]
    assert np.count_nonzero(ways[0] != ways[2]) > 10
    maps, moved = fit(spec_of("int16", scaling), x, BYTE)
    assert maps is not None and moved.scale == scaling.scale and moved.offset != scaling.offset
    assert moved.rule == "minmax"


def test_one_map_per_feature() -> None:
    scaling = Scaling("standard", (1000.0, -20.0, 7.0), (120.0, 3.5, 7.0))
    x = y = Quantization(*affine_parameters(-3, 3))
    maps, moved = fit(spec_of("int16", scaling), x, y)
    assert maps is not None
    assert [len(each.shift) for each in (maps.x, maps.y)] == [3, 3] and isinstance(moved.offset, tuple)
    samples = np.array([[1000, -20, 7], [880, -13, 14], [32767, -32768, 0]], np.int16)
    np.testing.assert_array_equal(maps.program_input(samples), x.quantize(moved.apply(samples)))
    wrong = IntegerMaps(maps.x, replace(maps.y, addend=(*maps.y.addend[:2], maps.y.addend[2] + (1 << maps.y.shift[2]))))
    assert differing(wrong, spec_of("int16", moved), x, y) == 256


@pytest.mark.parametrize(
    ("dtype", "scaling"), [("float32", Scaling("minmax", 1.0, 2.0)), ("uint8", Scaling("byte", 0.0, 255.0))]
)
def test_floats_and_bytes_have_no_maps(dtype: str, scaling: Scaling) -> None:
    assert fit(spec_of(dtype, scaling), BYTE, BYTE) == (None, scaling)


def test_an_offset_without_maps_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integer_maps, "NUDGES", 0)
    scaling, x = STEP_OF_TWO
    with pytest.raises(ExportError, match=r"no offset near 1000 with scale 510 maps every int16 value .*give them as float32"):
        fit(spec_of("int16", scaling), x, BYTE)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        (((1, 2), (0,), (3,)), r"multiplier, addend, shift: got \[2, 1, 1\], must be equally many"),
        (((1,), (0,), (41,)), r"shift: got \(41,\), must be in 0…40"),
        (((1 << 46,), (0,), (3,)), "such that no sum reaches 2⁶²"),
        (((-(1 << 46),), (0,), (3,)), "such that no sum reaches 2⁶²"),
        (((0,), (1 << 62,), (3,)), "such that no sum reaches 2⁶²"),
        (((1, (1 << 46) - 1), (0, -(1 << 16)), (3, 3)), "such that no sum reaches 2⁶²"),
    ],
)
def test_damaged_maps_are_refused(fields: tuple, match: str) -> None:
    with pytest.raises(RecipeError, match=match):
        LinearMap(*fields)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_map_does_not_overflow(sign: int) -> None:
    multiplier, addend = sign * ((1 << 46) - 1), sign * ((1 << 16) - 1)
    values = np.array([-32768, -1, 0, 65535])
    right = [(value * multiplier + addend) >> 40 for value in values.tolist()]
    assert LinearMap((multiplier,), (addend,), (40,)).apply(values, -(1 << 40), 1 << 40).tolist() == right


@pytest.fixture(scope="module")
def counts_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on int16 windows that reach both ends of the dtype, whose steps of x are about 257 counts."""
    folder = tmp_path_factory.mktemp("counts")
    record = np.rint(curve(400, 16) * 65535 - 32768).astype(np.int16)
    record[0, :2] = -32768, 32767
    np.save(folder / "counts.npy", record.reshape(-1))
    (folder / "counts.toml").write_text(
        'name = "counts"\n[data]\nsource = "counts.npy"\nwindow = 16\n[model]\nlayers = [{ units = 8 }, { units = 4 }]\n'
        "[train]\nepochs = 2\n[quantize]\nepochs = 1\nsamples = 64\n[export]\nstock = false\n"
        "[verify]\nmax_quality_loss = 100.0\n"
    )
    with without_openvino():
        assert main(["run", str(folder / "counts.toml"), "--out", str(folder / "out"), "-q"]) == 0
    return folder / "out"


ALL_COUNTS = np.arange(-32768, 32768).astype(np.int16).reshape(-1, 16)


EXACT = ("litert-xnnpack", "ort-cpu")
"""Runtimes that requantize as the program does, so that equal inputs have equal codes."""


@pytest.mark.parametrize("runtime", ["litert-xnnpack", "litert-builtin", "litert-reference", "tflm", "ort-cpu"])
def test_every_count_is_the_program_s_input_in_every_runtime(counts_run: Path, runtime: str) -> None:
    reference = ta.load(counts_run, runtime="program")
    try:
        codec = ta.load(counts_run, runtime=runtime)
    except UnavailableError as error:
        pytest.skip(str(error))
    assert isinstance(codec.backend, FileBackend)
    traced = codec.backend.session.trace("encode", codec.backend.input(ALL_COUNTS))
    np.testing.assert_array_equal(traced["x"], reference.backend.input(ALL_COUNTS))
    if runtime in EXACT:
        np.testing.assert_array_equal(codec.encode(ALL_COUNTS), reference.encode(ALL_COUNTS))


def test_integer_samples_stay_integers_in_a_bundle(counts_run: Path) -> None:
    manifest = json.loads((counts_run / "bundle" / "manifest.json").read_text())
    assert manifest["data"]["dtype"] == "int16" and manifest["integer_maps"]["x"]["multiplier"]
    golden = np.load(counts_run / "bundle" / "golden" / "x.npy")
    assert golden.dtype == np.int16
    codec = ta.load(counts_run)
    assert codec.reconstruct(golden).dtype == np.int16
    for options in ({"lossless": True}, {"max_error": 3}):
        back = codec.decompress(codec.compress(ALL_COUNTS, **options))
        assert back.dtype == np.int16
        assert np.abs(back.astype(int) - ALL_COUNTS).max() <= options.get("max_error", 0)


@pytest.mark.parametrize("kind", [np.int16, np.int64, np.float64])
def test_whole_numbers_of_other_dtypes_are_taken(counts_run: Path, kind: type) -> None:
    codec = ta.load(counts_run)
    np.testing.assert_array_equal(codec.encode(ALL_COUNTS[:9].astype(kind)), codec.encode(ALL_COUNTS[:9]))
    assert codec.compress(ALL_COUNTS[:9].astype(kind), lossless=True) == codec.compress(ALL_COUNTS[:9], lossless=True)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (np.full((2, 16), 40_000), "got 40000, must be whole numbers in -32768…32767, of int16, in the unit of measure"),
        (np.full((2, 16), 0.5), "got 0.5, must be whole numbers"),
        (np.full((2, 16), np.nan), "got nan, must be whole numbers"),
        (np.zeros((2, 16), bool), "got bool, must be int16, or whole numbers in its range"),
    ],
)
def test_numbers_that_the_dtype_does_not_have_are_refused(counts_run: Path, values: np.ndarray, match: str) -> None:
    with pytest.raises(DataError, match=match):
        ta.load(counts_run).encode(values)


def test_verify_finds_a_map_that_is_not_that_of_the_files(counts_run: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(counts_run / "bundle", bundle)
    with without_openvino():
        assert main(["verify", str(bundle), "-q"]) == 0
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["integer_maps"]["x"]["addend"][0] += 1 << manifest["integer_maps"]["x"]["shift"][0] - 4
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with without_openvino():
        assert main(["verify", str(bundle), "-q"]) == 1


def test_samples_keep_the_dtype_of_integers() -> None:
    names = {name: Samples(np.zeros((2, 3), name)).dtype.name for name in (*INTEGERS, ">i2", "int8", "int32", "bool")}
    assert names == dict(zip(INTEGERS, INTEGERS, strict=True)) | {">i2": "int16"} | dict.fromkeys(
        ("int8", "int32", "bool"), "float32"
    )
