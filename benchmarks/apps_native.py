"""The figures of Android modules on a desktop JDK, and of a C host on ONNX Runtime: equality, time of a call."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rows import Row

from tiedae.apps.model import AppOptions
from tiedae.apps.native.android import android_module
from tiedae.bundle.bundle import Bundle
from tiedae.cli.native import native_model
from tiedae.codec.opening import bundle_of
from tiedae.compress import CheckError
from tiedae.export.c.text import named
from tiedae.report.console import Console

HERE = Path(__file__).parent
HOST = HERE.parent / "tests" / "apps" / "onnx" / "onnx_host.c"
ONNX_HEADER = Path("/usr/include/onnxruntime/onnxruntime_c_api.h")
OPTIONS = ("-std=c99", "-O2", "-fPIC", "-shared", "-fvisibility=hidden")


def native_rows(folder: Path, path: Path, console: Console) -> list[Row]:
    """Those of a bundle of uint8 samples, built in `folder`."""
    bundle = bundle_of(path)
    golden = bundle.golden()
    if golden["x"].dtype != np.uint8:
        raise CheckError(f"{path}: got samples of {golden['x'].dtype}, must be uint8 as those of `tiedae demo`")
    console.note("JNI, and a host in C …")
    (folder / "x.bin").write_bytes(golden["x"].tobytes())
    java, c = bench_times(folder, bundle, "JniBench", folder)
    different = differing(folder, golden)
    onnx_host(folder, bundle)
    different += differing(folder, golden)
    overhead = float(np.median(java - c)) / 1000
    times = f"{np.median(java) / 1000:.2f} µs through JNI, {np.median(c) / 1000:.2f} µs in C, in turns"
    what = f"codes and y of {len(golden['x'])} samples, Java through JNI, ONNX Runtime through C"
    return [
        Row("golden_different_native", different, "", "== 0", "", what),
        Row("jni_overhead_us", overhead, "µs", "<= 5", "<= 2", f"encode, one sample: {times}"),
    ]


def bench_times(folder: Path, bundle: Bundle, bench: str, argument: Path) -> tuple[np.ndarray, np.ndarray]:
    """Nanoseconds of calls by the Java program `bench` and in C, by turn."""
    model, jdk = native_model(bundle, AppOptions()), Path(shutil.which("javac") or "").resolve().parents[1]
    for name, data in android_module(model).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    sources, name = folder / "src" / "main" / "cpp", model.name
    text = (HERE / "jni_bench.c").read_text().replace("NAMED", name)
    (sources / "bench.c").write_text(named(text, name))
    text = (HERE / f"{bench}.java").read_text().replace("PACKAGE", model.word)
    (folder / f"{bench}.java").write_text(text.replace("CAMEL", model.camel))
    includes = [f"-I{jdk}/include", *(f"-I{each}" for each in (jdk / "include").iterdir() if each.is_dir())]
    module = [f"{name}.c", f"{name}_app.c", f"{name}_check.c", f"{name}_jni.c"]
    for library, files in ((f"{name}_jni", module), ("bench", [f"{name}.c", "bench.c"])):
        run(["cc", *OPTIONS, *includes, *(sources / each for each in files), "-o", folder / f"lib{library}.so"])
    run(["javac", "-d", folder, *folder.glob("src/main/java/**/*.java"), HERE / "Turns.java", folder / f"{bench}.java"])
    java, c = np.array(json.loads(run(["java", f"-Djava.library.path={folder}", "-cp", folder, bench, argument])))
    return java, c


def onnx_host(folder: Path, bundle: Bundle) -> None:
    """Write code.bin and y.bin anew, by the .onnx file in a host in C."""
    inputs, count = bundle.manifest.data.inputs, len(bundle.golden()["x"])
    model = next(path for path in bundle.path.glob("*.int8.onnx") if path.name.count(".") == 2)
    run(["cc", "-std=c99", "-O2", "-isystem", ONNX_HEADER.parent, HOST, "-o", folder / "host", "-lonnxruntime"])
    run([folder / "host", model, folder / "x.bin", count, inputs, folder / "code.bin", folder / "y.bin"])


def differing(folder: Path, golden: dict[str, np.ndarray]) -> int:
    """Values of code.bin and y.bin unlike golden, which are removed."""
    found = 0
    for name in ("code", "y"):
        values = np.fromfile(folder / f"{name}.bin", golden[name].dtype)
        found += int((values != golden[name].ravel()).sum())
        (folder / f"{name}.bin").unlink()
    return found


def run(command: Sequence[object]) -> str:
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise CheckError(f"{command[0]}: {next(iter(done.stderr.strip().splitlines()[-1:]), done.returncode)}")
    return done.stdout
