"""An aarch64 Python with this checkout's wheel and its runtimes, run by `qemu-aarch64`.

Python and its libraries are Debian's arm64 packages, unpacked into a folder; the wheels are those that `pip install
'tiedae[cpu]'` takes on such a machine, with the versions of constraints.txt. Needs apt-get, dpkg and the registries.
"""

from __future__ import annotations

from pathlib import Path

from emulated import Processor, emulator
from install import PIP, ROOT, run, wheel
from needs import require

EMULATOR = "qemu-aarch64"
VERSION = "3.13"
PACKAGES = (
    *(f"{name}{VERSION}-{part}" for name, part in (("python", "minimal"), ("libpython", "minimal"), ("libpython", "stdlib"))),
    *("libc6", "libgcc-s1", "libstdc++6", "libgomp1", "zlib1g", "libexpat1", "libffi8", "libbz2-1.0", "liblzma5"),
    *("libssl3t64", "libsqlite3-0", "libuuid1", "libzstd1"),
)
"""Of Debian 13."""
WHEELS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")


def aarch64(folder: Path) -> Processor:
    """Unpacks the packages and wheels into `folder`, some 350 MB, unless it has them."""
    require(programs=(EMULATOR, "apt-get", "dpkg"))
    root, packages = folder / "root", folder / "packages"
    if not root.exists():
        _unpack_debian(folder, root)
    if not packages.exists():
        _install(folder, packages)
    python = root / "usr" / "bin" / f"python{VERSION}"
    return Processor(EMULATOR, (emulator(EMULATOR), "-L", str(root), str(python)), str(packages))


def _unpack_debian(folder: Path, root: Path) -> None:
    state, cache, archives = (folder / name for name in ("state", "cache", "archives"))
    for each in (state / "lists" / "partial", cache / "archives" / "partial", archives):
        each.mkdir(parents=True)
    (state / "status").touch()
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "root",
        "Dir::State": state,
        "Dir::State::status": state / "status",
        "Dir::Cache": cache,
    }
    apt = ["apt-get", "-qq", *(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))]
    run(*apt, "update", folder=archives)
    run(*apt, "download", *PACKAGES, folder=archives)
    part = root.with_suffix(".part")
    for each in sorted(archives.glob("*.deb")):
        run("dpkg", "-x", str(each), str(part))
    if not (part / "lib").exists():
        (part / "lib").symlink_to("usr/lib")
    part.rename(root)


def _install(folder: Path, packages: Path) -> None:
    part = packages.with_suffix(".part")
    wanted = ["--only-binary=:all:", "--python-version", VERSION, *(f"--platform={name}" for name in WHEELS)]
    run(*PIP, "install", "--target", str(part), *wanted, "-c", str(ROOT / "constraints.txt"), f"{wheel(folder)}[cpu]")
    part.rename(packages)
