"""Weight clustering: each kernel shares a few values, which go on being trained (Han et al. 2016)."""

from __future__ import annotations

import numpy as np

from .autoencoder import TiedAutoencoder
from .config import ClusterConfig, TrainConfig
from .data import Splits
from .kernel import TiedKernel
from .train import History, Training, fit

ITERATIONS, BINS = 1000, 4096


def cluster(model: TiedAutoencoder, splits: Splits, config: ClusterConfig, train: TrainConfig | Training) -> History:
    """Let each kernel of `model` share at most `config.clusters` values, then fine-tune the values.

    Each weight keeps its cluster in every later stage. Where a kernel is pruned, zero is one of the values and only the pruned
    places hold it. Raises what `fit` raises, before the kernels change.
    """
    training = Training.fine_tuning(train, config, model, splits)
    for kernel in model.kernels:
        share_values(kernel, config.clusters)
    return fit(model, splits, training, stage="cluster")


def share_values(kernel: TiedKernel, count: int) -> None:
    """Move every live weight of a kernel to the nearest of at most `count` values, the zero of pruned places among them."""
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
    """Centroids float64 [count or fewer], ascending, of `values` [n]: Lloyd's iteration on the sorted values.

    It starts from the density of best quantizers, the cube root of the values' (Panter & Dite 1951). Fewer where the values are
    fewer, or a cell ran empty.
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
