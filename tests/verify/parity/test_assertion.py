"""`assert_parity` on files that are not ours: every kind of reference, and every way to differ."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

from tiedae import assert_parity
from tiedae.bundle.bundle import Bundle
from tiedae.compress import CheckError, FormatError, InputError
from tiedae.export import to_onnx, to_tflite
from tiedae.program.interpreter import execute
from tiedae.verify.parity.assertion import ParityError

from ...conftest import build_program

RNG = np.random.default_rng(5)
KERNEL = RNG.normal(size=(4, 5)).astype(np.float32)
A, B = RNG.normal(size=(6, 3, 4)).astype(np.float32), RNG.normal(size=(6, 4)).astype(np.float32)


def foreign(path: Path, *, batch: int | None = None, kernel: np.ndarray = KERNEL) -> Path:
    """Two inputs of rank 3 and 2; outputs: a product of rank 3, a ReLU, and the places of the largest values, int64."""
    free = "batch" if batch is None else batch

    def value_info(name: str, kind: int, *sizes: int) -> Any:
        return helper.make_tensor_value_info(name, kind, [free, *sizes])

    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["a", "kernel"], ["product"]),
            helper.make_node("Relu", ["b"], ["positive"]),
            helper.make_node("ArgMax", ["b"], ["largest"], axis=1, keepdims=0),
        ],
        "stranger",
        [value_info("a", TensorProto.FLOAT, 3, 4), value_info("b", TensorProto.FLOAT, 4)],
        [
            value_info("product", TensorProto.FLOAT, 3, 5),
            value_info("positive", TensorProto.FLOAT, 4),
            value_info("largest", TensorProto.INT64),
        ],
        [numpy_helper.from_array(kernel, "kernel")],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return foreign(tmp_path_factory.mktemp("foreign") / "stranger.onnx")


def truth(a: np.ndarray, b: np.ndarray) -> dict[str, np.ndarray]:
    return {"product": a @ KERNEL, "positive": np.maximum(b, 0), "largest": b.argmax(axis=1)}


def in_order(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(truth(a, b).values())


@pytest.mark.parametrize("inputs", [None, (A, B), {"b": B, "a": A}, (A.astype(np.float64), B)])
@pytest.mark.parametrize("reference", [truth, in_order])
def test_a_callable_answers_by_name_or_in_order(file: Path, reference: Callable, inputs: Any) -> None:
    report = assert_parity(reference, file, inputs=inputs, samples=7)
    assert [row.output for row in report.outputs] == ["product", "positive", "largest"]
    assert [row.count for row in report.outputs] == [n * (7 if inputs is None else 6) for n in (15, 4, 1)]
    assert report.provider == "CPUExecutionProvider"


def test_arrays_are_a_reference_for_inputs_that_are_given(file: Path) -> None:
    assert_parity(truth(A, B), file, inputs=(A, B))
    assert_parity(list(in_order(A, B)), file, inputs=(A, B))
    with pytest.raises(InputError, match="inputs: got none, must be the inputs of"):
        assert_parity(truth(A, B), file)


def test_another_file_is_a_reference_and_a_fixed_batch_is_cut_to(file: Path, tmp_path: Path) -> None:
    fixed = foreign(tmp_path / "fixed.onnx", batch=2)
    assert_parity(file, fixed, inputs=(A, B))
    assert_parity(str(fixed), file, inputs=(A, B))
    with pytest.raises(InputError, match="got 5 samples, the file takes 2 at a time"):
        assert_parity(file, fixed, inputs=(A[:5], B[:5]))


def with_one(name: str, index: tuple[int, ...], value: float) -> dict[str, np.ndarray]:
    outputs = truth(A, B)
    outputs[name][index] = value
    return outputs


DIFFERENCES: dict[str, tuple[dict[str, np.ndarray], str]] = {
    "value": (
        with_one("product", (2, 1, 3), 9),
        r"product: 1 of 90 values differ, by up to [\d.]+, worst at \[2, 1, 3\]: got -?[\d.]+, expected 9; allowed atol 1e-05",
    ),
    "integer": (
        with_one("largest", (4,), 7),
        r"largest: 1 of 6 values differ, .* at \[4\]: got \d, expected 7; must be",
    ),
    "nan": (with_one("positive", (0, 1), np.nan), r"positive: 1 of \d+ values are not finite, first at \[0, 1\]: got"),
    "infinity": (with_one("positive", (0, 1), np.inf), r"positive: 1 of \d+ values are not finite"),
    "dtype": (
        truth(A, B) | {"largest": B.argmax(axis=1).astype(np.int32)},
        r"largest: got int64 \[6\], expected int32 \[6\]",
    ),
    "float64": (
        truth(A, B) | {"positive": np.maximum(B, 0).astype(np.float64)},
        r"positive: got float32 \[6, 4\], expected float64",
    ),
    "shape": (truth(A, B) | {"positive": np.maximum(B, 0).T}, r"positive: got float32 \[6, 4\], expected float32 \[4, 6\]"),
    "names": ({"product": A @ KERNEL}, "the reference gives product, the file product, positive, largest"),
}


@pytest.mark.parametrize("case", DIFFERENCES)
def test_what_differs_is_named_with_its_worst_value(file: Path, case: str) -> None:
    reference, text = DIFFERENCES[case]
    with pytest.raises(ParityError) as caught:
        assert_parity(reference, file, inputs=(A, B))
    assert re.search(text, str(caught.value)) and "stranger.onnx, stranger" in str(caught.value)


def test_a_difference_is_a_failed_check_and_a_failed_assertion(file: Path) -> None:
    assert issubclass(ParityError, CheckError) and issubclass(ParityError, AssertionError)
    with pytest.raises(AssertionError, match="the reference gives 1 outputs, the file 3"):
        assert_parity(lambda a, b: a, file)


def test_tolerances_decide(file: Path, tmp_path: Path) -> None:
    near = foreign(tmp_path / "near.onnx", kernel=KERNEL + np.float32(1e-3))
    assert_parity(file, near, atol=0.1)
    assert_parity(file, near, atol=1e-4, rtol=1.0, inputs=(np.ones_like(A), B))
    with pytest.raises(ParityError, match=r"product: .* allowed atol 1e-05 \+ rtol 1e-05"):
        assert_parity(file, near)


def test_a_file_that_gives_nan_fails_even_where_it_is_expected(tmp_path: Path) -> None:
    broken = foreign(tmp_path / "nan.onnx", kernel=np.full_like(KERNEL, np.nan))
    with pytest.raises(ParityError, match=r"product: \d+ of \d+ values are not finite, first at \[0, 0, 0\]: got nan, exp"):
        assert_parity(broken, broken, atol=1e9)


@pytest.fixture(scope="module")
def integers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A program with the .tflite and .onnx of its form, inputs and outputs int8."""
    folder = tmp_path_factory.mktemp("integers")
    found: dict[str, Any] = {}
    for suffix, form in {"tflite": "split", "onnx": "fused"}.items():
        program = build_program(form=form)
        path = folder / f"toy.{suffix}"
        written = to_tflite(program, io="int8") if suffix == "tflite" else to_onnx(program, io="int8")
        path.write_bytes(written)
        found[suffix] = (program, path)
    return found


def program_in_reals(program: Any) -> Callable:
    def run(x: np.ndarray) -> dict[str, np.ndarray]:
        values = execute(program, "reconstruct", program.quantization("x").quantize(x))
        return {name: program.quantization(name).dequantize(values[name]) for name in ("code", "y")}

    return run


@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_quantized_inputs_and_outputs_are_converted_by_their_own_scale_and_compared_in_lsb(integers: dict, suffix: str) -> None:
    program, path = integers[suffix]
    report = assert_parity(program_in_reals(program), path, signature="reconstruct", equal_share=0.95)
    assert {row.unit for row in report.outputs} == {"LSB"} and {row.output for row in report.outputs} == {"code", "y"}
    real = np.random.default_rng(1).uniform(0, 1, (9, 20)).astype(np.float32)
    assert_parity(program_in_reals(program), path, signature="reconstruct", inputs=real, equal_share=0.95)


def test_lsb_tolerances_decide_and_the_text_gives_both_integers(integers: dict) -> None:
    program, path = integers["onnx"]
    scale = np.float32(program.quantization("code").scale)

    def shifted(x: np.ndarray) -> dict[str, np.ndarray]:
        outputs = program_in_reals(program)(x)
        outputs["code"] = outputs["code"].copy()
        outputs["code"][0, :3] += 2 * scale
        return outputs

    text = r"code: 3 of 320 values differ, by up to 2 LSB, at \[0, \d\]: got -?\d+ \(.*\), expected -?\d+ \(.*\); allowed 1 LSB"
    with pytest.raises(ParityError, match=text):
        assert_parity(shifted, path, seed=3)
    assert_parity(shifted, path, seed=3, max_lsb=2)
    with pytest.raises(ParityError, match="3 of 320 values differ"):
        assert_parity(shifted, path, seed=3, max_lsb=2, equal_share=0.995)


def test_other_runtimes_run_and_wrong_ones_are_named(integers: dict) -> None:
    program, path = integers["tflite"]
    for runtime in ("litert-builtin", "litert-reference"):
        report = assert_parity(
            lambda x: program_in_reals(program)(x)["code"], path, signature="encode", runtime=runtime, max_lsb=2, equal_share=0
        )
        assert report.runtime == runtime
    with pytest.raises(InputError, match="runtime: got 'ort-cpu', must be one of litert-xnnpack, litert-builtin"):
        assert_parity(len, path, signature="encode", runtime="ort-cpu")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "signature": ({"signature": "main"}, "signature: got 'main', must be one of stranger"),
    "atol": ({"atol": -1}, "atol: got -1, must be 0 or more"),
    "nan": ({"rtol": float("nan")}, "rtol: got nan, must be 0 or more"),
    "share": ({"equal_share": 2}, r"equal_share: got 2, must be in \[0, 1\]"),
    "samples": ({"samples": 0}, "samples: got 0, must be at least 1"),
    "few": ({"inputs": A}, "inputs: got 1, the file takes 2: a, b"),
    "other": ({"inputs": {"a": A, "c": B}}, "inputs: got a, c, the file takes a, b"),
    "rank": ({"inputs": (A[0], B)}, r"input a: got \[3, 4\], the file takes \[any, 3, 4\]"),
    "size": ({"inputs": (A, B[:, :3])}, r"input b: got \[6, 3\], the file takes \[any, 4\]"),
    "dtype": ({"inputs": (A.astype(np.int32), B)}, "input a: got int32, the file takes float32"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_call_is_no_failed_assertion(file: Path, case: str) -> None:
    options, text = WRONG[case]
    with pytest.raises(InputError, match=text):
        assert_parity(truth, file, **options)


def test_what_is_no_reference_or_no_file_is_told(file: Path, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="reference: got int, must be a Keras model, a callable, arrays, a Bundle, or the path"
    ):
        assert_parity(3, file)
    (tmp_path / "bad.onnx").write_bytes(b"no")
    with pytest.raises(FormatError, match=r"bad\.onnx: not an ONNX file"):
        assert_parity(truth, tmp_path / "bad.onnx")
    with pytest.raises(FormatError, match=r"gone\.tflite: no such file"):
        assert_parity(truth, tmp_path / "gone.tflite")


def test_keras_2_models_with_several_inputs_and_outputs_and_our_own(file: Path, finished_run: Path) -> None:
    import tensorflow as tf
    import tf_keras

    from tiedae.compress import TiedAutoencoder

    a, b = tf_keras.Input((3, 4), name="a"), tf_keras.Input((4,), name="b")
    dense = tf_keras.layers.Dense(5, use_bias=False)
    outputs = [dense(a), tf_keras.layers.ReLU()(b), tf_keras.layers.Lambda(lambda x: tf.argmax(x, axis=1))(b)]
    model = tf_keras.Model([b, a], outputs)
    dense.set_weights([KERNEL])
    assert_parity(model, file)
    dense.set_weights([KERNEL.T.reshape(4, 5)])
    with pytest.raises(ParityError, match="product: "):
        assert_parity(model, file)
    tied = TiedAutoencoder.load(finished_run / "model" / "prune.safetensors")
    for name, signature in (("mini.f32.onnx", None), ("mini.decoder.f32.onnx", None), ("mini.f32.tflite", "encode")):
        assert_parity(tied, finished_run / "bundle" / name, signature=signature)


KERAS_3 = """
import sys
import keras, numpy as np
from tiedae import assert_parity
assert keras.__version__.startswith("3"), keras.__version__
kernel = np.load(sys.argv[2])
a, b = keras.Input((3, 4), name="a"), keras.Input((4,), name="b")
dense = keras.layers.Dense(5, use_bias=False)
largest = keras.layers.Lambda(lambda x: keras.ops.cast(keras.ops.argmax(x, axis=1), "int64"))
model = keras.Model([a, b], [dense(a), keras.layers.ReLU()(b), largest(b)])
dense.set_weights([kernel])
assert_parity(model, sys.argv[1])
"""


@pytest.mark.ci
def test_keras_3_models(file: Path, tmp_path: Path) -> None:
    """In a process of its own: this one has Keras 2."""
    np.save(tmp_path / "kernel.npy", KERNEL)
    command = [sys.executable, "-c", KERAS_3, str(file), str(tmp_path / "kernel.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_bundle_is_a_reference_for_its_files_without_tensorflow(finished_run: Path) -> None:
    bundle = finished_run / "bundle"
    program = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('tensorflow', 'tf_keras', 'keras'): raise ImportError(name + ' is blocked')\n"
        "sys.meta_path.insert(0, Block())\n"
        "from tiedae import assert_parity\n"
        f"assert_parity({str(bundle)!r}, {str(bundle / 'mini.int8.tflite')!r}, signature='reconstruct')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    opened = Bundle.open(bundle)
    for name in ("mini.int8.onnx", "mini.encoder.int8.onnx", "mini.decoder.int8.onnx"):
        report = assert_parity(opened, bundle / name)
        assert all(row.differing == 0 for row in report.outputs)
    with pytest.raises(ParityError, match="code: "):
        assert_parity(opened, bundle / "mini.encoder.f32.onnx")
