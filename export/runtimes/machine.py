"""The machine that a measurement ran on, and the packages on it."""

from __future__ import annotations

import contextlib
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ...compress.records import Record

BUSY = 0.25
"""From this load average per core on, other work is competing."""

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
    """How many CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Machine(Record, frozen=True):
    """Name of the CPU, cores, frequency governor and load averages; `warning` where other work competes, else empty."""

    cpu: str
    cores: int
    governor: str
    system: str
    python: str
    load_average: tuple[float, ...]
    warning: str


def describe_machine() -> Machine:
    """This machine, now. Ask before measuring: afterwards the load is the measurement's own."""
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
    """The versions of the packages that train, convert and run, here and now, by name."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _cpu_name() -> str:
    lines = _read("/proc/cpuinfo").splitlines()
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return name or platform.processor() or platform.machine()


def _read(path: str) -> str:
    """A line that the system reports about itself, or nothing."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
