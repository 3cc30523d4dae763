"""A live Keras model, Keras 2 or 3, as a chain: kernels by what the layers do, the other layers by their configuration.

Each layer of the chain gave, on random inputs, what the model's own layer gave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tiedae.base.errors import FormatError, InputError, NotBuiltError
from tiedae.config.layer_kinds import Shape

from .chain import FUNCTIONS, TOLERANCE, Chain, ChainArray, ChainFunction, ChainLayer, ChainProduct, Refused, stored
from .convolutions import ChainConvolution
from .keras_config import PACKAGES, KerasLayer, layer_config
from .keras_layers import LEFT_OUT, PlacedLayer, read_layer
from .keras_weights import NamedGroup
from .live_calls import LiveCall, acting, array_of, calls_of, epsilon, is_keras, random_samples, variables_of, with_shape
from .live_convolutions import convolutions, moved_convolutions
from .live_kernels import LiveKernel, Reaction, kernel_of

NO_PRODUCT = (
    f"computes more than x · kernel + bias and an activation ({', '.join(FUNCTIONS)}); a layer for each product would do"
)

NO_TRANSPOSE = "which is not the transpose of its convolution; conv2d_transpose takes the kernel as it is"
Convolutions = Callable[[tuple[str, str], ChainArray, Shape, Shape], Iterator[ChainConvolution]]


def chain_of_model(model: Any, inputs: np.ndarray | None = None) -> Chain:
    """A live model of Keras 2 or 3 as a chain, whose arrays are read from its variables when they are asked for.

    `inputs`: samples [n, …] that the model takes, by default random ones of its input's shape. A layer that computes what no
    chain has is `Refused`, with the reason. All variables are as before. Raises InputError for what is no model that runs.
    """
    live = LiveModel.of(model, inputs)
    steps = list(live.steps())
    left_out = tuple(step.call.title for step in steps if not step.layers)
    layers = tuple(layer for step in steps for layer in step.layers)
    return Chain(live.name, live.format, live.x.shape[1:], layers, left_out)


@dataclass(frozen=True)
class LiveStep:
    """A call of a layer as layers of a chain. `reaction`: to the kernels of the model; "acts" where it multiplies by one."""

    call: LiveCall
    layers: tuple[ChainLayer, ...]
    reaction: Reaction


@dataclass(frozen=True)
class LiveModel:
    """A model that ran on samples x [n, …]: its steps, each behind the one before, and its variables."""

    name: str
    format: str
    x: np.ndarray
    calls: tuple[LiveCall, ...]
    variables: tuple[Any, ...]

    @classmethod
    def of(cls, model: Any, inputs: np.ndarray | None = None) -> LiveModel:
        """Run a model on samples, or random ones; InputError where that cannot be."""
        if not is_keras(model):
            raise InputError(f"model: got {type(model).__name__}, must be a model of Keras 2 or 3")
        if not model.built:
            raise NotBuiltError(f"{model.name}: has no variables yet: build it, or call it on samples first")
        x = random_samples(model) if inputs is None else np.asarray(inputs)
        calls = calls_of(model, x).steps
        package = "Keras 2" if any(each.__module__.startswith("tf_keras.") for each in type(model).__mro__) else "Keras 3"
        return cls(model.name, f"{package} (live)", x, calls, tuple(variables_of([model, *(call.layer for call in calls)])))

    def stored(self, variable: Any) -> ChainArray:
        """A variable as an array of a chain, which is read when it is asked for."""
        place = next(i for i, other in enumerate(self.variables) if other is variable)
        name = getattr(variable, "path", variable.name).removesuffix(":0")
        dtype = getattr(variable.dtype, "name", str(variable.dtype))
        return ChainArray(f"{name} (variable {place})", tuple(variable.shape), lambda: array_of(variable), dtype)

    def steps(self) -> Iterator[LiveStep]:
        """What each step computes."""
        for call in self.calls:
            kernel, reaction = kernel_of(call, self.variables)
            yield LiveStep(call, self._product(call, kernel) if kernel else self._without_kernel(call), reaction)

    def _without_kernel(self, call: LiveCall) -> tuple[ChainLayer, ...]:
        """By its configuration, and where that does not do by what it computes."""
        known = self._by_configuration(call) if _is_own(call) else (_refused(call, NO_PRODUCT, self._own(call)),)
        if call.x is None or call.y is None or not any(isinstance(layer, Refused) for layer in known):
            return known
        computed = next((layers for layers in self._computing(call) if _gives(call, layers)), None)
        return (self.moved(call) or known) if computed is None else computed

    def moved(self, call: LiveCall) -> tuple[ChainLayer, ...]:
        """A layer that is refused since it takes a kernel of a convolution with its axes in another order; () for others."""
        for kernel in self.filters(call):
            for layer, *_ in self._over(call, kernel, moved_convolutions):
                assert isinstance(layer, ChainConvolution)
                return (_refused(call, f"takes the kernel {layer.kernel.variable}, {NO_TRANSPOSE}", {kernel.variable: kernel}),)
        return ()

    def _product(self, call: LiveCall, kernel: LiveKernel) -> tuple[ChainLayer, ...]:
        before = None if kernel.before is None else self.stored(kernel.before)
        product = ChainProduct(*_names(call), self.stored(kernel.variable), None, kernel.transposed, before=before)
        if layers := self._finished(call, product):
            return layers
        return self._by_configuration(call) if _is_own(call) else (product, _refused(call, f"is a product and {NO_PRODUCT}"))

    def _finished(self, call: LiveCall, product: ChainProduct) -> tuple[ChainLayer, ...]:
        """A product with the bias and the activation with which it gives what the layer gave; () where none does."""
        for bias in (*self._acting(call, product.channels), None):
            whole = replace(product, bias=bias)
            for function in FUNCTIONS:
                layers = (whole,) if function == "linear" else (whole, ChainFunction(*_names(call), function))
                if _gives(call, layers):
                    return layers
        return ()

    def _acting(self, call: LiveCall, size: int) -> list[ChainArray]:
        """The vectors of a size on which the layer's result depends."""
        return [self.stored(each) for each in acting(call, with_shape(self.variables, [(size,)]))]

    def _by_configuration(self, call: LiveCall) -> tuple[ChainLayer, ...]:
        """A layer of Keras by its configuration, refused where it does not compute what that says."""
        config = _config(call.layer)
        if config.class_name in LEFT_OUT:
            return ()
        named = self._own(call)
        if call.x is None or call.y is None:
            return (_refused(call, "takes or gives several tensors; each layer of a chain takes 1 and gives 1", named),)
        try:
            layers = read_layer(PlacedLayer(config, NamedGroup(named), call.x.shape[1:]))
        except FormatError as error:
            return (_refused(call, str(error).removeprefix(f"{config.title}: "), named),)
        if any(isinstance(layer, Refused) for layer in layers) or _gives(call, layers):
            return layers
        return (_refused(call, f"computes something else than its configuration says of a {config.class_name}", named),)

    def _computing(self, call: LiveCall) -> Iterator[tuple[ChainLayer, ...]]:
        """What a layer may compute that multiplies by no variable: nothing, an activation, a product by a constant."""
        yield ()
        yield from ((ChainFunction(*_names(call), function),) for function in FUNCTIONS)
        for kernel in self.filters(call):
            yield from self._over(call, kernel, convolutions)
        yield from (layers for product in self._of_constants(call) if (layers := self._finished(call, product)))

    def filters(self, call: LiveCall) -> list[ChainArray]:
        """The kernels of convolutions on which the layer's result depends."""
        if call.x is None or call.y is None or call.x.ndim not in (3, 4) or call.x.ndim != call.y.ndim:
            return []
        pair = sorted((call.x.shape[-1], call.y.shape[-1]))
        possible = [
            each
            for each in self.variables
            if len(each.shape) == call.x.ndim and sorted(each.shape[-2:]) == pair and "float" in str(each.dtype)
        ]
        return [self.stored(each) for each in acting(call, possible)]

    def _over(self, call: LiveCall, kernel: ChainArray, by: Convolutions) -> Iterator[tuple[ChainLayer, ...]]:
        """The layers by a convolution over a kernel that give what the layer gave."""
        assert call.x is not None and call.y is not None
        for product in by(_names(call), kernel, call.x.shape[1:], call.y.shape[1:]):
            if layers := self._finished(call, product):
                yield layers

    def _own(self, call: LiveCall) -> dict[str, ChainArray]:
        return {each.name: self.stored(each) for each in variables_of([call.layer])}

    def _of_constants(self, call: LiveCall) -> Iterator[ChainProduct]:
        """The products with matrices that the layer has and that are no variables, such as a kernel transposed in `build`."""
        assert call.x is not None and call.y is not None
        inputs, units = call.x.shape[-1], call.y.shape[-1]
        befores = [*self._acting(call, inputs), None]
        for name, values in _constants(call, call.x.ndim):
            kernel = stored(f"{name} of {call.title}", values)
            yield from convolutions(_names(call), kernel, call.x.shape[1:], call.y.shape[1:])
            for transposed in (False, True):
                if values.shape == ((units, inputs) if transposed else (inputs, units)):
                    yield from (ChainProduct(*_names(call), kernel, None, transposed, before=before) for before in befores)


def _is_own(call: LiveCall) -> bool:
    """Whether it is a layer of Keras itself, and no model, so that its configuration says what it computes."""
    is_layer = hasattr(call.layer, "weights") and not hasattr(call.layer, "layers")
    return is_layer and type(call.layer).__module__.split(".")[0] in PACKAGES


def _config(layer: Any) -> KerasLayer:
    """The configuration as a file has it, which knows no tuples."""
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in layer.get_config().items()}
    return layer_config({"class_name": type(layer).__name__, "config": values, "module": PACKAGES[0]}, layer.name)


def _names(call: LiveCall) -> tuple[str, str]:
    return call.layer.name, type(call.layer).__name__


def _refused(call: LiveCall, reason: str, weights: Mapping[str, ChainArray] | None = None) -> Refused:
    return Refused(*_names(call), reason, weights or {}, custom=not _is_own(call))


def _gives(call: LiveCall, layers: tuple[ChainLayer, ...]) -> bool:
    """Whether the layers give what the layer gave, as exactly as its dtype allows for the terms of a product."""
    assert call.x is not None and call.y is not None
    y, eps, terms = call.x.astype(np.float64), epsilon(call.y.dtype), 0.0
    for layer in layers:
        if isinstance(layer, ChainProduct):
            sizes = replace(layer, kernel=stored("sizes", np.abs(layer.kernel.read())), bias=None, before=None)
            terms = max(terms, float(sizes.apply(np.abs(y)).max()))
        y = layer.apply(y)
    allowed = max(TOLERANCE, 4 * eps) * np.abs(call.y).max() + 4 * eps * terms
    return y.shape == call.y.shape and bool(np.abs(y - call.y).max() <= allowed)


def _constants(call: LiveCall, axes: int) -> Iterator[tuple[str, np.ndarray]]:
    """The matrices, and arrays of `axes`, among the attributes and arguments of a layer, lists of them too, that are no
    variables."""
    for name, value in [*vars(call.layer).items(), ("argument", call.arguments), *call.options.items()]:
        for each in value if isinstance(value, list | tuple) else [value]:
            shape: Any = getattr(each, "shape", None)  # a method of a module such as Normalization's backend
            shape = () if callable(shape) or shape is None else shape
            if len(shape) in (2, axes) and not hasattr(each, "_keras_history") and not hasattr(each, "assign"):
                yield name, array_of(each)
