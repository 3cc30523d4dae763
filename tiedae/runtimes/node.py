"""Runs ONNX files in onnxruntime-node, in one Node.js process per session.

The npm package is taken from the folder TIEDAE_NODE_MODULES alone: what lies beside a stranger's files is never run. Its
install script, which downloads GPU builds, is not needed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from tiedae.base.errors import DataError, FormatError, NotInstalledError, UnavailableError
from tiedae.base.packages import INSTALL
from tiedae.export.onnx.reader import read_onnx

from .child_process import limited
from .ort import CHUNK, inner_names, instrumented
from .session import HeldFile, Session, in_batches, require_files, served

VARIABLE = "TIEDAE_NODE_MODULES"
PACKAGE = "onnxruntime-node"
SCRIPT = Path(__file__).with_name("node_session.mjs")
PATIENCE = 60.0
"""Timeout of one answer, in seconds."""


def find_package() -> Path:
    """The folder of onnxruntime-node. Raises UnavailableError if it is not found."""
    named = os.environ.get(VARIABLE)
    if not named:
        raise NotInstalledError(
            f"{PACKAGE}: {VARIABLE} is not set, must be the folder node_modules that has it: {INSTALL[PACKAGE]}"
        )
    if not Path(named).is_absolute():
        raise NotInstalledError(f"{PACKAGE}: {VARIABLE} names a relative path, must be an absolute one")
    package = Path(named) / PACKAGE
    if not (package / "package.json").is_file():
        raise NotInstalledError(f"{PACKAGE} is not in the folder that {VARIABLE} names: {INSTALL[PACKAGE]}")
    return package.resolve()


class NodeSession(Session):
    """ONNX files in onnxruntime-node, one per signature; see `Session`.

    Raises UnavailableError if Node.js or the package is missing or does not start, FormatError for a file that ONNX Runtime
    rejects.
    """

    def __init__(self, runtime: str, files: Mapping[str, Path], *, threads: int = 1) -> None:
        require_files(runtime, files)
        node = shutil.which("node")
        if node is None:
            raise NotInstalledError("Node.js is not installed: no program `node` on the PATH")
        self.runtime, self._process, self._files, self._threads = runtime, _Process(node, find_package()), files, threads
        self._held = {signature: HeldFile(path) for signature, path in files.items()}
        self._samples = {signature: read_onnx(path).signatures[0].inputs[0].sample for signature, path in files.items()}
        self._traced: set[str] = set()
        versions: Mapping[str, str] = {}
        for signature, path in files.items():
            versions = self._open(signature, path, path)
        self.provider = f"CPU, {PACKAGE} {versions['ort']}, Node.js {versions['node']}"

    def run(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        return self._run(signature, signature, x)

    def trace(self, signature: str, x: np.ndarray) -> dict[str, np.ndarray]:
        """See `OrtSession.trace`."""
        key = f"{signature} traced"
        if key not in self._traced:
            path = served(self.runtime, signature, self._files)
            with tempfile.TemporaryDirectory() as folder:
                copy = Path(folder) / path.name
                copy.write_bytes(instrumented(path, self._held[signature]))
                self._open(key, path, copy)
            self._traced.add(key)
        return inner_names(self._run(signature, key, x))

    def _open(self, key: str, path: Path, source: Path) -> Mapping[str, str]:
        answer, _ = self._process.ask(
            {"command": "open", "key": key, "path": str(source.resolve()), "threads": self._threads}, b""
        )
        if "error" in answer:
            raise FormatError(f"{path}: {PACKAGE} refuses it: {answer['error'].strip().splitlines()[0]}")
        return answer

    def _run(self, signature: str, key: str, x: np.ndarray) -> dict[str, np.ndarray]:
        path = served(self.runtime, signature, self._files)

        def ask(chunk: np.ndarray) -> dict[str, np.ndarray]:
            request = {"command": "run", "key": key, "dtype": chunk.dtype.name, "shape": chunk.shape}
            answer, outputs = self._process.ask(request, chunk.tobytes())
            if "error" in answer:
                raise DataError(f"{path}: {PACKAGE} refuses the samples: {answer['error'].strip().splitlines()[0]}")
            return outputs

        return in_batches(ask, signature, x, self._samples[signature], CHUNK)


class _Process:
    """A Node.js process with the package loaded; it ends with the object."""

    def __init__(self, node: str, package: Path) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `_end`)
        self._child = subprocess.Popen(
            [node, str(SCRIPT), str(package)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            cwd=SCRIPT.parent,
        )
        weakref.finalize(self, _end, self._child, self._said)

    def ask(self, request: Mapping[str, Any], data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Send a request; returns the answer and its arrays. Raises UnavailableError if the process ended."""
        sink, source = self._child.stdin, self._child.stdout
        assert sink and source
        with limited(self._child, PATIENCE) as late:
            try:
                sink.write(json.dumps({**request, "bytes": len(data)}).encode() + b"\n" + data)
                sink.flush()
                answer = json.loads(source.readline())
                return answer, {output["name"]: _array(source, output) for output in answer.get("outputs", ())}
            except (BrokenPipeError, ValueError):
                reason = self._reason()
                reason = f"no answer in {PATIENCE:g} s" if late.is_set() else reason
                raise UnavailableError(f"{PACKAGE} does not run: {reason}") from None

    def _reason(self) -> str:
        """The line of standard error that names the error, else the exit code."""
        code = self._child.wait()
        self._said.seek(0)
        lines = [line.strip() for line in self._said.read().decode(errors="replace").splitlines() if line.strip()]
        named = [line for line in lines if re.match(r"\w*Error\b", line)]
        return next(iter(named or lines), f"Node.js ended with code {code}")


def _array(source: IO[bytes], output: Mapping[str, Any]) -> np.ndarray:
    dtype, shape = np.dtype(output["dtype"]), tuple(output["shape"])
    return np.frombuffer(source.read(dtype.itemsize * int(np.prod(shape))), dtype).reshape(shape)


def _end(child: subprocess.Popen[bytes], said: IO[bytes]) -> None:
    child.kill()
    child.wait()
    for stream in (child.stdin, child.stdout, said):
        if stream:
            with suppress(BrokenPipeError):
                stream.close()
