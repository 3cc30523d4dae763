"""LiteRT sessions against the reference: codes bit for bit, each operation of the decoder within one step."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.base.errors import DataError, FormatError, InputError
from tiedae.export.tflite.reader import has_fixed_batch
from tiedae.export.tflite.writer import to_tflite
from tiedae.program.interpreter import apply, execute
from tiedae.program.operations import Requantize
from tiedae.runtimes.litert import CHUNK, RESOLVERS, TURN, LiteRTSession

from ..export.tflite.test_writer import PROGRAMS, split
from ..program.convolutions import random_program
from .opening import open_tflite

INTEGER = {name: options for name, options in PROGRAMS.items() if options.get("quantized") is not False}


def samples(program, count: int, seed: int = 0) -> np.ndarray:
    """Random uint8 values of the program's input, [count, size]."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *program.tensors["x"].shape), np.uint8)


@pytest.mark.parametrize("runtime", RESOLVERS)
@pytest.mark.parametrize("options", INTEGER.values(), ids=INTEGER)
def test_each_operation_is_within_one_step(options, runtime):
    program = split(**options)
    x = samples(program, 400)
    session = open_tflite(runtime, to_tflite(program, io="uint8"))
    traced = session.trace("reconstruct", x)
    assert set(traced) >= set(program.tensors)
    np.testing.assert_array_equal(traced["x"], x)
    for operation in program.operations:
        expected = apply(program, operation, traced[operation.x]).astype(int)
        difference = np.abs(expected - traced[operation.y])
        exact = runtime == "litert-xnnpack" or isinstance(operation, Requantize)
        assert difference.max() <= (0 if exact else 1), operation
        assert np.mean(difference > 0) < 0.02, operation


@settings(max_examples=25, deadline=None)
@given(
    widths=st.lists(st.integers(1, 40), min_size=2, max_size=4).map(tuple),
    activation=st.sampled_from(["linear", "relu", "relu6", "tanh", "sigmoid"]),
    granularity=st.sampled_from(["tensor", "unit"]),
    seed=st.integers(0, 1000),
)
def test_xnnpack_equals_the_reference(widths, activation, granularity, seed):
    program = split(widths=widths, activations=(activation,) * (len(widths) - 1), granularity=granularity, seed=seed)
    x = samples(program, 64, seed)
    expected = execute(program, "reconstruct", x)
    session = open_tflite("litert-xnnpack", to_tflite(program))
    got = session.run("reconstruct", x)
    np.testing.assert_array_equal(got["code"], expected["code"])
    np.testing.assert_array_equal(got["y"], expected["y"])
    np.testing.assert_array_equal(session.run("encode", x)["code"], expected["code"])
    np.testing.assert_array_equal(session.run("decode", expected["code"])["y"], expected["y"])


@pytest.mark.parametrize("io", ["uint8", "int8", "float32"])
def test_every_io_gives_the_same_codes(io):
    program = split(byte_data=False)
    x = samples(program, 50)
    quantization = program.tensors["x"].quantization
    given_x = {"uint8": x, "int8": (x ^ 128).view(np.int8), "float32": quantization.dequantize(x)}[io]
    got = open_tflite("litert-xnnpack", to_tflite(program, io=io)).run("reconstruct", given_x)
    expected = execute(program, "reconstruct", x)
    np.testing.assert_array_equal(got["code"], expected["code"])
    y = {
        "uint8": lambda y: y,
        "int8": lambda y: y.view(np.uint8) ^ 128,
        "float32": program.tensors["y"].quantization.quantize,
    }[io](got["y"])
    np.testing.assert_array_equal(y, expected["y"])


@pytest.mark.parametrize("runtime", RESOLVERS)
@pytest.mark.parametrize("name", ["float", "float no bias"])
def test_float_files_agree_with_the_reference(name, runtime):
    program = split(**PROGRAMS[name])
    x = np.random.default_rng(0).uniform(0, 1, (100, *program.tensors["x"].shape)).astype(np.float32)
    session = open_tflite(runtime, to_tflite(program))
    expected, got, traced = execute(program, "reconstruct", x), session.run("reconstruct", x), session.trace("reconstruct", x)
    np.testing.assert_allclose(got["code"], expected["code"], atol=1e-5)
    np.testing.assert_allclose(got["y"], expected["y"], atol=1e-5)
    for tensor, values in traced.items():
        np.testing.assert_allclose(values, expected[tensor], atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_any_batch_size_in_any_order(count):
    program = split()
    session = open_tflite("litert-xnnpack", to_tflite(program))
    x = samples(program, 3 * CHUNK)
    expected = execute(program, "encode", x)["code"]
    np.testing.assert_array_equal(session.run("encode", x)["code"], expected)
    got = session.run("encode", x[:count])["code"]
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, expected[:count])
    traced = session.trace("encode", x[:count])["code"]
    np.testing.assert_array_equal(traced, expected[:count])


def test_provider_counts_what_xnnpack_took():
    data = to_tflite(split())
    text = open_tflite("litert-xnnpack", data).provider
    assert text == "XNNPACK: encode 2 of 4, decode 5 of 7, reconstruct 7 of 10 operations; builtin kernels: QUANTIZE"
    assert open_tflite("litert-builtin", data).provider == "builtin kernels"
    assert open_tflite("litert-reference", data).provider == "reference kernels"


def test_start_up_chatter_stays_off_stderr(tmp_path):
    """In a process of its own: LiteRT says it once per process."""
    path = tmp_path / "toy.tflite"
    path.write_bytes(to_tflite(split()))
    script = (
        "import os, sys, numpy as np; from pathlib import Path; from tiedae.runtimes.litert import LiteRTSession\n"
        "session = LiteRTSession('litert-xnnpack', {'encode': Path(sys.argv[1])})\n"
        "session.run('encode', np.zeros((3, 20), np.uint8)); session.trace('decode', np.zeros((3, 5), np.uint8))\n"
        "os.write(2, b'still there')"
    )
    result = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("", "still there")


def test_a_mistake_in_the_file_is_seen():
    """The comparison is not vacuous: one changed bias moves codes."""
    program = split()
    constants = dict(program.constants)
    constants["encoder_1.bias"] = constants["encoder_1.bias"] + np.array([3000, 0, 0, 0, 0], np.int32)
    changed = open_tflite("litert-xnnpack", to_tflite(dataclasses.replace(program, constants=constants)))
    x = samples(program, 50)
    assert not np.array_equal(changed.run("encode", x)["code"], execute(program, "encode", x)["code"])


def test_wrong_calls_are_named():
    program = split()
    data = to_tflite(program, signatures=("encode",))
    session = open_tflite("litert-reference", data)
    with pytest.raises(InputError, match="no file for the signature 'decode', only for encode"):
        session.run("decode", samples(program, 1))
    for x in (samples(program, 3)[:, :5], samples(program, 3).astype(np.float32), samples(program, 0)):
        with pytest.raises(DataError, match=r"encode: got .* the file takes uint8 \[batch, 20\]"):
            session.run("encode", x)


@pytest.mark.parametrize("data", [b"", b"not a model", b"\0" * 4096])
def test_foreign_bytes_are_refused(data):
    with pytest.raises(FormatError, match="LiteRT refuses the file: "):
        open_tflite("litert-xnnpack", data)


def test_what_is_loaded_later_is_the_file_that_was_opened(tmp_path):
    program, other = split(), split(seed=1)
    path = tmp_path / "file.tflite"
    path.write_bytes(to_tflite(program, io="uint8"))
    session = open_tflite("litert-xnnpack", path)
    (tmp_path / "new").write_bytes(to_tflite(other, io="uint8", signatures=("decode",)))
    (tmp_path / "new").rename(path)
    x = samples(program, 8)
    np.testing.assert_array_equal(session.trace("reconstruct", x)["code"], execute(program, "reconstruct", x)["code"])
    assert "reconstruct" in session.provider
    path.unlink()
    np.testing.assert_array_equal(session.run("reconstruct", x)["code"], execute(program, "reconstruct", x)["code"])


def test_a_name_that_is_no_text_is_a_refusal(make_program) -> None:
    """LiteRT's reader of names raises UnicodeDecodeError for one changed byte of a tensor's name."""
    whole = to_tflite(make_program(form="split"))
    refused = 0
    for name in (b"code", b"encode", b"x\0"):
        place = whole.find(name)
        while place >= 0:
            try:
                open_tflite("litert-reference", whole[:place] + b"\xd4" + whole[place + 1 :])
            except FormatError as error:
                refused += "LiteRT refuses the file: 'utf-8' codec" in str(error)
            place = whole.find(name, place + 1)
    assert refused


def test_threads_of_a_file_of_one_sample_a_call_give_what_one_gives() -> None:
    """Each has an interpreter of its own there; samples keep their order, and traces their names."""
    program, _ = random_program(2, tiles=False)
    data = to_tflite(program, kernels="view", io="uint8")
    assert has_fixed_batch(data)
    x = samples(program, 3 * TURN + 5)
    single, several = (open_tflite("litert-reference", data, threads=threads) for threads in (1, 3))
    assert isinstance(single, LiteRTSession) and isinstance(several, LiteRTSession)
    assert len(several._others) == 2 and not single._others
    for signature in ("reconstruct", "encode"):
        for run in (LiteRTSession.run, LiteRTSession.trace):
            one, more = run(single, signature, x), run(several, signature, x)
            assert one.keys() == more.keys() and all(np.array_equal(one[name], more[name]) for name in one)
    with pytest.raises(DataError, match="batch at least 1"):
        several.run("encode", x[:0])
