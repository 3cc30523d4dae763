"""Mistakes in recipes of convolutions: each in one line that names the key, what was got and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiedae.cli import main
from tiedae.compress import RecipeError, TiedAutoencoder

from .convolutions import SHAPES

CONVOLUTIONS = ("conv1d", "conv2d")


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (
            [{"kind": "avgpool"}, 4],
            r"layers\[0\].kind: got 'avgpool', must be one of dense, conv1d, conv2d, maxpool, flatten: averages",
        ),
        ([{"kind": "maxpool"}, 4], r"layers\[0\].kind: got 'maxpool', must be behind a conv1d or conv2d layer"),
        ([{"units": 4}, {"kind": "maxpool"}], r"layers\[1\].kind: got 'maxpool', must be behind a conv1d or conv2d"),
        ([{"pool": 2}, {"kind": "maxpool"}], r"layers\[1\].kind: got 'maxpool', must be behind a conv1d or conv2d"),
        ([{}, {"kind": "maxpool"}, {"kind": "maxpool"}], r"layers\[2\].kind: got 'maxpool', must be behind a conv1d"),
        ([{}, {"kind": "maxpool", "sizes": 2}], r"layers\[1\].sizes: unknown key; did you mean size"),
        ([{}, {"kind": "maxpool"}, {"filters": 0}], r"layers\[2\].filters: got 0, must be an integer, 1 or more"),
        (
            [{}, {"kind": "flatten"}],
            r"layers\[1\].kind: got 'flatten', must be before a dense layer; without it",
        ),
        (
            [{}, {"kind": "flatten"}, {"filters": 2}],
            r"layers\[1\].kind: got 'flatten', must be before a dense layer, not conv2d$",
        ),
        ([{}, {"kind": "flatten"}, {"kind": "maxpool"}, 4], r"layers\[2\].kind: got 'maxpool', must be behind"),
        (
            [{"flatten": True}],
            r"layers\[0\].flatten: got True, must be false: a conv2d layer reads \[height, width, channels\]$",
        ),
        ([{"strides": 4}], r"layers\[0\].strides: got 4, must be at most the kernel, 3, so that windows leave no gap$"),
        ([{"kernel": [2, 2], "strides": [1, 3]}], r"layers\[0\].strides: got \[1, 3\], must be at most the kernel, \[2, 2\]"),
        ([{"kernel": [3]}], r"layers\[0\].kernel: got \[3\], must be one number, or 2, one per axis$"),
        ([{"dilation": 2}], r"layers\[0\].dilation: unknown key; there are no gaps in windows; a larger kernel would do$"),
        ([{"dilation_rate": 2}], r"layers\[0\].dilation_rate: unknown key; there are no gaps"),
        ([{"groups": 2}], r"layers\[0\].groups: unknown key; each filter reads all channels; fewer filters would do$"),
        ([{"stride": 2}], r"layers\[0\].stride: unknown key; did you mean strides\?$"),
        ([{"pool_size": 2}], r"layers\[0\].pool_size: unknown key; did you mean pool\?$"),
        ([{"kind": "conv2d", "units": 4}], r"layers\[0\].units: unknown key; did you mean filters\?$"),
        ([{"kind": "dense", "filters": 4}], r"layers\[0\].filters: unknown key; did you mean units\? A convolution has kind"),
        ([{}, {"kind": "maxpool", "strides": 1}], r"layers\[1\].strides: unknown key; windows are side by side"),
        (
            [{}, {"kind": "maxpool", "size": 40}],
            r"layers\[0\].pool: got 40, must be a divisor .* \[8, 12\]: 2, 4; max",
        ),
        ([{}, {"kind": "averagepooling2d"}], r"layers\[1\].kind: got 'averagepooling2d', .*: averages are rounded otherwise"),
        ([{}, {"kind": "maxpool2d"}], r"layers\[1\].kind: got 'maxpool2d', .*: did you mean maxpool\?$"),
        ([{"kind": "Conv2D"}], r"layers\[0\].kind: got 'Conv2D', .*: did you mean conv1d or conv2d\?$"),
        (
            [{"kind": "Conv2DTranspose"}],
            r"layers\[0\].kind: got 'Conv2DTranspose', .*: the decoder mirrors",
        ),
        ([{}, {"kind": "upsampling"}], r"layers\[1\].kind: got 'upsampling', .*: the decoder mirrors"),
        ([{}, {"kind": "dropout"}], r"layers\[1\].kind: got 'dropout', .*: dropout is a key of the layer before it$"),
        (
            [{"kind": "maxpool"}, {}],
            r"layers\[0\].kind: got 'maxpool', must be behind a conv1d or conv2d layer",
        ),
        ([{"kind": "flatten"}, {}], r"layers\[0\].kind: got 'flatten', must be before a dense layer, not conv2d$"),
        ([{"padding": "full"}], r"layers\[0\].padding: got 'full', must be one of same, valid$"),
        (
            [{"pool": 3}],
            r"layers\[0\].pool: got 3, must be a divisor of each axis of .*, \[8, 12\]: 2, 4; max",
        ),
        (
            [{"kernel": 9, "padding": "valid"}],
            r"layers\[0\].kernel: got 9, must be at most \[8, 12\], the axes of its input, or",
        ),
        (
            [{}, {"kind": "flatten"}, 8, {"filters": 4}],
            r"layers\[2\].kind: got 'conv2d', must be dense, a layer that reads \[8\]; conv2d ",
        ),
        (
            [{"kind": "conv1d"}],
            r"layers\[0\].kind: got 'conv1d', must be conv2d, a layer that reads \[8, 12, 3\]; conv1d reads \[length, ",
        ),
    ],
)
def test_what_a_convolution_cannot_be_is_refused_by_name(layers: list, said: str) -> None:
    tables = [
        {"kind": "conv2d", **({"filters": 4} if {"kind": "conv2d", **each}["kind"] in CONVOLUTIONS else {}), **each}
        if isinstance(each, dict) and "units" not in each
        else each
        for each in layers
    ]
    with pytest.raises(RecipeError, match=f"^{said}"):
        TiedAutoencoder(tables, inputs=SHAPES["image"])


RECIPE = """
name = "r"
[data]
source = "x.npy"
[model]
{model}
[export]
{export}
"""
LAYERS = 'layers = [{ kind = "conv2d", filters = 4 }, { kind = "flatten" }, 4]'
RECIPES = {
    "tie": ("tie = true\n" + LAYERS, "", "model.tie: got True, must be left out, or beside `source`, an untied model"),
    "two decoders": (
        LAYERS,
        'decoder = "view"\nkernels = "portable"',
        "export.kernels: got 'portable', must be view, copies or sparse",
    ),
}


@pytest.mark.parametrize(("model", "export", "said"), RECIPES.values(), ids=RECIPES)
def test_keys_of_a_recipe_that_exclude_each_other(
    model: str, export: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.toml"
    path.write_text(RECIPE.format(model=model, export=export))
    assert main(["run", str(path)]) == 2
    assert said in capsys.readouterr().err
