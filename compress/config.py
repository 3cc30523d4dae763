"""Configuration of the model, each stage, data, export and verification, and the recipe that holds all of them.

Validated on construction (see `records.Checked`). Imports no TensorFlow, so that recipes are validated without it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Literal, get_args

from msgspec import Meta
from msgspec.structs import replace

from .records import FINITE, LARGEST, Checked, require

Activation = Literal["linear", "relu", "relu6", "tanh", "sigmoid"]
"""Activations whose int8 kernels agree in every supported runtime."""
Loss = Literal["mse", "mae", "bce", "huber"]
Granularity = Literal["tensor", "unit"]
Saliency = Literal["magnitude", "gradient", "movement"]
Observer = Literal["auto", "minmax", "moving-average", "percentile", "mse", "kl"]
PostTrainingStep = Literal["equalize", "round", "correct", "ranges"]
Signature = Literal["encode", "decode", "reconstruct"]
Units = Literal["data", "model"]

Count = Annotated[int, Meta(ge=0, le=LARGEST)]
Positive = Annotated[int, Meta(ge=1, le=LARGEST)]
Bits = Annotated[int, Meta(ge=2, le=8)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
ProperFraction = Annotated[float, Meta(ge=0, lt=1)]
NonNegative = Annotated[float, Meta(ge=0, le=FINITE)]
AboveZero = Annotated[float, Meta(gt=0, le=FINITE)]

PATTERN_KINDS = ("unstructured", "block", "n:m", "structured")


def _require_different(config: Checked, *keys: str) -> None:
    """Raise RecipeError for duplicate values in one of these lists."""
    for key in keys:
        values = list(getattr(config, key))
        require(len(set(values)) == len(values), key, values, "a list of different values")


class LayerConfig(Checked, frozen=True):
    """One encoder layer and its mirrored decoder layer over the same kernel.

    `dropout`: rate on the layer's output in training. `l1`, `l2`: penalties of the kernel, added once for both layers.
    `activity_l1`, `activity_l2`: penalties of the layer's output, summed over units and averaged over the batch.
    """

    units: Positive
    activation: Activation = "linear"
    use_bias: bool = True
    dropout: ProperFraction = 0.0
    l1: NonNegative = 0.0
    l2: NonNegative = 0.0
    activity_l1: NonNegative = 0.0
    activity_l2: NonNegative = 0.0


def layer_configs(layers: Sequence[object], activation: Activation = "relu") -> tuple[LayerConfig, ...]:
    """The layers of [128, 16]: a number is the units of a layer; the last, the code, is linear."""
    last = len(layers) - 1
    return tuple(
        each if isinstance(each, LayerConfig) else LayerConfig(each, activation if i < last else "linear")  # type: ignore[arg-type]
        for i, each in enumerate(layers)
    )


class ModelConfig(Checked, frozen=True):
    """A stack of tied dense layers: inputs → layers[0].units → … → layers[-1].units (the code) and back.

    Decoder layer i has the activation of encoder layer i − 1, the last one `output_activation`.
    `inputs`: values per sample; 0 takes it from the data. `interleave` n: n neighbouring rows of the first kernel are inputs
    from n equal parts of the sample, for N:M patterns over data with similar neighbours; samples keep their order.
    """

    layers: Annotated[tuple[LayerConfig, ...], Meta(min_length=1)]
    output_activation: Activation = "sigmoid"
    inputs: Count = 0
    interleave: Positive = 1

    def check(self) -> None:
        divisor = f"a divisor of the {self.inputs} inputs"
        require(self.inputs % self.interleave == 0, "interleave", self.interleave, divisor)

    @property
    def widths(self) -> tuple[int, ...]:
        """(inputs, units of layer 0, …, units of the code)."""
        return (self.inputs, *(layer.units for layer in self.layers))

    def decoder_activation(self, index: int) -> str:
        """The activation of the decoder layer that uses kernel `index`."""
        return self.output_activation if index == 0 else self.layers[index - 1].activation


class TrainConfig(Checked, frozen=True):
    """Float training: Adam with warm-up and cosine decay to zero over all epochs, or a constant rate.

    `patience`: epochs without a better validation loss before early stopping (0: never); a validation set keeps the best
    weights. `weight_decay`: decoupled; each step subtracts this fraction of the kernels times the learning rate. `seed`:
    of initial weights, sample order and dropout.
    """

    epochs: Count = 15
    batch_size: Positive = 64
    learning_rate: AboveZero = 3e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    loss: Loss = "mse"
    weight_decay: NonNegative = 0.1
    patience: Count = 0
    seed: Count = 0


def fine_tuning(train: TrainConfig, config: FineTuning) -> TrainConfig:
    """Float training with the settings of a later stage."""
    return replace(train, epochs=config.epochs, learning_rate=config.learning_rate, weight_decay=config.weight_decay)


class PruneConfig(Checked, frozen=True):
    """Pruning of each kernel's mask, then fine-tuning with fixed masks.

    `pattern`: `unstructured`, single weights; `block`, blocks of `block` = [rows, columns]; "N:M", such as "2:4", N of every M
    weights along both axes; `structured`, whole hidden units (with `code` those of the code too), removed from the model.
    `sparsity`: the final fraction of zeros or units, per kernel or over all (`scope` global); 1 − N/M for N:M.
    `saliency`: score of the kept weights: `magnitude`, `gradient` (first-order change of the loss, on `samples` training
    samples) or `movement` (growth while fine-tuning). `skip`: indices of kernels that are not pruned.
    `schedule`: polynomial ramps over the fraction `ramp` of the epochs, constant prunes at once. `distill`: fraction of the
    loss against the uncompressed model's output instead of the sample.
    """

    pattern: str = "unstructured"
    sparsity: ProperFraction = 0.5
    block: tuple[Positive, Positive] = (1, 1)
    code: bool = False
    saliency: Saliency = "magnitude"
    samples: Positive = 1024
    skip: tuple[Count, ...] = ()
    schedule: Literal["polynomial", "constant"] = "polynomial"
    scope: Literal["layer", "global"] = "layer"
    ramp: Annotated[float, Meta(gt=0, le=1)] = 0.4
    epochs: Positive = 5
    learning_rate: AboveZero = 2e-3
    weight_decay: NonNegative = 0.02
    distill: Fraction = 0.0

    def check(self) -> None:
        require(self.kind in PATTERN_KINDS, "pattern", self.pattern, "unstructured, block, structured or N:M such as 2:4")
        if self.kind == "n:m":
            n, m = self.n_of_m
            require(1 <= n < m <= 16, "pattern", self.pattern, "N:M with 1 ≤ N < M ≤ 16")
            fixed = f"{1 - n / m:.3g}"
            matches = f"{self.sparsity:.3g}" == fixed
            require(matches, "sparsity", self.sparsity, f"{fixed}, the fraction that {self.pattern} prunes")
            require(self.scope == "layer", "scope", self.scope, f"layer: {self.pattern} holds in every kernel")
        if self.kind == "block":
            require(max(self.block) > 1, "block", list(self.block), "[rows, columns] of more than one weight")
        else:
            require(self.block == (1, 1), "block", list(self.block), "left out, or pattern block")
        require(self.kind == "structured" or not self.code, "code", self.code, "false, or pattern structured")
        require(self.kind != "structured" or not self.skip, "skip", list(self.skip), "left out with pattern structured")
        moving = self.saliency != "movement" or self.schedule == "polynomial"
        require(moving, "schedule", self.schedule, "polynomial with saliency movement: at once nothing has moved")

    @property
    def kind(self) -> str:
        """`pattern`, or `n:m` for any N:M."""
        return "n:m" if re.fullmatch(r"[0-9]{1,3}:[0-9]{1,3}", self.pattern) else self.pattern

    @property
    def n_of_m(self) -> tuple[int, int]:
        n, m = self.pattern.split(":")
        return int(n), int(m)

    @property
    def tile(self) -> tuple[int, int]:
        """[rows, columns] that must divide every kernel."""
        return (self.n_of_m[1], self.n_of_m[1]) if self.kind == "n:m" else self.block


class QuantizeConfig(Checked, frozen=True):
    """Quantization: quantization-aware training (`qat`) or post-training quantization (`ptq`).

    `granularity`: one scale per kernel (`tensor`) or per unit (`unit`). `bits`: of the kernels, 2…8, one width for all or one
    per kernel. `code_bits`: of the code, 4…8. `samples`: calibration samples, from which `observer` chooses initial ranges;
    auto: minmax for `ptq`, moving-average for `qat`. `calibration`: a file of `tiedae calibrate` with the ranges instead, its
    path relative to the recipe. `steps`: refinements of `ptq` over rounding to nearest with extremes as ranges; below 8 bits
    `qat` equalizes units too. `distill`: as in pruning.
    """

    method: Literal["qat", "ptq"] = "qat"
    granularity: Granularity = "tensor"
    bits: Annotated[tuple[Bits, ...], Meta(min_length=1)] = (8,)
    code_bits: Annotated[int, Meta(ge=4, le=8)] = 8
    samples: Annotated[int, Meta(ge=8, le=LARGEST)] = 512
    observer: Observer = "auto"
    calibration: str | None = None
    steps: tuple[PostTrainingStep, ...] = get_args(PostTrainingStep)
    epochs: Positive = 5
    learning_rate: AboveZero = 1e-3
    weight_decay: NonNegative = 0.02
    distill: Fraction = 0.0

    def check(self) -> None:
        if self.calibration is not None:
            require(bool(self.calibration), "calibration", self.calibration, "the path of a file of `tiedae calibrate`")
            require(self.observer == "auto", "observer", self.observer, "left out beside `calibration`, whose file states it")
        _require_different(self, "steps")


class ClusterConfig(Checked, frozen=True):
    """Weight clustering: each kernel shares at most `clusters` values, which fine-tuning updates; int8 has 255."""

    clusters: Annotated[int, Meta(ge=2, le=255)] = 16
    epochs: Positive = 5
    learning_rate: AboveZero = 3e-3
    weight_decay: NonNegative = 0.0
    distill: Fraction = 0.0


FineTuning = PruneConfig | QuantizeConfig | ClusterConfig
"""Stages that fine-tune a model; each has `epochs`, `learning_rate`, `weight_decay` and `distill`."""


class SearchConfig(Checked, frozen=True):
    """The search space of `tiedae search`. An empty list is the recipe's value; for `code` ½, ¾, 1, 1¼ and 1½ of it.

    `code`: sizes of the code. `hidden`: factors on the units of each hidden layer, independently. `patterns`: pruning
    patterns, each with every `sparsity`; 0 is no pruning. `bits`: of all kernels. `size`: bytes of the .tflite file, or of its
    gzip. `validation`: fraction of samples to evaluate trials on if the recipe holds none out. `seed`: of the sampler.
    """

    code: tuple[Positive, ...] = ()
    hidden: tuple[AboveZero, ...] = (0.125, 0.25, 0.375, 0.5, 0.75, 1.0)
    patterns: tuple[str, ...] = ()
    sparsity: tuple[ProperFraction, ...] = ()
    bits: tuple[Bits, ...] = (4, 8)
    granularity: tuple[Granularity, ...] = ()
    size: Literal["file", "gzip"] = "file"
    validation: Annotated[float, Meta(gt=0, lt=1)] = 0.1
    seed: Count = 0

    def check(self) -> None:
        _require_different(self, "code", "hidden", "patterns", "sparsity", "bits", "granularity")
        for pattern in self.patterns:
            n, _, m = pattern.partition(":")
            shaped = 1 <= int(n) < int(m) <= 16 if n.isdecimal() and m.isdecimal() else pattern in PATTERN_KINDS and not m
            require(shaped, "patterns", pattern, "unstructured, block, structured or N:M with 1 ≤ N < M ≤ 16")


class DataConfig(Checked, frozen=True):
    """The source of samples and their conversion to float32 model inputs.

    `source`: a known data set or a path. `window`: values per sample of a one-dimensional record. `scaling`: see
    `fit_scaling`. `per_feature`: an offset and scale per feature; auto: for tables (see `data.kind_of`). `test`, `validation`:
    fractions split off by `seed`, or the last samples (`split` tail, auto for records); `test` only if the source has no test
    set.

    .csv files: `columns`, the features in this order; `drop`, the columns to ignore; `label`, the column of the labels (auto:
    the one named label, class, target or y, except y beside a column x; empty: none). Folders of images: `resize`, (height,
    width); `grayscale`, conversion to gray.
    """

    source: str
    window: Count = 0
    columns: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    label: str = "auto"
    resize: tuple[Positive, ...] = ()
    grayscale: bool = False
    scaling: Literal["auto", "none", "byte", "minmax", "standard"] = "auto"
    per_feature: bool | Literal["auto"] = "auto"
    test: Annotated[float, Meta(gt=0, lt=1)] = 0.1
    validation: ProperFraction = 0.0
    split: Literal["auto", "random", "tail"] = "auto"
    seed: Count = 0

    def check(self) -> None:
        require(bool(self.source), "source", self.source, "a known name or a path")
        _require_different(self, "columns", "drop")
        both = [name for name in self.columns if name in (*self.drop, self.label)]
        require(not both, "columns", both, "names that neither `drop` nor `label` has")
        require(self.label == "" or self.label not in self.drop, "label", self.label, "a name that `drop` does not have")
        require(len(self.resize) in (0, 2), "resize", list(self.resize), "[height, width]")
        require(self.test + self.validation < 1, "validation", self.validation, "less than 1 − test")


class ExportConfig(Checked, frozen=True):
    """Files to write. `io`: dtype of x and y; auto: uint8 for uint8 data scaled by `byte`, else float32.

    `units`: unit of float32 x and y, the data's own, so that files scale by themselves, or model units: (x − offset) / scale.
    Files of uint8 data scaled by `byte` take and give bytes, and model units where `io` is float32.
    `targets`: names of `export.targets.TARGETS`, validated on export. `int4`: storage of kernels of 4 bits or fewer: packed,
    two values per byte, or bytes. `opset`: raised to 21 for .onnx files with packed kernels.
    """

    targets: Annotated[tuple[str, ...], Meta(min_length=1)] = ("tflite", "onnx")
    signatures: Annotated[tuple[Signature, ...], Meta(min_length=1)] = get_args(Signature)
    io: Literal["auto", "uint8", "int8", "float32"] = "auto"
    units: Units = "data"
    opset: Annotated[int, Meta(ge=13, le=23)] = 17
    int4: Literal["packed", "bytes"] = "packed"

    def check(self) -> None:
        _require_different(self, "targets", "signatures")


class VerifyConfig(Checked, frozen=True):
    """Tolerances of the checks.

    `max_quality_loss`: relative to the Keras float model's test error. `codes_equal_share` (fraction of equal codes) and
    `codes_max_lsb`: for int8 codes from equal inputs in runtimes that round as the integer program; in others
    `codes_max_lsb` applies per kernel. `operation_max_lsb`: for each operation on equal inputs. `float_max_abs`: largest
    difference of a float tensor, relative to its full scale (largest magnitude, at least 0.1).
    """

    max_quality_loss: NonNegative = 0.05
    codes_equal_share: Fraction = 1.0
    codes_max_lsb: Count = 1
    operation_max_lsb: Count = 1
    float_max_abs: AboveZero = 1e-5


class Recipe(Checked, frozen=True):
    """Everything that a run depends on."""

    name: str
    data: DataConfig
    model: ModelConfig
    train: TrainConfig = TrainConfig()
    prune: PruneConfig | None = None
    cluster: ClusterConfig | None = None
    quantize: QuantizeConfig = QuantizeConfig()
    export: ExportConfig = ExportConfig()
    verify: VerifyConfig = VerifyConfig()
    search: SearchConfig | None = None

    def check(self) -> None:
        allowed = self.name.replace("-", "").replace("_", "").isalnum() and self.name.isascii()
        require(allowed, "name", self.name, "ASCII letters, digits, - and _")
        if self.train.loss == "bce":
            sigmoid = self.model.output_activation == "sigmoid" and self.data.scaling != "standard"
            require(sigmoid, "train.loss", "bce", "another loss, or model.output_activation sigmoid over data in 0…1")
        if self.cluster is not None:
            granularity = self.quantize.granularity
            right = "tensor with [cluster]: units share its values"
            require(granularity == "tensor", "quantize.granularity", granularity, right)
        bits, kernels = self.quantize.bits, len(self.model.layers)
        require(len(bits) in (1, kernels), "quantize.bits", bits, f"one width, or {kernels}, one per kernel")
        if self.quantize.code_bits < 8:
            activation = self.model.layers[-1].activation
            free = activation not in ("sigmoid", "tanh")
            right = f"8, since {activation} fixes the scale of the code, or the code's activation linear, relu or relu6"
            require(free, "quantize.code_bits", self.quantize.code_bits, right)
        if self.train.patience and self.data.validation == 0:
            require(False, "train.patience", self.train.patience, "0, or data.validation a fraction to wait for")
