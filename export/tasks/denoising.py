"""Denoising: noisy samples become clean ones, measured on the test set against classic denoisers.

The noise of the test set is that of training, drawn by the recipe's seed, in the data's dtype: bytes are rounded and clipped,
as a sensor gives them. With pairs (`[data] clean`) the noise is the data's own.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from markupsafe import Markup
from msgspec.structs import replace
from tiedae.pages import Plot, fragment

from ...compress.data import choose
from ...compress.errors import RecipeError
from ...compress.noise import Noise, noisy_samples
from ...compress.scaling import Scaling
from ..manifest import Manifest
from ..parity.fidelity import MEASURES, Fidelity
from ..report.images import encode_images
from ..verify.error_limit import DECIBELS
from ..verify.kinds import Kind, Skipped, Why
from .compression import squared_errors
from .denoisers import EXTRA, PCA_SAMPLES, Selection, denoisers_of
from .results import INPUT, KERAS, PROGRAM, Denoised, DenoisingResult
from .row import Contest, Exported, TableRow, TaskMeasurement, TaskRow, not_measured
from .ssim import has_ssim, ssim
from .verdict import Criterion

MAX_SAMPLES = 2_000
"""Maximum number of test samples; non-local means takes milliseconds for each."""
SELECTION_SAMPLES = 200
"""Validation samples that the parameters of the baselines are chosen on."""
FACTORS = (0.0, 0.5, 1.0, 1.5, 2.0)
"""Levels that are measured, as multiples of that of training."""
SHOWN = 8
IMAGE_BYTES = 400_000
TITLES = {INPUT: "noisy input", PROGRAM: "int8 program", KERAS: "Keras float", "nl-means": "non-local means", "pca": "PCA"}
TITLES["mean"] = "mean of training samples"


@dataclass(frozen=True)
class _CleanSamples:
    """Measures methods on the same clean samples [n, inputs], in the data's unit of measure."""

    exported: Exported
    clean: np.ndarray

    @cached_property
    def fidelity(self) -> Fidelity:
        return Fidelity.of_splits(self.exported.data)

    def row(self, method: str, level: float | None, y: np.ndarray, noisy: Denoised | None, setting: str = "") -> Denoised:
        """The row of an output, float32 [n, inputs] in scaled values; `noisy`: the input's."""
        fit = self.fidelity.measure(self.clean, y)
        gain = 10 * math.log10(noisy.mse / fit.mse) if noisy is not None and noisy.mse > 0 and fit.mse > 0 else None
        return Denoised(method, level, fit.mse, fit.measure, fit.unit, fit.value, gain, self._ssim(y), setting)

    def input(self, level: float | None, given: np.ndarray) -> Denoised:
        """The row of the noisy samples themselves, [n, inputs] in the data's unit of measure."""
        row = self.row(INPUT, level, self.exported.data.scaling.apply(given), None)
        return replace(row, mse=0.0, value=None) if np.array_equal(given, self.clean) else row

    def errors(self, y: np.ndarray) -> np.ndarray:
        """The squared error of each sample, not scaled, float64 [n]; `y`: float32 [n, inputs] in scaled values."""
        return squared_errors(self.clean, self.exported.data.scaling.invert(y, np.float64))

    def _ssim(self, y: np.ndarray) -> float | None:
        spec, peak = self.exported.data.spec, self.fidelity.peak
        if spec.kind != "images" or not peak or not has_ssim(spec.shape):
            return None
        x, y = (values.reshape(-1, *spec.shape) for values in (self.clean, spec.scaling.invert(y, np.float64)))
        return ssim(x, y, peak)


def measure(exported: Exported, samples: int = MAX_SAMPLES, factors: Sequence[float] = FACTORS) -> TaskMeasurement:
    """The result on the first `samples` test samples, at these multiples of the level of training, 1 among them."""
    data, noise = exported.data, exported.recipe.train.noise
    test = data.test
    taken = np.arange(min(len(test), samples))
    clean = test.wanted.take(taken)
    if noise is None and test.clean is None:
        return not_measured("denoising", "neither train.noise nor data.clean is stated", Why.NO_SAMPLES)
    bench, scaling = _CleanSamples(exported, clean), data.scaling
    trained = None if noise is None else noise.level
    rows: list[Denoised] = []
    others: list[Denoised] = []
    shown: dict[str, list[np.ndarray]] = {"noisy": [], "denoised": []}
    x = model_x = own = np.empty(0)
    for level in levels(exported, factors):
        given = test.take(taken) if level is None else at_level(exported, clean, level)
        y = exported.model.scaled_values(exported.model.reconstruct(given)[1])
        before = bench.input(level, given)
        found = [before, bench.row(PROGRAM, level, y, before)]
        shown["noisy"].append(given[:SHOWN])
        shown["denoised"].append(scaling.invert(y[:SHOWN], given.dtype))
        if level == trained:
            x, model_x, own, rows = given, scaling.apply(given), y, found
        else:
            others += found
    skipped: list[Skipped] = []
    errors, settings = {}, {}
    if exported.others:
        outputs, skipped = _baselines(exported, scaling.apply(x))
        if exported.keras is None:
            skipped.append(Skipped(Kind.TASK, Why.NO_KERAS, "denoising by the float model", "there is no Keras model here"))
        else:
            rows.append(bench.row(KERAS, trained, exported.keras(model_x)[1], rows[0]))
        rows += [bench.row(name, trained, y, rows[0], setting) for name, (setting, y) in outputs.items()]
        errors = {INPUT: squared_errors(clean, x)} | {name: bench.errors(y) for name, (_, y) in outputs.items()}
        settings = {name: setting for name, (setting, _) in outputs.items() if setting}
    arrays = {"clean": clean[:SHOWN], **{name: np.stack(each) for name, each in shown.items()}}
    kind = None if noise is None else noise.kind
    result = DenoisingResult(kind, trained, len(clean), (*rows, *others))
    return TaskMeasurement(result, arrays, tuple(skipped), Contest(Criterion.MSE, taken, bench.errors(own), errors, settings))


def levels(exported: Exported, factors: Sequence[float]) -> list[float | None]:
    """The levels of noise that are measured: None, the data's own, for pairs."""
    noise = exported.recipe.train.noise
    if noise is None:
        return [None]
    found: list[float | None] = []
    for factor in factors:
        try:
            found.append(factor and replace(noise, level=factor * noise.level).level)
        except RecipeError:  # beyond what this kind of noise can be
            continue
    return found


def at_level(exported: Exported, clean: np.ndarray, level: float) -> np.ndarray:
    """Clean samples [n, inputs] with noise of a level, in their unit of measure and dtype, drawn by the seed."""
    noise, train = exported.recipe.train.noise, exported.data.train
    if noise is None or not level:
        return clean
    corruption = Noise.of(replace(noise, level=level), train)
    return noisy_samples(clean, train, corruption, [exported.recipe.data.seed, *b"test"])


def selection(exported: Exported) -> Selection:
    """What the baselines are fitted and chosen on: training samples, and validation samples (else other training samples)."""
    data, recipe = exported.data, exported.recipe
    train, held = np.arange(len(data.train)), data.validation
    if held is None:
        held = data.train
        chosen = choose(held, min(SELECTION_SAMPLES, len(held) // 2), recipe.data.seed)
        train = np.setdiff1d(train, chosen)
    else:
        chosen = choose(held, SELECTION_SAMPLES, recipe.data.seed)
    train = np.sort(np.random.default_rng(recipe.data.seed).permutation(train)[:PCA_SAMPLES])
    clean = held.wanted.take(chosen)
    noisy = held.take(chosen) if held.clean is not None else _validation_noise(exported, clean)
    apply = data.scaling.apply
    return Selection(apply(data.train.wanted.take(train)), apply(noisy), apply(clean), data.spec.shape)


def _validation_noise(exported: Exported, clean: np.ndarray) -> np.ndarray:
    noise, train = exported.recipe.train.noise, exported.data.train
    corruption = None if noise is None else Noise.of(noise, train)
    return noisy_samples(clean, train, corruption, [exported.recipe.data.seed, *b"validation"])


def _baselines(exported: Exported, x: np.ndarray) -> tuple[dict[str, tuple[str, np.ndarray]], list[Skipped]]:
    """(setting, output in scaled values) of each baseline for this kind of data; `x`: the noisy samples in scaled values."""
    spec = exported.data.spec
    given = selection(exported)
    outputs, skipped = {}, []
    for name, denoiser in denoisers_of(spec).items():
        if denoiser.missing:
            reason = f"{', '.join(denoiser.missing)} not installed: {EXTRA}"
            skipped.append(Skipped(Kind.TASK, Why.NOT_INSTALLED, f"baseline {name}", reason))
            continue
        chosen = denoiser.chosen(given)
        if chosen is None:
            reason = f"samples of shape {list(spec.shape)} are smaller than all of its settings"
            skipped.append(Skipped(Kind.TASK, Why.LIMITED, f"baseline {name}", reason))
            continue
        setting, denoise = chosen
        y = denoise(x)
        outputs[name] = setting, np.clip(y, 0, 1) if spec.scaling.is_bytes(spec.dtype) else y
    return outputs, skipped


def quality_text(row: Denoised) -> str:
    """`PSNR 19.1 dB, SSIM 0.62`."""
    if row.mse == 0:
        return "exact"
    value = f"{row.measure} not defined" if row.value is None else f"{row.measure} {_number(row)} {row.unit}".rstrip()
    return value + ("" if row.ssim is None else f", SSIM {row.ssim:.3f}")


def _number(row: Denoised) -> str:
    """With two decimals in dB, as gains have."""
    return f"{row.value:.2f}" if row.unit == "dB" else f"{row.value:.4g}"


def gain_text(row: Denoised) -> str:
    return "" if row.gain_db is None else f"{row.gain_db:+.2f} dB".replace("-", "−")


def title(row: Denoised) -> str:
    name = TITLES.get(row.method, row.method)
    return f"{name}, {row.setting}" if row.setting else name


def noise_text(result: DenoisingResult) -> str:
    """`gaussian noise of level 0.3`."""
    return "the data's own noise" if result.noise is None else f"{result.noise} noise of level {result.level:g}"


def rows(result: DenoisingResult) -> Sequence[TableRow]:
    """The noisy input, the program and the best baseline."""
    best = result.best_baseline
    shown = {f"noisy input ({noise_text(result)})": result.row(INPUT), "denoised, int8": result.row(PROGRAM)}
    if best is not None:
        shown[f"best baseline: {title(best)}"] = best
    over = f"{result.samples:,} test samples"
    return [(name, "", quality_text(row), "", ", ".join(filter(None, (gain_text(row), over)))) for name, row in shown.items()]


def table(result: DenoisingResult) -> list[tuple[str, str, str]]:
    """Every method at the level of training: name, quality, gain."""
    return [(title(row), quality_text(row), gain_text(row)) for row in result.at(result.level)]


def outside(result: DenoisingResult) -> list[tuple[str, str, str, str]]:
    """Other levels of noise: level, quality of the input, of the program, gain."""
    pairs: dict[float | None, dict[str, Denoised]] = {}
    for row in result.rows:
        if row.method in (INPUT, PROGRAM):
            pairs.setdefault(row.level, {})[row.method] = row
    return [
        (f"{level:g}{' (trained)' if level == result.level else ''}", *_before_and_after(each))
        for level, each in sorted(pairs.items())
        if level is not None
    ]


def _before_and_after(each: Mapping[str, Denoised]) -> tuple[str, str, str]:
    return quality_text(each[INPUT]), quality_text(each[PROGRAM]), gain_text(each[PROGRAM])


def card(result: DenoisingResult) -> str:
    return fragment(
        Path(__file__).with_name("denoising_card.md.j2"),
        result=result,
        noise=noise_text(result),
        methods=table(result),
        levels=outside(result),
    )


def section(manifest: Manifest, result: DenoisingResult, arrays: Mapping[str, np.ndarray]) -> Markup:
    spec = manifest.data.spec
    shown = [row.level for row in sorted(result.rows, key=lambda row: row.level or 0.0) if row.method == PROGRAM]
    known = {"clean", "noisy", "denoised"} <= arrays.keys()
    image = known and spec.kind == "images" and has_ssim(spec.shape) and spec.shape[2:] in ((), (1,), (3,))
    return fragment(
        Path(__file__).with_suffix(".html.j2"),
        result=result,
        noise=noise_text(result),
        methods=table(result),
        outside=outside(result),
        levels=[("as given" if level is None else f"level {level:g}") for level in shown],
        trained=shown.index(result.level),
        images=_images(spec.shape, spec.dtype, arrays) if image else None,
        plots=_plots(arrays) if known and spec.kind == "record" else None,
        shape=spec.shape,
        count=len(arrays["clean"]) if known else 0,
        measure=MEASURES[spec.kind][0],
        fits=_fits(manifest, arrays) if known else [],
    )


def _fits(manifest: Manifest, arrays: Mapping[str, np.ndarray]) -> list[list[tuple[str, str]]]:
    """[level][sample]: how near the noisy sample and the denoised one are to the clean one."""
    fidelity = Fidelity.of_data(manifest.data)
    if fidelity is None:
        return []
    own = dataclasses.replace(fidelity, scaling=Scaling())

    def text(clean: np.ndarray, y: np.ndarray) -> str:
        fit = own.measure(clean[None], y[None])
        return "exact" if fit.mse == 0 else "—" if fit.value is None else f"{fit.value:.1f} {fit.unit}"

    return [
        [(text(clean, noisy[i]), text(clean, denoised[i])) for i, clean in enumerate(arrays["clean"])]
        for noisy, denoised in zip(arrays["noisy"], arrays["denoised"], strict=True)
    ]


def _images(shape: Sequence[int], dtype: str, arrays: Mapping[str, np.ndarray]) -> dict[str, list[list[str]]]:
    """Data URIs, [level][sample] of `noisy` and `denoised`, [[sample]] of `clean`."""
    clean = arrays["clean"].astype(np.float64)
    low, high = (0.0, 255.0) if dtype == "uint8" else (clean.min(), clean.max())
    side = tuple(shape[:2]) if tuple(shape[2:]) == (1,) else tuple(shape)
    stacks = {"clean": clean[None], "noisy": arrays["noisy"], "denoised": arrays["denoised"]}
    flat = [sample for stack in stacks.values() for each in stack for sample in each]
    levels = [
        np.rint(255 * np.clip((each - low) / ((high - low) or 1.0), 0, 1)).astype(np.uint8).reshape(side) for each in flat
    ]
    encoded = iter(encode_images(levels, IMAGE_BYTES))
    return {name: [[next(encoded) for _ in each] for each in stack] for name, stack in stacks.items()}


def _plots(arrays: Mapping[str, np.ndarray]) -> list[list[Plot]]:
    """[level][sample]: clean, noisy and denoised curves."""
    return [
        [
            Plot({"input": noisy[i], "keras": arrays["clean"][i], "ours": denoised[i]}, f"sample {i}: noisy, clean, denoised")
            for i in range(len(noisy))
        ]
        for noisy, denoised in zip(arrays["noisy"], arrays["denoised"], strict=True)
    ]


def headline(result: DenoisingResult) -> tuple[str, str, str] | None:
    """The gain of the program over its noisy input."""
    before, after = result.row(INPUT), result.row(PROGRAM)
    if after.gain_db is None:
        return None
    text = f"of the int8 program over {noise_text(result)}: {quality_text(before)}, denoised {quality_text(after)}"
    return gain_text(after), text, f"removes {noise_text(result)} with a gain of {gain_text(after)}"


ROW = TaskRow(
    "Denoising",
    "removes noise from samples of {inputs} values, through a code of {units} bytes",
    "It takes noisy samples and gives denoised ones.",
    measure,
    section,
    card,
    rows,
    headline,
    error_limit=lambda _task, _test: DECIBELS,
    needs=lambda spec: {name: denoiser.packages for name, denoiser in denoisers_of(spec).items()},
)
