"""What a reference is asked, how its answers are matched with a file's outputs, and which difference is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, save

from tiedae import assert_parity
from tiedae.bundle.bundle import Bundle
from tiedae.compress import InputError
from tiedae.export import to_onnx
from tiedae.export.targets import read_model
from tiedae.program.interpreter import execute
from tiedae.verify.parity.assertion import ParityError
from tiedae.verify.parity.reference_models import own_inputs

X = np.random.default_rng(2).normal(size=(5, 4)).astype(np.float32)


def halves(path: Path, *names: str) -> Path:
    """x [n, 4] → its positive and its negative part, as outputs in this order: of names that start with p and n."""
    operators = {"p": "Relu", "n": "Neg"}
    nodes = [helper.make_node("Neg", ["x"], ["minus"]), helper.make_node("Relu", ["minus"], ["size"])]
    for name in names:
        nodes.append(helper.make_node(operators[name[0]], ["x" if name[0] == "p" else "size"], [name]))
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in names]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])]
    graph = helper.make_graph(nodes, "halves", inputs, outputs)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.mark.parametrize(
    ("names", "fits"), [(("p", "n"), True), (("n", "p"), True), (("pos", "neg"), True), (("neg", "pos"), False)]
)
def test_outputs_of_another_file_are_matched_by_name_and_else_by_order(
    tmp_path: Path, names: tuple[str, ...], fits: bool
) -> None:
    file, other = halves(tmp_path / "file.onnx", "p", "n"), halves(tmp_path / "other.onnx", *names)
    if fits:
        report = assert_parity(other, file, inputs=X)
        assert [row.output for row in report.outputs] == ["p", "n"]
        return
    with pytest.raises(ParityError, match="2 of 2 outputs differ"):
        assert_parity(other, file, inputs=X)


def test_a_keras_model_of_one_input_gets_an_array_and_no_list(tmp_path: Path) -> None:
    import tf_keras

    seen: list[type] = []

    class Halves(tf_keras.Model):
        def call(self, x: Any, training: bool | None = None) -> Any:
            seen.append(type(x))
            assert training is False
            return [np.maximum(x, 0), np.minimum(x, 0)]

    model = Halves(dynamic=True)
    assert_parity(model, halves(tmp_path / "halves.onnx", "p", "n"), inputs=X)
    assert seen and list not in seen


def test_random_inputs_are_of_seed_0_and_64_samples(tmp_path: Path) -> None:
    file, seen = halves(tmp_path / "halves.onnx", "p"), []

    def reference(x: np.ndarray) -> np.ndarray:
        seen.append(x)
        return np.maximum(x, 0)

    for options in ({}, {"seed": 0}, {"seed": 1}, {"samples": 1}):
        assert_parity(reference, file, **options)
    assert [len(x) for x in seen] == [64, 64, 64, 1]
    assert np.array_equal(seen[0], seen[1]) and not np.array_equal(seen[0], seen[2])


@pytest.fixture(scope="module")
def integers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    from ...conftest import build_program

    program, path = build_program(), tmp_path_factory.mktemp("integers") / "toy.onnx"
    path.write_bytes(to_onnx(program))
    return program, path


def moved(program: Any, steps: Mapping[tuple[int, int], int]) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """The program's outputs, with codes that are as many LSB up."""

    def answer(x: np.ndarray) -> dict[str, np.ndarray]:
        values = execute(program, "reconstruct", program.quantization("x").quantize(x))
        code = values["code"].astype(int)
        for at, step in steps.items():
            code[at] += step
        quantization = program.quantization("code")
        real = ((code - quantization.zero_point) * quantization.scale).astype(np.float32)
        return {"code": real, "y": program.quantization("y").dequantize(values["y"])}

    return answer


def middle(program: Any) -> np.ndarray:
    """Samples whose codes are not at an end of their range: [100, inputs], 500 codes."""
    x = np.random.default_rng(4).uniform(0.2, 0.8, (1000, 20)).astype(np.float32)
    code = execute(program, "reconstruct", program.quantization("x").quantize(x))["code"]
    return x[((code > 9) & (code < 246)).all(axis=1)][:100]


@pytest.mark.parametrize(
    ("steps", "fits"),
    [
        ({(i, 0): 1 for i in range(5)}, True),
        ({(i, 0): 1 for i in range(6)}, False),
        ({(0, 0): 2}, False),
        ({}, True),
    ],
    ids=["one LSB in 1 % of the values", "in more", "two LSB", "equal"],
)
def test_one_lsb_in_a_hundredth_of_the_values_is_allowed(
    integers: tuple[Any, Path], steps: Mapping[tuple[int, int], int], fits: bool
) -> None:
    program, path = integers
    x = middle(program)
    assert len(x) == 100
    if fits:
        code, _ = assert_parity(moved(program, steps), path, inputs=x).outputs
        assert (code.count, code.differing, code.largest) == (500, len(steps), max(steps.values(), default=0))
        return
    with pytest.raises(ParityError, match=r"allowed 1 LSB, and 0\.01 of the values"):
        assert_parity(moved(program, steps), path, inputs=x)


def test_the_worst_of_several_integers_is_named(integers: tuple[Any, Path]) -> None:
    program, path = integers
    x = middle(program)
    code = int(execute(program, "reconstruct", program.quantization("x").quantize(x))["code"][7, 3])
    with pytest.raises(ParityError, match=rf"by up to 5 LSB, at \[7, 3\]: got {code} \(.*\), expected {code + 5} \("):
        assert_parity(moved(program, {(2, 1): 3, (7, 3): 5, (50, 2): 2}), path, inputs=x)


def test_the_worst_of_several_floats_is_named_beyond_its_own_tolerance(tmp_path: Path) -> None:
    """A difference of 0.3 at 100 is allowed at a hundredth of the value, one of 0.2 at 1 is not."""
    x = np.zeros((3, 4), np.float32)
    x[0, 1], x[1, 2], x[2, 3] = 100, 1, 1
    expected = x + np.float32([[0, 0.3, 0, 0], [0, 0, 0.2, 0], [0, 0, 0, 0.1]])
    text = r"p: 2 of 12 values differ, by up to 0\.3, worst at \[1, 2\]: got 1, expected 1\.2; allowed atol 0 \+ rtol 0\.01$"
    with pytest.raises(ParityError, match=text):
        assert_parity({"p": expected}, halves(tmp_path / "halves.onnx", "p"), inputs=x, atol=0, rtol=0.01)


def test_the_golden_samples_of_a_bundle_are_its_inputs(small_runs: Path) -> None:
    """As real values: bytes divided by 255, and codes at their scale."""
    bundle = Bundle.open(small_runs / "bytes" / "bundle")
    golden, code = bundle.golden(), bundle.manifest.tensors.code
    expected = {"x": golden["x"] / np.float32(255), "code": (golden["code"] - float(code.zero_point)) * code.scale}
    for name in ("bytes.int8.onnx", "bytes.encoder.int8.onnx", "bytes.decoder.int8.onnx"):
        contents = read_model(bundle.path / name)
        (signature,) = contents.signatures
        found = own_inputs(bundle, contents, signature)
        assert found is not None
        ((key, values),) = found.items()
        np.testing.assert_allclose(values, expected[key], atol=1e-6)
        report = assert_parity(bundle, bundle.path / name)
        assert all(row.count % len(golden["x"]) == row.differing == 0 for row in report.outputs)
        assert own_inputs(golden, contents, signature) is None


@pytest.mark.parametrize(("batch", "fits"), [(1, True), (5, True), (2, False), (7, False)])
def test_samples_are_a_multiple_of_a_fixed_batch(tmp_path: Path, batch: int, fits: bool) -> None:
    path = halves(tmp_path / "halves.onnx", "p", "n")
    import onnx

    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    onnx.save(model, path)
    truth = {"p": np.maximum(X, 0), "n": np.minimum(X, 0)}
    if fits:
        assert [row.count for row in assert_parity(truth, path, inputs=X).outputs] == [20, 20]
        return
    with pytest.raises(InputError, match=f"got 5 samples, the file takes {batch} at a time: must be a multiple of it"):
        assert_parity(truth, path, inputs=X)
