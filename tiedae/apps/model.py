"""What every folder for an application is made of: the program of a bundle as C, with golden samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tiedae.base.errors import InputError
from tiedae.base.records import Record
from tiedae.bundle.bundle import Bundle, tables_name
from tiedae.codec.backends import ProgramBackend, program_of
from tiedae.codec.frames import FileModel
from tiedae.codec.header import SAMPLES_PER_FRAME as USUAL
from tiedae.codec.header import most_per_frame
from tiedae.config.sample_spec import SampleSpec
from tiedae.export.c.codec_source import DIRECTIONS, PROMISES, Promise
from tiedae.export.c.entries import signatures_of
from tiedae.export.c.kernels import Storage
from tiedae.export.c.samples import DataUnit
from tiedae.export.c.source import CSource, to_c
from tiedae.program.program import Program
from tiedae.program.scoring import Detector

from .c.core import Core
from .c.golden import GoldenSamples, golden_samples

GOLDEN_BYTES = 1 << 15
"""Of golden samples that an application holds at most, unless it is one."""
SAMPLES_PER_FRAME = 2
"""Of golden .tae files: few, since the check of C sources keeps a frame in memory."""


class AppFolder(Record, frozen=True):
    """What was written: the kind in `APPS`, the model's name in it, bytes by file."""

    kind: str
    name: str
    files: dict[str, int]

    @property
    def memory(self) -> list[tuple[str, str]]:
        """What takes memory in the application, and how much, for people."""
        return []

    @property
    def adds(self) -> list[tuple[str, str]]:
        """Bytes that an application becomes larger by, for people."""
        return []


@dataclass(frozen=True)
class AppOptions:
    """`storage` of kernels, see `export.c.kernels`; `signatures` that the application calls, by default all; kinds of .tae
    `files`, by default the kind's own choice; the `core` that C sources are for; the source of `samples` that a page shows, by
    default the golden ones."""

    storage: Storage = "dense"
    signatures: Sequence[str] | None = None
    files: Sequence[Promise] | None = None
    core: Core | None = None
    samples: str | None = None


@dataclass(frozen=True)
class AppKind:
    """What a folder holds, and the function that makes its files by path and says what is in them."""

    summary: str
    make: Callable[[Bundle, AppOptions], tuple[Mapping[str, bytes], AppFolder]]


@dataclass(frozen=True)
class AppModel:
    """A bundle as C with golden samples. `frame`: samples of a frame of .tae files, as its recipe says."""

    program: Program
    source: CSource
    golden: GoldenSamples
    spec: SampleSpec
    detector: Detector | None
    frame: int = field(default=USUAL, kw_only=True)

    @property
    def per_frame(self) -> int:
        """`frame`, or as many samples as a frame can hold."""
        return min(self.frame, self.most_per_frame)

    @property
    def most_per_frame(self) -> int:
        """Samples of a frame at most."""
        return most_per_frame(self.spec)

    @property
    def promises(self) -> tuple[Promise, ...]:
        """Kinds of .tae files that it has, none without tables, lossy ones alone without the decoder."""
        decodes = "decode" in self.source.signatures
        return tuple(file.kind for file in self.golden.files if decodes or file.kind == "lossy")


def golden_count(bundle: Bundle, most: int) -> int:
    """How many golden samples an application holds."""
    return max(1, min(most, GOLDEN_BYTES // (bundle.manifest.data.spec.inputs * 8)))


def app_model(bundle: Bundle, options: AppOptions, samples: int, *, spread: bool = True) -> AppModel:
    """That of a bundle, with at most `samples` of its golden samples, spread over all or the first.

    Raises what `to_c` raises, InputError for .tae files of signatures that have none, FormatError for a damaged bundle.
    """
    manifest, codec, model = bundle.manifest, None, None
    held = signatures_of(options.signatures, manifest.detector)
    coded = not {*DIRECTIONS}.isdisjoint(held)
    if options.files and not coded:
        raise InputError(f"--files {','.join(options.files)}: must be none or left out, --signatures score has no .tae files")
    if options.files and "decode" not in held and "lossy" not in options.files:
        raise InputError(
            f"--files {','.join(options.files)}: must have lossy, --signatures {','.join(held)} writes no other files"
        )
    if tables_name(manifest.name) in manifest.files and coded and (options.files is None or options.files):
        model = FileModel.of(bundle)
        codec = model.coding
    spec, maps = manifest.data.spec, manifest.integer_maps
    backend = ProgramBackend(program_of(bundle), spec, manifest.io, maps) if model is None else model.program
    unit, wanted = DataUnit(spec, maps, manifest.io), PROMISES if options.files is None else tuple(options.files)
    chosen = {"storage": options.storage, "signatures": options.signatures, "promises": wanted}
    source = to_c(backend.program, unit=unit, detector=manifest.detector, codec=codec, **chosen)
    bundle.require_intact(["golden/x.npy"])
    x, _ = spec.flatten(bundle.golden()["x"])
    taken = x[np.unique(np.linspace(0, len(x) - 1, samples).astype(np.int64))] if spread else x[:samples]
    per_frame = min(SAMPLES_PER_FRAME, len(taken))
    golden = golden_samples(
        backend, taken, detector=manifest.detector, files=model, promises=wanted, samples_per_frame=per_frame
    )
    return AppModel(backend.program, source, golden, spec, manifest.detector, frame=manifest.recipe.codec.frame)
