"""`tiedae bench`: latency, throughput, memory, start-up and bytes of a bundle beside the stock converters' files and Keras.

Everything ends as rows of one dictionary. A ratio is given only between subjects of equal ports (`ports`: the dtypes on the way
in and out), precision and runtime; where there is no such pair, `note` says why.
"""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..bundle import Bundle
from ..machine import cores, describe_machine, installed_versions
from ..program import SIGNATURES
from ..runtimes.table import RUNTIMES, usual
from .footprint import Footprint, Load, Run, footprints
from .latency import ROUNDS, Group, Measured, Timed, ratio, time_groups
from .openers import OPENERS
from .subjects import ALONE, KERAS, OURS, STOCK, VARIANTS, Subject, find_subjects

Announce = Callable[[str], None]
Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """How much is measured. `seconds` per comparison; `call_batches`: where the way of a user's call is timed as well;
    `threads` of 0 means all cores; `processes` per footprint, none where 0."""

    signatures: tuple[str, ...] = SIGNATURES[::-1]
    batches: tuple[int, ...] = (1, 32, 256)
    call_batches: tuple[int, ...] = (1,)
    threads: tuple[int, ...] = (1, 0)
    seconds: float = 0.6
    rounds: tuple[int, int] = ROUNDS
    processes: int = 5


QUICK = Plan(("reconstruct",), (1,), (), (1,), 0.2, (21, 60), 0)
"""A first look: the whole model at batch 1 with one thread, neither memory nor start-up."""


def bench_bundle(
    bundle: Bundle,
    real: Mapping[str, np.ndarray],
    *,
    stock: Path,
    keras: Path | None = None,
    plan: Plan | None = None,
    announce: Announce = lambda _text: None,
) -> dict[str, Any]:
    """Measure a bundle; returns `latency`, `memory`, `startup`, `sizes`, `machine` and `skipped`.

    `real` has samples in model units: `x` float32 [n, inputs] and `code` float32 [n, units]; they are repeated to fill a batch.
    `stock` is the folder of the stock converters' files, `keras` the archive of the float model. Raises FormatError for a
    damaged bundle, UnavailableError where a measuring process fails.
    """
    plan, machine = plan or Plan(), describe_machine()
    if machine["warning"]:
        announce(machine["warning"])
    with tempfile.TemporaryDirectory(prefix="tiedae-bench.") as temporary:
        folder = Path(temporary)
        cast = find_subjects(bundle, stock, keras, folder)
        inputs = _inputs(cast.subjects, real, max(plan.batches, default=1), folder)
        latency = list(_latency(cast.subjects, inputs, plan, announce))
        taken = list(_footprints(cast.subjects, inputs, plan, announce))
        sizes = _sizes(cast.subjects)
    for device in {RUNTIMES[each.runtime].device for each in cast.subjects if each.maker != KERAS} - {"CPU"}:
        cast.skip(f"memory and start-up on {device}", "the resident set does not show the memory of the device")
    if cores() == 1:
        cast.skip("latency with all threads", "there is one core")
    return {
        "latency": latency,
        "memory": _memory_rows(taken),
        "startup": _startup_rows(taken),
        "sizes": sizes,
        "machine": machine | {"versions": installed_versions()},
        "skipped": cast.skipped,
    }


def _inputs(
    subjects: Sequence[Subject], real: Mapping[str, np.ndarray], count: int, folder: Path
) -> dict[tuple[str, str], Path]:
    """A .npy of `count` samples by (subject, signature), in the port's dtype."""
    paths = {}
    for i, subject in enumerate(subjects):
        for signature in subject.files:
            paths[subject.name, signature] = folder / f"{i}.{signature}.npy"
            np.save(paths[subject.name, signature], subject.input(signature, real, count), allow_pickle=False)
    return paths


def _latency(
    subjects: Sequence[Subject], inputs: Mapping[tuple[str, str], Path], plan: Plan, announce: Announce
) -> Iterator[Row]:
    timed = [subject for subject in subjects if subject.variant != ALONE]
    for threads in dict.fromkeys(each or cores() for each in plan.threads):
        groups = []
        for signature in plan.signatures:
            those = tuple(
                Timed(s.name, s.runtime, str(s.files[signature]), signature, str(inputs[s.name, signature]))
                for s in timed
                if signature in s.files
            )
            ways = [("invoke", batch) for batch in plan.batches] + [("call", batch) for batch in plan.call_batches]
            groups += [Group(those, batch, way) for way, batch in ways if those]
        for measured in time_groups(groups, threads=threads, seconds=plan.seconds, rounds=plan.rounds):
            group = measured.group
            announce(f"latency: {group.subjects[0].signature}, batch {group.batch}, {_threads(threads)}, {group.way}")
            yield from _latency_rows(measured, {subject.name: subject for subject in timed}, threads)


def _latency_rows(measured: Measured, subjects: Mapping[str, Subject], threads: int) -> Iterator[Row]:
    signature = measured.group.subjects[0].signature
    present = [subjects[name] for name in measured.timings]
    for subject in present:
        timing = measured.timings[subject.name]
        baseline, note = _baseline(subject, present, signature)
        row = _identity(subject) | {
            "file": subject.files[signature].name,
            "provider": measured.providers[subject.name] or subject.provider,
            "signature": signature,
            "way": measured.group.way,
            "batch": measured.group.batch,
            "threads": threads,
            "ports": subject.port_text(signature),
            "median_us": timing.median_us,
            "p95_us": timing.p95_us,
            "rounds": len(timing.samples),
            "calls_per_sample": timing.inner,
            "throughput": measured.group.batch / timing.median_us * 1e6,
            "ratio": None,
            "ratio_low": None,
            "ratio_high": None,
            "against": baseline,
            "note": note,
        }
        if baseline:
            found = ratio(timing, measured.timings[baseline])
            row |= {"ratio": found.value, "ratio_low": found.low, "ratio_high": found.high}
        yield row


def _baseline(subject: Subject, present: Sequence[Subject], signature: str) -> tuple[str | None, str]:
    """(the subject that this one is compared with, why there is none): ours with stock of its kind, Keras with ours."""
    if subject.maker == STOCK:
        return None, VARIANTS.get(subject.variant, "")
    maker, form = (STOCK, subject.format) if subject.maker == OURS else (OURS, "tflite")
    runtime = subject.runtime if subject.maker == OURS else usual(form)
    wanted = (maker, form, subject.precision, runtime)
    peers = [each for each in present if (each.maker, each.format, each.precision, each.runtime) == wanted]
    equal = [each for each in peers if each.port_text(signature) == subject.port_text(signature)]
    if equal:
        return equal[0].name, ""
    if not peers:
        return None, "no file to compare with"
    return None, f"not compared: the ports of {peers[0].name} are {peers[0].port_text(signature)}"


def _identity(subject: Subject) -> Row:
    return {
        "subject": subject.name,
        "maker": subject.maker,
        "format": subject.format,
        "precision": subject.precision,
        "runtime": subject.runtime,
        "provider": subject.provider,
    }


def _footprints(
    subjects: Sequence[Subject], inputs: Mapping[tuple[str, str], Path], plan: Plan, announce: Announce
) -> Iterator[tuple[Subject, Load, Footprint]]:
    loads, owners = [], []
    for subject in subjects if plan.processes else ():
        for signatures in _choices(subject):
            runs = tuple(Run(str(subject.files[s]), s, str(inputs[subject.name, s])) for s in signatures)
            loads.append(Load(subject.name, subject.runtime, runs))
            owners.append(subject)
    found = footprints(loads, processes=plan.processes, announce=announce)
    yield from ((subject, load, each) for subject, (load, each) in zip(owners, found, strict=True))


def _choices(subject: Subject) -> list[tuple[str, ...]]:
    """The choices of signatures whose memory is told: each alone, all of a .tflite file, and encoder with decoder."""
    if not OPENERS[subject.runtime].resident or subject.variant not in ("", ALONE):
        return []
    every = tuple(sorted(subject.files, key=lambda signature: signature != "reconstruct"))
    pair = ("encode", "decode") if {"encode", "decode"} <= set(every) else ()
    together = {"tflite": every, "onnx": pair}.get(subject.format, ())
    choices = [*((signature,) for signature in every), together]
    return [choice for choice in dict.fromkeys(choices) if choice]


def _memory_rows(taken: Sequence[tuple[Subject, Load, Footprint]]) -> list[Row]:
    rows = []
    for subject, load, each in taken:
        rows.append(
            _identity(subject)
            | {
                "file": ", ".join(sorted({Path(run.path).name for run in load.runs})),
                "signatures": [run.signature for run in load.runs],
                "resident_bytes": each.memory,
                "processes": each.processes,
                "ratio": None,
                "against": None,
                "note": VARIANTS.get(subject.variant, ""),
            }
        )
    for row in rows:
        peer = next((other for other in rows if row["maker"] == OURS and _same_choice(row, other)), None)
        if peer and row["resident_bytes"] and peer["resident_bytes"]:
            row |= {"ratio": row["resident_bytes"] / peer["resident_bytes"], "against": peer["subject"]}
    return rows


def _same_choice(row: Row, other: Row) -> bool:
    keys = ("format", "precision", "runtime", "signatures")
    return other["maker"] == STOCK and all(row[key] == other[key] for key in keys)


def _startup_rows(taken: Sequence[tuple[Subject, Load, Footprint]]) -> list[Row]:
    """One row per subject and signature that came first."""
    rows: dict[tuple[str, str], Row] = {}
    for subject, load, each in taken:
        row = _identity(subject) | {
            "file": Path(load.runs[0].path).name,
            "signatures": [load.runs[0].signature],
            "startup_ms": each.startup_ms,
            "import_ms": each.import_ms,
            "processes": each.processes,
        }
        rows.setdefault((subject.name, load.runs[0].signature), row)
    return list(rows.values())


def _sizes(subjects: Sequence[Subject]) -> list[Row]:
    """Bytes of every file, as it is and by gzip; what an encoder and a decoder share is a file of its own."""
    rows: dict[Path, Row] = {}
    for subject in subjects:
        if subject.maker == KERAS or subject.variant not in ("", ALONE):
            continue
        for path in dict.fromkeys(subject.files.values()):
            signatures = [signature for signature, file in subject.files.items() if file == path]
            rows.setdefault(path, _size(path, subject, signatures))
            for kernels in path.parent.glob(f"*.{subject.precision}.kernels.bin") if subject.format == "onnx" else ():
                rows.setdefault(kernels, _size(kernels, subject, []))
    sized = list(rows.values())
    for row in sized:
        peers = [r for r in sized if r["maker"] == STOCK and (r["format"], r["precision"]) == (row["format"], row["precision"])]
        if peers and row["maker"] == OURS and "reconstruct" in row["signatures"]:
            row |= {key: row[name] / peers[0][name] for key, name in {"ratio": "bytes", "gzip_ratio": "gzip_bytes"}.items()}
            row["against"] = peers[0]["file"]
    return sized


def _size(path: Path, subject: Subject, signatures: Sequence[str]) -> Row:
    data = path.read_bytes()
    return {
        "file": path.name,
        "maker": subject.maker,
        "format": subject.format,
        "precision": subject.precision,
        "signatures": list(signatures),
        "bytes": len(data),
        "gzip_bytes": len(gzip.compress(data, compresslevel=9, mtime=0)),
        "ratio": None,
        "gzip_ratio": None,
        "against": None,
    }


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def verdict(measured: Mapping[str, Any]) -> list[str]:
    """One line per file of ours and runtime: latency of reconstruct (else what there is) at batch 1, and the stock file's."""
    rows = [row for row in measured["latency"] if row["maker"] == OURS and (row["way"], row["threads"]) == ("invoke", 1)]
    first = [row for row in rows if row["signature"] == rows[0]["signature"] and row["batch"] == rows[0]["batch"]]
    return [f"{row['file']} in {row['runtime']}: {_latency_text(row)}" for row in first]


def _latency_text(row: Row) -> str:
    text = f"{row['median_us']:.1f} µs for {row['signature']} at batch {row['batch']}"
    if not row["ratio"]:
        return f"{text}; {row['note'] or 'nothing to compare with'}"
    return f"{text}, {row['ratio']:.3f} [{row['ratio_low']:.3f}, {row['ratio_high']:.3f}] times {row['against']}"


Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]


def tables(measured: Mapping[str, Any]) -> list[Table]:
    """(title, header, rows) of what `bench_bundle` measured, as a person reads it."""
    found = [
        ("Files", ("file", "bytes", "gzip", "against stock", "gzip"), [_size_cells(row) for row in measured["sizes"]]),
        *_latency_tables(measured["latency"]),
        *_throughput_tables(measured["latency"]),
        (
            "Resident memory, MiB: from the imported runtime to every signature run once",
            ("subject", "signatures", "MiB", "against stock"),
            [_memory_cells(row) for row in measured["memory"]],
        ),
        (
            "Start-up, ms: from opening the file to the first result",
            ("subject", "first signature", "ms", "import of the runtime"),
            [
                (r["subject"], r["signatures"][0], f"{r['startup_ms']:.3g}", f"{r['import_ms']:.0f}")
                for r in measured["startup"]
            ],
        ),
        ("Not measured", ("what", "why"), [(each["what"], each["reason"]) for each in measured["skipped"]]),
    ]
    machine = measured["machine"]
    keys = ("cpu", "cores", "governor", "system", "load_average", "warning")
    found.append(("Machine", ("", ""), [(key, str(machine[key])) for key in keys if machine[key]]))
    return [table for table in found if table[2]]


def _latency_tables(latency: Sequence[Row]) -> Iterator[Table]:
    """One per signature and way, at the smallest batch and one thread."""
    for signature in dict.fromkeys(row["signature"] for row in latency):
        for way, text in {"invoke": "the runtime's own call", "call": "a call from Python, numpy to numpy"}.items():
            rows = [row for row in latency if (row["signature"], row["way"], row["threads"]) == (signature, way, 1)]
            smallest = [row for row in rows if row["batch"] == min(each["batch"] for each in rows)]
            if smallest:
                title = f"Latency of {signature}, batch {smallest[0]['batch']}, 1 thread, µs: {text}"
                header = ("subject", "ports", "median", "p95", "ratio to stock, 95 %")
                yield title, header, [_latency_cells(row) for row in smallest]


def _latency_cells(row: Row) -> tuple[str, ...]:
    note = row["note"] if row["maker"] == OURS else ""
    interval = f"{row['ratio']:.3f} [{row['ratio_low']:.3f}, {row['ratio_high']:.3f}]" if row["ratio"] else note
    if row["ratio"] and row["maker"] == KERAS:
        interval += f", to {row['against']}"
    return row["subject"], row["ports"], f"{row['median_us']:.1f}", f"{row['p95_us']:.1f}", interval


def _throughput_tables(latency: Sequence[Row]) -> Iterator[Table]:
    """One per signature: samples per second by batch and threads."""
    for signature in dict.fromkeys(row["signature"] for row in latency):
        rows = [row for row in latency if row["signature"] == signature and row["way"] == "invoke"]
        columns = sorted({(row["threads"], row["batch"]) for row in rows})
        cells = {(row["subject"], row["threads"], row["batch"]): f"{row['throughput']:,.0f}" for row in rows}
        header = tuple(f"batch {batch}, {_threads(threads)}" for threads, batch in columns)
        body = [
            (subject, *(cells.get((subject, *column), "") for column in columns))
            for subject in dict.fromkeys(row["subject"] for row in rows)
        ]
        yield f"Throughput of {signature}, samples/s", ("subject", *header), body


def _size_cells(row: Row) -> tuple[str, ...]:
    ratios = [f"{row[key]:.3f}" if row[key] else "" for key in ("ratio", "gzip_ratio")]
    return row["file"], f"{row['bytes']:,}", f"{row['gzip_bytes']:,}", *ratios


def _memory_cells(row: Row) -> tuple[str, ...]:
    memory = "not told" if row["resident_bytes"] is None else f"{row['resident_bytes'] / 2**20:.2f}"
    return row["subject"], ", ".join(row["signatures"]), memory, f"{row['ratio']:.3f}" if row["ratio"] else ""
