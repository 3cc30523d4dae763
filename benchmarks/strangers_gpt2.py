"""GPT-2 with random weights in plain torch, exported to ONNX; runs in an environment of its own, without tiedae.

    python benchmarks/strangers_gpt2.py FILE.onnx [--layers 12] [--exporter torchscript]

The published shape: 12 layers of width 768 with 12 heads, 50,257 tokens, a context of 1,024. The output layer's weight is the
token embedding. `torch.onnx.export` has two exporters: `dynamo`, the default since torch 2.9, and the earlier `torchscript`.
Both run with their defaults but for the free dimensions. Prints as JSON which constants of the file are the token
table, in either orientation.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import onnx
import torch  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]

LAYERS, WIDTH, HEADS, TOKENS, CONTEXT = 12, 768, 12, 50257, 1024


class Block(nn.Module):
    """Causal attention and a layer of four times the width, each with its normalization before and a residual."""

    def __init__(self):
        super().__init__()
        self.before_attention, self.before_mlp = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention, self.attention_out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU("tanh"), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x):
        heads = self.attention(self.before_attention(x)).unflatten(-1, (3, HEADS, WIDTH // HEADS)).permute(2, 0, 3, 1, 4)
        attended = nn.functional.scaled_dot_product_attention(*heads, is_causal=True)
        x = x + self.attention_out(attended.transpose(1, 2).flatten(2))
        return x + self.mlp(self.before_mlp(x))


class Gpt2(nn.Module):
    """Token ids [batch, sequence] → logits [batch, sequence, tokens]."""

    def __init__(self, layers):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(TOKENS, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks, self.last = nn.Sequential(*(Block() for _ in range(layers))), nn.LayerNorm(WIDTH)
        self.logits = nn.Linear(WIDTH, TOKENS, bias=False)
        self.logits.weight = self.tokens.weight
        self.apply(initialize)

    def forward(self, ids):
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))
        return self.logits(self.last(self.blocks(x)))


def initialize(module):
    """Normal weights of σ = 0.02 and zero biases, as published."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def tables_of(path: Path) -> list[str]:
    """Names of the initializers that have the shape of the token table, or its transpose."""
    graph = onnx.load(path, load_external_data=False).graph
    return [each.name for each in graph.initializer if sorted(each.dims) == sorted((TOKENS, WIDTH))]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--layers", type=int, default=LAYERS)
    parser.add_argument("--exporter", choices=("torchscript", "dynamo"), default="dynamo")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    model, ids = Gpt2(arguments.layers).eval(), torch.randint(0, TOKENS, (2, 16))
    names = {"input_names": ["ids"], "output_names": ["logits"]}
    if arguments.exporter == "dynamo":
        free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("sequence", max=CONTEXT)}
        torch.onnx.export(model, (ids,), arguments.file, dynamic_shapes=(free,), **names)
    else:
        free = {"ids": {0: "batch", 1: "sequence"}}
        torch.onnx.export(model, (ids,), arguments.file, dynamo=False, dynamic_axes=free, **names)
    print(json.dumps({"torch": torch.__version__, "tables": tables_of(arguments.file)}))


if __name__ == "__main__":
    main()
