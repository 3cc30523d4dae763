"""Training for rate: what an error costs in bits of real .tae files, through the int8 program, beside PCA and AVIF.

    TIEDAE_DATA=... python benchmarks/rate.py --json rate.json [--only fashion] [--keep FOLDER]

Nets, rates, steps and classes are chosen on validation samples. Each figure is the median of the seeds, on the test samples.
Trained nets are kept in FOLDER, where the next call finds them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import median

import numpy as np
from msgspec.structs import replace
from rows import Row, report_trained, training_arguments_of

from tiedae.bundle.fidelity import squared_error
from tiedae.bundle.task_results import Coder
from tiedae.calibration import quantize_post_training, representative
from tiedae.codec.backends import ProgramBackend
from tiedae.codec.frames import FileModel
from tiedae.codec.reader import Reader
from tiedae.codec.streams import StreamEncoder
from tiedae.codec.training_codes import TABLE_SAMPLES, fit_code_tables
from tiedae.compress import DataConfig, Dataset, LayerConfig, ModelConfig, QuantizeConfig, Recipe, TiedAutoencoder, TrainConfig
from tiedae.compress.float_training import train_float
from tiedae.compress.optimizer import Optimizer
from tiedae.compress.quantized_training import train_quantized
from tiedae.compress.rate import RateTerm
from tiedae.compress.train import Training, training_step
from tiedae.config.config import with_rate
from tiedae.data.dataset import choose
from tiedae.data.samples import Samples
from tiedae.entropy.classes import CodeTables
from tiedae.entropy.tables import fit
from tiedae.export import lower
from tiedae.pipeline.sources import load_dataset
from tiedae.program.file_io import FileIO
from tiedae.report.console import Console
from tiedae.tasks.coders import IMAGE_CODERS, PcaChoice, file_bytes

SEEDS = (0, 1, 2)
RATES = (0.0118, 0.029)
"""Error that a bit has to save, one net each: for the rows at `BITS`, and for those at `ERROR`."""
BITS, ERROR = 150, 5.85
"""Where nets are compared: bits per image, and squared error per image of pixels in 0…1."""
MARGIN = 0.99
"""The share of the bits, or of the error, that a choice on validation samples may take: test samples differ a little."""
CLASSES = 128
"""Of the codes of images: of 1, 32 and 128 the one of the fewest bits on validation images."""
MOSAIC = 1000
AVIF = (6, 8, 10, 12, 14)
FLOAT_STEPS = (0.8, 0.9, 1.0, 1.1, 1.25)
ADC_BITS, PRDN = 11, 12.7
FASHION = Recipe(
    "rate",
    DataConfig("fashion-mnist", validation=1 / 12),
    ModelConfig((LayerConfig(512, "relu"), LayerConfig(256, "relu"), LayerConfig(64)), "sigmoid", 784),
    TrainConfig(epochs=40, batch_size=128, learning_rate=2e-3, weight_decay=0.0),
    quantize=QuantizeConfig(epochs=4, weight_decay=0.0),
)
ECG = Recipe(
    "rate-ecg",
    DataConfig("ecg", window=256, stride=4, split="tail", test=0.2),
    ModelConfig((LayerConfig(512, "relu"), LayerConfig(256, "relu"), LayerConfig(48)), "linear", 256),
    TrainConfig(epochs=60, batch_size=64, learning_rate=2e-3, weight_decay=0.0, rate=0.05),
    quantize=QuantizeConfig(epochs=10, weight_decay=0.0),
)
STEP_ROUNDS = 300


@dataclass(frozen=True)
class Cost:
    """What a coder makes of samples: bits per sample, and squared error per sample in scaled values."""

    bits: float
    error: float


@dataclass(frozen=True, eq=False)
class Net:
    """A float model, and the int8 program that was trained from it."""

    recipe: Recipe
    floating: TiedAutoencoder
    program: ProgramBackend
    data: Dataset = field(repr=False)

    @cached_property
    def tables(self) -> CodeTables:
        return fit_code_tables(self.program, self.data.train, self.recipe.data.seed)

    @cached_property
    def class_tables(self) -> CodeTables:
        return fit_code_tables(self.program, self.data.train, self.recipe.data.seed, classes=CLASSES)

    def file(self, samples: Samples, tables: CodeTables) -> Cost:
        """By a .tae file, encoded and decoded."""
        x = samples.take(np.arange(len(samples)))
        model = FileModel(self.program, tables, bytes(8))
        data = StreamEncoder(model, self.program).whole(x)
        decoded = np.concatenate(list(Reader(model, data, "data").samples())).reshape(x.shape)
        return Cost(8 * len(data) / len(x), self.error(x, decoded))

    def floats(self, samples: Samples, factor: float) -> Cost:
        """As `float_cost`."""
        return float_cost(self.floating, self.data, samples, factor, self.recipe.data.seed)

    def error(self, x: np.ndarray, y: np.ndarray) -> float:
        """Of samples in the data's unit of measure."""
        return squared_error(self.data.scaling.apply(x), self.data.scaling.apply(y))


def float_cost(model: TiedAutoencoder, data: Dataset, samples: Samples, factor: float, seed: int) -> Cost:
    """A float model's cost, whose codes are rounded to a factor times its step: by the bytes of the frames of a .tae file."""
    step = np.float32((model.code_scale or 1.0) * factor)

    def codes_of(x: np.ndarray) -> np.ndarray:
        steps = np.rint(model.encoder(data.scaling.apply(x)).numpy() / step)
        return np.clip(steps + 128, 0, 255).astype(np.uint8)

    x = samples.take(np.arange(len(samples)))
    tables = fit(codes_of(data.train.take(choose(data.train, TABLE_SAMPLES, seed))))
    codes = codes_of(x)
    y = model.decoder((codes.astype(np.float32) - 128) * step).numpy().reshape(x.shape)
    return Cost(8 * file_bytes(tables, codes, x.shape[1]) / len(x), squared_error(data.scaling.apply(x), y))


def trained(recipe: Recipe, data: Dataset, folder: Path, console: Console) -> Net:
    """The net of a recipe without pruning and clustering, trained unless `folder` has it."""
    floating, quantized = archives(recipe, folder)
    if not quantized.exists():
        training = Training(recipe.train, progress=console.progress)
        model = TiedAutoencoder(recipe.model.of_samples(data.spec.shape), seed=recipe.train.seed)
        train_float(model, data, training)
        model.save(floating)
        quantize_post_training(model, representative(data.train, recipe.quantize.samples, seed=0), recipe.quantize)
        train_quantized(model, data, recipe.quantize, training)
        model.save(quantized)
    program = lower(TiedAutoencoder.load(quantized), recipe.name, layout="fused")
    io = FileIO.of(recipe.export, data.scaling, data.train.dtype.name)
    return Net(recipe, TiedAutoencoder.load(floating), ProgramBackend(program, data.spec, io), data)


def archives(recipe: Recipe, folder: Path) -> tuple[Path, Path]:
    """Where `trained` keeps the float and the int8 model."""
    stem = f"{recipe.name}-{recipe.train.start}-{recipe.train.rate:g}-{recipe.train.seed}"
    return folder / f"{stem}-float.safetensors", folder / f"{stem}-int8.safetensors"


def of_seed(recipe: Recipe, seed: int, rate: float) -> Recipe:
    return with_rate(replace(recipe, train=replace(recipe.train, seed=seed)), rate)


def texts(values: Sequence[float]) -> str:
    return "seeds: " + listed(values)


def listed(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def fashion_rows(folder: Path, console: Console) -> list[Row]:
    data = load_dataset(FASHION.data, "sigmoid")
    assert data.validation is not None
    nets = [[trained(of_seed(FASHION, seed, rate), data, folder, console) for seed in SEEDS] for rate in RATES]
    for rate, each in zip(RATES, nets, strict=True):
        for net in each:
            units = net.floating.config.widths[-1]
            parts = (
                ("validation", net.file(data.validation, net.class_tables)),
                ("test", net.file(data.test, net.class_tables)),
                ("test without classes", net.file(data.test, net.tables)),
                ("float test without classes", net.floats(data.test, 1.0)),
            )
            texts_of = ", ".join(f"{name} {cost.bits:.1f} bit {cost.error:.3f}" for name, cost in parts)
            console.note(f"rate {rate:g}, seed {net.recipe.train.seed}: {units} units, {texts_of}")
    finer, coarser = ([net.file(data.test, net.class_tables) for net in each] for each in nets)
    plain = [net.file(data.test, net.tables) for net in nets[0]]
    saved = [1 - with_classes.bits / without.bits for with_classes, without in zip(finer, plain, strict=True)]
    pca = pca_cost(pca_choice(data), data.test, BITS)
    errors = [cost.error if cost.bits <= BITS else np.inf for cost in finer]
    bits = [cost.bits if cost.error <= ERROR else np.inf for cost in coarser]
    lost = [int8_loss(net, data.test) for net in nets[0]]
    return [
        Row(
            "codec_error_150", median(errors), "", "<= 5.8", "<= 5.5", f"{texts(errors)} at {listed(c.bits for c in finer)} bit"
        ),
        Row("codec_bits_585", median(bits), "bit", "<= 140", "<= 120", f"{texts(bits)}; {listed(c.error for c in coarser)}"),
        Row("codec_vs_pca", median(errors) / pca.error, "", "<= 0.72", "<= 0.68", f"PCA {pca.error:.3f} at {pca.bits:.1f} bit"),
        avif_row(nets[1], data.test),
        Row("classes_saving", median(saved), "", ">= 0.04", ">= 0.08", f"{CLASSES} classes, {texts(saved)}"),
        Row("int8_rate_loss", median(lost), "", "<= 1.01", "<= 1.005", texts(lost)),
        epoch_row(data),
    ]


def pca_choice(data: Dataset) -> PcaChoice:
    assert data.validation is not None
    train, held = (data.scaling.apply(part.take(np.arange(len(part)))) for part in (data.train, data.validation))
    return PcaChoice(train, held)


def pca_cost(choice: PcaChoice, samples: Samples, bits: float) -> Cost:
    """The cost of images by the best PCA of `bits` an image; its components and step are chosen on validation images."""
    x = samples.scaling.apply(samples.take(np.arange(len(samples))))
    coder = choice.at(bits)
    assert coder is not None
    codes = coder.encode(x)
    error = squared_error(x, coder.decode(codes).clip(0, 1))
    return Cost(8 * file_bytes(coder.tables, codes, x.shape[1]) / len(x), error)


def picture_cost(name: Coder, samples: Samples, quality: int) -> Cost:
    """The cost of images by a format of pictures with its slow options, up to 1,000 in one file."""
    x = samples.take(np.arange(len(samples)))
    size, decoded = IMAGE_CODERS[name].thorough.code_images(x.reshape(-1, *samples.shape), quality)
    return Cost(8 * size / len(x), squared_error(samples.scaling.apply(x), samples.scaling.apply(decoded.reshape(x.shape))))


def avif_row(nets: Sequence[Net], test: Samples) -> Row:
    """Against one AVIF file of the first 1,000 test images at the net's error on them, between two qualities."""
    part = first(test, MOSAIC)
    points = sorted((picture_cost("avif", part, quality) for quality in AVIF), key=lambda cost: cost.error)
    ratios, parts = [], []
    for net in nets:
        own = net.file(part, net.class_tables)
        other = float(np.interp(own.error, [point.error for point in points], [point.bits for point in points]))
        ratios.append(own.bits / other)
        parts.append(f"{own.bits:.1f} against {other:.1f} bit at {own.error:.3f}")
    return Row("codec_vs_avif", median(ratios), "", "<= 0.55", "<= 0.45", "; ".join(parts))


def first(samples: Samples, count: int) -> Samples:
    """The first of some samples."""
    return Samples(samples.take(np.arange(count)).reshape(count, *samples.shape), scaling=samples.scaling)


def int8_loss(net: Net, test: Samples) -> float:
    """The error of the int8 file over the float model's at equal bits, by its curve over steps."""
    own = net.file(test, net.tables)
    curve = sorted((net.floats(test, factor) for factor in FLOAT_STEPS), key=lambda cost: cost.bits)
    return own.error / float(np.interp(own.bits, [cost.bits for cost in curve], [cost.error for cost in curve]))


def epoch_row(data: Dataset) -> Row:
    """A training step with the rate term against one without: same net, loop, optimizer and batch, in turns."""
    batch = data.scaling.apply(data.train.take(np.arange(FASHION.train.batch_size)))
    steps: dict[str, Callable[[], object]] = {}
    for name, rate in (("with", RATES[0]), ("without", 0.0)):
        model = TiedAutoencoder(FASHION.model)
        training = Training(replace(FASHION.train, rate=rate))
        term = training.rate_term(model, data)
        steps[name] = stepper(model, training, term, batch)
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(20 + STEP_ROUNDS):
        for name, step in steps.items():
            begun = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - begun)
    medians = {name: float(np.median(values[20:])) for name, values in times.items()}
    ratio = medians["with"] / medians["without"]
    detail = f"a step of {len(batch)}: {1e3 * medians['with']:.2f} ms, {1e3 * medians['without']:.2f} ms without, in turns"
    return Row("rate_epoch_ratio", ratio, "", "<= 1.5", "<= 1.2", detail)


def stepper(model: TiedAutoencoder, training: Training, term: RateTerm | None, batch: np.ndarray) -> Callable[[], object]:
    optimizer = Optimizer(model, training.config, 1000, term)
    step = training_step(model, optimizer.apply, model.config.size, training.objective, term)
    return lambda: float(step(batch, batch))


def ecg_rows(folder: Path, console: Console) -> list[Row]:
    nets = ecg_nets(ECG, folder, console)
    return [ecg_row("ecg_ratio", nets, ">= 26", ">= 32")]


def ecg_nets(recipe: Recipe, folder: Path, console: Console) -> list[Net]:
    """A net of each seed."""
    data = load_dataset(recipe.data, recipe.model.output_activation)
    return [trained(of_seed(recipe, seed, recipe.train.rate), data, folder, console) for seed in SEEDS]


@dataclass(frozen=True)
class EcgCost:
    """11 bits a value / those of a .tae file, and the error of its samples as PRDN in %."""

    ratio: float
    prdn: float

    @classmethod
    def of(cls, cost: Cost, samples: Samples) -> EcgCost:
        """That of a cost of these samples."""
        x = samples.scaling.apply(samples.take(np.arange(len(samples))))
        prdn = 100 * np.sqrt(cost.error * len(x) / np.square(x - x.mean()).sum())
        return cls(ADC_BITS * samples.inputs / cost.bits, float(prdn))


def ecg_row(name: str, nets: Sequence[Net], reach: str, stretch: str) -> Row:
    """The ratio of test samples; 0 where their PRDN is above `PRDN`."""
    costs = [EcgCost.of(net.file(net.data.test, net.tables), net.data.test) for net in nets]
    ratios = [cost.ratio if cost.prdn <= PRDN else 0.0 for cost in costs]
    parts = [f"{cost.ratio:.1f} at {cost.prdn:.1f} %" for cost in costs]
    return Row(name, median(ratios), "", reach, stretch, "seeds: " + ", ".join(parts))


MEASURES: Mapping[str, Callable[[Path, Console], Sequence[Row]]] = {"fashion": fashion_rows, "ecg": ecg_rows}
"""The rows of each data set."""


def main() -> int:
    parser = training_arguments_of(__doc__ or "")
    parser.add_argument("--only", choices=MEASURES, action="append", help="measure only this data set (can be repeated)")
    arguments = parser.parse_args()

    def measure(folder: Path, console: Console) -> Sequence[Row]:
        return [row for name in arguments.only or MEASURES for row in MEASURES[name](folder, console)]

    return report_trained("Rate", measure, arguments.json, arguments.keep)


if __name__ == "__main__":
    sys.exit(main())
