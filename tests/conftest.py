"""Programs with random but plausible numbers, for tests of writers, readers and the interpreter without any training."""

from __future__ import annotations

import dataclasses
import fcntl
import gc
import os
import shutil
import signal
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from tiedae.compress.affine import BYTE, SIGMOID_OUTPUT, TANH_OUTPUT, Quantization
from tiedae.compress.integers import kernel_bounds, within_pairs
from tiedae.program.arithmetic import clear_of_ties
from tiedae.program.interpreter import execute
from tiedae.program.lowering import interleave as interleave_program
from tiedae.program.operations import Activate, AddBias, Dense, Gain, Product, Requantize, Rescale
from tiedae.program.program import Kernel, Program, Tensor

settings.register_profile("tiedae", derandomize=True, deadline=None)
settings.load_profile("tiedae")

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # as in a process of the command line

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell: children would ignore Ctrl-C too
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Jobs first: the longest must not begin last."""
    items.sort(key=lambda item: item.path.parent.name != "jobs")


def pytest_collection_finish() -> None:
    """Modules and tests stay to the end: collections of garbage, which TensorFlow's graphs cause often, need not visit them."""
    gc.collect()
    gc.freeze()


RUNS = Path(__file__).parent / "runs.zip"
FIXED = {"sigmoid": SIGMOID_OUTPUT, "tanh": TANH_OUTPUT}


def build_program(
    widths: tuple[int, ...] = (20, 12, 5),
    activations: tuple[str, ...] = ("relu", "linear"),
    output_activation: str = "sigmoid",
    *,
    form: str = "fused",
    quantized: bool = True,
    granularity: str = "tensor",
    bias: bool = True,
    byte_data: bool = True,
    bits: int = 8,
    code_bits: int = 8,
    interleave: int = 1,
    pairs: bool = True,
    gains: bool = False,
    seed: int = 0,
) -> Program:
    """A program of random kernels whose ranges come from running it in float on random samples.

    `gains`: of batch normalization in every layer, with biases.
    Without `pairs` kernels of 8 bits take any integers, as before there was a pair rule.
    """
    options = {"form": form, "quantized": quantized, "granularity": granularity, "bias": bias, "byte_data": byte_data}
    options |= {"bits": bits, "code_bits": code_bits, "gains": gains, "seed": seed}
    program = _plain_program(widths, activations, output_activation, **options)
    if pairs and quantized and bits == 8:
        held = {name: within_pairs(program.constants[name]) for name in program.kernels}
        program = dataclasses.replace(program, constants={**program.constants, **held})
    return program if interleave == 1 else interleave_program(program, interleave)


def _plain_program(
    widths, activations, output_activation, *, form, quantized, granularity, bias, byte_data, bits, code_bits, gains, seed
) -> Program:
    rng = np.random.default_rng(seed)
    tensors = {"x": Tensor("x", (widths[0],))}
    kernels, constants, encoder, decoder = {}, {}, [], []

    def finish(operations: list, source: str, name: str, activation: str, size: int, make: Callable) -> None:
        """Append make(source, target, fused activation), and the activation of its own where it cannot be fused."""
        if activation in FIXED:
            tensors[f"{name}.linear"] = Tensor(f"{name}.linear", (size,))
            make(source, f"{name}.linear", "linear")
            operations.append(Activate(f"{name}.linear", name, activation))
        else:
            make(source, name, activation)
        tensors[name] = Tensor(name, (size,))

    source = "x"
    for i, (inputs, units, activation) in enumerate(zip(widths[:-1], widths[1:], activations, strict=True)):
        kernels[f"kernel_{i}"] = Kernel(f"kernel_{i}", inputs, units)
        constants[f"kernel_{i}"] = rng.normal(0, 1.3 / np.sqrt(inputs), (inputs, units)).astype(np.float32)
        if bias:
            constants[f"encoder_{i}.bias"] = rng.normal(0, 0.1, units).astype(np.float32)
            constants[f"decoder_{i}.bias"] = rng.normal(0, 0.1, inputs).astype(np.float32)
        if gains:
            constants[f"encoder_{i}.gains"] = np.exp(rng.normal(0, 0.7, units)).astype(np.float32)
            constants[f"decoder_{i}.gains"] = np.exp(rng.normal(0, 0.7, inputs)).astype(np.float32)
        name = "code" if i == len(widths) - 2 else f"encoder_{i}"
        bias_name, gain_name = (f"encoder_{i}.{part}" if held else None for part, held in (("bias", bias), ("gains", gains)))
        finish(
            encoder,
            source,
            name,
            activation,
            units,
            lambda x, y, act, i=i, b=bias_name, g=gain_name: encoder.append(Dense(x, y, f"kernel_{i}", False, b, act, g)),
        )
        source = name
    for i in reversed(range(len(kernels))):
        kernel, name = kernels[f"kernel_{i}"], "y" if i == 0 else f"decoder_{i}"
        activation = output_activation if i == 0 else activations[i - 1]
        bias_name, gain_name = (f"decoder_{i}.{part}" if held else None for part, held in (("bias", bias), ("gains", gains)))
        if quantized and granularity == "unit":
            tensors[f"decoder_{i}.rescaled"] = Tensor(f"decoder_{i}.rescaled", (kernel.units,))
            decoder.append(Rescale(source, f"decoder_{i}.rescaled", f"decoder_{i}.factors", BYTE))
            source = f"decoder_{i}.rescaled"

        def layer(
            x: str,
            y: str,
            act: str,
            i: int = i,
            size: int = kernel.inputs,
            b: str | None = bias_name,
            g: str | None = gain_name,
        ) -> None:
            if form == "fused":
                decoder.append(Dense(x, y, f"kernel_{i}", True, b, act, g))
            elif b is None and act == "linear":
                decoder.append(Product(x, y, f"kernel_{i}"))
            else:
                product = f"decoder_{i}.product"
                tensors[product] = Tensor(product, (size,))
                decoder.append(Product(x, product, f"kernel_{i}"))
                if g is not None:
                    decoder.append(Gain(product, f"decoder_{i}.gained", g, None))
                    product = f"decoder_{i}.gained"
                    tensors[product] = Tensor(product, (size,))
                if b is None:
                    decoder.append(Activate(product, y, act))
                else:
                    decoder.append(AddBias(product, y, b, None, act))

        finish(decoder, source, name, activation, kernel.inputs, layer)
        source = name
    if not quantized:
        return Program("toy", tensors, kernels, tuple(encoder), tuple(decoder), constants)
    plain = [op for op in decoder if not isinstance(op, Rescale)]
    renamed = {op.y: op.x for op in decoder if isinstance(op, Rescale)}
    plain = [dataclasses.replace(op, x=renamed.get(op.x, op.x)) for op in plain]
    float_tensors = {name: tensor for name, tensor in tensors.items() if name not in renamed}
    float_program = Program("toy", float_tensors, kernels, tuple(encoder), tuple(plain), constants)
    samples = rng.uniform(0, 1, (256, widths[0])).astype(np.float32)
    values = execute(float_program, "reconstruct", samples)
    return _quantize(float_program, tensors, encoder, decoder, values, granularity, byte_data, bits, code_bits)


def _quantize(program, tensors, encoder, decoder, values, granularity, byte_data, bits, code_bits):
    quantization = {name: Quantization.from_range(v.min(), v.max()) for name, v in values.items()}
    quantization["code"] = Quantization.from_range(values["code"].min(), values["code"].max(), code_bits)
    if byte_data:
        quantization["x"] = BYTE
    for op in (*encoder, *decoder):
        if isinstance(op, Activate) and op.function in FIXED:
            quantization[op.y] = FIXED[op.function]
            quantization[op.x] = clear_of_ties(op.function, quantization[op.x], FIXED[op.function])
    constants, kernels = {}, {}
    for name, kernel in program.kernels.items():
        real, bounds = program.constants[name], kernel_bounds(bits)
        largest = np.abs(real).max(axis=0) if granularity == "unit" else np.abs(real).max(keepdims=True)[0]
        scales = (largest / -bounds[0]).astype(np.float32)
        constants[name] = np.rint(real / scales).clip(*bounds).astype(np.int8)
        kernels[name] = dataclasses.replace(kernel, scales=tuple(float(s) for s in scales), bits=bits)
    operations = {}
    for part, ops in (("encoder", encoder), ("decoder", decoder)):
        new = []
        for op in ops:
            if isinstance(op, Rescale):
                index = op.y.split(".")[0].split("_")[1]
                scales = np.array(kernels[f"kernel_{index}"].scales)
                constants[op.factors] = BYTE.quantize(scales / scales.max())
                quantization[op.y] = quantization[op.x]
            elif isinstance(op, Dense) and op.bias is not None:
                scales = np.array(kernels[op.kernel].decode_scales if op.transposed else kernels[op.kernel].encode_scales)
                if op.gains is not None:
                    constants[op.gains] = program.constants[op.gains]
                unit = np.float32(quantization[op.x].scale) * np.asarray(scales, np.float32)
                constants[op.bias] = np.rint(program.constants[op.bias] / unit).astype(np.int32)
            elif isinstance(op, Gain):
                gain = program.constants[op.gains]
                op = dataclasses.replace(op, quantization=Quantization.from_range(0.0, gain.max()))
                constants[op.gains] = op.quantization.quantize(gain)
            elif isinstance(op, AddBias):
                bias = program.constants[op.bias]
                op = dataclasses.replace(op, quantization=Quantization.from_range(bias.min(), bias.max()))
                constants[op.bias] = op.quantization.quantize(bias)
            new.append(op)
        operations[part] = new
    last = operations["decoder"][-1]
    if byte_data and not (isinstance(last, Activate) and quantization["y"] != BYTE):
        quantization["y"] = BYTE
    elif byte_data:
        operations["decoder"][-1] = dataclasses.replace(last, y="y.raw")
        operations["decoder"].append(Requantize("y.raw", "y"))
        tensors["y.raw"] = Tensor("y.raw", tensors["y"].shape)
        quantization["y.raw"], quantization["y"] = quantization["y"], BYTE
    tensors = {name: dataclasses.replace(t, quantization=quantization[name]) for name, t in tensors.items()}
    return Program(program.name, tensors, kernels, tuple(operations["encoder"]), tuple(operations["decoder"]), constants)


@pytest.fixture
def make_program() -> Callable[..., Program]:
    return build_program


def smallest_recipe(source: str = "x.npy", *, data: str = "", more: str = "") -> str:
    """The text of a recipe of one layer of three units, with more lines of its [data], and lines after [model]."""
    return f"[data]\nsource = '{source}'\n{data}\n[model]\nlayers = [{{units = 3}}]\n{more}"


ONE_FORMAT = '[export]\nstock = false\ntargets = ["tflite"]\n'
"""At the end of a recipe: a run of half the time."""
RECIPE = """
name = "mini"
[data]
source = "samples.npy"
[model]
layers = [ {units = 12, activation = "relu"}, {units = 4} ]
[train]
epochs = 3
batch_size = 32
[prune]
epochs = 2
[quantize]
epochs = 2
samples = 64
[verify]
max_quality_loss = 20.0
"""


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Libraries of C files are kept for this session alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """make_once(name, fill): a folder of the session that `fill` fills in the first worker that asks; others wait."""
    own = tmp_path_factory.getbasetemp()
    root = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def once(name: str, fill: Callable[[Path], object]) -> Path:
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (root / name / "filled").exists():
                shutil.rmtree(root / name, ignore_errors=True)
                (root / name).mkdir()
                fill(root / name)
                (root / name / "filled").touch()
        return root / name

    return once


def write_recipe(folder: Path) -> Path:
    """A recipe of seconds beside its data: 400 samples of 24 bytes on a curve of three dimensions."""
    rng = np.random.default_rng(0)
    real = 1 / (1 + np.exp(-rng.uniform(-1, 1, (400, 3)) @ rng.normal(0, 2, (3, 24))))
    np.save(folder / "samples.npy", np.rint(255 * real).astype(np.uint8))
    path = folder / "mini.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe of `write_recipe` in a folder of this worker alone, since tests write other recipes to it."""
    return write_recipe(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="session")
def finished_run(make_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """OUT of such a recipe, run to its end. Tests copy what they change."""
    from tiedae.cli import main

    def fill(folder: Path) -> None:
        assert main(["run", str(write_recipe(folder)), "--out", str(folder / "mini"), "-q"]) == 0

    return make_once("run", fill) / "mini"


@pytest.fixture
def small_runs(tmp_path: Path) -> Path:
    """Two runs, `bytes` and `table`: recipe, samples, and a bundle without tables for .tae files."""
    with zipfile.ZipFile(RUNS) as archive:
        archive.extractall(tmp_path / "runs")
    return tmp_path / "runs"


FLOAT_RECIPE = """
name = "table"
[data]
source = "table.npy"
[model]
layers = [ {units = 8, activation = "relu"}, {units = 4} ]
output_activation = "linear"
[train]
epochs = 2
batch_size = 32
[quantize]
epochs = 1
samples = 64
[export]
stock = false
[verify]
max_quality_loss = 100.0
"""


@pytest.fixture(scope="session")
def float_run(make_once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """A run of seconds, OUT, on a float64 table: columns of scales 0.01 to 100, around −40 to 320."""
    from tiedae.cli import main

    def fill(folder: Path) -> None:
        rng = np.random.default_rng(0)
        table = rng.normal(0, 1, (400, 3)) @ rng.normal(0, 1, (3, 10))
        np.save(folder / "table.npy", table * np.logspace(-2, 2, 10) + np.linspace(-40, 320, 10))
        (folder / "table.toml").write_text(FLOAT_RECIPE, encoding="utf-8")
        assert main(["run", str(folder / "table.toml"), "--out", str(folder / "out"), "-q"]) == 0

    return make_once("float", fill) / "out"
