"""Which arrays of a Keras file belong to which layer: the layout of .h5 files, and that of .keras archives.

A .h5 file has a group per layer of the model with a list of names, `dense/kernel:0` or `encoder/dense/kernel`; the group of a
nested model has the names of all its layers. An archive has a group per layer, `layers/dense_1/vars/0`, which counts the layers
of a class and not their names: Keras 3.9 and later write the name beside it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

from tiedae.base.errors import FormatError
from tiedae.base.limits import KERAS_ARRAYS

from .chain import ChainArray

CONTAINERS = ("layers", "_layer_checkpoint_dependencies")
"""Where an archive keeps the layers of a model: the second by Keras 2.13 and 2.14."""


class Named(Protocol):
    """A layer of a configuration. `names`: its own, and that of a layer that it wraps. `is_model`: it has layers itself."""

    @property
    def name(self) -> str: ...

    @property
    def names(self) -> tuple[str, ...]: ...

    @property
    def class_name(self) -> str: ...

    @property
    def is_model(self) -> bool: ...


class Group(Protocol):
    """The arrays of a layer. `named`: whether they go by the names of their variables, and not by number."""

    named: ClassVar[bool]

    @property
    def own(self) -> Mapping[str, ChainArray]:
        """Those of the layer itself by name, in Keras' order."""
        ...

    @property
    def all(self) -> Mapping[str, ChainArray]:
        """These, and those of layers inside it."""
        ...

    def layers(self, layers: Sequence[Named]) -> list[Group]:
        """A group for each layer of a model; empty for those without arrays."""
        ...

    def wrapped(self, layer: Named) -> Group:
        """The group of the layer that a wrapper has."""
        ...


@dataclass(frozen=True)
class NamedGroup:
    """A group of a .h5 file: arrays by the names of their variables."""

    named: ClassVar[bool] = True
    own: Mapping[str, ChainArray]

    @property
    def all(self) -> Mapping[str, ChainArray]:
        return self.own

    def layers(self, layers: Sequence[Named]) -> list[Group]:
        """By the layer's name, the last but one of a variable's; layers of one name in the order of their variables."""
        left = _Left.of(self.own)
        return [NamedGroup(left.taken(layer)) for layer in layers]

    def wrapped(self, layer: Named) -> Group:
        return NamedGroup({name: array for name, array in self.own.items() if _within(name.rpartition("/")[0], layer.name)})


@dataclass
class _Left:
    """Arrays by the path of their variables' layer, of which no layer has been found yet. `ends`: paths by each of their ends,
    `parts`: by each of their names. `all`: of all paths together, once they are asked for."""

    arrays: dict[str, dict[str, ChainArray]]
    ends: dict[str, list[str]]
    parts: dict[str, list[str]]
    all: dict[str, ChainArray] | None = None
    given: int = 0

    @classmethod
    def of(cls, arrays: Mapping[str, ChainArray]) -> _Left:
        left = cls(defaultdict(dict), defaultdict(list), defaultdict(list))
        for name, array in arrays.items():
            left.arrays[name.rpartition("/")[0]][name] = array
        for path in left.arrays:
            names = path.split("/")
            for i, name in enumerate(names):
                left.ends["/".join(names[i:])].append(path)
                left.parts[name].append(path)
        return left

    def taken(self, layer: Named) -> Mapping[str, ChainArray]:
        """The arrays of a layer, taken out of those that are left; a model's where no name says it are all, and stay."""
        if layer.is_model:
            paths = dict.fromkeys(self.parts[layer.name.partition("/")[0]])
            return self._taken([path for path in paths if _within(path, layer.name)]) or self._all()
        return self._taken([next((path for path in self.ends[name] if path in self.arrays), None) for name in layer.names])

    def _taken(self, paths: Iterable[str | None]) -> dict[str, ChainArray]:
        found = {name: array for path in paths for name, array in self.arrays.pop(path or "", {}).items() if path is not None}
        self.all = None if found else self.all
        return found

    def _all(self) -> dict[str, ChainArray]:
        if self.all is None:
            self.all = {name: array for part in self.arrays.values() for name, array in part.items()}
            self.given += len(self.all)
        if self.given > KERAS_ARRAYS:
            raise FormatError(f"has models inside whose {len(self.all):,} arrays no name tells apart")
        return self.all


def _within(prefix: str, name: str) -> bool:
    """Whether a variable's path goes through a layer; a layer's name may have slashes itself."""
    return f"/{name}/" in f"/{prefix}/"


@dataclass(frozen=True)
class TopGroup:
    """All layers of a .h5 file, by name."""

    named: ClassVar[bool] = True
    by_layer: Mapping[str, Mapping[str, ChainArray]]

    @property
    def own(self) -> Mapping[str, ChainArray]:
        return self._own

    @cached_property
    def _own(self) -> Mapping[str, ChainArray]:
        return {f"{layer}/{name}": array for layer, arrays in self.by_layer.items() for name, array in arrays.items()}

    @property
    def all(self) -> Mapping[str, ChainArray]:
        return self.own

    def layers(self, layers: Sequence[Named]) -> list[Group]:
        return [NamedGroup(self.by_layer.get(layer.name, {})) for layer in layers]

    def wrapped(self, layer: Named) -> Group:
        return NamedGroup(self.by_layer.get(layer.name, {}))


@dataclass(frozen=True)
class Archive:
    """The arrays of an archive by path. `inside`: the paths in each group. `names`: of layers, by the path of their group."""

    arrays: Mapping[str, ChainArray]
    inside: Mapping[str, Sequence[str]]
    names: Mapping[str, str]


@dataclass(frozen=True)
class ArchiveGroup:
    """A group of an archive."""

    named: ClassVar[bool] = False
    archive: Archive
    path: str = ""

    @classmethod
    def of(cls, arrays: Mapping[str, ChainArray], names: Mapping[str, str]) -> ArchiveGroup:
        """The whole archive. `arrays`: by path. `names`: of layers, by the path of their group."""
        inside: dict[str, list[str]] = defaultdict(list)
        for path in arrays:
            group = path
            while group:
                group = group.rpartition("/")[0]
                inside[group].append(path)
        return cls(Archive(arrays, inside, names))

    @property
    def own(self) -> Mapping[str, ChainArray]:
        return self._own

    @cached_property
    def _own(self) -> Mapping[str, ChainArray]:
        folder = self._join("vars")
        names = [path.rpartition("/") for path in self._inside(folder)]
        numbers = sorted((int(name), name) for group, _, name in names if group == folder and name.isdecimal())
        return {str(i): self.archive.arrays[f"{folder}/{name}"] for i, name in numbers}

    @property
    def all(self) -> Mapping[str, ChainArray]:
        return self._all

    @cached_property
    def _all(self) -> Mapping[str, ChainArray]:
        start = self._join("")
        return {path.removeprefix(start): self.archive.arrays[path] for path in self._inside(self.path)}

    def _inside(self, group: str) -> Sequence[str]:
        return self.archive.inside.get(group, ())

    def _join(self, *names: str) -> str:
        return "/".join((self.path, *names)).lstrip("/")

    def layers(self, layers: Sequence[Named]) -> list[Group]:
        """By the name that the file has beside a group; without names, the groups with arrays of each class in order."""
        groups = list(dict.fromkeys(group for container in CONTAINERS for group in self._groups(container)))
        by_name = {self.archive.names[group]: group for group in groups if group in self.archive.names}
        by_class: dict[str, list[str]] = defaultdict(list)
        for group in sorted(groups, key=_number)[::-1]:
            by_class[_stem(group)].append(group)
        paths = [by_name.get(layer.name) or _next(by_class[snake_case(layer.class_name)], by_name) for layer in layers]
        return [ArchiveGroup(self.archive, path or "?") for path in paths]

    def _groups(self, container: str) -> Iterable[str]:
        """The groups with arrays in a container."""
        start = self._join(container) + "/"
        return (start + path[len(start) :].partition("/")[0] for path in self._inside(start[:-1]))

    def wrapped(self, layer: Named) -> Group:
        return ArchiveGroup(self.archive, self._join("layer"))


def _next(groups: list[str], named: Mapping[str, str]) -> str | None:
    return groups.pop() if groups and not named else None


def _number(group: str) -> int:
    """n of `dense_n`, 0 of `dense`."""
    last = group.rpartition("_")[2]
    return int(last) if last.isdecimal() else 0


def _stem(group: str) -> str:
    name = group.rpartition("/")[2]
    return re.sub(r"_\d+$", "", name)


def snake_case(name: str) -> str:
    """conv2d_transpose of Conv2DTranspose, as Keras' `to_snake_case`."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
