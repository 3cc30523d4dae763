"""Rate and distortion: real files, PCA against a direct computation, image and lossless coders against their own decoders."""

from __future__ import annotations

import dataclasses
import io
import itertools
import lzma
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tiedae.base.records import decode, plain
from tiedae.bundle.results import read_metrics
from tiedae.bundle.task_results import CompressionResult, RatePoint
from tiedae.calibration import quantize_post_training, representative
from tiedae.codec.backends import ProgramBackend
from tiedae.codec.frames import FileModel
from tiedae.codec.opening import load
from tiedae.codec.streams import StreamEncoder
from tiedae.codec.training_codes import fit_code_tables
from tiedae.compress import Dataset, NoiseConfig, QuantizeConfig, Recipe, TiedAutoencoder, TrainConfig
from tiedae.compress.float_training import train_float
from tiedae.config.config import DataConfig
from tiedae.config.sample_spec import SampleSpec
from tiedae.export import lower
from tiedae.export.kinds import Kind, Why
from tiedae.pipeline.sources import load_dataset
from tiedae.program import integer_maps
from tiedae.program.file_io import FileIO
from tiedae.report.tasks import compression as compression_view
from tiedae.tasks import arrangements, coders, compression
from tiedae.tasks.coders import (
    IMAGE_CODERS,
    LOSSLESS_CODERS,
    PcaChoice,
    Rounding,
    file_bytes,
    grid_of,
    least_quality,
    mosaic,
    tiles,
)
from tiedae.tasks.row import Exported, TaskMeasurement

from ..samples import table
from ..variants import every
from .test_denoising import blobs


def exported_of(data: Dataset, units: int = 8, epochs: int = 30) -> Exported:
    """A small net, trained and quantized, with tables of its training codes."""
    train = TrainConfig(epochs=epochs, batch_size=16, start="random")  # from PCA it is next to exact, as PCA is here
    model = TiedAutoencoder([24, units], inputs=data.inputs, output_activation="sigmoid" if data.kind == "image" else "linear")
    train_float(model, data, train)
    recipe = Recipe("c", data.config, model.config, train, quantize=QuantizeConfig(method="ptq"))
    quantize_post_training(model, representative(data.train, 128), recipe.quantize)
    program = lower(model, "c", layout="fused")
    maps, scaling = integer_maps.fit(data.spec, program.quantization("x"), program.quantization("y"))
    data = data.with_scaling(scaling)
    io = FileIO.of(recipe.export, data.scaling, data.train.dtype.name)
    backend = ProgramBackend(program, data.spec, io, maps)
    return Exported(backend, data, recipe, None, fit_code_tables(backend, data.train, 0))


def record(dtype: str) -> Dataset:
    """120 windows of the shipped ECG, in another dtype."""
    data = load_dataset(DataConfig("ecg", window=256, split="tail", test=0.2), "linear")
    values = data.train.take(slice(120)).astype(np.float64)
    whole = (values + 32_768 if dtype == "uint16" else values).astype(dtype)
    made = Dataset.from_array(whole, test=0.2, output_activation="linear", per_feature=False)
    return dataclasses.replace(made, windows=True)


@pytest.fixture(scope="module")
def images() -> Exported:
    return exported_of(Dataset.from_array(blobs(), test=0.2, validation=0.2))


@pytest.fixture(scope="module")
def measured(images: Exported) -> TaskMeasurement:
    return compression.measure(images)


def result_of(measured: TaskMeasurement) -> CompressionResult:
    assert isinstance(measured.result, CompressionResult)
    return measured.result


def own(result: CompressionResult) -> RatePoint:
    return result.points[0]


def chosen(result: CompressionResult, at: str = "error") -> dict[str, RatePoint]:
    """By coder, the point at no larger error; `bits`: the larger of the two files around our bytes."""
    return {point.coder: point for point in result.points if point.chosen == at}


def test_the_point_is_that_of_a_real_file(finished_run: Path, recipe_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a bundle: the bytes that its codec writes for the same samples, and the error of what it decodes."""
    monkeypatch.chdir(recipe_file.parent)
    metrics = read_metrics(finished_run / "bundle" / "metrics.json")
    assert isinstance(metrics.task, CompressionResult)
    result, codec = metrics.task, load(finished_run)
    test = load_dataset(DataConfig("samples.npy"), "sigmoid").test.take(np.arange(40))
    data = codec.compress(test)
    assert (result.samples, own(result).bytes, result.sample_bytes) == (40, len(data), 24)
    assert own(result).bits == 8 * len(data) / test.size
    mse = np.square(codec.decompress(data) - test.astype(float)).mean()
    assert own(result).mse == pytest.approx(mse, rel=1e-5) and own(result).value == pytest.approx(
        10 * np.log10(255**2 / mse), abs=1e-4
    )
    assert "JPEG" in {row.what for row in metrics.skipped}, "samples of 24 bytes are no pictures"
    html = (finished_run / "bundle" / "report.html").read_text(encoding="utf-8")
    assert "Rate and distortion" in html and f"{len(data):,}" in html
    assert "this codec, .tae" in (finished_run / "bundle" / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_a_file_of_codes_has_the_size_of_a_real_one(images: Exported) -> None:
    assert images.tables is not None
    model, x = FileModel(images.backend, images.tables, bytes(8)), images.data.test.take(np.arange(60))
    many = np.concatenate([x, x, x])
    encoder = StreamEncoder(model, images.backend)
    real = b"".join([*encoder.push(many), *encoder.finish()])
    assert file_bytes(images.tables, images.backend.encode(many), many[0].nbytes) == len(real)


def correlated(n: int, features: int = 12, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).normal(size=(features, features)) * np.geomspace(5, 0.05, features)[:, None]
    return (rng.normal(size=(n, features)) @ mixing + 3).astype(np.float32)


def test_costs_of_pca_are_those_of_coding_and_decoding() -> None:
    """Bits and errors that add up over components equal those of a coder that is run on the held samples."""
    train, held = correlated(400), correlated(200, seed=1)
    choice = PcaChoice(train, held)
    centred = train - train.mean(axis=0, dtype=np.float64)
    axes = np.linalg.svd(centred, full_matrices=False)[2].T
    for bits in (10.0, 20.0, 30.0):
        coder = choice.at(bits)
        assert coder is not None
        codes, units, step = coder.encode(held), coder.pca.components.shape[1], coder.rounding.step
        cost, error = (each[units - 1] for each in choice.costs(step))
        assert coder.tables.cross_entropy(codes) / len(held) == pytest.approx(cost) and 0.9 * bits < cost <= bits
        assert np.square(coder.decode(codes) - held).sum(axis=1).mean() == pytest.approx(error, rel=1e-6)
        values = centred @ axes[:, :units]
        direct = np.square(step * np.rint(values / step) @ axes[:, :units].T - centred).sum(axis=1).mean()
        assert np.square(coder.decode(coder.encode(train)) - train).sum(axis=1).mean() == pytest.approx(direct, rel=1e-5)


def test_the_best_number_of_components_and_step_are_chosen() -> None:
    choice = PcaChoice(correlated(400), correlated(200, seed=1))
    coder = choice.at(20.0)
    assert coder is not None
    for multiple in coders.STEPS:
        choice.costs(multiple * float(choice._values[:, 0].std()))
    allowed = [
        error
        for cost, errors in choice._costs.values()
        for bits, error in zip(cost, errors, strict=True)
        if 0.9 * 20 < bits <= 20
    ]
    assert choice.costs(coder.rounding.step)[1][coder.pca.components.shape[1] - 1] == min(allowed)
    assert choice.at(1e4) is None and choice.at(1e-3) is None


def fitted_and_held(exported: Exported) -> tuple[np.ndarray, np.ndarray]:
    train, samples, chosen = exported.held_apart(compression.HELD_SAMPLES, 5, compression.TRAINING_SAMPLES)
    return exported.data.train.take(train), samples.take(chosen)


def test_the_scaling_and_the_curve_of_pca_are_chosen_without_the_test_set(
    images: Exported, measured: TaskMeasurement, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another test set leaves the curve's settings as they are; another validation set does not."""
    monkeypatch.setattr(coders, "find_spec", lambda name: None)

    def curve(exported: Exported) -> list[str]:
        found = result_of(compression.measure(exported))
        return [point.setting for point in found.points if point.coder == "pca" and not point.chosen]

    data = images.data
    settings = [point.setting for point in result_of(measured).points if point.coder == "pca" and not point.chosen]
    assert curve(dataclasses.replace(images, data=dataclasses.replace(data, test=data.validation))) == settings
    assert data.validation is not None
    few = dataclasses.replace(data.validation, rows=data.validation.rows[:8])
    assert curve(dataclasses.replace(images, data=dataclasses.replace(data, validation=few))) != settings
    train, held = fitted_and_held(dataclasses.replace(images, data=dataclasses.replace(data, validation=None)))
    assert len(held) == len(data.train) // 5 and not {row.tobytes() for row in train} & {row.tobytes() for row in held}


def test_pca_is_fitted_to_some_samples_and_chosen_on_others(images: Exported, measured: TaskMeasurement) -> None:
    """Chosen on the samples that it is fitted to, it has other components or another step."""
    train, held = fitted_and_held(images)
    assert images.tables is not None
    apply, bits = images.data.scaling.apply, images.tables.cross_entropy(images.backend.encode(held)) / len(held)
    right, wrong = (coders.PcaChoice(apply(train), apply(on)).at(bits) for on in (held, train))
    settings = [point.setting for point in result_of(measured).points if point.coder == "pca"]
    assert right is not None and right.setting in settings
    assert wrong is None or wrong.setting not in settings


def test_the_contest_holds_the_errors_of_the_table(images: Exported, measured: TaskMeasurement) -> None:
    result, contest = result_of(measured), measured.contest
    assert contest is not None and len(contest.own) == result.samples
    assert contest.own.mean() == pytest.approx(own(result).mse, rel=1e-6)
    smaller, larger = (point for point in result.points if (point.coder, point.chosen) == ("pca", "bits"))
    assert smaller.bytes <= own(result).bytes < larger.bytes <= 1.1 * smaller.bytes
    at = (own(result).bytes - smaller.bytes) / (larger.bytes - smaller.bytes)
    assert contest.baselines["pca"].mean() == pytest.approx(smaller.mse ** (1 - at) * larger.mse**at, rel=1e-6)
    train, test = images.data.train.take(slice(None)), images.data.test.take(contest.rows)
    mean = np.square(test - train.mean(axis=0, dtype=np.float64)).mean(axis=1)
    np.testing.assert_allclose(contest.baselines["mean"], mean, rtol=1e-4)
    assert smaller.setting in contest.settings["pca"]
    alone = compression.measure(dataclasses.replace(images, others=False)).contest
    assert alone is not None and not alone.baselines and np.array_equal(alone.own, contest.own)


def test_what_is_equal_is_nearly_equal(measured: TaskMeasurement) -> None:
    result = result_of(measured)
    ours, others = own(result), chosen(result)
    assert chosen(result, "bits")["pca"].bits == pytest.approx(ours.bits, rel=0.1)
    assert all(others[name].chosen == "error" and others[name].mse <= ours.mse for name in ("jpeg", "webp", "avif"))
    assert ours.ssim is not None and 0.5 < ours.ssim <= 1 and result.samples == 60
    assert [point.ssim is not None for point in result.points] == [
        point.coder == "tied" or bool(point.chosen) for point in result.points
    ]
    for coder in ("pca", "jpeg", "webp", "avif"):
        curve = sorted((point.bits, point.mse) for point in result.points if point.coder == coder and not point.chosen)
        errors = [mse for _, mse in curve]
        assert len(curve) > 2 and all(after <= 1.1 * before for before, after in itertools.pairwise(errors))


@given(st.integers(1, 400))
def test_a_mosaic_is_nearly_square_and_wastes_little(count: int) -> None:
    rows, columns = grid_of(count)
    assert columns <= rows <= 4 * columns + 3 and 0.75 * count <= rows * columns <= count
    images = np.random.default_rng(count).integers(0, 256, (rows * columns, 2, 3, 3), dtype=np.uint8)
    picture = mosaic(images)
    assert picture.shape == (2 * rows, 3 * columns, 3) and np.array_equal(picture[-2:, -3:], images[-1])
    assert np.array_equal(tiles(picture, (2, 3, 3), len(images)), images)


@pytest.mark.parametrize("shape", [(40, 24), (40, 24, 1), (40, 24, 3)])
@pytest.mark.parametrize("name", IMAGE_CODERS)
def test_an_image_coder_gives_the_size_of_a_file_and_what_it_decodes_to(name: Any, shape: tuple[int, ...]) -> None:
    from PIL import Image

    picture = np.resize(blobs(8, 24), shape).astype(np.uint8)
    size, back = IMAGE_CODERS[name].code(picture, 90)
    rough, worse = IMAGE_CODERS[name].code(picture, 5)
    assert back.shape == picture.shape and back.dtype == np.uint8 and rough < size
    errors = [np.square(each - picture.astype(float)).mean() for each in (back, worse)]
    assert errors[0] < errors[1] and errors[0] < 120
    buffer = io.BytesIO()
    flat = picture[..., 0] if shape[2:] == (1,) else picture
    Image.fromarray(flat).save(buffer, name, quality=90, **IMAGE_CODERS[name].options)
    assert size == len(buffer.getvalue())


def test_a_file_holds_so_many_images_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole rows of the mosaic: 60 images in 10 rows of 6 are 24, 24 and 12 where 29 go together."""
    pictures: list[np.ndarray] = []

    def code(_coder: Any, picture: np.ndarray, _quality: int) -> tuple[int, np.ndarray]:
        pictures.append(picture)
        return len(picture), picture

    monkeypatch.setattr(coders.ImageCoder, "code", code)
    images = blobs(60)
    size, back = dataclasses.replace(IMAGE_CODERS["avif"], together=29).code_images(images, 50)
    assert [len(picture) // 12 * picture.shape[1] // 12 for picture in pictures] == [24, 24, 12]
    assert size == 120 and np.array_equal(back, images) and IMAGE_CODERS["avif"].together == 1000


def test_a_pillow_without_the_format_says_so() -> None:
    assert dataclasses.replace(IMAGE_CODERS["avif"], feature="avif2").missing == "this Pillow has no avif2"


@given(st.integers(0, 101), st.sampled_from([(0, 50), (0, 10, 90), (5, 100), (0,)]))
def test_the_least_quality_of_an_error(wanted: int, known: tuple[int, ...]) -> None:
    def error(quality: int) -> float:
        return 100.0 - quality

    right = next((quality for quality in range(known[0], 101) if error(quality) <= 101 - wanted), None)
    assert least_quality({quality: error(quality) for quality in known}, 101.0 - wanted, error) == right


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16"])
@pytest.mark.parametrize("channels", [1, 2])
def test_differences_add_up_again(dtype: str, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    info = np.iinfo(dtype)
    samples = np.random.default_rng(0).integers(info.min, info.max + 1, (50, channels)).astype(dtype)
    written: list[bytes] = []
    pack = lzma.compress
    monkeypatch.setattr(lzma, "compress", lambda data, **options: written.append(pack(data, **options)) or written[-1])
    assert LOSSLESS_CODERS[0].size(samples) == len(written[0])
    changes = np.frombuffer(lzma.decompress(written[0]), dtype).reshape(channels, 50)
    assert np.array_equal(changes.cumsum(axis=1, dtype=dtype).T, samples)


def test_flac_takes_the_smaller_of_pairs_and_all_channels() -> None:
    pytest.importorskip("soundfile", reason="soundfile is not installed: pip install 'tiedae[tasks]'")
    walk = np.random.default_rng(0).integers(-40, 41, (4000, 5)).cumsum(axis=0).astype(np.int16)
    flac, noise = LOSSLESS_CODERS[1].size, np.random.default_rng(1).integers(-2, 3, walk.shape).astype(np.int16)
    pairs = np.stack([walk, walk + noise], axis=2).reshape(4000, 10)
    assert flac(pairs) == sum(flac(pairs[:, at : at + 2]) for at in range(0, 10, 2)) < 0.8 * 2 * flac(walk)
    assert flac(walk[:, :3]) < flac(walk[:, :2]) + flac(walk[:, 2:3])


@pytest.mark.parametrize("dtype", ["int16", "uint16"])
def test_flac_gives_the_samples_back(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed: pip install 'tiedae[tasks]'")
    info, written = np.iinfo(dtype), []
    samples = np.random.default_rng(0).integers(info.min, info.max + 1, (500, 2)).astype(dtype)
    write = soundfile.write
    monkeypatch.setattr(soundfile, "write", lambda file, *a, **o: (write(file, *a, **o), written.append(file.getvalue())))
    assert LOSSLESS_CODERS[1].size(samples) == len(written[0])
    back, _ = soundfile.read(io.BytesIO(written[0]), dtype="int16")
    assert np.array_equal(back if dtype == "int16" else back.view(np.uint16) ^ np.uint16(1 << 15), samples)


@pytest.mark.parametrize("dtype", every(3, ["int16", "uint16", "float32"]))
def test_records(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real windows: integers and floats have the same quality; lossless coders take integers alone."""
    monkeypatch.setattr(coders, "find_spec", lambda name: None)
    found = compression.measure(exported_of(record(dtype), epochs=20))
    result = result_of(found)
    assert (result.measure, result.unit) == ("PRDN", "%") and {point.coder for point in result.points} == {"tied", "pca"}
    assert 10 < (own(result).value or 0) < 90
    reasons = {row.what: row.reason for row in found.skipped if row.kind is Kind.TASK}
    lacking = 'soundfile not installed: pip install "tiedae[tasks]"'
    if dtype == "float32":
        assert reasons == {
            "differences, LZMA": "the data are float32, must be uint8 or int16 or uint16",
            "FLAC level 8": "the data are float32, must be int16 or uint16",
        }
    else:
        assert reasons == {"FLAC level 8": lacking}
        (exact,) = result.lossless
        assert 2 < exact.bits < 8 and exact.bits == 8 * exact.bytes / (result.samples * 256)


def test_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    result = result_of(compression.measure(exported_of(Dataset.from_array(table(), test=0.3, output_activation="linear"), 3)))
    assert (result.measure, result.unit, result.lossless) == ("R²", "", ()) and chosen(result, "bits")["pca"].value is not None
    assert all(point.ssim is None for point in result.points)


def test_what_is_not_measured_has_a_reason(images: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy = replace(images.recipe, train=replace(images.recipe.train, noise=NoiseConfig("gaussian", 0.1)))
    found = compression.measure(dataclasses.replace(images, recipe=noisy))
    assert result_of(found).samples == 0 and found.skipped[0].why is Why.NOT_COMPARABLE
    assert compression_view.rows(found.result) == [] and compression_view.card(result_of(found)) == ""
    monkeypatch.setattr(coders, "find_spec", lambda name: None)
    monkeypatch.setattr(compression, "MAX_INPUTS", 143)
    found = compression.measure(images, 20)
    assert [point.coder for point in result_of(found).points] == ["tied"] and result_of(found).samples == 20
    assert {row.what: row.reason for row in found.skipped} == {
        "PCA": "144 values a sample, 143 at most are compared",
        "JPEG": "Pillow is not installed",
        "WebP": "Pillow is not installed",
        "AVIF": "Pillow is not installed",
    }
    assert compression.not_pictures((4, 4), "float32") == "the data are float32, must be uint8"
    assert compression.not_pictures((4, 4, 2), "uint8") == "samples of [4, 4, 2] are no pictures"


class _Manifest:
    """What a section reads of a manifest."""

    class data:
        spec = SampleSpec((12, 12), "uint8", kind="image")


def test_report_card_and_table_say_what_was_measured(measured: TaskMeasurement) -> None:
    result: Any = result_of(measured)
    html = str(compression_view.section(_Manifest(), result, {}))  # pyright: ignore[reportArgumentType]
    ours = compression_view.cells(result)[0]
    assert all(text in html for text in ours) and len(re.findall("<circle class=.ours. [^>]* r=.7.", html)) == 1
    assert html.count("<polyline") == 8 and "PSNR (dB)" in html and not re.search(r"https?:|<script|url\(", html)
    assert f"| {' | '.join(ours)} |" in compression_view.card(result)
    table_rows = compression_view.rows(result)
    size = f"{ours[3]} bits per value, {ours[4]} smaller, 60 test samples"
    assert table_rows[0] == ("this codec, .tae", "", ours[1], ours[2], size)
    assert [row[0].split(":")[0] for row in table_rows[1:]] == [
        "PCA around our bytes",
        "PCA around our bytes",
        "JPEG at no larger error",
        "WebP at no larger error",
        "AVIF at no larger error",
    ]


def test_results_of_now_and_of_before_are_read(measured: TaskMeasurement) -> None:
    result = result_of(measured)
    assert decode(CompressionResult, plain(result), "x") == result
    before = decode(CompressionResult, {"kind": "compression", "sample_bytes": 784, "code_bytes": 30}, "x")
    assert before.samples == 0 and str(compression_view.section(_Manifest(), before, {})) == ""  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("step", [0.01, 0.1, 0.5, 3.0])
def test_rounding_is_to_the_nearest_step(step: float) -> None:
    values = np.random.default_rng(0).normal(size=(300, 3)) * [20, 1, 0.1] + [100, 0, 0]
    rounding = Rounding.of(values, step)
    codes = rounding.codes(values)
    assert codes.dtype == np.uint8 and codes.max() < 1 << rounding.bits
    assert rounding.wide.tolist() == np.flatnonzero(np.ptp(np.rint(values / step), axis=0) >= 256).tolist()
    assert codes.shape == (300, 3 + len(rounding.wide))
    np.testing.assert_allclose(rounding.values(codes), step * np.rint(values / step), atol=1e-9)
    assert rounding.per_component(np.arange(codes.shape[1], dtype=float)).sum() == np.arange(codes.shape[1]).sum()


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Six pictures of smooth blobs, whose sizes are no multiples of the patch, in patches of 8."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("photos")
    for i, (height, width) in enumerate([(44, 67), (35, 50), (64, 40), (41, 59), (50, 50), (33, 80)]):
        tile = np.resize(np.roll(blobs(1, 24)[0], i, axis=0), (24, 24)).astype(np.uint8)
        Image.fromarray(tile).resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return exported_of(load_dataset(DataConfig(str(folder), patch=8, test=0.4), "sigmoid"), epochs=10)


def test_whole_pictures_are_compared_where_the_source_holds_them(photos: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file for each picture, without the rest at the right and at the bottom; the line says so, and so does the report."""
    coded: list[np.ndarray] = []
    code = coders.ImageCoder.code
    monkeypatch.setattr(
        coders.ImageCoder, "code", lambda self, picture, quality: coded.append(picture) or code(self, picture, quality)
    )
    details, add = [], compression.Opponents.add
    monkeypatch.setattr(
        compression.Opponents, "add", lambda self, *found, **more: details.append(found[2:]) or add(self, *found, **more)
    )
    measured = compression.measure(photos)
    result, contest, test = result_of(measured), measured.contest, photos.data.test
    names = np.unique(np.asarray(test.groups))
    assert result.pictures == len(names) > 1 and result.samples == len(test)
    wanted = [patches_of(test, name) for name in names]
    assert len(coded) % len(wanted) == 0 and all(np.array_equal(got, wanted[i % len(wanted)]) for i, got in enumerate(coded))
    assert [found for found in details if found] == [(f", {len(names)} whole pictures",)] * 3
    assert contest is not None and contest.own.mean() == pytest.approx(own(result).mse, rel=1e-6)
    jpeg = chosen(result)["jpeg"]
    sizes = [code(IMAGE_CODERS["jpeg"], picture, int(jpeg.setting.split()[-1])) for picture in wanted]
    assert jpeg.bytes == sum(size for size, _ in sizes)
    errors = [np.square(back - picture.astype(float)).sum() for (_, back), picture in zip(sizes, wanted, strict=True)]
    assert jpeg.mse == pytest.approx(sum(errors) / sum(picture.size for picture in wanted))
    assert all(f"patches of {len(names)} whole pictures" in row[-1] for row in compression_view.rows(result))


def patches_of(test: Any, name: str) -> np.ndarray:
    """The picture of a name, cropped to whole patches."""
    own_rows = np.flatnonzero(np.asarray(test.groups) == name)
    places = test.patches[own_rows].numbers[:, 1:]
    picture = np.zeros((*(8 * (places.max(axis=0) + 1)),), np.uint8)
    for (row, column), patch in zip(places.tolist(), test.take(own_rows).reshape(-1, 8, 8), strict=True):
        picture[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = patch
    return picture


def test_pictures_are_compared_up_to_a_number_of_values(photos: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    """One picture always is."""
    monkeypatch.setattr(arrangements, "MOST_PICTURE_VALUES", 1)
    arrangement = arrangements.arrangement_of(photos.data.test, 10, pictures=True)
    assert arrangement.pictures == 1 and arrangement.text == "1 whole picture" and len(arrangement.ends) == 1
    without = dataclasses.replace(photos.data.test, patches=None)
    mosaic_of = arrangements.arrangement_of(without, 7, pictures=True)
    assert (mosaic_of.pictures, mosaic_of.text, mosaic_of.ends) == (0, "one mosaic of 7 samples", ())
