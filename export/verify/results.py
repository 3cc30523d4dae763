"""What a verification and a benchmark find, as typed rows, and metrics.json, which holds them.

Every row says by enums and names what it is of; its texts are for people and are never taken apart. A key of JSON is the field
of that name. Schema 2; files of schema 1 are read through `schema1`.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from ...compress.errors import CheckError, FormatError, InputError
from ...compress.records import Record, decode, load_json, plain, require
from ..differences import Sample, place
from ..runtimes.machine import Machine
from . import schema1

SCHEMA = 2
FILE = "metrics.json"

LEAST_SCALE = 0.1
"""A full scale counts as this at least: an activation may leave little of sums that were rounded at their own magnitude."""
REFERENCES: Mapping[str, str] = {"program": "the integer program", "keras": "Keras", "float program": "the float program"}
"""How texts call a reference; a runtime goes by its name."""
Count = Annotated[int, Meta(ge=0)]
Amount = Annotated[float, Meta(ge=0, le=sys.float_info.max)]
_SURROGATES = re.compile("[\ud800-\udfff]")


class Precision(StrEnum):
    INT8 = "int8"
    F32 = "f32"

    @property
    def label(self) -> str:
        return "float" if self is Precision.F32 else "int8"


class Maker(StrEnum):
    """Who wrote a file."""

    TIEDAE = "tiedae"
    STOCK = "stock"
    KERAS = "keras"


class Stage(StrEnum):
    """What an error is of: the model after a stage of training, our exported files, the stock converters'."""

    TRAIN = "train"
    PRUNE = "prune"
    CLUSTER = "cluster"
    QUANTIZE = "quantize"
    EXPORT = "export"
    STOCK = "stock"


class Kind(StrEnum):
    """What a row compares, a check holds, or what was skipped."""

    SHA256 = "sha256"
    FORMAT = "format"
    PROGRAM = "program"
    STORAGE = "storage"
    MANIFEST = "manifest"
    GOLDEN = "golden"
    OPENS = "opens"
    RUNS = "runs"
    TRACES = "traces"
    CODES = "codes"
    INPUTS = "inputs"
    OUTPUT = "output"
    OPERATIONS = "operations"
    TRACE = "trace"
    FLOAT = "float"
    LAYERS = "layers"
    FORMATS = "formats"
    CROSSING = "crossing"
    WITNESS = "witness"
    QUALITY = "quality"
    SAMPLES = "samples"
    DEVICE = "device"
    BENCH = "bench"
    BASELINE = "baseline"


class Why(StrEnum):
    """Why something was skipped. Of the first three this machine or call is the reason, not the files."""

    NOT_INSTALLED = "not installed"
    NO_SAMPLES = "no samples"
    NO_KERAS = "no Keras model"
    UNAVAILABLE = "unavailable"
    NOT_SHOWN = "not shown"
    NOT_IN_FILES = "not in the files"
    REFUSED = "refused"
    LIMITED = "limited"
    NOT_COMPARABLE = "not comparable"

    @property
    def excuses(self) -> bool:
        return self in (Why.NOT_INSTALLED, Why.NO_SAMPLES, Why.NO_KERAS)


class Lost(StrEnum):
    """Where a layer's error comes from, see `error_breakdown`."""

    QUANTIZATION = "quantization"
    CONVERSION = "conversion"
    TOTAL = "total"


class Way(StrEnum):
    """How a call is timed, see `session.Bound`."""

    INVOKE = "invoke"
    CALL = "call"


WAYS: Mapping[Way, str] = {Way.INVOKE: "the runtime's own call", Way.CALL: "a call from Python, numpy to numpy"}


class Check(Record, frozen=True):
    """One thing that holds or does not; `limit` is what `value` had to satisfy.

    `file`, `signature` and `runtime` say of what, `detail` what else distinguishes it from others of its kind, `peer` the other
    runtime.
    """

    kind: Kind
    ok: bool
    value: float | int | str
    limit: str
    text: str
    file: str = ""
    signature: str = ""
    runtime: str = ""
    detail: str = ""
    peer: str = ""

    @property
    def name(self) -> str:
        return " ".join(self.key)

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two checks the same one."""
        return tuple(filter(None, (self.kind, self.detail, self.file, self.signature, self.runtime, self.peer)))


class Proof(Record, frozen=True):
    """One statement about what a file stores; `kernel` is empty where it is about the whole file."""

    file: str
    kernel: str
    statement: str
    ok: bool
    text: str


class Parity(Record, frozen=True):
    """One comparison. `problem` is not empty where dtype or shape differ or a value is not finite: always a failure.

    `tensor` is what was compared, by its name in the program. `reference` names what was expected: `program`, `keras`, `float
    program`, or another runtime; `encoder` the runtime whose codes were decoded.
    int8: `differing` of `count` values differ, by at most `max_lsb`; `histogram` counts the differences (got − expected).
    float: `max_abs` and `mean_abs` of the differences, `full_scale` the largest expected magnitude; `atol` and `rtol` are the
    tolerances that it was held to: |got − expected| ≤ max(atol, rtol · full_scale).
    `sqnr_db` and `cosine` compare real values, see `comparison.similarity`. `samples` are the largest differences.
    """

    kind: Kind
    precision: Precision
    tensor: str
    reference: str = "program"
    file: str = ""
    runtime: str = ""
    provider: str = ""
    signature: str = ""
    encoder: str = ""
    count: Count = 0
    differing: Count = 0
    max_lsb: Count = 0
    max_abs: Amount = 0.0
    mean_abs: Amount = 0.0
    full_scale: Amount = 0.0
    sqnr_db: float | None = None
    cosine: float | None = None
    atol: float | None = None
    rtol: float | None = None
    histogram: Mapping[str, int] = {}
    samples: tuple[Sample, ...] = ()
    problem: str = ""

    def __post_init__(self) -> None:
        require(self.kind in LABELS, "kind", self.kind.value, "one of " + ", ".join(LABELS))

    @property
    def label(self) -> str:
        """What was compared, in words: `codes (encode)`, `operation y.product`."""
        return LABELS[self.kind].format(**plain(self))

    @property
    def equal_fraction(self) -> float:
        return 1.0 if self.count == 0 else 1 - self.differing / self.count

    @property
    def mean_lsb(self) -> float:
        """The mean magnitude of int8 differences, over all values."""
        return sum(abs(int(lsb)) * count for lsb, count in self.histogram.items()) / max(self.count, 1)

    @property
    def relative(self) -> float:
        """The largest float difference over the full scale, which counts as `LEAST_SCALE` at least."""
        return self.max_abs / max(self.full_scale, LEAST_SCALE)

    @property
    def badness(self) -> tuple[bool, float, float]:
        """Larger where further apart: a problem (all alike: the first one led to the others), then the largest difference, then
        the fraction of values that differ."""
        if self.problem:
            return True, 0.0, 0.0
        largest = self.max_lsb if self.precision is Precision.INT8 else self.relative
        return False, largest, self.differing / (self.count or 1)

    @property
    def text(self) -> str:
        """What was found, in one line: the problem, or how many values differ, by how much and where most."""
        if self.problem:
            return f"{self.label}: {self.problem}"
        whose = "the program" if self.reference == "program" else REFERENCES.get(self.reference, self.reference)
        if self.precision is Precision.F32:
            where = f"; largest at {place(self.samples[0])}" if self.samples and not self.close() else ""
            fraction = f"{self.relative:.2g} of full scale {self.full_scale:.3g}"
            return f"{self.label} differs from {whose} by at most {self.max_abs:.2g}, {fraction}{where}"
        if self.differing == 0:
            return f"{self.label}: all {self.count:,} values equal those of {whose}"
        gap = f"{self.differing:,} of {self.count:,} values differ from {whose}, by at most {self.max_lsb} LSB"
        return f"{self.label}: {gap}; largest at {place(self.samples[0])}"

    def within(self, *, max_lsb: int, equal_fraction: float = 0.0) -> bool:
        """Whether an int8 comparison holds: no problem, few values differ, none by more."""
        return not self.problem and self.max_lsb <= max_lsb and self.equal_fraction >= equal_fraction

    def close(self) -> bool:
        """Whether a float comparison holds its own tolerances."""
        return not self.problem and self.max_abs <= max(self.atol or 0.0, (self.rtol or 0.0) * self.full_scale)


LABELS: Mapping[Kind, str] = {
    Kind.GOLDEN: "golden {tensor}",
    Kind.CODES: "codes ({signature})",
    Kind.INPUTS: "x ({signature})",
    Kind.OUTPUT: "y ({signature})",
    Kind.OPERATIONS: "operation {tensor}",
    Kind.TRACE: "{tensor} ({signature})",
    Kind.FLOAT: "float {tensor} ({signature})",
    Kind.LAYERS: "layer {tensor}",
    Kind.FORMATS: "formats: {tensor}",
    Kind.CROSSING: "y of {encoder}'s codes",
    Kind.WITNESS: "codes against {reference}",
}
"""How each kind of comparison is called."""


class LayerError(Record, frozen=True):
    """The error of one layer's output in real values, got − expected: `mean` is the bias. See `error_breakdown`.

    Where the program itself is measured, `layout` says in which layout of its decoder, and there is no file.
    """

    error: Lost
    layer: str
    precision: Precision
    runtime: str
    reference: str
    count: Count
    rms: Amount
    max_abs: Amount
    mean: float
    file: str = ""
    layout: str = ""
    sqnr_db: float | None = None
    cosine: float | None = None


class Column(Record, frozen=True):
    """R² of one column of a table; None where it never changes."""

    name: str
    r2: float | None


class Fit(Record, frozen=True):
    """How well samples come back, in the user's unit, see `fidelity`; `value` is None where it is exact or not defined."""

    measure: str
    unit: str
    mse: float
    value: float | None
    columns: tuple[Column, ...] = ()

    @property
    def worst_columns(self) -> list[tuple[float, str]]:
        """(R², name) of the columns that have one, the worst first."""
        return sorted((each.r2, each.name) for each in self.columns if each.r2 is not None)


class Quality(Record, frozen=True):
    """The squared `error` per test sample in model units, and the same in the user's unit.

    `fault` is a known fault of the runtime on such a file.
    """

    title: str
    stage: Stage
    error: Amount
    fidelity: Fit | None = None
    precision: Precision | None = None
    file: str = ""
    runtime: str = ""
    provider: str = ""
    fault: str = ""


class ModelFile(Record, frozen=True):
    """A model file with its external data. `kernel_copies`: how often a kernel is stored, None where that cannot be known.

    `agreement`: the fraction of their integers in which the duplicates of a kernel still agree.
    """

    file: str
    bytes: Count
    format: str
    precision: Precision
    maker: Maker
    kernel_copies: int | None
    agreement: float | None = None


class Skipped(Record, frozen=True):
    """What was not done, and the reason. `runtime` where it is one that did not take part."""

    kind: Kind
    why: Why
    what: str
    reason: str
    runtime: str = ""


class ColumnWarning(Record, frozen=True):
    """A column that its mean beats (`r2` below 0, in the file and runtime of `where`), or that never changes (None)."""

    column: str
    r2: float | None
    where: str = ""

    @property
    def text(self) -> str:
        if self.r2 is None:
            still = "never changes in the samples that were measured, so it has no R²"
            return f"{self.column}: {still}; leave it out, or get other samples"
        advice = "its mean would be closer; try more epochs or units, or `per_feature = true`"
        return f"{self.column}: R² is {self.r2:.3g} in {self.where}: {advice}"


class Device(Record, frozen=True):
    """Where Keras ran: TensorFlow's name of the device and what it is. `reason` says why it is not a GPU, else it is empty."""

    device: str
    name: str
    reason: str = ""
    tf32: bool = False


class Model(Record, frozen=True):
    """`widths`: (inputs, units of each layer, units of the code); `sparsity` by kernel, in 0…1."""

    widths: tuple[int, ...]
    activations: tuple[str, ...] = ()
    output_activation: str = ""
    interleave: int = 1
    sparsity: Mapping[str, float] = {}


class Source(Record, frozen=True):
    """The test samples that were measured on."""

    source: str
    sha256: str


class Baseline(Record, frozen=True):
    """A comparison with the earlier metrics of `file`: how many figures, and texts of what got better by more than `allow`."""

    file: str
    allow: float
    compared: int
    improved: tuple[str, ...]


class Epoch(Record, frozen=True):
    stage: str
    epoch: int
    loss: float
    validation_loss: float | None = None


class Ratio(Record, frozen=True):
    """A ratio of medians with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    @property
    def text(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


class Measurement(Record, frozen=True):
    """Who was measured: a model in one runtime, whose name is unique."""

    subject: str
    maker: Maker
    format: str
    precision: Precision
    runtime: str
    provider: str


class Latency(Measurement, frozen=True):
    """`ratio` to the subject `against`, None where there is none of equal inputs and outputs (`note` says why)."""

    file: str
    signature: str
    way: Way
    batch: int
    threads: int
    dtypes: str
    median_us: float
    p95_us: float
    rounds: int
    calls_per_sample: int
    throughput: float
    against: str | None = None
    ratio: Ratio | None = None
    note: str = ""


class Memory(Measurement, frozen=True):
    """Resident bytes, None where the system does not report them."""

    file: str
    signatures: tuple[str, ...]
    resident_bytes: int | None
    processes: int
    against: str | None = None
    ratio: float | None = None
    note: str = ""


class Startup(Measurement, frozen=True):
    file: str
    signature: str
    startup_ms: float
    import_ms: float
    processes: int


class Size(Record, frozen=True):
    """A file's bytes as it is and by gzip, and both against the smallest stock file of its kind."""

    file: str
    maker: Maker
    format: str
    precision: Precision
    signatures: tuple[str, ...]
    bytes: int
    gzip_bytes: int
    against: str | None = None
    ratio: float | None = None
    gzip_ratio: float | None = None


class Bench(Record, frozen=True):
    """What `tiedae bench` measured."""

    latency: tuple[Latency, ...]
    memory: tuple[Memory, ...]
    startup: tuple[Startup, ...]
    sizes: tuple[Size, ...]
    machine: Machine
    versions: Mapping[str, str]
    skipped: tuple[Skipped, ...]


class Metrics(Record, frozen=True):
    """Everything that is known of a bundle; `data` as in its manifest."""

    name: str
    checks: tuple[Check, ...]
    storage: tuple[Proof, ...]
    parity: tuple[Parity, ...]
    errors: tuple[LayerError, ...]
    quality: tuple[Quality, ...]
    files: tuple[ModelFile, ...]
    skipped: tuple[Skipped, ...]
    versions: Mapping[str, str]
    warnings: tuple[ColumnWarning, ...] = ()
    history: tuple[Epoch, ...] = ()
    data: Mapping[str, Any] = {}
    model: Model | None = None
    keras: Device | None = None
    samples: Source | None = None
    baseline: Baseline | None = None
    bench: Bench | None = None

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if not check.ok]

    def raise_for_failures(self) -> None:
        """Raise CheckError, which names the first failed check, if there is one."""
        if self.failed:
            raise CheckError(f"{self.name}: {len(self.failed)} of {len(self.checks)} checks failed: {self.failed[0].text}")


def to_json(metrics: Metrics) -> str:
    """metrics.json. Raises ValueError for a number that JSON does not have."""
    text = json.dumps({"schema": SCHEMA, **plain(metrics)}, indent=1, ensure_ascii=False, allow_nan=False)
    return _SURROGATES.sub("\ufffd", text) + "\n"


def read_metrics(path: Path) -> Metrics:
    """The metrics of a file: metrics.json of a bundle, or what `tiedae verify --json` wrote.

    Raises InputError where the file is missing, FormatError where it is damaged, something else or of a later schema.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file, must be metrics of a verification")
    found = load_json(path.read_bytes(), path)
    if not isinstance(found, dict) or "schema" not in found:
        raise FormatError(f"{path}: not metrics of tiedae: it has no schema")
    schema = found.pop("schema")
    if schema == schema1.SCHEMA:
        found = schema1.upgraded(found, path)
    elif schema != SCHEMA:
        raise FormatError(f"{path}: metrics of schema {schema!r}, this tiedae reads schemas {schema1.SCHEMA} and {SCHEMA}")
    return decode(Metrics, found, path)


def finite(value: float | int | str) -> float | int | str:
    """A value of a check; a number that JSON does not have as its name."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
