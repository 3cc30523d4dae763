"""MODEL_CARD.md: what the model is, what it was trained on, how well it does, how to run it and what to keep in mind.

The sections follow Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019), in the order that model hubs give them.
Everything in it is read from manifest.json and metrics.json; the same input gives the same text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from tiedae.pages import duration, fraction, number, render, size

from ..parity.fidelity import MEANINGS, fit_text
from ..program import SIGNATURES
from ..targets import TARGETS
from ..verify.results import Metrics, Precision
from .key_figures import (
    Row,
    change_text,
    codes_text,
    compare_sizes,
    formats_text,
    groups,
    keras_float,
    promised_codes,
    stored_once,
    worst_exported,
)
from .page import row_order
from .speed import leading_case

UNKNOWN = "not recorded"
Facts = Sequence[tuple[str, object]]


def render_card(manifest: Row, metrics: Metrics) -> str:
    """The model card as Markdown.

    The files and their inputs and outputs in its programs are those that `manifest["files"]` describes. The licence and origin
    of the data are stated where `manifest["data"]` has them (`licence`, `origin`), latency where `tiedae bench` measured it.
    """
    data, kernels = {**manifest["data"], **metrics.data}, manifest["kernels"]
    stages = {row.stage for row in metrics.history} | {"train"}
    measures = dict.fromkeys(row.fidelity.measure for row in metrics.quality if row.fidelity)
    return render(
        Path(__file__).with_name("card.md.j2"),
        manifest=manifest,
        metrics=metrics,
        data=data,
        inputs=kernels[0]["shape"][0],
        units=kernels[-1]["shape"][1],
        shape=" × ".join(map(str, manifest["data"]["shape"])),
        details=_details(manifest, metrics),
        limitations=_limitations(metrics),
        programs=render_programs(manifest),
        training=_training(data),
        procedure=_procedure(manifest, metrics),
        meanings=[(name, MEANINGS[name]) for name in measures],
        results=_results(metrics),
        latency=_latency(metrics),
        files=_files(manifest),
        row_order=row_order(metrics.model),
        papers=[paper for stage, paper in PAPERS.items() if stage in stages],
    )


def _details(manifest: Row, metrics: Metrics) -> Facts:
    model, kernels = metrics.model, manifest["kernels"]
    weights = sum(math.prod(kernel["shape"]) for kernel in kernels)
    facts: dict[str, object] = {"kind": "tied autoencoder: the decoder uses the encoder's kernels, transposed"}
    if model:
        facts["widths"] = f"{_arrows(model.widths)} and back{_taken_out(manifest, model.widths)}"
        facts["activations"] = f"{', '.join(model.activations)}; output {model.output_activation}"
    stored = ", each stored once" if stored_once(metrics) else "; **not shown to be stored once**"
    facts["kernels"] = f"{len(kernels)}, {weights:,} weights{stored}"
    if "pruned" in kernels[0]:
        pattern = (manifest.get("recipe", {}).get("prune") or {}).get("pattern")
        zeros = fraction(sum(kernel["pruned"] for kernel in kernels), weights)
        facts["pruned"] = f"{zeros} of the weights are zero by pruning" + (f", pattern {pattern}" if pattern else "")
    facts["precision"] = f"{_precision(manifest)}; float32 files beside them"
    facts["made by"] = manifest.get("created_by", "tiedae")
    facts["licence of the model"] = f"{UNKNOWN}: whoever publishes it states one"
    return list(facts.items())


def _arrows(widths: Sequence[int]) -> str:
    return " → ".join(map(str, widths))


def _precision(manifest: Row) -> str:
    bits = [kernel.get("bits", 8) for kernel in manifest["kernels"]]
    kernels = "int8 kernels" if set(bits) == {8} else f"kernels of {', '.join(map(str, bits))} bits"
    code = manifest.get("tensors", {}).get("code", {}).get("bits", 8)
    return f"{kernels}, uint8 activations" + (f", a code of {code} bits" if code < 8 else "")


def _taken_out(manifest: Row, widths: Sequence[int]) -> str:
    """What the widths were before structured pruning, where they were others."""
    trained = [layer["units"] for layer in manifest.get("recipe", {}).get("model", {}).get("layers", ())]
    if not trained or trained == list(widths[1:]):
        return ""
    return f"; pruning took units out of {_arrows((widths[0], *trained))}"


def _limitations(metrics: Metrics) -> list[str]:
    """What this model's own numbers add to the general points."""
    points = [f"Column {warning.text}." for warning in metrics.warnings]
    points += [f"Failed check: {check.text}" for check in metrics.failed]
    for reason, rows in groups(metrics.skipped, lambda row: row.reason).items():
        shown = "; ".join(row.what for row in rows[:2]) + (f"; and {len(rows) - 2} more" if len(rows) > 2 else "")
        points.append(f"Not measured: {shown} ({reason})")
    return [*filter(None, (formats_text(metrics),)), *points]


def _training(data: Row) -> Facts:
    facts = {
        "source": f"`{data['source']}`" if data.get("source") else UNKNOWN,
        "licence": data.get("licence") or UNKNOWN,
        "origin": data.get("origin"),
        "samples": ", ".join(f"{data[part]:,} {part}" for part in ("train", "validation", "test") if data.get(part)),
        "columns": ", ".join(f"`{name}`" for name in data.get("columns") or ()),
        "label": f"`{data['label']}`, not trained on" if data.get("label") else None,
        "preprocessing": f"model value = {scaled('x', data['scaling'])} (rule {data['scaling']['rule']})",
        "sha256": f"`{data['sha256']}`" if data.get("sha256") else None,
    }
    return [(key, value) for key, value in facts.items() if value]


SETTINGS = {
    "learning_rate": "learning rate",
    "batch_size": "batch",
    "schedule": "schedule",
    "weight_decay": "weight decay",
    "loss": "loss",
    "pattern": "pattern",
    "saliency": "saliency",
    "sparsity": "sparsity",
    "clusters": "clusters",
    "distill": "distilled fraction",
    "scope": "scope",
    "method": "method",
    "granularity": "granularity",
}
"""Keys of a stage in the recipe, and how the card names them."""


def _procedure(manifest: Row, metrics: Metrics) -> list[tuple[object, ...]]:
    rows = []
    for stage, epochs in groups(metrics.history, lambda row: row.stage).items():
        stated = manifest.get("recipe", {}).get(stage, {})
        settings = ", ".join(f"{name} {stated[key]}" for key, name in SETTINGS.items() if stated.get(key) not in (None, ""))
        rows.append((stage, len(epochs), settings or UNKNOWN, f"{number(epochs[0].loss)} → {number(epochs[-1].loss)}"))
    return rows


def _results(metrics: Metrics) -> Facts:
    reference = keras_float(metrics)
    rows: list[tuple[str, object]] = [] if reference is None else [("error, Keras float", number(reference.error))]
    for precision in Precision:
        row = worst_exported(metrics, precision)
        if row is not None:
            change = f" ({change_text(row.error, reference)} against Keras float)" if reference else ""
            rows.append((f"error, exported {precision.label} files, the worst", number(row.error) + change))
            rows += [(f"quality, exported {precision.label} files, the worst", fit_text(row.fidelity))] if row.fidelity else []
    for compared in compare_sizes(metrics):
        against = (
            f", {number(compared.ratio)} × the {size(compared.stock.bytes)} of the stock converter"
            if compared.stock and compared.ratio
            else ""
        )
        rows.append((f"bytes, `{compared.ours.file}`", size(compared.ours.bytes) + against))
    codes = promised_codes(metrics)
    if codes:
        rows.append(("codes, against the integer program", codes_text(codes)))
    return [*rows, ("checks", f"{len(metrics.checks) - len(metrics.failed)} of {len(metrics.checks)} ok")]


def _latency(metrics: Metrics) -> Mapping[str, object] | None:
    """The leading case of a benchmark, its rows and the machine; None where nothing was timed."""
    bench = metrics.bench
    if bench is None or not bench.latency:
        return None
    title, measured = leading_case(bench.latency)
    rows = [
        (
            row.subject,
            row.dtypes,
            duration(row.median_us),
            f"{row.ratio.value:.3f} × {row.against}" if row.ratio else "",
        )
        for row in measured
    ]
    return {"title": title, "rows": rows, "machine": bench.machine}


def _files(manifest: Row) -> list[tuple[object, ...]]:
    kernels = [(file, stated) for file, stated in manifest["files"].items() if file.endswith(".kernels.bin")]
    return [
        (f"`{file}`", size(stated["bytes"]), ", ".join(stated.get("signatures", ("kernels of encoder and decoder",))))
        for file, stated in [*model_files_of(manifest), *kernels]
    ]


PAPERS = {
    "train": 'Hinton, Salakhutdinov: "Reducing the Dimensionality of Data with Neural Networks", Science 313, 2006.',
    "prune": 'Zhu, Gupta: "To prune, or not to prune", arXiv:1710.01878, 2017.',
    "cluster": 'Han, Mao, Dally: "Deep Compression", ICLR 2016, arXiv:1510.00149.',
    "quantize": (
        'Jacob et al.: "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", '
        "CVPR 2018, arXiv:1712.05877."
    ),
}
"""What the stages follow."""


def render_programs(manifest: Row) -> str:
    """A program per format (or signature, where no file has the whole model) that runs as it stands in the bundle's folder."""
    scaling, parts = manifest["data"]["scaling"], []
    imports = (
        ["import json", "from pathlib import Path", "import numpy as np"] if per_feature(scaling) else ["import numpy as np"]
    )
    load = ['scaling = json.loads(Path("manifest.json").read_bytes())["data"]["scaling"]'] if per_feature(scaling) else []
    for format_, target in TARGETS.items():
        for signature, file in _shown(manifest, format_):
            tensors = manifest["files"][file]["signatures"][signature]
            first, *rest = target.snippet(file, signature, tensors, _input(tensors["inputs"][0], manifest))
            code = "\n".join([*imports, first, *load, *rest])
            parts.append(f"{target.package}, `{signature}`, from the folder of the bundle:\n\n```python\n{code}\n```")
    parts += filter(None, (_meaning(manifest),))
    return "\n\n".join(parts)


def model_files_of(manifest: Row) -> list[tuple[str, Row]]:
    """The model files and what the manifest states of each, int8 before float."""
    models = [(file, stated) for file, stated in manifest["files"].items() if "signatures" in stated]
    return sorted(models, key=lambda model: model[1]["precision"] != "int8")


def _shown(manifest: Row, format_: str) -> list[tuple[str, str]]:
    """What to run and in which file: the whole model, or where no file has it the parts that there are."""
    found: dict[str, str] = {}
    for file, stated in model_files_of(manifest):
        if stated["format"] == format_:
            for signature in stated["signatures"]:
                found.setdefault(signature, file)
    names = ("reconstruct",) if "reconstruct" in found else SIGNATURES
    return [(name, found[name]) for name in names if name in found]


def _meaning(manifest: Row) -> str:
    """What the numbers at the outputs stand for, of the dtypes that the files have."""
    tensors = {
        (tensor["name"], tensor["dtype"]): tensor
        for _, stated in model_files_of(manifest)
        for signature in stated["signatures"].values()
        for tensor in (*signature["inputs"], *signature["outputs"])
    }
    sentences = []
    if ("code", "uint8") in tensors:
        sentences.append(f"A uint8 `code` means {_affine('code', manifest['tensors']['code'])} in the unit of a float one.")
    quantized = {"uint8": manifest["tensors"]["y"], "int8": tensors.get(("y", "int8"), {})}
    for dtype, quantization in quantized.items():
        if ("y", dtype) in tensors:
            sentences.append(
                f"{'An' if dtype == 'int8' else 'A'} {dtype} `y` means {_affine('y', quantization)} in model units."
            )
    if ("y", "float32") in tensors:
        sentences.append("A float32 `y` is in model units.")
    rule = manifest["data"]["scaling"]["rule"]
    if rule == "byte" and ("y", "uint8") in tensors:
        sentences.append("`x` and `y` are the bytes themselves where a file takes bytes.")
    elif rule != "none" and any(name == "y" for name, _ in tensors):
        sentences.append("Model units times `scale` plus `offset` (manifest.json, data.scaling) are the units of the samples.")
    return " ".join(sentences)


def _affine(name: str, quantization: Row) -> str:
    return f"({name} − {quantization['zero_point']}) · {quantization['scale']!r}"


def _input(tensor: Row, manifest: Row) -> str:
    """An expression for the golden samples in the dtype and unit of a file's first input."""
    scaling, dtype = manifest["data"]["scaling"], tensor["dtype"]
    if tensor["name"] == "code":
        return 'np.load("golden/code.npy")' if dtype == "uint8" else 'np.load("golden/code.f32.npy")'
    samples = 'np.load("golden/x.npy")'
    if dtype == manifest["data"]["dtype"] and (scaling["rule"] == "none" or (scaling["rule"], dtype) == ("byte", "uint8")):
        return samples
    expression = scaled(samples, scaling)
    if dtype == "float32":
        return f"({expression}).astype(np.float32)"
    low, high = (0, 255) if dtype == "uint8" else (-128, 127)
    return f"np.clip(np.rint(({expression}) / {tensor['scale']!r}) + {tensor['zero_point']}, {low}, {high}).astype(np.{dtype})"


def scaled(x: str, scaling: Row) -> str:
    """The scaling as an expression; with one offset and scale per feature it reads them from `scaling`."""
    if scaling["rule"] == "none":
        return x
    if per_feature(scaling):
        return f'({x} - scaling["offset"]) / scaling["scale"]'
    return f"({x} - {scaling['offset']!r}) / {scaling['scale']!r}"


def per_feature(scaling: Row) -> bool:
    """Whether every input has an offset and a scale of its own."""
    return any(isinstance(scaling[key], Sequence) for key in ("offset", "scale"))
