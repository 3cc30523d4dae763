"""Error per layer, split into quantization and conversion.

quantization   integer program against float model
conversion     file in a runtime against its source: the integer program, or the float model for a float file
total          int8 file in a runtime against float model

Errors are in real values of the layer's output over the first `TRACED_SAMPLES` samples, end to end: from x to the code, and
from the reference's code to y. A layer that a runtime does not expose has no row. Against the float model, the units of hidden
layers are taken up to a factor each, as equalizing them sets it (`calibration.equalization`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tiedae.bundle.reference_outputs import TRACED_SAMPLES, Expected, Floats, layer_outputs
from tiedae.bundle.results import LayerError
from tiedae.export.kinds import Lost, Precision

from .findings import Outputs
from .parity.comparison import similarity


def attribute(measured: Sequence[Outputs], expected: Mapping[str, Expected], floats: Floats | None) -> list[LayerError]:
    """The rows `errors` of metrics.json; `expected` by target."""
    real = {} if floats is None else {"code": floats.code, "y": floats.y} | dict(floats.layers)
    reference = "" if floats is None else floats.layers_reference or floats.reference
    rows = []
    for each in expected.values():
        of = {"runtime": "program", "layout": each.program.layout, "reference": reference}
        for layer in layer_outputs(each.program):
            if layer in real:
                got = _equalized_back(layer, _real(each, layer, each.traced[layer]), real[layer])
                rows.append(_row(Lost.QUANTIZATION, layer, Precision.INT8, real[layer], got, **of))
    for each in measured:
        rows += _of_files(each, real, reference)
    return rows


def _of_files(measured: Outputs, real: Mapping[str, np.ndarray], reference: str) -> list[LayerError]:
    subject, rows = measured.subject, []
    encoded = {operation.y for operation in subject.program.encoder}
    for layer, values in measured.layers.items():
        half = "encode" if layer in encoded else "decode"
        file = subject.files.get(half) or subject.files.get("reconstruct", "")
        of = {"runtime": subject.runtime, "file": file}
        if values.dtype == np.uint8:
            program = measured.expected
            assert program is not None
            got, exact = _real(program, layer, values), _real(program, layer, program.traced[layer])
            rows.append(_row(Lost.CONVERSION, layer, Precision.INT8, exact, got, **of, reference="program"))
            if layer in real:
                got = _equalized_back(layer, got, real[layer])
                rows.append(_row(Lost.TOTAL, layer, Precision.INT8, real[layer], got, **of, reference=reference))
        elif layer in real:
            rows.append(_row(Lost.CONVERSION, layer, Precision.F32, real[layer], values, **of, reference=reference))
    return rows


def _real(expected: Expected, layer: str, values: np.ndarray) -> np.ndarray:
    return expected.program.quantization(layer).dequantize(values)


def _equalized_back(layer: str, got: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Values of a hidden layer, [n, units], each unit multiplied by the factor that brings it closest to the reference's."""
    if layer in ("code", "y"):
        return got
    values = got.astype(np.float64)
    power = np.square(values).sum(axis=0)
    factors = (values * reference[: len(values)]).sum(axis=0) / np.where(power > 0, power, 1.0)
    return values * factors


def _row(error: Lost, layer: str, precision: Precision, expected: np.ndarray, got: np.ndarray, **identity: str) -> LayerError:
    expected = expected[: min(TRACED_SAMPLES, len(got))].astype(np.float64)
    difference = got - expected
    sqnr_db, cosine = similarity(expected, got)
    return LayerError(
        error=error,
        layer=layer,
        precision=precision,
        **identity,
        count=difference.size,
        rms=float(np.sqrt(np.mean(np.square(difference)))),
        max_abs=float(np.abs(difference).max(initial=0)),
        mean=float(difference.mean()),
        sqnr_db=sqnr_db,
        cosine=cosine,
    )
