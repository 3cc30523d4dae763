"""Somebody else's model, run by what can load it: the witness of an import."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tiedae.base.errors import InputError, UnavailableError
from tiedae.compress.imports.chain import TOLERANCE, Chain
from tiedae.program.differences import LEAST_SCALE
from tiedae.runtimes.child_process import Ended, lines_of

ROUNDINGS = 4.0
"""An import may differ by this many times what float32 changes in it, beyond `TOLERANCE`, where the original is in float32."""
SAMPLES = 64
"""Random samples that they are compared on."""
SECONDS = 300.0
"""What loading and running may take."""
WORDS = 160
"""Characters of a reason at most."""


@dataclass(frozen=True)
class OriginalAnswer:
    """The original's output for samples, float [n, …]; `witness`: what ran it. `layers`: those of its layers by name."""

    witness: str
    y: np.ndarray
    layers: Mapping[str, np.ndarray] = field(default_factory=dict)


def run_original(path: Path, x: np.ndarray, *, layers: bool = False) -> OriginalAnswer:
    """What the model of a file or folder gives for samples, float32 [n, *shape]; with `layers` what each of its layers does.

    Raises UnavailableError, with the reasons, where nothing that is installed can load it.
    """
    if path.suffix.lower() == ".onnx":
        return _run_onnx(path, x)
    packages = _packages(path)
    installed = [package for package in packages if find_spec(package) is not None]
    if not installed:
        raise UnavailableError(f"{' and '.join(packages)} are not installed")
    reasons = []
    for package in installed:
        try:
            return _run_package(package, path, x, layers=layers)
        except Ended as error:
            reasons.append(f"{package} {error.how.partition('. ')[0]}"[:WORDS])
    raise UnavailableError("; ".join(reasons))


def _packages(path: Path) -> tuple[str, ...]:
    """What may load a file or folder, the likeliest first."""
    if path.is_dir():
        return ("tensorflow",)
    with path.open("rb") as file:
        return ("keras", "tf_keras") if file.read(2) == b"PK" else ("tf_keras", "keras")


def _run_package(package: str, path: Path, x: np.ndarray, *, layers: bool) -> OriginalAnswer:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        suffix = "" if path.is_dir() else ".keras" if _packages(path)[0] == "keras" else ".h5"
        link = folder / f"model{suffix}"
        link.symlink_to(path.resolve())
        np.save(folder / "x.npy", x)
        files = {"path": str(link), "x": str(folder / "x.npy"), "outputs": str(folder / "outputs.npz")}
        (version,) = lines_of("tiedae.verify.original_process", {"package": package, "layers": layers, **files}, SECONDS)
        with np.load(folder / "outputs.npz") as outputs:
            found = {key.removeprefix("layer "): outputs[key] for key in outputs}
    return OriginalAnswer(f"{package} {version}", found.pop("y"), found)


def _run_onnx(path: Path, x: np.ndarray) -> OriginalAnswer:
    from tiedae.export.targets import read_model
    from tiedae.runtimes.session import load
    from tiedae.runtimes.table import usual

    from .parity.reference_models import choose_signature, name_inputs, run_file, to_stored

    contents = read_model(path)
    signature = choose_signature(path, contents, None)
    named = name_inputs(signature, x)
    stored = {tensor.name: to_stored(tensor, named[tensor.name]) for tensor in signature.inputs}
    provider, outputs = run_file(path, signature, usual("onnx"), stored)
    return OriginalAnswer(f"onnxruntime {load('onnxruntime').__version__} ({provider})", next(iter(outputs.values())))


def difference(y: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference of outputs, as a fraction of full scale; infinite where one is not finite."""
    found = float(np.abs(y - expected.reshape(y.shape)).max() / max(float(np.abs(expected).max()), LEAST_SCALE))
    return found if np.isfinite(found) else np.inf


def require_equal(
    wide: np.ndarray, narrow: np.ndarray, answer: OriginalAnswer, chain: Chain, x: np.ndarray, path: Path | None
) -> float:
    """The `difference` of an import's output to the original's answer for samples; InputError, with the layer, if it is large.

    `wide`, `narrow`: the import's output, computed in float64 and in float32.
    """
    found = difference(wide, answer.y)
    limit = TOLERANCE if answer.y.dtype == np.float64 else TOLERANCE + ROUNDINGS * difference(narrow, wide)
    if found <= limit:
        return found
    where = _first_differing(chain, x, path)
    right = f"must be {limit:.2g} at most; it computes what its file does not state"
    raise InputError(f"{chain.source}: {where} differs from {answer.witness} by {found:.2g} of full scale, {right}")


def _first_differing(chain: Chain, x: np.ndarray, path: Path | None) -> str:
    """The first layer whose output is not what the original's layer of this name gives; else the output."""
    try:
        layers = {} if path is None else run_original(path, x, layers=True).layers
    except UnavailableError:
        layers = {}
    last = {layer.name: i for i, layer in enumerate(chain.layers)}
    values = x.astype(np.float64)
    for i, layer in enumerate(chain.layers):
        values = layer.apply(values)
        expected = layers.get(layer.name)
        if last[layer.name] != i or expected is None or expected.size != values.size:
            continue
        if difference(values, expected) > TOLERANCE:
            return f"the output of {layer.title}"
    return "the output"
