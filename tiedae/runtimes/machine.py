"""The machine of a measurement, and its installed packages."""

from __future__ import annotations

import contextlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tiedae.base.records import Record

BUSY = 0.25
"""Load average per core from which the machine counts as busy."""

PACKAGES = (
    "tiedae",
    "tensorflow",
    "tf-keras",
    "tensorflow-model-optimization",
    "onnx",
    "tf2onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "ai-edge-litert",
    "numpy",
)


def cores() -> int:
    """Number of CPU cores available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Machine(Record, frozen=True):
    """CPU name, cores, frequency governor and load averages; `warning` if other work competes, else empty."""

    cpu: str
    cores: int
    governor: str
    system: str
    python: str
    load_average: tuple[float, ...]
    warning: str


def describe_machine() -> Machine:
    """Describe this machine. Call before measuring, which adds load itself."""
    load = [round(each, 2) for each in os.getloadavg()]
    busy = load[0] >= BUSY * cores()
    text = f"the machine is busy (load average {load[0]:g} on {cores()} cores): absolute times are too high" if busy else ""
    return Machine(
        cpu=_cpu_name(),
        cores=cores(),
        governor=_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        load_average=tuple(load),
        warning=text,
    )


def installed_versions() -> dict[str, str]:
    """Versions of the installed packages that train, convert and run, by name."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def describe_cpu() -> str:
    """The processor and its instruction sets: equal where code that was compiled for one runs on the other."""
    lines = _read("/proc/cpuinfo").splitlines()
    features = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return f"{platform.machine()} {_cpu_name()} {features}"


def _cpu_name() -> str:
    lines = _read("/proc/cpuinfo").splitlines()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return name or platform.processor() or platform.machine()


def _read(path: str) -> str:
    """Content of a system file; empty if it cannot be read."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
