"""ONNX Runtime sessions: equal to the reference, honest about the provider."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tiedae.base.errors import DataError, FormatError, InputError, UnavailableError
from tiedae.export.onnx.writer import to_onnx, to_onnx_pair
from tiedae.program.interpreter import apply, execute
from tiedae.runtimes.ort import CHUNK, OrtSession
from tiedae.runtimes.session import Session

from ..conftest import build_program


def write(folder: Path, program, io: str = "auto") -> dict[str, Path]:
    encoder, decoder, kernels = to_onnx_pair(program, io=io, kernels_file="toy.kernels.bin")
    files = {"reconstruct": to_onnx(program, io=io), "encode": encoder, "decode": decoder}
    (folder / "toy.kernels.bin").write_bytes(kernels)
    for signature, data in files.items():
        (folder / f"{signature}.onnx").write_bytes(data)
    return {signature: folder / f"{signature}.onnx" for signature in files}


def samples(program, signature: str, count: int = 100) -> np.ndarray:
    (size,) = program.tensors[program.part(signature)[1]].shape
    values = np.random.default_rng(3).integers(0, 256, (count, size)).astype(np.uint8)
    return values if program.quantized else (values / np.float32(255)).astype(np.float32)


@pytest.mark.parametrize("signature", ["encode", "decode", "reconstruct"])
@pytest.mark.parametrize("interleave", [1, 4])
@pytest.mark.parametrize("granularity", ["tensor", "unit"])
def test_every_operation_equals_the_reference(signature, granularity, interleave, tmp_path):
    program = build_program(granularity=granularity, interleave=interleave)
    session: Session = OrtSession("ort-cpu", write(tmp_path, program))
    assert (session.runtime, session.provider) == ("ort-cpu", "CPUExecutionProvider")
    x = samples(program, signature)
    expected = execute(program, signature, x)
    got = session.run(signature, x)
    operations, source, results = program.part(signature)
    assert tuple(got) == results
    for name in results:
        np.testing.assert_array_equal(got[name], expected[name])
    values = {source: x, **session.trace(signature, x)}
    assert set(values) >= set(expected)
    for operation in operations:
        assert values[operation.y].dtype == np.uint8
        np.testing.assert_array_equal(values[operation.y], apply(program, operation, values[operation.x]))


@pytest.mark.parametrize("io", ["int8", "float32"])
def test_trace_gives_uint8_behind_any_edge(io, tmp_path):
    program = build_program()
    session = OrtSession("ort-cpu", write(tmp_path, program, io))
    q = samples(program, "reconstruct")
    x = (q.astype(int) - 128).astype(np.int8) if io == "int8" else program.tensors["x"].quantization.dequantize(q)
    values = session.trace("reconstruct", x)
    for name, expected in execute(program, "reconstruct", q).items():
        np.testing.assert_array_equal(values[name], expected, err_msg=name)


def test_float_files_trace_floats(tmp_path):
    program = build_program(quantized=False)
    session = OrtSession("ort-cpu", write(tmp_path, program))
    x = samples(program, "reconstruct")
    values = {"x": x, **session.trace("reconstruct", x)}
    for name, expected in execute(program, "reconstruct", x).items():
        assert values[name].dtype == np.float32
        np.testing.assert_allclose(values[name], expected, atol=1e-5)


def test_what_is_traced_is_the_file_that_was_opened(tmp_path):
    program = build_program()
    session = OrtSession("ort-cpu", files := write(tmp_path, program))
    (tmp_path / "new").write_bytes(to_onnx(build_program(seed=1)))
    (tmp_path / "new").rename(files["reconstruct"])
    x = samples(program, "reconstruct")
    np.testing.assert_array_equal(session.trace("reconstruct", x)["code"], execute(program, "reconstruct", x)["code"])
    files["encode"].unlink()
    np.testing.assert_array_equal(session.trace("encode", x)["code"], execute(program, "encode", x)["code"])


@pytest.mark.parametrize("count", [0, 1, CHUNK, 2 * CHUNK + 7])
def test_batches_of_any_size(count, tmp_path):
    program = build_program()
    session = OrtSession("ort-cpu", write(tmp_path, program), threads=2)
    x = samples(program, "reconstruct", count)
    expected = execute(program, "reconstruct", x)
    for values in (session.run("reconstruct", x), session.trace("reconstruct", x)):
        np.testing.assert_array_equal(values["y"], expected["y"])
        assert values["code"].shape == (count, 5)


def test_cuda_is_named_only_where_it_ran(tmp_path):
    try:
        session = OrtSession("ort-cuda", write(tmp_path, build_program()))
    except UnavailableError as error:
        assert str(error).startswith("CUDA was requested, but ") and "\n" not in str(error)
    else:
        assert (session.runtime, session.provider) == ("ort-cuda", "CUDAExecutionProvider")


def test_nothing_is_printed(tmp_path):
    write(tmp_path, build_program())
    code = (
        "import sys; from pathlib import Path; from tiedae.runtimes.ort import OrtSession; import numpy as np\n"
        "from tiedae.base.errors import UnavailableError\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "for runtime in ('ort-cpu', 'ort-cuda'):\n"
        "    try:\n"
        "        session = OrtSession(runtime, {'reconstruct': Path(sys.argv[1])})\n"
        "    except UnavailableError:\n"
        "        continue\n"
        "    session.trace('reconstruct', np.zeros((2, 20), np.uint8))\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "reconstruct.onnx"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def damaged(data: bytes, kind: str) -> bytes:
    return {
        "empty": b"",
        "foreign": b"%PDF-1.7 " * 20,
        "truncated": data[: len(data) // 2],
        "unknown operation": data.replace(b"Gemm", b"Gemx"),
        "dangling name": data.replace(b"encoder_0.zero", b"encoder_0.zerp", 1),
    }[kind]


@pytest.mark.parametrize("kind", ["empty", "foreign", "truncated", "unknown operation", "dangling name"])
def test_a_broken_file_is_a_format_error(kind, tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(damaged(to_onnx(build_program()), kind))
    for runtime in ("ort-cpu", "ort-cuda"):
        with pytest.raises(FormatError, match=r"broken\.onnx: ONNX Runtime refuses it: .") as caught:
            OrtSession(runtime, {"reconstruct": path})
        assert "\n" not in str(caught.value)


def test_missing_kernels_are_a_format_error(tmp_path):
    paths = write(tmp_path, build_program())
    (tmp_path / "toy.kernels.bin").unlink()
    with pytest.raises(FormatError, match=r"encode\.onnx: ONNX Runtime refuses it: .*toy\.kernels\.bin"):
        OrtSession("ort-cpu", {"encode": paths["encode"]})


def test_wrong_calls_are_input_errors(tmp_path):
    paths = write(tmp_path, build_program())
    with pytest.raises(InputError, match="no file to open"):
        OrtSession("ort-cpu", {})
    with pytest.raises(FormatError, match=r"none\.onnx: no such file"):
        OrtSession("ort-cpu", {"encode": tmp_path / "none.onnx"})
    session = OrtSession("ort-cpu", {"encode": paths["encode"]})
    for call in (session.run, session.trace):
        with pytest.raises(InputError, match="no file for the signature 'decode', only for encode"):
            call("decode", np.zeros((1, 5), np.uint8))
    for x in (np.zeros((1, 20), np.float32), np.zeros((1, 19), np.uint8)):
        with pytest.raises(DataError, match=r"encode\.onnx: ONNX Runtime refuses the samples: "):
            session.run("encode", x)


def test_a_package_that_another_one_emptied_is_a_reason(tmp_path):
    """What pip leaves behind when one of two packages that share a folder is uninstalled."""
    paths = write(tmp_path, build_program())
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").touch()
    script = (
        "import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path\n"
        "from tiedae.runtimes.table import RUNTIMES; from tiedae.base.errors import UnavailableError\n"
        "try:\n    RUNTIMES['ort-cpu'].open({'encode': Path(sys.argv[1])})\n"
        "except UnavailableError as error:\n    print(error)"
    )
    command = [sys.executable, "-c", script, str(paths["encode"]), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("onnxruntime is installed in part: ")
