"""The process that runs somebody else's Keras model or SavedModel: `python -m tiedae.verify.original_process`, a plan on stdin.

No code of the file runs: `compile=False`, `safe_mode=True`, and no class but the package's own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from tiedae.runtimes.child_process import serve


def answer(plan: Mapping[str, Any]) -> Iterator[str]:
    """Write the output `y` for the samples in the file `x`, and the layers' by name where asked; give the version."""
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    package = import_module(plan["package"])
    x = np.load(plan["x"])
    run = _saved_model if plan["package"] == "tensorflow" else _keras
    np.savez(plan["outputs"], **run(package, plan, x))  # pyright: ignore[reportArgumentType]
    yield package.__version__


def _keras(package: Any, plan: Mapping[str, Any], x: np.ndarray) -> dict[str, np.ndarray]:
    """Computed in float64: float32 rounds a deep model's output by more than an import may differ."""
    narrow = package.models.load_model(plan["path"], compile=False, safe_mode=True)
    model = package.models.model_from_json(re.sub(r'"(mixed_)?b?float(16|32)"', '"float64"', narrow.to_json()))
    model.set_weights(narrow.get_weights())
    values = x.astype(np.float64)
    outputs = {"y": np.asarray(model(values))}
    if plan["layers"]:
        for layer in model.layers:
            values = layer(values)
            outputs[f"layer {layer.name}"] = np.asarray(values)
    return outputs


def _saved_model(package: Any, plan: Mapping[str, Any], x: np.ndarray) -> dict[str, np.ndarray]:
    signature = package.saved_model.load(plan["path"]).signatures["serving_default"]
    ((name, given),) = signature.structured_input_signature[1].items()
    (y,) = signature(**{name: package.constant(x, given.dtype)}).values()
    return {"y": np.asarray(y)}


if __name__ == "__main__":
    serve(answer)
