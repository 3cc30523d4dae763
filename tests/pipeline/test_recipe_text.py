"""`tiedae recipe`: a recipe of every key, its schema, and the short ones to start from."""

from __future__ import annotations

import json
import math
import re
import tomllib
from pathlib import Path
from typing import get_args

import pytest
from msgspec import structs

from tiedae.calibration import quantize_post_training, representative
from tiedae.cli import main
from tiedae.cli.commands.recipe import STARTERS
from tiedae.compress import TiedAutoencoder
from tiedae.config.config import (
    ClusterConfig,
    CodecConfig,
    DataConfig,
    ExportConfig,
    PruneConfig,
    QuantizeConfig,
    Recipe,
    SearchConfig,
    TrainConfig,
    VerifyConfig,
)
from tiedae.config.layer_kinds import Conv1DConfig, LayerConfig
from tiedae.config.model_config import ModelConfig
from tiedae.config.tasks import Task, task_kind
from tiedae.data.data_sets import ASSETS
from tiedae.export import lower, to_tflite
from tiedae.pipeline.recipe import load_recipe, parse_recipe, recipe_schema, recipe_text, recipe_to_toml
from tiedae.pipeline.sources import load_dataset

TABLES = {
    "data": DataConfig,
    "model": ModelConfig,
    "train": TrainConfig,
    "prune": PruneConfig,
    "cluster": ClusterConfig,
    "quantize": QuantizeConfig,
    "export": ExportConfig,
    "codec": CodecConfig,
    "verify": VerifyConfig,
    "task": Task,
    "search": SearchConfig,
}
KINDS = {kind.__struct_config__.tag: kind for kind in get_args(Task)}
DEFAULTS = parse_recipe({"data": {"source": "samples.npy"}, "model": {"layers": [256, 16]}}, "recipe")


def test_the_printed_recipe_is_the_defaults() -> None:
    assert parse_recipe(tomllib.loads(recipe_text()), "recipe") == DEFAULTS


def test_what_it_leaves_out_is_the_defaults_too() -> None:
    everything = re.sub(r"^#(?=[\w\[])", "", recipe_text(), flags=re.MULTILINE)
    left_out = {"prune": PruneConfig(), "cluster": ClusterConfig(), "search": SearchConfig()}
    assert parse_recipe(tomllib.loads(everything), "another") == structs.replace(DEFAULTS, **left_out)
    dense, *others = re.split(r"^#    # .*\n(?=#    kind = )", section("model"), flags=re.MULTILINE)
    tables = [tomllib.loads("\n".join(re.findall(r"^#    (\w.*)$", text, re.MULTILINE))) for text in (dense, *others)]
    assert parse_recipe(tomllib.loads(everything) | {"model": {"layers": [256, tables[0]]}}, "x").model.layers[
        1
    ] == LayerConfig(256)
    assert [table["kind"] for table in tables[1:]] == ["conv1d", "conv2d", "maxpool", "flatten"]
    conv1d = {"layers": [tables[1], tables[3], tables[4], 8]}
    assert parse_recipe(tomllib.loads(everything) | {"model": conv1d}, "x").model.layers[0] == Conv1DConfig(units=16, pool=2)


def test_every_key_has_one_line_of_meaning_and_what_it_may_be() -> None:
    lines = recipe_text().splitlines()
    assert all(len(line) <= 128 for line in lines)
    sections = {found[1]: i for i, line in enumerate(lines) if (found := re.fullmatch(r"#?\[(\w+)\]", line))}
    assert list(sections) == list(TABLES) == [name for name in Recipe.__struct_fields__ if name != "name"]
    ends = [*sections.values(), len(lines)][1:]
    for (table, begin), end in zip(sections.items(), ends, strict=True):
        keys = [i for i in range(begin + 1, end) if re.match(r"#?\w+ = ", lines[i])]
        fields = getattr(TABLES[table], "__struct_fields__", ("kind",))
        assert tuple(re.findall(r"\w+", lines[i])[0] for i in keys) == fields
        assert all(re.fullmatch(r"# .{2,} \| .+", lines[i - 1]) for i in keys)
    assert (
        "# final fraction of zeros, or of units that leave; 1 − N/M for N:M | a number in [0, 1)\n#sparsity = 0.5"
        in recipe_text()
    )
    assert "| one of constant, cosine\nschedule" in recipe_text()


def test_the_schema_has_the_same_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "--schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema == json.loads(json.dumps(recipe_schema()))
    for kind in (*(each for each in TABLES.values() if each != Task), LayerConfig, *KINDS.values()):
        properties = schema["$defs"][kind.__name__]["properties"]
        for name, key in ((name, properties[name]) for name in kind.__struct_fields__):
            assert f"# {key['description']} | " in recipe_text(), (kind, name)


def section(table: str) -> str:
    """The lines of `tiedae recipe` from a table's name to the next table's."""
    return re.split(r"^#?\[", re.split(rf"^#?\[{table}\]", recipe_text(), flags=re.MULTILINE)[1], flags=re.MULTILINE)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_task_has_its_keys_and_defaults_below_its_name(kind: str) -> None:
    after = re.split(rf"^# {kind}: ", section("task"), flags=re.MULTILINE)[1]
    keys = re.split(r"^# \w+: ", after, flags=re.MULTILINE)[0]
    table = tomllib.loads("\n".join(re.findall(r"^#    (\w.*)$", keys, re.MULTILINE)))
    assert tuple(table) == KINDS[kind].__struct_fields__ and KINDS[kind](**table) == KINDS[kind]()
    mapping = {
        "data": {"source": "x.npy", "validation": 0.1},
        "model": {"layers": [4]},
        "train": {"noise": {"kind": "gaussian", "level": 0.3}},
        "task": {"kind": kind, **table},
    }
    recipe = parse_recipe(mapping, "x")
    assert recipe.task == KINDS[kind]() and parse_recipe(tomllib.loads(recipe_to_toml(recipe)), "y") == recipe


@pytest.mark.parametrize(
    ("name", "kind"),
    [("image", "image"), ("fashion-conv", "image"), ("record", "record"), ("ecg-conv", "record"), ("table", "table")],
)
def test_a_recipe_to_start_from_is_one_for_its_kind_of_data(name: str, kind: str, tmp_path: Path, capsys) -> None:
    assert main(["recipe", "--for", name]) == 0
    path = tmp_path / "mine.toml"
    path.write_text(capsys.readouterr().out)
    recipe = load_recipe(path)
    assert recipe.name == "mine", "the name is the file's"
    assert path.read_bytes() == (ASSETS / f"{STARTERS[name]}.toml").read_bytes()
    splits = load_dataset(recipe.data, recipe.model.output_activation, base=tmp_path)
    assert splits.kind == kind and recipe.model.of_samples(splits.train.shape).widths[-1] < splits.inputs


def test_the_kernels_of_convolutions_over_a_record_take_40_kb() -> None:
    recipe = load_recipe(ASSETS / "ecg-conv.toml")
    assert sum(map(math.prod, recipe.model.of_samples((recipe.data.window,)).matrices)) <= 40_000


@pytest.mark.parametrize("kind", ["anomaly", "ecg-anomaly", "machine-sound", "denoising", "reduction"])
def test_a_recipe_to_start_from_is_one_for_its_task(kind: str, tmp_path: Path, capsys) -> None:
    assert main(["recipe", "--for", kind]) == 0
    path = tmp_path / "mine.toml"
    path.write_text(capsys.readouterr().out)
    assert task_kind(load_recipe(path).task) == kind.removeprefix("ecg-").replace("machine-sound", "anomaly")


@pytest.mark.ci
def test_the_net_of_convolutions_takes_the_bytes_that_its_recipe_says() -> None:
    recipe = load_recipe(ASSETS / "fashion-conv.toml")
    data = load_dataset(recipe.data, recipe.model.output_activation)
    model = TiedAutoencoder(recipe.model.of_samples(data.train.shape))
    quantize_post_training(model, representative(data.train, 64), structs.replace(recipe.quantize, refinements=()))
    said = re.search(r"less than ([\d,]+) bytes", (ASSETS / "fashion-conv.toml").read_text(encoding="utf-8"))
    assert said and len(to_tflite(lower(model, "net", layout="split"))) < int(said[1].replace(",", ""))


def test_one_of_a_kind_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe", "--for", "image", "--schema"]) == 2
    assert "not allowed with argument" in capsys.readouterr().err
