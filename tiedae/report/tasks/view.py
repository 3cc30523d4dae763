"""A row of the table of views: how the result of a kind of task is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from tiedae.bundle.manifest import Manifest
from tiedae.bundle.task_results import Denoised, RatePoint

TableRow = tuple[str, str, str, str, str]
"""A row of the table at the end of a run: subject, error, quality, bytes, parity."""


@dataclass(frozen=True)
class TaskView:
    """One kind of task as report, model card and the table at the end of a run show it.

    `title`: of its sections. `purpose`: what such a model does, as it follows "A tied autoencoder that", with `{inputs}` values
    of a sample and `{units}` of the code. `use`: sentences on its direct use. `section`: of report.html, from the manifest, the
    result and the arrays; empty for none. `card`: its section of MODEL_CARD.md in Markdown; empty for none. `rows`: of the
    table at the end of a run. `headline`: for the top of report.html, a large figure, the text below it and its phrase in the
    first sentence; None for none.
    """

    title: str
    purpose: str
    use: str
    section: Callable[[Manifest, Any, Mapping[str, np.ndarray]], Markup]
    card: Callable[[Any], str]
    rows: Callable[[Any], Sequence[TableRow]]
    headline: Callable[[Any], tuple[str, str, str] | None] = lambda _: None


def measured_text(measure: str, value: str | None, row: RatePoint | Denoised) -> str:
    """`PSNR 19.1 dB, SSIM 0.620` of a row whose `value` is this text."""
    if row.mse == 0:
        return "exact"
    shown = f"{measure} not defined" if value is None else f"{measure} {value}".rstrip()
    return shown + ("" if row.ssim is None else f", SSIM {row.ssim:.3f}")
