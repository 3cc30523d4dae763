import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tiedae.base.errors import DataError, RecipeError
from tiedae.base.records import decode, plain
from tiedae.config.scaling import LARGEST_REACH
from tiedae.data.dataset import Dataset, Scaling, check_samples, scales_per_feature
from tiedae.data.samples import Samples, kind_of
from tiedae.data.scaling_fit import fit_scaling
from tiedae.data.splitting import epoch_order

BYTES = arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 5)))
FLOATS = arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 5)), elements=st.floats(-1000, 1000, width=32))
RULES = st.sampled_from(["auto", "none", "byte", "minmax", "standard", "capped"])
OUTPUTS = st.sampled_from(["linear", "relu", "relu6", "tanh", "sigmoid"])


@settings(max_examples=40, deadline=None)
@given(BYTES, RULES, st.booleans(), OUTPUTS)
def test_bytes_come_back_exactly(x, rule, per_feature, output):
    scaling = fit_scaling(rule, Samples(x), per_feature=per_feature, output_activation=output)
    assert scaling.apply(x).dtype == np.float32
    np.testing.assert_array_equal(scaling.invert(scaling.apply(x), np.uint8), x)


@settings(max_examples=40, deadline=None)
@given(FLOATS, RULES, st.booleans(), OUTPUTS)
def test_floats_come_back_and_the_written_rule_is_the_rule(x, rule, per_feature, output):
    if rule == "byte":
        x = np.clip(x, 0, 255)
    scaling = fit_scaling(rule, Samples(x), per_feature=per_feature, output_activation=output)
    back = scaling.invert(scaling.apply(x), np.float32)
    np.testing.assert_allclose(back, x, rtol=1e-5, atol=1e-5 * max(1.0, np.abs(x).max()))
    assert decode(Scaling, json.loads(json.dumps(plain(scaling))), "scaling") == scaling


@pytest.mark.parametrize(
    ("x", "output", "rule", "low", "high"),
    [
        (np.array([[0, 128], [255, 3]], np.uint8), "linear", "byte", 0, 1),
        (np.array([[0.0, 0.5], [1.0, 0.2]]), "sigmoid", "none", 0, 1),
        (np.array([[-1.0, 0.5], [1.0, 0.2]]), "tanh", "none", -1, 1),
        (np.array([[-1.0, 0.5], [1.0, 0.2]]), "sigmoid", "minmax", 0, 1),
        (np.array([[3.0, 9.0], [7.0, 4.0]]), "tanh", "minmax", -1, 1),
        (np.array([[-3.0, 9.0], [7.0, 4.0]]), "relu", "minmax", 0, 1),
        (np.array([[3, 9], [7, 4]], np.int16), "sigmoid", "minmax", 0, 1),
        (np.array([[1.0, 3.0], [1.0, 3.0]]), "linear", "standard", -1, 1),
    ],
)
def test_auto_follows_the_data_and_the_output(x, output, rule, low, high):
    scaling = fit_scaling("auto", Samples(x), output_activation=output)
    scaled = scaling.apply(x)
    assert (scaling.rule, scaled.min(), scaled.max()) == (rule, low, high)


def test_standard_measures_mean_and_deviation_despite_a_large_offset():
    x = np.random.default_rng(0).normal([1e7, -3.0], [0.5, 20.0], (5000, 2))
    scaling = fit_scaling("standard", Samples(x), per_feature=True)
    np.testing.assert_allclose(scaling.offset, x.mean(axis=0))
    np.testing.assert_allclose(scaling.scale, x.std(axis=0))
    np.testing.assert_allclose(scaling.apply(x).std(axis=0), 1, rtol=1e-5)


@pytest.mark.parametrize(("rule", "output"), [("capped", "linear"), ("auto", "linear"), ("capped", "sigmoid")])
def test_capped_gives_columns_of_heavy_tails_a_larger_scale(rule, output):
    x = np.random.default_rng(0).normal([5.0, -3.0], [2.0, 0.1], (4000, 2))
    x[7, 0] += 100.0
    scaling = fit_scaling(rule, Samples(x), per_feature=True, output_activation=output)
    scaled = scaling.apply(x)
    assert scaling.rule == "capped"
    assert scaled[7, 0] == np.abs(scaled).max() == pytest.approx(LARGEST_REACH)
    assert scaling.scale == pytest.approx([(x[7, 0] - x[:, 0].mean()) / LARGEST_REACH, x[:, 1].std()])


def test_capped_without_heavy_tails_is_standard():
    x = np.random.default_rng(0).normal(size=(100, 3))
    assert fit_scaling("capped", Samples(x), per_feature=True) == fit_scaling("standard", Samples(x), per_feature=True)


@pytest.mark.parametrize(("values", "fits"), [([0, 255], True), ([0.5, 17], True), ([-1, 3], False), ([0, 255.5], False)])
def test_byte_is_for_values_of_a_byte(values, fits):
    samples = Samples(np.array([values, values]))
    if fits:
        assert fit_scaling("byte", samples) == Scaling("byte", 0.0, 255.0)
    else:
        with pytest.raises(DataError, match=r'samples: has values from .*; scaling "byte" divides by 255'):
            fit_scaling("byte", samples)


@pytest.mark.parametrize("constant", [0.0, 0.1, -1e-4, 5e7, 1e-39])
@pytest.mark.parametrize(
    ("rule", "output", "middle"), [("minmax", "sigmoid", 0.5), ("minmax", "tanh", 0.0), ("standard", "linear", 0.0)]
)
def test_a_feature_that_never_changes_is_where_the_model_reaches_it(rule, output, middle, constant):
    """An error of a hundredth in scaled values is a hundredth of the feature, however small it is."""
    x = np.array([[constant, 1.0], [constant, 3.0], [constant, 2.0]], np.float32)
    scaling = fit_scaling(rule, Samples(x), per_feature=True, output_activation=output)
    scaled = scaling.apply(x)
    np.testing.assert_allclose(scaled[:, 0], middle, atol=1e-6)
    np.testing.assert_allclose(scaling.invert(scaled, np.float64), x, rtol=1e-6, atol=1e-8)
    wrong = scaling.invert(scaled + 0.01, np.float64)[:, 0] - x[:, 0]
    assert (np.abs(wrong) <= 0.0101 * max(abs(constant), 1.0 if abs(constant) < 1e-38 else 0.0)).all()


def test_columns_of_any_scale_are_scaled_alike_and_values_in_range_are_no_reason_not_to():
    x = np.random.default_rng(0).uniform(0, 1, (200, 4)) * [1e-3, 1e-2, 0.1, 1]
    scaled = Dataset.from_array(x).train
    values = scaled.scaling.apply(scaled.take(slice(None)))
    np.testing.assert_allclose([values.min(axis=0), values.max(axis=0)], [[0] * 4, [1] * 4], atol=1e-6)


@pytest.mark.parametrize(
    ("values", "windows", "kind", "each"),
    [
        (np.zeros((4, 3), np.float32), False, "table", True),
        (np.zeros((4, 3), np.int16), False, "table", True),
        (np.zeros((4, 3), bool), False, "table", True),
        (np.zeros((4, 3), np.float32), True, "record", False),
        (np.zeros((4, 3), np.uint8), True, "record", False),
        (np.zeros((4, 3), np.uint8), False, "image", False),
        (np.zeros((4, 3, 3), np.float32), False, "image", False),
        (np.zeros((4, 8, 8, 3), np.uint8), False, "image", False),
    ],
)
def test_columns_of_a_table_alone_have_scales_of_their_own(values, windows, kind, each):
    assert kind_of(Samples(values), windows=windows) == kind
    assert scales_per_feature("auto", kind) is each
    assert (scales_per_feature(True, kind), scales_per_feature(False, kind)) == (True, False)


def test_inversion_rounds_half_to_even_and_saturates():
    values = np.array([-0.2, 0.5, 1.5, 254.6, 765], np.float32)
    assert Scaling().invert(values, np.uint8).tolist() == [0, 0, 2, 255, 255]
    assert Scaling("byte", 0.0, 255.0).invert(values / 255, np.uint8).tolist()[2:] == [2, 255, 255]


def test_samples_are_read_by_row_in_the_users_unit_and_dtype():
    values = np.arange(24, dtype=">i2").reshape(4, 2, 3)
    samples = Samples(values, np.array([7, 8]), Scaling("minmax", 0.0, 2.0), rows=np.array([1, 3]))
    assert (len(samples), samples.inputs, samples.shape, samples.dtype) == (2, 6, (2, 3), np.dtype(np.int16))
    assert samples.take(np.array([1])).tolist() == [[18, 19, 20, 21, 22, 23]]
    batches = list(samples.batches(np.array([1, 0]), 1))
    assert [batch.tolist() for batch in batches] == [[[9, 9.5, 10, 10.5, 11, 11.5]], [[3, 3.5, 4, 4.5, 5, 5.5]]]
    assert all(batch.dtype == np.float32 for batch in batches)


def test_the_digest_is_of_content_not_of_layout():
    x = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    digest = Samples(x).sha256
    assert Samples(np.asfortranarray(x)).sha256 == Samples(x.astype(">f4")).sha256 == digest
    assert Samples(np.concatenate([x, x]), rows=np.arange(50, 100)).sha256 == digest
    assert Samples(x[::-1]).sha256 != digest
    assert Samples(x.reshape(100, 3)).sha256 != digest


BAD_VALUE = np.zeros((5000, 700), np.float32)
BAD_VALUE[4321, 12] = np.inf


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.empty((0, 4)), r"file: is empty \(shape \[0, 4\]\)"),
        (np.empty((4, 0)), "file: is empty"),
        (np.zeros((1, 4), np.uint8), "file: holds 1 sample, must be 2 or more"),
        (np.zeros(9), r"file: has shape \[9\], must be \[samples, values…\]"),
        (np.array([[1], [1, 2]], object), "file: samples differ in length"),
        (np.array([["a", "b"], ["c", "d"]]), "file: holds values of type <U1, must be real numbers"),
        (np.zeros((3, 2), complex), "file: holds values of type complex128"),
        (np.zeros((3, 2), "M8[s]"), "file: holds values of type datetime64"),
        (np.array([[0.0, np.nan], [1, 2]]), "file: sample 0, value 1 is nan, must be finite"),
        (np.array([[0.0, 1.0], [1e300, 2]]), r"file: sample 1, value 0 is 1e\+300, must be within ±1e\+30; scale the data"),
        (np.array([[0.0, 1.0], [-3e38, 2]], np.float32), r"file: sample 1, value 0 is -3\.0.*e\+38, must be within"),
        (BAD_VALUE, "file: sample 4321, value 12 is inf"),
    ],
)
def test_what_cannot_be_trained_on_is_named(values, text):
    with pytest.raises(DataError, match=text):
        check_samples(Samples(values), "file")


@pytest.mark.parametrize("rule", ["minmax", "standard"])
def test_values_that_differ_by_too_little_for_float32_are_named(rule):
    x = np.linspace(-5, 5, 60).reshape(20, 3)
    assert np.min(fit_scaling(rule, Samples(x * 1e-29)).scale) > 1e-30
    with pytest.raises(DataError, match=r"file: values would be divided by .*e-3[56], must be at least 1e-30; scale the data"):
        fit_scaling(rule, Samples(x * 1e-36), source="file")
    x[:, 1] *= 1e-33
    with pytest.raises(DataError, match="file: feature 1 would be divided by"):
        fit_scaling(rule, Samples(x), source="file", per_feature=True)


@settings(max_examples=30, deadline=None)
@given(st.integers(4, 60), st.sampled_from([0.01, 0.1, 0.4]), st.sampled_from([0.0, 0.01, 0.3]), st.integers(0, 3))
def test_an_array_is_split_into_disjoint_parts_by_the_seed(n, test, validation, seed):
    x = np.arange(6 * n, dtype=np.int16).reshape(n, 2, 3)
    splits, again = (
        Dataset.from_array(x, labels=list(range(n)), test=test, validation=validation, seed=seed) for _ in range(2)
    )
    parts = [part for part in (splits.train, splits.validation, splits.test) if part is not None]
    assert len(splits.test) == max(1, round(test * n))
    assert (splits.validation is None) == (validation == 0)
    for part in parts:
        np.testing.assert_array_equal(part.take(slice(None)), x.reshape(n, 6)[part.labels])
        assert part.scaling == splits.scaling
    assert sorted(label for part in parts for label in np.asarray(part.labels)) == list(range(n))
    train = splits.scaling.apply(splits.train.take(slice(None)))
    assert (splits.scaling.rule, train.min(), train.max(), splits.kind) == ("minmax", 0, 1, "image")
    assert splits.train.sha256 == again.train.sha256


def test_an_array_takes_the_scaling_that_is_asked_for():
    x = np.random.default_rng(0).normal(5, 2, (100, 3))
    assert Dataset.from_array(x, scaling="none").scaling == Scaling()
    assert Dataset.from_array(x, output_activation="linear").scaling.rule == "standard"
    assert Dataset.from_array(x.astype(np.uint8)).scaling.rule == "byte"
    for scaled, each in (("auto", tuple), (True, tuple), (False, float)):
        assert type(Dataset.from_array(x, per_feature=scaled).scaling.scale) is each
        assert type(Dataset.from_array(x[:, None], per_feature=scaled).scaling.scale) is (float if scaled == "auto" else each)
    assert Dataset.from_array(x).train.labels is None
    assert Dataset.from_array(x, seed=1).test.sha256 != Dataset.from_array(x).test.sha256


def test_a_mapped_array_stays_mapped(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(64, 1024)))
    assert Dataset.from_array(np.load(tmp_path / "x.npy", mmap_mode="r")).train.block == 128


@pytest.mark.parametrize(
    ("x", "options", "error", "text"),
    [
        ([[1.0, 2.0], [3.0]], {}, DataError, "array: samples differ in length"),
        (np.zeros(9), {}, DataError, r"array: has shape \[9\]"),
        (np.eye(1), {}, DataError, "array: holds 1 sample, must be 2 or more"),
        (np.eye(2), {"validation": 0.1}, DataError, "array: holds 2 samples; with 2 split off none is left to train on"),
        (np.eye(9), {"labels": [1, 2]}, DataError, r"array: has labels of shape \[2\], must be \[9\], one per sample"),
        (np.full((9, 2), 3), {}, DataError, "array: every value to train on is 3.0; there is nothing to learn"),
        (np.full((9, 2), np.nan), {}, DataError, "array: sample 0, value 0 is nan, must be finite"),
        (np.eye(9), {"test": 0.0}, RecipeError, r"test: got 0.0, must be a number in \(0, 1\)"),
        (np.eye(9), {"test": 0.5, "validation": 0.5}, RecipeError, "validation: got 0.5, must be less than 1 − test"),
        (np.eye(9), {"seed": -1}, RecipeError, "seed: got -1, must be an integer, 0 or more"),
        (np.eye(9), {"per_feature": "yes"}, RecipeError, "per_feature: got 'yes', must be true or false or auto"),
        (
            np.eye(9),
            {"scaling": "max"},
            RecipeError,
            "scaling: got 'max', must be one of auto, byte, capped, minmax, none, standard",
        ),
        (np.eye(9), {"output_activation": "softmax"}, RecipeError, "output_activation: got 'softmax', must be one of"),
    ],
)
def test_an_array_that_cannot_be_split_is_named(x, options, error, text):
    with pytest.raises(error, match=text):
        Dataset.from_array(x, **options)


def test_two_samples_are_enough():
    splits = Dataset.from_array(np.array([[0, 1], [2, 3]], np.uint8))
    assert (len(splits.train), len(splits.test), splits.validation) == (1, 1, None)


def test_a_memory_map_is_walked_without_being_loaded(tmp_path):
    values = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (60_000, 1000))
    values[30_000, 7] = 1.0
    samples = Samples(np.load(tmp_path / "x.npy", mmap_mode="r").reshape(60_000, 10, 100), rows=np.arange(1, 60_000))
    assert samples.block == 262
    tracemalloc.start()
    check_samples(samples, "x")
    scaling = fit_scaling("minmax", samples)
    first = next(samples.batches(epoch_order(len(samples), 0, 0, samples.block), 64))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (scaling.offset, scaling.scale) == (0.0, 1.0)
    assert first.shape == (64, 1000)
    assert peak < 48 << 20 < samples.values.nbytes / 4


@pytest.mark.parametrize("shape", [(5, 1), (5, 4), (5,), ()])
def test_features_with_scales_of_their_own_meet_as_many_values(shape):
    """One column was spread over all of them."""
    scaling, values = Scaling("standard", (0.0, 1.0, 2.0), (1.0, 2.0, 3.0)), np.zeros(shape, np.float32)
    for call in (scaling.apply, lambda x: scaling.invert(x, np.float32)):
        with pytest.raises(DataError) as error:
            call(values)
        assert str(error.value) == f"scaling: got values of shape {list(shape)}, must be [..., 3], one per feature"
    assert scaling.apply(np.zeros((2, 5, 3))).shape == (2, 5, 3)
