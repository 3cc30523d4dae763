"""Configuration of the model, each stage, data, export and verification, and the recipe that holds all of them.

Validated on construction (see `records.Checked`). Imports no TensorFlow, so that recipes are validated without it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from msgspec import Meta
from msgspec.structs import replace

from tiedae.base.keys import AboveZero, Bits, Count, Fraction, Line, Name, NonNegative, Positive, ProperFraction, means
from tiedae.base.records import LARGEST, Checked, require

from .combinations import require_combination
from .model_config import ModelConfig
from .sample_spec import Kind
from .scaling import Rule
from .tasks import BASELINES, Compression, NoiseConfig, Task, task_kind

Loss = Literal["mse", "mae", "bce", "huber"]
Granularity = Literal["tensor", "unit"]
Saliency = Literal["curvature", "magnitude", "gradient", "movement"]
OBSERVERS: Mapping[str, str] = {
    "minmax": "MinMax",
    "moving-average": "MovingAverage",
    "percentile": "Percentile",
    "mse": "MeanSquared",
    "kl": "Entropy",
}
"""Observers by the name that recipes have: classes of calibration/observers.py."""
if TYPE_CHECKING:
    Observer = str
else:
    Observer = Literal["auto", *OBSERVERS]
Refinement = Literal["equalize", "round", "correct", "ranges"]
Signature = Literal["encode", "decode", "reconstruct"]
CSignature = Literal[Signature, "score"]
Decoder = Literal["auto", "split", "view"]
Kernels = Literal["view", "portable", "copies", "sparse"]

PATTERN_KINDS = ("unstructured", "block", "n:m", "structured")


def _require_different(config: Checked, *keys: str) -> None:
    """Raise RecipeError for duplicate values in one of these lists."""
    for key in keys:
        values = list(getattr(config, key))
        require(len(set(values)) == len(values), key, values, "a list of different values")


EPOCHS = means("passes over the training samples")
LEARNING_RATE = means("largest step size of Adam")
WEIGHT_DECAY = means("decoupled: each step takes this fraction, times its learning rate, off the kernels")
DISTILL = means("fraction of the loss that is taken against the uncompressed model's output instead of the sample")


class TrainConfig(Checked, frozen=True):
    """Float training, by Adam; the best weights are kept where there is a validation set."""

    epochs: Annotated[Count, EPOCHS] = 15
    batch_size: Annotated[Positive, means("samples per step, in every stage")] = 64
    learning_rate: Annotated[AboveZero, LEARNING_RATE] = 3e-3
    schedule: Annotated[Literal["cosine", "constant"], means("cosine: warm-up, then decay to zero over all epochs")] = "cosine"
    loss: Annotated[Loss, means("of every stage")] = "mse"
    weight_decay: Annotated[NonNegative, WEIGHT_DECAY] = 0.1
    rate: Annotated[
        NonNegative, means("error that a bit of the code has to save: loss = error + rate · bits, per value; 0: none")
    ] = 0.0
    distill: Annotated[
        Fraction, means("with model.tie: fraction of the loss that is taken against the untied source's output")
    ] = 0.0
    patience: Annotated[Count, means("epochs without a better validation loss after which training stops; 0: never")] = 0
    seed: Annotated[Count, means("of the initial weights, the order of samples, dropout and noise")] = 0
    start: Annotated[
        Literal["random", "pca", "auto"],
        means("weights at first; pca: components of the samples, by linear, relu, relu6 layers; auto: the better"),
    ] = "auto"
    noise: Annotated[
        NoiseConfig | None,
        means("added to the inputs of every stage, anew in each epoch; false: none"),
    ] = None

    @property
    def for_rate(self) -> bool:
        """Whether the bits of the code are part of the loss."""
        return self.rate > 0


def fine_tuning(train: TrainConfig, config: FineTuning) -> TrainConfig:
    """Float training with the settings of a later stage."""
    rate = train.rate * config.rate_fraction if isinstance(config, QuantizeConfig) else train.rate
    settings = {"epochs": config.epochs, "learning_rate": config.learning_rate, "weight_decay": config.weight_decay}
    return replace(train, rate=rate, **settings)


class PruneConfig(Checked, frozen=True):
    """Pruning on the one mask of each kernel, then fine-tuning with the mask held; without the table, every weight stays.

    Patterns: `unstructured`, single weights; `block`, blocks of weights; "N:M", N of every M weights along both axes;
    `structured`, whole units, which leave the model. Saliencies, of the weights that stay: those without which the output would
    change most (`curvature`), the largest (`magnitude`), those that the loss feels (`gradient`), or that grow while
    fine-tuning (`movement`).
    """

    pattern: Annotated[str, means('unstructured: single weights; block; N:M, such as "2:4"; structured: whole units')] = (
        "unstructured"
    )
    sparsity: Annotated[ProperFraction, means("final fraction of zeros, or of units that leave; 1 − N/M for N:M")] = 0.5
    block: Annotated[tuple[Positive, Positive], means("[rows, columns] of a block, with pattern block")] = (1, 1)
    code: Annotated[bool, means("with pattern structured: units of the code leave too")] = False
    saliency: Annotated[
        Saliency,
        means("curvature: what the output feels; gradient: the loss; movement: what grows"),
    ] = "curvature"
    samples: Annotated[Positive, means("training samples for saliency curvature and gradient")] = 1024
    skip: Annotated[tuple[Count, ...], means("kernels, by index, that stay whole")] = ()
    schedule: Annotated[
        Literal["polynomial", "constant"], means("polynomial: a ramp up to the sparsity; constant: at once")
    ] = "polynomial"
    scope: Annotated[Literal["layer", "global"], means("layer: each kernel has the sparsity; global: all together")] = "layer"
    ramp: Annotated[float, Meta(gt=0, le=1), means("fraction of the epochs over which the polynomial schedule ramps")] = 0.4
    epochs: Annotated[Positive, EPOCHS] = 5
    learning_rate: Annotated[AboveZero, LEARNING_RATE] = 2e-3
    weight_decay: Annotated[NonNegative, WEIGHT_DECAY] = 0.02
    distill: Annotated[Fraction, DISTILL] = 0.0

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
    """Quantization to int8: without training (`ptq`), or from there by training with fake quantization (`qat`).

    `qat` keeps its end only where that is better than its start, the result of `ptq`, beyond noise.
    """

    method: Annotated[
        Literal["qat", "ptq"],
        means("ptq: from samples, without training; qat: ptq, then training with fake quantization where it helps"),
    ] = "qat"
    granularity: Annotated[Granularity, means("tensor: a scale per kernel; unit: a scale per unit")] = "tensor"
    bits: Annotated[tuple[Bits, ...], Meta(min_length=1), means("of the kernels: one width, or one per kernel")] = (8,)
    code_bits: Annotated[int, Meta(ge=4, le=8), means("of the code")] = 8
    code_scale: Annotated[
        NonNegative,
        means("scale of the code, which no stage changes; 0: from its range, or what train.rate found best"),
    ] = 0.0
    samples: Annotated[int, Meta(ge=8, le=LARGEST), means("calibration samples, which the ranges are taken from")] = 4096
    observer: Annotated[Observer, means("how ranges are taken; auto: minmax")] = "auto"
    calibration: Annotated[
        str | None, means("file of `tiedae calibrate`, relative to the recipe, to take the ranges from; false: none")
    ] = None
    refinements: Annotated[tuple[Refinement, ...], means("what is done beyond rounding to nearest over the extremes")] = (
        get_args(Refinement)
    )
    epochs: Annotated[Positive, EPOCHS] = 6
    learning_rate: Annotated[AboveZero, LEARNING_RATE] = 1e-3
    weight_decay: Annotated[NonNegative, WEIGHT_DECAY] = 0.02
    rate_fraction: Annotated[
        float, Meta(gt=0, le=1), means("fraction of train.rate that qat trains at; below 1: less error, for more bits")
    ] = 1.0
    distill: Annotated[Fraction, DISTILL] = 0.0

    def check(self) -> None:
        if self.calibration is not None:
            require(bool(self.calibration), "calibration", self.calibration, "the path of a file of `tiedae calibrate`")
            require(self.observer == "auto", "observer", self.observer, "left out beside `calibration`, whose file states it")
        _require_different(self, "refinements")


class ClusterConfig(Checked, frozen=True):
    """Weight clustering: each kernel shares a few values, which fine-tuning moves; without the table there is none."""

    clusters: Annotated[int, Meta(ge=2, le=255), means("values per kernel at most; int8 has 255")] = 16
    epochs: Annotated[Positive, EPOCHS] = 5
    learning_rate: Annotated[AboveZero, LEARNING_RATE] = 3e-3
    weight_decay: Annotated[NonNegative, WEIGHT_DECAY] = 0.0
    distill: Annotated[Fraction, DISTILL] = 0.0


FineTuning = PruneConfig | QuantizeConfig | ClusterConfig
"""Stages that fine-tune a model; each has `epochs`, `learning_rate`, `weight_decay` and `distill`."""


class SearchConfig(Checked, frozen=True):
    """The search space of `tiedae search`; an empty list keeps the recipe's own value."""

    code: Annotated[tuple[Positive, ...], means("sizes of the code; empty: ½, ¾, 1, 1¼ and 1½ of the recipe's")] = ()
    hidden: Annotated[tuple[AboveZero, ...], means("factors on the units of hidden layers, each layer by itself")] = (
        0.125,
        0.25,
        0.375,
        0.5,
        0.75,
        1.0,
    )
    patterns: Annotated[tuple[str, ...], means('as in [prune], such as "structured" or "2:4", each with every sparsity')] = ()
    sparsity: Annotated[tuple[ProperFraction, ...], means("fractions for each pattern, 0 for no pruning")] = ()
    bits: Annotated[tuple[Bits, ...], means("of all kernels")] = (4, 8)
    granularity: Annotated[tuple[Granularity, ...], means("as in [quantize]")] = ()
    rate: Annotated[
        tuple[NonNegative, ...], means("as in [train]; with several, bits per sample count beside error and bytes")
    ] = ()
    size: Annotated[Literal["file", "gzip"], means("what counts as bytes: the .tflite file as it is, or after gzip")] = "file"
    validation: Annotated[
        float, Meta(gt=0, lt=1), means("fraction of the samples that trials are measured on, where [data] holds none out")
    ] = 0.1
    seed: Annotated[Count, means("the sampler's")] = 0

    def check(self) -> None:
        _require_different(self, "code", "hidden", "patterns", "sparsity", "bits", "granularity", "rate")
        for pattern in self.patterns:
            n, _, m = pattern.partition(":")
            shaped = 1 <= int(n) < int(m) <= 16 if n.isdecimal() and m.isdecimal() else pattern in PATTERN_KINDS and not m
            require(shaped, "patterns", pattern, "unstructured, block, structured or N:M with 1 ≤ N < M ≤ 16")


Convert = Literal["none", "rgb", "gray"]
MOST_PATCH = 1024
"""Rows and columns of a patch, at most."""
TextType = Literal["auto", "int16", "uint16", "uint8", "float32", "float64"]
"""What the numbers of a .csv file are read in."""


class DataConfig(Checked, frozen=True):
    """Where samples come from and how they become float32 model inputs."""

    source: Annotated[
        Line,
        means(
            "a name of `tiedae data`, or the path of .npy, .npz, .csv, .wav, idx(.gz), a folder of images or of records",
            "samples.npy",
        ),
    ]
    kind: Annotated[
        Literal["auto", Kind],
        means("record: values in time, of one or more channels; auto: by window, shape and dtype"),
    ] = "auto"
    window: Annotated[Count, means("time steps per sample that a record is cut into; 0: it is cut already")] = 0
    stride: Annotated[
        Count, means("time steps between the starts of training windows, which then overlap; a divisor of window; 0: window")
    ] = 0
    channels: Annotated[
        Count, means("of windows [n, k], flattened time step by time step: values of a step; 0: they are not flattened")
    ] = 0
    rate: Annotated[NonNegative, means("of a record: time steps per second (Hz); 0: unknown, or as the source says")] = 0.0
    unit_of_measure: Annotated[Line, means('of a record: of its values, such as "mV"; "": unknown')] = ""
    time: Annotated[
        Line,
        means('of a .csv record: the column of times, seconds or dates, which gives the rate and is no channel; "": none'),
    ] = ""
    groups: Annotated[
        Line,
        means(
            'a .csv column, a .npz array, or "file" of a folder; no group is in two of training, validation and test; "": none'
        ),
    ] = ""
    intervals: Annotated[
        Line,
        means('of a record: a .csv file of start and end in seconds; windows that overlap one are anomalies; "": none'),
    ] = ""
    columns: Annotated[tuple[str, ...], means("of a .csv file: the only columns that are read, in this order; empty: all")] = ()
    drop: Annotated[tuple[str, ...], means("of a .csv file: columns that are not read")] = ()
    label: Annotated[
        str,
        means(
            'of a .csv file: the column of labels; auto: label, class, target or y (not beside x); "": none, all are features'
        ),
    ] = "auto"
    dtype: Annotated[
        TextType,
        means("of .csv files; auto: narrowest that holds the source"),
    ] = "auto"
    resize: Annotated[tuple[Positive, ...], means("of a folder of images: [height, width]; empty: as they are")] = ()
    convert: Annotated[
        Convert, means("of a folder of images: to rgb or gray, whatever their modes; none: all must be of one")
    ] = "none"
    patch: Annotated[
        Annotated[int, Meta(ge=2, le=MOST_PATCH)] | None,
        means("of a folder of images: rows of the square patches that each is cut into; false: none"),
    ] = None
    scaling: Annotated[
        Literal["auto", Rule],
        means("auto: bytes by 255, floats as output_activation suggests"),
    ] = "auto"
    per_feature: Annotated[
        bool | Literal["auto"],
        means("an offset and scale for each value of a sample; auto: for columns of a table; for channels of a record"),
    ] = "auto"
    test: Annotated[
        Annotated[float, Meta(gt=0, lt=1)] | Line,
        means("fraction for the test set, where the source has none; or a source of test samples"),
    ] = 0.1
    validation: Annotated[
        ProperFraction,
        means("fraction for the validation set; 0: none; with qat a twentieth of 1,000 samples or more"),
    ] = 0.0
    split: Annotated[
        Literal["auto", "random", "tail"], means("tail: the last samples are held out; auto: tail for records in time")
    ] = "auto"
    seed: Annotated[Count, means("of the random split")] = 0
    clean: Annotated[
        str | None,
        means("clean samples, in the order of the noisy ones in `source`; the model learns to give them; false: none"),
    ] = None
    drop_labels: Annotated[tuple[int | str, ...], means("labels whose samples are left out of every split")] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """Every source that is read."""
        return (self.source, *filter(None, (self.test_source, self.clean, self.intervals)))

    @property
    def test_source(self) -> str | None:
        """Where the test samples come from, if not from `source`."""
        return self.test if isinstance(self.test, str) else None

    def check(self) -> None:
        require(bool(self.source), "source", self.source, "a known name or a path")
        require(self.test != "", "test", self.test, "a fraction, a known name or a path")
        require(self.clean != "", "clean", self.clean, "the path of a file of clean samples")
        _require_different(self, "columns", "drop", "drop_labels")
        both = [name for name in self.columns if name in (*self.drop, self.label, self.time, self.groups)]
        require(not both, "columns", both, "names that none of `drop`, `label`, `time` and `groups` has")
        for key in ("window", "stride", "channels", "rate", "unit_of_measure", "time", "intervals"):
            require(
                self.kind in ("auto", "record") or not getattr(self, key), key, getattr(self, key), 'left out, or kind "record"'
            )
        require(self.label == "" or self.label not in self.drop, "label", self.label, "a name that `drop` does not have")
        require(len(self.resize) in (0, 2), "resize", list(self.resize), "[height, width]")
        if self.patch is not None:
            require(self.kind in ("auto", "image"), "patch", self.patch, 'left out, or kind "image"')
            right = 'left out beside `patch`, or "file": no picture is in two splits'
            require(self.groups in ("", "file"), "groups", self.groups, right)
            require(not self.resize, "resize", list(self.resize), "left out beside `patch`, which takes pictures of any size")
            for key in ("window", "stride", "channels", "rate", "unit_of_measure", "time", "intervals"):
                require(not getattr(self, key), key, getattr(self, key), "left out beside `patch`: a picture is no record")
        test = 0 if isinstance(self.test, str) else self.test
        require(test + self.validation < 1, "validation", self.validation, "less than 1 − test")


class ExportConfig(Checked, frozen=True):
    """Which files are written.

    `targets` are names of `export.targets.TARGETS`, which whoever writes files checks.
    """

    targets: Annotated[tuple[str, ...], Meta(min_length=1), means("formats: tflite, onnx, c")] = ("tflite", "onnx")
    signatures: Annotated[tuple[Signature, ...], Meta(min_length=1), means("what the files compute")] = get_args(Signature)
    io: Annotated[
        Literal["auto", "uint8", "int8", "float32"],
        means("dtype of x and y in int8 files; auto: uint8 for bytes, else float32"),
    ] = "auto"
    scaled: Annotated[
        bool, means("float32 x and y are (x − offset) / scale, which the caller computes; false: the files do")
    ] = False
    opset: Annotated[int, Meta(ge=13, le=23), means("of .onnx files; at least 21 where kernels are packed")] = 17
    int4: Annotated[Literal["packed", "bytes"], means("kernels of 4 bits or fewer: packed, two values a byte")] = "packed"
    decoder: Annotated[
        Decoder,
        means("of int8 .tflite files; view: y as in other formats, not for TFLM and OpenVINO; auto: split"),
    ] = "auto"
    kernels: Annotated[
        Kernels,
        means("of .tflite convolutions; portable: for TFLM, OpenVINO; copies: twice; sparse: no zeros"),
    ] = "view"
    c_storage: Annotated[
        Literal["dense", "sparse"], means("kernels of .c files; sparse: a bit per weight and the values that are not zero")
    ] = "dense"
    c_signatures: Annotated[
        tuple[CSignature, ...],
        means("what .c files compute; []: signatures, and score of a detector"),
    ] = ()
    stock: Annotated[bool, means("files of the stock converters beside ours, of the same model, measured as ours are")] = True

    def check(self) -> None:
        _require_different(self, "targets", "signatures", "c_signatures")


class CodecConfig(Checked, frozen=True):
    """How .tae files are coded."""

    classes: Annotated[int, Meta(ge=1, le=256), means("kinds of samples, each with tables of its own; 1: one for all")] = 1
    frame: Annotated[
        int,
        Meta(ge=1, le=65535),
        means("samples of a frame, which decodes alone; 1: for packets. Reports compare at 64"),
    ] = 64


class VerifyConfig(Checked, frozen=True):
    """Limits of the checks; `tiedae verify --limit KEY=VALUE` replaces one.

    The first four limit what quantization may lose; a task is held to its own (`tasks.table`). `codes_equal_share` and
    `codes_max_lsb` hold for the codes of int8 files in runtimes that round as the integer program does, from the same integers;
    in others `codes_max_lsb` holds per kernel. Full scale is the largest magnitude of a tensor; at least 0.1.
    """

    max_quality_loss: Annotated[
        NonNegative,
        means("by how much int8's error may exceed float's, beyond noise: compression; normal samples alone"),
    ] = 0.05
    max_points_lost: Annotated[
        NonNegative, means("of Keras float's ROC-AUC and PR-AUC (anomaly) or trustworthiness (reduction), beyond noise")
    ] = 0.02
    max_alarms_added: Annotated[
        NonNegative,
        means("normal samples flagged beyond Keras float's / expected ones, beyond noise (anomaly)"),
    ] = 1.0
    max_decibels_lost: Annotated[
        NonNegative, means("PSNR against the clean samples that the int8 files may lose to Keras float (denoising)")
    ] = 0.5
    codes_equal_share: Annotated[Fraction, means("least fraction of codes that equal the integer program's")] = 1.0
    codes_max_lsb: Annotated[Count, means("largest difference of a code; in runtimes that round otherwise, per kernel")] = 1
    operation_max_lsb: Annotated[Count, means("largest difference of an operation's output, on equal inputs")] = 1
    float_max_abs: Annotated[AboveZero, means("largest difference of a float tensor, relative to its full scale")] = 1e-5
    better_than: Annotated[
        tuple[str, ...], means("baselines of [task] that the result has to surpass beyond noise, such as pca or mean")
    ] = ()

    def check(self) -> None:
        _require_different(self, "better_than")


class Recipe(Checked, frozen=True):
    """Everything that a run depends on."""

    name: Annotated[Name, means("of the files, and of the folder in runs/; by default that of the recipe file", "recipe")]
    data: DataConfig
    model: ModelConfig
    train: TrainConfig = TrainConfig()
    prune: PruneConfig | None = None
    cluster: ClusterConfig | None = None
    quantize: QuantizeConfig = QuantizeConfig()
    export: ExportConfig = ExportConfig()
    codec: CodecConfig = CodecConfig()
    verify: VerifyConfig = VerifyConfig()
    task: Annotated[Task, means("what the bundle is for: what is measured and reported beside its checks")] = Compression()
    search: SearchConfig | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """Every source that is read, of data and of the model."""
        return (*self.data.sources, *filter(None, (self.model.source,)))

    @property
    def is_noisy(self) -> bool:
        """Whether the model is given noisy samples, for which it gives clean ones."""
        return self.train.noise is not None or self.data.clean is not None

    def check(self) -> None:
        bits, kernels = self.quantize.bits, len(self.model.layers)
        require(len(bits) in (1, kernels), "quantize.bits", bits, f"one width, or {kernels}, one per kernel")
        kind = task_kind(self.task)
        unknown = [name for name in self.verify.better_than if name not in BASELINES[kind]]
        require(not unknown, "verify.better_than", unknown, f"of {', '.join(BASELINES[kind])}, the baselines of [task] {kind}")
        require_combination(self)
        if self.train.start == "pca":
            require(not self.model.no_components, "train.start", "pca", f"random: model.{self.model.no_components}")
            require(not self.model.source, "train.start", "pca", "random: model.source gives the weights")


def with_rate(recipe: Recipe, rate: float) -> Recipe:
    """The recipe with training for another rate; at 0 without a fraction of it."""
    quantize = recipe.quantize if rate else replace(recipe.quantize, rate_fraction=1.0)
    return replace(recipe, train=replace(recipe.train, rate=rate), quantize=quantize)
