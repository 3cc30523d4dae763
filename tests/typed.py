"""Manifests, metrics and benchmarks that a test writes and changes as dictionaries, as the records that the product reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from tiedae.base.records import decode
from tiedae.bundle.bench_results import Bench
from tiedae.bundle.manifest import Manifest, parse
from tiedae.bundle.results import Metrics


def typed(found: Mapping[str, Any]) -> Metrics:
    return decode(Metrics, found, "test")


def typed_manifest(found: Mapping[str, Any]) -> Manifest:
    return parse(found, "test")


def changed_somewhere(found: dict[str, Any], data: st.DataObject) -> dict[str, Any]:
    """The dictionary, with something else at one place of it."""
    holder: Any = found
    while True:
        key = data.draw(st.sampled_from(list(holder) if isinstance(holder, dict) else range(len(holder))))
        if not isinstance(holder[key], dict | list) or not holder[key] or data.draw(st.booleans()):
            break
        holder = holder[key]
    junk = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just([]), st.just({}), st.just([1]))
    holder[key] = data.draw(junk)
    return found


def typed_bench(found: Mapping[str, Any]) -> Bench:
    return decode(Bench, found, "test")
