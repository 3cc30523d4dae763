"""Dimensionality reduction: whether codes that are near each other belong to samples that are, and a plot of them.

The int8 codes are compared as real numbers, (integer − zero point) · scale, with those of the float model, of PCA to as many
values, and of UMAP where it is installed. Distances between samples are those in scaled values, in which columns compare.
"""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from tiedae.base.packages import missing
from tiedae.bundle.task_results import Method, Neighbourhoods, ReductionResult
from tiedae.bundle.verdict import Criterion
from tiedae.config.tasks import Reduction
from tiedae.data.dataset import choose
from tiedae.export.kinds import Kind, Skipped, Why
from tiedae.program.tensors import flat

from .neighbourhoods import Pca, continuity, knn_accuracy, trustworthiness_of_each
from .row import Contest, Exported, HeldFigure, Statistic, TaskMeasurement, TaskRow, not_measured

TRAIN = 5000
"""Training samples at most: of PCA and UMAP, and those that vote. UMAP's time grows with them."""


def measure(exported: Exported) -> TaskMeasurement:
    """The measures on test samples, and the plane of the section: `plane`, `rows` and, where there are labels, `labels`."""
    task, data = exported.recipe.task, exported.data
    assert isinstance(task, Reduction)
    seed = data.config.seed
    rows = choose(data.test, task.samples, seed)
    if 2 * task.neighbours >= len(rows):
        right = f"must be more than {2 * task.neighbours}, twice task.neighbours"
        return not_measured("reduction", f"got {len(rows)} test samples, {right}", Why.UNAVAILABLE)
    voters = choose(data.train, TRAIN, seed)
    train, test = data.train.take(voters), data.test.take(rows)
    x_train, x_test = data.scaling.apply(train), data.scaling.apply(test)
    labelled = data.train.labels is not None and data.test.labels is not None
    labels = (np.asarray(data.train.labels)[voters], np.asarray(data.test.labels)[rows]) if labelled else None
    program = exported.backend.program
    units, code = program.tensors["code"].size, program.quantization("code")
    codes: dict[Method, tuple[np.ndarray, np.ndarray]] = {
        "int8": (code.dequantize(flat(exported.model.encode(train))), code.dequantize(flat(exported.model.encode(test))))
    }
    skipped: list[Skipped] = []
    if exported.keras is not None:
        codes["float"] = flat(exported.keras(x_train)[0]), flat(exported.keras(x_test)[0])
    if exported.others:
        others, skipped = other_codes(exported, x_train, x_test, units)
        codes |= others
    votes = min(task.votes, len(train))
    trusted = {method: trustworthiness_of_each(x_test, of_test, task.neighbours) for method, (_, of_test) in codes.items()}
    methods = tuple(
        Neighbourhoods(
            method,
            float(trusted[method].mean()),
            continuity(x_test, of_test, task.neighbours),
            None if labels is None else knn_accuracy(of_train, labels[0], of_test, labels[1], votes),
        )
        for method, (of_train, of_test) in codes.items()
    )
    classes = 0 if labels is None else len(np.unique(labels[0]))
    result = ReductionResult(units, len(test), task.neighbours, votes, len(train), classes, methods)
    arrays = {"plane": plane(codes["int8"][1]).astype(np.float32), "rows": data.test.places(rows)}
    arrays |= {} if labels is None else {"labels": labels[1].astype(np.str_)}
    baselines = {}
    if exported.others:
        baselines["pca"] = trusted["pca"]
        baselines["mean"] = trustworthiness_of_each(x_test, np.zeros((len(test), 1)), task.neighbours)
    contest = Contest(Criterion.TRUSTWORTHINESS, rows, trusted["int8"], baselines, keras=trusted.get("float"))
    return TaskMeasurement(result, arrays, tuple(skipped), contest)


def other_codes(
    exported: Exported, train: np.ndarray, test: np.ndarray, units: int
) -> tuple[dict[Method, tuple[np.ndarray, np.ndarray]], list[Skipped]]:
    """Codes of `train` and `test`, in scaled values, by PCA and UMAP; what was skipped, with reasons."""
    pca, keras = Pca.fit(train, min(units, train.shape[1])), exported.keras
    codes: dict[Method, tuple[np.ndarray, np.ndarray]] = {}
    skipped: list[Skipped] = []
    if keras is None:
        skipped.append(Skipped(Kind.TASK, Why.NO_KERAS, "reduction by the float model", "there is no Keras model here"))
    codes["pca"] = pca.encode(train), pca.encode(test)
    if find_spec("umap") is None:
        skipped.append(Skipped(Kind.TASK, Why.NOT_INSTALLED, "reduction by UMAP", str(missing("umap"))))
    elif keras is None and find_spec("tensorflow") is not None:
        reason = "its package imports TensorFlow, which only a run does"
        skipped.append(Skipped(Kind.TASK, Why.NO_KERAS, "reduction by UMAP", reason))
    elif units + 2 > len(train):
        reason = f"{len(train):,} training samples are too few for codes of {units:,} values"
        skipped.append(Skipped(Kind.TASK, Why.NO_SAMPLES, "reduction by UMAP", reason))
    else:
        codes["umap"] = umap_codes(train, test, units, exported.data.config.seed)
    return codes, skipped


def umap_codes(train: np.ndarray, test: np.ndarray, units: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes by UMAP (McInnes, Healy & Melville 2018) with its default settings, fitted on `train`: float32 [n, units] each."""
    import umap

    reducer = umap.UMAP(n_components=units, random_state=seed, n_jobs=1)
    return np.asarray(reducer.fit_transform(train)), np.asarray(reducer.transform(test))


def plane(codes: np.ndarray) -> np.ndarray:
    """Codes [n, units] as points [n, 2]: their first two principal components; two units as they are, one beside zeros."""
    if codes.shape[1] > 2:
        return Pca.fit(codes, 2).encode(codes)
    return np.pad(codes, ((0, 0), (0, 2 - codes.shape[1])))


def trusted_pair(contest: Contest) -> tuple[np.ndarray, np.ndarray] | None:
    return None if contest.keras is None else (contest.own, contest.keras)


def mean_of(_: Contest, values: np.ndarray) -> Statistic:
    return lambda weights: float(np.average(values.astype(np.float64), weights=weights))


HELD = (HeldFigure("trustworthiness", trusted_pair, mean_of, lambda limits: limits.max_points_lost),)
ROW = TaskRow(measure, needs=lambda _: {"umap": ("umap",)}, held=HELD, error_limit=lambda _task, _test: None)
