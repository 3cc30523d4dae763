"""The result of `[task] kind = "reduction"`, its section, card and rows, on an integer program and labelled samples."""

from __future__ import annotations

import dataclasses
import re
import sys
import types

import numpy as np
import pytest

from tiedae.base.errors import TiedaeError
from tiedae.base.records import checked
from tiedae.bundle.task_results import ReductionResult
from tiedae.codec.backends import ProgramBackend
from tiedae.config.config import DataConfig, Recipe
from tiedae.config.layer_kinds import layer_tables
from tiedae.config.model_config import ModelConfig
from tiedae.config.tasks import Reduction
from tiedae.data.dataset import Dataset
from tiedae.export.kinds import Why
from tiedae.report.tasks import reduction as reduction_view
from tiedae.tasks import reduction
from tiedae.tasks.neighbourhoods import Pca, continuity, knn_accuracy, trustworthiness
from tiedae.tasks.row import Exported, TaskMeasurement

from ..conftest import build_program
from ..samples import images

INPUTS = 24


@pytest.fixture
def no_umap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduction, "find_spec", lambda name: None)


def exported(labels: np.ndarray | None, units: int = 5, **options) -> Exported:
    program = build_program((INPUTS, 12, units))
    data = Dataset.from_array(images(), labels=labels, test=0.4)
    layers = layer_tables([12, units])
    recipe = Recipe("r", DataConfig("array"), checked(ModelConfig, {"layers": layers}), task=Reduction(**options))
    rotation = np.random.default_rng(0).normal(size=(INPUTS, units))
    return Exported(ProgramBackend(program, data.spec), data, recipe, lambda x: (x @ rotation, x))


def result_of(measured: TaskMeasurement) -> ReductionResult:
    assert isinstance(measured.result, ReductionResult)
    return measured.result


def positions(subject: Exported, measured: TaskMeasurement) -> np.ndarray:
    """The places of the measured samples among the test samples."""
    assert subject.data.test.rows is not None
    return np.searchsorted(subject.data.test.rows, measured.arrays["rows"])


def labels_of(count: int = 3) -> np.ndarray:
    return np.digitize(images().reshape(300, -1)[:, 0], np.linspace(0, 255, count + 1)[1:-1])


def test_the_measures_are_those_of_the_int8_codes_scaled(no_umap) -> None:
    subject = exported(labels_of(), neighbours=4, votes=3, samples=50)
    measured = reduction.measure(subject)
    result, data = result_of(measured), subject.data
    assert (result.units, result.samples, result.train, result.classes) == (5, 50, 180, 3)
    assert [each.method for each in result.methods] == ["int8", "float", "pca"]
    rows = positions(subject, measured)
    x, test = data.scaling.apply(data.test.take(rows)), data.test.take(rows)
    code = subject.backend.program.quantization("code")
    codes = code.dequantize(subject.backend.encode(test))
    train = code.dequantize(subject.backend.encode(data.train.take(slice(None))))
    int8 = result.methods[0]
    assert int8.trustworthiness == trustworthiness(x, codes, 4)
    assert int8.continuity == continuity(x, codes, 4)
    assert int8.knn_accuracy == knn_accuracy(train, data.train.labels, codes, data.test.labels[rows], 3)
    pca = Pca.fit(data.scaling.apply(data.train.take(slice(None))), 5)
    assert result.methods[2].trustworthiness == trustworthiness(x, pca.encode(x), 4)
    assert measured.arrays["plane"].shape == (50, 2) and measured.arrays["plane"].dtype == np.float32
    assert measured.arrays["labels"].tolist() == data.test.labels[rows].astype(str).tolist()
    (skipped,) = measured.skipped
    assert skipped.reason == "umap is not installed: pip install 'tiedae[tasks]'" and skipped.why == Why.NOT_INSTALLED


@pytest.mark.parametrize(("asked", "votes"), [(1, 1), (5, 5), (180, 180), (500, 180)])
def test_as_many_neighbours_vote_as_were_asked_for(no_umap, asked: int, votes: int) -> None:
    """Another number of votes gives another accuracy here, and no more than the training samples can vote."""
    subject = exported(labels_of(6), votes=asked, samples=50)
    measured = reduction.measure(subject)
    result, data, quantization = result_of(measured), subject.data, subject.backend.program.quantization("code")
    rows = positions(subject, measured)
    codes = [quantization.dequantize(subject.backend.encode(x)) for x in (data.train.take(slice(None)), data.test.take(rows))]
    assert data.train.labels is not None and data.test.labels is not None

    def accuracy(count: int) -> float:
        return knn_accuracy(codes[0], data.train.labels, codes[1], data.test.labels[rows], count)

    assert result.votes == votes and result.methods[0].knn_accuracy == accuracy(votes)
    assert accuracy(votes) not in {accuracy(count) for count in (1, 2, 3, 4, 5, 180) if count != votes}


def test_the_contest_holds_the_trustworthiness_of_the_table(no_umap) -> None:
    measured = reduction.measure(exported(labels_of(), neighbours=4, samples=50))
    result, contest = result_of(measured), measured.contest
    assert contest is not None and list(contest.baselines) == ["pca", "mean"] and len(contest.own) == 50
    int8, _, pca = result.methods
    assert contest.own.mean() == pytest.approx(int8.trustworthiness) and 0.3 < contest.baselines["mean"].mean() < 0.7
    assert contest.baselines["pca"].mean() == pytest.approx(pca.trustworthiness)


def test_without_labels_there_is_no_accuracy(no_umap) -> None:
    measured = reduction.measure(exported(None))
    assert all(each.knn_accuracy is None for each in result_of(measured).methods)
    assert result_of(measured).classes == 0 and "labels" not in measured.arrays
    for text in (reduction_view.card(measured.result), str(reduction_view.rows(measured.result))):
        assert "trustworthiness" in text.lower() and "NN" not in text


def test_too_few_test_samples_are_a_reason(no_umap) -> None:
    measured = reduction.measure(exported(None, neighbours=60))
    assert measured.result is None
    assert measured.skipped[0].reason == "got 120 test samples, must be more than 120, twice task.neighbours"


def test_umap_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the package, which takes seconds to compile: what is asked of it, and where its codes go."""

    class UMAP:
        def __init__(self, **options) -> None:
            assert options == {"n_components": 5, "random_state": 0, "n_jobs": 1}

        def fit_transform(self, x: np.ndarray) -> np.ndarray:
            return x[:, :5]

        def transform(self, x: np.ndarray) -> np.ndarray:
            return x[:, :5]

    monkeypatch.setattr(reduction, "find_spec", lambda name: name)
    module = types.ModuleType("umap")
    monkeypatch.setattr(module, "UMAP", UMAP, raising=False)
    monkeypatch.setitem(sys.modules, "umap", module)
    measured = reduction.measure(exported(labels_of(), neighbours=4, samples=50))
    assert result_of(measured).methods[-1].method == "umap" and measured.skipped == ()
    assert "UMAP" in reduction_view.card(measured.result)


def test_without_a_keras_model_umap_does_not_import_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """UMAP's package does where both are installed; a derived bundle is made without it."""
    monkeypatch.setattr(reduction, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "umap", None)
    measured = reduction.measure(dataclasses.replace(exported(labels_of(), neighbours=4, samples=50), keras=None))
    assert [each.method for each in result_of(measured).methods] == ["int8", "pca"]
    assert [each.what for each in measured.skipped] == ["reduction by the float model", "reduction by UMAP"]
    assert measured.skipped[1].reason == "its package imports TensorFlow, which only a run does"


class Data:
    label = "kind"


class Made:
    """What the section reads of a manifest."""

    data = Data()


@pytest.mark.parametrize(("units", "axis"), [(1, "the unit of the code"), (2, "first unit"), (5, "first principal component")])
def test_the_plot_names_each_sample_on_hover(no_umap, units: int, axis: str) -> None:
    names = np.array(["<shirt>", "bag", "coat"])[labels_of()]
    subject = exported(names, units, samples=50)
    measured = reduction.measure(subject)
    html = str(reduction_view.section(Made(), result_of(measured), measured.arrays))
    titles = re.findall(r"<circle [^>]*><title>sample (\d+), kind ([^<]+)</title>", html)
    assert [(int(row), label) for row, label in sorted(titles, key=lambda each: int(each[0]))] == [
        (row, str(names[row]).replace("<", "&lt;").replace(">", "&gt;")) for row in measured.arrays["rows"].tolist()
    ]
    assert axis in html and "<shirt>" not in html and not re.search(r"https?:|<script|url\(", html)
    assert len(set(re.findall(r'<g fill="(.*?)"', html))) == 3
    if units == 2:
        codes = subject.backend.program.quantization("code").dequantize(
            subject.backend.encode(subject.data.test.take(positions(subject, measured)))
        )
        np.testing.assert_array_equal(measured.arrays["plane"], codes)


def test_many_labels_share_a_colour() -> None:
    labels = np.repeat(np.arange(30), np.arange(1, 31)).astype(str)
    names, groups = reduction_view.grouped(labels)
    assert len(names) == reduction_view.GROUPS and names[-1] == "other labels"
    assert set(labels[groups == reduction_view.GROUPS - 1].astype(int)) == set(range(11))
    assert all(names[group] == label for group, label in zip(groups, labels, strict=True) if group < reduction_view.GROUPS - 1)
    few, members = reduction_view.grouped(np.array(["b", "a", "b"]))
    assert few == ("a", "b") and members.tolist() == [1, 0, 1]


def test_the_card_is_a_markdown_table(no_umap) -> None:
    result = reduction.measure(exported(labels_of(), samples=50)).result
    lines = [line for line in reduction_view.card(result).splitlines() if line.startswith("|")]
    assert len(lines) == 5 and len({line.count("|") for line in lines}) == 1
    assert "| 5-NN accuracy |" in lines[0] and lines[2].startswith("| int8 codes | ")
    assert len(reduction_view.rows(result)) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"neighbours": 0}, "neighbours: got 0"),
        ({"votes": 0}, "votes: got 0"),
        ({"samples": 7}, "samples: got 7"),
    ],
)
def test_keys_out_of_range_are_one_line(options, message: str) -> None:
    with pytest.raises(TiedaeError, match=message):
        Reduction(**options)
