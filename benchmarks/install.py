"""The light install: what `pip install 'tiedae[cpu]'` puts on the disk, as CI pays for it.

    python benchmarks/install.py --json install.json

Builds the wheel, installs it with the versions of constraints.txt into an environment of its own, and adds up the files of
site-packages without pip, setuptools and __pycache__. Under a minute where pip's cache has the packages.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections import Counter
from pathlib import Path

from rows import Row, arguments_of, report

from tiedae.base.errors import UnavailableError
from tiedae.report.console import Console

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence.pth")
PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
LARGEST = 5
"""How many of the largest packages the detail names."""


def main() -> int:
    arguments = arguments_of(__doc__ or "").parse_args()
    return report("tiedae[cpu]", lambda console: [light_install_row(console)], arguments.json)


def light_install_row(console: Console) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        console.note("installing the wheel with [cpu]")
        sizes = installed_sizes(install(Path(folder), "[cpu]"))
    largest = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in sizes.most_common(LARGEST))
    return Row("light_install_mb", sizes.total() / 1e6, "MB", "<= 275", "<= 255", largest)


def install(folder: Path, extras: str) -> Path:
    """Install this checkout's wheel with `extras` into an environment in `folder`; returns its site-packages."""
    source, environment = source_copy(folder / "source"), folder / "environment"
    venv.create(environment, with_pip=True)
    python = str(environment / "bin" / "python")
    constraints = str(ROOT / "constraints.txt")
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", constraints, f"{source}{extras}")
    return Path(sysconfig.get_path("purelib", "venv", {"base": str(environment), "installed_base": str(environment)}))


def wheel(folder: Path) -> Path:
    """This checkout's wheel, built in `folder` unless it is there."""
    if not (made := [*folder.glob("tiedae-*.whl")]):
        run(*PIP, "wheel", "--no-deps", "-w", str(folder), str(source_copy(folder / "source")))
        made = [*folder.glob("tiedae-*.whl")]
    return made[0]


def source_copy(folder: Path) -> Path:
    """A copy for wheels, links as links: in the checkout setuptools would pack what an earlier build left in build/."""
    listed = run("git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name, follow_symlinks=False)
    return folder


def installed_sizes(packages: Path) -> Counter[str]:
    """Bytes of the files below each entry of site-packages, but for the tools that made it and compiled code."""
    sizes: Counter[str] = Counter()
    for path in packages.rglob("*"):
        name = path.relative_to(packages).parts[0]
        if path.is_file() and "__pycache__" not in path.parts and name.partition("-")[0] not in TOOLS and name not in TOOLS:
            sizes[name] += path.stat().st_size
    return sizes


def run(*command: str, folder: Path | None = None) -> str:
    """What a command prints; UnavailableError with its last line where it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnavailableError(f"{' '.join(command)}: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
