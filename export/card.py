"""MODEL_CARD.md: what the model is, what it was trained on, how well it does, how to run it and what to keep in mind.

The sections follow Mitchell et al., "Model Cards for Model Reporting" (FAT* 2019), as model hubs use them. Everything in it is
read from manifest.json and metrics.json; the same input gives the same text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from .figures import number, share, size
from .headline import Row, compare_sizes, exported_error, keras_float, promised_codes, stored_once
from .program import SIGNATURES

UNKNOWN = "not recorded"


def render_card(manifest: Row, metrics: Row) -> str:
    """The model card as Markdown.

    The files and ports in its programs are those that `manifest["files"]` describes. The licence and origin of the data are
    told where `manifest["data"]` has them (`licence`, `origin`).
    """
    parts = [f"# {manifest['name']}"]
    parts += [f"## {title}\n\n{text}" for title, render in SECTIONS.items() if (text := render(manifest, metrics))]
    return "\n\n".join(parts) + "\n"


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
        facts["widths"] = " → ".join(map(str, model["widths"])) + " and back"
        facts["activations"] = f"{', '.join(model['activations'])}; output {model['output_activation']}"
    facts["kernels"] = f"{len(kernels)}, {weights:,} weights, each stored once"
    if not stored_once(metrics):
        facts["kernels"] = f"{len(kernels)}, {weights:,} weights; **not shown to be stored once**"
    if "pruned" in kernels[0]:
        facts["pruned"] = share(sum(kernel["pruned"] for kernel in kernels), weights) + " of the weights are zero by pruning"
    facts["precision"] = "int8 kernels, uint8 activations; float32 files beside them"
    facts["made by"] = manifest.get("created_by", "tiedae")
    if "seed" in manifest:
        facts["seed"] = manifest["seed"]
    return _table(("", ""), facts.items())


def _use(manifest: Row, metrics: Row) -> str:
    kernels = manifest["kernels"]
    inputs, units = kernels[0]["shape"][0], kernels[-1]["shape"][1]
    shape = " × ".join(map(str, manifest["data"]["shape"]))
    return (
        f"It turns a sample of {inputs} values ({shape}, {manifest['data']['dtype']}) into a code of {units} bytes, and a code "
        "back into an approximation of the sample: to store or send samples in few bytes, as features for another model, or, "
        "by the error of the reconstruction, to notice samples unlike the training data. The code loses information: it is not "
        "for samples that must come back exactly, nor for decisions about people without a study of its own."
    )


def _data(manifest: Row, metrics: Row) -> str:
    data = {**manifest["data"], **metrics.get("data", {})}
    scaling = data["scaling"]
    counts = ", ".join(f"{data[part]:,} {part}" for part in ("train", "validation", "test") if data.get(part))
    facts = {
        "source": f"`{data['source']}`" if data.get("source") else UNKNOWN,
        "licence": data.get("licence") or UNKNOWN,
        "origin": data.get("origin"),
        "samples": counts,
        "scaling": f"model value = {_scaled('x', scaling)} (rule {scaling['rule']})",
        "sha256": f"`{data['sha256']}`" if data.get("sha256") else None,
    }
    return _table(("", ""), [(key, value) for key, value in facts.items() if value])


def _scaled(x: str, scaling: Row) -> str:
    """The scaling as an expression; with one offset and scale per feature it reads them from `scaling`."""
    if scaling["rule"] == "none":
        return x
    if _per_feature(scaling):
        return f'({x} - scaling["offset"]) / scaling["scale"]'
    return f"({x} - {scaling['offset']!r}) / {scaling['scale']!r}"


def _per_feature(scaling: Row) -> bool:
    return any(isinstance(scaling[key], Sequence) for key in ("offset", "scale"))


def _metrics(manifest: Row, metrics: Row) -> str:
    reference = keras_float(metrics)
    rows: list[Sequence[object]] = []
    if reference is not None:
        rows.append(("error, Keras float", number(reference)))
    for precision, label in (("int8", "int8"), ("f32", "float")):
        error = exported_error(metrics, precision)
        if error is not None:
            change = f" ({error / reference - 1:+.1%} against Keras float)" if reference else ""
            rows.append((f"error, exported {label} files, the worst", number(error) + change))
    for compared in compare_sizes(metrics):
        against = (
            f", {number(compared.ratio)} × the {size(compared.stock['bytes'])} of the stock converter"
            if compared.stock and compared.ratio
            else ""
        )
        rows.append((f"bytes, `{compared.ours['file']}`", size(compared.ours["bytes"]) + against))
    codes = promised_codes(metrics)
    if codes:
        count, differing = sum(row["count"] for row in codes), sum(row["differing"] for row in codes)
        runtimes = ", ".join(dict.fromkeys(row["runtime"] for row in codes))
        rows.append(("codes equal to the integer program", f"{share(count - differing, count)} of {count:,} ({runtimes})"))
    ok = sum(check["ok"] for check in metrics["checks"])
    rows.append(("checks", f"{ok} of {len(metrics['checks'])} ok"))
    note = "Errors are squared, summed over the values of a test sample in model units, and averaged over samples."
    return f"{_table(('', ''), rows)}\n\n{note} `metrics.json` has every number, `report.html` shows them."


def _run(manifest: Row, metrics: Row) -> str:
    scaling, parts = manifest["data"]["scaling"], []
    imports = (
        ["import json", "from pathlib import Path", "import numpy as np"] if _per_feature(scaling) else ["import numpy as np"]
    )
    load = ['scaling = json.loads(Path("manifest.json").read_bytes())["data"]["scaling"]'] if _per_feature(scaling) else []
    for format_, (title, write) in PROGRAMS.items():
        for signature, file in _shown(manifest, format_):
            ports = manifest["files"][file]["signatures"][signature]
            first, *rest = write(file, signature, ports, _input(ports["inputs"][0], manifest))
            code = "\n".join([*imports, first, *load, *rest])
            parts.append(f"{title}, `{signature}`, from the folder of the bundle:\n\n```python\n{code}\n```")
    parts += filter(None, (_meaning(manifest), _signatures(manifest)))
    return "\n\n".join(parts)


def _models(manifest: Row) -> list[tuple[str, Row]]:
    """The model files and what the manifest states of each, int8 before float."""
    models = [(file, stated) for file, stated in manifest["files"].items() if "signatures" in stated]
    return sorted(models, key=lambda model: model[1]["precision"] != "int8")


def _shown(manifest: Row, format_: str) -> list[tuple[str, str]]:
    """What to run and in which file: the whole model, or where no file has it the parts that there are."""
    found: dict[str, str] = {}
    for file, stated in _models(manifest):
        if stated["format"] == format_:
            for signature in stated["signatures"]:
                found.setdefault(signature, file)
    names = ("reconstruct",) if "reconstruct" in found else SIGNATURES
    return [(name, found[name]) for name in names if name in found]


def _signatures(manifest: Row) -> str:
    rows = [(f"`{file}`", ", ".join(stated["signatures"])) for file, stated in _models(manifest)]
    return _table(("file", "signatures"), rows) if rows else ""


def _meaning(manifest: Row) -> str:
    """What the numbers at the outputs stand for, of the dtypes that the files have."""
    ports = {
        (port["name"], port["dtype"]): port
        for _, stated in _models(manifest)
        for signature in stated["signatures"].values()
        for port in (*signature["inputs"], *signature["outputs"])
    }
    sentences = []
    if ("code", "uint8") in ports:
        sentences.append(f"A uint8 `code` means {_affine('code', manifest['tensors']['code'])} in the unit of a float one.")
    quantized = {"uint8": manifest["tensors"]["y"], "int8": ports.get(("y", "int8"), {})}
    for dtype, quantization in quantized.items():
        if ("y", dtype) in ports:
            sentences.append(
                f"{'An' if dtype == 'int8' else 'A'} {dtype} `y` means {_affine('y', quantization)} in model units."
            )
    if ("y", "float32") in ports:
        sentences.append("A float32 `y` is in model units.")
    rule = manifest["data"]["scaling"]["rule"]
    if rule == "byte" and ("y", "uint8") in ports:
        sentences.append("`x` and `y` are the bytes themselves where a file takes bytes.")
    elif rule != "none" and any(name == "y" for name, _ in ports):
        sentences.append("Model units times `scale` plus `offset` (manifest.json, data.scaling) are the units of the samples.")
    return " ".join(sentences)


def _affine(name: str, quantization: Row) -> str:
    return f"({name} − {quantization['zero_point']}) · {quantization['scale']!r}"


def _input(port: Row, manifest: Row) -> str:
    """An expression for the golden samples in the dtype and unit of a file's first port."""
    scaling, dtype = manifest["data"]["scaling"], port["dtype"]
    if port["name"] == "code":
        return 'np.load("golden/code.npy")' if dtype == "uint8" else 'np.load("golden/code.f32.npy")'
    samples = 'np.load("golden/x.npy")'
    if dtype == manifest["data"]["dtype"] and (scaling["rule"] == "none" or (scaling["rule"], dtype) == ("byte", "uint8")):
        return samples
    scaled = _scaled(samples, scaling)
    if dtype == "float32":
        return f"({scaled}).astype(np.float32)"
    low, high = (0, 255) if dtype == "uint8" else (-128, 127)
    return f"np.clip(np.rint(({scaled}) / {port['scale']!r}) + {port['zero_point']}, {low}, {high}).astype(np.{dtype})"


def _shapes(ports: Iterable[Row]) -> str:
    return ", ".join(f"{port['name']}: {port['dtype']} [{', '.join(map(str, port['shape']))}]" for port in ports)


def _litert(file: str, signature: str, ports: Row, x: str) -> list[str]:
    name = ports["inputs"][0]["name"]
    return [
        "from ai_edge_litert.interpreter import Interpreter",
        f"{name} = {x}  # {_shapes(ports['inputs'])}",
        f'{signature} = Interpreter("{file}").get_signature_runner("{signature}")',
        f"result = {signature}({name}={name})  # {_shapes(ports['outputs'])}",
    ]


def _onnxruntime(file: str, signature: str, ports: Row, x: str) -> list[str]:
    name = ports["inputs"][0]["name"]
    return [
        "import onnxruntime",
        f"{name} = {x}  # {_shapes(ports['inputs'])}",
        f'session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])',
        f"{', '.join(port['name'] for port in ports['outputs'])}{',' if len(ports['outputs']) == 1 else ''} = "
        f'session.run({[port["name"] for port in ports["outputs"]]!r}, {{"{name}": {name}}})  # {_shapes(ports["outputs"])}',
    ]


PROGRAMS: Mapping[str, tuple[str, Callable[[str, str, Row, str], list[str]]]] = {
    "tflite": ("LiteRT", _litert),
    "onnx": ("ONNX Runtime", _onnxruntime),
}


def _limitations(manifest: Row, metrics: Row) -> str:
    points = [
        "It knows what its training data showed. Samples of another kind come back wrong without a word: watch the error.",
        "Codes agree between runtimes as measured above; the int8 decoder may differ between runtimes by rounding. Anything "
        "lossless has to rest on the codes and on one runtime.",
        "The error is an average over the test samples; `report.html` shows the worst of the golden ones.",
    ]
    points += [f"Failed check: {check['text']}" for check in metrics["checks"] if not check["ok"]]
    points += [f"Not measured: {row['what']} ({row['reason']})" for row in metrics["skipped"]]
    return "\n".join("- " + point.replace("\n", " ") for point in points)


def _integrity(manifest: Row, metrics: Row) -> str:
    rows = [(kernel["name"], " × ".join(map(str, kernel["shape"])), f"`{kernel['sha256']}`") for kernel in manifest["kernels"]]
    text = (
        "sha256 of each kernel's int8 integers, [inputs, units] in C order. `manifest.json` has the sha256 of every file; "
        "`tiedae verify` checks them all."
    )
    return f"{text}\n\n{_table(('kernel', 'inputs × units', 'sha256'), rows)}"


SECTIONS: Mapping[str, Callable[[Row, Row], str]] = {
    "Model details": _details,
    "Intended use": _use,
    "Training data": _data,
    "Metrics": _metrics,
    "How to run it": _run,
    "Limitations": _limitations,
    "Integrity": _integrity,
}
