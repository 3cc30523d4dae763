"""The float model that a bundle's float files hold: what measures quality where no Keras model is given.

Without either, the reference of quality is what the bundle's own metrics say of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from tiedae.bundle.bundle import Bundle
from tiedae.bundle.reference_outputs import Original
from tiedae.compress.errors import FormatError
from tiedae.export.kinds import Precision
from tiedae.export.targets import read_model
from tiedae.program.interpreter import execute
from tiedae.program.program import Program
from tiedae.program.tensors import flat

from .collecting import BundleModel
from .limits import Limits

FLOAT_FILES = "the float files"
OWN_WORD = "Keras float by the bundle's own word"


@dataclass(frozen=True, eq=False)
class FloatFiles:
    """A float program as a function of model inputs; `step`: what its code is rounded to before it is decoded, or 0."""

    program: Program
    step: float = 0.0

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(code, y), float32 [n, values] each, of float32 model inputs [n, inputs]."""
        code = execute(self.program, "encode", self.program.tensors["x"].shaped(x))["code"]
        if self.step:
            code = np.rint(code / np.float32(self.step)) * np.float32(self.step)
        return flat(code), flat(execute(self.program, "decode", code)["y"])


def float_files(bundle: Bundle, limits: Limits) -> Original | None:
    """The model before compression, as the float files hold it; None where they hold a pruned or clustered one, or none.

    What is damaged has a check of its own.
    """
    manifest = bundle.manifest
    if manifest.recipe.prune is not None or manifest.recipe.cluster is not None:
        return None
    floats = {name for name, info in manifest.models.items() if info.precision is Precision.F32}
    try:
        contents = {name: read_model(bundle.path / name) for name in manifest.models}
        program, wrong = BundleModel.of(bundle, contents, limits).floating if floats else (None, [])
    except FormatError:
        return None
    if program is None or wrong:
        return None
    factor = math.prod(each.factor for each in manifest.derived)
    step = manifest.tensors.code.scale / factor if manifest.recipe.train.for_rate else 0.0
    return Original(uncompressed=FloatFiles(program, step), source=FLOAT_FILES)
