"""Compares the outputs of two model files in LiteRT or ONNX Runtime, without tiedae: a process of its own for strangers.py.

    python benchmarks/strangers_judge.py BEFORE AFTER [--name PACKAGE/FILE] [--bound 1e-4]

`--bound` is the largest difference of floats, relative to the largest value of an output; 8-bit integers may differ by one,
others not at all. `--name` chooses inputs that the model expects (strangers_inputs.py). Cases that the first file refuses are
left out. If it runs with none, a .tflite file is compared part by part instead: all but where buffers lie. Prints a verdict as
JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import filecmp
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from strangers_inputs import Case, Input, cases

Verdict = Literal["same bytes", "equal", "agree", "differ", "same parts", "unproven"]
BOUND = 1e-4
"""Default of --bound."""
Call = Callable[[Mapping[str, np.ndarray]], list[np.ndarray]]


@dataclass(frozen=True)
class Judgement:
    """`cases` that ran; `largest`: difference relative to the largest value of its output; `reason` of what differs."""

    verdict: Verdict
    cases: int = 0
    largest: float = 0.0
    reason: str = ""

    @property
    def right(self) -> bool:
        return self.verdict not in ("differ", "unproven")


class Refused(Exception):
    """A runtime does not open a file, or does not run it with these inputs."""


class OnnxFile:
    """A file in ONNX Runtime on the CPU with its default optimizations."""

    def __init__(self, path: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except _onnx_refusals() as error:
            raise Refused(str(error)) from None
        self.outputs = [each.name for each in self._session.get_outputs()]

    def inputs(self) -> list[Input]:
        dtypes = {"float": "float32", "double": "float64", "float16": "float16", "string": "object"}
        found = [(each.name, each.type.removeprefix("tensor(").rstrip(")"), each.shape) for each in self._session.get_inputs()]
        return [
            Input(name, np.dtype(dtypes.get(kind, kind)), tuple(size if isinstance(size, int) else None for size in shape))
            for name, kind, shape in found
        ]

    def opened(self, _case: Case) -> Call:
        def call(feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
            try:
                return [np.asarray(each) for each in self._session.run(None, dict(feeds))]
            except _onnx_refusals() as error:
                raise Refused(str(error)) from None

        return call


def _onnx_refusals() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # pyright: ignore[reportAttributeAccessIssue]

    own = (each for each in vars(state).values() if isinstance(each, type) and issubclass(each, Exception))
    return (RuntimeError, ValueError, *own)


class TfliteFile:
    """A file in LiteRT with its default kernels; its first subgraph alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        interpreter = self._interpreter()
        self.outputs = [each["name"] for each in interpreter.get_output_details()]

    def _interpreter(self) -> Any:
        from ai_edge_litert.interpreter import Interpreter

        try:
            return Interpreter(model_path=str(self._path), num_threads=1)
        except (RuntimeError, ValueError) as error:
            raise Refused(str(error)) from None

    def inputs(self) -> list[Input]:
        return [
            Input(
                each["name"],
                np.dtype(each["dtype"]),
                tuple(int(size) if size >= 0 else None for size in each["shape_signature"]),
            )
            for each in self._interpreter().get_input_details()
        ]

    def opened(self, case: Case) -> Call:
        interpreter = self._interpreter()
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()

        def ready(feeds: Mapping[str, np.ndarray]) -> None:
            for each in inputs:
                if tuple(each["shape"]) != feeds[each["name"]].shape:
                    interpreter.resize_tensor_input(each["index"], feeds[each["name"]].shape, strict=True)
            interpreter.allocate_tensors()

        def call(feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
            try:
                if feeds is case.calls[0]:
                    ready(feeds)
                for each in inputs:
                    interpreter.set_tensor(each["index"], feeds[each["name"]])
                interpreter.invoke()
                return [interpreter.get_tensor(each["index"]) for each in outputs]
            except (RuntimeError, ValueError) as error:
                raise Refused(str(error)) from None

        return call


def opened(path: Path) -> OnnxFile | TfliteFile:
    return OnnxFile(path) if path.suffix == ".onnx" else TfliteFile(path)


def results(file: OnnxFile | TfliteFile, case: Case) -> list[list[np.ndarray]]:
    """The outputs of each call. Raises Refused."""
    call, found, carried = file.opened(case), [], {}
    for feeds in case.calls:
        found.append(call({**feeds, **carried} if carried else feeds))
        by_name = dict(zip(file.outputs, found[-1], strict=True))
        carried = {case.carry[name]: by_name[name] for name in case.carry if name in by_name}
    return found


def judge(before: Path, after: Path, name: str = "", bound: float = BOUND) -> Judgement:
    """Compare all outputs of both files on all cases that the first one runs."""
    if filecmp.cmp(before, after, shallow=False) and not after.with_name(f"{after.name}.data").exists():
        return Judgement("same bytes")
    right = ran(before, name)
    if not right:
        return same_parts(before, after)
    verdict, largest = "equal", 0.0
    try:
        rewritten = opened(after)
        for case, expected in right:
            for outputs, others in zip(expected, results(rewritten, case), strict=True):
                for output, a, b in zip(rewritten.outputs, outputs, others, strict=True):
                    if reason := unlike(a, b, bound):
                        return Judgement("differ", len(right), _apart(a, b), f"{output}, {case.text}: {reason}")
                    if a.tobytes() != b.tobytes():
                        verdict, largest = "agree", max(largest, _apart(a, b))
    except Refused as error:
        return Judgement("differ", len(right), reason=f"refused: {' '.join(str(error).split())[:200]}")
    return Judgement(verdict, len(right), largest)


def ran(path: Path, name: str) -> list[tuple[Case, list[list[np.ndarray]]]]:
    """The cases that a file runs, with its outputs."""
    found = []
    try:
        file = opened(path)
        every = list(cases(name, file.inputs()))
    except Refused:
        return found
    for case in every:
        with contextlib.suppress(Refused):
            found.append((case, results(file, case)))
    return found


def unlike(a: np.ndarray, b: np.ndarray, bound: float) -> str:
    """How two outputs differ beyond `bound`, or one step of 8-bit integers; "" if they agree."""
    if (a.dtype, a.shape) != (b.dtype, b.shape):
        return f"{a.dtype} {list(a.shape)} became {b.dtype} {list(b.shape)}"
    if a.dtype.kind != "f":
        apart = 0 if a.dtype.kind not in "iu" else np.abs(a.astype(np.int64) - b.astype(np.int64)).max(initial=0)
        steps = 1 if a.dtype.itemsize == 1 and a.dtype.kind in "iu" else 0
        same = apart <= steps if a.dtype.kind in "iu" else bool((a == b).all())
        return "" if same else f"{np.count_nonzero(a != b)} of {a.size} values differ, by up to {apart}"
    finite = np.isfinite(a)
    if not np.array_equal(np.where(finite, 0, a), np.where(np.isfinite(b), 0, b), equal_nan=True):
        return "NaN or infinities at other places"
    return "" if (apart := _apart(a, b)) <= bound else f"values differ by {apart:.2g} of the largest"


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference of finite values, relative to the largest value; 0 for arrays that cannot be subtracted."""
    if a.shape != b.shape or a.dtype.kind not in "fiu":
        return 0.0
    first, second = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(first) & np.isfinite(second)
    scale = np.abs(first[finite]).max(initial=0)
    return float(np.abs(first[finite] - second[finite]).max(initial=0) / (scale or 1))


def same_parts(before: Path, after: Path) -> Judgement:
    """Compare two .tflite files by the schema's object interface: every buffer by its bytes wherever a tensor refers to it."""
    if before.suffix != ".tflite":
        return Judgement("unproven", reason="the runtime runs no case of the original")
    first, second = (_parts(path) for path in (before, after))
    if first == second:
        return Judgement("same parts")
    key = next(key for key in first if first[key] != second.get(key))
    return Judgement("unproven", reason=f"the runtime runs no case of the original, and {key} differs")


def _parts(path: Path) -> dict[str, Any]:
    from ai_edge_litert import schema_py_generated as schema

    data = path.read_bytes()
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
    buffers = model.buffers or []

    def content(index: int) -> str:
        buffer = buffers[index]
        inside = b"" if buffer.data is None else np.asarray(buffer.data, np.uint8).tobytes()
        return hashlib.sha256(data[buffer.offset :][: buffer.size] if buffer.offset > 1 else inside).hexdigest()

    def plain(value: Any) -> Any:
        if hasattr(value, "__dict__"):
            return {key: content(each) if key == "buffer" else plain(each) for key, each in vars(value).items()}
        if isinstance(value, np.ndarray):
            return value.tolist()
        return [plain(each) for each in value] if isinstance(value, list) else value

    return {key: plain(value) for key, value in vars(model).items() if key not in ("buffers", "metadataBuffer")}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--name", default="", metavar="PACKAGE/FILE")
    parser.add_argument("--bound", type=float, default=BOUND, metavar="FRACTION")
    arguments = parser.parse_args()
    found = judge(arguments.before, arguments.after, arguments.name, arguments.bound)
    print(json.dumps({**asdict(found), "right": found.right}))


if __name__ == "__main__":
    main()
