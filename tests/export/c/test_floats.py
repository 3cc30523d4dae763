"""NAME_float.h: every float32 becomes the integers of Python, without double and without a division."""

from __future__ import annotations

import ctypes
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiedae.base.errors import ExportError
from tiedae.codec.backends import ProgramBackend
from tiedae.codec.detector import integer_errors
from tiedae.compress.affine import Quantization
from tiedae.config.sample_spec import SampleSpec
from tiedae.config.scaling import Scaling
from tiedae.export.c.floats import reciprocal
from tiedae.export.c.samples import DataUnit
from tiedae.export.c.source import CSource, to_c
from tiedae.export.c.text import part
from tiedae.program.file_io import SCALED_IO, FileIO
from tiedae.program.operations import Dense
from tiedae.program.program import Kernel, Program, Tensor
from tiedae.program.scoring import Detector, Scoring, fixed_point

from ...variants import every
from .compiled import STRICT, compiler, pointer, tool, write
from .models import backend_of
from .test_portable import CHIPS, Chip
from .test_samples import float_library, scores, source_of, table_program

TINY = np.finfo(np.float32).tiny
MOST = np.finfo(np.float32).max
SPECIAL = np.array(
    [0, TINY, TINY / 2, np.finfo(np.float32).smallest_subnormal, np.nextafter(TINY, 0, dtype=np.float32), 1, MOST, np.inf],
    np.float32,
)
SPECIALS = np.concatenate([SPECIAL, -SPECIAL, [np.float32(np.nan)]])
BATCHES = """
#include <stddef.h>
#include <stdint.h>
PART
void divided(const float *value, size_t count, float divisor, uint32_t reciprocal, float *result);
void divided(const float *value, size_t count, float divisor, uint32_t reciprocal, float *result)
{
  size_t i;
  for (i = 0; i < count; i++) result[i] = tae_divided(value[i], divisor, reciprocal);
}
void levels(const float *value, size_t count, int32_t zero_point, int32_t top, uint8_t *result);
void levels(const float *value, size_t count, int32_t zero_point, int32_t top, uint8_t *result)
{
  size_t i;
  for (i = 0; i < count; i++) result[i] = tae_level(value[i], zero_point, top);
}
void units(const float *value, size_t count, uint32_t multiplier, int32_t point, int64_t *result);
void units(const float *value, size_t count, uint32_t multiplier, int32_t point, int64_t *result)
{
  size_t i;
  for (i = 0; i < count; i++) result[i] = tae_float_units(value[i], multiplier, point);
}
"""


@pytest.fixture(scope="module")
def batches(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The functions of `parts/reals.h` over arrays."""
    folder = tmp_path_factory.mktemp("reals")
    (folder / "reals.c").write_text(BATCHES.replace("PART", part("reals.h")))
    command = [compiler(), *STRICT, "-O2", "-shared", "-fPIC", folder / "reals.c", "-o", folder / "reals.so"]
    subprocess.run(command, check=True, timeout=300)
    return ctypes.CDLL(str(folder / "reals.so"))


def patterns(seed: int, count: int = 4000) -> np.ndarray:
    """Floats of random bits, and the special ones."""
    bits = np.random.default_rng(seed).integers(0, 1 << 32, count, dtype=np.uint64).astype(np.uint32)
    return np.concatenate([bits.view(np.float32), SPECIALS])


def batch(library: ctypes.CDLL, function: str, values: np.ndarray, *arguments: object, dtype: str) -> np.ndarray:
    result = np.zeros(len(values), dtype)
    getattr(library, function)(pointer(values), ctypes.c_size_t(len(values)), *arguments, pointer(result))
    return result


NORMAL = st.tuples(st.sampled_from([0, 1 << 31]), st.integers(1, 254), st.integers(0, (1 << 23) - 1))
"""Sign, biased exponent and fraction of a normal number."""


def float_of(sign: int, exponent: int, fraction: int) -> np.float32:
    return np.uint32(sign | exponent << 23 | fraction).view(np.float32)


@settings(max_examples=300, deadline=None)
@given(NORMAL, st.integers(0, 2**32 - 1))
def test_a_quotient_is_that_of_ieee_754(batches: ctypes.CDLL, number: tuple[int, int, int], seed: int) -> None:
    divisor, values = float_of(*number), patterns(seed)
    near = np.random.default_rng(seed).integers(-3, 4, 100) + (int(divisor.view(np.uint32)) & 0x7FFFFF)
    with np.errstate(all="ignore"):
        multiples = float_of(0, number[1], 0) + np.arange(1, 200, dtype=np.float32) * divisor
        values = np.concatenate([values, np.float32(near), multiples, np.nextafter(multiples, np.float32(0))])
        right = values / divisor
        small = np.abs(values.astype(np.float64) / np.float64(divisor)) < TINY
    right[small] = np.copysign(np.float32(0), right[small])
    got = batch(batches, "divided", values, ctypes.c_float(divisor), ctypes.c_uint32(reciprocal(divisor)), dtype="float32")
    missing = np.isnan(values)
    assert np.isnan(got[missing]).all()
    np.testing.assert_array_equal(got[~missing].view(np.uint32), right[~missing].view(np.uint32))


def test_divisors_at_the_ends_of_the_significand(batches: ctypes.CDLL) -> None:
    """The reciprocals of least error, and of most: all values of a significand."""
    values = np.arange(1 << 23, dtype=np.uint32) | np.uint32(127 << 23)
    for fraction in (0, 1, (1 << 23) - 1):
        divisor = float_of(0, 127, fraction)
        got = batch(
            batches,
            "divided",
            values.view(np.float32),
            ctypes.c_float(divisor),
            ctypes.c_uint32(reciprocal(divisor)),
            dtype="float32",
        )
        np.testing.assert_array_equal(got, values.view(np.float32) / divisor)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 8), st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_levels_are_rounded_to_even(batches: ctypes.CDLL, bits: int, zero: int, seed: int) -> None:
    top = (1 << bits) - 1
    zero_point = zero & top
    halves = np.arange(-1100, 1100, dtype=np.float32) / np.float32(2)
    steps = [halves, *(np.nextafter(halves, np.float32(side) * MOST) for side in (-1, 1)), patterns(seed)]
    values = np.concatenate(steps)
    values = values[~np.isnan(values)]
    got = batch(batches, "levels", values, ctypes.c_int32(zero_point), ctypes.c_int32(top), dtype="uint8")
    np.testing.assert_array_equal(got, np.clip(np.rint(values.astype(np.float64)) + zero_point, 0, top))


@settings(max_examples=100, deadline=None)
@given(st.floats(-107, 127), st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_units_are_those_of_the_scoring(batches: ctypes.CDLL, exponent: float, zero_point: int, seed: int) -> None:
    scale = float(np.float32(2.0**exponent))
    values = patterns(seed)
    with np.errstate(over="ignore"):
        values = np.append(values, (np.random.default_rng(seed).normal(0, 300, 500) * scale).astype(np.float32))
    values = values[np.isfinite(values)]
    multiplier, point = fixed_point(65536 / scale)
    got = batch(batches, "units", values, ctypes.c_uint32(multiplier), ctypes.c_int32(point), dtype="int64")
    right = Scoring("mse", 1, scale, zero_point).real_units(values)
    np.testing.assert_array_equal(got + (zero_point << 16), right)


BEYOND = {
    "beyond float32 less the offset": (-3e38, 3e33, 3.0),
    "beyond float32 in scaled values": (0.0, 1e-30, float(np.float32(1e35))),
    "below float32": (0.0, float(np.float32(2e-38)), 1 / 128),
}
"""Offset, scale, and scale of x of data of which some are near 0 in steps of x, and yet infinite or subnormal on the way."""


def scaled_backend(seed: int, rule: str) -> ProgramBackend:
    """A small program for float32 data whose scaling, and scale of x, are of any size."""
    rng, inputs = np.random.default_rng(seed), 13
    scale, step = (float(np.float32(10.0 ** rng.uniform(-6, 6))) for _ in range(2))
    offset = float(np.float32(scale * step * rng.normal(0, 10.0 ** rng.uniform(0, 6))))
    offset, scale, step = BEYOND.get(rule, (offset, scale, step))
    x, y = (Quantization(step, int(rng.integers(0, 256))) for _ in range(2))
    program = Program(
        "toy",
        {"x": Tensor("x", (inputs,), x), "code": Tensor("code", (3,), y), "y": Tensor("y", (inputs,), y)},
        {"kernel": Kernel("kernel", inputs=inputs, units=3, scales=(1 / 64,))},
        (Dense("x", "code", "kernel", False, None, "linear"),),
        (Dense("code", "y", "kernel", True, None, "linear"),),
        {"kernel": rng.integers(-64, 65, (inputs, 3), dtype=np.int8)},
    )
    scalings = {
        "one scale": Scaling("standard", offset, scale),
        "no offset": Scaling("standard", 0.0, scale),
        "a negative scale": Scaling("standard", offset, -scale),
        "scales that repeat": Scaling(
            "standard", tuple(np.resize([offset, 0.0], inputs)), tuple(np.resize([scale, 3 * scale], inputs))
        ),
        "scaled values": Scaling(),
    }
    scaling = scalings["one scale" if rule in BEYOND else rule]
    io = SCALED_IO if scaling.rule == "none" else FileIO("float32", scaling)
    return ProgramBackend(program, SampleSpec((inputs,), "float32", scaling, "table"), io)


RULES = ("one scale", "no offset", "a negative scale", "scales that repeat", "scaled values")


FLOATS = [*every(4, [(rule, seed) for seed in range(4) for rule in RULES]), *((rule, 0) for rule in BEYOND)]


def at_ties(backend: ProgramBackend, seed: int) -> np.ndarray:
    """Samples at and beside the values that lie between two integers of x, of random bits, and special ones."""
    x, (offset, scale) = backend.program.quantization("x"), backend.spec.scaling.float32
    inputs, rng = backend.spec.inputs, np.random.default_rng(seed)
    steps = np.resize((np.arange(-300, 300) + 0.5)[:, None], (600, inputs))
    with np.errstate(over="ignore"):
        ties = (steps * x.scale * scale.astype(np.float64) + offset).astype(np.float32)
    beside = (ties.view(np.int32) + rng.integers(-4, 5, ties.shape, dtype=np.int32)).view(np.float32)
    special = np.resize(SPECIALS, (len(SPECIALS), inputs))
    samples = np.concatenate([ties, beside, patterns(seed, 3000 * inputs)[: 3000 * inputs].reshape(-1, inputs), special])
    return samples[np.isfinite(samples).all(axis=1)]


@pytest.mark.parametrize(("rule", "seed"), FLOATS)
def test_any_float_is_quantized_and_scored_as_in_python(rule: str, seed: int, tmp_path: Path) -> None:
    backend = scaled_backend(seed, rule)
    source, detector = source_of(backend, "mse")
    assert detector is not None
    library, x = float_library(source, tmp_path), at_ties(backend, seed)
    got = np.zeros(x.shape, np.uint8)
    for i in range(len(x)):
        assert library.quantize(pointer(x[i]), pointer(got[i])) == 0
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(got, backend.input(x))
    np.testing.assert_array_equal(scores(source, library, "score", x)[0], totals_of(backend, detector, x)[0])


def totals_of(backend: ProgramBackend, detector: Detector, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What C gives for samples: S, uint64, the largest number for one without a score; and which these are."""
    with np.errstate(over="ignore"):
        errors, missing = integer_errors(detector.scoring, backend, x)
    return np.where(missing, np.iinfo(np.uint64).max, detector.scoring.totals(errors).astype(np.uint64)), missing


@pytest.mark.parametrize("options", [("-O2",), pytest.param(("-O2", "-mfpmath=387"), marks=pytest.mark.ci)], ids=" ".join)
@pytest.mark.parametrize("per_feature", [False, True], ids=["one scale", "a scale per feature"])
def test_ten_thousand_samples_and_every_special_value_are_scored_as_in_python(
    per_feature: bool, options: tuple[str, ...], tmp_path: Path
) -> None:
    backend = backend_of(table_program(), "float32", per_feature)
    source, detector = source_of(backend, "mse")
    assert detector is not None
    (offset, scale), y = backend.spec.scaling.float32, backend.program.quantization("y")
    x = np.random.default_rng(1).normal(0, 1, (10_000, backend.spec.inputs)) * y.scale * 90 * scale + offset
    x = x.astype(np.float32)
    x[1::2] *= np.exp(np.random.default_rng(2).normal(0, 1, (5000, 1)).astype(np.float32))
    for i, value in enumerate(SPECIALS):
        x[i, i % x.shape[1]] = value
    if per_feature and options[1:]:
        with pytest.raises(subprocess.CalledProcessError):  # samples are restored in double
            float_library(source, tmp_path, *options)
        return
    library, (totals, missing) = float_library(source, tmp_path, *options), totals_of(backend, detector, x)
    got, flags = scores(source, library, "score", x)
    np.testing.assert_array_equal(got, totals)
    np.testing.assert_array_equal(flags, missing | (totals > detector.thresholds.fused))
    assert missing.sum() >= 3 and 0.1 < flags.mean() < 0.9


@pytest.mark.parametrize(
    ("scale", "step", "message"),
    [
        (1e-40, 0.5, r"scale: got 9.99\d+e-41, must be finite and at least 1.17\d+e-38"),
        (1e39, 0.5, r"scale: got inf, must be finite"),
        (1.0, 2.0**-109, r"scale: got 1.54\d+e-33, must be finite and at least 3.08\d+e-33"),
    ],
)
def test_scales_that_are_refused(scale: float, step: float, message: str) -> None:
    backend = scaled_backend(0, "scaled values")
    tensors = backend.program.tensors
    x = replace(tensors["x"], quantization=Quantization(step, 0))
    program = replace(backend.program, tensors={**tensors, "x": x})
    spec = SampleSpec(backend.spec.shape, "float32", Scaling("standard", 0.0, scale))
    with pytest.raises(ExportError, match=message):
        to_c(program, unit=DataUnit(spec))


FORBIDDEN = re.compile(r"__aeabi_(d.*|c?d.*cmp.*|.*2d|u?ldivmod|fdiv)|__.*df.*|__divsf3|__u?(div|mod)di3")
"""Software double, division of 64 bits, and division of floats, on ARM and RISC-V."""
IMAGE = """
#include "NAME_float.h"
static tae_arena arena;
static float data[TAE_INPUTS];
static uint8_t x[TAE_INPUTS];
volatile int results;
void *memset(void *to, int byte, size_t size);
void *memset(void *to, int byte, size_t size)
{
  unsigned char *bytes = to;
  while (size--) *bytes++ = (unsigned char)byte;
  return to;
}
void *memcpy(void *to, const void *from, size_t size);
void *memcpy(void *to, const void *from, size_t size)
{
  unsigned char *bytes = to;
  const unsigned char *given = from;
  while (size--) *bytes++ = *given++;
  return to;
}
void start(void);
void start(void)
{
  uint64_t score;
  uint8_t anomaly;
  results = tae_score_float(&arena, data, &score, &anomaly);
  results = tae_quantize(data, x);
  MORE
}
"""


def image(source: CSource, chip: Chip, more: str, folder: Path) -> set[str]:
    """The symbols of a linked image that scores and quantizes."""
    write(source, folder)
    text = IMAGE.replace("MORE", more).replace("NAME", source.name)
    text = text.replace("tae_", f"{source.name}_").replace("TAE_", f"{source.name.upper()}_")
    (folder / "image.c").write_text(text)
    options = ["-ffreestanding", "-ffunction-sections", "-nostdlib", "-Wl,--gc-sections,-e,start"]
    command = [tool(f"{chip.target}-gcc"), *STRICT, *chip.options, *options, "image.c", f"{source.name}.c", "-lgcc"]
    subprocess.run([*command, "-o", "image.elf"], cwd=folder, check=True, timeout=300)
    listed = subprocess.run([tool(f"{chip.target}-nm"), "image.elf"], cwd=folder, capture_output=True, text=True, check=True)
    return {line.split()[-1] for line in listed.stdout.splitlines()}


@pytest.mark.ci
@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
@pytest.mark.parametrize("rule", RULES)
def test_images_have_no_double_and_no_division(rule: str, chip: Chip, tmp_path: Path) -> None:
    """To restore samples takes none either where they have one scale."""
    source = source_of(scaled_backend(0, rule), "standardized")[0]
    more = "" if rule == "scales that repeat" else "tae_dequantize(x, data);"
    symbols = image(source, chip, more, tmp_path)
    assert "start" in symbols and not [name for name in symbols if FORBIDDEN.fullmatch(name)]
