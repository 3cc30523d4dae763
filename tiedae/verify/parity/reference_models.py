"""References for `assert_parity`: Keras models, callables, bundles, files and arrays; their inputs and real values."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tiedae.base.errors import FormatError, InputError
from tiedae.bundle.bundle import Bundle
from tiedae.export.model_file import Contents, Signature, TensorInfo
from tiedae.export.targets import TARGETS, read_model
from tiedae.program.file_io import OFFSET, FileIO
from tiedae.program.interpreter import execute, program_input
from tiedae.program.program import SIGNATURES, require_signature
from tiedae.runtimes.session import Values
from tiedae.runtimes.table import RUNTIMES, usual


def name_inputs(signature: Signature, given: object) -> dict[str, np.ndarray]:
    """Arrays by input name, from a mapping, a sequence in the file's order, or a single array.

    Raises InputError if names, number or shapes differ from the file's.
    """
    inputs = {tensor.name: tensor for tensor in signature.inputs}
    if isinstance(given, Mapping):
        named = {str(name): np.asarray(values) for name, values in given.items()}
    else:
        arrays = given if isinstance(given, list | tuple) and len(inputs) > 1 else [given]
        if len(arrays) != len(inputs):
            raise InputError(f"inputs: got {len(arrays)}, the file takes {len(inputs)}: {', '.join(inputs)}")
        named = {name: np.asarray(values) for name, values in zip(inputs, arrays, strict=True)}
    if named.keys() != inputs.keys():
        raise InputError(f"inputs: got {', '.join(named) or 'none'}, the file takes {', '.join(inputs) or 'none'}")
    for name, values in named.items():
        _require_shape(inputs[name], values)
    return {name: named[name] for name in inputs}


def _require_shape(tensor: TensorInfo, values: np.ndarray) -> None:
    """Raise InputError unless rank and sizes match the input; the batch may have any size."""
    fits = values.ndim == len(tensor.shape) and all(
        want in (None, got) for got, want in zip(values.shape[1:], tensor.shape[1:], strict=True)
    )
    if tensor.shape and not fits:
        shape = ", ".join("any" if size is None else str(size) for size in tensor.shape)
        raise InputError(f"input {tensor.name}: got {list(values.shape)}, the file takes [{shape}]")


def to_stored(tensor: TensorInfo, values: np.ndarray) -> np.ndarray:
    """Convert to the input's dtype: real values are quantized with its scale, values in its dtype stay.

    Raises InputError for an unsupported dtype.
    """
    if values.dtype.name == tensor.dtype:
        return np.ascontiguousarray(values)
    if values.dtype.kind == "f" and tensor.dtype.startswith("float"):
        return values.astype(tensor.dtype)
    if values.dtype.kind == "f" and tensor.scale is not None:
        return tensor.quantize(values)
    raise InputError(f"input {tensor.name}: got {values.dtype.name}, the file takes {tensor.dtype}")


def to_real(tensor: TensorInfo, values: np.ndarray) -> np.ndarray:
    """Convert to real values: quantized ones to float32, floats to the file's float dtype, else float32."""
    if values.dtype.kind == "f":
        return values.astype(tensor.dtype if tensor.dtype.startswith("float") else np.float32)
    return tensor.dequantize(values)


Answer = Callable[[Contents, Signature, Values], Any]
"""(file, signature, real inputs by name) → outputs by name, in the file's order, or a single one."""


def choose_signature(path: Path, contents: Contents, name: str | None) -> Signature:
    """The named signature, or the only one; InputError if there is none, or several without a name."""
    names = [each.name for each in contents.signatures]
    if name is None and len(names) == 1:
        return contents.signatures[0]
    if name not in names:
        raise InputError(f"signature: got {name!r}, must be one of {', '.join(names)} for {path.name}")
    return contents.signatures[names.index(name)]


def run_file(path: Path, signature: Signature, runtime: str, x: Values) -> tuple[str, dict[str, np.ndarray]]:
    """(provider, outputs by name) of a file for inputs in its dtypes; run repeatedly if its batch is fixed.

    Raises FormatError if the runtime rejects the file or the inputs, or it is source text; UnavailableError if the runtime is
    missing.
    """
    if TARGETS[RUNTIMES[runtime].format].source:
        raise FormatError(f"{path}: is source text, whose code would run here; `tiedae verify` compares it in its bundle")
    try:
        session = RUNTIMES[runtime].open({signature.name: path})
        outputs = [session.call(signature.name, piece) for piece in _pieces(signature, x)]
    except FormatError as error:
        raise FormatError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from error
    first, *rest = outputs
    if not rest:
        return session.provider, {name: np.array(values) for name, values in first.items()}
    return session.provider, {name: np.concatenate([values, *(each[name] for each in rest)]) for name, values in first.items()}


def _pieces(signature: Signature, x: Values) -> Iterator[Values]:
    """The inputs, split into chunks of the file's batch if that is fixed."""
    fixed = {tensor.shape[0] for tensor in signature.inputs if tensor.shape and tensor.shape[0] is not None}
    sizes = {values.shape[0] for values in x.values() if values.ndim}
    if len(fixed) != 1 or len(sizes) != 1 or fixed == sizes:
        yield x
        return
    (batch,), (count,) = fixed, sizes
    if not batch or count % batch:
        raise InputError(f"inputs: got {count} samples, the file takes {batch} at a time: must be a multiple of it")
    for start in range(0, count, batch):
        yield {name: values[start : start + batch] for name, values in x.items()}


def answer_of(reference: Any) -> Answer:
    """The answer function of a reference; InputError for an unsupported type."""
    for fits, make in _KINDS:
        if fits(reference):
            return make(reference)
    kinds = "a Keras model, a callable, arrays, a Bundle, or the path of a bundle, a .tflite or an .onnx file"
    raise InputError(f"reference: got {type(reference).__name__}, must be {kinds}")


def needs_inputs(reference: Any) -> bool:
    """Whether the reference is the outputs themselves, so that the caller must pass their inputs."""
    return isinstance(reference, np.ndarray | Mapping | list | tuple)


def own_inputs(reference: Any, contents: Contents, signature: Signature) -> dict[str, np.ndarray] | None:
    """A bundle's golden samples as real values for a file; None for other references and signatures."""
    bundle = _bundle(reference)
    if bundle is None or signature.name not in SIGNATURES or len(signature.inputs) != 1:
        return None
    (tensor,), golden, manifest = signature.inputs, bundle.golden(), bundle.manifest
    if signature.name == "decode":
        code = manifest.tensors.code
        real = ((golden["code"].astype(np.float64) - code.zero_point) * code.scale).astype(np.float32)
    else:
        io = _file_io(bundle, contents)
        real = io.samples(golden["x"]) if io.folded else manifest.data.scaling.apply(golden["x"])
        real = real.reshape(len(real), *tensor.sample[1])
    return {tensor.name: real}


def _bundle(reference: Any) -> Bundle | None:
    if isinstance(reference, str | Path) and Path(reference).is_dir():
        return Bundle.open(Path(reference))
    return reference if isinstance(reference, Bundle) else None


def _file_io(bundle: Bundle, contents: Contents) -> FileIO:
    """Float `x` and `y` of any file for a bundle's samples: in the data's unit of measure if the file computes the scaling."""
    scales = any(each.name == OFFSET for each in contents.constants)
    return FileIO("float32", bundle.manifest.data.scaling if scales else None)


def _of_bundle(reference: Any) -> Answer:
    """A bundle's integer program in the layout of the file's format, in real values."""
    bundle = _bundle(reference)
    assert bundle is not None
    programs = bundle.programs({name: read_model(bundle.path / name) for name in bundle.models})

    def answer(contents: Contents, signature: Signature, x: Values) -> dict[str, np.ndarray]:
        require_signature(signature.name)
        (real,), program, io = x.values(), programs.of(contents.format), _file_io(bundle, contents)
        decodes = signature.name == "decode"
        converts = RUNTIMES[usual(contents.format)].converts
        q = program.quantization("code").quantize(real) if decodes else program_input(program, io.scaled_values(real), converts)
        values = execute(program, signature.name, q)
        outputs = {each.name: program.quantization(each.name).dequantize(values[each.name]) for each in signature.outputs}
        return {name: io.restored(each) if name == "y" else each for name, each in outputs.items()}

    return answer


def _of_file(reference: str | Path) -> Answer:
    """Another file in its default runtime, in real values."""
    path = Path(reference)
    contents = read_model(path)

    def answer(_contents: Contents, signature: Signature, x: Values) -> Any:
        several = len(contents.signatures) > 1
        own = choose_signature(path, contents, signature.name if several else None)
        same = {tensor.name for tensor in own.inputs} == x.keys()
        named = name_inputs(own, x if same else list(x.values()) if len(x) > 1 else next(iter(x.values())))
        stored = {tensor.name: to_stored(tensor, named[tensor.name]) for tensor in own.inputs}
        _, outputs = run_file(path, own, usual(contents.format), stored)
        real = {tensor.name: to_real(tensor, outputs[tensor.name]) for tensor in own.outputs}
        return real if real.keys() == {tensor.name for tensor in signature.outputs} else list(real.values())

    return answer


def _of_tied(model: Any) -> Answer:
    """A `TiedAutoencoder`, by the names of our inputs and outputs."""

    def answer(_contents: Contents, signature: Signature, x: Values) -> dict[str, Any]:
        names = [tensor.name for tensor in signature.outputs]
        with _exact():
            if "code" in x:
                return {"y": model.decoder(x["code"])}
            code, y = model.encode_decode(x["x"])
        return {name: value for name, value in (("code", code), ("y", y)) if name in names}

    return answer


def _of_keras(model: Any) -> Answer:
    """A Keras model; inputs by name if it has the file's names, else in the file's order."""

    def answer(_contents: Contents, signature: Signature, x: Values) -> Any:
        names = set(getattr(model, "input_names", None) or [])
        arrays = list(x.values())
        with _exact():
            return model(
                dict(x) if names == x.keys() and len(names) > 1 else arrays if len(arrays) > 1 else arrays[0], training=False
            )

    return answer


@contextlib.contextmanager
def _exact() -> Iterator[None]:
    """Use the device that `keras_device` finds, without TF32, if TensorFlow is loaded."""
    if "tensorflow" not in sys.modules:
        yield
        return
    from .keras_device import keras_device, on_device

    with on_device(keras_device()):
        yield


def _is_keras(reference: Any) -> bool:
    packages = {kind.__module__.partition(".")[0] for kind in type(reference).__mro__}
    return bool(packages & {"keras", "tf_keras"}) and callable(reference)


_KINDS: Sequence[tuple[Callable[[Any], bool], Callable[[Any], Answer]]] = (
    (lambda reference: _bundle(reference) is not None, _of_bundle),
    (lambda reference: isinstance(reference, str | Path), _of_file),
    (needs_inputs, lambda reference: lambda _contents, _signature, _x: reference),
    (lambda reference: _is_keras(reference) and hasattr(reference, "encode_decode"), _of_tied),
    (_is_keras, _of_keras),
    (callable, lambda reference: lambda _contents, _signature, x: reference(*x.values())),
)
"""Kinds of reference: (predicate, factory of its answer function); the first match applies."""
