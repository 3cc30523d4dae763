"""Memory and start-up are taken in fresh processes and follow what is loaded."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest

from tiedae.base.errors import UnavailableError
from tiedae.export import to_onnx, to_tflite
from tiedae.verify.bench.footprint import ROLLUP, Load, footprints, resident
from tiedae.verify.bench.latency import Timed

needs_proc = pytest.mark.skipif(not ROLLUP.exists(), reason="the system does not tell the resident set")


def taken(loads: list[Load]) -> list[int]:
    """Bytes of resident memory of each load."""
    return [each.memory or 0 for _, each in footprints(loads, processes=1)]


def load_of(program, folder: Path, name: str, signatures=("reconstruct",)) -> Load:
    """A file of the program, and bytes for its input."""
    path, x = folder / name, folder / f"{name}.npy"
    onnx = path.suffix == ".onnx"
    path.write_bytes(to_onnx(program, signature="reconstruct", io="uint8") if onnx else to_tflite(program, io="uint8"))
    np.save(x, np.zeros((2, *program.tensors["x"].shape), np.uint8))
    runtime = "ort-cpu" if onnx else "litert-xnnpack"
    return tuple(Timed(name, runtime, str(path), signature, str(x)) for signature in signatures)


@needs_proc
@pytest.mark.parametrize("ending", ["tflite", "onnx"])
def test_a_larger_kernel_takes_more_memory(make_program, tmp_path: Path, ending: str):
    form = "split" if ending == "tflite" else "fused"
    loads = [
        load_of(make_program(widths, ("linear",), form=form), tmp_path, f"{name}.{ending}")
        for name, widths in {"small": (20, 5), "large": (2000, 1000)}.items()
    ]
    small, large = taken(loads)
    assert large - small > 2000 * 1000
    assert 0 < small < 25 << 20, "the runtime itself is not counted"


@needs_proc
def test_a_file_is_opened_once_for_all_its_signatures(make_program, tmp_path: Path):
    program = make_program((2000, 1000), ("linear",), form="split")
    one = load_of(program, tmp_path, "one.tflite")
    twice = load_of(program, tmp_path, "twice.tflite", ("reconstruct", "encode"))
    first, second = taken([one, twice])
    assert second - first < 1000 * 1000


@needs_proc
def test_resident_memory_grows_with_what_is_touched():
    before, size = resident() or 0, 64 << 20
    with mmap.mmap(-1, size) as held:  # of pages that the process did not have
        np.frombuffer(held, np.uint8)[:] = 1
        assert (resident() or 0) - before > 0.9 * size


def test_a_load_comes_back_with_its_times_and_what_cannot_be_opened_is_told(make_program, tmp_path: Path):
    load = load_of(make_program(form="split"), tmp_path, "toy.tflite")
    ((same, found),) = footprints([load], processes=3)
    assert same == load and found.startup_ms > 0 and found.import_ms > 0 and found.processes == 3
    (tmp_path / "toy.tflite").write_bytes(b"nonsense")
    with pytest.raises(UnavailableError, match=r"footprint: the process failed: .*LiteRT refuses the file"):
        list(footprints([load], processes=1))
    assert list(footprints([], processes=3)) == []
