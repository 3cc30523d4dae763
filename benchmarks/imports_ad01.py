"""AD01 of MLPerf Tiny as a tied net, 640-128×4-8-128×4-640 with batch normalization: bytes of its int8 files, see `imports.py`.

Its kernels are those of the encoder of `ad01.h5`, gammas and biases those of both directions, statistics those of its windows.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from imports_files import DATA
from rows import Row

from tiedae.apps.c.core import core_bytes
from tiedae.calibration import Representative, quantize_post_training
from tiedae.compress import QuantizeConfig, Scaling, TiedAutoencoder
from tiedae.compress.imports.chain import Chain, ChainProduct
from tiedae.compress.imports.formats import read_model
from tiedae.compress.imports.mirrored import mirror
from tiedae.export import lower, to_tflite
from tiedae.export.c.source import to_c
from tiedae.pipeline.importing import Start

PUBLISHED_BYTES = 276_976
"""Bytes of the int8 .tflite of AD01 that mlcommons/tiny publishes, whose kernels are not tied."""
CORE = ("arm-none-eabi-gcc", "-Os", "-mcpu=cortex-m4", "-mthumb")


def tied_chain(chain: Chain) -> Chain:
    """A mirrored chain whose decoder multiplies by the encoder's kernels."""
    products = chain.products
    kernels = dict(zip(map(id, products[::-1]), (product.kernel for product in products[: len(products) // 2]), strict=False))
    layers = tuple(
        replace(layer, kernel=kernels[id(layer)], transposed=True)
        if isinstance(layer, ChainProduct) and id(layer) in kernels
        else layer
        for layer in chain.layers
    )
    return replace(chain, layers=layers)


@cache
def quantized() -> TiedAutoencoder:
    """The tied net, quantized after training on the windows."""
    windows = np.load(DATA / "ad01" / "windows.npy")
    model = Start(mirror(tied_chain(read_model(DATA / "ad01" / "ad01.h5")))).tied()
    for norm in model.norms:
        norm.momentum = 0.0
    model(windows, training=True)
    quantize_post_training(
        model, Representative(np.arange(len(windows)), windows, 0, Scaling(), len(windows)), QuantizeConfig(method="ptq")
    )
    return model


def bytes_row() -> Row:
    size = len(to_tflite(lower(quantized(), "ad01", layout="split"), io="float32"))
    detail = f"{size:,} / {PUBLISHED_BYTES:,} B; three signatures, decoder split"
    return Row("ad_bytes_ratio", size / PUBLISHED_BYTES, "x", "<= 0.575", "<= 0.555", detail)


def flash_row() -> Row:
    program = lower(quantized(), "ad01", layout="fused")
    found = core_bytes(to_c(program, signatures=("encode", "decode")), program, CORE, floats=False)
    parts = ", ".join(f"{part} {getattr(found, part):,}" for part in ("kernels", "biases", "tables", "code", "library"))
    return Row("ad_c_flash_kb", found.flash / 1000, "kB", "<= 150", "<= 146", f"{found.flash:,} B: {parts}")
