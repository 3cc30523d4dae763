"""The tied kernel and its layers, the autoencoder, training, pruning, clustering and quantization.

Names are imported on first use: configuration and data need no TensorFlow, the model does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tiedae.base.errors import CheckError, DataError, ExportError, FormatError, InputError, RecipeError, TiedaeError
from tiedae.config.config import (
    ClusterConfig,
    DataConfig,
    ExportConfig,
    PruneConfig,
    QuantizeConfig,
    Recipe,
    TrainConfig,
    VerifyConfig,
)
from tiedae.config.layer_kinds import LayerConfig
from tiedae.config.model_config import ModelConfig
from tiedae.config.scaling import Scaling
from tiedae.config.tasks import NoiseConfig
from tiedae.data.dataset import Dataset
from tiedae.data.samples import Samples

if TYPE_CHECKING:
    from .autoencoder import TiedAutoencoder
    from .clustering import cluster
    from .kernel import TiedKernel
    from .pruning import prune
    from .quantized_training import train_quantized
    from .quantizers import QuantizationSpec
    from .symmetries import balance_code, interleave, shrink
    from .train import Training, fit

__all__ = [
    "CheckError",
    "ClusterConfig",
    "DataConfig",
    "DataError",
    "Dataset",
    "ExportConfig",
    "ExportError",
    "FormatError",
    "InputError",
    "LayerConfig",
    "ModelConfig",
    "NoiseConfig",
    "PruneConfig",
    "QuantizationSpec",
    "QuantizeConfig",
    "Recipe",
    "RecipeError",
    "Samples",
    "Scaling",
    "TiedAutoencoder",
    "TiedKernel",
    "TiedaeError",
    "TrainConfig",
    "Training",
    "VerifyConfig",
    "balance_code",
    "cluster",
    "fit",
    "interleave",
    "prune",
    "shrink",
    "train_quantized",
]

_LAZY = {
    "QuantizationSpec": "quantizers",
    "TiedAutoencoder": "autoencoder",
    "TiedKernel": "kernel",
    "Training": "train",
    "balance_code": "symmetries",
    "cluster": "clustering",
    "fit": "train",
    "interleave": "symmetries",
    "prune": "pruning",
    "shrink": "symmetries",
    "train_quantized": "quantized_training",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f".{_LAZY[name]}", __name__), name)
