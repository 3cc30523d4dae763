"""The table of runtimes: every row computes what its rounding family promises, or says why it is not here."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tiedae.base.errors import DataError, FormatError, InputError, UnavailableError
from tiedae.export.c.source import to_c
from tiedae.export.onnx.writer import to_onnx, to_onnx_pair
from tiedae.export.tflite.writer import to_tflite
from tiedae.program.interpreter import execute
from tiedae.runtimes.session import load
from tiedae.runtimes.table import RUNTIMES, of_role, rounds_as_program, usual
from tiedae.verify.parity.comparison import compare_traced

from ..conftest import build_program

SIGNATURES = ("encode", "decode", "reconstruct")
TFLITE = [name for name, runtime in RUNTIMES.items() if runtime.format == "tflite"]
VARIANTS = {
    "bytes": {},
    "interleaved": {"interleave": 4},
    "unit": {"granularity": "unit"},
    "deep": {"widths": (40, 24, 12, 6), "activations": ("relu", "relu6", "linear")},
    "4 bits": {"bits": 4},
    "code of 5 bits, kernels beyond the pair rule": {
        "activations": ("relu", "relu6"),
        "code_bits": 5,
        "granularity": "unit",
        "pairs": False,
    },
    "floats": {"byte_data": False, "activations": ("sigmoid", "tanh"), "output_activation": "tanh"},
}


def toy(target: str, **options):
    """A random program in the form of its target."""
    return build_program(form="split" if target == "tflite" else "fused", **options)


def write(folder: Path, target: str, program, io: str = "auto") -> dict[str, Path]:
    """The program's files, by signature."""
    if target == "tflite":
        path = folder / "toy.tflite"
        path.write_bytes(to_tflite(program, io=io))
        return dict.fromkeys(SIGNATURES, path)
    if target == "c":
        path, made = folder / "toy.c", to_c(program)
        path.write_text(made.source)
        path.with_suffix(".h").write_text(made.header)
        return dict.fromkeys(SIGNATURES, path)
    *pair, kernels = to_onnx_pair(program, io=io, kernels_file="toy.kernels.bin")
    (folder / "toy.kernels.bin").write_bytes(kernels)
    for name, data in zip(SIGNATURES, (*pair, to_onnx(program, io=io)), strict=True):
        (folder / f"{name}.onnx").write_bytes(data)
    return {name: folder / f"{name}.onnx" for name in SIGNATURES}


EXPECTED = [name for name in os.environ.get("TIEDAE_EXPECT_RUNTIMES", "").split(",") if name]
"""Runtimes that have to be here: .ci/run names what it installed."""


def opened(name: str, files: dict[str, Path], **options):
    """A session of one row; the test is skipped, with the row's reason, where it is not here or cannot run such a file."""
    try:
        return RUNTIMES[name].open(files, **options)
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", EXPECTED)
def test_an_expected_runtime_is_here(name, tmp_path):
    runtime = RUNTIMES[name]
    assert runtime.open(write(tmp_path, runtime.format, toy(runtime.format))).runtime == name


def samples(program, signature: str, count: int = 300) -> np.ndarray:
    """Random inputs of a signature, uint8 or float32 [count, size]."""
    tensor = program.tensors[program.part(signature)[1]]
    top = tensor.quantization.top if program.quantized else 255
    values = np.random.default_rng(5).integers(0, top + 1, (count, *tensor.shape)).astype(np.uint8)
    return values if program.quantized else (values / np.float32(255)).astype(np.float32)


@pytest.mark.filterwarnings("ignore:.*pairs of neighbours add to more than 128:UserWarning")
@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_rounds_as_its_family(name, options, tmp_path):
    """Equality in the program's family; in another an LSB a layer on the way to the code, and a few LSB of an amplified y.

    Sums of 4-bit products are small and their multipliers large, where two roundings differ from one more often.
    """
    runtime = RUNTIMES[name]
    program = toy(runtime.format, **options)
    session = opened(name, write(tmp_path, runtime.format, program, io="uint8"))
    assert session.runtime == name and session.provider
    for signature in SIGNATURES:
        x = samples(program, signature)
        expected, got = execute(program, signature, x), session.run(signature, x)
        assert set(got) == set(program.part(signature)[2])
        for output, values in got.items():
            assert (values.dtype, values.shape) == (np.uint8, expected[output].shape)
            difference = np.abs(values.astype(int) - expected[output])
            if runtime.rounding == "program":
                assert difference.max() == 0
            else:
                assert difference.max() <= (len(program.kernels) if output == "code" else 8)
                assert difference.mean() < (0.3 if options.get("bits") == 4 else 0.05)


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize("granularity", ["tensor", "unit"])
def test_what_it_shows_inside_is_within_one_step(name, granularity, tmp_path):
    """On equal inputs, so that nothing is amplified; a runtime that shows nothing says so by an empty dictionary."""
    runtime = RUNTIMES[name]
    program = toy(runtime.format, granularity=granularity)
    session = opened(name, write(tmp_path, runtime.format, program))
    for signature in SIGNATURES:
        x = samples(program, signature, 200)
        if name in ("litert-compiled", "openvino-tflite", "openvino-onnx", "c"):
            assert session.trace(signature, x) == {}
            continue
        rows, hidden = compare_traced(session.trace(signature, x), program, signature, x)
        assert not hidden and len(rows) == len(program.part(signature)[0])
        for row in rows:
            assert not row.problem
            assert row.max_lsb <= (0 if runtime.rounding == "program" else 1), row
            assert row.differing <= 0.03 * row.count


@pytest.mark.parametrize("name", [name for name, runtime in RUNTIMES.items() if "f32" in runtime.precisions])
def test_float_files_agree_with_the_reference(name, tmp_path):
    runtime = RUNTIMES[name]
    program = toy(runtime.format, quantized=False)
    session = opened(name, write(tmp_path, runtime.format, program))
    for signature in SIGNATURES:
        x = samples(program, signature)
        expected = execute(program, signature, x)
        for output, values in session.run(signature, x).items():
            np.testing.assert_allclose(values, expected[output], atol=1e-5)


@pytest.mark.parametrize("name", [name for name, row in RUNTIMES.items() if row.format != "c"])
@pytest.mark.parametrize("io", ["int8", "float32"])
def test_every_edge_gives_the_same_codes(name, io, tmp_path):
    runtime = RUNTIMES[name]
    program = toy(runtime.format, byte_data=False)
    session = opened(name, write(tmp_path, runtime.format, program, io))
    q = samples(program, "reconstruct")
    x = (q ^ 128).view(np.int8) if io == "int8" else program.quantization("x").dequantize(q)
    got = session.run("reconstruct", x)
    assert got["y"].dtype == io
    plain = opened(name, write(tmp_path, runtime.format, program, "uint8")).run("reconstruct", q)
    np.testing.assert_array_equal(got["code"], plain["code"])


@pytest.mark.parametrize("name", RUNTIMES)
def test_batches_of_any_size_on_any_number_of_threads(name, tmp_path):
    runtime = RUNTIMES[name]
    program = toy(runtime.format)
    session = opened(name, write(tmp_path, runtime.format, program), threads=2)
    x = samples(program, "encode", 1200)
    codes = session.run("encode", x)["code"]
    for count in (1, 7, 1, 1100):
        np.testing.assert_array_equal(session.run("encode", x[:count])["code"], codes[:count])


@pytest.mark.parametrize("name", RUNTIMES)
def test_wrong_calls_are_named(name, tmp_path):
    runtime = RUNTIMES[name]
    program = toy(runtime.format)
    files = write(tmp_path, runtime.format, program)
    session = opened(name, files)
    with pytest.raises(InputError, match="explain"):
        session.run("explain", samples(program, "encode", 1))
    for x in (samples(program, "encode")[:, :5], samples(program, "encode").astype(np.float32)):
        with pytest.raises(DataError, match="encode"):
            session.run("encode", x)
    with pytest.raises(InputError, match=r"no file to open|got 0 files"):
        RUNTIMES[name].open({})
    with pytest.raises(FormatError, match="no such file"):
        RUNTIMES[name].open(dict.fromkeys(SIGNATURES, tmp_path / f"none.{runtime.format}"))


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize("damage", ["empty", "foreign", "truncated"])
def test_a_damaged_file_is_a_format_error(name, damage, tmp_path):
    runtime = RUNTIMES[name]
    files = write(tmp_path, runtime.format, toy(runtime.format))
    opened(name, files)
    path = files["reconstruct"]
    data = path.read_bytes()
    path.write_bytes({"empty": b"", "foreign": b"%PDF-1.7 " * 20, "truncated": data[: len(data) // 2]}[damage])
    with pytest.raises(FormatError) as caught:
        RUNTIMES[name].open({"reconstruct": path})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [name for name in TFLITE if not name.startswith("openvino")])
def test_one_tflite_file_serves_every_signature(name, tmp_path):
    opened(name, write(tmp_path, "tflite", toy("tflite")))
    with pytest.raises(InputError, match=r"got 2 files, must be one file with every signature"):
        RUNTIMES[name].open({"encode": tmp_path / "a.tflite", "decode": tmp_path / "b.tflite"})


def test_the_family_of_the_program_is_known_by_name():
    assert all(map(rounds_as_program, ("litert-xnnpack", "litert-compiled", "ort-cpu", "ort-node")))
    assert not any(map(rounds_as_program, ("litert-builtin", "litert-reference", "tflm", "openvino-onnx", "of an earlier one")))


def test_a_format_has_one_usual_runtime():
    for form in ("tflite", "onnx"):
        assert of_role(form, "usual") == [usual(form)] and RUNTIMES[usual(form)].module, "and the benchmark times it"
    assert of_role("tflite", "usual", "witness") == ["litert-xnnpack", "litert-reference"]


@pytest.mark.parametrize("name", RUNTIMES)
def test_what_is_timed_is_the_signature_at_its_input(name, tmp_path):
    """Both calls of `bind` compute, and `call` gives what `run` gives."""
    program = toy(RUNTIMES[name].format)
    session = opened(name, write(tmp_path, RUNTIMES[name].format, program))
    x = samples(program, "reconstruct", 1)
    expected = session.run("reconstruct", x)
    for output, values in session.call("reconstruct", {"x": x}).items():
        np.testing.assert_array_equal(values, expected[output])
    bound = session.bind("reconstruct", x)
    bound.invoke()
    again: Any = bound.call()
    for values in again.values() if isinstance(again, dict) else again:
        assert any(np.array_equal(values, each) for each in expected.values())


def test_the_table_imports_no_runtime():
    heavy = ("ai_edge_litert", "onnxruntime", "onnx", "openvino", "tflite_micro", "tensorflow")
    script = f"import sys, tiedae.runtimes.table\nprint([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", RUNTIMES)
def test_nothing_is_printed(name, tmp_path):
    """In a process of its own, to its end: LiteRT and OpenVINO speak at start-up, and LiteRT at exit."""
    files = write(tmp_path, RUNTIMES[name].format, toy(RUNTIMES[name].format))
    opened(name, files)
    script = (
        "import os, sys, numpy as np; from pathlib import Path; from tiedae.runtimes.table import RUNTIMES\n"
        "session = RUNTIMES[sys.argv[1]].open({'encode': Path(sys.argv[2])})\n"
        "session.run('encode', np.zeros((3, 20), np.uint8)); session.trace('encode', np.zeros((3, 20), np.uint8))\n"
        "assert 'tensorflow' not in sys.modules\n"
        "print('still there', file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script, name, str(files["encode"])], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "still there\n")


def package(folder: Path, name: str, source: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(source)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise ImportError('libtbb.so.12: cannot open shared object file')", "libtbb.so.12: cannot open shared object file"),
        ("import a_package_that_is_not_here", "No module named 'a_package_that_is_not_here'"),
        ("raise RuntimeError('module compiled against ABI version 1\\nmore')", "module compiled against ABI version 1"),
        ("import numpy; numpy.no_such_name", "module 'numpy' has no attribute 'no_such_name'"),
    ],
)
def test_a_broken_runtime_is_a_reason(source, reason, tmp_path, monkeypatch):
    package(tmp_path, "broken_runtime", source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnavailableError) as caught:
        load("broken_runtime")
    assert str(caught.value) == f"broken_runtime is installed but does not import: {reason}; pip install broken_runtime"


def test_an_absent_runtime_says_how_to_get_it():
    with pytest.raises(UnavailableError, match=r"^no_runtime is not installed: pip install no_runtime$"):
        load("no_runtime.interpreter")


@pytest.mark.parametrize(
    ("name", "module", "install"),
    [
        ("tflm", "tflite_micro", "pip install 'tiedae[tflm]'"),
        ("openvino-onnx", "openvino", "pip install 'tiedae[openvino]'"),
        ("litert-compiled", "ai_edge_litert", "pip install ai-edge-litert"),
        ("ort-cpu", "onnxruntime", "pip install 'tiedae[cpu]'"),
    ],
)
def test_each_row_without_its_package(name, module, install, tmp_path):
    """In a process of its own, where the import of the package fails as it does without it."""
    files = write(tmp_path, RUNTIMES[name].format, toy(RUNTIMES[name].format))
    script = (
        "import sys\nclass Absent:\n    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {module!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from pathlib import Path; from tiedae.runtimes.table import RUNTIMES\n"
        "from tiedae.base.errors import UnavailableError\n"
        "try:\n    RUNTIMES[sys.argv[1]].open({'encode': Path(sys.argv[2])})\n"
        "except UnavailableError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script, name, str(files["encode"])], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{module} is not installed: {install}\n"
