"""A training step of a tied convolutional net against its untied twin of plain Keras layers.

    python benchmarks/convolution_training.py --json convolution_training.json

The twin has Conv2D, Dense and Conv2DTranspose of the same shapes, and a kernel for each of them.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rows import Row, arguments_of, report
from steps import step_row

from tiedae.compress import ModelConfig
from tiedae.config.layer_kinds import layer_tables

if TYPE_CHECKING:
    import tf_keras

SIDE, FILTERS, CODE = 28, (16, 32), 16


def main() -> int:
    arguments = arguments_of(__doc__ or "").parse_args()
    return report("Training of convolutions", lambda _: [row()], arguments.json)


def row() -> Row:
    tables = [{"kind": "conv2d", "filters": each, "strides": 2, "activation": "relu"} for each in FILTERS]
    layers = tuple(layer_tables([*tables, {"kind": "flatten"}, CODE]))
    config = ModelConfig(layers, "sigmoid", (SIDE, SIDE, 1))
    return step_row("tied_conv_step_ratio", config, untied_twin(), "<= 1.05", "<= 0.95")


def untied_twin() -> tf_keras.Model:
    import tf_keras

    kinds, inner, size = tf_keras.layers, SIDE // 4, SIDE * SIDE
    first, second = FILTERS
    options = {"kernel_size": 3, "strides": 2, "padding": "same"}
    twin = tf_keras.Sequential(
        [
            kinds.Reshape((SIDE, SIDE, 1)),
            kinds.Conv2D(first, activation="relu", **options),
            kinds.Conv2D(second, activation="relu", **options),
            kinds.Flatten(),
            kinds.Dense(CODE),
            kinds.Dense(inner * inner * second, "relu"),
            kinds.Reshape((inner, inner, second)),
            kinds.Conv2DTranspose(first, activation="relu", **options),
            kinds.Conv2DTranspose(1, activation="sigmoid", **options),
            kinds.Reshape((size,)),
        ]
    )
    twin.build((None, size))
    return twin


if __name__ == "__main__":
    sys.exit(main())
