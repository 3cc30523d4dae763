"""Makes the small PyTorch exports in tests/dedupe/files; needs torch and onnxscript, which the project does not.

python benchmarks/fixtures.py tests/dedupe/files
"""

from __future__ import annotations

import sys
from pathlib import Path

import onnx
import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]


class TiedParameter(nn.Module):
    """24-6-24; the decoder's weight is the transpose of the encoder's, as a parameter."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(24, 6), nn.Linear(6, 24)
        self.decoder.weight = nn.Parameter(self.encoder.weight.t())

    def forward(self, x):
        code = torch.relu(self.encoder(x))
        return code, self.decoder(code)


class TiedFunction(nn.Module):
    """The same with `linear` on the encoder's transposed weight."""

    def __init__(self):
        super().__init__()
        self.encoder, self.bias = nn.Linear(24, 6), nn.Parameter(torch.randn(24))

    def forward(self, x):
        code = torch.relu(self.encoder(x))
        return code, nn.functional.linear(code, self.encoder.weight.t(), self.bias)


class TiedEmbedding(nn.Module):
    """40 tokens of 8; the logits' weight is the embedding."""

    def __init__(self):
        super().__init__()
        self.embedding, self.inner, self.logits = nn.Embedding(40, 8), nn.Linear(8, 8), nn.Linear(8, 40, bias=False)
        self.logits.weight = self.embedding.weight

    def forward(self, x):
        return self.logits(torch.tanh(self.inner(self.embedding(x))))


class Untied(nn.Module):
    """24-6-24, nothing shared."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.Linear(24, 6), nn.Linear(6, 24)

    def forward(self, x):
        code = torch.relu(self.encoder(x))
        return code, self.decoder(code)


def main(folder: Path) -> None:
    torch.manual_seed(0)
    samples, tokens = torch.randn(2, 24), torch.randint(0, 40, (2, 3))
    models = {
        "parameter": (TiedParameter(), samples, ["code", "y"]),
        "function": (TiedFunction(), samples, ["code", "y"]),
        "embedding": (TiedEmbedding(), tokens, ["y"]),
        "untied": (Untied(), samples, ["code", "y"]),
    }
    for name, (model, x, outputs) in models.items():
        model.eval()
        axes = {each: {0: "batch"} for each in ("x", *outputs)}
        shapes = ({0: "batch"},)
        common = {"input_names": ["x"], "output_names": outputs}
        path = folder / f"torch_{name}_script.onnx"
        torch.onnx.export(model, (x,), path, dynamo=False, dynamic_axes=axes, **common)
        path = folder / f"torch_{name}_dynamo.onnx"
        torch.onnx.export(model, (x,), path, dynamo=True, dynamic_shapes=shapes, external_data=False, **common)
        strip(path)


def strip(path: Path) -> None:
    """Take out the stack traces, which name the folders of the machine that exported."""
    model = onnx.load(path)
    for node in model.graph.node:
        kept = [entry for entry in node.metadata_props if "stack_trace" not in entry.key]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    onnx.save(model, path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
