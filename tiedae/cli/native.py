"""Folders of `tiedae package --for android` and `--for ios`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tiedae.apps.model import AppFolder, AppOptions, app_model, golden_count
from tiedae.apps.native.model import NativeModel, c_files
from tiedae.base.records import Record
from tiedae.bundle.bundle import Bundle

from .object_size import ObjectSize, object_size

GOLDEN_SAMPLES = 3


class AddedBytes(Record, frozen=True):
    """Bytes of code and constants: the model with its codec; the functions around it with golden samples."""

    model: int
    functions: int
    compiler: str


class NativeFolder(AppFolder, frozen=True):
    """A library for phones. `added` is that of its C files here, without JNI and Swift; None without a compiler."""

    storage: str
    signatures: tuple[str, ...]
    tae_files: tuple[str, ...]
    added: AddedBytes | None

    @property
    def adds(self) -> list[tuple[str, str]]:
        if self.added is None:
            return [("C files", "unknown: no C compiler, or no `size`, is found here")]
        return [
            ("model and codec", f"{self.added.model:,}"),
            ("functions around it, golden samples", f"{self.added.functions:,}"),
            ("C files", f"{self.added.model + self.added.functions:,} ({self.added.compiler})"),
        ]


def native_folder(
    kind: str, make: Callable[[NativeModel], Mapping[str, bytes]], bundle: Bundle, options: AppOptions
) -> tuple[Mapping[str, bytes], NativeFolder]:
    """The files that `make` gives and what is in them. Raises what `app_model` raises."""
    model = native_model(bundle, options)
    files = make(model)
    sizes = {path: len(data) for path, data in sorted(files.items())}
    return files, NativeFolder(kind, model.name, sizes, options.storage, model.source.signatures, model.promises, _added(model))


def native_model(bundle: Bundle, options: AppOptions) -> NativeModel:
    """A bundle as C with golden samples. Raises what `app_model` raises."""
    model = app_model(bundle, options, golden_count(bundle, GOLDEN_SAMPLES))
    return NativeModel(**vars(model))


def _added(model: NativeModel) -> AddedBytes | None:
    texts, own = c_files(model), f"{model.name}.c"
    model_size: ObjectSize | None = object_size(texts, {own})
    functions = object_size(texts, texts.keys() - {own})
    if model_size is None or functions is None:
        return None
    return AddedBytes(model_size.bytes, functions.bytes, model_size.compiler)
