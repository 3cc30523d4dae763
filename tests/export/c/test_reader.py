"""C files read back: what the storage proof finds in them, and what is not read."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.base.errors import FormatError
from tiedae.cli import main
from tiedae.export.c.kernels import packed, sparse_arrays
from tiedae.export.c.reader import read_c
from tiedae.export.c.samples import DataUnit
from tiedae.export.c.source import to_c
from tiedae.export.c.text import PARTS, array, named, part
from tiedae.export.storage_check import prove
from tiedae.program.program import Program

from ...conftest import build_program
from ...payloads.languages import renamed
from ...variants import every
from .models import CASES, Case
from .programs import random_program

WIDTHS = (20, 12, 5)
EXAMPLE = Path(__file__).parents[3] / "examples" / "c" / "src" / "heartbeat.c"


def write(folder: Path, program: Program, **options) -> Path:
    source = to_c(program, **options)
    for name, text in source.files.items():
        (folder / name).write_text(text)
    return folder / f"{source.name}.c"


def failed(path: Path, program: Program) -> dict[str, str]:
    """The texts of the failed statements by name."""
    masks = {name: program.constants[name] != 0 for name in program.kernels}
    return {finding.name: finding.text for finding in prove(read_c(path), program, masks) if not finding.ok}


def test_names_that_begin_as_those_of_the_text_stay(tmp_path: Path) -> None:
    program = renamed(build_program(WIDTHS), "TAE_OK")
    path = write(tmp_path, program)
    assert path.read_text().startswith('#include "m_tae_ok.h"\n')
    assert path.with_suffix(".h").read_text().startswith("/* TAE_OK: a tied autoencoder")
    assert any(name.startswith("TAE_OK") for name in program.kernels)
    assert {*program.kernels} <= {constant.name for constant in read_c(path).constants}


@pytest.mark.parametrize("storage", ["dense", "sparse"])
@pytest.mark.parametrize("options", [{}, {"bits": 4}, {"bits": 3, "granularity": "unit"}, {"widths": (33, 17, 9, 3)}], ids=str)
def test_every_form_of_a_kernel_is_read(options: dict, storage: str, tmp_path: Path) -> None:
    widths = options.get("widths", WIDTHS)
    program = build_program(**options, activations=("relu",) * (len(widths) - 2) + ("linear",))
    path = write(tmp_path, program, storage=storage)
    contents = read_c(path)
    kernels = {constant.name: constant for constant in contents.constants if constant.name in program.kernels}
    for name in program.kernels:
        np.testing.assert_array_equal(kernels[name].values, program.constants[name])
    assert failed(path, program) == {}
    assert [signature.name for signature in contents.signatures] == ["encode", "decode", "reconstruct"]
    x, (code, y) = contents.signatures[2].inputs[0], contents.signatures[2].outputs
    for tensor in (x, code, y):
        expected = program.quantization(tensor.name)
        assert (tensor.scale, tensor.zero_point) == (expected.scale, expected.zero_point)
        assert tensor.shape == (None, *program.tensors[tensor.name].shape)


SIZES = ((3, 2), (64, 48, 16), (131, 64, 65, 7), (784, 130, 64))
"""Each side of what x86.c, wasm.c and the decoder's blocks begin at, and of their remainders."""


@pytest.mark.parametrize(
    ("bits", "widths"), every(2, [*((bits, widths) for bits in range(2, 9) for widths in SIZES[:-1]), (8, SIZES[-1])]), ids=str
)
def test_every_size_and_number_of_bits_is_read(bits: int, widths: tuple[int, ...], tmp_path: Path) -> None:
    activations = ("relu",) * (len(widths) - 2) + ("linear",)
    program = build_program(widths, activations, bits=bits, granularity="unit" if bits % 2 else "tensor", pairs=bits != 7)
    for options in ({"storage": "sparse"}, {}):
        assert failed(write(tmp_path, program, **options), program) == {}


@pytest.mark.parametrize(
    "case",
    every(8, [*CASES, *(replace(case, widest=180, name=f"wide {case.name}") for case in CASES if not case.convolved)]),
    ids=str,
)
def test_scores_and_codecs_are_read(case: Case, tmp_path: Path) -> None:
    if case.widest > 40:
        (inputs,) = random_program(case.seed, case.widest).tensors["x"].shape
        case = replace(case, kind="record", shape=(inputs,))
    made = case.made()
    program, unit = made.program, DataUnit(made.model.program.spec, made.model.program.maps, made.model.program.io)
    options = {"unit": unit, "detector": made.detector, "codec": made.codec, "storage": case.storage}
    for signatures in (("encode", "decode"), ("encode",), ("decode",)):
        assert failed(write(tmp_path, program, **options, signatures=signatures), program) == {}


@pytest.mark.parametrize("name", sorted(path.name for path in PARTS.iterdir()))
def test_every_part_is_ours_in_either_file(name: str, tmp_path: Path) -> None:
    program = build_program()
    path = write(tmp_path, program)
    for file in (path, path.with_suffix(".h")):
        file.write_text(f"{file.read_text()}\n{named(part(name), 'toy')}")
    assert failed(path, program) == {}


def test_the_example_is_read() -> None:
    assert main(["inspect", str(EXAMPLE)]) == 0


@pytest.mark.parametrize("signature", ["encode", "decode"])
def test_a_file_of_one_half_has_one_signature(signature: str, tmp_path: Path) -> None:
    program = build_program()
    path = write(tmp_path, program, signatures=(signature,))
    assert [each.name for each in read_c(path).signatures] == [signature] and failed(path, program) == {}


def beside(name: str, values: np.ndarray) -> Callable[[str, Program], str]:
    return lambda text, _program: text + array(name, values)


def flipped(text: str, _program: Program) -> str:
    start = text.index("kernel_0[240] = {\n") + len("kernel_0[240] = {\n")
    value = re.match(r"-?\d+", text[start:])[0]  # type: ignore[index]
    return f"{text[:start]}{int(value) ^ 1}{text[start + len(value) :]}"


def copied(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[str, Program], str]:
    """The second kernel once more, as `change` makes it of the values."""
    return lambda text, program: text + array("toy_more", change(program.constants["kernel_1"]))


def among_others(values: np.ndarray) -> np.ndarray:
    return np.concatenate([np.arange(100, dtype=np.int64), values.T.ravel() + 7, np.zeros(9, np.int64)])


COPIES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "int8": lambda values: values,
    "int8, transposed": lambda values: values.T,
    "int16": lambda values: values.astype(np.int16),
    "int16, transposed": lambda values: values.T.astype(np.int16),
    "int32, with a zero point": lambda values: values.astype(np.int32) + 128,
    "uint8, with a zero point": lambda values: (values.astype(np.int16) + 128).astype(np.uint8),
    "int64, among other numbers": among_others,
    "int32, four to a number": lambda values: values.ravel().view(np.int32),
    "uint16, in another order": lambda values: np.sort(values, axis=None).view(np.uint8).astype(np.uint16),
    "without its zeros": lambda values: sparse_arrays(values.T)["values"].astype(np.int16),
}


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES)
def test_a_second_copy_is_found_in_any_integer_type_and_order(change, tmp_path: Path) -> None:
    program = build_program()
    path = write(tmp_path, program)
    path.write_text(copied(change)(path.read_text(), program))
    wrong = failed(path, program)
    assert set(wrong) == {"kernel_1.copies", "weights"}
    assert wrong["kernel_1.copies"] == "kernel_1: stored 2 times (kernel_1, toy_more), expected once"


def test_a_second_copy_in_packed_bits_is_found(tmp_path: Path) -> None:
    program = build_program(bits=4)
    path = write(tmp_path, program)
    path.write_text(copied(lambda values: packed(values.T, 4))(path.read_text(), program))
    assert set(failed(path, program)) == {"kernel_1.copies", "weights"}


CHANGES: dict[str, tuple[Callable[[str, Program], str], set[str]]] = {
    "a value": (flipped, {"kernel_0.copies", "kernel_0.values"}),
    "other weights": (beside("toy_more", np.arange(50, dtype=np.int8)), {"weights"}),
    "a table": (beside("toy_more", np.arange(500, dtype=np.int16)), set()),
    "sha256": (
        lambda text, _program: re.sub(r"(?<=int8 values: )[0-9a-f]{4}", "0123", text, count=1),
        {"kernel_0.sha256"},
    ),
    "the right values elsewhere": (
        lambda text, program: flipped(text, program) + array("toy_more", program.constants["kernel_0"].astype(np.int16)),
        {"kernel_0.values", "weights"},
    ),
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.values(), ids=CHANGES)
def test_a_change_is_named(change, expected: set[str], tmp_path: Path) -> None:
    program = build_program()
    path = write(tmp_path, program)
    path.write_text(change(path.read_text(), program))
    assert set(failed(path, program)) == expected


def test_a_pruned_weight_that_is_not_zero_is_named(tmp_path: Path) -> None:
    program = build_program()
    path, kernel = write(tmp_path, program), program.constants["kernel_0"]
    masks = {"kernel_0": np.ones(kernel.shape, bool)}
    masks["kernel_0"][np.unravel_index(np.abs(kernel).argmax(), kernel.shape)] = False
    (wrong,) = [finding for finding in prove(read_c(path), program, masks) if not finding.ok]
    assert wrong.name == "kernel_0.zeros"


REFUSED: dict[str, tuple[Sequence[tuple[str, str]], str]] = {
    "another language": ([(r"\A.*", "int main(void) { return 0; }")], r'must begin with #include "toy\.h"'),
    "a string": ([(r"\Z", '\nstatic const char more[] = "abc";\n')], "holds a string"),
    "another initializer": ([(r"\Z", "\nint a[] = {1}, b[] = {2};\n")], "holds an initializer of another form"),
    "no kernels": ([(r"/\* kernel [^/]*/\n", "")], "holds no kernel"),
    "a comment alone": ([(r"static const int8_t toy_kernel_0", "const int8_t toy_kernel_0")], "must follow its comment"),
    "too few values": ([(r"(toy_kernel_0\[)240(\] = \{\n)-?\d+,", r"\g<1>239\2")], r"got 239 int8 for \[20, 12\] dense"),
    "another size": ([(r"toy_kernel_0\[240\]", "toy_kernel_0[241]")], "got 240 values, must be 241"),
    "a value beyond its type": ([(r"(toy_kernel_0\[240\] = \{\n)-?\d+", r"\g<1>300")], "to 300, int8 holds -128 to 127"),
    "a digraph": ([(r"\Z", "\nstatic const int8_t more[] = <%1, 2, 3%>;\n")], "holds a digraph"),
    "a comment before the brace": (
        [(r"\Z", "\nstatic const int8_t more[] = /**/ {1, 2};\n")],
        "an initializer of another form",
    ),
    "a line that goes on": ([(r"\Z", "\nstatic const int8_t more[] = \\\\\n{1, 2};\n")], "holds a backslash"),
    "a macro of numbers": (
        [(r"\Z", "\n#define MORE 1, 2, 3, 4, 5, 6, 7, 8, 9, 10\n")],
        "holds a list of numbers without a name",
    ),
    "a compound literal": ([(r"\Z", "\n#define MORE (const int8_t[]){1, 2}\n")], "holds a compound literal"),
    "an octal number": ([(r"(toy_kernel_0\[240\] = \{\n)-?\d+", r"\g<1>010")], "numbers of another form"),
    "a fraction": ([(r"\Z", "\nstatic const float more[] = {1.5f};\n")], "numbers of another form"),
    "a kernel in a condition": ([(r"(?=/\* kernel kernel_0)", "#if 0\n"), (r"\Z", "\n#endif\n")], "outside of #if"),
    "another file": ([(r"\Z", "\n#include <more.h>\n")], "holds an include"),
    "no end": ([(r"\};(?s:.*)", "")], "has no end"),
    "a letter": ([(r"\Z", "é")], "must be ASCII"),
    "a part with a number more": (
        [(r"\Z", f"\n{named(part('x86.c'), 'toy').replace('kernel, kernel}', 'kernel, 1}')}")],
        "an initializer of another form",
    ),
    "a part with another prefix": ([(r"\Z", f"\n{named(part('wasm.c'), 'other')}")], "holds a list of numbers without a name"),
    "a comment that a part ends": (
        [(r"\Z", f"\n/*\n{named(part('x86.c'), 'toy')}const int8_t *more = (const int8_t[2]){{1, 2}}; /* */\n")],
        "holds a compound literal",
    ),
    "a list around a part": (
        [(r"\Z", f"\nstatic const int8_t more[] =\n{named(part('floats.h'), 'toy')}{{1, 2}};\n")],
        "an initializer of another form",
    ),
}


def test_a_copy_in_the_header_is_refused(tmp_path: Path) -> None:
    program = build_program()
    path = write(tmp_path, program)
    path.with_suffix(".h").write_text(path.with_suffix(".h").read_text() + array("toy_more", program.constants["kernel_1"]))
    with pytest.raises(FormatError, match=r"toy\.h: holds an initializer of another form"):
        read_c(path)


def test_a_long_word_takes_no_square_of_its_time(tmp_path: Path) -> None:
    path = write(tmp_path, build_program())
    path.write_text(f"{path.read_text()}/* {'a' * 1_000_000} */\n")
    start = time.perf_counter()
    read_c(path)
    assert time.perf_counter() - start < 5


def test_numbers_with_a_suffix_are_numbers(tmp_path: Path) -> None:
    program = build_program()
    path = write(tmp_path, program)
    numbers = ", ".join(f"{value}u" for value in program.constants["kernel_1"].view(np.uint8).ravel())
    path.write_text(f"{path.read_text()}static const uint8_t toy_more[] = {{{numbers}}};\n")
    assert set(failed(path, program)) == {"kernel_1.copies", "weights"}


@pytest.mark.parametrize(("changes", "problem"), REFUSED.values(), ids=REFUSED)
def test_other_text_is_not_read(changes, problem: str, tmp_path: Path) -> None:
    path = write(tmp_path, build_program())
    text = path.read_text()
    for pattern, other in changes:
        text = re.sub(pattern, other, text)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FormatError, match=problem) as caught:
        read_c(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "other", "problem"),
    [
        (r"#define TOY_INPUTS 20", "", r"toy\.h: has no TOY_INPUTS"),
        (r"x: 0 to 255", "x is anything", r"toy\.h: does not say what x means"),
        (r"(code: 0 to 255, scale )\S+", r"\1wide,", r"toy\.h: code: got"),
    ],
)
def test_a_header_of_another_file_is_named(pattern: str, other: str, problem: str, tmp_path: Path) -> None:
    path = write(tmp_path, build_program())
    header = path.with_suffix(".h")
    header.write_text(re.sub(pattern, other, header.read_text()))
    with pytest.raises(FormatError, match=problem):
        read_c(path)
    header.unlink()
    with pytest.raises(FormatError, match=r"toy\.h: No such file"):
        read_c(path)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("c"), replace(build_program((6, 4, 2)), name="small"), storage="sparse")


@settings(max_examples=150)
@given(data=st.data())
def test_damage_is_a_format_error_or_read(data: st.DataObject, file: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Pieces cut out, doubled or moved."""
    text = file.read_text()
    places = st.integers(0, len(text))
    start, stop = sorted((data.draw(places), data.draw(places)))
    piece, at = text[start:stop][:200], data.draw(places)
    path = tmp_path_factory.getbasetemp() / "small.c"
    path.with_suffix(".h").write_text(file.with_suffix(".h").read_text())
    kept = text[:at] + (piece if data.draw(st.booleans()) else "") + text[at:].replace(piece, "", 1)
    path.write_text(kept)
    try:
        prove(read_c(path), build_program((6, 4, 2)))
    except FormatError as error:
        assert "\n" not in str(error)
