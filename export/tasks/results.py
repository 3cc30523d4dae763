"""The result of each kind of task, in metrics.json under `task`; `kind` is the tag, as in `[task]` of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from ...compress.keys import Count, Positive
from ...compress.records import Record

Method = Literal["int8", "float", "pca", "umap"]
"""`int8`: codes of the integer program, as real numbers; `float`: those of the float model that it comes from."""
Bytes = Annotated[int, Meta(ge=1)]


class CompressionResult(Record, frozen=True, tag="compression", tag_field="kind"):
    """`sample_bytes` of a sample as given, `code_bytes` of its code before entropy coding, both packed."""

    sample_bytes: Bytes
    code_bytes: Bytes


class AnomalyResult(Record, frozen=True, tag="anomaly", tag_field="kind"):
    pass


class DenoisingResult(Record, frozen=True, tag="denoising", tag_field="kind"):
    pass


class Neighbourhoods(Record, frozen=True):
    """How well codes by `method` keep neighbours, see `neighbourhoods`; `knn_accuracy` is None without labels."""

    method: Method
    trustworthiness: float
    continuity: float
    knn_accuracy: float | None = None


class ReductionResult(Record, frozen=True, tag="reduction", tag_field="kind"):
    """Codes of `units` values of `samples` test samples, by the int8 program and by other methods.

    `neighbours` of trustworthiness and continuity. `votes` of the k-NN accuracy, among `train` training samples; `classes`: the
    number of their labels, 0 without.
    """

    units: Positive
    samples: Positive
    neighbours: Positive
    votes: Positive
    train: Positive
    classes: Count
    methods: tuple[Neighbourhoods, ...]


TaskResult = CompressionResult | AnomalyResult | DenoisingResult | ReductionResult
