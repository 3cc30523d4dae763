"""A covering array: cases that have between them every pair of features that may be combined, each a whole job.

The array is made here, by 30 lines: the libraries for it (allpairspy, pairwise) bring no table of forbidden pairs that is ours,
and another order of cases in each version.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

import tiedae as ta
from tiedae.bundle.bundle import Bundle
from tiedae.bundle.results import read_metrics
from tiedae.cli import main
from tiedae.config.combinations import FORBIDDEN
from tiedae.config.sample_spec import INTEGERS
from tiedae.pipeline.recipe import parse_recipe, recipe_to_toml

Level = str
FACTORS: Mapping[str, Sequence[Level]] = {
    "targets": ("TFLite", "ONNX", "C", "all targets"),
    "task": ("compression", "anomaly", "denoising", "reduction"),
    "data": ("images", "int16 data", "float data"),
    "activation": ("relu", "tanh", "sigmoid"),
    "pruning": ("all weights", "pruned weights", "block or N:M pruning"),
    "scales": ("scales per kernel", "scales per unit"),
    "bits": ("8 bits", "kernels below 8 bits"),
    "values": ("any values", "clusters"),
    "order": ("plain order", "interleave"),
    "code": ("no rate", "training for rate"),
    "tables": ("one class", "classes"),
    "bias": ("bias", "no bias"),
    "norm": ("no normalization", "batch normalization"),
    "decoder": ("split decoder", "decoder by view"),
    "layers": ("dense layers", "convolutions", "convolutions that tile"),
    "kernels": ("kernels by view", "portable kernels", "copied kernels"),
}
"""Levels by factor; the names of features are those of `tiedae.config.combinations.FEATURES`."""

PLAIN = {"all targets", *(levels[0] for factor, levels in FACTORS.items() if factor not in ("targets", "task"))}
"""Levels that are no feature of the recipe."""
HIDDEN = ((128, 64), (64, 64), (96, 64), (112, 80))
"""Layers of the cases, in turn: each has a product with vectors, the second a square kernel."""

Case = Mapping[str, Level]


def allowed(*levels: Level) -> bool:
    """Whether the product allows these levels together."""
    features = {*levels, *(["convolutions"] if "convolutions that tile" in levels else [])}
    return not any({row.first, row.second} <= features for row in FORBIDDEN)


@cache
def pairs() -> frozenset[frozenset[Level]]:
    """Every pair of levels of two factors."""
    return frozenset(
        frozenset((one, other)) for first, second in combinations(FACTORS.values(), 2) for one in first for other in second
    )


def cases() -> list[Case]:
    """Cases that cover every allowed pair: each begins with a pair that is not covered yet, and takes from each other factor
    the level that covers most. Nothing in it is random."""
    left = {pair for pair in pairs() if allowed(*pair)}
    found: list[Case] = []
    while left:
        case = _greedy(left)
        left -= covered(case)
        found.append(case)
    return found


def covered(case: Case) -> set[frozenset[Level]]:
    return {frozenset(pair) for pair in combinations(case.values(), 2)}


def _greedy(left: set[frozenset[Level]]) -> Case:
    order = {level: place for place, level in enumerate(level for levels in FACTORS.values() for level in levels)}
    first = min(left, key=lambda pair: sorted(order[level] for level in pair))
    case = {factor: level for factor, levels in FACTORS.items() for level in levels if level in first}
    for factor, levels in FACTORS.items():
        if factor not in case:
            possible = [level for level in levels if allowed(level, *case.values())]
            case[factor] = max(possible, key=lambda level: len({frozenset((level, each)) for each in case.values()} & left))
    return {factor: case[factor] for factor in FACTORS}


def _images() -> np.ndarray:
    """[320, 14, 14] uint8."""
    values = ta.load_data("fashion").train.values
    return np.ascontiguousarray(values[:320].reshape(-1, 28, 28)[:, ::2, ::2])


def _record() -> np.ndarray:
    """int16, 320 windows of 128."""
    return ta.load_data("ecg").train.values.reshape(-1)[: 320 * 128]


def _table() -> np.ndarray:
    """[320, 8] float32."""
    return ta.load_data("ecg-table").train.values[:320]


DATA: Mapping[Level, Callable[[], np.ndarray]] = {"images": _images, "int16 data": _record, "float data": _table}
ON: Mapping[Level, Mapping[str, Any]] = {
    "TFLite": {"export.targets": ["tflite"]},
    "ONNX": {"export.targets": ["onnx"]},
    "C": {"export.targets": ["c"]},
    "all targets": {"export.targets": ["tflite", "onnx", "c"]},
    "anomaly": {"task.kind": "anomaly", "task.quantile": 0.9},
    "denoising": {"task.kind": "denoising", "train.noise": {"kind": "gaussian", "level": 0.1}},
    "reduction": {"task.kind": "reduction", "task.neighbours": 5},
    "int16 data": {"data.window": 128},
    "pruned weights": {
        "prune.pattern": "unstructured",
        "prune.sparsity": 0.75,
        "export.c_storage": "sparse",
        "export.kernels": "sparse",
    },
    "block or N:M pruning": {"prune.pattern": "2:4"},
    "scales per unit": {"quantize.granularity": "unit"},
    "kernels below 8 bits": {"quantize.bits": [4]},
    "clusters": {"cluster.clusters": 16},
    "interleave": {"model.interleave": 4},
    "training for rate": {"train.rate": 0.01},
    "classes": {"codec.classes": 4},
    "decoder by view": {"export.decoder": "view", "export.int4": "bytes"},
    "portable kernels": {"export.kernels": "portable"},
    "copied kernels": {"export.kernels": "copies"},
}
"""Keys of the recipe by level; a level that is not here needs none."""


def beside_stock(number: int) -> bool:
    """Whether a case has the files of the stock converters too: every second."""
    return number % 2 == 0


def recipe_of(case: Case, number: int, source: str, *, trained: bool) -> dict[str, Any]:
    """The tables of a case's recipe; `trained`: two epochs, and fake quantization, else random weights and post-training
    quantization."""
    activation = case["activation"]
    output = activation if activation != "relu" else "sigmoid" if case["data"] == "images" else "linear"
    kernels = [each | {"activation": activation, "use_bias": case["bias"] == "bias"} for each in _kernels(case, number)]
    kernels[-1]["activation"] = "linear"
    exact = (
        case["data"] == "float data"
    )  # a code wider than its rows: from PCA nothing is lost that int8 could be compared with
    for layer in kernels if case["norm"] == "batch normalization" else ():
        layer["batch_norm"] = True
    flat = "filters" in kernels[0] and "units" in kernels[1]
    layers = [kernels[0], *([{"kind": "flatten"}] if flat else []), kernels[1]]
    tables: dict[str, Any] = {
        "data": {"source": source, "validation": 0.1, "test": 0.2},
        "model": {"layers": layers, "output_activation": output},
        "train": {"epochs": 2 if trained else 0, "start": "auto" if trained and not exact else "random"},
        "quantize": {"method": "qat" if trained else "ptq", "samples": 64, "epochs": 1},
        "export": {"stock": beside_stock(number)},
        "verify": {key: 1000.0 for key in ("max_quality_loss", "max_points_lost", "max_alarms_added", "max_decibels_lost")},
    }
    for level in case.values():
        for key, value in ON.get(level, {}).items():
            table, _, name = key.partition(".")
            tables.setdefault(table, {})[name] = value
    for stage in ("prune", "cluster"):
        if stage in tables:
            tables[stage]["epochs"] = 1
    if {"block or N:M pruning", "training for rate"} <= set(case.values()):
        tables["prune"]["skip"] = [len(kernels) - 1]
    return tables


def _kernels(case: Case, number: int) -> list[dict[str, Any]]:
    """The two layers of a case. Those of convolutions are one with pooling, or with windows that tile a sample, and in turn a
    dense one of all values or another convolution, whose code is a feature map. Patterns of pruning divide their kernels."""
    if case["layers"] == "dense layers":
        return [{"units": units} for units in HIDDEN[number % len(HIDDEN)]]
    kind = {"kind": "conv2d" if case["data"] == "images" else "conv1d"}
    side = 2 if case["data"] == "images" else 4
    window = {"kernel": 4, "pool": 2} if case["layers"] == "convolutions" else {"kernel": side, "strides": side}
    return [{**kind, "filters": 16, **window}, {"units": 48} if number % 2 else {**kind, "filters": 4, "kernel": 3}]


@dataclass(frozen=True)
class Job:
    """A case in a folder of its own; each step raises AssertionError with what is wrong."""

    case: Case
    number: int
    folder: Path
    trained: bool

    def run(self) -> None:
        """From the recipe to a verified bundle, .tae files there and back, and C that is compiled and compared."""
        source = self.folder / "samples.npy"
        values = DATA[self.case["data"]]()
        np.save(source, values)
        tables = recipe_of(self.case, self.number, source.name, trained=self.trained)
        recipe = self.folder / f"case{self.number}.toml"
        recipe.write_text(recipe_to_toml(parse_recipe(tables, recipe.stem)), encoding="utf-8")
        self.call("run", recipe, "--out", self.folder / "run")
        bundle = Bundle.open(self.folder / "run" / "bundle")
        wrong = [check.text for check in read_metrics(bundle.path / "metrics.json").failed]
        assert not wrong, wrong
        for kind in ((), ("--lossless",)) if bundle.manifest.data.dtype in INTEGERS else ((),):
            self._stored(bundle, values, *kind)
        self._compiled(bundle)

    def call(self, *words: object) -> None:
        status = main([*map(str, words), "-q"])
        assert status == 0, f"tiedae {' '.join(map(str, words))}: exit code {status}"

    def _stored(self, bundle: Bundle, values: np.ndarray, *kind: str) -> None:
        """A .tae file gives what the program reconstructs, or with --lossless the samples."""
        coded, decoded = self.folder / f"samples{''.join(kind)}.tae", self.folder / f"decoded{''.join(kind)}.npy"
        self.call("encode", bundle.path, self.folder / "samples.npy", "-o", coded, *kind)
        self.call("decode", bundle.path, coded, "-o", decoded)
        samples = values.reshape(-1, *bundle.manifest.data.spec.shape)
        expected = samples if kind else ta.load(bundle.path, runtime="program").reconstruct(samples)
        np.testing.assert_array_equal(np.load(decoded).reshape(samples.shape), expected)

    def _compiled(self, bundle: Bundle) -> None:
        """gcc compiles the folder of the C files without a warning; its program compares golden samples and .tae files."""
        project, program = self.folder / "project", self.folder / "check"
        self.call("package", bundle.path, "--for", "c", "-o", project)
        options = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-O1", "-march=native"]
        sources = [project / "main.c", *project.glob("examples/check/*.c"), *project.glob("src/*.c")]
        subprocess.run(["gcc", *options, "-I", project / "src", *sources, "-o", program], check=True, timeout=300)
        done = subprocess.run([program], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def failures(chosen: Sequence[tuple[int, Case]], *, trained: bool) -> Iterator[tuple[int, Case, str]]:
    """The cases that fail, and how."""
    for number, case in chosen:
        with tempfile.TemporaryDirectory() as folder:
            try:
                Job(case, number, Path(folder), trained).run()
            except (AssertionError, subprocess.SubprocessError) as error:
                yield number, case, str(error)
