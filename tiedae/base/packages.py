"""Optional packages: install commands, and errors for missing ones; nothing is imported."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from platform import machine

from .errors import NotInstalledError, UnavailableError

_TRAIN = "pip install 'tiedae[train]'"
_TASKS = "pip install 'tiedae[tasks]'"

INSTALL: Mapping[str, str] = {
    "PIL": "pip install pillow",
    "a C compiler": "apt-get install gcc (macOS: xcode-select --install)",
    "cc": "apt-get install gcc (macOS: xcode-select --install)",
    "chromium": "apt-get install chromium",
    "clang": "apt-get install clang lld (macOS: brew install llvm lld)",
    "gcc": "apt-get install gcc",
    "node": "apt-get install nodejs, or from https://nodejs.org",
    "qemu-aarch64": "apt-get install qemu-user",
    "qemu-x86_64": "apt-get install qemu-user",
    "size": "apt-get install binutils",
    "wasm-ld": "apt-get install lld (macOS: brew install lld)",
    "h5py": "pip install 'tiedae[keras]'",
    "javac": "apt-get install default-jdk-headless",
    "onnxruntime_c_api.h": "apt-get install libonnxruntime-dev",
    "ai_edge_litert": "pip install ai-edge-litert",
    "onnxruntime": "pip install 'tiedae[cpu]'",
    "onnxruntime-node": "npm install --ignore-scripts onnxruntime-node",
    "openvino": "pip install 'tiedae[openvino]'",
    "optuna": "pip install 'tiedae[search,train]'",
    "pywt": _TASKS,
    "scipy": _TASKS,
    "skimage": _TASKS,
    "sklearn": _TASKS,
    "soundfile": _TASKS,
    "tensorflow": _TRAIN,
    "tensorflow_model_optimization": _TRAIN,
    "tf2onnx": _TRAIN,
    "tf_keras": _TRAIN,
    "tflite_micro": "pip install 'tiedae[tflm]'",
    "umap": _TASKS,
}
"""Install command of each optional module or program."""

ONNX_RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino")
"""Builds of ONNX Runtime: packages that install the same module, `onnxruntime`."""


def missing(module: str) -> NotInstalledError:
    """The error for a module that is not installed, with its install command."""
    install = INSTALL.get(module, f"pip install {module}")
    if "train" in install and _train_has_gpu_build() and list(_builds()) == ["onnxruntime"]:
        install = f"pip uninstall -y onnxruntime && {install}"
    return NotInstalledError(f"{module} is not installed: {install}")


def require_installed(*modules: str) -> None:
    """Raise UnavailableError for the first missing module, and for several builds of ONNX Runtime."""
    for module in modules:
        if find_spec(module) is None:
            raise missing(module)
        if module == "onnxruntime":
            require_one_build()
        if module == "tf_keras":
            require_fitting_keras()


def require_one_build() -> None:
    """Raise UnavailableError, with the commands that fix it, if several builds of ONNX Runtime are installed."""
    builds = _builds()
    if len(builds) > 1:
        kept = "onnxruntime-gpu" if "onnxruntime-gpu" in builds else next(iter(builds))
        found = " and ".join(f"{name} {number}" for name, number in builds.items())
        raise UnavailableError(
            f"{found} are installed together and overwrite each other: "
            f"pip uninstall -y {' '.join(builds)} && pip install {kept}"
        )


def require_fitting_keras() -> None:
    """Raise UnavailableError, with the command that fixes it, if tf-keras was made for another minor version of TensorFlow.

    Other builds of TensorFlow, of other names, are not judged.
    """
    try:
        keras, tensorflow = version("tf-keras"), version("tensorflow")
    except PackageNotFoundError:
        return
    minor = ".".join(keras.split(".")[:2])
    if tensorflow.split(".")[:2] != keras.split(".")[:2]:
        raise UnavailableError(
            f"tf-keras {keras} is made for tensorflow {minor}, and tensorflow {tensorflow} is installed: "
            f"pip install 'tensorflow=={minor}.*'"
        )


def _builds() -> Mapping[str, str]:
    """Installed builds of ONNX Runtime with their versions."""
    found = {}
    for name in ONNX_RUNTIMES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _train_has_gpu_build() -> bool:
    """Whether tiedae[train] installs onnxruntime-gpu on this machine, as the marker in pyproject.toml."""
    return sys.platform == "linux" and machine() == "x86_64"
