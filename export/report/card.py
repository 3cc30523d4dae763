"""MODEL_CARD.md: what the model is, what it was trained on, how well it does, how to run it and what to keep in mind.

The sections follow Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019), in the order that model hubs give them.
Everything in it is read from manifest.json and metrics.json; the same input gives the same text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from ..parity.fidelity import MEANINGS, fidelity_text
from .card_programs import model_files_of, render_programs, scaled
from .figures import duration, number, share, size
from .headline import (
    Row,
    codes_text,
    compare_sizes,
    formats_text,
    groups,
    keras_float,
    promised_codes,
    stored_once,
    worst_exported,
)
from .sections import change_text, row_order
from .speed import leading_case

UNKNOWN = "not recorded"


def render_card(manifest: Row, metrics: Row) -> str:
    """The model card as Markdown.

    The files and ports in its programs are those that `manifest["files"]` describes. The licence and origin of the data are
    told where `manifest["data"]` has them (`licence`, `origin`), latency where `tiedae bench` measured it.
    """
    parts = [f"# {manifest['name']}", _summary(manifest)]
    parts += [f"## {title}\n\n{text}" for title, render in SECTIONS.items() if (text := render(manifest, metrics))]
    return "\n\n".join(parts) + "\n"


def _summary(manifest: Row) -> str:
    inputs, units = manifest["kernels"][0]["shape"][0], manifest["kernels"][-1]["shape"][1]
    return (
        f"A tied autoencoder: {inputs} values become a code of {units} bytes and come back, through the same kernels in both "
        "directions. Each kernel is stored once."
    )


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    def line(cells: Iterable[object]) -> str:
        return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(header), line("---" for _ in header), *(line(row) for row in rows)])


def _details(manifest: Row, metrics: Row) -> str:
    model = {**manifest.get("model", {}), **metrics.get("model", {})}
    kernels = manifest["kernels"]
    weights = sum(math.prod(kernel["shape"]) for kernel in kernels)
    facts: dict[str, object] = {"kind": "tied autoencoder: the decoder uses the encoder's kernels, transposed"}
    if model:
        facts["widths"] = " → ".join(map(str, model["widths"])) + " and back" + _taken_out(manifest, model)
        facts["activations"] = f"{', '.join(model['activations'])}; output {model['output_activation']}"
    facts["kernels"] = f"{len(kernels)}, {weights:,} weights, each stored once"
    if not stored_once(metrics):
        facts["kernels"] = f"{len(kernels)}, {weights:,} weights; **not shown to be stored once**"
    if "pruned" in kernels[0]:
        pattern = (manifest.get("recipe", {}).get("prune") or {}).get("pattern")
        zeros = share(sum(kernel["pruned"] for kernel in kernels), weights)
        facts["pruned"] = f"{zeros} of the weights are zero by pruning" + (f", pattern {pattern}" if pattern else "")
    facts["precision"] = f"{_precision(manifest)}; float32 files beside them"
    facts["made by"] = manifest.get("created_by", "tiedae")
    facts["licence of the model"] = f"{UNKNOWN}: whoever publishes it states one"
    return _table(("", ""), facts.items())


def _precision(manifest: Row) -> str:
    bits = [kernel.get("bits", 8) for kernel in manifest["kernels"]]
    kernels = "int8 kernels" if set(bits) == {8} else f"kernels of {', '.join(map(str, bits))} bits"
    code = manifest.get("tensors", {}).get("code", {}).get("bits", 8)
    return f"{kernels}, uint8 activations" + (f", a code of {code} bits" if code < 8 else "")


def _taken_out(manifest: Row, model: Row) -> str:
    """What the widths were before structured pruning, where they were others."""
    trained = [layer["units"] for layer in manifest.get("recipe", {}).get("model", {}).get("layers", ())]
    if not trained or trained == list(model["widths"][1:]):
        return ""
    return f"; pruning took units out of {' → '.join(map(str, (model['widths'][0], *trained)))}"


def _uses(manifest: Row, metrics: Row) -> str:
    kernels = manifest["kernels"]
    inputs, units = kernels[0]["shape"][0], kernels[-1]["shape"][1]
    shape = " × ".join(map(str, manifest["data"]["shape"]))
    return (
        "### Direct use\n\n"
        f"It turns a sample of {inputs} values ({shape}, {manifest['data']['dtype']}) into a code of {units} bytes, and a code "
        "back into an approximation of the sample: to store or send samples in few bytes.\n\n"
        "### Downstream use\n\n"
        "The codes as features for another model; the error of the reconstruction, to notice samples unlike the training "
        "data.\n\n"
        "### Out of scope\n\n"
        "The code loses information: it is not for samples that must come back exactly, nor for decisions about people without "
        "a study of its own."
    )


def _limitations(manifest: Row, metrics: Row) -> str:
    points = [
        "It knows what its training data showed. Samples of another kind come back wrong without a word: watch the error.",
        "What is rare in the training data is reconstructed worse than what is frequent, and pruning and quantization can "
        "widen that gap while the average stays; errors by group were not measured.",
        "Codes agree between runtimes as measured below; the int8 decoder may differ between runtimes by rounding. Anything "
        "lossless has to rest on the codes and on one runtime.",
        *filter(None, (formats_text(metrics),)),
        "The error is an average over the test samples; `report.html` shows the worst of the golden ones.",
    ]
    points += [f"Column {warning['text']}." for warning in metrics.get("warnings") or ()]
    points += [f"Failed check: {check['text']}" for check in metrics["checks"] if not check["ok"]]
    points += [_skipped(reason, rows) for (reason,), rows in groups(metrics["skipped"], "reason").items()]
    advice = "Measure the error on samples of your own before use, by group where groups matter, and again after every update."
    return "\n".join("- " + point.replace("\n", " ") for point in points) + f"\n\n### Recommendations\n\n{advice}"


def _skipped(reason: str, rows: Sequence[Row]) -> str:
    shown = "; ".join(row["what"] for row in rows[:2]) + (f"; and {len(rows) - 2} more" if len(rows) > 2 else "")
    return f"Not measured: {shown} ({reason})"


def _training(manifest: Row, metrics: Row) -> str:
    data = {**manifest["data"], **metrics.get("data", {})}
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
    table = _table(("", ""), [(key, value) for key, value in facts.items() if value])
    return f"### Training data\n\n{table}\n\n### Procedure\n\n{_procedure(manifest, metrics)}"


SETTINGS = {"learning_rate": "learning rate", "batch_size": "batch", "schedule": "schedule", "weight_decay": "weight decay"}
SETTINGS |= {
    "loss": "loss",
    "pattern": "pattern",
    "saliency": "saliency",
    "sparsity": "sparsity",
    "clusters": "clusters",
    "distill": "distilled share",
    "scope": "scope",
    "method": "method",
    "granularity": "granularity",
}
"""Keys of a stage in the recipe, and how the card names them."""


def _procedure(manifest: Row, metrics: Row) -> str:
    recipe, rows = manifest.get("recipe", {}), []
    for (stage,), epochs in groups(metrics.get("history") or (), "stage").items():
        stated = recipe.get(stage, {})
        settings = ", ".join(f"{name} {stated[key]}" for key, name in SETTINGS.items() if stated.get(key) not in (None, ""))
        loss = f"{number(epochs[0]['loss'])} → {number(epochs[-1]['loss'])}"
        rows.append((stage, len(epochs), settings or UNKNOWN, loss))
    seed = f"Seed {manifest['seed']}. " if "seed" in manifest else ""
    text = f"{seed}`manifest.json` has the whole recipe." if recipe else f"{seed}The recipe was {UNKNOWN}."
    return f"{_table(('stage', 'epochs', 'settings', 'training loss'), rows)}\n\n{text}" if rows else text


def _evaluation(manifest: Row, metrics: Row) -> str:
    reference = keras_float(metrics)
    rows: list[Sequence[object]] = []
    if reference is not None:
        rows.append(("error, Keras float", number(reference)))
    for precision, label in (("int8", "int8"), ("f32", "float")):
        row = worst_exported(metrics, precision)
        if row is not None:
            change = f" ({change_text(row['error'], reference)} against Keras float)" if reference else ""
            rows.append((f"error, exported {label} files, the worst", number(row["error"]) + change))
            if fidelity := fidelity_text(row.get("fidelity")):
                rows.append((f"quality, exported {label} files, the worst", fidelity))
    for compared in compare_sizes(metrics):
        against = (
            f", {number(compared.ratio)} × the {size(compared.stock['bytes'])} of the stock converter"
            if compared.stock and compared.ratio
            else ""
        )
        rows.append((f"bytes, `{compared.ours['file']}`", size(compared.ours["bytes"]) + against))
    codes = promised_codes(metrics)
    if codes:
        rows.append(("codes, against the integer program", codes_text(codes)))
    ok = sum(check["ok"] for check in metrics["checks"])
    rows.append(("checks", f"{ok} of {len(metrics['checks'])} ok"))
    count = {**manifest["data"], **metrics.get("data", {})}.get("test")
    tested = f"{count:,} samples that training did not see" if count else "the golden samples"
    measures = dict.fromkeys(row["fidelity"]["measure"] for row in metrics["quality"] if row.get("fidelity"))
    measure = "".join(f" {name}: {MEANINGS[name]}." for name in measures)
    note = (
        f"Measured on {tested}. Errors are squared, summed over the values of a sample in model units, and averaged over "
        f"samples.{measure} `metrics.json` has every number, `report.html` shows them."
    )
    parts = [f"### Testing data and metrics\n\n{note}", f"### Results\n\n{_table(('', ''), rows)}", _latency(metrics)]
    return "\n\n".join(filter(None, parts))


def _latency(metrics: Row) -> str:
    bench = metrics.get("bench") or {}
    if not bench.get("latency"):
        return "### Latency\n\nNot measured; `tiedae bench` does."
    title, measured = leading_case(bench["latency"])
    rows = []
    for row in measured:
        ratio = f"{row['ratio']:.3f} × {row.get('against', '')}" if row.get("ratio") else ""
        rows.append((row.get("subject") or row.get("file"), row.get("ports", ""), duration(row["median_us"]), ratio))
    machine = bench.get("machine") or {}
    where = ", ".join(str(machine[key]) for key in ("cpu", "system") if machine.get(key))
    measured_on = f" Measured on {where}." if where else ""
    if machine.get("warning"):
        measured_on += f" Take care: {machine['warning']}."
    header = ("", "inputs and outputs", "median", "against")
    return f"### Latency\n\nOf {title}.{measured_on}\n\n{_table(header, rows)}"


def _impact(manifest: Row, metrics: Row) -> str:
    data = {**manifest["data"], **metrics.get("data", {})}
    epochs = len(metrics.get("history") or ())
    trained = f" Training took {epochs} epochs of {data['train']:,} samples." if epochs and data.get("train") else ""
    return f"Energy and emissions were not measured, nor was the hardware of the training recorded.{trained}"


def _technical(manifest: Row, metrics: Row) -> str:
    kernels = [(file, stated) for file, stated in manifest["files"].items() if file.endswith(".kernels.bin")]
    files = [
        (f"`{file}`", size(stated["bytes"]), ", ".join(stated.get("signatures", ("kernels of encoder and decoder",))))
        for file, stated in [*model_files_of(manifest), *kernels]
    ]
    versions = ", ".join(f"{name} {version}" for name, version in metrics["versions"].items())
    parts = [
        _table(("file", "bytes", "signatures"), files) if files else "",
        f"### Software\n\nVerified with {versions}." if versions else "",
        _integrity(manifest),
    ]
    return "\n\n".join(filter(None, parts))


def _integrity(manifest: Row) -> str:
    rows = [(kernel["name"], " × ".join(map(str, kernel["shape"])), f"`{kernel['sha256']}`") for kernel in manifest["kernels"]]
    text = (
        "sha256 of each kernel's int8 integers, [inputs, units] in C order. `manifest.json` has the sha256 of every file; "
        "`tiedae verify` checks them all."
    )
    order = row_order(manifest.get("model", {}))
    if order:
        text += f" Rows of the first kernel are {order}."
    return f"### Integrity\n\n{text}\n\n{_table(('kernel', 'inputs × units', 'sha256'), rows)}"


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


def _citation(manifest: Row, metrics: Row) -> str:
    stages = {row["stage"] for row in metrics.get("history") or ()} | {"train"}
    papers = [paper for stage, paper in PAPERS.items() if stage in stages]
    origin = {**manifest["data"], **metrics.get("data", {})}.get("origin")
    points = [*papers, *([f"Data: {origin}"] if origin else [])]
    return "The methods and the data that it rests on:\n\n" + "\n".join("- " + point.replace("\n", " ") for point in points)


SECTIONS: Mapping[str, Callable[[Row, Row], str]] = {
    "Model details": _details,
    "Uses": _uses,
    "Bias, risks and limitations": _limitations,
    "How to get started": lambda manifest, _metrics: render_programs(manifest),
    "Training details": _training,
    "Evaluation": _evaluation,
    "Environmental impact": _impact,
    "Technical specifications": _technical,
    "Citation": _citation,
}
"""The card, in order. A section that has nothing to say is left out."""
