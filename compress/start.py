"""Where the training of a table starts: at the mean of every column.

Columns of a table have means of their own, and after scaling to 0…1 a skewed one is near 0, where a sigmoid begins at ½. A net
that trains for a few hundred steps, as it does on a few thousand rows, would spend them on the means.
"""

from __future__ import annotations

import numpy as np

from .activations import RULES
from .autoencoder import TiedAutoencoder
from .data import Splits, mean_input
from .interleaving import input_order


def start_at_mean(model: TiedAutoencoder, splits: Splits) -> bool:
    """Set the bias of the output so that a code of zeros gives the mean training sample of a table.

    Returns False, and changes nothing, where the data are no table, the output has no bias, or the bias has been trained.
    """
    bias = model.decoder.stack[-1].bias
    if splits.kind != "table" or bias is None or np.any(bias.numpy()):
        return False
    mean = mean_input(splits.train)[input_order(model.config.inputs, model.config.interleave)]
    bias.assign(RULES[model.config.output_activation].inverse(mean))
    return True
