"""Weight clustering: each kernel shares a few values, which stay trainable (Han et al. 2016)."""

from __future__ import annotations

import numpy as np

from tiedae.base.errors import InputError
from tiedae.config.config import ClusterConfig, TrainConfig
from tiedae.data.dataset import Dataset

from .autoencoder import TiedAutoencoder
from .kernel import TiedKernel
from .train import History, Training, fit

ITERATIONS, BINS = 1000, 4096


def cluster(model: TiedAutoencoder, splits: Dataset, config: ClusterConfig, train: TrainConfig | Training) -> History:
    """Cluster each kernel of `model` into at most `config.clusters` values, then fine-tune the values.

    Weights keep their cluster in every later stage. In a pruned kernel zero is a cluster of its own, for pruned weights only.
    Raises InputError for a quantized model, and the errors of `fit`, before the kernels change.
    """
    for kernel in model.kernels:
        if kernel.granularity is not None:
            raise InputError(f"{kernel.name} is quantized; cluster before")
    training = Training.fine_tuning(train, config, model, splits)
    for kernel in model.kernels:
        share_values(kernel, config.clusters)
    return fit(model, splits, training, stage="cluster")


def share_values(kernel: TiedKernel, count: int) -> None:
    """Move every kept weight of a kernel to the nearest of at most `count` values, including the zero of pruned weights."""
    values = kernel.masked().numpy()
    live = kernel.live
    reserved = int(not live.all())
    clusters = np.zeros(values.shape, np.uint8)
    if live.any():
        centroids = k_means(values[live], count - reserved)
        nearest = np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values[live])
        kernel.variable.scatter_nd_update(np.argwhere(live), centroids[nearest].astype(np.float32))
        clusters[live] = nearest + reserved
    kernel.set_clusters(clusters)
    kernel.write_back()


def k_means(values: np.ndarray, count: int) -> np.ndarray:
    """Centroids of `values` [n], float64 ascending, by Lloyd's algorithm; fewer than `count` if cells are empty or values few.

    Initialized by the asymptotically optimal density, the cube root of the values' density (Panter & Dite 1951).
    """
    ordered = np.sort(values.astype(np.float64))
    distinct = np.unique(ordered)
    if len(distinct) <= count:
        return distinct
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    density, edges = np.histogram(ordered, BINS)
    cumulative = np.concatenate([[0.0], np.cumsum(np.cbrt(density))])
    centroids = np.interp((np.arange(count) + 0.5) / count, cumulative / cumulative[-1], edges)
    for _ in range(ITERATIONS):
        cuts = np.searchsorted(ordered, (centroids[1:] + centroids[:-1]) / 2)
        cuts = np.unique([0, *cuts, len(ordered)])
        means = np.diff(sums[cuts]) / np.diff(cuts)
        if np.array_equal(means, centroids):
            break
        centroids = means
    return centroids
