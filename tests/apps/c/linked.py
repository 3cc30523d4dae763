"""An image that calls every function of a C file: what `size` says of it is what `core_bytes` has to state."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from tiedae.apps.c.core import MEMORY, OPTIONS
from tiedae.export.c.codec_source import PROMISES, Promise
from tiedae.export.c.kernels import Storage
from tiedae.export.c.samples import DataUnit
from tiedae.export.c.source import CSource, to_c

from ...export.c.models import Made

DECLARED = r"^(?:int|void|uint8_t|uint64_t) {0}_(\w+)\(|^static inline \w+ {0}_(quantize|dequantize|score_float|stream_\w+)\("
"""Functions of NAME.h, and those of NAME_float.h that docs/guides/c.md lists."""
OF_SIGNATURES = {
    "encode": {"encode", "encode_data", "quantize"},
    "decode": {"decode", "decode_data", "dequantize"},
}


@dataclass(frozen=True)
class OptionSet:
    """What a C file is made with: a model of `models.CASES`, signatures (None: all), kinds of .tae files, storage."""

    model: str
    signatures: Sequence[str] | None
    files: Collection[Promise]
    storage: Storage

    def source(self, made: Made) -> CSource:
        backend = made.model.program
        unit = DataUnit(backend.spec, backend.maps, backend.io)
        options = {"storage": self.storage, "signatures": self.signatures, "promises": self.files}
        return to_c(made.program, unit=unit, detector=made.detector, codec=made.codec if self.files else None, **options)


OPTION_SETS = (
    OptionSet("image", None, PROMISES, "dense"),
    OptionSet("image", ["score"], (), "dense"),
    OptionSet("record", ["encode"], ("lossy",), "sparse"),
    OptionSet("record", ["decode"], PROMISES, "dense"),
    OptionSet("record", ["score"], (), "sparse"),
    OptionSet("table", None, ("lossy",), "dense"),
    OptionSet("table", ["score"], (), "dense"),
    OptionSet("table", ["encode"], (), "sparse"),
)
"""Signatures, files, storages and data types."""


def linked_flash(source: CSource, floats: bool, compiler: Sequence[str], size: str, nm: str, folder: Path) -> int:
    """Bytes of .text, .rodata and .data of an image, without the function that takes the address of all others.

    `floats`: data are floats, and NAME_float.h is used. `size`, `nm`: the tools of the compiler's kind.
    """
    text = source.header + (source.floats if floats else "")
    others = {name for signature, names in OF_SIGNATURES.items() if signature not in source.signatures for name in names}
    found = ["".join(each) for each in re.findall(DECLARED.format(source.name), text, re.MULTILINE)]
    names = [each for each in found if each not in others]
    firmware = "".join(f"  called = (function){source.name}_{each};\n" for each in dict.fromkeys(names))
    header = f'#include "{source.name}{"_float" if floats else ""}.h"\n'
    firmware = f"{header}typedef void (*function)(void);\nfunction volatile called;\nvoid firmware(void)\n{{\n{firmware}}}\n"
    for name, content in {**source.files, "firmware.c": firmware, "memory.c": MEMORY}.items():
        (folder / name).write_text(content)
    flags = [*OPTIONS, "-nostdlib", "-static", "-Wl,--gc-sections,--build-id=none"]
    files = [f"{source.name}.c", "firmware.c", "memory.c", "-lgcc"]
    command = [compiler[0], *flags, *compiler[1:], *files, "-Wl,-e,firmware", "-o", "image"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
    sizes = subprocess.run([size, "image"], cwd=folder, check=True, capture_output=True, text=True).stdout.splitlines()
    listed = subprocess.run([nm, "-S", "image"], cwd=folder, check=True, capture_output=True, text=True).stdout
    own = re.search(r"^[0-9a-f]+ ([0-9a-f]+) T firmware$", listed, re.MULTILINE)
    assert own is not None
    return sum(map(int, sizes[1].split()[:2])) - int(own[1], 16)
