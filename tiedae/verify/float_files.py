"""The float model that a bundle's float files hold: what measures quality where no Keras model is given.

Without either, the reference of quality is what the bundle's own metrics say of it.
"""

from __future__ import annotations

import math

from tiedae.base.errors import FormatError
from tiedae.bundle.bundle import Bundle
from tiedae.bundle.reference_outputs import FloatFiles, Original
from tiedae.export.targets import read_model

from .collecting import float_program
from .limits import Limits

FLOAT_FILES = "the float files"
OWN_WORD = "Keras float by the bundle's own word"


def float_files(bundle: Bundle, limits: Limits) -> Original | None:
    """The model before compression, as the float files hold it; None where they hold a pruned or clustered one, or none.

    What is damaged has a check of its own.
    """
    manifest = bundle.manifest
    if manifest.recipe.prune is not None or manifest.recipe.cluster is not None:
        return None
    try:
        contents = {name: read_model(bundle.path / name) for name in manifest.models}
        program, wrong = float_program(manifest, contents, bundle.programs(contents).fused, bundle.golden(), limits)
    except FormatError:
        return None
    if program is None or wrong:
        return None
    factor = math.prod(each.factor for each in manifest.derived)
    step = manifest.tensors.code.scale / factor if manifest.recipe.train.for_rate else 0.0
    return Original(uncompressed=FloatFiles(program, step), source=FLOAT_FILES)
