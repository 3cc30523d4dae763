"""Configuration of the model, of each stage and of what is around the training, and the recipe that holds all of it.

All of it is checked on construction (see `records.Checked`). Nothing here imports TensorFlow, so that a recipe is checked
before anything heavy is loaded.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, get_args

from msgspec import Meta
from msgspec.structs import replace

from .records import FINITE, LARGEST, Checked, require

Activation = Literal["linear", "relu", "relu6", "tanh", "sigmoid"]
"""The activations whose int8 kernels agree in every runtime that we export to."""
Loss = Literal["mse", "mae", "bce", "huber"]
Granularity = Literal["tensor", "unit"]
Saliency = Literal["magnitude", "gradient", "movement"]
Observer = Literal["auto", "minmax", "moving-average", "percentile", "mse", "kl"]
PostTrainingStep = Literal["equalize", "round", "correct", "ranges"]
Signature = Literal["encode", "decode", "reconstruct"]

Count = Annotated[int, Meta(ge=0, le=LARGEST)]
Positive = Annotated[int, Meta(ge=1, le=LARGEST)]
Bits = Annotated[int, Meta(ge=2, le=8)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
ProperFraction = Annotated[float, Meta(ge=0, lt=1)]
NonNegative = Annotated[float, Meta(ge=0, le=FINITE)]
AboveZero = Annotated[float, Meta(gt=0, le=FINITE)]

PATTERN_KINDS = ("unstructured", "block", "n:m", "structured")


def _require_different(config: Checked, *keys: str) -> None:
    """Raise RecipeError where one of these lists has a value twice."""
    for key in keys:
        values = list(getattr(config, key))
        require(len(set(values)) == len(values), key, values, "a list of different values")


class LayerConfig(Checked, frozen=True):
    """One encoder layer and, mirrored, one decoder layer over the same kernel.

    `dropout` is applied to the layer's output in training. `l1`, `l2` penalize the kernel (once, although two layers use
    it), `activity_l1`, `activity_l2` the layer's output, summed over units and averaged over the batch.
    """

    units: Positive
    activation: Activation = "linear"
    use_bias: bool = True
    dropout: ProperFraction = 0.0
    l1: NonNegative = 0.0
    l2: NonNegative = 0.0
    activity_l1: NonNegative = 0.0
    activity_l2: NonNegative = 0.0


class ModelConfig(Checked, frozen=True):
    """A stack of tied dense layers: inputs → layers[0].units → … → layers[-1].units (the code) and back.

    Decoder layer i carries the activation of encoder layer i − 1, the last one `output_activation`.
    `inputs` is the number of values per sample; a recipe may leave it out (0), it then comes from the data.
    `interleave` n lays the first kernel's rows so that n neighbours are inputs from n equal parts of the sample: what an N:M
    pattern wants where neighbouring inputs are alike. Samples and reconstructions keep their order.
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

    `patience` epochs without a better validation loss stop it (0: never); the best weights are kept where there is a
    validation set. `weight_decay` is decoupled: a step takes that fraction, times its learning rate, off the kernels. `seed`
    fixes the initial weights, the order of samples and dropout.
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
    """The training of a later stage: what it sets itself, the rest as in float training."""
    return replace(train, epochs=config.epochs, learning_rate=config.learning_rate, weight_decay=config.weight_decay)


class PruneConfig(Checked, frozen=True):
    """Pruning on the one mask of each kernel, then fine-tuning with the mask held.

    `pattern`: `unstructured`, single weights; `block`, blocks of `block` = [rows, columns]; "N:M", such as "2:4", N of every M
    weights along both axes; `structured`, whole hidden units (and those of the code where `code`), which leave the model.
    `sparsity`: the final fraction of zeros, or of units, in each kernel or over all together (`scope` global); N:M has 1 − N/M.
    `saliency` says what stays: the largest `magnitude`, the weights that the loss feels (`gradient`, on `samples` training
    samples), or those that grow while fine-tuning (`movement`). Kernels in `skip`, by index, stay whole.
    The polynomial schedule ramps over the first `ramp` of the epochs, the constant one prunes at once. `distill` is
    the fraction of the loss that is taken against the uncompressed model's output instead of the sample.
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
            require(
                f"{self.sparsity:.3g}" == fixed,
                "sparsity",
                self.sparsity,
                f"{fixed}, the fraction that {self.pattern} leaves out",
            )
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
        """[rows, columns] that have to divide every kernel."""
        return (self.n_of_m[1], self.n_of_m[1]) if self.kind == "n:m" else self.block


class QuantizeConfig(Checked, frozen=True):
    """Quantization to int8: aware training (`qat`), or post-training quantization (`ptq`).

    `granularity` is one scale per kernel (`tensor`) or per unit (`unit`). `bits` of the kernels, in 2…8: one width for all or
    one per kernel; `code_bits` of the code, in 4…8. `samples` calibration samples start the ranges, which `observer` takes
    from them; auto: minmax for `ptq`, moving-average for `qat`. `calibration` is a file of `tiedae calibrate` to take them from
    instead, relative to the recipe. `distill` as in pruning. `steps` are what `ptq` does beyond rounding to nearest over the
    extremes; without any it is plain. With kernels of fewer than 8 bits `qat` starts from equalized units too.
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
    """Weight clustering: each kernel shares at most `clusters` values, which fine-tuning moves; int8 tells 255 apart."""

    clusters: Annotated[int, Meta(ge=2, le=255)] = 16
    epochs: Positive = 5
    learning_rate: AboveZero = 3e-3
    weight_decay: NonNegative = 0.0
    distill: Fraction = 0.0


FineTuning = PruneConfig | QuantizeConfig | ClusterConfig
"""The stages that go on training a model; each has `epochs`, `learning_rate`, `weight_decay` and `distill`."""


class SearchConfig(Checked, frozen=True):
    """What `tiedae search` looks over. An empty list stands for the recipe's own value; of `code` for ½, ¾, 1, 1¼ and 1½ of it.

    `code` are sizes of the code, `hidden` factors on the units of hidden layers, each layer by itself. `patterns` are those of
    pruning, each with every `sparsity`, where 0 stands for no pruning. `bits` are those of all kernels. `size` is what counts
    as bytes: the .tflite file as it is, or after gzip. `validation` is the fraction of the samples that trials are measured on,
    where the recipe holds none out. `seed` is the sampler's.
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
    """Where samples come from and how they become float32 model inputs.

    `source` is a known name or a path. `window` cuts a one-dimensional record into samples. `scaling` auto: bytes by 255;
    floats by the rule that the output activation suggests. `per_feature` true: each value of a sample has an offset and scale
    of its own; false: one for all; auto: of its own for the columns of a table (see `data.kind_of`).
    `test` and `validation` are the fractions split off by `seed` (`split` tail: the last samples, for records in time) where
    the source has no test set of its own.

    Of a .csv file `columns` are the only ones that are read, in this order, and `drop` those that are not. `label` names the
    column of the labels; auto: the one named label, class, target or y (y not beside a column x), if there is one; empty:
    none, every column is a feature. Of a folder of images `resize` is (height, width), `grayscale` makes them gray.
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
    """Which files are written. `io` is the dtype of x and y; auto: uint8 for uint8 data scaled by `byte`, else float32.

    `targets` are names of `export.targets.TARGETS`, which whoever writes files checks.

    `int4` is how kernels of 4 bits or fewer are stored: packed, two values a byte, or bytes. `opset` is 21 or later in .onnx
    files with packed kernels.
    """

    targets: Annotated[tuple[str, ...], Meta(min_length=1)] = ("tflite", "onnx")
    signatures: Annotated[tuple[Signature, ...], Meta(min_length=1)] = get_args(Signature)
    io: Literal["auto", "uint8", "int8", "float32"] = "auto"
    opset: Annotated[int, Meta(ge=13, le=23)] = 17
    int4: Literal["packed", "bytes"] = "packed"

    def check(self) -> None:
        _require_different(self, "targets", "signatures")


class VerifyConfig(Checked, frozen=True):
    """Tolerances of the checks.

    `max_quality_loss` is relative to the Keras float model's test error. `codes_equal_share` and `codes_max_lsb` hold for the
    codes of int8 files in runtimes that round as the integer program does, from the same integers; in others `codes_max_lsb`
    holds per kernel. `operation_max_lsb` holds for each operation on equal inputs. `float_max_abs` bounds the largest
    difference of a float tensor, relative to its full scale (its largest magnitude; at least 0.1).
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
            require(
                granularity == "tensor", "quantize.granularity", granularity, "tensor with [cluster]: units share its values"
            )
        bits, kernels = self.quantize.bits, len(self.model.layers)
        require(len(bits) in (1, kernels), "quantize.bits", bits, f"one width, or {kernels}, one per kernel")
        if self.quantize.code_bits < 8:
            activation = self.model.layers[-1].activation
            free = activation not in ("sigmoid", "tanh")
            right = f"8, since {activation} fixes the scale of the code, or the code's activation linear, relu or relu6"
            require(free, "quantize.code_bits", self.quantize.code_bits, right)
        if self.train.patience and self.data.validation == 0:
            require(False, "train.patience", self.train.patience, "0, or data.validation a fraction to wait for")
