"""Source text in a bundle: what equals the text that this version writes of the program may run, other text only if asked."""

from __future__ import annotations

from collections.abc import Set
from importlib.metadata import version

from msgspec.structs import replace

from tiedae.base.errors import TiedaeError
from tiedae.base.files import read_regular
from tiedae.bundle.bundle import Bundle, Programs, model_files
from tiedae.codec.frames import codec_of_bundle
from tiedae.export.kinds import Kind
from tiedae.export.targets import TARGETS

from .findings import Findings


def check_sources(bundle: Bundle, programs: Programs, intact: Set[str], findings: Findings) -> dict[str, bytes]:
    """Check the text of the intact files of source targets, and return the files by name where all are this version's.

    Other text fails a check where this version wrote the bundle; another version may have written it otherwise.
    """
    manifest = bundle.manifest
    targets = tuple(target for target in manifest.recipe.export.targets if TARGETS[target].source)
    if not targets:
        return {}
    try:
        config, codec = replace(manifest.recipe.export, targets=targets), codec_of_bundle(bundle)
        fresh = model_files({"int8": programs}, config, manifest.io, detector=manifest.detector, codec=codec)
    except TiedaeError as error:
        for target in targets:
            text = f"{TARGETS[target].label} files: cannot be written again of the bundle's program: {error}"
            findings.check(Kind.PROGRAM, False, "none", "text", text, detail=target)
        return {}
    same = {name for name in fresh if name in intact and read_regular(bundle.path / name) == fresh[name]}
    by_us = manifest.created_by == f"tiedae {version('tiedae')}"
    for name in sorted(intact & fresh.keys()):
        equal = name in same
        text = f"{name}: its text is {'' if equal else 'not '}what {manifest.created_by} writes of the bundle's program"
        if equal or by_us:
            findings.check(Kind.PROGRAM, equal, "equal" if equal else "different", "equal", text, file=name, detail="text")
    return fresh if fresh.keys() <= same else {}
