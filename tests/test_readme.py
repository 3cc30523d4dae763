"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
from tiedae.export.runtimes.litert import open_litert
from tiedae.recipe import parse_recipe

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    return found


def test_the_recipe_is_one() -> None:
    recipe = parse_recipe(tomllib.loads(block("toml")), "recipe")
    assert recipe.model.widths == (0, 256, 16) and recipe.prune is not None


def test_the_example_runs_and_its_last_line_is_true(tmp_path: Path) -> None:
    program = (
        block("python") + "\nimport numpy as np\nnp.save('codes.npy', codes)\nnp.save('x.npy', splits.test.take(range(10)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    session = open_litert("litert-xnnpack", (tmp_path / "clothes.tflite").read_bytes())
    got = session.run("encode", np.load(tmp_path / "x.npy"))["code"]
    np.testing.assert_array_equal(got, np.load(tmp_path / "codes.npy"))
