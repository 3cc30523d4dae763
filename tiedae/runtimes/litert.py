"""Runs .tflite files in LiteRT with three of its op resolvers.

litert-xnnpack     LiteRT's default: the XNNPACK delegate, and builtin kernels for the rest
litert-builtin     optimized builtin kernels, no delegate
litert-reference   reference kernels, no delegate
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cached_property, partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType, SignatureRunner

from tiedae.base.errors import FormatError
from tiedae.export.tflite.reader import has_fixed_batch, named_activations, reached, with_primary

from .native_output import quiet
from .session import Bound, HeldFile, Sample, Session, Values, in_batches, one_file, served

RESOLVERS: Mapping[str, OpResolverType] = {
    "litert-xnnpack": OpResolverType.AUTO,
    "litert-builtin": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    "litert-reference": OpResolverType.BUILTIN_REF,
}
CHUNK = 1024
"""Samples per call, which bounds the memory of the activations."""
TURN = 16
"""Samples that an interpreter of one sample a call takes at a time, where there is one for each thread."""


_Run = Callable[["LiteRTSession", str, np.ndarray], dict[str, np.ndarray]]


class LiteRTSession(Session):
    """A memory-mapped .tflite file with one op resolver; see `Session`. Later loads read the file that was opened (`HeldFile`).

    A file of one sample a call has no work to divide: there each of the `threads` has an interpreter of its own.
    Raises FormatError if LiteRT rejects it.
    """

    def __init__(self, runtime: str, files: Mapping[str, Path], *, threads: int = 1) -> None:
        path = one_file(runtime, files)
        self.runtime, self._threads, self._held = runtime, threads, HeldFile(path)
        if not path.stat().st_size:
            raise FormatError("LiteRT refuses the file: it is empty")
        with _without_info(), _refusals():
            self._interpreter = self._load(self._held.path)
            names = self._interpreter.get_signature_list()
            self._runners = {name: self._interpreter.get_signature_runner(name) for name in names}
            self._places = {name: _places(runner) for name, runner in self._runners.items()}
            self._samples = {name: _sample(runner) for name, runner in self._runners.items() if len(self._places[name][0]) == 1}
            self._allocated: dict[str, int] = {}
            alone = runtime != "litert-xnnpack" and has_fixed_batch(self._held.path.read_bytes())
            self._chunk = 1 if alone else CHUNK
            self._lock = threading.Lock()
        more = threads - 1 if alone else 0
        self._others = [LiteRTSession(runtime, dict.fromkeys(files, self._held.path)) for _ in range(more)]

    @cached_property
    def provider(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The operations of each signature that XNNPACK runs and those left to builtin kernels; else the kind of kernels."""
        if self.runtime != "litert-xnnpack":
            return f"{self.runtime.removeprefix('litert-')} kernels"
        data = self._held.path.read_bytes()
        indices = {name: runner._subgraph_index for name, runner in self._runners.items()} or {"main": 0}
        texts, outside = [], set()
        with _without_info(), _refusals():
            for name, index in indices.items():
                kept, count = _outside_delegate(self._load(with_primary(data, index)))
                texts.append(f"{name} {count - len(kept)} of {count}")
                outside.update(kept)
        rest = f"; builtin kernels: {', '.join(sorted(outside))}" if outside else ""
        return f"XNNPACK: {', '.join(texts)} operations{rest}"

    def run(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        served(self.runtime, signature, self._runners)
        return self._spread(LiteRTSession._run, signature, x)

    def _run(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        return in_batches(partial(self._invoke, signature), signature, x, self._samples[signature], self._chunk)

    def _spread(self, run: _Run, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        """Run samples here or, some at a time, in whichever of the interpreters is free."""
        if not self._others or len(x) <= TURN:
            return run(self, signature, x)
        free: SimpleQueue[LiteRTSession] = SimpleQueue()
        for session in (self, *self._others):
            free.put(session)

        def turn(start: int) -> dict[str, np.ndarray]:
            session = free.get()
            try:
                return run(session, signature, x[start : start + TURN])
            finally:
                free.put(session)

        with ThreadPoolExecutor(1 + len(self._others)) as pool:
            parts = list(pool.map(turn, range(0, len(x), TURN)))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _invoke(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        """Run a batch; where the last one had its size, without the allocations of a signature runner's call."""
        runner = self._runners[signature]
        inputs, outputs = self._places[signature]
        with self._lock:
            if self._allocated.get(signature) != len(x):
                self._allocated[signature] = len(x)
                return runner(**{name: x for name in inputs})
            wrapper, subgraph = runner._interpreter_wrapper, runner._subgraph_index
            for index in inputs.values():
                wrapper.SetTensor(index, x, subgraph)
            wrapper.Invoke(subgraph)
            return {name: wrapper.GetTensor(index, subgraph) for name, index in outputs.items()}

    @cached_property
    def _tracer(self) -> Interpreter:
        """The file with the values of all tensors kept."""
        with _without_info(), _refusals(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors.*")
            return self._load(self._held.path, preserve=True)

    def trace(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        """See `Session.trace`. For an input or output of another dtype, the int8 tensor behind it is returned."""
        served(self.runtime, signature, self._runners)
        for session in (self, *self._others):
            assert session._tracer  # opened in this thread: it hides what LiteRT prints
        return self._spread(LiteRTSession._trace, signature, x)

    def _trace(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        tracer, runner = self._tracer, self._tracer.get_signature_runner(signature)
        (name,) = runner.get_input_details()
        subgraphs = reached(self._held.path.read_bytes(), runner._subgraph_index)

        def traced(chunk: np.ndarray) -> dict[str, np.ndarray]:
            runner(**{name: chunk})
            return _activations(tracer, subgraphs)

        return in_batches(traced, signature, x, _sample(runner), self._chunk)

    def call(self, signature: str, inputs: Values) -> Values:
        if not self._runners:
            return self._checked(_run_primary, self._interpreter, list(inputs.values()))
        self._allocated.pop(signature, None)
        return self._checked(served(self.runtime, signature, self._runners), **inputs)

    def kept(self, signature: str, inputs: Values, places: Collection[tuple[int, int]]) -> dict[tuple[int, int], np.ndarray]:
        """Run a file as `call` does; returns the inner tensors at (subgraph, index) that the run computed."""
        if not self._runners:
            self._checked(_run_primary, self._tracer, list(inputs.values()))
        else:
            self._checked(self._tracer.get_signature_runner(signature), **inputs)
        found = {}
        for subgraph, index in places:
            with suppress(ValueError):  # raised for a tensor without a value
                found[subgraph, index] = self._tracer.get_tensor(index, subgraph)
        return found

    def _checked(self, call: Callable[..., Values], *arguments: Any, **inputs: Any) -> Values:
        try:
            return call(*arguments, **inputs)
        except (ValueError, RuntimeError, TypeError) as error:
            raise FormatError(f"{self.runtime} refuses to run it: {' '.join(str(error).split())}") from error

    def bind(self, signature: str, x: np.ndarray) -> Bound:
        runner = served(self.runtime, signature, self._runners)
        (name,) = runner.get_input_details()
        wrapper, subgraph = runner._interpreter_wrapper, runner._subgraph_index

        def call() -> object:
            self._allocated.pop(signature, None)
            return runner(**{name: x})

        call()
        return Bound(lambda: wrapper.Invoke(subgraph), call)

    def _load(self, source: bytes | Path, *, preserve: bool = False) -> Interpreter:
        with _refusals():
            interpreter = Interpreter(
                model_path=str(source) if isinstance(source, Path) else None,
                model_content=source if isinstance(source, bytes) else None,
                num_threads=self._threads,
                experimental_op_resolver_type=RESOLVERS[self.runtime],
                experimental_preserve_all_tensors=preserve,
            )
            interpreter.allocate_tensors()
        return interpreter


@contextmanager
def _refusals() -> Iterator[None]:
    """Errors of the interpreter, and of its readers of names and types, as FormatError."""
    try:
        yield
    except (ValueError, RuntimeError, TypeError, KeyError) as error:
        raise FormatError(f"LiteRT refuses the file: {' '.join(str(error).split())}") from error


def _places(runner: SignatureRunner) -> tuple[dict[str, int], dict[str, int]]:
    """The index of each input and output tensor by its name."""
    inputs, outputs = runner.get_input_details(), runner.get_output_details()
    return {name: each["index"] for name, each in inputs.items()}, {name: each["index"] for name, each in outputs.items()}


def _sample(runner: SignatureRunner) -> Sample:
    (details,) = runner.get_input_details().values()
    return np.dtype(details["dtype"]), tuple(details["shape"][1:].tolist())


def _run_primary(interpreter: Interpreter, inputs: Sequence[np.ndarray]) -> Values:
    """Run the first subgraph of a file without signatures, inputs in order."""
    details = interpreter.get_input_details()
    for each, values in zip(details, inputs, strict=True):
        interpreter.resize_tensor_input(each["index"], values.shape)
    interpreter.allocate_tensors()
    for each, values in zip(details, inputs, strict=True):
        interpreter.set_tensor(each["index"], values)
    interpreter.invoke()
    return {each["name"]: interpreter.get_tensor(each["index"]) for each in interpreter.get_output_details()}


def _activations(interpreter: Interpreter, subgraphs: Sequence[int]) -> dict[str, np.ndarray]:
    """All tensors with a dynamic batch that hold values after an invocation, by the program's names."""
    held = []
    for subgraph in subgraphs:
        for details in interpreter.get_tensor_details(subgraph):
            if details["shape_signature"][:1].tolist() == [-1]:
                with suppress(ValueError):  # raised for a tensor that was fused away
                    held.append((details["name"], interpreter.get_tensor(details["index"], subgraph)))
    return named_activations(held)


def _outside_delegate(interpreter: Interpreter) -> tuple[list[str], int]:
    """(operators of the first subgraph that no delegate runs, total number of its operators).

    LiteRT lists the original nodes, then the delegates. The nodes that run are found from the outputs backwards; a delegate
    takes precedence as the producer of a tensor.
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


def _without_info() -> AbstractContextManager[object]:
    """Hide the INFO lines that LiteRT logs when it applies a delegate, for which the Python API has no switch."""
    return quiet(passes=lambda line: not line.startswith(b"INFO:"))
