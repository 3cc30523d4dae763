"""Metrics and benchmarks that a test wrote and changed as dictionaries, as the records that the product reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tiedae.compress.records import decode
from tiedae.export.results import Bench, Metrics


def typed(found: Mapping[str, Any]) -> Metrics:
    return decode(Metrics, found, "test")


def typed_bench(found: Mapping[str, Any]) -> Bench:
    return decode(Bench, found, "test")
