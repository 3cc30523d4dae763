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
    from tiedae.codec.codec import Codec, load
    from tiedae.compress.autoencoder import TiedAutoencoder
    from tiedae.compress.data import Dataset
    from tiedae.compress.errors import CheckError, TiedaeError
    from tiedae.compress.tasks import Anomaly, Compression, Denoising, Reduction
    from tiedae.verify.parity.assertion import assert_parity

    from .exporting import ExportedBundle, export_bundle
    from .sources import load_data
    from .stages import cluster, prune, quantize
    from .transformer import TiedAutoencoderTransformer

__version__ = "0.1.0"

_HOMES = {
    "Anomaly": "compress.tasks",
    "CheckError": "compress.errors",
    "Codec": "codec.codec",
    "Compression": "compress.tasks",
    "Dataset": "compress.data",
    "Denoising": "compress.tasks",
    "ExportedBundle": "exporting",
    "Reduction": "compress.tasks",
    "TiedAutoencoder": "compress.autoencoder",
    "TiedAutoencoderTransformer": "transformer",
    "TiedaeError": "compress.errors",
    "assert_parity": "verify.parity.assertion",
    "cluster": "stages",
    "export_bundle": "exporting",
    "load": "codec.codec",
    "load_data": "sources",
    "prune": "stages",
    "quantize": "stages",
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
    "cluster",
    "export_bundle",
    "load",
    "load_data",
    "prune",
    "quantize",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return [*__all__]
