"""How the results of denoising are shown: methods, levels of noise, and samples before and after."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from tiedae.bundle.fidelity import MEASURES, Fidelity
from tiedae.bundle.manifest import Manifest
from tiedae.bundle.task_results import INPUT, KERAS, PROGRAM, Denoised, DenoisingResult
from tiedae.config.sample_spec import SampleSpec
from tiedae.config.scaling import Scaling
from tiedae.tasks.ssim import has_ssim

from ..images import encode_images
from ..pages import fragment
from ..waveforms import PanelGroup, TimeAxes, Waveform
from .view import TableRow, TaskView, measured_text

IMAGE_BYTES = 400_000
TITLES = {INPUT: "noisy input", PROGRAM: "int8 program", KERAS: "Keras float", "nl-means": "non-local means", "pca": "PCA"}
TITLES["mean"] = "mean of training samples"


def quality_text(row: Denoised) -> str:
    """`PSNR 19.1 dB, SSIM 0.62`."""
    digits = ".2f" if row.unit == "dB" else ".4g"  # as gains have
    return measured_text(row.measure, None if row.value is None else f"{row.value:{digits}} {row.unit}", row)


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
        if level is not None and {INPUT, PROGRAM} <= each.keys()
    ]


def _before_and_after(each: Mapping[str, Denoised]) -> tuple[str, str, str]:
    return quality_text(each[INPUT]), quality_text(each[PROGRAM]), gain_text(each[PROGRAM])


def _facts(result: DenoisingResult) -> dict[str, object]:
    return {"result": result, "noise": noise_text(result), "methods": table(result), "outside": outside(result)}


def card(result: DenoisingResult) -> str:
    return fragment(Path(__file__).with_name("denoising_card.md.j2"), **_facts(result))


def section(manifest: Manifest, result: DenoisingResult, arrays: Mapping[str, np.ndarray]) -> Markup:
    spec = manifest.data.spec
    shown = [row.level for row in sorted(result.rows, key=lambda row: row.level or 0.0) if row.method == PROGRAM]
    known = {"clean", "noisy", "denoised"} <= arrays.keys()
    fits = _fits(manifest, arrays) if known else []
    image = known and spec.kind == "image" and has_ssim(spec.shape) and spec.shape[2:] in ((), (1,), (3,))
    return fragment(
        Path(__file__).with_suffix(".html.j2"),
        **_facts(result),
        levels=[("as given" if level is None else f"level {level:g}") for level in shown],
        trained=shown.index(result.level),
        images=_images(spec.shape, spec.dtype, arrays) if image else None,
        windows=_windows(spec, arrays, fits) if known and spec.kind == "record" else None,
        shape=spec.shape,
        count=len(arrays["clean"]) if known else 0,
        measure=MEASURES[spec.kind][0],
        fits=fits,
    )


def _fits(manifest: Manifest, arrays: Mapping[str, np.ndarray]) -> list[list[tuple[str, str]]]:
    """[level][sample]: how near the noisy sample and the denoised one are to the clean one."""
    own = dataclasses.replace(Fidelity.of_data(manifest.data), scaling=Scaling())

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


def _windows(
    spec: SampleSpec, arrays: Mapping[str, np.ndarray], fits: Sequence[Sequence[tuple[str, str]]]
) -> list[list[PanelGroup]]:
    """[level]: noisy, clean and denoised samples by channel, and what is left of the noise."""
    axes, clean, levels = TimeAxes(spec), arrays["clean"], len(fits)
    drawn = range(axes.drawn(len(clean), levels))
    channels = axes.channels(clean, (arrays["denoised"].astype(np.float64) - clean).reshape(-1, spec.inputs))
    captions = [[f"sample {i}: noisy {fit[i][0]}, denoised {fit[i][1]}" for i in drawn] for fit in fits]

    def waveform(caption: str, noisy: np.ndarray, clean: np.ndarray, denoised: np.ndarray) -> Waveform:
        return Waveform(caption, {"input": noisy, "keras": clean, "ours": denoised}, denoised.astype(np.float64) - clean)

    return [
        axes.panels(
            [waveform(captions[at][i], noisy[i], clean[i], denoised[i]) for i in drawn],
            channels,
            axes.in_unit("denoised − clean"),
            sections=levels,
        )
        for at, (noisy, denoised) in enumerate(zip(arrays["noisy"], arrays["denoised"], strict=True))
    ]


def headline(result: DenoisingResult) -> tuple[str, str, str] | None:
    """The gain of the program over its noisy input."""
    before, after = result.row(INPUT), result.row(PROGRAM)
    if after.gain_db is None:
        return None
    text = f"of the int8 program over {noise_text(result)}: {quality_text(before)}, denoised {quality_text(after)}"
    return gain_text(after), text, f"removes {noise_text(result)} with a gain of {gain_text(after)}"


VIEW = TaskView(
    "Denoising",
    "removes noise from samples of {inputs} values, through a code of {units} bytes",
    "It takes noisy samples and gives denoised ones.",
    section,
    card,
    rows,
    headline,
)
