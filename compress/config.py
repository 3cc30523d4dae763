"""Configuration of the model and of each stage, and the recipe that holds it with that of the run; validated on construction.

Nothing here imports TensorFlow, so a recipe is checked before anything heavy is loaded.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from .requirements import require, require_choice
from .run_config import DataConfig, ExportConfig, VerifyConfig

Activation = Literal["linear", "relu", "relu6", "tanh", "sigmoid"]
"""The activations whose int8 kernels agree in every runtime that we export to."""
Loss = Literal["mse", "mae", "bce", "huber"]
Granularity = Literal["tensor", "unit"]
Saliency = Literal["magnitude", "gradient", "movement"]
Observer = Literal["auto", "minmax", "moving-average", "percentile", "mse", "kl"]
PostTrainingStep = Literal["equalize", "round", "correct", "ranges"]

PATTERN_KINDS = ("unstructured", "block", "n:m", "structured")


@dataclass(frozen=True)
class LayerConfig:
    """One encoder layer and, mirrored, one decoder layer over the same kernel.

    `dropout` is applied to the layer's output in training. `l1`, `l2` penalize the kernel (once, although two layers use
    it), `activity_l1`, `activity_l2` the layer's output, summed over units and averaged over the batch.
    """

    units: int
    activation: Activation = "linear"
    use_bias: bool = True
    dropout: float = 0.0
    l1: float = 0.0
    l2: float = 0.0
    activity_l1: float = 0.0
    activity_l2: float = 0.0

    def __post_init__(self) -> None:
        require(self.units >= 1, "units", self.units, "at least 1")
        require_choice("activation", self.activation, Activation)
        require(0 <= self.dropout < 1, "dropout", self.dropout, "in [0, 1)")
        for key in ("l1", "l2", "activity_l1", "activity_l2"):
            require(0 <= getattr(self, key) < math.inf, key, getattr(self, key), "0 or more")


@dataclass(frozen=True)
class ModelConfig:
    """A stack of tied dense layers: inputs → layers[0].units → … → layers[-1].units (the code) and back.

    Decoder layer i carries the activation of encoder layer i − 1, the last one `output_activation`.
    `inputs` is the number of values per sample; a recipe may leave it out (0), it then comes from the data.
    `interleave` n lays the first kernel's rows so that n neighbours are inputs from n equal parts of the sample: what an N:M
    pattern wants where neighbouring inputs are alike. Samples and reconstructions keep their order.
    """

    layers: tuple[LayerConfig, ...]
    output_activation: Activation = "sigmoid"
    inputs: int = 0
    interleave: int = 1

    def __post_init__(self) -> None:
        require(len(self.layers) >= 1, "layers", self.layers, "one layer or more")
        require_choice("output_activation", self.output_activation, Activation)
        require(self.inputs >= 0, "inputs", self.inputs, "the number of values per sample")
        require(self.interleave >= 1, "interleave", self.interleave, "1 (inputs in their own order) or more")
        divisor = f"a divisor of the {self.inputs} inputs"
        require(self.inputs % self.interleave == 0, "interleave", self.interleave, divisor)

    @property
    def widths(self) -> tuple[int, ...]:
        """(inputs, units of layer 0, …, units of the code)."""
        return (self.inputs, *(layer.units for layer in self.layers))

    def decoder_activation(self, index: int) -> str:
        """The activation of the decoder layer that uses kernel `index`."""
        return self.output_activation if index == 0 else self.layers[index - 1].activation


@dataclass(frozen=True)
class TrainConfig:
    """Float training: Adam with warm-up and cosine decay to zero over all epochs, or a constant rate.

    `patience` epochs without a better validation loss stop it (0: never); the best weights are kept where there is a
    validation set. `weight_decay` is decoupled: a step takes that share, times its learning rate, off the kernels. `seed` fixes
    the initial weights, the order of samples and dropout.
    """

    epochs: int = 15
    batch_size: int = 64
    learning_rate: float = 3e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    loss: Loss = "mse"
    weight_decay: float = 0.1
    patience: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.epochs >= 0, "epochs", self.epochs, "0 or more")
        require(self.batch_size >= 1, "batch_size", self.batch_size, "at least 1")
        require(0 < self.learning_rate < math.inf, "learning_rate", self.learning_rate, "positive")
        require_choice("schedule", self.schedule, Literal["cosine", "constant"])
        require_choice("loss", self.loss, Loss)
        require(0 <= self.weight_decay < math.inf, "weight_decay", self.weight_decay, "0 or more")
        require(self.patience >= 0, "patience", self.patience, "0 (never stop) or more")
        require(self.seed >= 0, "seed", self.seed, "0 or more")


def _require_fine_tuning(config: FineTuning) -> None:
    require(config.epochs >= 1, "epochs", config.epochs, "at least 1")
    require(0 < config.learning_rate < math.inf, "learning_rate", config.learning_rate, "positive")
    require(0 <= config.weight_decay < math.inf, "weight_decay", config.weight_decay, "0 or more")
    require(0 <= config.distill <= 1, "distill", config.distill, "in [0, 1]")


def fine_tuning(train: TrainConfig, config: FineTuning) -> TrainConfig:
    """The training of a later stage: what it sets itself, the rest as in float training."""
    return replace(train, epochs=config.epochs, learning_rate=config.learning_rate, weight_decay=config.weight_decay)


@dataclass(frozen=True)
class PruneConfig:
    """Pruning on the one mask of each kernel, then fine-tuning with the mask held.

    `pattern`: `unstructured`, single weights; `block`, blocks of `block` = [rows, columns]; "N:M", such as "2:4", N of every M
    weights along both axes; `structured`, whole hidden units (and those of the code where `code`), which leave the model.
    `sparsity` is the final share of zeros, or of units, in each kernel or over all together (`scope` global); N:M has 1 − N/M.
    `saliency` says what stays: the largest `magnitude`, the weights that the loss feels (`gradient`, on `samples` training
    samples), or those that grow while fine-tuning (`movement`). Kernels in `skip`, by index, stay whole.
    The polynomial schedule ramps over the first `ramp` of the epochs, the constant one prunes at once. `distill` is
    the share of the loss that is taken against the uncompressed model's output instead of the sample.
    """

    pattern: str = "unstructured"
    sparsity: float = 0.5
    block: tuple[int, int] = (1, 1)
    code: bool = False
    saliency: Saliency = "magnitude"
    samples: int = 1024
    skip: tuple[int, ...] = ()
    schedule: Literal["polynomial", "constant"] = "polynomial"
    scope: Literal["layer", "global"] = "layer"
    ramp: float = 0.4
    epochs: int = 5
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    distill: float = 0.0

    def __post_init__(self) -> None:
        require(0 <= self.sparsity < 1, "sparsity", self.sparsity, "in [0, 1)")
        require(self.kind in PATTERN_KINDS, "pattern", self.pattern, "unstructured, block, structured or N:M such as 2:4")
        if self.kind == "n:m":
            n, m = self.n_of_m
            require(1 <= n < m <= 16, "pattern", self.pattern, "N:M with 1 ≤ N < M ≤ 16")
            fixed = f"{1 - n / m:.3g}"
            require(
                f"{self.sparsity:.3g}" == fixed, "sparsity", self.sparsity, f"{fixed}, the share that {self.pattern} leaves out"
            )
            require(self.scope == "layer", "scope", self.scope, f"layer: {self.pattern} holds in every kernel")
        if self.kind == "block":
            sizes = len(self.block) == 2 and min(self.block) >= 1 and max(self.block) > 1
            require(sizes, "block", list(self.block), "[rows, columns] of more than one weight")
        else:
            require(self.block == (1, 1), "block", list(self.block), "left out, or pattern block")
        require(self.kind == "structured" or not self.code, "code", self.code, "false, or pattern structured")
        require(self.kind != "structured" or not self.skip, "skip", list(self.skip), "left out with pattern structured")
        require(all(index >= 0 for index in self.skip), "skip", list(self.skip), "the indices of kernels, from 0")
        require_choice("saliency", self.saliency, Saliency)
        require(self.samples >= 1, "samples", self.samples, "at least 1")
        require_choice("schedule", self.schedule, Literal["polynomial", "constant"])
        moving = self.saliency != "movement" or self.schedule == "polynomial"
        require(moving, "schedule", self.schedule, "polynomial with saliency movement: at once nothing has moved")
        require_choice("scope", self.scope, Literal["layer", "global"])
        require(0 < self.ramp <= 1, "ramp", self.ramp, "in (0, 1]")
        _require_fine_tuning(self)

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


@dataclass(frozen=True)
class QuantizeConfig:
    """Quantization to int8: aware training (`qat`), or post-training quantization (`ptq`).

    `granularity` is one scale per kernel (`tensor`) or per unit (`unit`). `bits` of the kernels, in 2…8: one width for all or
    one per kernel; `code_bits` of the code, in 4…8. `samples` calibration samples start the ranges, which `observer` takes
    from them; auto: minmax for `ptq`, moving-average for `qat`. `calibration` is a file of `tiedae calibrate` to take them from
    instead, relative to the recipe. `distill` as in pruning. `steps` are what `ptq` does beyond rounding to nearest over the
    extremes; without any it is plain. With kernels of fewer than 8 bits `qat` starts from equalized units too.
    """

    method: Literal["qat", "ptq"] = "qat"
    granularity: Granularity = "tensor"
    bits: tuple[int, ...] = (8,)
    code_bits: int = 8
    samples: int = 512
    observer: Observer = "auto"
    calibration: str | None = None
    steps: tuple[PostTrainingStep, ...] = get_args(PostTrainingStep)
    epochs: int = 5
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    distill: float = 0.0

    def __post_init__(self) -> None:
        require_choice("method", self.method, Literal["qat", "ptq"])
        require_choice("granularity", self.granularity, Granularity)
        allowed = len(self.bits) > 0 and all(2 <= bits <= 8 for bits in self.bits)
        require(allowed, "bits", self.bits, "one width in 2…8, or one per kernel")
        require(4 <= self.code_bits <= 8, "code_bits", self.code_bits, "in 4…8")
        require(self.samples >= 8, "samples", self.samples, "at least 8")
        require_choice("observer", self.observer, Observer)
        if self.calibration is not None:
            require(bool(self.calibration), "calibration", self.calibration, "the path of a file of `tiedae calibrate`")
            require(self.observer == "auto", "observer", self.observer, "left out beside `calibration`, whose file states it")
        for step in self.steps:
            require_choice("steps", step, PostTrainingStep)
        require(len(set(self.steps)) == len(self.steps), "steps", self.steps, "each step once")
        _require_fine_tuning(self)


@dataclass(frozen=True)
class ClusterConfig:
    """Weight clustering: each kernel shares at most `clusters` values, which fine-tuning moves; `distill` as in pruning."""

    clusters: int = 16
    epochs: int = 5
    learning_rate: float = 3e-3
    weight_decay: float = 0.0
    distill: float = 0.0

    def __post_init__(self) -> None:
        require(2 <= self.clusters <= 255, "clusters", self.clusters, "in 2…255, as many values as int8 tells apart")
        _require_fine_tuning(self)


FineTuning = PruneConfig | QuantizeConfig | ClusterConfig
"""The stages that go on training a model; each has `epochs`, `learning_rate`, `weight_decay` and `distill`."""


@dataclass(frozen=True)
class SearchConfig:
    """What `tiedae search` looks over. An empty list stands for the recipe's own value; of `code` for ½, ¾, 1, 1¼ and 1½ of it.

    `code` are sizes of the code, `hidden` factors on the units of hidden layers, each layer by itself. `patterns` are those of
    pruning, each with every `sparsity`, where 0 stands for no pruning. `bits` are those of all kernels. `size` is what counts
    as bytes: the .tflite file as it is, or after gzip. `validation` is the share of the samples that trials are measured on,
    where the recipe holds none out. `seed` is the sampler's.
    """

    code: tuple[int, ...] = ()
    hidden: tuple[float, ...] = (0.125, 0.25, 0.375, 0.5, 0.75, 1.0)
    patterns: tuple[str, ...] = ()
    sparsity: tuple[float, ...] = ()
    bits: tuple[int, ...] = (4, 8)
    granularity: tuple[Granularity, ...] = ()
    size: Literal["file", "gzip"] = "file"
    validation: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for key in ("code", "hidden", "patterns", "sparsity", "bits", "granularity"):
            values = getattr(self, key)
            require(len(set(values)) == len(values), key, list(values), "a list of different values")
        require(all(units >= 1 for units in self.code), "code", list(self.code), "sizes of 1 or more")
        require(all(0 < factor < math.inf for factor in self.hidden), "hidden", list(self.hidden), "positive factors")
        for pattern in self.patterns:
            n, _, m = pattern.partition(":")
            shaped = 1 <= int(n) < int(m) <= 16 if n.isdecimal() and m.isdecimal() else pattern in PATTERN_KINDS and not m
            require(shaped, "patterns", pattern, "unstructured, block, structured or N:M with 1 ≤ N < M ≤ 16")
        require(all(0 <= share < 1 for share in self.sparsity), "sparsity", list(self.sparsity), "shares in [0, 1)")
        require(all(2 <= bits <= 8 for bits in self.bits), "bits", list(self.bits), "widths in 2…8")
        for granularity in self.granularity:
            require_choice("granularity", granularity, Granularity)
        require_choice("size", self.size, Literal["file", "gzip"])
        require(0 < self.validation < 1, "validation", self.validation, "in (0, 1)")
        require(self.seed >= 0, "seed", self.seed, "0 or more")


@dataclass(frozen=True)
class Recipe:
    """Everything that a run depends on."""

    name: str
    data: DataConfig
    model: ModelConfig
    train: TrainConfig = field(default_factory=TrainConfig)
    prune: PruneConfig | None = None
    cluster: ClusterConfig | None = None
    quantize: QuantizeConfig = field(default_factory=QuantizeConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    verify: VerifyConfig = field(default_factory=VerifyConfig)
    search: SearchConfig | None = None

    def __post_init__(self) -> None:
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
            require(False, "train.patience", self.train.patience, "0, or data.validation a share to wait for")
