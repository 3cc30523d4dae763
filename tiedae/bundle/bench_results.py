"""Benchmark results as records: the key `bench` of metrics.json."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from tiedae.base.records import Record
from tiedae.export.kinds import Maker, Precision, Skipped
from tiedae.runtimes.machine import Machine


class Way(StrEnum):
    """The kind of call that is timed, see `session.Bound`."""

    INVOKE = "invoke"
    CALL = "call"


WAYS: Mapping[Way, str] = {Way.INVOKE: "the runtime's own call", Way.CALL: "a call from Python, numpy to numpy"}


class Ratio(Record, frozen=True):
    """A ratio of medians with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float

    @property
    def text(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


class Measurement(Record, frozen=True):
    """The measured model in one runtime; `subject` is unique."""

    subject: str
    maker: Maker
    format: str
    precision: Precision
    runtime: str
    provider: str


class Latency(Measurement, frozen=True):
    """Time of a call in µs; `throughput` in samples/s. `ratio` is to the subject `against`, which has equal inputs and outputs;
    without such a subject both are None, and `note` says why."""

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
    """Resident bytes; None if the system does not report them."""

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
    """A file's bytes, plain and by gzip, and both relative to the stock file of its kind."""

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
    """All results of `tiedae bench`."""

    latency: tuple[Latency, ...]
    memory: tuple[Memory, ...]
    startup: tuple[Startup, ...]
    sizes: tuple[Size, ...]
    machine: Machine
    versions: Mapping[str, str]
    skipped: tuple[Skipped, ...]
