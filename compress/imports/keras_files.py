"""Files of Keras 2 and 3 as a chain of layers: .h5, .hdf5 and .keras, without TensorFlow, without code of the file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tiedae.base.errors import FormatError
from tiedae.base.limits import HDF5_OBJECTS, KERAS_ARRAYS, KERAS_LAYERS, KERAS_OWN, require_sample
from tiedae.config.layer_kinds import Shape

from .chain import Chain, ChainArray, ChainLayer, ChainProduct, ChainReshape, Refused
from .hdf5 import arrays, damage, import_h5py, objects
from .hdf5_attributes import Attributes
from .holders import Held, Holding, read_holder
from .keras_config import TOO_DEEP, KerasLayer, layer_config, layer_configs, order, parsed
from .keras_layers import LEFT_OUT, READERS, PlacedLayer, is_activation, read_layer
from .keras_weights import ArchiveGroup, Group, TopGroup
from .zip_member import open_member, open_whole, read_member

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
"""The members of an archive."""
VARIABLES = "vars"
"""The group of a layer's own arrays in an archive; Keras 3.9 and later write the layer's name there."""
SAVE_WHOLE = 'it has weights and no topology; the file that model.save("model.keras") writes would do'


def read_hdf5(path: Path) -> Chain:
    """A .h5 or .hdf5 file that `model.save` of Keras 2 or 3 wrote. Raises FormatError, and NotInstalledError without h5py."""
    source = str(path)
    window = open_whole(path)
    attributes = Attributes(source, window)
    with damage(source):
        file = import_h5py().File(window, "r")
    config = attributes.text(file, "model_config")
    if config is None:
        with damage(source):
            weights = "layer_names" in file.attrs or "layers" in file or bool(file.visit(_is_variables))
        raise FormatError(f"{source}: {SAVE_WHOLE if weights else 'holds no Keras model'}")
    with damage(source):
        root = file["model_weights"]
    version = attributes.text(file, "keras_version") or attributes.text(root, "keras_version") or "1"
    by_path = dict(arrays(attributes, root))
    by_layer: dict[str, dict[str, ChainArray]] = {}
    listed, layers = 0, dict.fromkeys(attributes.texts(root, "layer_names"))
    if len(layers) > KERAS_LAYERS:
        raise FormatError(f"{source}: lists {len(layers):,} layers, must be {KERAS_LAYERS:,} at most")
    for layer in layers:
        with damage(source):
            names = attributes.texts(root[layer], "weight_names")
        listed += len(names)
        if listed > HDF5_OBJECTS:
            raise FormatError(
                f"{source}: {layer[:60]}: the layers up to it list {listed:,} weights, must be {HDF5_OBJECTS:,} at most"
            )
        missing = [name for name in names if f"{layer}/{name}" not in by_path]
        if missing:
            raise FormatError(f"{source}: {layer}: {missing[0]} is missing")
        by_layer[layer] = {name: by_path[f"{layer}/{name}"] for name in names}
    return _chain(source, f"Keras {version} (HDF5)", parsed(source, config), TopGroup(by_layer))


def read_archive(path: Path) -> Chain:
    """A .keras archive that Keras 2.12 or later wrote. Raises FormatError, and NotInstalledError without h5py."""
    source = str(path)
    config = parsed(source, read_member(path, CONFIG))
    version = parsed(source, read_member(path, METADATA)).get("keras_version", "3")
    window = open_member(path, WEIGHTS)
    attributes = Attributes(source, window)
    with damage(source):
        file = import_h5py().File(window, "r")
    by_path, names, known = {}, {}, {}
    for inner, address, value in objects(attributes, file):
        if isinstance(value, ChainArray):
            by_path[inner] = value
        elif _is_variables(inner):
            if address not in known:
                known[address] = attributes.text(value, "name")
            if known[address] is not None:
                names[inner.rpartition("/")[0]] = known[address]
    return _chain(source, f"Keras {version} (.keras)", config, ArchiveGroup.of(by_path, names))


def _is_variables(name: str) -> bool | None:
    """Whether a group is that of a layer's own arrays, also of one that a class of your own names; None goes on searching."""
    return name.rpartition("/")[2] == VARIABLES or None


def _chain(source: str, format: str, config: Mapping[str, Any], group: Group) -> Chain:
    try:
        model = layer_config(config, "model")
        sample = _sample(model)
        require_sample(model.title, sample or ())
        read = _Read.of(model, group, _Read(sample, sample))
    except RecursionError:
        raise FormatError(f"{source}: {TOO_DEEP}") from None
    except FormatError as error:
        raise FormatError(f"{source}: {error}") from None
    layers = read.layers
    if not read.sample:
        unknown = Refused(model.name, model.class_name, "takes samples of no stated size, such as [null, 640]")
        layers = (*layers, unknown) if any(isinstance(layer, Refused) for layer in layers) else (unknown, *layers)
    own = [each for each in layers if isinstance(each, ChainProduct) and each.class_name not in READERS]
    custom = tuple(dict.fromkeys(each.class_name for each in own))
    return Chain(source, format, read.sample or (), layers, read.left_out, notes=_taken(config, own), custom=custom)


def _taken(config: Mapping[str, Any], own: Sequence[ChainProduct]) -> tuple[str, ...]:
    """What a chain takes for granted of a model: no activation of layers of one's own that name none, and float32."""
    named = set(_with_activation(config))
    linear = ", ".join(layer.title for layer in own if layer.name not in named)
    narrow = ", ".join(sorted(set(re.findall(r'"((?:mixed_)?b?float16)"', json.dumps(config)))))
    return (
        *([f"{linear}: the file names no activation; taken as linear, its code is not read"] if linear else []),
        *([f"it computes in {narrow}; taken in float32"] if narrow else []),
    )


def _with_activation(value: Any) -> Iterator[str]:
    """The names of configurations that state an activation."""
    if isinstance(value, dict):
        if "activation" in value:
            yield str(value.get("name"))
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _with_activation(item)


@dataclass(frozen=True)
class _Seen:
    """How much of a model is read so far; FormatError, naming the layer, for more than a limit."""

    layers: int = 0
    arrays: int = 0
    own: int = 0

    def with_layers(self, model: KerasLayer, count: int) -> _Seen:
        """With the layers of a model."""
        right = "those of a model inside once for each of its calls"
        return replace(self, layers=_limited(model, self.layers + count, KERAS_LAYERS, "layers", right))

    def with_arrays(self, layer: KerasLayer, group: Group) -> _Seen:
        """With the arrays of a layer or a model."""
        right = "those of a layer once for each of its calls"
        return replace(self, arrays=_limited(layer, self.arrays + len(group.all), KERAS_ARRAYS, "arrays", right))

    def with_own(self, layer: KerasLayer) -> _Seen:
        """With a layer of a class of one's own, which is compared with all before it."""
        return replace(self, own=_limited(layer, self.own + 1, KERAS_OWN, "layers of classes of your own", "each call counts"))


def _limited(layer: KerasLayer, count: int, most: int, what: str, right: str) -> int:
    if count > most:
        raise FormatError(f"{layer.title}: has more than {most:,} {what} up to it, must be {most:,} at most, {right}")
    return count


@dataclass(frozen=True)
class _Read:
    """The layers of a model that are read so far. `sample`, `shape`: of the input and of the last output; None: unknown.
    `seen`: how many layers, arrays and layers of classes of one's own, those of each call of a model inside among them."""

    sample: Shape | None
    shape: Shape | None
    layers: tuple[ChainLayer, ...] = ()
    left_out: tuple[str, ...] = ()
    held: Holding = field(default_factory=Holding)
    seen: _Seen = field(default_factory=_Seen)

    @classmethod
    def of(cls, model: KerasLayer, group: Group, before: _Read) -> _Read:
        """A model, with what was read before it in the chain that it is part of: its shape, what is held and seen."""
        read = cls(before.shape, before.shape, held=before.held, seen=before.seen.with_arrays(model, group))
        if not model.is_model:
            return read.then(read_layer(PlacedLayer(model, group, read.shape)), model)
        configs = layer_configs(model)
        indices, broken = order(model, configs)
        read = replace(read, seen=read.seen.with_layers(model, max(len(configs), len(indices))))
        groups = group.layers(configs)
        if broken is not None:
            read = replace(read, layers=(broken,))
        widths = _widths([(configs[i], groups[i]) for i in indices])
        for i, width in zip(indices, widths, strict=True):
            place = PlacedLayer(configs[i], groups[i], _static(configs[i].built_for))
            if broken is None:
                place = replace(place, shape=read.shape or place.shape, following=width)
            read = read.next(place)
        return read

    def next(self, place: PlacedLayer) -> _Read:
        """With a layer more."""
        config, group, shape = place.config, place.group, place.shape
        shape = shape or _sample(config)
        require_sample(config.title, shape or ())
        read = replace(self, shape=shape, sample=self.sample or (None if self.layers else shape))
        if config.class_name == "InputLayer":
            return read
        if config.class_name in LEFT_OUT and not config.custom:
            return replace(read, left_out=(*self.left_out, config.title))
        if config.is_model:
            inner = _Read.of(config, group, read)
            left_out = (*self.left_out, *inner.left_out)
            return replace(inner, sample=read.sample or inner.sample, layers=(*self.layers, *inner.layers), left_out=left_out)
        place = replace(place, shape=shape)
        seen, layers = self.seen.with_arrays(config, group), read_layer(place)
        if any(isinstance(layer, Refused) and layer.custom for layer in layers):
            seen = seen.with_own(config)
            layers = read_holder(place, self.held, layers)
        return replace(read, seen=seen).then(layers, config)

    def then(self, layers: tuple[ChainLayer, ...], config: KerasLayer) -> _Read:
        shape, held = self.shape, self.held
        for layer in layers:
            if isinstance(layer, Refused) and not is_activation(layer):
                shape = None
            elif shape or isinstance(layer, ChainProduct | ChainReshape):
                shape = layer.output(shape or (0,))
            if shape:
                require_sample(config.title, shape)
            if isinstance(layer, ChainProduct):
                held = held.then(Held(config, layer))
        return replace(self, shape=shape, layers=(*self.layers, *layers), held=held)


KEEP_WIDTH = (READERS.keys() | LEFT_OUT) - {"Flatten", "Reshape"}
"""Classes without a kernel that take the last axis which they give."""


def _widths(layers: Sequence[tuple[KerasLayer, Group]]) -> list[int | None]:
    """Behind each layer, the last axis that the next ones take; None where the file does not state it."""
    widths: list[int | None] = [None] * min(len(layers), 1)
    for config, group in layers[:0:-1]:
        widths.append(_width(config, group, widths[-1]))
    return widths[::-1]


def _width(config: KerasLayer, group: Group, behind: int | None) -> int | None:
    """The last axis that a layer takes; `behind`: that of what follows it."""
    if shape := _static(config.built_for):
        return shape[-1]
    if config.custom or config.class_name not in KEEP_WIDTH:
        return None
    kernel = next((array.shape for array in group.own.values() if len(array.shape) > 1), None)
    if kernel is None:
        return behind
    return kernel[-1] if config.class_name.endswith("Transpose") else kernel[-2]


def _sample(config: KerasLayer) -> Shape | None:
    """The shape of a sample that the configuration states; None for an unknown or a free one."""
    values = config.values
    shapes = (values.get(key) for key in ("batch_shape", "batch_input_shape", "build_input_shape"))
    return next((found for shape in (*shapes, config.built_for) if (found := _static(shape))), None)


def _static(shape: Any) -> Shape | None:
    """[null, 640] as (640,)."""
    if not isinstance(shape, list) or len(shape) < 2 or not all(type(size) is int and size > 0 for size in shape[1:]):
        return None
    return tuple(shape[1:])
