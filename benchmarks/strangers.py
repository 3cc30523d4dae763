"""`tiedae inspect` and `tiedae dedupe` on public models, beside onnxsim, onnxslim and onnxoptimizer.

    python benchmarks/strangers.py --json strangers.json --table strangers.md

Fetches the models of thirteen packages, exports GPT-2 with random weights, and makes environments for torch and for the other
tools, all in the folder --cache: some 3 GB. Needs npm and the package registries. --only takes some of the files, for a trial.
"""

from __future__ import annotations

import fnmatch
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rows import Row, arguments_of, report
from strangers_files import PEERS, Model, environment, fetched, gpt2_models
from strangers_measure import TOOLS, Measured, Written, latencies, measured

from tiedae.base.files import write_atomic
from tiedae.report.console import Console

VAD, GPT2 = "ricky0123/vad-web/silero_vad_legacy.onnx", "gpt2/torchscript"


def main() -> int:
    parser = arguments_of(__doc__ or "")
    parser.add_argument("--cache", type=Path, default=Path("build/strangers"), metavar="DIR", help="what is fetched and made")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write a row of each file here, as Markdown")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="files of this PACKAGE/FILE")
    parser.add_argument("--layers", type=int, default=12, help="of GPT-2; fewer for a trial")
    arguments = parser.parse_args()

    def measure(console: Console) -> Sequence[Row]:
        cache = arguments.cache.resolve()
        python = environment(cache / "peers", PEERS, console)
        models = [*fetched(cache, console), *gpt2_models(cache, arguments.layers, console)]
        files, rows = [], []
        for model in (model for model in models if fnmatch.fnmatch(model.name, arguments.only)):
            console.note(f"{model.name}: {model.size:,} bytes")
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                files.append(measured(model, python, Path(folder)))
                rows += latency_rows(model, Path(folder)) if model.name == GPT2 and files[-1].shared.bytes else []
            console.note(
                "; ".join(f"{tool} {made.bytes} {made.verdict} {made.seconds:.1f} s" for tool, made in made_of(files[-1]))
            )
        if arguments.table:
            write_atomic(arguments.table, table_of(files).encode())
        return [*rows_of(files), *rows]

    return report("strangers' files", measure, arguments.json)


def rows_of(files: Sequence[Measured]) -> list[Row]:
    """The rows of those files that were measured."""
    by_name = {each.name: each for each in files}
    written = [each for each in files if each.shared.bytes]
    smaller = sum(each.shared.bytes != each.bytes for each in written)
    wrong = [f"{each.name}: {each.shared.reason}" for each in written if not each.shared.right]
    copied = [each for each in files if each.copies]
    refused = [f"{each.name}: {each.shared.reason}" for each in copied if not each.shared.bytes]
    slowest = sorted(files, key=lambda each: -each.shared.seconds)
    times = ", ".join(f"{each.name} {each.shared.seconds:.1f} s" for each in slowest[:3])
    copies, listed = sum(each.copies for each in files), sum(each.listed for each in files)
    missed = [f"{each.name} {each.listed} of {each.copies}" for each in copied if each.listed < each.copies]
    rows = [
        _fraction(
            "strangers_right", len(written) - len(wrong), len(written), "== 1", "", [f"{smaller} of them smaller", *wrong]
        ),
        _fraction("strangers_refused", len(refused), len(copied), "<= 0.1", "== 0", refused),
    ]
    if vad := by_name.get(VAD):
        after = vad.shared.bytes or vad.bytes
        rows.append(Row("vad_bytes_ratio", after / vad.bytes, "x", "<= 0.57", "", f"{vad.bytes:,} → {after:,} B"))
    if gpt2 := by_name.get(GPT2):
        rows.append(gpt2_row(gpt2, by_name.get("gpt2/dynamo")))
    rows.append(Row("strangers_seconds_max", slowest[0].shared.seconds, "s", "<= 10", "<= 4", times))
    return [*rows, _fraction("inspect_copies_recall", listed, copies, "== 1", "", missed)]


def _fraction(name: str, part: int, whole: int, reach: str, stretch: str, exceptions: Sequence[str]) -> Row:
    detail = "; ".join([f"{part:,} of {whole:,}", *exceptions])
    return Row(name, part / whole if whole else float(reach.split()[1]), "", reach, stretch, detail)


def gpt2_row(file: Measured, other: Measured | None) -> Row:
    """`dedupe` against the best of the other tools whose outputs agree; `other`: the default exporter's file."""
    after = file.shared.bytes or file.bytes
    best = min((own.bytes, name) for name, (own, _) in file.tools.items() if own.bytes and own.right)
    detail = f"{file.bytes:,} → {after:,} B; {best[1]} {best[0]:,} B"
    if other:
        detail += f"; the dynamo exporter's file {other.bytes:,} → {other.shared.bytes or other.bytes:,} B"
    return Row("gpt2_bytes_ratio", after / best[0], "x", "<= 0.70", "<= 0.64", detail)


def latency_rows(model: Model, folder: Path) -> list[Row]:
    """GPT-2 after `dedupe` against before, per level of ONNX Runtime's graph optimizations; reported only."""
    found = latencies(model.path, folder / f"shared{model.path.suffix}", model.name)
    return [
        Row(f"gpt2_latency_{level[4:].lower()}", after / before, "x", "", "", f"{before:.1f} → {after:.1f} ms")
        for level, (before, after) in found.items()
    ]


SHARED = ("file", "bytes", "copies", "after `dedupe`", "ratio", "outputs", "s", "MiB")
BESIDE = ("file", "bytes", "`dedupe`", *TOOLS, *(f"{name}, then `dedupe`" for name in TOOLS))


def table_of(files: Sequence[Measured]) -> str:
    """Files with copies or that changed, ONNX files beside the other tools, what was not written or differs; Markdown."""
    changed = [each for each in files if each.copies or each.shared.bytes != each.bytes]
    same = [each for each in files if each not in changed]
    seconds, mib = (max((getattr(each.shared, key) for each in same), default=0.0) for key in ("seconds", "own_mib"))
    reasons = [f"- {each.name}, {tool}: {made.reason}" for each in files for tool, made in made_of(each) if made.reason]
    return "\n".join(
        [
            *_table(SHARED, [_shared_cells(each) for each in changed]),
            "",
            f"Written as they are, at most {seconds:.1f} s, {mib:.0f} MiB: {', '.join(each.name for each in same)}",
            "",
            *_table(BESIDE, [_beside_cells(each) for each in files if each.tools]),
            "",
            *reasons,
            "",
        ]
    )


def made_of(file: Measured) -> list[tuple[str, Written]]:
    """(tools, result) of a file."""
    beside = [((name, own), (f"{name}, then share", both)) for name, (own, both) in file.tools.items()]
    return [("share", file.shared), *(made for pair in beside for made in pair)]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows)]


def _shared_cells(file: Measured) -> list[str]:
    shared = file.shared
    copies = f"{file.copies:,}: {file.copied_bytes:,} B" if file.copies else "none"
    ratio = f"{shared.bytes / file.bytes:.4f}" if shared.bytes else ""
    memory = f"{shared.own_mib:.0f} + {shared.child_mib:.0f}"
    return [file.name, f"{file.bytes:,}", copies, _size(shared), ratio, shared.verdict, f"{shared.seconds:.1f}", memory]


def _beside_cells(file: Measured) -> list[str]:
    pairs = [file.tools[name] for name in TOOLS]
    sizes = [*(_size(own) for own, _ in pairs), *(_size(both) for _, both in pairs)]
    return [file.name, f"{file.bytes:,}", _size(file.shared), *sizes]


def _size(made: Written) -> str:
    if made.bytes is None:
        return "nothing written" if made.reason else ""
    return f"{made.bytes:,}" if made.right else f"{made.bytes:,} ({made.verdict})"


if __name__ == "__main__":
    sys.exit(main())
