"""The commands that `trust_kills.py` stops: what their folders hold before, and what they read."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from trust_stops import Place, run

from tiedae.compress import CheckError
from tiedae.report.rendering import render_bundle

RECIPE = """
name = "mini"
[data]
source = "samples.npy"
[model]
layers = [ {units = 12, activation = "relu"}, {units = 4} ]
[train]
epochs = 2
batch_size = 100
seed = SEED
[prune]
epochs = 1
[cluster]
clusters = 16
epochs = 1
[quantize]
epochs = 1
samples = 32
[export]
stock = false
targets = ["tflite"]
[verify]
max_quality_loss = 100.0
codes_max_lsb = 8
[search]
bits = [8, 4]
"""
EARLIER = RECIPE.replace("SEED", "5").replace("[cluster]\nclusters = 16\nepochs = 1\n", "")
"""Of the run that `--force` replaces."""
LIMITS = ("--max-bytes", "60k", "--max-quality-loss", "9900%", "--trials", "2")


@dataclass(frozen=True)
class Job:
    """A command in `in` and `out` of a place. `before` makes what `out` holds.

    `again`: options to go on with, tried in turn. `folders`: below `out`, each whole as one thing. `unfinished`: patterns of
    files below `out` that `again` continues. `drops`: options of `call` that `again` is without.
    `needs`: what `in` holds beside samples, recipes and a run. `only`, `but`: text in the places in our code where it is
    stopped, and where it is not.
    """

    call: tuple[str, ...]
    before: Callable[[Path], None] = lambda out: None
    again: tuple[tuple[str, ...], ...] = ((),)
    folders: tuple[str, ...] = ()
    unfinished: tuple[str, ...] = ()
    drops: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    only: str = ""
    but: str = ""


def _done(call: Sequence[str], where: Place) -> None:
    ended = run(call, where)
    if ended.code:
        raise CheckError(f"tiedae {' '.join(call)}: exit code {ended.code}: {ended.lines}")


RUN = ("run", "in/mini.toml", "-o", "out/run", "-q")
SEARCH = ("search", "in/mini.toml", *LIMITS, "-o", "out/search", "-q")
RESCALE = ("rescale", "in/run", "--data", "in/samples.npy", "--factor", "1.5", "-o", "out/made", "-q")
ENCODE = ("encode", "in/run", "in/samples.npy", "--frame", "16", "-o", "out/x.tae", "-q")
GO_ON, FORCED = (("--resume",), ()), (("--resume",), ("--force",))
ANEW, PART, MADE = (("--resume", "--force"),), ("x.tae.part",), ("made",)
BUNDLE, MODELS, CHECKPOINT = ("run/bundle",), ("search/models",), "run/model/checkpoint.safetensors"


CODES = ("encode", "in/run", "in/samples.npy", "-o", "out/codes.npy", "-q")
DECODE = ("decode", "in/run", "in/x.tae", "-o", "out/x.npy", "-q")
SCORE = ("score", "in/run", "in/samples.npy", "--csv", "out/x.csv", "--map", "out/x.npy", "--json", "out/x.json", "-q")
DEDUPE = ("dedupe", "in/twice.onnx", "-o", "out/once.onnx", "-q")


def _package(kind: str) -> tuple[str, ...]:
    return ("package", "in/run", "--for", kind, "-o", "out/made", "-q")


def _copied(name: str, to: str) -> Callable[[Path], None]:
    """What fills `out` with a copy from `in`."""

    def fill(out: Path) -> None:
        source = out.parent / "in" / name
        shutil.copytree(source, out / to) if source.is_dir() else shutil.copy(source, out / to)

    return fill


def _trained(out: Path) -> None:
    """A run that was killed behind its training."""
    _copied("run", "run")(out)
    shutil.rmtree(out / "run" / "bundle")


def _unfinished(out: Path) -> None:
    """A search that was killed behind its trials, with an earlier front."""
    _copied("search", "search")(out)
    (out / "search" / "front.html").write_text("of fewer trials")
    (out / "search" / "point-09.toml").write_text("of fewer trials")


def _replaced(earlier: str, name: str) -> Callable[[Path], None]:
    """A run or search with --force that was killed when all was made, beside the earlier one."""

    def fill(out: Path) -> None:
        _copied(earlier, name)(out)
        _copied(name, f"{name}/.next")(out)

    return fill


JOBS: dict[str, Job] = {
    "run": Job(RUN, again=GO_ON, folders=BUNDLE, unfinished=(CHECKPOINT,), but="assemble:"),
    "run, trained": Job((*RUN, "--resume"), _trained, GO_ON, BUNDLE, drops=("--resume",)),
    "run --force": Job(
        (*RUN, "--force"), _copied("earlier", "run"), FORCED, BUNDLE, (), ("--force",), ("earlier",), "run_directory:"
    ),
    "run --force, whole": Job(
        (*RUN, "--resume"),
        _replaced("earlier", "run"),
        GO_ON,
        BUNDLE,
        drops=("--resume",),
        needs=("earlier",),
        only="run_directory:",
    ),
    "search": Job(SEARCH, again=GO_ON, unfinished=("search/study.db*", "search/models/*/*")),
    "search, trained": Job((*SEARCH, "--resume"), _unfinished, GO_ON, drops=("--resume",), needs=("search",)),
    "search --force": Job(
        (*SEARCH, "--force"), _copied("other", "search"), FORCED, MODELS, drops=("--force",), needs=("other",)
    ),
    "search --force, whole": Job(
        (*SEARCH, "--resume"),
        _replaced("other", "search"),
        GO_ON,
        MODELS,
        drops=("--resume",),
        needs=("other", "search"),
        only="run_directory:",
    ),
    "rescale": Job(RESCALE, folders=MADE),
    "rescale --force": Job((*RESCALE, "--force"), _copied("earlier/bundle", "made"), folders=MADE, needs=("earlier",)),
    **{f"package {kind}": Job(_package(kind), folders=MADE) for kind in ("c", "web", "npm", "android", "ios")},
    "package --force": Job((*_package("ios"), "--force"), _copied("c", "made"), folders=MADE, needs=("c",)),
    "encode": Job(ENCODE, again=GO_ON, unfinished=PART),
    "encode --force": Job((*ENCODE, "--force"), _copied("samples.npy", "x.tae"), ANEW, (), PART, ("--force",)),
    "encode --append": Job((*ENCODE, "--append"), _copied("x.tae", "x.tae"), GO_ON, unfinished=("x.tae",), needs=("x.tae",)),
    "encode .npy": Job(CODES),
    "encode .npy --force": Job((*CODES, "--force"), _copied("samples.npy", "codes.npy")),
    "decode": Job(DECODE, needs=("x.tae",)),
    "decode --force": Job((*DECODE, "--force"), _copied("samples.npy", "x.npy"), needs=("x.tae",)),
    "decode .npy": Job(("decode", "in/run", "in/codes.npy", "-o", "out/x.npy", "-q"), needs=("codes.npy",)),
    "dedupe": Job(DEDUPE, needs=("twice.onnx",)),
    "dedupe --force": Job((*DEDUPE, "--force"), _copied("twice.onnx", "once.onnx"), needs=("twice.onnx",)),
    "score": Job(SCORE, again=((), ("--force",))),
    "report": Job(("report", "out/made", "-q"), _copied("unrendered", "made"), needs=("unrendered",)),
}


def prepare(where: Place, finished: Path | None) -> None:
    """Fill `in` with samples, recipes and a run: `finished`, whose samples lie beside it, or a new one."""
    folder = where.root / "in"
    if finished is None:
        rng = np.random.default_rng(0)
        real = 1 / (1 + np.exp(-rng.uniform(-1, 1, (160, 3)) @ rng.normal(0, 2, (3, 24))))
        np.save(folder / "samples.npy", np.rint(255 * real).astype(np.uint8))
        (folder / "mini.toml").write_text(RECIPE.replace("SEED", "0"))
        (folder / "earlier.toml").write_text(EARLIER)
        _done(("run", "in/mini.toml", "-o", "in/run", "-q"), where)
    else:
        shutil.copy(finished.parent / "samples.npy", folder)
        shutil.copytree(finished, folder / "run")
    render_bundle(folder / "run" / "bundle")  # compiles the templates for all processes


INPUTS: dict[str, tuple[str, ...]] = {
    "earlier": ("run", "in/earlier.toml", "-o", "in/earlier", "-q"),
    "search": ("search", "in/mini.toml", *LIMITS, "-o", "in/search", "-q"),
    "other": ("search", "in/earlier.toml", *LIMITS, "-o", "in/other", "-q"),
    "x.tae": ("encode", "in/run", "in/samples.npy", "--frame", "16", "-o", "in/x.tae", "-q"),
    "codes.npy": ("encode", "in/run", "in/samples.npy", "-o", "in/codes.npy", "-q"),
    "c": ("package", "in/run", "--for", "c", "-o", "in/c", "-q"),
}
"""What makes an input of some jobs."""


def require_inputs(job: Job, where: Place) -> None:
    """Make what a job needs in `in`, where no job before it did."""
    folder = where.root / "in"
    for name in job.needs:
        if (folder / name).exists():
            continue
        if name in INPUTS:
            _done(INPUTS[name], where)
        elif name == "twice.onnx":
            _write_twice(folder / name)
        else:
            shutil.copytree(folder / "run" / "bundle", folder / name)
            for page in ("report.html", "MODEL_CARD.md"):
                (folder / name / page).write_text("an earlier version's page\n")
    shutil.rmtree(where.root / "tmp")
    (where.root / "tmp").mkdir()


def _write_twice(path: Path) -> None:
    """An ONNX file with the same kernel twice."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kernel = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "a"], ["h"]), helper.make_node("MatMul", ["h", "b"], ["y"])]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 16]) for name in "xy"]
    graph = helper.make_graph(nodes, "twice", values[:1], values[1:], [numpy_helper.from_array(kernel, name) for name in "ab"])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
