"""Runs another optimizer of ONNX files with its defaults; runs in an environment of its own, without tiedae.

python benchmarks/strangers_peer.py onnxsim|onnxslim|onnxoptimizer FILE.onnx OUT.onnx
"""

from __future__ import annotations

import sys

import onnx


def main(tool: str, file: str, out: str) -> None:
    model = onnx.load(file)
    if tool == "onnxsim":
        import onnxsim  # pyright: ignore[reportMissingImports]

        model, valid = onnxsim.simplify(model)
        if not valid:
            sys.exit("onnxsim's own check failed")
    elif tool == "onnxslim":
        import onnxslim  # pyright: ignore[reportMissingImports]

        model = onnxslim.slim(model)
    else:
        import onnxoptimizer  # pyright: ignore[reportMissingImports]

        model = onnxoptimizer.optimize(model)
    onnx.save(model, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
