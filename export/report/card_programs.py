"""The programs of the model card: how to run each file, in the dtypes and units that it has, and what its numbers mean."""

from __future__ import annotations

from collections.abc import Sequence

from ..program import SIGNATURES
from ..targets import TARGETS
from .key_figures import Row


def render_programs(manifest: Row) -> str:
    """A program per format (or signature, where no file has the whole model) that runs as it stands in the bundle's folder."""
    scaling, parts = manifest["data"]["scaling"], []
    imports = (
        ["import json", "from pathlib import Path", "import numpy as np"] if per_feature(scaling) else ["import numpy as np"]
    )
    load = ['scaling = json.loads(Path("manifest.json").read_bytes())["data"]["scaling"]'] if per_feature(scaling) else []
    for format_, target in TARGETS.items():
        for signature, file in _shown(manifest, format_):
            ports = manifest["files"][file]["signatures"][signature]
            first, *rest = target.snippet(file, signature, ports, _input(ports["inputs"][0], manifest))
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
    ports = {
        (port["name"], port["dtype"]): port
        for _, stated in model_files_of(manifest)
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
    expression = scaled(samples, scaling)
    if dtype == "float32":
        return f"({expression}).astype(np.float32)"
    low, high = (0, 255) if dtype == "uint8" else (-128, 127)
    return f"np.clip(np.rint(({expression}) / {port['scale']!r}) + {port['zero_point']}, {low}, {high}).astype(np.{dtype})"


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
