"""A bundle is verified from its files alone, and whatever is changed in it is found and named."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from tiedae.base.records import plain
from tiedae.bundle.bundle import Bundle
from tiedae.bundle.reference_outputs import Original
from tiedae.bundle.results import Check, Kind, Lost, Precision, Quality, Stage, read_metrics, to_json
from tiedae.cli import main
from tiedae.compress import FormatError
from tiedae.data.samples import Samples
from tiedae.export.duplicates import copies
from tiedae.export.targets import read_model
from tiedae.program.interpreter import execute, program_input
from tiedae.tasks.losses import of_quality
from tiedae.verify.collecting import MeasuredSamples, collect
from tiedae.verify.limits import Limits
from tiedae.verify.verify import judge, verify_bundle

from ..variants import every
from ..without_openvino import without_openvino


@pytest.fixture
def quick(finished_run: Path) -> Iterator[None]:
    """Verification of a finished run takes a quarter of the time."""
    with without_openvino():
        yield


@pytest.fixture
def bundle(finished_run: Path, tmp_path: Path, quick: None) -> Path:
    """A copy to damage."""
    return shutil.copytree(finished_run / "bundle", tmp_path / "bundle")


def failures(bundle: Path) -> dict[str, Check]:
    """The checks of a bundle that do not hold, by name."""
    return {check.name: check for check in verify_bundle(bundle).failed}


def test_a_fresh_bundle_holds(finished_run: Path) -> None:
    metrics = verify_bundle(finished_run / "bundle")
    assert not metrics.failed
    runtimes = {row.runtime for row in metrics.parity}
    assert runtimes >= {"litert-xnnpack", "litert-builtin", "litert-reference", "ort-cpu"}
    same = [row for row in metrics.parity if row.kind is Kind.CODES and row.runtime in ("litert-xnnpack", "ort-cpu")]
    assert len(same) == 4 and all(row.differing == 0 for row in same)
    operations = [row for row in metrics.parity if row.kind is Kind.OPERATIONS]
    assert operations and max(row.max_lsb for row in operations) <= 1
    assert {row.kernel_copies for row in metrics.files} == {1}
    assert "ort-cuda" in runtimes | {row.runtime for row in metrics.skipped if row.kind is Kind.OPENS}


def test_it_needs_no_tensorflow(finished_run: Path) -> None:
    program = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('tensorflow', 'tf_keras', 'keras'): raise ImportError(name + ' is blocked')\n"
        "sys.meta_path.insert(0, Block())\n"
        "from tiedae.cli import main\n"
        f"code = main(['verify', {str(finished_run / 'bundle')!r}, '-q'])\n"
        f"code = code or main(['inspect', {str(finished_run / 'bundle' / 'mini.int8.tflite')!r}])\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(bytes(data))


def kernel_place(path: Path, kernel: np.ndarray) -> int:
    """Where the kernel's bytes lie in a file, one weight in."""
    return path.read_bytes().index(np.ascontiguousarray(kernel.T).tobytes()) + 5


def integers(bundle: Path) -> np.ndarray:
    opened = Bundle.open(bundle)
    contents = {name: read_model(bundle / name) for name in opened.models}
    return opened.programs(contents).fused.constants["kernel_0"]


@pytest.mark.parametrize("name", ["mini.int8.tflite", "mini.int8.onnx", "mini.int8.kernels.bin"])
def test_a_flipped_weight_is_found_and_named(bundle: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    flip(bundle / name, kernel_place(bundle / name, integers(bundle)))
    found = failures(bundle)
    assert f"sha256 {name}" in found
    assert any(check.kind is Kind.STORAGE and "kernel_0" in check.text for check in found.values())
    assert main(["verify", str(bundle)]) == 1
    captured = capsys.readouterr()
    assert name in captured.out + captured.err


@pytest.mark.parametrize(
    ("name", "how"),
    every(
        2,
        itertools.product(
            ("mini.int8.tflite", "mini.f32.onnx", "golden/y.npy", "golden/program.npz", "report.html"),
            ("truncated", "missing", "foreign"),
        ),
    ),
)
def test_damage_of_any_kind_is_a_failed_check_that_names_the_file(
    bundle: Path, name: str, how: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bundle / name
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if how == "truncated" else b"hello, I am something else")
    assert main(["verify", str(bundle), "-q"]) == 1
    captured = capsys.readouterr()
    assert name in captured.out + captured.err
    assert "Traceback" not in captured.err


def rewrite(bundle: Path, change: Callable[[dict], None]) -> None:
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_a_hash_is_compared_to_its_last_digit(bundle: Path) -> None:
    def change_the_last_digit(manifest: dict) -> None:
        stated = manifest["files"]["mini.int8.tflite"]
        stated["sha256"] = stated["sha256"][:-1] + ("0" if stated["sha256"][-1] != "0" else "1")

    rewrite(bundle, change_the_last_digit)
    assert [*failures(bundle)] == ["sha256 mini.int8.tflite"]


def test_a_manifest_that_lies_about_a_kernel_does_not_pass(bundle: Path) -> None:
    def lie(manifest: dict) -> None:
        for form in manifest["operations"].values():
            form["constants"]["kernel_0"]["sha256"] = "0" * 64

    rewrite(bundle, lie)
    program, *tables = sorted(verify_bundle(bundle).failed, key=lambda check: check.name != "program")
    assert program.name == "program" and "kernel_0" in program.text
    assert [check.name for check in tables] == ["format mini.codec", "format mini.residuals"], "made for another program"


def first_input(manifest: dict, name: str) -> dict:
    return manifest["files"][name]["signatures"]["reconstruct"]["inputs"][0]


LIES = {
    "kernels": lambda manifest: manifest["kernels"][0].update(sha256="0" * 64),
    "kernels scale": lambda manifest: manifest["kernels"][0].update(scale=[123.0]),
    "kernels pruned": lambda manifest: manifest["kernels"][0].update(pruned=999),
    "tensors": lambda manifest: manifest["tensors"]["code"].update(scale=9.0),
    "interleave": lambda manifest: manifest["model"].update(interleave=4),
    "mini.int8.onnx": lambda manifest: first_input(manifest, "mini.int8.onnx").update(scale=9.0),
    "files": lambda manifest: manifest["files"].pop("mini.f32.onnx"),
}


@pytest.mark.parametrize("lie", LIES)
def test_every_statement_of_the_manifest_is_held_against_the_files(bundle: Path, lie: str) -> None:
    rewrite(bundle, LIES[lie])
    assert f"manifest {lie.split()[0]}" in failures(bundle)


def int8_models(bundle: Path) -> list[str]:
    files = json.loads((bundle / "manifest.json").read_text())["files"]
    return [name for name, stated in files.items() if stated.get("precision") == "int8" and stated.get("signatures")]


def test_a_pattern_that_the_files_do_not_have_is_found(bundle: Path) -> None:
    rewrite(bundle, lambda manifest: manifest["recipe"]["prune"].update(pattern="2:4"))
    metrics = verify_bundle(bundle)
    assert {check.name for check in metrics.failed} == {f"storage {name}" for name in int8_models(bundle)}
    wrong = {row.text for row in metrics.storage if not row.ok}
    assert any("of 4 values along its inputs are not zero, expected at most 2" in text for text in wrong)


def test_a_pattern_that_is_none_is_a_damaged_manifest(bundle: Path) -> None:
    rewrite(bundle, lambda manifest: manifest["recipe"]["prune"].update(pattern="zigzag"))
    with pytest.raises(FormatError, match=r"manifest.json: damaged: recipe.prune.pattern: got 'zigzag'"):
        verify_bundle(bundle)


def consistent(bundle: Path, name: str) -> None:
    """Let the manifest state the hash and the size that a changed file now has."""
    from tiedae.bundle.bundle import describe_files

    rewrite(bundle, lambda manifest: manifest["files"].update(plain(describe_files(bundle, [name]))))


def test_a_second_copy_in_a_float_file_is_found(bundle: Path) -> None:
    import onnx
    from onnx import numpy_helper

    path = bundle / "mini.f32.onnx"
    model = onnx.load(path)
    kernel = next(each for each in model.graph.initializer if each.name == "kernel_0")
    model.graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(kernel).T.copy(), "again"))
    onnx.save(model, path)
    consistent(bundle, path.name)
    assert "storage mini.f32.onnx" in failures(bundle)


@pytest.mark.parametrize("name", ["mini.int8.onnx", "mini.decoder.int8.onnx"])
def test_an_output_that_is_changed_on_its_way_out_is_found(bundle: Path, name: str) -> None:
    """Everything inside is right but the conversion at the output: only the output's own values show it."""
    import onnx
    from onnx import helper, numpy_helper

    path = bundle / name
    model = onnx.load(path, load_external_data=False)
    node = next(each for each in model.graph.node if "y" in each.output)
    node.output[list(node.output).index("y")] = "y.inner"
    model.graph.node.append(helper.make_node("Max", ["y.inner", "floor"], ["y"]))
    model.graph.initializer.append(numpy_helper.from_array(np.full(1, 200, np.uint8), "floor"))
    onnx.save(model, path)
    consistent(bundle, name)
    assert (Kind.OUTPUT, name) in {(check.kind, check.file) for check in failures(bundle).values()}


def test_a_wrong_bias_is_a_parity_failure(bundle: Path) -> None:
    """Consistent hashes do not help where the numbers differ: the program and the files must agree."""
    from tiedae.base.archive import pack_npz, unpack_npz
    from tiedae.bundle.bundle import PROGRAM_FILE, PROGRAM_KIND
    from tiedae.bundle.manifest import sha256_of

    _, arrays = unpack_npz(bundle / PROGRAM_FILE, PROGRAM_KIND)
    arrays["code.bias"] = arrays["code.bias"] + 5000
    (bundle / PROGRAM_FILE).write_bytes(pack_npz({"format": PROGRAM_KIND, "version": 1}, arrays))

    def consistent(manifest: dict) -> None:
        for form in manifest["operations"].values():
            form["constants"]["code.bias"]["sha256"] = sha256_of(arrays["code.bias"])

    rewrite(bundle, consistent)
    names = failures(bundle)
    assert "codes mini.int8.tflite reconstruct litert-xnnpack" in names
    assert "operations mini.encoder.int8.onnx encode ort-cpu" in names
    assert "golden code" in names


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "manifest.json").write_text("{"), "manifest.json: damaged"),
        (lambda path: (path / "manifest.json").write_text("[]"), "not a tiedae manifest"),
        (lambda path: rewrite(path, lambda manifest: manifest.update(schema=99)), "schema 99, this tiedae reads schema 1"),
        (
            lambda path: rewrite(path, lambda manifest: manifest.pop("kernels")),
            "manifest.json: damaged: kernels: is missing, must be a list",
        ),
    ],
)
def test_what_is_no_bundle_is_a_wrong_call(
    bundle: Path, damage: Callable[[Path], object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(bundle)
    with pytest.raises(FormatError, match=message.replace("[", r"\[")):
        verify_bundle(bundle)
    assert main(["verify", str(bundle)]) == 2
    assert message in capsys.readouterr().err


def test_what_was_collected_is_judged_without_the_files(bundle: Path) -> None:
    opened = Bundle.open(bundle)
    limits = Limits().of(opened.manifest.recipe)
    collected = collect(opened, None, Original(), limits, lambda _text: None)
    shutil.rmtree(bundle)
    checks = judge(collected, limits).judged(limits.tolerances)
    assert all(check.ok for check in checks) and len(checks) > 50
    loose = judge(collected, limits).judged(replace(limits.tolerances, operation_max_lsb=3))
    assert [check.name for check in loose] == [check.name for check in checks]
    assert {check.limit for check in loose if check.kind is Kind.OPERATIONS} == {"<= 3 LSB"}


def test_a_folder_without_a_manifest_is_no_bundle(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bundle / "manifest.json").unlink()
    with pytest.raises(FormatError, match=r"not a bundle, it has no manifest\.json"):
        verify_bundle(bundle)
    assert main(["verify", str(bundle)]) == 2
    assert "must hold manifest.json (a bundle) or bundle/manifest.json (OUT of a run)" in capsys.readouterr().err


@pytest.mark.usefixtures("quick")
def test_quality_is_measured_against_the_model_before_any_compression(finished_run: Path, recipe_file: Path) -> None:
    """Pruning damage counts: with no loss allowed, the half-pruned model of this run fails."""
    from tiedae.cli.verification import verify

    bundle, data = finished_run / "bundle", str(recipe_file.parent / "samples.npy")
    metrics = verify(bundle, model=finished_run / "model", data=data, announce=lambda _text: None)
    quality = [row for row in metrics.quality if row.precision is Precision.INT8]
    assert not metrics.failed and {row.runtime for row in quality} >= {"litert-xnnpack", "ort-cpu"}
    stages = {row.stage: row.error for row in read_metrics(bundle / "metrics.json").quality}
    gate = next(check for check in metrics.checks if check.name == "quality mini.int8.onnx ort-cpu")
    error = next(row.error for row in quality if row.runtime == "ort-cpu")
    assert gate.value == pytest.approx(error / stages[Stage.TRAIN] - 1)


@pytest.mark.usefixtures("quick")
def test_quality_beyond_its_limit_fails(finished_run: Path, recipe_file: Path) -> None:
    """Against a float model that reconstructs perfectly, any int8 file has lost too much."""
    from tiedae.compress import DataConfig
    from tiedae.pipeline.sources import load_dataset

    splits = load_dataset(DataConfig(str(recipe_file.parent / "samples.npy")), "sigmoid")
    metrics = verify_bundle(
        finished_run / "bundle",
        MeasuredSamples.of(splits.test),
        original=Original(uncompressed=lambda x: (x, x * np.float32(0.999))),
    )
    assert metrics.failed and {check.kind for check in metrics.failed} == {Kind.QUALITY}
    assert all(check.file.startswith("mini.int8") for check in metrics.failed)
    assert "against Keras float" in metrics.failed[0].text


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("taken", "better", "ok"),
    [(range(6), slice(1), True), (range(6), slice(None), False), ((0, 0, 0, 1, 1, 1), slice(3), True)],
    ids=["one sample of six", "every sample", "one of two, three times each"],
)
def test_a_loss_beyond_its_limit_fails_where_it_is_no_noise(
    finished_run: Path, recipe_file: Path, taken: Sequence[int], better: slice, ok: bool
) -> None:
    """The float model here is the int8 program, but for some samples that it reconstructs with half of the difference."""
    from tiedae.compress import DataConfig
    from tiedae.pipeline.sources import load_dataset

    bundle, test = finished_run / "bundle", load_dataset(DataConfig(str(recipe_file.parent / "samples.npy")), "sigmoid").test
    program = Bundle.open(bundle).programs({n: read_model(bundle / n) for n in Bundle.open(bundle).models}).fused

    def floating(scaled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y = program.quantization("y").dequantize(execute(program, "reconstruct", program_input(program, scaled))["y"])
        y[better] = (y[better] + scaled[better]) / 2
        return scaled, y

    limits = Limits(replace(Bundle.open(bundle).manifest.recipe.verify, max_quality_loss=0.02))
    samples = MeasuredSamples(Samples(test.take(np.array(taken)), scaling=test.scaling), 6)
    metrics = verify_bundle(bundle, samples, original=Original(uncompressed=floating), limits=limits)
    checks = [check for check in metrics.checks if check.kind is Kind.QUALITY]
    assert checks and all(check.ok == ok and float(check.value) > 0.02 for check in checks)
    assert all(("may be noise" in check.text) == ok for check in checks)
    rows = [row for row in metrics.quality if row.precision is Precision.INT8]
    assert all(row.noise is not None for row in rows)
    error = rows[0].error / (1 + float(checks[0].value))
    again = of_quality((Quality("Keras float", Stage.TRAIN, error), *rows))
    kept = verify_bundle(bundle, samples, original=again, limits=limits)
    assert [check.ok for check in kept.checks if check.kind is Kind.QUALITY] == [check.ok for check in checks]


def test_the_model_of_another_run_is_a_wrong_call(finished_run: Path, tmp_path: Path, capsys) -> None:
    from tiedae.compress import LayerConfig, ModelConfig, TiedAutoencoder

    TiedAutoencoder(ModelConfig((LayerConfig(3),), inputs=9)).save(tmp_path / "train.safetensors")
    assert main(["verify", str(finished_run / "bundle"), "--model", str(tmp_path)]) == 2
    assert "a model of widths [9, 3], must be [24, 12, 4] as in the bundle" in capsys.readouterr().err


def test_a_stranger_finds_each_kernel_once(finished_run: Path) -> None:
    """As the issue promises: parse the files, look for matrices, find every kernel in exactly one place."""
    kernel = integers(finished_run / "bundle")
    for name in ("mini.int8.tflite", "mini.int8.onnx"):
        data = (finished_run / "bundle" / name).read_bytes()
        stored, transposed = np.ascontiguousarray(kernel.T).tobytes(), np.ascontiguousarray(kernel).tobytes()
        assert data.count(stored) + data.count(transposed) == 1
    stock = finished_run / "stock" / "mini.stock.f32.tflite"
    assert copies(read_model(stock))


def test_metrics_say_where_quality_is_lost_and_are_json(finished_run: Path, tmp_path: Path) -> None:
    """In what a run wrote, the layers are those of the Keras model; from the bundle alone, of the float program."""
    written = read_metrics(finished_run / "bundle" / "metrics.json")
    alone = verify_bundle(finished_run / "bundle")
    for metrics, reference in ((written, "keras"), (alone, "float program")):
        lost = [row for row in metrics.errors if row.error is Lost.QUANTIZATION]
        names = {"encoder_0", "code", "decoder_1", "y"}
        assert {(row.layer, row.layout) for row in lost} == {(name, layout) for name in names for layout in ("split", "fused")}
        assert {row.reference for row in lost} == {reference} and all(row.sqnr_db and row.sqnr_db > 10 for row in lost)
        layers = [row for row in metrics.parity if row.kind is Kind.LAYERS and row.runtime == "ort-cpu"]
        assert {row.tensor for row in layers} == names and {row.reference for row in layers} == {reference}
        crossed = {(row.encoder, row.runtime, row.precision) for row in metrics.parity if row.encoder}
        pairs = (("litert-xnnpack", "ort-cpu"), ("ort-cpu", "litert-xnnpack"))
        assert crossed == {(*pair, precision) for pair in pairs for precision in Precision}
        path = tmp_path / "metrics.json"
        path.write_text(to_json(metrics), encoding="utf-8")
        assert read_metrics(path) == metrics


@pytest.mark.parametrize("name", ["mini.f32.onnx", "mini.encoder.f32.onnx"])
def test_a_nan_in_a_float_bias_is_named_with_its_file_and_place(bundle: Path, name: str) -> None:
    import onnx
    from onnx import numpy_helper

    model = onnx.load(bundle / name, load_external_data=False)
    (bias,) = [each for each in model.graph.initializer if each.name == "code.bias"]
    values = numpy_helper.to_array(bias).copy()
    values[2] = np.nan
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    onnx.save(model, bundle / name)
    consistent(bundle, name)
    metrics = verify_bundle(bundle)
    found = {check.name: check.text for check in metrics.failed}
    assert "1 of 4 values of code.bias differ, first at [2]: got nan, expected " in found[f"float constants {name}"]
    assert [check.file for check in metrics.failed if check.detail == "constants"] == [name]
    signature = "encode" if "encoder" in name else "reconstruct"
    assert "not finite, first at [0, 2]: got nan" in found[f"float code {name} {signature} ort-cpu"]
    to_json(metrics)


def test_float_files_that_all_hold_another_bias_do_not_give_the_golden_vectors(bundle: Path) -> None:
    path = bundle / "golden" / "y.f32.npy"
    golden = np.load(path)
    golden[3, 3] += 0.001
    np.save(path, golden)
    consistent(bundle, "golden/y.f32.npy")
    found = failures(bundle)
    assert found["float program"].text == "no float file holds constants that give the golden vectors of Keras"
    assert "largest at [3, 3]: got" in found["float y mini.f32.onnx reconstruct ort-cpu"].text


@pytest.mark.parametrize(("name", "runtime"), [("mini.int8.tflite", "litert-xnnpack"), ("mini.encoder.int8.onnx", "ort-cpu")])
def test_a_file_that_a_runtime_refuses_is_a_failed_check(bundle: Path, name: str, runtime: str) -> None:
    """The file is read and its hash is right, but one of its operations is unknown to the runtime."""
    if name.endswith(".onnx"):
        import onnx

        model = onnx.load(bundle / name, load_external_data=False)
        next(node for node in model.graph.node if node.op_type == "Gemm").op_type = "Gemn"
        onnx.save(model, bundle / name)
    else:
        import flatbuffers
        from ai_edge_litert import schema_py_generated as schema

        model = schema.ModelT.InitFromPackedBuf((bundle / name).read_bytes(), 0)
        model.operatorCodes[0].version = 99
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        (bundle / name).write_bytes(builder.Output())
    consistent(bundle, name)
    found = failures(bundle)
    target = "onnx" if name.endswith(".onnx") else "tflite"
    assert f"in {runtime}: " in found[f"opens int8 {target} {runtime}"].text
    assert not any(check.kind is Kind.OPENS and check.detail.startswith("f32") for check in found.values())
