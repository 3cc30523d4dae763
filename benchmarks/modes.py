"""What a bounded or lossless file pays for, in bits per value: prediction alone, or codes and residuals of the reconstruction.

    python benchmarks/modes.py runs/ecg --bounds 0 4 16 64

Samples are the test samples of the run's recipe, in frames of 64. Bits are those of payloads, without heads.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from tiedae.codec.frames import FileModel
from tiedae.codec.opening import bundle_of, load
from tiedae.entropy import rans
from tiedae.pipeline.sources import load_dataset

FRAME = 64


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, metavar="OUT", help="of `tiedae run` on integer data")
    parser.add_argument("--bounds", type=int, nargs="+", default=[0, 4, 16, 64])
    arguments = parser.parse_args()
    bundle = bundle_of(arguments.run)
    model, recipe = FileModel.of(bundle), bundle.manifest.recipe
    test = load_dataset(recipe.data, recipe.model.output_activation).test
    x = test.take(np.arange(len(test)))
    codes = load(arguments.run, runtime="program").encode(x)
    cuts = range(FRAME, len(x), FRAME)
    frames, ys, parts = (np.split(values, cuts) for values in (x.reshape(len(x), -1), model.samples(codes), codes))
    assert model.residuals is not None

    def bits(payloads: list[bytes]) -> float:
        return 8 * sum(map(len, payloads)) / x.size

    code = bits(rans.encode(model.tables, parts))
    print(f"{len(x):,} samples of {x[0].size} values\n")
    print("| bound | prediction | codes | residuals | codes and residuals |\n|---|---|---|---|---|")
    for bound in arguments.bounds:
        alone = bits(model.residuals.prediction.encode(frames, bound))
        rest = bits(model.residuals.corrections.encode(frames, bound, ys))
        print(f"| {bound} | {alone:.3f} | {code:.3f} | {rest:.3f} | {code + rest:.3f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
