"""TensorFlow Lite Micro: every signature of one file, outputs by name, the tensors inside."""

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tiedae.base.errors import FormatError
from tiedae.export.tflite.writer import to_tflite
from tiedae.program.interpreter import apply, execute

from ..export.tflite.test_writer import PROGRAMS, split
from .opening import open_tflite
from .test_litert import samples

pytest.importorskip("tflite_micro", reason="pip install 'tiedae[tflm]'")


@pytest.mark.parametrize("options", PROGRAMS.values(), ids=PROGRAMS)
def test_runs_every_program_and_shows_its_tensors(options):
    program = split(**options)
    data = to_tflite(program)
    x = samples(program, 40) if program.quantized else np.random.default_rng(0).random((40, 20), np.float32)
    given_x = program.quantization("x").dequantize(x) if options.get("byte_data") is False else x
    session = open_tflite("tflm", data)
    traced = session.trace("reconstruct", given_x)
    assert set(traced) >= set(program.tensors)
    got = session.run("reconstruct", given_x)
    np.testing.assert_array_equal(got["code"], traced["code"])
    expected = execute(program, "reconstruct", x)
    if not program.quantized:
        for name, values in expected.items():
            np.testing.assert_allclose(traced[name], values, atol=1e-5)
        return
    for operation in program.operations:
        difference = np.abs(apply(program, operation, traced[operation.x]).astype(int) - traced[operation.y])
        assert difference.max() <= 1 and np.mean(difference > 0) < 0.03, operation


def test_products_of_the_decoder_are_those_of_the_reference_kernels():
    """BATCH_MATMUL and what follows it: byte for byte, which places TFLM's family."""
    program = split(widths=(60, 30, 12))
    data = to_tflite(program)
    code = np.random.default_rng(1).integers(0, 256, (200, 12), np.uint8)
    expected = open_tflite("litert-reference", data).run("decode", code)["y"]
    np.testing.assert_array_equal(open_tflite("tflm", data).run("decode", code)["y"], expected)
    assert not np.array_equal(expected, execute(program, "decode", code)["y"])


def test_an_operation_without_a_kernel_is_named():
    data = to_tflite(split(output_activation="tanh", byte_data=False))
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    (tanh,) = [code for code in model.operatorCodes if code.builtinCode == schema.BuiltinOperator.TANH]
    tanh.builtinCode, tanh.deprecatedBuiltinCode = schema.BuiltinOperator.ATAN2, 127
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    with pytest.raises(FormatError, match=r"TFLM refuses the file: .*ATAN2"):
        open_tflite("tflm", bytes(builder.Output()))
