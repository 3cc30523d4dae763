"""The files that this version writes of a bundle's program, which say how much structure a file of it needs."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from tiedae.base.errors import TiedaeError
from tiedae.bundle.bundle import Bundle, Programs, model_files, write_files
from tiedae.bundle.manifest import Manifest
from tiedae.codec.frames import codec_of_bundle
from tiedae.export.account_check import Needed
from tiedae.export.targets import TARGETS, read_extents


def formats_of(manifest: Manifest) -> tuple[str, ...]:
    """The targets of a bundle: those of its recipe, and of files beside them."""
    return tuple(dict.fromkeys([*manifest.recipe.export.targets, *(info.format for info in manifest.models.values())]))


def needed(bundle: Bundle, programs: Programs) -> Mapping[str, Needed]:
    """What each int8 model file needs, by name; nothing of a target whose files cannot be written."""
    found: dict[str, Needed] = {}
    for target in formats_of(bundle.manifest):
        try:
            found |= _needed(bundle, programs, target)
        except TiedaeError:
            continue
    return found


def _needed(bundle: Bundle, programs: Programs, target: str) -> dict[str, Needed]:
    manifest = bundle.manifest
    codec = codec_of_bundle(bundle) if TARGETS[target].source else None
    config = replace(manifest.recipe.export, targets=(target,))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        files = model_files({"int8": programs}, config, manifest.io, detector=manifest.detector, codec=codec)
    with tempfile.TemporaryDirectory() as folder:
        write_files(Path(folder), files)
        parsed = {name: read_extents(Path(folder) / name) for name in files if name in manifest.models}
        return {name: Needed.of(each) for name, each in parsed.items() if each is not None}
