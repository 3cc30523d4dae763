"""`assert_tied`: that the mirrored kernels of a model are one variable each, for use in test suites."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from tiedae.base.errors import CheckError
from tiedae.compress.imports.formats import read_model
from tiedae.compress.imports.live import UNREACHED, audit
from tiedae.compress.imports.live_calls import SAMPLES
from tiedae.compress.imports.pairs import TIES, Pair, pairs


class UntiedError(CheckError, AssertionError):
    """Mirrored kernels of a model are not tied; also an AssertionError for pytest."""


def assert_tied(model: Any, *, inputs: np.ndarray | None = None, assumed: bool = False) -> tuple[Pair, ...]:
    """Raise unless every pair of mirrored kernels is tied; returns the pairs, from the outside in.

    `model`: a `TiedAutoencoder` or another live model of Keras 2 or 3, which is tested by what it does (see `audit`; all
    variables are as before), or the path of a file or SavedModel, which shows what variables a layer has and not what its code
    does with them. `inputs`: for a live model, samples [n, …] that it takes, by default random ones. `assumed`: ties that a
    file does not prove will do too.

    Raises UntiedError, an AssertionError, with each pair that is not tied and why, or where no kernels mirror each other;
    InputError or FormatError for what cannot be read or run.
    """
    is_file = isinstance(model, str | Path)
    network = sys.modules.get("tiedae.compress.network")  # whose import would import TensorFlow
    of_live = _of_tied if network is not None and isinstance(model, network.TiedNetwork) else audit
    found = pairs(read_model(Path(model))) if is_file else of_live(model, inputs)
    name = str(model) if is_file else model.name
    if not found:
        raise UntiedError(f"{name}: no kernels mirror each other")
    allowed = TIES if assumed else ("tied",)
    problems = [f"  {pair.text}" for pair in found if pair.status not in allowed]
    if problems:
        raise UntiedError("\n".join([f"{name}: {len(problems)} of {len(found)} pairs are not tied", *problems]))
    return found


def _of_tied(model: Any, inputs: np.ndarray | None) -> tuple[Pair, ...]:
    """The pairs of a `TiedAutoencoder`: each kernel's variable is changed for a moment, and both layers have to react."""
    x = np.random.default_rng(0).random((SAMPLES, model.config.size)) if inputs is None else np.asarray(inputs)
    x = x.reshape(len(x), -1).astype(np.float32)
    code, found = model.encoder(x), []
    before = np.asarray(code), np.asarray(model.decoder(code))
    for kernel, layers in zip(model.kernels, model.pairs, strict=True):
        values, reacts = kernel.variable.numpy(), np.zeros(2, bool)
        for factor in (2, -1):  # a relu that is never active may be with the other sign
            kernel.variable.assign(factor * values)
            try:
                after = np.asarray(model.encoder(x)), np.asarray(model.decoder(code))
            finally:
                kernel.variable.assign(values)
            reacts |= [not np.array_equal(new, old) for new, old in zip(after, before, strict=True)]
        tied, (encoder, decoder) = bool(reacts.all()), layers
        status, reason = ("tied", "") if tied else ("unknown", UNREACHED)
        found.append(Pair(encoder.name, decoder.name, status, values.shape, reason=reason))
    return tuple(found)
