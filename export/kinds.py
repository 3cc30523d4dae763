"""Enums of result rows: precisions, makers, stages, kinds, reasons; and the row of a skipped measurement."""

from __future__ import annotations

from enum import StrEnum

from tiedae.base.records import Record


class Precision(StrEnum):
    INT8 = "int8"
    F32 = "f32"

    @property
    def label(self) -> str:
        return "float" if self is Precision.F32 else "int8"


class Maker(StrEnum):
    """The origin of a file or model."""

    TIEDAE = "tiedae"
    STOCK = "stock"
    KERAS = "keras"


class Stage(StrEnum):
    """The subject of an error: the model after a training stage, our files (`export`), the stock converters' files."""

    TRAIN = "train"
    PRUNE = "prune"
    CLUSTER = "cluster"
    QUANTIZE = "quantize"
    EXPORT = "export"
    STOCK = "stock"


class Kind(StrEnum):
    """The kind of a comparison, a check or a skipped measurement."""

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
    SCORE = "score"
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
    TASK = "task"
    VERDICT = "verdict"


class Why(StrEnum):
    """Why a measurement was skipped. The first four lie in the machine or the call, not in the files."""

    NOT_INSTALLED = "not installed"
    FAULTY = "a fault of the runtime"
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
        return self in (Why.NOT_INSTALLED, Why.FAULTY, Why.NO_SAMPLES, Why.NO_KERAS)


class Lost(StrEnum):
    """The source of a layer's error, see `error_breakdown`."""

    QUANTIZATION = "quantization"
    CONVERSION = "conversion"
    TOTAL = "total"


class Skipped(Record, frozen=True):
    """A measurement that was not made, and the reason; `runtime` if a runtime did not take part."""

    kind: Kind
    why: Why
    what: str
    reason: str
    runtime: str = ""
