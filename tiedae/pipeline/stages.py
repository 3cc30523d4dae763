"""Pruning, clustering and quantization as functions: each returns a new model, and leaves the one it is given as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiedae.base.errors import InputError
from tiedae.calibration.calibration_file import read_calibration
from tiedae.calibration.representative import representative
from tiedae.compress.lineage import Snapshot
from tiedae.config.config import ClusterConfig, Decoder, Granularity, PruneConfig, QuantizeConfig, TrainConfig
from tiedae.data.dataset import Dataset
from tiedae.export.targets import TARGETS, decoder_layout

if TYPE_CHECKING:
    from tiedae.compress.autoencoder import TiedAutoencoder, Verbosity
    from tiedae.compress.train import History, Training


def prune(
    model: TiedAutoencoder,
    data: Dataset,
    *,
    sparsity: float | None = None,
    pattern: str | None = None,
    epochs: int | None = None,
    config: PruneConfig = PruneConfig(),
    train: TrainConfig | None = None,
    verbose: Verbosity = "auto",
) -> TiedAutoencoder:
    """A pruned copy of a float model, fine-tuned with its mask held.

    `sparsity`: fraction of zeros in each kernel. `pattern`: unstructured, block, structured (units leave the model) or N:M,
    whose sparsity follows. They and `epochs` replace those of `config`; `train` has the batch size and the loss, those of the
    model's own training by default. Raises what `compress.prune` raises.
    """
    from tiedae.compress.autoencoder import with_given

    n, colon, m = (pattern or "").partition(":")
    if colon and sparsity is None and n.isdecimal() and m.isdecimal() and int(m):
        sparsity = 1 - int(n) / int(m)
    config = with_given(config, {"sparsity": sparsity, "pattern": pattern, "epochs": epochs})
    other, training = _begin(model, data, train, verbose, config.distill)
    result, history = pruned(other, data, config, training)
    return _end(model, result, data, "prune", config, history)


def pruned(model: TiedAutoencoder, data: Dataset, config: PruneConfig, training: Training) -> tuple[TiedAutoencoder, History]:
    """The model, which is pruned in place, or the smaller one where units leave it."""
    from tiedae.compress.pruning import prune as prune_in_place
    from tiedae.compress.symmetries import shrink

    history = prune_in_place(model, data, config, training)
    return shrink(model) if config.pattern == "structured" else model, history


def cluster(
    model: TiedAutoencoder,
    data: Dataset,
    *,
    clusters: int | None = None,
    epochs: int | None = None,
    config: ClusterConfig = ClusterConfig(),
    train: TrainConfig | None = None,
    verbose: Verbosity = "auto",
) -> TiedAutoencoder:
    """A copy of a float model whose kernels hold `clusters` values each, which are then fine-tuned.

    `clusters` and `epochs` replace those of `config`. Raises what `compress.cluster` raises.
    """
    from tiedae.compress.autoencoder import with_given
    from tiedae.compress.clustering import cluster as cluster_in_place

    config = with_given(config, {"clusters": clusters, "epochs": epochs})
    other, training = _begin(model, data, train, verbose, config.distill)
    return _end(model, other, data, "cluster", config, cluster_in_place(other, data, config, training))


def quantize(
    model: TiedAutoencoder,
    data: Dataset,
    *,
    bits: int | Sequence[int] | None = None,
    granularity: Granularity | None = None,
    epochs: int | None = None,
    config: QuantizeConfig = QuantizeConfig(),
    targets: Sequence[str] = tuple(TARGETS),
    decoder: Decoder = "auto",
    train: TrainConfig | None = None,
    verbose: Verbosity = "auto",
) -> TiedAutoencoder:
    """A quantized copy of a float model: post-training quantization, then `epochs` of quantization-aware training.

    `bits` of the kernels: 2 to 8, one width or one per kernel. `granularity`: a scale per tensor or per unit. `epochs` 0 is
    post-training quantization alone. They replace those of `config`. `targets` and `decoder`: what it will be exported to.
    Raises what `quantize_post_training` and `train_quantized` raise, InputError for a model that is quantized already.
    """
    from tiedae.calibration.post_training import quantize_post_training
    from tiedae.compress.autoencoder import with_given
    from tiedae.compress.quantized_training import train_quantized

    if epochs is not None:
        config, epochs = with_given(config, {"method": "qat" if epochs else "ptq"}), epochs or None
    widths = None if bits is None else tuple(bits) if isinstance(bits, Sequence) else (int(bits),)
    config = with_given(config, {"bits": widths, "granularity": granularity, "epochs": epochs})
    if model.quantized:
        raise InputError("quantize: got a quantized model; quantize its float model anew, or train it on with fit")
    other, training = _begin(model, data, train, verbose, config.distill)
    chosen = representative(data.train, config.samples, seed=data.config.seed, noise=training.config.noise)
    given = None
    if config.calibration is not None:
        given = read_calibration(Path(config.calibration))
        given.require_scaling(data.scaling, source=config.calibration)
    layout = decoder_layout(targets, decoder)
    calibration = quantize_post_training(other, chosen, config, layout=layout, calibration=given)
    history = [] if config.method == "ptq" else train_quantized(other, data, config, training)
    return _end(model, other, data, "quantize", config, history, calibration)


def rebuilt(snapshot: Snapshot) -> TiedAutoencoder:
    from tiedae.compress.autoencoder import TiedAutoencoder

    return TiedAutoencoder.rebuild(snapshot.header, snapshot.arrays)


def _begin(
    model: TiedAutoencoder, data: Dataset, train: TrainConfig | None, verbose: Verbosity, distill: float
) -> tuple[TiedAutoencoder, Training]:
    """A copy to work on, and its training, with the uncompressed model as the teacher of a distillation."""
    from tiedae.compress.autoencoder import epoch_progress
    from tiedae.compress.train import Training

    other = model.copy()
    other.require_spec(data.spec)
    settings = train or model.lineage.configs.get("train") or TrainConfig()
    uncompressed = model.lineage.earlier.get("train")
    teacher = None if not distill else model if uncompressed is None else rebuilt(uncompressed)
    return other, Training(settings, teacher, progress=epoch_progress(verbose))


def _end(
    source: TiedAutoencoder,
    result: TiedAutoencoder,
    data: Dataset,
    stage: str,
    config: Any,
    history: History,
    calibration: Any = None,
) -> TiedAutoencoder:
    result.spec = data.spec
    before = source.lineage.followed(source.stage, Snapshot(source.describe(), source.arrays()), calibration)
    result.lineage = before.trained(stage, config, history)
    return result
