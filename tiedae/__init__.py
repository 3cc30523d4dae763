"""Tied autoencoders, from Keras to a verified codec on the device. The public names, each loaded when it is first used.

import tiedae as ta

data = ta.load_data("fashion")
model = ta.TiedAutoencoder([128, 16])
model.fit(data, epochs=5)
small = ta.quantize(model, data, epochs=2)
bundle = ta.export_bundle(small, "clothes", data=data)
bundle.verify(data).raise_for_failures()
codec = ta.load("clothes")
codes = codec.encode(data.test.take(slice(10)))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tiedae.base.errors import CheckError, TiedaeError
    from tiedae.codec.codec import Codec
    from tiedae.codec.opening import load
    from tiedae.compress.autoencoder import TiedAutoencoder
    from tiedae.compress.version import __version__ as __version__
    from tiedae.config.tasks import Anomaly, Compression, Denoising, Reduction
    from tiedae.data.dataset import Dataset
    from tiedae.pipeline.exporting import ExportedBundle, export_bundle
    from tiedae.pipeline.importing import from_keras, tie
    from tiedae.pipeline.sources import load_data
    from tiedae.pipeline.stages import cluster, prune, quantize
    from tiedae.pipeline.transformer import TiedAutoencoderTransformer
    from tiedae.verify.parity.assertion import assert_parity
    from tiedae.verify.ties import assert_tied

_NAMES = {
    "codec.codec": ("Codec",),
    "codec.opening": ("load",),
    "compress.autoencoder": ("TiedAutoencoder",),
    "data.dataset": ("Dataset",),
    "base.errors": ("CheckError", "TiedaeError"),
    "config.tasks": ("Anomaly", "Compression", "Denoising", "Reduction"),
    "compress.version": ("__version__",),
    "pipeline.exporting": ("ExportedBundle", "export_bundle"),
    "pipeline.importing": ("from_keras", "tie"),
    "pipeline.sources": ("load_data",),
    "pipeline.stages": ("cluster", "prune", "quantize"),
    "pipeline.transformer": ("TiedAutoencoderTransformer",),
    "verify.parity.assertion": ("assert_parity",),
    "verify.ties": ("assert_tied",),
}

__all__ = [
    "Anomaly",
    "CheckError",
    "Codec",
    "Compression",
    "Dataset",
    "Denoising",
    "ExportedBundle",
    "Reduction",
    "TiedAutoencoder",
    "TiedAutoencoderTransformer",
    "TiedaeError",
    "assert_parity",
    "assert_tied",
    "cluster",
    "export_bundle",
    "from_keras",
    "load",
    "load_data",
    "prune",
    "quantize",
    "tie",
]


def __getattr__(name: str) -> Any:
    for module, names in _NAMES.items():
        if name in names:
            return getattr(import_module(f".{module}", __name__), name)
    raise AttributeError(f"module {__name__} has no attribute {name}")


def __dir__() -> list[str]:
    return [*__all__]
