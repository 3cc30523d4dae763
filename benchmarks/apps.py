"""The figures of app bundles: equality with golden data, bytes, and time, in Node.js, Chromium, Java and C; streams.

    TIEDAE_NODE_MODULES=... python benchmarks/apps.py [--bundle BUNDLE] --json apps.json

The node modules are playwright-core and onnxruntime-web; it takes a JDK and libonnxruntime-dev too. The bundle is that of
`tiedae demo`, which is run where none is given.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from apps_native import ONNX_HEADER, native_rows
from apps_streams import stream_rows
from needs import require
from rows import Row, arguments_of, report

from tiedae.apps.model import AppOptions
from tiedae.base.packages import missing
from tiedae.cli import main as command
from tiedae.cli.app_folders import package_app
from tiedae.cli.web import WebFolder
from tiedae.codec.opening import bundle_of
from tiedae.compress import CheckError
from tiedae.export.c.codec_source import Promise
from tiedae.report.console import Console
from tiedae.runtimes.node import VARIABLE

SCRIPT = Path(__file__).with_name("apps_web.mjs")
NODE_MODULES = ("playwright-core", "onnxruntime-web")
KINDS: tuple[Promise, ...] = ("lossy", "bounded", "lossless")


def main() -> int:
    parser = arguments_of(__doc__ or "")
    parser.add_argument("--bundle", type=Path, metavar="BUNDLE", help="that of `tiedae demo`, or OUT of its run")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        return report("apps", lambda console: measure(Path(folder), arguments.bundle, console), arguments.json)


def measure(folder: Path, bundle: Path | None, console: Console) -> Sequence[Row]:
    require(programs=("node", "chromium", "clang", "wasm-ld", "cc", "javac"), files=(ONNX_HEADER,))
    modules = node_modules()
    if bundle is None:
        bundle = folder / "demo"
        if command(["demo", "--out", str(bundle), "-q"]):
            raise CheckError("tiedae demo: a check failed")
    native = folder / "native"
    streams = folder / "streams"
    for place in (native, streams):
        place.mkdir()
    rows = [*web_rows(folder, bundle, modules, console), *native_rows(native, bundle, console)]
    return [*rows, *stream_rows(streams, console)]


def node_modules() -> Path:
    folder = Path(os.environ.get(VARIABLE, ""))
    for name in NODE_MODULES:
        if not (folder / name).is_dir():
            raise missing(name)
    return folder


def web_rows(folder: Path, bundle: Path, modules: Path, console: Console) -> list[Row]:
    made, whole = web_folder(folder / "page", bundle, None), web_folder(folder / "whole", bundle, KINDS)
    found = bundle_of(bundle)
    golden = found.golden()
    (folder / "x.bin").write_bytes(golden["x"].tobytes())
    onnx = next(path for path in found.path.glob("*.int8.onnx") if path.name.count(".") == 2)
    console.note("Node.js and Chromium …")
    seen = run(folder / "page", folder / "x.bin", onnx, modules)
    right = [golden["code"], golden["y"]]
    different = sum(differing(each, right) for place in ("node", "chromium") for each in seen[place].values())
    median = {name: float(np.median(times)) for name, times in seen["times"].items()}
    ratio = float(np.median(np.array(seen["times"]["simd"]) / np.array(seen["times"]["ort"])))
    plain = float(np.median(np.array(seen["times"]["scalar"]) / np.array(seen["times"]["ort"])))
    simd, scalar = made.modules["simd"], made.modules["scalar"]
    exact = whole.modules["simd"].other / 1000
    sizes = f"{scalar.other / 1000:.1f} kB without vectors; {exact:.1f} kB with bounded and lossless .tae files"
    samples = len(golden["x"])
    times = f"{median['simd']:.1f} µs with vectors, {median['scalar']:.1f} µs without ({plain:.2f} x), {median['ort']:.1f} µs"
    loads = f"{min(seen['first']):.0f} to {max(seen['first']):.0f} ms in {len(seen['first'])} loads, empty caches"
    return [
        Row(
            "golden_different",
            different,
            "",
            "== 0",
            "",
            f"codes and y of {samples} samples, Node.js and Chromium, both modules",
        ),
        Row("wasm_kb", simd.other / 1000, "kB", "<= 36", "<= 26", sizes),
        Row("page_gzip_kb", made.browser / 1000, "kB", "<= 380", "<= 345", f"{simd.gzip:,} B of them WebAssembly"),
        Row("wasm_vs_ort_web", ratio, "x", "<= 1.0", "<= 0.6", f"{times} of onnxruntime-web, one thread, batch 1, in turns"),
        Row("page_first_result_ms", float(np.median(seen["first"])), "ms", "<= 500", "<= 200", loads),
    ]


def web_folder(place: Path, bundle: Path, files: Sequence[Promise] | None) -> WebFolder:
    made = package_app(bundle, place, "web", AppOptions(files=files), replace=False)
    if not isinstance(made, WebFolder):
        raise CheckError(f"{place.name}: got a {type(made).__name__}")
    return made


def run(page: Path, samples: Path, onnx: Path, modules: Path) -> dict[str, Any]:
    """What apps_web.mjs measures; CheckError where it fails."""
    command_line = [shutil.which("node"), SCRIPT, page, samples, onnx, modules, shutil.which("chromium")]
    done = subprocess.run([str(each) for each in command_line], capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        problem = next((line for line in done.stderr.splitlines() if "Error: " in line), done.returncode)
        raise CheckError(f"{SCRIPT.name}: {problem}")
    return json.loads(done.stdout.splitlines()[-1])


def differing(results: Sequence[str], right: Sequence[np.ndarray]) -> int:
    return sum(
        int((np.frombuffer(base64.b64decode(text), values.dtype) != values.ravel()).sum())
        for text, values in zip(results, right, strict=True)
    )


if __name__ == "__main__":
    sys.exit(main())
