"""Which features of a recipe may not be combined: one table of pairs, each with the key to change and the reason.

A recipe is checked against it when it is read, and once more when the dtype of its data is known: before any training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tiedae.base.records import plain, require
from tiedae.base.windows import Window

from .layer_kinds import ConvolutionConfig
from .tasks import Anomaly, Compression, Denoising, Reduction

FIXED_SCALES = ("sigmoid", "tanh")
"""Activations whose scale every runtime fixes."""

Has = Callable[[Any, str], bool]
"""(a `Recipe`, dtype of its data, '' where it is not known yet) → whether it has the feature."""


def _target(name: str) -> Has:
    return lambda recipe, _: name in recipe.export.targets


def _windows(recipe: Any) -> list[Window]:
    return [layer.window for layer in recipe.model.layers if isinstance(layer, ConvolutionConfig)]


def _hidden(activation: str) -> Has:
    return lambda recipe, _: any(layer.activation == activation for layer in recipe.model.layers[:-1])


def _pattern(*kinds: str) -> Has:
    return lambda recipe, _: recipe.prune is not None and recipe.prune.kind in kinds


def _patterned_code(recipe: Any, _: str) -> bool:
    code = len(recipe.model.layers) - 1
    return recipe.prune is not None and recipe.prune.kind in ("block", "n:m") and code not in recipe.prune.skip


FEATURES: Mapping[str, Has] = {
    "TFLite": _target("tflite"),
    "ONNX": _target("onnx"),
    "C": _target("c"),
    "decoder by view": lambda recipe, _: recipe.export.decoder == "view" and "tflite" in recipe.export.targets,
    "packed kernels": lambda recipe, _: recipe.export.int4 == "packed" and min(recipe.quantize.bits) <= 4,
    "score of C files": lambda recipe, _: "score" in recipe.export.c_signatures,
    "scales per unit": lambda recipe, _: recipe.quantize.granularity == "unit",
    "kernels below 8 bits": lambda recipe, _: min(recipe.quantize.bits) < 8,
    "code below 8 bits": lambda recipe, _: recipe.quantize.code_bits < 8,
    "stated code scale": lambda recipe, _: recipe.quantize.code_scale > 0,
    "pruned weights": _pattern("unstructured"),
    "pruned units": _pattern("structured"),
    "block or N:M pruning": _pattern("block", "n:m"),
    "block or N:M pruning of the code": _patterned_code,
    "clusters": lambda recipe, _: recipe.cluster is not None,
    "interleave": lambda recipe, _: recipe.model.interleave > 1,
    "training for rate": lambda recipe, _: recipe.train.for_rate,
    "no training for rate": lambda recipe, _: not recipe.train.for_rate,
    "fraction of a rate": lambda recipe, _: recipe.quantize.rate_fraction < 1,
    "classes": lambda recipe, _: recipe.codec.classes > 1,
    "tanh": _hidden("tanh"),
    "sigmoid": _hidden("sigmoid"),
    "tanh or sigmoid code": lambda recipe, _: recipe.model.layers[-1].activation in FIXED_SCALES,
    "output other than sigmoid": lambda recipe, _: recipe.model.output_activation != "sigmoid",
    "batch normalization": lambda recipe, _: any(layer.batch_norm for layer in recipe.model.layers),
    "convolutions": lambda recipe, _: any(_windows(recipe)),
    "convolutions that tile": lambda recipe, _: any(window.sizes == window.strides for window in _windows(recipe)),
    "portable kernels": lambda recipe, _: recipe.export.kernels == "portable" and "tflite" in recipe.export.targets,
    "copied kernels": lambda recipe, _: recipe.export.kernels == "copies" and "tflite" in recipe.export.targets,
    "batches of one sample": lambda recipe, _: recipe.train.batch_size == 1,
    "no bias": lambda recipe, _: not all(layer.use_bias for layer in recipe.model.layers),
    "standard scaling": lambda recipe, _: recipe.data.scaling == "standard",
    "loss bce": lambda recipe, _: recipe.train.loss == "bce",
    "int16 data": lambda _, dtype: dtype == "int16",
    "float data": lambda _, dtype: dtype in ("float32", "float64"),
    "float16 data": lambda _, dtype: dtype == "float16",
    "compression": lambda recipe, _: isinstance(recipe.task, Compression),
    "anomaly": lambda recipe, _: isinstance(recipe.task, Anomaly),
    "no anomaly": lambda recipe, _: not isinstance(recipe.task, Anomaly),
    "denoising": lambda recipe, _: isinstance(recipe.task, Denoising),
    "reduction": lambda recipe, _: isinstance(recipe.task, Reduction),
    "noise": lambda recipe, _: recipe.train.noise is not None,
    "clean samples": lambda recipe, _: recipe.data.clean is not None,
    "neither noise nor clean samples": lambda recipe, _: not recipe.is_noisy,
    "patience": lambda recipe, _: recipe.train.patience > 0,
    "no validation samples": lambda recipe, _: recipe.data.validation == 0,
}
"""What a recipe may have, by name."""


@dataclass(frozen=True)
class Forbidden:
    """A pair of `FEATURES` that exclude each other: the `key` of the recipe to change, what would be `right` and why."""

    first: str
    second: str
    key: str
    right: str


_FIXED = "since tanh or sigmoid fixes the scale of the code; or the code's activation linear, relu or relu6"
_UNIT_RANGE = "another loss, or model.output_activation sigmoid over data in 0…1"

RATE_OF_FIXED_SCALE = Forbidden("tanh or sigmoid code", "training for rate", "train.rate", f"0, {_FIXED}")
"""Of a recipe, and of a model that is trained without one."""
FORBIDDEN: tuple[Forbidden, ...] = (
    Forbidden("clusters", "scales per unit", "quantize.granularity", "tensor with [cluster]: units share its values"),
    Forbidden("tanh or sigmoid code", "code below 8 bits", "quantize.code_bits", f"8, {_FIXED}"),
    Forbidden("tanh or sigmoid code", "stated code scale", "quantize.code_scale", f"0, {_FIXED}"),
    RATE_OF_FIXED_SCALE,
    Forbidden(
        "block or N:M pruning of the code",
        "training for rate",
        "prune.skip",
        "with the last kernel beside train.rate, which takes units out of the code",
    ),
    Forbidden(
        "fraction of a rate",
        "no training for rate",
        "quantize.rate_fraction",
        "1, or train.rate above 0, which it is a fraction of",
    ),
    Forbidden("loss bce", "output other than sigmoid", "train.loss", _UNIT_RANGE),
    Forbidden("loss bce", "standard scaling", "train.loss", _UNIT_RANGE),
    Forbidden(
        "batch normalization",
        "batches of one sample",
        "train.batch_size",
        "2 or more with batch_norm, whose training needs the variance of a batch",
    ),
    Forbidden("clean samples", "noise", "data.clean", "left out beside train.noise, which needs clean samples alone"),
    Forbidden(
        "denoising",
        "neither noise nor clean samples",
        "task.kind",
        "another kind, or beside train.noise or data.clean",
    ),
    Forbidden(
        "anomaly",
        "no validation samples",
        "data.validation",
        "above 0 with [task] anomaly, such as 0.1: held-out normal samples set its threshold",
    ),
    Forbidden(
        "decoder by view",
        "packed kernels",
        "export.int4",
        'bytes with decoder "view": TFLite unpacks no kernel that it reads in another order; or decoder split',
    ),
    Forbidden(
        "decoder by view",
        "portable kernels",
        "export.kernels",
        'view, copies or sparse with decoder "view", whose y is the program\'s in XNNPACK; or decoder split',
    ),
    Forbidden(
        "interleave",
        "convolutions",
        "model.interleave",
        "1 with convolutions, whose samples have several axes; or dense layers",
    ),
    Forbidden("score of C files", "no anomaly", "export.c_signatures", "without score, or [task] of the kind anomaly"),
    Forbidden("patience", "no validation samples", "train.patience", "0, or data.validation a fraction to wait for"),
    Forbidden("C", "float16 data", "export.targets", "without c: C has no type for data of float16; or data of float32"),
)
"""What no recipe may have together."""


def require_combination(recipe: Any, dtype: str = "") -> None:
    """Raise RecipeError for the first pair of `FORBIDDEN` that a recipe has; `dtype`: that of its data, where known."""
    for pair in FORBIDDEN:
        if FEATURES[pair.first](recipe, dtype) and FEATURES[pair.second](recipe, dtype):
            stated: Any = plain(recipe)
            for name in pair.key.split("."):
                stated = stated[name]
            require(False, pair.key, stated, pair.right)
