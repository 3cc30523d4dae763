"""Decoders by view: one buffer read in two orders, and `y` equal to the program's in every value."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tiedae.base.errors import ExportError, UnavailableError
from tiedae.export.storage_check import prove
from tiedae.export.tflite.reader import has_views, read_tflite
from tiedae.export.tflite.schema import int32, pack_model, unpack_model
from tiedae.export.tflite.views import LARGE
from tiedae.export.tflite.writer import to_tflite
from tiedae.program.interpreter import execute
from tiedae.program.operations import Dense, Requantize
from tiedae.program.program import SIGNATURES, Program
from tiedae.program.score_graph import SCORE
from tiedae.program.scoring import Detector, Scoring, Thresholds
from tiedae.runtimes.table import RUNTIMES
from tiedae.verify.parity.comparison import compare_traced

from ...conftest import build_program
from ...runtimes.opening import open_tflite
from ...variants import every
from ..shapes import GRID, registered, samples, shaped

PROGRAMS = {
    "bytes": {},
    "unit": {"granularity": "unit", "activations": ("sigmoid", "tanh")},
    "floats": {"byte_data": False, "output_activation": "tanh"},
    "no bias": {"bias": False, "granularity": "unit", "activations": ("relu6", "tanh")},
    "linear": {"output_activation": "linear", "byte_data": False},
    "interleaved": {"interleave": 4, "output_activation": "linear"},
    "three layers": {"widths": (131, 70, 33, 5), "activations": ("relu", "sigmoid", "linear")},
    "4 bits": {"bits": 4, "code_bits": 5},
    "gains": {"gains": True, "activations": ("tanh", "linear"), "output_activation": "tanh", "byte_data": False},
    "gains per unit": {"gains": True, "granularity": "unit", "activations": ("sigmoid", "relu")},
    "float": {"quantized": False},
    "float gains": {"quantized": False, "gains": True},
    "float no bias": {"quantized": False, "bias": False},
}
INTEGER = {name: options for name, options in PROGRAMS.items() if options.get("quantized", True)}


def viewed(program: Program, **options) -> bytes:
    return to_tflite(program, **{"int4": "bytes", "io": "uint8" if program.quantized else "auto"} | options)


def changed(data: bytes, change) -> bytes:
    """A file with every view's sparsity table changed."""
    model = unpack_model(data)
    for tensor in (tensor for graph in model.subgraphs for tensor in graph.tensors):
        if tensor.sparsity is not None:
            change(tensor.sparsity)
    return pack_model(model)


@pytest.mark.parametrize("options", PROGRAMS.values(), ids=PROGRAMS)
def test_the_decoder_reads_the_encoders_buffer_in_its_own_order(options):
    program = build_program(**options)
    contents = read_tflite(viewed(program))
    products = {each.kernel: each for each in program.decoder if isinstance(each, Dense)}
    for name, kernel in program.kernels.items():
        stored, view = (next(each for each in contents.constants if each.name == label) for label in (name, f"{name}.decode"))
        assert stored.storage == view.storage and view.encoded is None and view.axis == 0
        assert view.scales == tuple(products[name].scales(program).tolist())
        assert view.values.shape == (kernel.inputs, 1, 1, kernel.units)
        np.testing.assert_array_equal(view.values[:, 0, 0], program.constants[name])
        np.testing.assert_array_equal(stored.values.T, program.constants[name])
    findings = prove(contents, program)
    assert all(each.ok for each in findings) and {f"{name}.order" for name in program.kernels} <= {f.name for f in findings}


@pytest.mark.parametrize("options", every(3, INTEGER.values()))
def test_xnnpack_gives_the_programs_values_for_every_batch(options):
    program = build_program(**options)
    session = open_tflite("litert-xnnpack", viewed(program))
    requantizes = any(isinstance(each, Requantize) for each in program.operations)
    assert session.provider.endswith("builtin kernels: QUANTIZE" if requantizes else "operations")
    for signature in SIGNATURES:
        for count in (1, 40, 3):
            x = samples(program, signature, count)
            expected, got = execute(program, signature, x), session.run(signature, x)
            for name, values in got.items():
                np.testing.assert_array_equal(values, expected[name])


@pytest.mark.parametrize("options", every(3, INTEGER.values()))
def test_every_operation_is_seen_and_equal(options):
    program = build_program(**options)
    session = open_tflite("litert-xnnpack", viewed(program))
    for signature in SIGNATURES:
        x = samples(program, signature, 20)
        rows, hidden = compare_traced(session.trace(signature, x), program, signature, x)
        assert hidden == [] and all(not row.problem and row.max_lsb == 0 for row in rows)


@pytest.mark.parametrize("runtime", ["litert-builtin", "litert-reference"])
@pytest.mark.parametrize("name", ["three layers", "interleaved", "float"])
def test_other_kernels_of_litert_run_it(runtime, name):
    program = build_program(**PROGRAMS[name])
    x = samples(program, "reconstruct", 20)
    y, expected = open_tflite(runtime, viewed(program)).run("reconstruct", x)["y"], execute(program, "reconstruct", x)["y"]
    assert np.abs(y.astype(float) - expected).max() <= (2 if program.quantized else 1e-6)


TIE = {
    "granularity": "tensor",
    "bias": True,
    "interleave": 1,
    "activations": ("sigmoid", "relu6"),
    "output_activation": "sigmoid",
}
"""Of a net whose sigmoid has outputs within 5e-7 of a tie, in the range that its samples give."""


@settings(max_examples=25, deadline=None)
@example(TIE, (40, 96, 108), (), 0)
@given(
    options=st.fixed_dictionaries(
        {key: st.sampled_from(values) for key, values in GRID.items() if key not in ("form", "quantized")}
    ),
    widths=st.lists(st.integers(1, 40).map(lambda n: 4 * n), min_size=3, max_size=3).map(tuple),
    rows=st.lists(st.integers(1, 3), max_size=2).map(tuple),
    seed=st.integers(0, 99),
)
def test_random_nets_of_any_shape_equal_the_program(options, widths, rows, seed):
    with registered():
        program = shaped(build_program(widths, **options, seed=seed), rows, "transposed", "flat")
        x = samples(program, "reconstruct", 20)
        session, expected = open_tflite("litert-xnnpack", viewed(program)), execute(program, "reconstruct", x)
        for name, values in session.run("reconstruct", x).items():
            np.testing.assert_array_equal(values, expected[name])
        rows_, hidden = compare_traced(session.trace("reconstruct", x), program, "reconstruct", x)
        assert hidden == [] and all(not row.problem and row.max_lsb == 0 for row in rows_)


@pytest.mark.parametrize("gains", [False, True])
def test_a_float_view_is_close_to_the_program(gains):
    program = build_program(quantized=False, gains=gains)
    x = samples(program, "reconstruct", 40)
    y = open_tflite("litert-xnnpack", viewed(program)).run("reconstruct", x)["y"]
    np.testing.assert_allclose(y, execute(program, "reconstruct", x)["y"], atol=1e-6)


def test_packed_integers_are_refused_and_rows_that_are_no_whole_bytes_are_not():
    with pytest.raises(
        ExportError, match=r'kernel_\d: decoder "view" reads no packed integers, got int4 packed, must be bytes'
    ):
        to_tflite(build_program(bits=4), int4="packed")
    assert has_views(to_tflite(build_program((21, 13, 5), bits=4), int4="packed"))


def test_pixels_begin_and_end_with_the_decoder():
    program = build_program((40, 24, 12, 6), ("relu", "relu", "linear"), "linear", byte_data=False)
    (decode,) = read_tflite(viewed(program, signatures=("decode",))).signatures
    ends = {"DEQUANTIZE": 2, "QUANTIZE": 2}
    assert decode.operations == ends | {"RESHAPE": 2, "DENSIFY": 3, "CONV_2D": 3}


@pytest.mark.parametrize("runtime", ["litert-xnnpack", "litert-builtin", "litert-reference"])
@pytest.mark.parametrize("factor", [1e-8, 1.0, 7e5])
def test_bytes_become_int8_by_way_of_floats_without_rounding(factor, runtime):
    """Inputs and outputs of any scale, in all of their values."""
    program = build_program(output_activation="linear", byte_data=False)
    scaled = {name: float(np.float32(program.quantization(name).scale * factor)) for name in program.tensors}
    tensors = {
        name: replace(each, quantization=replace(each.quantization, scale=scaled[name]))
        for name, each in program.tensors.items()
    }
    program = replace(program, tensors=tensors)
    x = np.arange(13 * 20).reshape(13, 20).astype(np.uint8)
    session = open_tflite(runtime, viewed(program))
    assert read_tflite(viewed(program)).signatures[0].operations["DEQUANTIZE"] == 2
    inner = session.trace("reconstruct", x)
    for name, values in ({"x": x} | session.run("reconstruct", x)).items():
        np.testing.assert_array_equal(values, inner[name])


@pytest.mark.parametrize("width", [LARGE // 64 - 1, LARGE // 64])
@pytest.mark.parametrize("signatures", [SIGNATURES, ("decode", "reconstruct"), ("encode", "reconstruct")])
def test_reconstruct_calls_decode_of_large_views_unless_that_is_primary(signatures, width):
    """Each subgraph that reads a view unpacks it; a runtime may put another subgraph in the place of the first."""
    program = build_program((width, 64, 1), granularity="unit", gains=True)
    data, calls = viewed(program, signatures=signatures), len(signatures) == 3 and width == LARGE // 64
    (reconstruct,) = (each for each in read_tflite(data).signatures if each.name == "reconstruct")
    assert (reconstruct.operations.get("IF"), reconstruct.operations["DENSIFY"]) == (1 if calls else None, 2)
    session = open_tflite("litert-xnnpack", data)
    assert ("IF" in session.provider) == calls
    for count in (3, 1):
        x = samples(program, "reconstruct", count)
        expected = execute(program, "reconstruct", x)
        for name, values in session.run("reconstruct", x).items():
            np.testing.assert_array_equal(values, expected[name])


def test_the_oldest_runtime_has_densify():
    assert read_tflite(viewed(build_program())).details["min_runtime_version"] == "2.2.0"


def test_runtimes_without_views_say_so(tmp_path):
    path = tmp_path / "a.tflite"
    path.write_bytes(viewed(build_program()))
    with pytest.raises(UnavailableError, match='tflm has no DENSIFY; decoder = "split" and kernels = "portable" make'):
        RUNTIMES["tflm"].open({"decode": path})


def test_openvino_is_not_asked_for_a_view(tmp_path):
    pytest.importorskip("openvino")
    path = tmp_path / "a.tflite"
    path.write_bytes(viewed(build_program()))
    with pytest.raises(UnavailableError, match="openvino-tflite has no DENSIFY of dense dimensions"):
        RUNTIMES["openvino-tflite"].open({"decode": path})


@pytest.mark.parametrize("runtime", ["litert-xnnpack", "litert-reference", "litert-compiled"])
def test_a_score_calls_a_decoder_whose_y_is_bytes(runtime, tmp_path):
    program = build_program((LARGE // 64, 64, 5))
    detector = Detector(Scoring("mse", LARGE // 64, 1.0, 0), Thresholds(1, 1), 0.9, 8)
    paths = [tmp_path / name for name in ("calls.tflite", "alone.tflite", "floats.tflite")]
    paths[0].write_bytes(viewed(program, detector=detector))
    paths[1].write_bytes(viewed(program, detector=detector, signatures=("reconstruct",)))
    paths[2].write_bytes(viewed(program, detector=detector, io="float32"))
    signatures = [each for path in paths for each in read_tflite(path.read_bytes()).signatures if each.name == SCORE]
    assert ["IF" in each.operations for each in signatures] == [True, False, False]
    x = np.random.default_rng(0).integers(0, 256, (20, LARGE // 64)).astype(np.uint8)
    calls, alone = (RUNTIMES[runtime].open({SCORE: path}).run(SCORE, x)[SCORE] for path in paths[:2])
    np.testing.assert_array_equal(calls, alone)
    assert len(np.unique(calls)) > 10


def _other_order(sparsity) -> None:
    sparsity.traversalOrder = int32((0, 1, 2, 3))
    sparsity.dimMetadata = [sparsity.dimMetadata[place] for place in (3, 0, 1, 2)]


@pytest.mark.parametrize("widths", [(20, 12, 5), (12, 12, 5)], ids=["", "square"])
def test_the_proof_sees_a_view_in_another_order(widths):
    program = build_program(widths)
    wrong = [each for each in prove(read_tflite(changed(viewed(program), _other_order)), program) if not each.ok]
    assert {each.name for each in wrong} == {"kernel_0.order", "kernel_1.order"}


def _sparse(sparsity) -> None:
    sparsity.dimMetadata[3].format = 1


def _block(sparsity) -> None:
    sparsity.blockMap = int32([0])


def _no_order(sparsity) -> None:
    sparsity.traversalOrder = int32((1, 2, 3, 3))


def _size(sparsity) -> None:
    sparsity.dimMetadata[3].denseSize = 7


@pytest.mark.parametrize("change", [_sparse, _block, _no_order, _size])
def test_what_is_no_dense_view_is_read_as_its_bytes(change):
    contents = read_tflite(changed(viewed(build_program()), change))
    found = [each for each in contents.constants if each.name.endswith(".decode")]
    assert [each.encoded and each.encoded[0] for each in found] == ["sparse int8"] * 2
