"""The configuration that a Keras file holds as JSON: its layers, and in which order they compute."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tiedae.base.errors import FormatError
from tiedae.base.limits import KERAS_CONFIG

from .chain import Refused

MODELS = ("Sequential", "Functional", "Model")
"""Classes of models whose layers the file names; `Model` is what Keras called a functional one until 2.4."""
PACKAGES = ("keras", "tf_keras", "tensorflow", "tensorflow_model_optimization")
"""Those whose classes mean what `keras_layers.READERS` says; a class of another one is the model's own."""
TOO_DEEP = "its configuration is nested too deep"
WRAPPED = "layer"
"""Under what a wrapper's configuration has its layer."""


@dataclass(frozen=True)
class KerasLayer:
    """A layer of a configuration. `values`: its own. `nodes`: for each time it is called, the outputs that it takes.

    `shared`: the number by which the file refers to the same object elsewhere. `custom`: of a class that is not Keras' own;
    `known`: the file says that it is Keras' own.
    """

    name: str
    class_name: str
    values: Mapping[str, Any]
    nodes: tuple[tuple[Output, ...], ...] = ()
    shared: int | None = None
    custom: bool = False
    known: bool = False
    built_for: Any = None

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"{self.name} ({self.class_name})"

    @property
    def is_model(self) -> bool:
        """Whether it has layers of its own, which the file names."""
        return self.class_name in MODELS and not self.custom

    @property
    def inner(self) -> KerasLayer | None:
        """The layer that a wrapper has."""
        return layer_config(self.values[WRAPPED], self.title) if isinstance(self.values.get(WRAPPED), dict) else None

    @property
    def names(self) -> tuple[str, ...]:
        """Its name, and that of a layer that it wraps."""
        inner = self.inner
        return (self.name,) if inner is None else (inner.name, self.name)

    def value(self, key: str, *types: type, default: Any = ...) -> Any:
        """A value of one of some types; FormatError, with layer and key, for another one or where there is none."""
        value = self.values.get(key, default)
        if value is ... or not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            got = "none" if value is ... else repr(value)[:60]
            raise FormatError(f"{self.title}: {key}: got {got}, must be {' or '.join(each.__name__ for each in types)}")
        return value


@dataclass(frozen=True)
class Output:
    """An output of a layer: which call of it, and which of its tensors."""

    layer: str
    call: int
    tensor: int


def parsed(source: str, data: str | bytes) -> dict[str, Any]:
    """JSON of a file; FormatError where it is damaged, too long or no object."""
    if len(data) > KERAS_CONFIG:
        raise FormatError(f"{source}: its configuration has {len(data):,} bytes, must have {KERAS_CONFIG:,} at most")
    try:
        value = json.loads(data)
    except RecursionError:
        raise FormatError(f"{source}: {TOO_DEEP}") from None
    except ValueError as error:
        raise FormatError(f"{source}: its configuration is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise FormatError(f"{source}: its configuration is a {type(value).__name__}, must be an object")
    return value


def layer_config(entry: Any, parent: str) -> KerasLayer:
    """A layer, or a model, of an entry of the configuration; FormatError, naming the parent, where it is none."""
    if not isinstance(entry, dict) or not isinstance(entry.get("class_name"), str):
        raise FormatError(f"{parent}: got {repr(entry)[:60]}, must be a layer with its class_name")
    package, _, class_name = entry["class_name"].rpartition(">")
    values = entry.get("config", {})
    if isinstance(values, list):
        values = {WRAPPED + "s": values}
    if not isinstance(values, dict):
        raise FormatError(f"{parent}: {class_name}: config: got {repr(values)[:60]}, must be an object")
    module = str(entry.get("module", "keras"))
    custom = bool(package) or module.split(".")[0] not in PACKAGES
    name = values.get("name", entry.get("name", class_name))
    built, calls = entry.get("build_config"), entry.get("inbound_nodes", [])
    if not isinstance(calls, list):
        raise FormatError(f"{parent}: {class_name}: inbound_nodes: got {repr(calls)[:60]}, must be a list")
    return KerasLayer(
        str(name),
        class_name,
        values,
        tuple(tuple(_outputs(node)) for node in calls),
        entry.get("shared_object_id") if isinstance(entry.get("shared_object_id"), int) else None,
        custom,
        not custom and "module" in entry,
        built.get("input_shape") if isinstance(built, dict) else None,
    )


def _outputs(value: Any) -> Iterator[Output]:
    """Every output that a call takes, in any argument: ["dense", 0, 0, …] of Keras 2, keras_history of Keras 3."""
    if isinstance(value, dict):
        yield from _outputs(value["keras_history"] if "keras_history" in value else list(value.values()))
    elif isinstance(value, list):
        if len(value) >= 3 and isinstance(value[0], str) and all(type(item) is int for item in value[1:3]):
            yield Output(value[0], value[1], value[2])
            value = value[3:]
        for item in value:
            yield from _outputs(item)


def layer_configs(model: KerasLayer) -> list[KerasLayer]:
    """The layers of a model."""
    return [layer_config(entry, model.title) for entry in model.value("layers", list)]


def order(model: KerasLayer, layers: Sequence[KerasLayer]) -> tuple[list[int], Refused | None]:
    """The layers of a model in the order in which they compute, a layer that is called twice two times; and what is no chain.

    A model with several outputs, or a layer that joins tensors, is no chain: then all layers, as the file lists them.
    """
    if model.class_name == "Sequential":
        return list(range(len(layers))), None
    whole = list(range(len(layers)))
    outputs = list(_outputs(model.value("output_layers", list)))
    if len(outputs) != 1:
        return whole, Refused(model.name, model.class_name, f"has {len(outputs)} outputs, must have 1")
    index = {layer.name: i for i, layer in enumerate(layers)}
    skipped = _skipped(layers, outputs)
    chain: list[int] = []
    output, seen = outputs[0], set()
    while output.layer in index and (output.layer, output.call) not in seen:
        seen.add((output.layer, output.call))
        layer = layers[index[output.layer]]
        chain.append(index[output.layer])
        if not layer.nodes:
            return chain[::-1], None
        call = output.call - skipped.get(layer.name, 0)
        if not 0 <= call < len(layer.nodes):
            break
        taken = set(layer.nodes[call])
        if output.tensor or len(taken) != 1:
            joins = f"gives {output.tensor + 1} tensors" if output.tensor else f"takes {len(taken)} tensors"
            return whole, Refused(layer.name, layer.class_name, f"{joins}; each layer of a chain takes 1 and gives 1")
        output = taken.pop()
    raise FormatError(f"{model.title}: refers to call {output.call} of {output.layer[:60]}, which it does not have")


def _skipped(layers: Sequence[KerasLayer], outputs: Sequence[Output]) -> dict[str, int]:
    """By model, 1 where references count the call that made it as its first, which Keras 2 does and does not list."""
    last: dict[str, int] = {}
    for output in itertools.chain(outputs, *(node for layer in layers for node in layer.nodes)):
        last[output.layer] = max(output.call, last.get(output.layer, 0))
    return {layer.name: int(last.get(layer.name, 0) >= len(layer.nodes)) for layer in layers if layer.is_model}
