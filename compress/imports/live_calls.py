"""Calls of the layers of a live model of Keras 2 or 3: what each computes of what; and changes of variables that are undone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np

from tiedae.base.errors import InputError

SAMPLES = 128
SCALES = (0.1, 1.0, 10.0, 100.0)
"""Of the inputs that are tried: small ones that no sigmoid saturates, and large ones that a bias does not hide."""


def array_of(tensor: Any) -> np.ndarray:
    """A copy of a tensor or variable of any Keras backend."""
    return np.asarray(tensor.detach().cpu() if hasattr(tensor, "detach") else tensor).copy()


def is_keras(model: object) -> bool:
    """Whether it is a model or layer of Keras 2 or 3, found without importing either."""
    packages = {cls.__module__.split(".")[0] for cls in type(model).__mro__}
    return bool(packages & {"keras", "tf_keras"}) and hasattr(model, "weights")


@dataclass(frozen=True)
class LiveCall:
    """One call of a layer, or of an operation of Keras 3, while the model ran. `inner`: the calls in it, in order.

    `x`, `y`: its first argument and its result; None where that is no single array.
    """

    layer: Any
    x: np.ndarray | None
    y: np.ndarray | None
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    inner: tuple[LiveCall, ...]

    @property
    def title(self) -> str:
        """Name and class, as messages call it."""
        return f"{self.layer.name} ({type(self.layer).__name__})"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """What the layer gives now for another x, its other arguments as they were: float64."""
        y = self.layer(x.astype(self.dtype), *self.arguments, **self.options)
        return array_of(y).astype(np.float64)

    @property
    def dtype(self) -> np.dtype:
        """That of x."""
        assert self.x is not None
        return self.x.dtype

    @property
    def steps(self) -> tuple[LiveCall, ...]:
        """The calls, one behind the other, that compute all that this one does; itself where it computes something more."""
        values = [self.x, *(each for call in self.inner for each in (call.x, call.y)), self.y]
        joined = all(_equal(left, right) for left, right in zip(values[::2], values[1::2], strict=True))
        return tuple(step for call in self.inner for step in call.steps) if self.inner and joined else (self,)


def _equal(left: np.ndarray | None, right: np.ndarray | None) -> bool:
    if left is None or right is None:
        return False
    if left.dtype != right.dtype and not {left.dtype.kind, right.dtype.kind} & set("iub"):
        narrow = min(left.dtype, right.dtype, key=lambda dtype: dtype.itemsize)  # mixed precision casts between layers
        left, right = left.astype(narrow), right.astype(narrow)
    return np.array_equal(left, right, equal_nan=True)


def epsilon(dtype: np.dtype) -> float:
    """The relative rounding of a dtype, of bfloat16 and integers too."""
    return float(np.finfo(dtype).eps) if dtype.kind == "f" else 2.0**-7


def random_samples(model: Any) -> np.ndarray:
    """Random samples, float32 [n, …], of the shape that the model takes; InputError where it has no single one."""
    shape = getattr(model, "input_shape", None)
    if isinstance(shape, list | tuple) and len(shape) == 1 and isinstance(shape[0], tuple):
        (shape,) = shape
    if not isinstance(shape, tuple) or not all(isinstance(size, int) for size in shape[1:]):
        raise InputError(f"{model.name}: its input's shape is {shape}: give samples that it takes, inputs=x[:{SAMPLES}]")
    return np.random.default_rng(0).normal(0, 1, (SAMPLES, *shape[1:])).astype(np.float32)


def calls_of(model: Any, x: np.ndarray) -> LiveCall:
    """The call of the model on samples x, as at inference, with all calls in it."""
    calls: list[list[LiveCall]] = [[]]
    with ExitStack() as stack:
        for layer in _parts(model):
            stack.enter_context(_recorded(layer, calls))
        model(x, **({"training": False} if "training" in signature(model.call).parameters else {}))
    return calls[0][-1]


def _parts(model: Any) -> list[Any]:
    """Model, layers and operations, each once."""
    layers = list(model._flatten_layers())
    operations = [part for layer in layers for part in getattr(layer, "operations", [])]
    return list({id(part): part for part in [*layers, *operations]}.values())


@contextmanager
def _recorded(layer: Any, calls: list[list[LiveCall]]) -> Iterator[None]:
    """Record the calls of one layer in the last list of `calls`, by an attribute of its own that is taken away again."""
    attributes, call = vars(layer), layer.call
    before = {"call": attributes["call"]} if "call" in attributes else {}
    attributes["call"] = _recorder(layer, call, calls)
    try:
        yield
    finally:
        del attributes["call"]
        attributes.update(before)


def _recorder(layer: Any, call: Callable[..., Any], calls: list[list[LiveCall]]) -> Callable[..., Any]:
    @functools.wraps(call)
    def recorded(*arguments: Any, **options: Any) -> Any:
        calls.append([])
        try:
            y = call(*arguments, **options)
        finally:
            inner = calls.pop()
        x = _single(arguments[0]) if arguments else None
        calls[-1].append(LiveCall(layer, x, _single(y), arguments[1:], options, tuple(inner)))
        return y

    return recorded


def _single(value: Any) -> np.ndarray | None:
    """A tensor as an array; None for anything else, such as a list of several."""
    return array_of(value) if hasattr(value, "shape") and hasattr(value, "dtype") and len(value.shape) > 1 else None


def variables_of(parts: Iterable[Any]) -> list[Any]:
    """The variables of models and layers, each once."""
    return list({id(variable): variable for part in parts for variable in getattr(part, "weights", [])}.values())


def with_shape(variables: Iterable[Any], shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    """The variables of floats that have one of the shapes."""
    return [each for each in variables if tuple(each.shape) in shapes and "float" in str(each.dtype)]


@contextmanager
def changed(variable: Any, index: Any, value: Any) -> Iterator[None]:
    """The values at an index of a variable are others; afterwards the variable has its bits again, whatever happened."""
    before = array_of(variable)
    after = before.copy()
    after[index] = value
    try:
        variable.assign(after)
        yield
    finally:
        variable.assign(before)


def probes(call: LiveCall, seed: int = 0) -> np.ndarray:
    """Inputs for a layer: some that it had, and random ones of all `SCALES`, float64."""
    assert call.x is not None
    had = call.x[:16].astype(np.float64)
    noise = np.random.default_rng(seed).normal(0, 1, (8, *had.shape[1:]))
    return np.concatenate([had, *(scale * noise for scale in SCALES)])


def acting(call: LiveCall, variables: Iterable[Any]) -> list[Any]:
    """The variables on which the layer's result depends: it is another where all values of one are larger by 1."""
    x = probes(call)
    y, found = call(x), []
    for variable in variables:
        with changed(variable, (...,), array_of(variable) + 1):
            if not np.array_equal(call(x), y, equal_nan=True):
                found.append(variable)
    return found


def reacts(call: LiveCall) -> bool:
    """Whether the layer's result depends on its input."""
    y = call(probes(call))
    return not np.array_equal(y, np.broadcast_to(y[:1], y.shape), equal_nan=True)
