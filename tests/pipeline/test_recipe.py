import json
import tomllib
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tiedae.base.errors import FormatError, RecipeError
from tiedae.base.records import plain
from tiedae.config.config import CodecConfig, DataConfig, PruneConfig, QuantizeConfig, Recipe, SearchConfig, TrainConfig
from tiedae.config.layer_kinds import Activation, LayerConfig
from tiedae.config.model_config import ModelConfig
from tiedae.config.tasks import Anomaly, Compression, Denoising, NoiseConfig, NoiseKind, Reduction
from tiedae.data.data_sets import ASSETS, DATA_SETS
from tiedae.pipeline.recipe import check_inputs, load_recipe, parse_recipe, recipe_digest, recipe_schema, recipe_to_toml

from ..conftest import smallest_recipe

SMALL = {"data": {"source": "x.npy"}, "model": {"layers": [{"units": 8, "activation": "relu"}, {"units": 3}]}}
SHARE = st.floats(0, 0.875)

recipes = st.builds(
    Recipe,
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,9}", fullmatch=True),
    data=st.builds(
        DataConfig,
        source=st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1),
        window=st.integers(0, 99),
        columns=st.lists(st.text(min_size=1).filter(lambda name: name != "auto"), max_size=2, unique=True).map(tuple),
        resize=st.sampled_from([(), (28, 32)]),
        convert=st.sampled_from(["none", "rgb", "gray"]),
        validation=st.just(0.1),
        per_feature=st.booleans() | st.just("auto"),
    ),
    model=st.builds(
        ModelConfig,
        layers=st.lists(
            st.builds(LayerConfig, units=st.integers(1, 999), activation=st.sampled_from(get_args(Activation)), dropout=SHARE),
            min_size=1,
            max_size=3,
        ).map(tuple),
        output_activation=st.sampled_from(get_args(Activation)),
    ),
    train=st.builds(
        TrainConfig,
        epochs=st.integers(0, 99),
        learning_rate=st.floats(1e-9, 1e9),
        noise=st.builds(NoiseConfig, kind=st.sampled_from(get_args(NoiseKind)), level=st.floats(0.01, 0.9)),
    ),
    prune=st.none() | st.builds(PruneConfig, sparsity=SHARE),
    quantize=st.builds(QuantizeConfig, samples=st.integers(8, 99)),
    codec=st.builds(CodecConfig, classes=st.integers(1, 256)),
    task=st.sampled_from([Compression(), Anomaly(), Anomaly(0.9, (1, "a"), "max"), Denoising(), Reduction()]),
    search=st.none() | st.builds(SearchConfig, sparsity=st.lists(SHARE, max_size=2, unique=True).map(tuple)),
)


@settings(max_examples=40, deadline=None)
@given(recipes)
def test_a_written_recipe_reads_back_as_the_same(recipe):
    again = parse_recipe(plain(recipe), "other")
    assert again == recipe
    assert recipe_digest(again) == recipe_digest(recipe)


@settings(max_examples=40, deadline=None)
@given(recipes, recipes)
def test_digests_differ_where_recipes_do(one, other):
    assert (recipe_digest(one) == recipe_digest(other)) == (one == other)


def test_defaults_are_those_of_the_configuration():
    recipe = parse_recipe(SMALL, "small")
    layers = (LayerConfig(8, "relu"), LayerConfig(3))
    assert recipe == Recipe("small", DataConfig("x.npy"), ModelConfig(layers))


def test_bare_numbers_are_layers_relu_where_hidden_and_linear_where_they_are_the_code():
    layers = parse_recipe(SMALL | {"model": {"layers": [256, {"units": 64, "activation": "tanh"}, 16]}}, "small").model.layers
    assert layers == (LayerConfig(256, "relu"), LayerConfig(64, "tanh"), LayerConfig(16, "linear"))
    assert parse_recipe(SMALL | {"model": {"layers": [16]}}, "small").model.layers == (LayerConfig(16, "linear"),)


@pytest.mark.parametrize(
    ("layer", "text"), [(0, "model.layers[0].units: got 0, must be an integer, 1 or more"), (True, "model.layers[0]")]
)
def test_a_bare_number_that_is_no_layer_is_named(layer, text):
    with pytest.raises(RecipeError) as raised:
        parse_recipe(SMALL | {"model": {"layers": [layer, 3]}}, "small")
    assert str(raised.value).startswith(text)


@pytest.mark.parametrize(
    ("file", "name"),
    [("my recipe", "my-recipe"), ("a.b", "a-b"), ("größe", "groe"), ("(1)", "1"), ("日本", "recipe"), ("a_b-c", "a_b-c")],
)
def test_a_recipe_without_a_name_has_one_from_its_file(tmp_path, file, name):
    path = tmp_path / f"{file}.toml"
    path.write_text(smallest_recipe(), encoding="utf-8")
    assert load_recipe(path).name == name


def test_a_recipe_with_one_class_is_the_recipe_without_the_table():
    digests = [recipe_digest(parse_recipe(SMALL | table, "small")) for table in ({}, {"codec": {"classes": 1}})]
    assert digests[0] == digests[1] != recipe_digest(parse_recipe(SMALL | {"codec": {"classes": 2}}, "small"))


def test_a_configuration_is_checked_however_it_is_made():
    made = QuantizeConfig(bits=[np.int64(4), 8], distill=np.float32(0.5), epochs=np.int32(3))
    assert made == QuantizeConfig(bits=(4, 8), distill=0.5, epochs=3)
    assert [type(value) for value in (made.bits, made.distill, made.epochs)] == [tuple, float, int]
    assert type(TrainConfig(learning_rate=1).learning_rate) is float
    with pytest.raises(RecipeError, match=r"^epochs: got -1, must be an integer, 0 or more"):
        TrainConfig(epochs=-1)
    with pytest.raises(RecipeError, match=r"^layers\[0\]: got 8, must be a table of units"):
        ModelConfig((8,))
    with pytest.raises(RecipeError, match=r"^activation: got 'elu', must be one of linear, relu"):
        replace(LayerConfig(3), activation="elu")


def test_the_schema_says_what_a_recipe_file_may_hold():
    schema = recipe_schema()
    json.dumps(schema, allow_nan=False)
    tables = schema["$defs"]
    assert schema["$ref"] == "#/$defs/Recipe" and tables["Recipe"]["required"] == ["data", "model"]
    assert all(table["additionalProperties"] is False for table in tables.values())
    assert set(tables["PruneConfig"]["properties"]) == set(PruneConfig.__struct_fields__)
    assert tables["LayerConfig"]["properties"]["dropout"] == {
        "description": "fraction of the layer's outputs that training drops",
        "type": "number",
        "minimum": 0,
        "exclusiveMaximum": 1,
        "default": 0.0,
    }
    assert [sorted(each) for each in tables["ModelConfig"]["properties"]["layers"]["items"]["anyOf"]] == [
        ["maximum", "minimum", "type"],
        *[["$ref"]] * 5,
    ]
    for table, key in {"Recipe": "prune", "QuantizeConfig": "calibration"}.items():
        assert {"const": False} in tables[table]["properties"][key]["anyOf"]


def test_pruning_is_left_out_by_default_and_by_false():
    assert parse_recipe(SMALL | {"prune": {}}, "small").prune == PruneConfig()
    absent = {"prune": False, "cluster": False, "search": False, "quantize": {"calibration": False}}
    assert parse_recipe(SMALL | absent, "small") == parse_recipe(SMALL, "small")
    assert parse_recipe(SMALL, "small").prune is None


def test_an_integer_may_stand_for_a_number():
    whole = parse_recipe(SMALL | {"verify": {"max_quality_loss": 1}}, "small")
    assert recipe_digest(whole) == recipe_digest(parse_recipe(SMALL | {"verify": {"max_quality_loss": 1.0}}, "small"))


@pytest.mark.parametrize("name", ["fashion", "ecg", "ecg-table", "denoising"])
def test_the_recipes_of_the_demo_name_data_that_ships(name):
    recipe = load_recipe(ASSETS / f"{name}.toml")
    assert recipe.name == name
    assert DATA_SETS[recipe.data.source].ships


@pytest.mark.parametrize("chosen", [True, False, "auto"])
def test_scales_per_column_are_on_off_or_automatic(chosen):
    recipe = parse_recipe(changed(data={"source": "x.npy", "per_feature": chosen}), "small")
    assert recipe.data.per_feature is chosen or recipe.data.per_feature == chosen == "auto"
    assert parse_recipe(SMALL, "small").data.per_feature == "auto"


def test_inputs_come_from_the_data_and_must_agree_with_it():
    recipe = parse_recipe(SMALL, "small")
    filled = check_inputs(recipe, (28, 28))
    assert filled.model.widths == (784, 8, 3)
    assert check_inputs(filled, (784,)) == filled
    with pytest.raises(RecipeError, match=r"model\.inputs: got 784, must be 700, the number of values per sample of x\.npy"):
        check_inputs(filled, (700,))


def changed(**tables):
    return {**SMALL, **tables}


@pytest.mark.parametrize(
    ("mapping", "text"),
    [
        (changed(task={}), "task.kind: is missing, must be one of anomaly, compression, denoising, reduction"),
        (
            changed(task={"kind": "anomali"}),
            "task.kind: got 'anomali', must be one of anomaly, compression, denoising, reduction",
        ),
        (changed(task={"kind": 3}), "task.kind: got 3, must be one of anomaly"),
        (changed(task="anomaly"), "task: got 'anomaly', must be a table with kind, one of anomaly, compression,"),
        (changed(task={"kind": "compression", "quantile": 0.9}), "task.quantile: unknown key; the keys here are kind"),
        (changed(task={"kind": "anomaly", "quantil": 0.9}), "task.quantil: unknown key; did you mean quantile?"),
        (changed(task={"kind": "anomaly", "quantile": 1}), "task.quantile: got 1, must be a number in (0, 1)"),
        (changed(task={"kind": "anomaly", "normal": [1, 1]}), "task.normal: got [1, 1], must be a list of different labels"),
        (changed(task={"kind": "anomaly", "score": "rms"}), "task.score: got 'rms', must be one of mae, max, mse, standard"),
        (changed(train={"noise": {"kind": "gaussian"}}), "train.noise.level: is missing, must be a finite number, above 0"),
        (
            changed(train={"noise": {"kind": "poisson", "level": 1}}),
            "train.noise.kind: got 'poisson', must be one of gauss",
        ),
        (
            changed(train={"noise": {"kind": "gaussian", "level": 0}}),
            "train.noise.level: got 0, must be a finite number",
        ),
        (
            changed(train={"noise": {"kind": "gaussian", "level": 25}}),
            "train.noise.level: got 25.0, must be in (0, 10], ",
        ),
        (
            changed(train={"noise": {"kind": "masking", "level": 1}}),
            "train.noise.level: got 1.0, must be in (0, 1), a ",
        ),
        (changed(train={"noise": 0.3}), "train.noise: got 0.3, must be a table of kind, level"),
        (changed(task={"kind": "denoising"}), "task.kind: got 'denoising', must be another kind, or beside train.noise or"),
        (
            changed(data={"source": "x.npy", "clean": "y.npy"}, train={"noise": {"kind": "masking", "level": 0.5}}),
            "data.clean: got 'y.npy', must be left out beside train.noise, which needs clean samples alone",
        ),
        (changed(trian={}), "trian: unknown key; did you mean train?"),
        (changed(train={"epoch": 3}), "train.epoch: unknown key; did you mean epochs?"),
        (changed(verify={"zzz": 3}), "verify.zzz: unknown key; the keys here are max_quality_loss, "),
        (changed(model={"layers": [{"units": 8}, {"unit": 3}]}), "model.layers[1].unit: unknown key; did you mean units?"),
        (changed(model={"layers": [{"units": 8}, {"units": "3"}]}), "model.layers[1].units: got '3', must be an integer"),
        (
            changed(model={"layers": [{"units": 8}, {"units": 0}]}),
            "model.layers[1].units: got 0, must be an integer, 1 or more",
        ),
        (changed(model={"layers": [{"units": 8}, {}]}), "model.layers[1].units: is missing, must be an integer"),
        (
            changed(model={"layers": [{"units": 8, "activation": "elu"}]}),
            "model.layers[0].activation: got 'elu', must be one of",
        ),
        (
            changed(model={"layers": {"units": 8}}),
            "model.layers: got {'units': 8}, must be a list of 1 or more, each a table of units,",
        ),
        (changed(model={"layers": []}), "model.layers: got [], must be a list of 1 or more, each a table of units, activation"),
        (changed(model={"layers": ["8"]}), "model.layers[0]: got '8', must be a table"),
        (changed(train={"epochs": True}), "train.epochs: got True, must be an integer"),
        (changed(train={"epochs": 3.0}), "train.epochs: got 3.0, must be an integer"),
        (changed(train={"epochs": 10**12}), "train.epochs: got 1000000000000, must be an integer, 0 or more (below 2³¹)"),
        (changed(train={"seed": -1}), "train.seed: got -1, must be an integer, 0 or more"),
        (changed(train={"learning_rate": True}), "train.learning_rate: got True, must be a finite number"),
        (changed(train={"learning_rate": float("nan")}), "train.learning_rate: got nan, must be a finite number"),
        (changed(train={"learning_rate": 10**400}), "train.learning_rate: got 1000"),
        (changed(prune={"sparsity": 1}), "prune.sparsity: got 1, must be a number in [0, 1)"),
        (changed(prune={"sparsity": -0.1}), "prune.sparsity: got -0.1, must be a number in [0, 1)"),
        (changed(train={"learning_rate": float("inf")}), "train.learning_rate: got inf, must be a finite number, above 0"),
        (changed(prune={"block": [4]}), "prune.block: got [4], must be a list of 2: an integer, 1 or more"),
        (changed(prune={"block": [4, 4]}), "prune.block: got [4, 4], must be left out, or pattern block"),
        (changed(quantize={"calibration": True}), "quantize.calibration: got True, must be a string"),
        (
            changed(export={"signatures": ["encode", "encode"]}),
            "export.signatures: got ['encode', 'encode'], must be a list of",
        ),
        (changed(prune=True), "prune: got True, must be a table of pattern, sparsity, block"),
        (changed(export={"targets": "tflite"}), "export.targets: got 'tflite', must be a list of 1 or more, each a string"),
        (changed(export={"targets": ["tflit"]}), "export.targets[0]: got 'tflit', must be one of tflite, onnx"),
        (changed(quantize={"bits": [4, 9]}), "quantize.bits[1]: got 9, must be an integer in [2, 8]"),
        (changed(quantize={"bits": []}), "quantize.bits: got [], must be a list of 1 or more, each an integer in [2, 8]"),
        (changed(quantize={"bits": [4, 8, 8]}), "quantize.bits: got (4, 8, 8), must be one width, or 2, one per kernel"),
        (changed(quantize={"bits": 4}), "quantize.bits: got 4, must be a list of 1 or more, each an integer in [2, 8]"),
        (changed(quantize={"code_bits": 3}), "quantize.code_bits: got 3, must be an integer in [4, 8]"),
        (
            changed(model={"layers": [{"units": 3, "activation": "tanh"}]}, quantize={"code_bits": 4}),
            "quantize.code_bits: got 4, must be 8, since tanh or sigmoid fixes the scale of the code",
        ),
        (changed(data={"source": "x", "per_feature": "no"}), "data.per_feature: got 'no', must be true or false or auto"),
        (changed(data={"source": "x", "per_feature": 1}), "data.per_feature: got 1, must be true or false or auto"),
        (changed(data={"source": "x", "columns": "a"}), "data.columns: got 'a', must be a list, each a string"),
        (
            changed(data={"source": "x", "columns": ["a", "a"]}),
            "data.columns: got ['a', 'a'], must be a list of different values",
        ),
        (
            changed(data={"source": "x", "columns": ["a"], "drop": ["a"]}),
            "data.columns: got ['a'], must be names that none of `drop`, `label`, `time` and `groups` has",
        ),
        (
            changed(data={"source": "x", "label": "b", "drop": ["b"]}),
            "data.label: got 'b', must be a name that `drop` does not",
        ),
        (changed(data={"source": "x", "resize": [4]}), "data.resize: got [4], must be [height, width]"),
        (changed(data={"source": "x", "resize": [4, 0]}), "data.resize[1]: got 0, must be an integer, 1 or more"),
        (changed(data={"source": "x", "convert": 1}), "data.convert: got 1, must be one of gray, none, rgb"),
        (changed(data={"source": "x", "patch": 0}), "data.patch: got 0, must be an integer in [2, 1024]"),
        (changed(data={"source": "x", "patch": 8, "window": 4}), "data.window: got 4, must be left out beside `patch`"),
        (
            changed(data={"source": "x", "patch": 8, "resize": [8, 8]}),
            "data.resize: got [8, 8], must be left out beside `patch`",
        ),
        (changed(data={"source": "x", "patch": 8, "kind": "table"}), 'data.patch: got 8, must be left out, or kind "image"'),
        (changed(data={"source": "x", "patch": 8, "groups": "g"}), "data.groups: got 'g', must be left out beside `patch`"),
        (changed(data={}), "data.source: is missing, must be a string"),
        (
            changed(data="x.npy"),
            "data: got 'x.npy', must be a table of source, kind, window, stride, channels, rate",
        ),
        (changed(name="a b"), "name: got 'a b', must be ASCII letters, digits, - and _"),
        ({"data": {"source": "x.npy"}}, "model: is missing, must be a table"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_what_would_be_right(mapping, text):
    with pytest.raises(RecipeError) as raised:
        parse_recipe(mapping, "small")
    assert str(raised.value).startswith(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (None, "no such recipe"),
        (b"[data]\nsource = \n", "not valid TOML: Invalid value (at line 2, column 10)"),
        (b"\xff\xfe", "is not UTF-8 text (byte 0)"),
        (b"name = 3\n" + smallest_recipe().encode(), "name: got 3, must be a string"),
    ],
)
def test_a_file_that_is_no_recipe_is_named(tmp_path, content, text):
    path = tmp_path / "small.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecipeError) as raised:
        load_recipe(path)
    assert str(raised.value).startswith(f"{path}: {text}")


def test_a_folder_is_no_recipe(tmp_path):
    with pytest.raises(FormatError, match="is a folder, must be a regular file"):
        load_recipe(tmp_path)


def test_every_value_of_a_recipe_is_written_out():
    written = plain(parse_recipe(SMALL, "small"))
    assert set(written) == set(Recipe.__struct_fields__)
    assert written["prune"] is None
    assert written["train"]["seed"] == 0


@given(recipes, st.text(alphabet=st.characters(blacklist_categories=["C", "Zl", "Zp"])))
@settings(deadline=None, max_examples=60)
def test_a_recipe_as_toml_reads_as_the_recipe(recipe: Recipe, comment: str) -> None:
    assert parse_recipe(tomllib.loads(recipe_to_toml(recipe, comment)), "another") == recipe


def test_a_recipe_as_toml_says_no_more_than_it_has_to() -> None:
    recipe = parse_recipe(SMALL | {"prune": {}}, "small")
    assert recipe_to_toml(recipe, "one\ntwo") == (
        '# one\n# two\nname = "small"\n\n[data]\nsource = "x.npy"\n\n[model]\n'
        'layers = [{ units = 8, activation = "relu" }, { units = 3 }]\n\n[prune]\n'
    )
