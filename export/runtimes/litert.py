"""Runs .tflite files in LiteRT, by three of its op resolvers.

litert-xnnpack     as a user gets it: XNNPACK takes what it can, the builtin kernels do the rest
litert-builtin     the optimized builtin kernels, no delegate
litert-reference   the plain reference kernels, no delegate
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType, SignatureRunner

from ...compress.errors import FormatError, InputError
from ..formats.entries import named_activations, with_primary
from ..quiet import quiet
from .session import Session, batches, joined

RESOLVERS: Mapping[str, OpResolverType] = {
    "litert-xnnpack": OpResolverType.AUTO,
    "litert-builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "litert-reference": OpResolverType.BUILTIN_REF,
}
CHUNK = 512
"""Samples per invocation: large enough to be fast, small enough for the activations to stay in memory."""


def open_litert(runtime: str, data: bytes, *, threads: int = 1) -> Session:
    """Load a .tflite file; `runtime` is a key of `RESOLVERS`.

    Raises InputError for another runtime and FormatError where LiteRT refuses the file.
    """
    if runtime not in RESOLVERS:
        raise InputError(f"runtime: got {runtime!r}, must be one of {', '.join(RESOLVERS)}")
    if not data:
        raise FormatError("LiteRT refuses the file: it is empty")
    return LiteRTSession(runtime, data, threads)


class LiteRTSession:
    """A .tflite file in one resolver. See `runtime.Session`."""

    def __init__(self, runtime: str, data: bytes, threads: int) -> None:
        self.runtime = runtime
        self._data, self._threads = data, threads
        with _without_info():
            self._interpreter = self._load(data)
            names = self._interpreter.get_signature_list()
            self._runners = {name: self._interpreter.get_signature_runner(name) for name in names}
            self._tracer: Interpreter | None = None
            self.provider = self._describe() if runtime == "litert-xnnpack" else f"{runtime.removeprefix('litert-')} kernels"

    def run(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        """Outputs by name, [batch, size] in the file's dtypes, for `x` [batch, size] in the file's input dtype, batch ≥ 1."""
        runner = self._runner(self._runners, signature)
        parts = [_invoke(runner, chunk) for chunk in _chunks(runner, signature, x)]
        return joined(parts)

    def trace(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        """The activations inside a file of ours by the program's names, [batch, size], uint8 or float32.

        An int8 tensor is given as uint8 (+ 128). A tensor that only a port has (such as `y` after one QUANTIZE to uint8) is
        the port's; where there is an int8 tensor behind the port, it is that one.
        """
        if self._tracer is None:
            with _without_info(), warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors.*")
                self._tracer = self._load(self._data, preserve=True)
        self._runner(self._runners, signature)
        runner = self._tracer.get_signature_runner(signature)
        parts = []
        for chunk in _chunks(runner, signature, x):
            _invoke(runner, chunk)
            parts.append(_activations(self._tracer, runner._subgraph_index))
        return joined(parts)

    def _load(self, data: bytes, *, preserve: bool = False) -> Interpreter:
        try:
            interpreter = Interpreter(
                model_content=data,
                num_threads=self._threads,
                experimental_op_resolver_type=RESOLVERS[self.runtime],
                experimental_preserve_all_tensors=preserve,
            )
            interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise FormatError(f"LiteRT refuses the file: {str(error).strip().splitlines()[0]}") from error
        return interpreter

    @staticmethod
    def _runner(runners: Mapping[str, SignatureRunner], signature: str) -> SignatureRunner:
        if signature not in runners:
            raise InputError(f"signature: got {signature!r}, the file has {', '.join(runners) or 'none'}")
        return runners[signature]

    def _describe(self) -> str:
        """Which share of each signature's operations XNNPACK took, and what stayed outside."""
        indices = {name: runner._subgraph_index for name, runner in self._runners.items()} or {"main": 0}
        texts, outside = [], set()
        for name, index in indices.items():
            kept, count = _outside_delegate(self._load(with_primary(self._data, index)))
            texts.append(f"{name} {count - len(kept)} of {count}")
            outside.update(kept)
        rest = f"; builtin kernels: {', '.join(sorted(outside))}" if outside else ""
        return f"XNNPACK: {', '.join(texts)} operations{rest}"


def _chunks(runner: SignatureRunner, signature: str, x: np.ndarray) -> Iterator[np.ndarray]:
    """The batch in pieces, checked against the one input of the signature."""
    (details,) = runner.get_input_details().values()
    return batches(signature, x, np.dtype(details["dtype"]), tuple(details["shape"][1:].tolist()), CHUNK)


def _invoke(runner: SignatureRunner, x: np.ndarray) -> dict[str, np.ndarray]:
    (name,) = runner.get_input_details()
    return runner(**{name: x})


def _activations(interpreter: Interpreter, subgraph: int) -> dict[str, np.ndarray]:
    """Every tensor [batch, size] that still holds its values after an invocation, by the program's names."""
    held = []
    for details in interpreter.get_tensor_details(subgraph):
        if len(details["shape_signature"]) == 2 and details["shape_signature"][0] == -1:
            with suppress(ValueError):  # no data: the runtime fused the tensor away
                held.append((details["name"], interpreter.get_tensor(details["index"], subgraph)))
    return named_activations(held)


def _outside_delegate(interpreter: Interpreter) -> tuple[list[str], int]:
    """(names of the operators of the first subgraph that a delegate left, number of all its operators).

    LiteRT lists the original nodes and then the delegate's. What still runs is what the outputs need, where a tensor comes
    from the delegate if the delegate writes it.
    """
    nodes = interpreter._get_ops_details()
    originals = [node for node in nodes if node["op_name"] != "DELEGATE"]
    delegates = [node for node in nodes if node["op_name"] == "DELEGATE"]
    producers = {tensor: node for node in [*originals, *delegates] for tensor in node["outputs"]}
    waiting = [details["index"] for details in interpreter.get_output_details()]
    running: dict[int, dict] = {}
    while waiting:
        node = producers.get(waiting.pop())
        if node is not None and node["index"] not in running:
            running[node["index"]] = node
            waiting += list(node["inputs"])
    return [node["op_name"] for node in running.values() if node["op_name"] != "DELEGATE"], len(originals)


@contextmanager
def _without_info() -> Iterator[None]:
    """Keep LiteRT's INFO lines, for which the Python API has no switch, off the terminal; any other line passes.

    They come when a delegate is applied the first time.
    """
    lines: list[bytes] = []
    try:
        with quiet() as sink:
            try:
                yield
            finally:
                sink.seek(0)
                lines = [line for line in sink if not line.startswith(b"INFO:")]
    finally:
        os.write(2, b"".join(lines))
