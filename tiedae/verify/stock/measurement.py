"""Measures the stock converters' files of the same model, in the same way as our files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tiedae.base.files import write_atomic
from tiedae.bundle.results import Fit, Kind, Maker, ModelFile, Parity, Precision, Quality, Stage
from tiedae.config.config import Recipe
from tiedae.export.model_file import AXIS_ORDERS, Contents, TensorInfo
from tiedae.export.targets import read_model
from tiedae.runtimes.session import Session
from tiedae.runtimes.table import RUNTIMES, of_role, usual

from ..parity.comparison import compare
from .converters import Autoencoder, ConversionSource, stock_files


def measure_stock(
    model: Autoencoder,
    io: str,
    calibration: np.ndarray,
    test: np.ndarray,
    errors: Callable[[np.ndarray], tuple[float, Fit]],
    keras: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    recipe: Recipe,
    folder: Path,
) -> tuple[list[ModelFile], list[Quality], list[Parity]]:
    """Convert, run and measure a model; the files stay in `folder`.

    `calibration`, `test`: float32 model inputs [n, inputs]. `io`: dtype of x and y in our int8 files. `errors` measures a `y`
    of the test samples, in scaled values. `keras`: model inputs → (code, y).
    """
    source = ConversionSource(model, calibration, recipe.export, "uint8" if io == "uint8" else "float32")
    files, quality, parity = [], [], []
    floats = keras(test)
    for name, data in stock_files(recipe.name, source).items():
        path = folder / name
        write_atomic(path, data, follow=False)
        contents = read_model(path)
        precision = Precision(path.suffixes[-2].removeprefix("."))
        copies = kernel_copies(contents, model.config.matrices)
        files.append(ModelFile(name, contents.size, contents.format, precision, Maker.STOCK, *copies))
        session = _open(path, usual(contents.format))
        outputs = _reconstruct(session, contents, test)
        of: dict[str, Any] = {"file": name, "runtime": session.runtime, "provider": session.provider}
        error, fit = errors(_tensor_info(contents, "y").dequantize(outputs["y"]))
        quality.append(Quality(f"stock {name}", Stage.STOCK, error, fit, precision, **of))
        of["signature"] = "reconstruct"
        if precision is Precision.F32:
            for key, values in zip(("code", "y"), floats, strict=True):
                parity.append(compare(Kind.FLOAT, key, values, outputs[key], reference="keras", **of))
        for witness in of_role(contents.format, "witness") if outputs["code"].dtype == np.uint8 else ():
            reference = _reconstruct(_open(path, witness), contents, test)
            parity.append(compare(Kind.WITNESS, "code", reference["code"], outputs["code"], reference=witness, **of))
    return files, quality, parity


def _open(path: Path, runtime: str) -> Session:
    return RUNTIMES[runtime].open({"reconstruct": path})


def _tensor_info(contents: Contents, name: str) -> TensorInfo:
    tensors = [tensor for signature in contents.signatures for tensor in (*signature.inputs, *signature.outputs)]
    return next(tensor for tensor in tensors if tensor.name == name)


def _reconstruct(session: Session, contents: Contents, test: np.ndarray) -> dict[str, np.ndarray]:
    tensor = _tensor_info(contents, "x")
    return session.run("reconstruct", test if tensor.scale is None else tensor.quantize(test))


def kernel_copies(contents: Contents, kernels: Sequence[tuple[int, int]]) -> tuple[int | None, float | None]:
    """(copies of each kernel, fraction of equal values in int8 duplicates); None if unknown.

    `kernels`: [inputs, units] of each layer. Converters do not keep names, so matrices are matched by shape, in either
    orientation, and divided evenly among kernels of equal shape. Kernels with an axis of 1 look like biases and are skipped.
    Duplicates are compared if only one kernel has the shape.
    """
    stored = {constant.storage: constant.values for constant in contents.constants if constant.values.ndim == 2}
    counts: set[tuple[int, int]] = set()
    equal = total = 0
    for shape, sharing in Counter(tuple(sorted(kernel)) for kernel in kernels if min(kernel) > 1).items():
        matrices = [values for values in stored.values() if tuple(sorted(values.shape)) == shape]
        counts.add(divmod(len(matrices), sharing))
        if sharing == 1 and all(values.dtype == np.int8 for values in matrices):
            for values in matrices[1:]:
                views = [values.transpose(order) for order in AXIS_ORDERS]
                equal += max(int((matrices[0] == each).sum()) for each in views if each.shape == matrices[0].shape)
            total += sum(values.size for values in matrices[1:])
    (copies, left), *others = counts or {(0, 0)}
    if others or left or copies == 0:
        return None, None
    return copies, equal / total if total else None
