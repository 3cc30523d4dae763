"""What a run takes of a model's file and of the data for it, without training."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tiedae.compress.imports.chain import Affine, ChainLayer, ChainProduct, stored
from tiedae.compress.imports.mirrored import mirror
from tiedae.config.scaling import Scaling
from tiedae.data.dataset import Dataset
from tiedae.pipeline.importing import Start

from ..compress.imports.model_files import chain_of

KERNEL = stored("kernel", np.ones((4, 2), np.float32))
PAIR = (ChainProduct("dense", "Dense", KERNEL), ChainProduct("tied", "Tied", KERNEL, transposed=True))


def start(*head: ChainLayer, path: Path | None = None) -> Start:
    return Start(mirror(chain_of([*head, *PAIR], (4,))), path)


def test_the_hash_of_a_folder_is_that_of_its_files_by_name(tmp_path: Path) -> None:
    """In the order of their names, whichever was written first; of folders inside too, and not of empty ones."""
    texts = {"variables/b": b"2", "a": b"1", "variables/a": b"3"}
    for name, data in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "empty").mkdir()
    lines = "".join(f"{name} {hashlib.sha256(texts[name]).hexdigest()}\n" for name in sorted(texts))
    assert start(path=tmp_path).sha256 == hashlib.sha256(lines.encode()).hexdigest()
    assert start(path=tmp_path / "a").sha256 == hashlib.sha256(b"1").hexdigest()
    assert start().sha256 == ""


@pytest.mark.parametrize("own", [True, False])
def test_the_original_is_given_samples_in_the_unit_that_it_takes(own: bool) -> None:
    """As they are where it scales them itself, and at most as many as are asked for."""
    x = np.arange(80, dtype=np.float32).reshape(20, 4)
    splits = Dataset.from_array(x).with_scaling(Scaling("minmax", 0.0, 10.0))
    head = (Affine("rescaling", "Rescaling", np.array(0.1), np.array(0.0)),) if own else ()
    given = start(*head).given(splits.train, 3)
    wanted = splits.train.take(np.arange(3))
    assert given.dtype == np.float32 and given.shape == (3, 4)
    np.testing.assert_allclose(given, wanted if own else wanted / 10, rtol=1e-6)
