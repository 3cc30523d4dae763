"""The pages of parts that a test may change: metrics are a dictionary until here, and so is the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tiedae.report import card, page
from tiedae.report.key_figures import Report

from ..typed import typed, typed_manifest


def render_report(manifest: Mapping[str, Any], metrics: Mapping[str, Any], *arrays: Mapping[str, np.ndarray]) -> str:
    """`arrays`: golden vectors, kernels and masks."""
    return page.render_report(Report(typed_manifest(manifest), typed(metrics), *arrays))


def render_card(manifest: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    return card.render_card(typed_manifest(manifest), typed(metrics))
