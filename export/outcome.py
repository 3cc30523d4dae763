"""The metrics of a verification in the forms that other programs read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

Metrics = Mapping[str, Any]


def to_json(metrics: Metrics) -> str:
    """metrics.json."""
    return json.dumps(metrics, indent=1, ensure_ascii=False) + "\n"


OUTCOMES: Mapping[str, Callable[[Metrics], str]] = {"json": to_json}
"""Every form by the option of `tiedae verify` that asks for it."""
