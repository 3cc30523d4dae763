"""MODEL_CARD.md: model, training data, results, example programs and limitations.

The sections follow Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019), in the order of model hubs. All content
comes from manifest.json and metrics.json; the same input gives the same text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tiedae.base.numbers import duration, fraction, number, size
from tiedae.bundle.fidelity import fit_text, meaning
from tiedae.bundle.manifest import Data, Derivation, Manifest
from tiedae.bundle.results import Metrics, warning_lines
from tiedae.compress.affine import Quantization
from tiedae.config.config import DataConfig
from tiedae.config.scaling import Scaling
from tiedae.config.tasks import task_kind
from tiedae.export.file_info import ModelFileInfo, ValueInfo
from tiedae.export.kinds import Precision
from tiedae.export.targets import TARGETS
from tiedae.program.program import SIGNATURES
from tiedae.program.score_graph import SCORE
from tiedae.runtimes.table import usual

from .key_figures import (
    change_text,
    codes_text,
    compare_sizes,
    formats_text,
    groups,
    keras_float,
    promised_codes,
    samples_text,
    size_kind,
    stored_once,
    worst_exported,
)
from .page import batch_norm_text, decoder_text, multiply_adds_text, row_order, shapes_text, windows_text
from .pages import render
from .speed import leading_case
from .tasks import TASK_VIEWS
from .tie_cost import HEADER, tie_rows
from .verdict import shown

UNKNOWN = "not recorded"
Facts = Sequence[tuple[str, object]]


def render_card(manifest: Manifest, metrics: Metrics) -> str:
    """The model card as Markdown. It states latency only after `tiedae bench`."""
    stages = {row.stage for row in metrics.history} | {"train"}
    row = TASK_VIEWS[task_kind(manifest.recipe.task)]
    measures = dict.fromkeys(row.fidelity.measure for row in metrics.quality if row.fidelity)
    return render(
        Path(__file__).with_name("card.md.j2"),
        manifest=manifest,
        metrics=metrics,
        sample=manifest.data.spec.text,
        purpose=row.purpose.format(inputs=manifest.data.inputs, units=manifest.units),
        use=row.use,
        details=_details(manifest, metrics),
        limitations=_limitations(metrics),
        programs=render_programs(manifest),
        training=_training(manifest.data, manifest.recipe.data),
        procedure=_procedure(manifest, metrics),
        meanings=[(name, meaning(name, metrics.samples)) for name in measures],
        results=_results(metrics),
        tie=(HEADER, tie_rows(metrics)),
        latency=_latency(metrics),
        task=_task(metrics),
        verdict=metrics.verdict and shown(metrics.verdict),
        files=_files(manifest),
        kernels=[(kernel.name, " × ".join(map(str, kernel.shape)), f"`{kernel.sha256}`") for kernel in manifest.kernels],
        row_order=row_order(manifest.model),
        papers=[paper for stage, paper in PAPERS.items() if stage in stages],
    )


def _details(manifest: Manifest, metrics: Metrics) -> Facts:
    model, kernels, prune = manifest.model, manifest.kernels, manifest.recipe.prune
    weights = sum(kernel.size for kernel in kernels)
    zeros = fraction(sum(kernel.pruned for kernel in kernels), weights)
    texts = {
        "windows": windows_text(manifest.recipe),
        "batch normalization": batch_norm_text(manifest.recipe),
        "decoder": decoder_text(manifest.recipe),
    }
    stored = ", each stored once" if stored_once(metrics) else "; not shown to be stored once"
    return [
        ("kind", "tied autoencoder: the decoder uses the encoder's kernels, transposed"),
        ("shapes", f"{shapes_text(manifest)} and back{_taken_out(manifest)}"),
        ("activations", f"{', '.join(model.activations)}; output {model.output_activation}"),
        *((key, text) for key, text in texts.items() if text),
        ("kernels", f"{len(kernels)}, {weights:,} weights{stored}"),
        ("multiply-adds of a sample", multiply_adds_text(manifest)),
        ("pruned", f"{zeros} of the weights are zero by pruning" + (f", pattern {prune.pattern}" if prune else "")),
        ("precision", _precision(manifest)),
        *((key, value) for key, value in (manifest.imported.facts.items() if manifest.imported else ()) if value),
        *(("derived", _derivation(each, manifest.data)) for each in manifest.derived),
        ("made by", manifest.created_by),
        ("licence of the model", f"{UNKNOWN}: to be stated by the publisher"),
    ]


def _derivation(derived: Derivation, data: Data) -> str:
    """How the bundle was made from another one."""
    scale = "" if derived.factor == 1 else f"the scale of the codes × {derived.factor:g}, "
    classes = "" if derived.classes == 1 else f"{derived.classes} classes of "
    source = "the training data" if derived.data_sha256 == data.sha256 else f"`{derived.source}`, other data than the model's"
    return (
        f"from the bundle of manifest `{derived.manifest_sha256[:12]}…`, without training: {scale}tables of {classes}{source}"
    )


def _arrows(widths: Sequence[int]) -> str:
    return " → ".join(map(str, widths))


def _precision(manifest: Manifest) -> str:
    bits = [kernel.bits for kernel in manifest.kernels]
    kernels = "int8 kernels" if set(bits) == {8} else f"kernels of {', '.join(map(str, bits))} bits"
    code = manifest.tensors.code.bits
    floats = any(info.precision is Precision.F32 for info in manifest.models.values())
    return "".join(
        (
            f"{kernels}, uint8 activations",
            f", a code of {code} bits" if code < 8 else "",
            "; float32 files beside them" if floats else "",
        )
    )


def _taken_out(manifest: Manifest) -> str:
    """The widths before training for rate or structured pruning, where they removed units."""
    inputs, units = manifest.model.widths[0], [kernel.shape[1] for kernel in manifest.kernels]
    recipe = manifest.recipe
    before = [layer.units for layer in recipe.model.layers]
    structured = recipe.prune is not None and recipe.prune.kind == "structured"
    by = " and ".join(name for name, is_so in (("training for rate", recipe.train.for_rate), ("pruning", structured)) if is_so)
    return "" if before == units else f"; {by} removed units of {_arrows((inputs, *before))}"


def _limitations(metrics: Metrics) -> list[str]:
    """Limitations from this model's own results."""
    points = [f"{line[0].upper()}{line[1:]}." for line in warning_lines(metrics.warnings)]
    points += [f"Failed check: {check.text}" for check in metrics.failed]
    for reason, rows in groups(metrics.skipped, lambda row: row.reason).items():
        shown = "; ".join(row.what for row in rows[:2]) + (f"; and {len(rows) - 2} more" if len(rows) > 2 else "")
        points.append(f"Not measured: {shown} ({reason})")
    return [*filter(None, (formats_text(metrics),)), *points]


def _training(data: Data, config: DataConfig) -> Facts:
    facts = {
        "source": f"`{data.source}`",
        "licence": data.licence or UNKNOWN,
        "origin": data.origin,
        "samples": samples_text(data),
        "test samples": f"`{config.test_source}`" if config.test_source else None,
        "labels left out": ", ".join(f"`{label}`" for label in config.drop_labels),
        "columns": ", ".join(f"`{name}`" for name in data.columns or ()),
        "label": f"`{data.label}`, not trained on" if data.label else None,
        "preprocessing": f"model value = {scaled('x', data.scaling)} (rule {data.scaling.rule})",
        "sha256": f"`{data.sha256}`",
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
"""Settings of a stage in the recipe, and their names in the card."""


def _procedure(manifest: Manifest, metrics: Metrics) -> list[tuple[object, ...]]:
    rows = []
    for stage, epochs in groups(metrics.history, lambda row: row.stage).items():
        config = getattr(manifest.recipe, stage, None)
        settings = ", ".join(f"{name} {getattr(config, key)}" for key, name in SETTINGS.items() if hasattr(config, key))
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
        rows.append((f"{size_kind(compared.ours) or 'bytes'}, `{compared.ours.file}`", size(compared.ours.bytes) + against))
    codes = promised_codes(metrics)
    if codes:
        rows.append(("codes, against the integer program", codes_text(codes)))
    return [*rows, ("checks", f"{len(metrics.checks) - len(metrics.failed)} of {len(metrics.checks)} ok")]


def _task(metrics: Metrics) -> tuple[str, str] | None:
    """Title and text of the task's section; None where there is nothing to say."""
    if metrics.task is None:
        return None
    row = TASK_VIEWS[task_kind(metrics.task)]
    text = row.card(metrics.task)
    return (row.title, text) if text else None


def _latency(metrics: Metrics) -> Mapping[str, object] | None:
    """The leading case of a benchmark, its rows and the machine; None without a benchmark."""
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


def _files(manifest: Manifest) -> list[tuple[str, str, str]]:
    rows = [(f"`{file}`", size(info.bytes), ", ".join(info.signatures)) for file, info in model_files_of(manifest)]
    kernels = "kernels of encoder and decoder"
    return rows + [(f"`{f}`", size(info.bytes), kernels) for f, info in manifest.files.items() if f.endswith(".kernels.bin")]


PAPERS = {
    "train": 'Hinton, Salakhutdinov: "Reducing the Dimensionality of Data with Neural Networks", Science 313, 2006.',
    "prune": 'Zhu, Gupta: "To prune, or not to prune", arXiv:1710.01878, 2017.',
    "cluster": 'Han, Mao, Dally: "Deep Compression", ICLR 2016, arXiv:1510.00149.',
    "quantize": (
        'Jacob et al.: "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", '
        "CVPR 2018, arXiv:1712.05877."
    ),
}
"""Papers by stage."""


def render_programs(manifest: Manifest) -> str:
    """A program per format (or signature, where no file has the whole model) that runs unchanged in the bundle's folder.

    In a bundle with a detector it scores samples.
    """
    parts = []
    for format_, target in TARGETS.items():
        shown = _shown(manifest, format_)
        if manifest.detector is not None and shown and shown[0][0] != SCORE:
            parts.append(_by_codec(format_, target.package, manifest.detector.threshold(manifest.layout(format_))))
            continue
        for signature, file in shown:
            info = manifest.models[file].signatures[signature]
            x = _input(info.inputs[0], manifest.data)
            imports, load = ["import numpy as np"], []
            if "scaling[" in x:
                imports = ["import json", "from pathlib import Path", *imports]
                load = ['scaling = json.loads(Path("manifest.json").read_bytes())["data"]["scaling"]']
            first, *rest = target.snippet(file, signature, info, x)
            code = "\n".join([*imports, first, *load, *rest])
            if signature == SCORE and manifest.detector is not None:
                code += f"\n# anomaly: score above {manifest.detector.threshold(manifest.layout(format_)):.6g}"
            parts.append(f"{target.package}, `{signature}`, from the folder of the bundle:\n\n```python\n{code}\n```")
    parts += filter(None, (_meaning(manifest),))
    return "\n\n".join(parts)


def _by_codec(format_: str, package: str, threshold: float) -> str:
    """A program that scores by the codec, in the runtime of a format whose files have no signature `score`."""
    lines = [
        "import numpy as np",
        "import tiedae",
        f'codec = tiedae.load(".", runtime="{usual(format_)}")',
        'x = np.load("golden/x.npy")',
        "score, anomaly = codec.score(x), codec.is_anomaly(x)",
        f"# anomaly: score above {threshold:.6g}",
    ]
    code = "\n".join(lines)
    return f"tiedae and {package}, `score`, from the folder of the bundle:\n\n```python\n{code}\n```"


def model_files_of(manifest: Manifest) -> list[tuple[str, ModelFileInfo]]:
    """The model files by name, int8 before float."""
    return sorted(manifest.models.items(), key=lambda model: model[1].precision is not Precision.INT8)


def _shown(manifest: Manifest, format_: str) -> list[tuple[str, str]]:
    """(signature, file) of each program: the score, else the whole model, else the encoder and the decoder."""
    found: dict[str, str] = {}
    for file, info in model_files_of(manifest):
        for signature in info.signatures if info.format == format_ else ():
            found.setdefault(signature, file)
    names = next(((name,) for name in (SCORE, "reconstruct") if name in found), SIGNATURES)
    return [(name, found[name]) for name in names if name in found]


def _meaning(manifest: Manifest) -> str:
    """Sentences that define the real values of code and y for the dtypes of the files."""
    outputs = {
        (value.name, value.dtype): value
        for _, info in model_files_of(manifest)
        for signature in info.signatures.values()
        for value in signature.values
    }
    sentences = []
    if ("code", "uint8") in outputs:
        sentences.append(f"A uint8 `code` means {_affine('code', manifest.tensors.code)} of a float one.")
    for article, quantization, dtype in (
        ("A", manifest.tensors.y, "uint8"),
        ("An", outputs.get(("y", "int8")), "int8"),
    ):
        if ("y", dtype) in outputs and quantization is not None:
            sentences.append(f"{article} {dtype} `y` means {_affine('y', quantization)} in scaled values.")
    floats = outputs.get(("y", "float32"))
    own = floats is not None and floats.scaled is False
    if floats is not None:
        what = "in the unit of measure of the samples, as a float32 `x` is" if own else "in scaled values"
        sentences.append(f"A float32 `y` is {what}.")
    rule = manifest.data.scaling.rule
    if rule == "byte" and ("y", "uint8") in outputs:
        sentences.append("`x` and `y` are the bytes themselves where a file takes bytes.")
    elif rule != "none" and any(name == "y" and not (own and dtype == "float32") for name, dtype in outputs):
        sentences.append("Scaled values times `scale` plus `offset` (manifest.json, data.scaling) are those of the samples.")
    return " ".join(sentences)


def _affine(name: str, quantization: Quantization | ValueInfo) -> str:
    return f"({name} − {quantization.zero_point}) · {quantization.scale!r}"


def _input(value: ValueInfo, data: Data) -> str:
    """A Python expression for the golden samples in the dtype, unit and shape of an input."""
    if value.name == "code":
        return 'np.load("golden/code.npy")' if value.dtype == "uint8" else 'np.load("golden/code.f32.npy")'
    samples, shape = _samples(value, data), value.shape[1:]
    return samples if len(shape) == 1 else f"({samples}).reshape(-1, {', '.join(map(str, shape))})"


def _samples(value: ValueInfo, data: Data) -> str:
    """The same, [n, inputs]."""
    scaling, dtype = data.scaling, value.dtype
    samples = 'np.load("golden/x.npy")'
    if dtype == data.dtype and (value.scaled is False or scaling.rule == "none" or scaling.is_bytes(dtype)):
        return samples
    if value.scaled is False:
        return f"{samples}.astype(np.float32)"
    expression = scaled(samples, scaling)
    if dtype == "float32":
        return f"({expression}).astype(np.float32)"
    low, high = (0, 255) if dtype == "uint8" else (-128, 127)
    return f"np.clip(np.rint(({expression}) / {value.scale!r}) + {value.zero_point}, {low}, {high}).astype(np.{dtype})"


def scaled(x: str, scaling: Scaling) -> str:
    """The scaling of `x` as a Python expression; scales per feature come from a variable `scaling`."""
    if scaling.rule == "none":
        return x
    if isinstance(scaling.scale, tuple):
        return f'({x} - scaling["offset"]) / scaling["scale"]'
    return f"({x} - {scaling.offset!r}) / {scaling.scale!r}"
