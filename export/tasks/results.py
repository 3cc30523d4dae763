"""The result of each kind of task, in metrics.json under `task`; `kind` is the tag, as in `[task]` of a recipe."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from ...compress.records import Record

Bytes = Annotated[int, Meta(ge=1)]


class CompressionResult(Record, frozen=True, tag="compression", tag_field="kind"):
    """`sample_bytes` of a sample as given, `code_bytes` of its code before entropy coding, both packed."""

    sample_bytes: Bytes
    code_bytes: Bytes


class AnomalyResult(Record, frozen=True, tag="anomaly", tag_field="kind"):
    pass


class DenoisingResult(Record, frozen=True, tag="denoising", tag_field="kind"):
    pass


class ReductionResult(Record, frozen=True, tag="reduction", tag_field="kind"):
    pass


TaskResult = CompressionResult | AnomalyResult | DenoisingResult | ReductionResult
