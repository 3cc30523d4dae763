"""The picture of reconstructions in the README: twelve golden samples of a bundle of images, over Keras float's and int8's.

python benchmarks/reconstructions.py runs/fashion/bundle docs/reconstructions.png
"""

from __future__ import annotations

import argparse
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from tiedae.base.files import write_atomic

IMAGES, ZOOM, GAP = 12, 2, 4


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("png", type=Path)
    arguments = parser.parse_args()
    golden = {name: np.load(arguments.bundle / "golden" / f"{name}.npy")[:IMAGES] for name in ("x", "y.f32", "y")}
    rows = [golden["x"], np.rint(255 * golden["y.f32"].clip(0, 1)), golden["y"]]
    buffer = BytesIO()
    Image.fromarray(picture([row.reshape(IMAGES, 28, 28) for row in rows])).save(buffer, "PNG", optimize=True)
    write_atomic(arguments.png, buffer.getvalue())
    return 0


def picture(rows: list[np.ndarray]) -> np.ndarray:
    """Rows of images [n, h, w] of 0…255 as one, uint8, dark on white."""
    around = [np.pad(row.repeat(ZOOM, 1).repeat(ZOOM, 2), ((0, 0), (GAP, GAP), (GAP, GAP))) for row in rows]
    return 255 - np.concatenate([np.concatenate(list(row), axis=1) for row in around]).astype(np.uint8)


if __name__ == "__main__":
    sys.exit(main())
