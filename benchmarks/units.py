"""What inputs and outputs that are not scaled cost: latency of int8 files, and the roundings of other ways to scale.

python benchmarks/units.py BUNDLE, a bundle of float data
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from tiedae.bundle.bench_results import Way
from tiedae.bundle.bundle import Bundle, model_files, npy, write_files
from tiedae.export.targets import TARGETS, read_model
from tiedae.program.file_io import FileIO
from tiedae.runtimes.table import usual
from tiedae.verify.bench.latency import Timed, TimedGroup, ratio, time_groups

SECONDS = 10.0
COLUMNS, ROWS = 64, 20_000


def latencies(bundle: Bundle) -> None:
    """One thread, batch 1, the files in turns; float32 x and y in both."""
    programs = bundle.programs({name: read_model(bundle.path / name) for name in bundle.models})
    scaling, golden = bundle.manifest.data.scaling, bundle.golden()
    x = {"data": golden["x"].astype(np.float32)}
    x["model"] = scaling.apply(x["data"])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for units, io in (("data", FileIO("float32", scaling)), ("model", FileIO("float32"))):
            files = model_files({"int8": programs}, bundle.manifest.recipe.export, io)
            write_files(folder / units, files | {"x.npy": npy(x[units]), "code.npy": npy(golden["code"])})
        for target in TARGETS:
            groups = []
            for signature, file in bundle.files_of(target, "int8").items():
                given = "code.npy" if signature == "decode" else "x.npy"
                paths = {units: (str(folder / units / file), str(folder / units / given)) for units in x}
                timed = (Timed(units, usual(target), model, signature, array) for units, (model, array) in paths.items())
                groups.append(TimedGroup(tuple(timed), 1, Way.INVOKE))
            for measured in time_groups(groups, threads=1, seconds=SECONDS, rounds=(21, 2000)):
                data, model = measured.timings["data"], measured.timings["model"]
                signature, found = measured.group.subjects[0].signature, ratio(data, model)
                print(f"{target} {signature}: {data.median_us:.2f} against {model.median_us:.2f} µs, ratio {found.text}")


def roundings() -> None:
    """Integers of x that differ from the program's for a table of samples on eighths of an int8 step."""
    rng, f = np.random.default_rng(0), np.float32
    offset, scale = rng.normal(0, 100, COLUMNS).astype(f), np.exp(rng.uniform(-7, 7, COLUMNS)).astype(f)
    step, zero = f(1 / 32), f(128)
    x = rng.integers(-1024, 1024, (ROWS, COLUMNS)).astype(f) / 8 * step * scale + offset
    ways = {
        "SUB, DIV": (x - offset) / scale,
        "SUB, MUL by 1/scale": (x - offset) * (f(1) / scale),
        "MUL, ADD": x * (f(1) / scale) - offset / scale,
    }
    integers = {name: np.clip(np.rint(each / step) + zero, 0, 255) for name, each in ways.items()}
    whole = np.rint(x / (scale * step)) + np.rint(zero - offset / (scale * step))
    integers["one QUANTIZE per column"] = np.clip(whole, 0, 255)
    for name, each in integers.items():
        print(f"{name}: {np.count_nonzero(each != integers['SUB, DIV']):,} of {x.size:,} integers differ")


if __name__ == "__main__":
    roundings()
    latencies(Bundle.open(Path(sys.argv[1])))
