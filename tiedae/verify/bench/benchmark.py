"""`tiedae bench`: latency, throughput, memory, start-up and file size of a bundle, the stock converters' files and Keras.

Results are rows of `results.Bench`. Ratios compare only subjects with equal input and output dtypes, precision and runtime;
otherwise `note` is the reason.
"""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from tiedae.base.records import plain
from tiedae.bundle.bench_results import WAYS, Bench, Latency, Memory, Size, Startup, Way
from tiedae.bundle.bundle import Bundle
from tiedae.bundle.results import Maker
from tiedae.export.targets import TARGETS
from tiedae.program.program import SIGNATURES
from tiedae.runtimes.machine import cores, describe_machine, installed_versions
from tiedae.runtimes.table import RUNTIMES, usual

from .footprint import Footprint, Load, footprints
from .latency import ROUNDS, GroupTimings, Timed, TimedGroup, ratio, time_groups
from .openers import OPENERS
from .subjects import ALONE, VARIANTS, BenchSubject, find_subjects

Announce = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """Extent of a benchmark. `seconds`: per comparison. `call_batches`: batch sizes at which user calls are timed too.
    `threads`: 0 for all cores. `processes`: per footprint, 0 for none."""

    signatures: tuple[str, ...] = SIGNATURES[::-1]
    batches: tuple[int, ...] = (1, 32, 256)
    call_batches: tuple[int, ...] = (1,)
    threads: tuple[int, ...] = (1, 0)
    seconds: float = 0.6
    rounds: tuple[int, int] = ROUNDS
    processes: int = 5


QUICK = Plan(("reconstruct",), (1,), (), (1,), 0.2, (21, 60), 0)
"""Latency of the whole model at batch 1 with one thread only."""


def bench_bundle(
    bundle: Bundle,
    real: Mapping[str, np.ndarray],
    *,
    stock: Path,
    keras: Path | None = None,
    plan: Plan | None = None,
    announce: Announce = lambda _text: None,
) -> Bench:
    """Measure a bundle.

    `real`: samples in scaled values, `x` float32 [n, inputs] and `code` float32 [n, units], repeated to fill a batch. `stock`:
    folder of the stock converters' files. `keras`: archive of the float model. Raises FormatError for a damaged bundle,
    UnavailableError if a measuring process fails.
    """
    plan, machine = plan or Plan(), describe_machine()
    if machine.warning:
        announce(machine.warning)
    with tempfile.TemporaryDirectory(prefix="tiedae-bench.") as temporary:
        folder = Path(temporary)
        cast = find_subjects(bundle, stock, keras, folder)
        inputs = _inputs(cast.subjects, real, max(plan.batches, default=1), folder)
        latency = tuple(_latency(cast.subjects, inputs, plan, announce))
        taken = list(_footprints(cast.subjects, inputs, plan, announce))
        sizes = _sizes(cast.subjects)
    for device in {RUNTIMES[each.runtime].device for each in cast.subjects if each.maker is not Maker.KERAS} - {"CPU"}:
        cast.skip(f"memory and start-up on {device}", "the resident set does not include device memory")
    if cores() == 1:
        cast.skip("latency with all threads", "there is one core")
    memory, startup = _memory_rows(taken), _startup_rows(taken)
    return Bench(latency, memory, startup, sizes, machine, installed_versions(), tuple(cast.skipped))


def _inputs(
    subjects: Sequence[BenchSubject], real: Mapping[str, np.ndarray], count: int, folder: Path
) -> dict[tuple[str, str], Path]:
    """Save `count` samples as .npy for each (subject, signature), in the input's dtype."""
    paths = {}
    for i, subject in enumerate(subjects):
        for signature in subject.files:
            paths[subject.name, signature] = folder / f"{i}.{signature}.npy"
            np.save(paths[subject.name, signature], subject.input(signature, real, count), allow_pickle=False)
    return paths


def _latency(
    subjects: Sequence[BenchSubject], inputs: Mapping[tuple[str, str], Path], plan: Plan, announce: Announce
) -> Iterator[Latency]:
    timed = [subject for subject in subjects if subject.variant != ALONE]
    for threads in dict.fromkeys(each or cores() for each in plan.threads):
        groups = []
        for signature in plan.signatures:
            those = tuple(_timed(subject, signature, inputs) for subject in timed if signature in subject.files)
            ways = [(Way.INVOKE, batch) for batch in plan.batches] + [(Way.CALL, batch) for batch in plan.call_batches]
            groups += [TimedGroup(those, batch, way) for way, batch in ways if those]
        for measured in time_groups(groups, threads=threads, seconds=plan.seconds, rounds=plan.rounds):
            group = measured.group
            announce(f"latency: {group.subjects[0].signature}, batch {group.batch}, {_threads(threads)}, {group.way}")
            yield from _latency_rows(measured, {subject.name: subject for subject in timed}, threads)


def _timed(subject: BenchSubject, signature: str, inputs: Mapping[tuple[str, str], Path]) -> Timed:
    x = inputs[subject.name, signature]
    return Timed(subject.name, subject.runtime, str(subject.files[signature].resolve()), signature, str(x))


def _latency_rows(measured: GroupTimings, subjects: Mapping[str, BenchSubject], threads: int) -> Iterator[Latency]:
    signature, batch = measured.group.subjects[0].signature, measured.group.batch
    present = [subjects[name] for name in measured.timings]
    for subject in present:
        timing = measured.timings[subject.name]
        against, note = _baseline(subject, present, signature)
        yield Latency(
            **_identity(subject, measured.providers[subject.name]),
            file=subject.files[signature].name,
            signature=signature,
            way=measured.group.way,
            batch=batch,
            threads=threads,
            dtypes=subject.dtypes(signature),
            median_us=timing.median_us,
            p95_us=timing.p95_us,
            rounds=len(timing.samples),
            calls_per_sample=timing.inner,
            throughput=batch / timing.median_us * 1e6,
            against=against,
            ratio=ratio(timing, measured.timings[against]) if against else None,
            note=note,
        )


def _baseline(subject: BenchSubject, present: Sequence[BenchSubject], signature: str) -> tuple[str | None, str]:
    """(baseline, reason if there is none): ours is compared with the stock file, Keras with ours."""
    if subject.maker is Maker.STOCK:
        return None, VARIANTS.get(subject.variant, "")
    maker, file_format = (Maker.STOCK, subject.format) if subject.maker is Maker.TIEDAE else (Maker.TIEDAE, next(iter(TARGETS)))
    runtime = subject.runtime if subject.maker is Maker.TIEDAE else usual(file_format)
    wanted = (maker, file_format, subject.precision, runtime)
    peers = [each for each in present if (each.maker, each.format, each.precision, each.runtime) == wanted]
    equal = [each for each in peers if each.dtypes(signature) == subject.dtypes(signature)]
    if equal:
        return equal[0].name, ""
    if not peers:
        return None, "no file to compare with"
    return None, f"not compared: the inputs and outputs of {peers[0].name} are {peers[0].dtypes(signature)}"


def _identity(subject: BenchSubject, provider: str = "") -> dict[str, Any]:
    return {
        "subject": subject.name,
        "maker": subject.maker,
        "format": subject.format,
        "precision": subject.precision,
        "runtime": subject.runtime,
        "provider": provider or subject.provider,
    }


def _footprints(
    subjects: Sequence[BenchSubject], inputs: Mapping[tuple[str, str], Path], plan: Plan, announce: Announce
) -> Iterator[tuple[BenchSubject, Load, Footprint]]:
    owned = {
        tuple(_timed(subject, signature, inputs) for signature in signatures): subject
        for subject in (subjects if plan.processes else ())
        for signatures in _choices(subject)
    }
    for load, found in footprints(tuple(owned), processes=plan.processes, announce=announce):
        yield owned[load], load, found


def _choices(subject: BenchSubject) -> list[tuple[str, ...]]:
    """Sets of signatures whose memory is measured: each alone, all of a .tflite file, and encoder with decoder."""
    if not OPENERS[subject.runtime].resident or subject.variant not in ("", ALONE):
        return []
    every = tuple(sorted(subject.files, key=lambda signature: signature != "reconstruct"))
    pair = ("encode", "decode") if {"encode", "decode"} <= set(every) else ()
    together = () if subject.maker is Maker.KERAS else every if len(set(subject.files.values())) == 1 else pair
    choices = [*((signature,) for signature in every), together]
    return [choice for choice in dict.fromkeys(choices) if choice]


def _memory_rows(taken: Sequence[tuple[BenchSubject, Load, Footprint]]) -> tuple[Memory, ...]:
    rows = [
        Memory(
            **_identity(subject),
            file=", ".join(sorted({Path(run.path).name for run in load})),
            signatures=tuple(run.signature for run in load),
            resident_bytes=each.memory,
            processes=each.processes,
            note=VARIANTS.get(subject.variant, ""),
        )
        for subject, load, each in taken
    ]

    def case(row: Memory) -> tuple[Any, ...]:
        return row.format, row.precision, row.runtime, row.signatures

    stock = {case(row): row for row in rows if row.maker is Maker.STOCK}

    def against_stock(row: Memory) -> Memory:
        peer = stock.get(case(row)) if row.maker is Maker.TIEDAE else None
        if peer is None or not row.resident_bytes or not peer.resident_bytes:
            return row
        return replace(row, ratio=row.resident_bytes / peer.resident_bytes, against=peer.subject)

    return tuple(map(against_stock, rows))


def _startup_rows(taken: Sequence[tuple[BenchSubject, Load, Footprint]]) -> tuple[Startup, ...]:
    """One row per subject and first signature."""
    rows: dict[tuple[str, str], Startup] = {}
    for subject, load, each in taken:
        first = load[0]
        row = Startup(
            **_identity(subject),
            file=Path(first.path).name,
            signature=first.signature,
            startup_ms=each.startup_ms,
            import_ms=each.import_ms,
            processes=each.processes,
        )
        rows.setdefault((subject.name, first.signature), row)
    return tuple(rows.values())


def _sizes(subjects: Sequence[BenchSubject]) -> tuple[Size, ...]:
    """Size of every file, plain and gzipped, shared external data included."""
    rows: dict[Path, Size] = {}
    for subject in subjects:
        if subject.maker is Maker.KERAS or subject.variant not in ("", ALONE):
            continue
        for path in dict.fromkeys(subject.files.values()):
            signatures = [signature for signature, file in subject.files.items() if file == path]
            rows.setdefault(path, _size(path, subject, signatures))
            for companion in TARGETS[subject.format].companions(f"*.{subject.precision}", subject.files):
                for shared in path.parent.glob(companion):
                    rows.setdefault(shared, _size(shared, subject, []))

    def against_stock(row: Size) -> Size:
        kind = (Maker.STOCK, row.format, row.precision)
        peers = [each for each in rows.values() if (each.maker, each.format, each.precision) == kind]
        if not peers or row.maker is not Maker.TIEDAE or "reconstruct" not in row.signatures:
            return row
        ratios = {"ratio": row.bytes / peers[0].bytes, "gzip_ratio": row.gzip_bytes / peers[0].gzip_bytes}
        return replace(row, against=peers[0].file, **ratios)

    return tuple(map(against_stock, rows.values()))


def _size(path: Path, subject: BenchSubject, signatures: Sequence[str]) -> Size:
    data = path.read_bytes()
    of = (path.name, subject.maker, subject.format, subject.precision, tuple(signatures))
    return Size(*of, len(data), len(gzip.compress(data, compresslevel=9)))


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def verdict(measured: Bench) -> list[str]:
    """One line per exported file and runtime: latency of the first signature at the smallest batch, and the ratio to stock."""
    rows = [row for row in measured.latency if (row.maker, row.way, row.threads) == (Maker.TIEDAE, Way.INVOKE, 1)]
    lines = []
    for row in rows:
        if (row.signature, row.batch) == (rows[0].signature, rows[0].batch):
            text = f"{row.file} in {row.runtime}: {row.median_us:.1f} µs for {row.signature} at batch {row.batch}"
            compared = f", {row.ratio.text} times {row.against}" if row.ratio else f"; {row.note or 'nothing to compare with'}"
            lines.append(text + compared)
    return lines


Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]


def tables(measured: Bench) -> list[Table]:
    """Format a benchmark as tables: (title, header, rows)."""
    machine = plain(measured.machine)
    keys = ("cpu", "cores", "governor", "system", "load_average", "warning")
    found = [
        (
            "Files",
            ("file", "bytes", "gzip", "against stock", "gzip"),
            [(r.file, f"{r.bytes:,}", f"{r.gzip_bytes:,}", _ratio(r.ratio), _ratio(r.gzip_ratio)) for r in measured.sizes],
        ),
        *_latency_tables(measured.latency),
        *_throughput_tables(measured.latency),
        (
            "Resident memory, MiB: from the imported runtime to every signature run once",
            ("subject", "signatures", "MiB", "against stock"),
            [(r.subject, ", ".join(r.signatures), _mebibytes(r.resident_bytes), _ratio(r.ratio)) for r in measured.memory],
        ),
        (
            "Start-up, ms: from opening the file to the first result",
            ("subject", "first signature", "ms", "import of the runtime"),
            [(r.subject, r.signature, f"{r.startup_ms:.3g}", f"{r.import_ms:.0f}") for r in measured.startup],
        ),
        ("Not measured", ("what", "why"), [(each.what, each.reason) for each in measured.skipped]),
        ("Machine", ("", ""), [(key, str(machine[key])) for key in keys if machine[key]]),
    ]
    return [table for table in found if table[2]]


def _latency_tables(latency: Sequence[Latency]) -> Iterator[Table]:
    """One table per signature and kind of call, at the smallest batch with one thread."""
    for signature in dict.fromkeys(row.signature for row in latency):
        for way, text in WAYS.items():
            rows = [row for row in latency if (row.signature, row.way, row.threads) == (signature, way, 1)]
            smallest = [row for row in rows if row.batch == min(each.batch for each in rows)]
            if smallest:
                title = f"Latency of {signature}, batch {smallest[0].batch}, 1 thread, µs: {text}"
                header = ("subject", "inputs and outputs", "median", "p95", "ratio to stock, 95 %")
                yield title, header, [_latency_cells(row) for row in smallest]


def _latency_cells(row: Latency) -> tuple[str, ...]:
    interval = row.ratio.text if row.ratio else row.note if row.maker is Maker.TIEDAE else ""
    if row.ratio and row.maker is Maker.KERAS:
        interval += f", to {row.against}"
    return row.subject, row.dtypes, f"{row.median_us:.1f}", f"{row.p95_us:.1f}", interval


def _throughput_tables(latency: Sequence[Latency]) -> Iterator[Table]:
    """One table per signature: samples per second by batch and threads."""
    for signature in dict.fromkeys(row.signature for row in latency):
        rows = [row for row in latency if (row.signature, row.way) == (signature, Way.INVOKE)]
        columns = sorted({(row.threads, row.batch) for row in rows})
        cells = {(row.subject, row.threads, row.batch): f"{row.throughput:,.0f}" for row in rows}
        header = tuple(f"batch {batch}, {_threads(threads)}" for threads, batch in columns)
        body = [
            (subject, *(cells.get((subject, *column), "") for column in columns))
            for subject in dict.fromkeys(row.subject for row in rows)
        ]
        yield f"Throughput of {signature}, samples/s", ("subject", *header), body


def _mebibytes(count: int | None) -> str:
    return "not reported" if count is None else f"{count / 2**20:.2f}"


def _ratio(value: float | None) -> str:
    return f"{value:.3f}" if value else ""
